"""`Task`: one wish of the user."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from holodeck_gen._model.artifact import Artifact
from holodeck_gen._model.size import parse_size
from holodeck_gen._model.values import JsonObject, check_integer, check_text, freeze_object
from holodeck_gen.errors import InvalidTaskError

#: A reference picture: a URL, a path, or the artifact of an earlier task.
Input: TypeAlias = str | Artifact

#: Generous: the longest prompt a known provider takes has 8 192 characters.
MAX_PROMPT = 100_000
MAX_ID = 500
MAX_PARTS = 10_000

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def _inputs(value: Iterable[Input | os.PathLike[str]] | None) -> tuple[Input, ...]:
    if value is None:
        return ()
    if isinstance(value, str | os.PathLike | Artifact) or not isinstance(value, Iterable):
        raise InvalidTaskError("inputs must be a list, also where there is only one")
    return tuple(_input(item) for item in value)


def _input(item: Input | os.PathLike[str]) -> Input:
    if isinstance(item, Artifact):
        # What lies beside a picture does not change what is asked for.
        return attrs.evolve(item, sidecar=None)
    return os.fspath(item) if isinstance(item, os.PathLike) else item


def _check_inputs(_task: object, _attribute: object, value: tuple[object, ...]) -> None:
    for item in value:
        if not isinstance(item, str | Artifact) or not item:
            raise InvalidTaskError("inputs must hold URLs, paths or artifacts")


def _check_id(_task: object, _attribute: object, value: str | None) -> None:
    if value is None:
        return
    if not value.strip() or len(value) > MAX_ID or _CONTROL.search(value):
        raise InvalidTaskError(
            f"id must have 1 to {MAX_ID} characters and none that controls a terminal"
        )


@attrs.frozen
class Task:
    """What is to be made.

    Attributes:
        prompt: The words. May be empty only where `inputs` are given.
        id: A name of the user's, unique within a run; it is the task's key on resume.
        kind: ``"image"``, ``"model3d"``, …
        model: The provider's name of a model; None means its default.
        size: Width and height in pixels. Takes ``(w, h)``, ``"WxH"`` and ``"W:H"``.
        seed: Makes a result repeatable where the provider can; picture i of n uses seed + i.
        n: How many pictures.
        negative_prompt: What to avoid.
        style: The provider's name of a style.
        inputs: Reference pictures: URLs, paths, or artifacts of earlier tasks.
        provider: The name of the provider that is to make it; None means the studio's.
        provider_options: Passed through to the provider, which checks them.
        output: The file's name below the output folder; overrides the name template.
        metadata: Anything of the user's; returned with the outcome and usable in names.
        priority: Higher goes first.
        affinity: Tasks of one affinity go to one provider.

    Raises:
        InvalidTaskError: A field cannot be what it is.
    """

    prompt: str = attrs.field(default="", validator=check_text)
    id: str | None = attrs.field(default=None, kw_only=True, validator=[check_text, _check_id])
    kind: str = attrs.field(default="image", kw_only=True, validator=check_text)
    model: str | None = attrs.field(default=None, kw_only=True, validator=check_text)
    size: tuple[int, int] | None = attrs.field(default=None, kw_only=True, converter=parse_size)
    seed: int | None = attrs.field(
        default=None, kw_only=True, validator=check_integer(0, 2**63 - 1)
    )
    n: int = attrs.field(default=1, kw_only=True, validator=check_integer(1, MAX_PARTS))
    negative_prompt: str | None = attrs.field(default=None, kw_only=True, validator=check_text)
    style: str | None = attrs.field(default=None, kw_only=True, validator=check_text)
    inputs: tuple[Input, ...] = attrs.field(
        default=(), kw_only=True, converter=_inputs, validator=_check_inputs
    )
    provider: str | None = attrs.field(default=None, kw_only=True, validator=check_text)
    provider_options: JsonObject = attrs.field(
        default=None, kw_only=True, converter=freeze_object, hash=False
    )
    output: str | None = attrs.field(default=None, kw_only=True, validator=check_text)
    metadata: JsonObject = attrs.field(
        default=None, kw_only=True, converter=freeze_object, hash=False
    )
    priority: int = attrs.field(
        default=0, kw_only=True, validator=check_integer(-1_000_000, 1_000_000)
    )
    affinity: str | None = attrs.field(default=None, kw_only=True, validator=check_text)

    def __attrs_post_init__(self) -> None:
        for name in ("prompt", "kind", "n", "priority"):
            if getattr(self, name) is None:
                raise InvalidTaskError(f"{name} cannot be null")
        if not self.prompt.strip() and not self.inputs:
            raise InvalidTaskError("the prompt is empty")
        if len(self.prompt) > MAX_PROMPT:
            raise InvalidTaskError(
                f"the prompt has {len(self.prompt)} characters; at most {MAX_PROMPT} are taken"
            )
