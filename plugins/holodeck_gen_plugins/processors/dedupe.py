"""The processor that reports pictures which look alike."""

from __future__ import annotations

import hashlib
import itertools
from collections import deque
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, ClassVar

import attrs

import holodeck_gen as hg
from holodeck_gen_plugins.processors._pictures import open_picture

if TYPE_CHECKING:
    from PIL.Image import Image

#: Bits across and down of a difference hash.
SIDE = 8


@attrs.frozen(kw_only=True)
class DedupeOptions:
    """Options of the search for pictures that look alike.

    Attributes:
        distance: Bits of 64 by which two pictures may differ and still be alike; 0 to 64.
        remember: How many pictures are compared with, the latest.
    """

    distance: int = attrs.field(
        default=4, validator=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.le(64))
    )
    remember: int = attrs.field(default=20_000, validator=attrs.validators.ge(1))


@attrs.frozen(kw_only=True)
class _Seen:
    hash: int
    task: str | None
    seed: int | None
    sha256: str
    #: Files that are made of one picture are in one folder, which no other picture has.
    folder: Path


@attrs.define(eq=False)
class Dedupe:
    """Compares each picture with the earlier ones of this studio; warns, and drops nothing."""

    options: DedupeOptions
    ctx: hg.Context
    #: As `holodeck_gen.Processor` has it: other pictures have to come to the same place.
    remembers: ClassVar[bool] = True
    _seen: deque[_Seen] = attrs.field(init=False)
    _lock: Lock = attrs.field(factory=Lock, init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = deque(maxlen=self.options.remember)

    def __call__(self, file: Path, task: hg.Task) -> Path:
        """The same file. As `holodeck_gen.Processor`."""
        picture = open_picture(file)
        if picture is None:
            return file
        with picture:
            picture.image.draft("L", (SIDE * 8, SIDE * 8))
            hash = dhash(picture.decoded().image)
        this = _Seen(
            hash=hash,
            task=task.id,
            seed=task.seed,
            sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
            folder=file.parent,
        )
        with self._lock:
            others = [each for each in self._seen if each.folder != this.folder]
            like = min(others, key=lambda each: distance(each.hash, hash), default=None)
            self._seen.append(this)
        if like is not None and (apart := distance(like.hash, hash)) <= self.options.distance:
            self.ctx.log.warning(
                "picture.looks_alike",
                task=this.task,
                seed=this.seed,
                sha256=this.sha256,
                like_task=like.task,
                like_seed=like.seed,
                like_sha256=like.sha256,
                distance=apart,
            )
        return file


def dhash(image: Image) -> int:
    """Whether each of 8 × 8 areas is darker than the next one to its right, as 64 bits."""
    from PIL.Image import Resampling

    small = image.convert("L").resize((SIDE + 1, SIDE), Resampling.BOX)
    rows = [small.crop((0, y, SIDE + 1, y + 1)).tobytes() for y in range(SIDE)]
    bits = [left < right for row in rows for left, right in itertools.pairwise(row)]
    return sum(bit << place for place, bit in enumerate(bits))


def distance(one: int, other: int) -> int:
    """In how many bits two hashes differ."""
    return (one ^ other).bit_count()


def make_dedupe(options: DedupeOptions | None, ctx: hg.Context) -> Dedupe:
    """The factory."""
    return Dedupe(options or DedupeOptions(), ctx)


@hg.hookimpl
def register_processors(register: hg.Register) -> None:
    """Register the processor."""
    register(
        "dedupe",
        make_dedupe,
        options=DedupeOptions,
        summary="Warns of pictures that look alike; drops none.",
    )
