"""Reference pictures: checked and noted when a task is prepared, read when it is submitted.

A note holds a file's path and digest rather than megabytes of base64, because it is stored in
the journal; the digest is what makes a file that changed in between an error.
"""

from __future__ import annotations

import base64
import hashlib
import os
import threading
import warnings
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen.errors import InvalidTaskError, ProviderError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import holodeck_gen as hg
    from holodeck_gen_providers.hunyuan._tables import Model, References

_WEB = ("http://", "https://")
_WARNINGS = threading.Lock()


def note(given: str | hg.Artifact, model: Model) -> dict[str, str]:
    """What is stored of one reference picture: its ``url``, or ``path``, ``sha256`` and
    ``media_type``.

    Raises:
        InvalidTaskError: It cannot be read, or is not what the model takes.
    """
    references = model.references
    assert references is not None
    address = given if isinstance(given, str) else str(given.path or given.uri)
    if address.lower().startswith(_WEB):
        return {"url": address}
    if "://" in address or address.startswith("data:"):
        raise InvalidTaskError(
            f"the reference picture {address[:60]!r} is neither a web address nor a local file"
        )
    path = os.path.abspath(os.path.expanduser(address))
    try:
        state = os.stat(path)
        facts = _facts(path, state.st_size, state.st_mtime_ns)
        # Before all of it is read, which takes long if it is too large.
        _check(facts, path, references, model.name)
        sha256 = _sha256(path, state.st_size, state.st_mtime_ns)
    except InvalidTaskError:
        raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not a picture"
        raise InvalidTaskError(f"the reference picture {path} cannot be read: {reason}") from error
    return {"path": path, "sha256": sha256, "media_type": facts.media_type}


def attach(body: dict[str, Any], notes: Sequence[Mapping[str, str]], model: Model) -> None:
    """Put the reference pictures into the body of a request; reads files.

    Raises:
        ProviderError: A file is gone or has changed; nothing was sent.
    """
    references = model.references
    if references is None or not notes:
        return
    match references.form:
        case "object":
            body[references.field] = _member(notes[0], references)
        case "members":
            body.update(_member(notes[0], references))
        case "texts":
            body[references.field] = [each.get("url") or _base64(each) for each in notes]
        case "data_urls":
            body[references.field] = [_data_url(each) for each in notes]
        case "messages":
            parts = [{"type": "image_url", "image_url": {"url": _data_url(each)}} for each in notes]
            last = body["messages"][-1]
            body["messages"] = [
                *body["messages"][:-1],
                {**last, "content": [*last["content"], *parts]},
            ]


@attrs.frozen(kw_only=True)
class _Facts:
    media_type: str
    width: int
    height: int
    size_bytes: int


# A task is prepared once more for each of its parts, and many tasks may share one picture.
@lru_cache(maxsize=1024)
def _facts(path: str, size_bytes: int, _modified_ns: int) -> _Facts:
    from PIL import Image, UnidentifiedImageError

    # What is to be a warning is the same in all threads, so only one changes it at a time.
    with _WARNINGS, warnings.catch_warnings():
        # Only the header is read, and a picture of that many pixels is refused below.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            with Image.open(path) as image:
                width, height = image.size
                media_type = Image.MIME.get(image.format or "", "")
        except (Image.DecompressionBombError, UnidentifiedImageError, SyntaxError) as error:
            raise ValueError("not a picture") from error
    return _Facts(media_type=media_type, width=width, height=height, size_bytes=size_bytes)


@lru_cache(maxsize=1024)
def _sha256(path: str, _size_bytes: int, _modified_ns: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(facts: _Facts, path: str, references: References, model: str) -> None:
    where = f"the reference picture {path}"
    if facts.media_type not in references.media_types:
        takes = ", ".join(each.partition("/")[2] for each in references.media_types)
        raise InvalidTaskError(f"{where} is {facts.media_type}; {model} takes {takes}")
    if facts.size_bytes > references.max_bytes:
        raise InvalidTaskError(
            f"{where} has {facts.size_bytes} bytes; {model} takes {references.max_bytes}"
        )
    for side in (facts.width, facts.height):
        if not references.min_side <= side <= references.max_side:
            raise InvalidTaskError(
                f"{where} is {facts.width}x{facts.height}; {model} takes"
                f" {references.min_side} to {references.max_side} pixels a side"
            )


def _member(each: Mapping[str, str], references: References) -> dict[str, str]:
    if url := each.get("url"):
        return {references.url: url}
    return {references.base64: _base64(each)}


def _data_url(each: Mapping[str, str]) -> str:
    return each.get("url") or f"data:{each['media_type']};base64,{_base64(each)}"


def _base64(each: Mapping[str, str]) -> str:
    path = each["path"]
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise _gone(path, f"cannot be read: {error.strerror or error}") from error
    if hashlib.sha256(data).hexdigest() != each["sha256"]:
        raise _gone(path, "has changed since the task was prepared")
    return base64.b64encode(data).decode()


def _gone(path: str, reason: str) -> ProviderError:
    return ProviderError(f"the reference picture {path} {reason}", not_created=True)
