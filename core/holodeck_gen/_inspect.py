"""What a file is, by its bytes and never by its name."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from holodeck_gen.errors import ProcessingError

if TYPE_CHECKING:
    from pathlib import Path

#: Pixels; Pillow alone would open four times as many without a word.
MAX_PIXELS = 2**26

_SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/webp": ".webp",
    "image/gif": ".gif",
    "image/bmp": ".bmp",
    "image/tiff": ".tif",
    "model/gltf-binary": ".glb",
    "model/obj": ".obj",
    "model/stl": ".stl",
    "model/vnd.usdz+zip": ".usdz",
    "model/x-fbx": ".fbx",
    "application/zip": ".zip",
    "video/mp4": ".mp4",
    "application/json": ".json",
    "application/rdf+xml": ".xmp",
}

#: How a page begins that tells of an error in place of a file.
_PAGES = (b"<!doctype", b"<html", b"<?xml")


@attrs.frozen(kw_only=True)
class FileFacts:
    """Facts of one file; `width` and `height` in pixels for pictures."""

    media_type: str
    sha256: str
    size_bytes: int
    width: int | None = None
    height: int | None = None

    @property
    def suffix(self) -> str:
        """The usual suffix of its type, with its dot; empty where there is none."""
        return _SUFFIXES.get(self.media_type, "")


def inspect_file(path: Path, *, kind: str, declared: str | None = None) -> FileFacts:
    """Read a file's facts; for pictures from the header, without decoding.

    Args:
        path: A local file.
        kind: The task's kind: with ``"image"`` anything but a picture is refused, with
            ``"model3d"`` a page that tells of an error.
        declared: The media type the provider gave, used where the bytes do not tell.

    Raises:
        ProcessingError: It is not what it should be.
    """
    with path.open("rb") as file:
        head = file.read(64)
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_bytes = path.stat().st_size
    if size_bytes == 0:
        raise ProcessingError("the provider's file is empty", stage="check")
    if head.startswith(b"glTF"):
        return FileFacts(media_type="model/gltf-binary", sha256=sha256, size_bytes=size_bytes)
    picture = _picture(path)
    if picture is not None:
        media_type, width, height = picture
        return FileFacts(
            media_type=media_type, sha256=sha256, size_bytes=size_bytes, width=width, height=height
        )
    if kind == "image":
        raise ProcessingError(
            f"the provider's file is not a picture: {_guess(head)}", stage="check"
        )
    if kind == "model3d" and head.lstrip()[:9].lower().startswith(_PAGES):
        raise ProcessingError(
            f"the provider's file is not a 3D model: it starts with {head[:16]!r}", stage="check"
        )
    media_type = declared or "application/octet-stream"
    if head.startswith(b"PK\x03\x04") and not media_type.endswith("zip"):
        # A model with its textures, whatever the format inside.
        media_type = "application/zip"
    return FileFacts(media_type=media_type, sha256=sha256, size_bytes=size_bytes)


def without_suffix(name: str) -> str:
    """`name` without the suffix of a type that is known, if it has one."""
    stem, dot, end = name.rpartition(".")
    return stem if stem and (dot + end).lower() in (*_SUFFIXES.values(), ".jpeg", ".tiff") else name


def is_whole(path: Path) -> bool:
    """Whether a file is a picture that can be decoded to its end, or one that is too large to."""
    from PIL import Image

    try:
        if _picture(path) is None:
            return False
        with Image.open(path) as image:
            image.load()
    except ProcessingError:
        return True
    except (OSError, ValueError, SyntaxError, EOFError):
        return False
    return True


def _picture(path: Path) -> tuple[str, int, int] | None:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
            media_type = Image.MIME.get(image.format or "", "application/octet-stream")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ProcessingError(
            f"the picture is a decompression bomb: {error}", stage="check"
        ) from error
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError):
        return None
    if width * height > MAX_PIXELS:
        raise ProcessingError(
            f"the picture claims {width}x{height} pixels; at most {MAX_PIXELS} are taken",
            stage="check",
        )
    return media_type, width, height


def _guess(head: bytes) -> str:
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"{", b"[")):
        return "it is JSON"
    return f"it starts with {head[:16]!r}"
