"""What a file is, by its bytes and never by its name."""

from __future__ import annotations

import hashlib
import io
import struct
from typing import TYPE_CHECKING, TypeAlias

import attrs

from holodeck_gen._calls import words
from holodeck_gen.errors import ProcessingError

if TYPE_CHECKING:
    from pathlib import Path

#: Pixels; Pillow alone would open four times as many without a word.
MAX_PIXELS = 2**26

#: By Pillow's names. It reads many more: rare ones that nobody has tried with bytes of strangers,
#: and PostScript, for which it runs another program.
FORMATS = ("PNG", "JPEG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")

_SUFFIXES = {
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/mpo": ".jpg",
    "image/webp": ".webp",
    "image/avif": ".avif",
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

_File: TypeAlias = io.BytesIO | io.BufferedReader
#: Bytes that tell what a file is not.
_HEAD = 64
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


def inspect_file(
    path: Path, *, kind: str, declared: str | None = None, decode: bool = False
) -> FileFacts:
    """Read a file's facts; for pictures from the header, unless `decode` is set.

    Args:
        path: A local file.
        kind: The task's kind: with ``"image"`` anything but a picture is refused, with
            ``"model3d"`` a page that tells of an error, and ``"sidecar"`` is what it is declared.
        declared: The media type the provider gave, used where the bytes do not tell.
        decode: Whether a picture is decoded to its end, which finds out what is missing.

    Raises:
        ProcessingError: It is not what it should be.
    """
    with _opened(path, kind) as file:
        return _facts(file, kind=kind, declared=declared, decode=decode)


def _facts(file: _File, *, kind: str, declared: str | None, decode: bool) -> FileFacts:
    head = file.read(_HEAD)
    file.seek(0)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    size_bytes = file.seek(0, io.SEEK_END)
    if size_bytes == 0:
        raise ProcessingError("the provider's file is empty", stage="check")
    if kind == "sidecar" and declared is not None:
        return FileFacts(media_type=declared, sha256=sha256, size_bytes=size_bytes)
    if kind != "image" and head.startswith(b"glTF"):
        return FileFacts(media_type="model/gltf-binary", sha256=sha256, size_bytes=size_bytes)
    try:
        media_type, width, height = _picture(file, head, decode=decode)
    except _NoPictureError as error:
        if kind == "image":
            raise ProcessingError(
                f"the provider's file is not a picture: {error}", stage="check"
            ) from error
    else:
        return FileFacts(
            media_type=media_type, sha256=sha256, size_bytes=size_bytes, width=width, height=height
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


def pixels(path: Path) -> int:
    """How many a picture is decoded to, by its header; 0 where it is none, or will not be."""
    with path.open("rb") as file:
        try:
            _, width, height = _picture(file, file.read(_HEAD), decode=False)
        except (ProcessingError, _NoPictureError):
            return 0
    return width * height


def damage(path: Path) -> str | None:
    """Why a file is no picture that can be decoded to its end; None where it is one.

    What is too large to be decoded is not damaged: it would be no smaller if it came again.
    """
    with _opened(path, "image") as file:
        try:
            _picture(file, file.read(_HEAD), decode=True)
        except ProcessingError:
            return None
        except _NoPictureError as error:
            return str(error)
    return None


def _opened(path: Path, kind: str) -> _File:
    """A file to be read; a picture from memory, as each look at a file wakes other threads."""
    return io.BytesIO(path.read_bytes()) if kind == "image" else path.open("rb")


class _NoPictureError(ValueError):
    """Says what a file is instead."""


def _picture(file: _File, head: bytes, *, decode: bool) -> tuple[str, int, int]:
    """Media type, width and height.

    Raises:
        _NoPictureError: It is none, or damaged.
        ProcessingError: It is too large.
    """
    from PIL import Image, UnidentifiedImageError

    # Registers those that this Pillow has.
    Image.init()
    formats = [each for each in FORMATS if each in Image.OPEN]
    try:
        with Image.open(file, formats=formats) as image:
            width, height = image.size
            media_type = Image.MIME.get(image.format or "", "application/octet-stream")
            if width * height > MAX_PIXELS:
                raise ProcessingError(
                    f"the picture claims {width}x{height} pixels; at most {MAX_PIXELS} are taken",
                    stage="check",
                )
            if decode:
                image.load()
    except ProcessingError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ProcessingError(
            f"the picture is a decompression bomb: {error}", stage="check"
        ) from error
    except UnidentifiedImageError as error:
        raise _NoPictureError(_guess(head)) from error
    except Exception as error:
        # Pillow raises whatever comes up while it reads what somebody has made up.
        raise _NoPictureError(f"it is damaged or not all there: {words(error)}") from error
    if decode and media_type == "image/png" and not _has_end(file):
        # Pillow does not miss what may come after the pixels, such as labels.
        raise _NoPictureError("it is not all there: it ends before a PNG file's last chunk")
    return media_type, width, height


def _has_end(file: _File) -> bool:
    """Whether a PNG file goes on to its last chunk."""
    file.seek(8)
    while len(header := file.read(8)) == 8:
        length, kind = struct.unpack(">I4s", header)
        if kind == b"IEND":
            return True
        file.seek(length + 4, io.SEEK_CUR)
    return False


def _guess(head: bytes) -> str:
    start = head.lstrip()[:15].lower()
    if start.startswith((b"<!doctype", b"<html")):
        return "it is an HTML page"
    if start.startswith((b"{", b"[")):
        return "it is JSON"
    return f"it starts with {head[:16]!r}"
