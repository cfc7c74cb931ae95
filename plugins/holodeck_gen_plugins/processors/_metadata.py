"""What a PNG, JPEG or WebP file says of its picture, read and added without touching a pixel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs
from immutabledict import immutabledict

from holodeck_gen_plugins.processors import _jpeg, _png, _webp

Format: TypeAlias = Literal["png", "jpeg", "webp"]

#: Says in XMP where the manifest of a signed picture is, if not in the file (C2PA 2.1, A.4).
_REMOTE_MANIFEST = b"dcterms:provenance"


@attrs.frozen(kw_only=True)
class Metadata:
    """The words in one file.

    Attributes:
        xmp: The XMP packet.
        exif: Exif as TIFF, without the ``Exif`` before it.
        texts: PNG's texts by their keywords, without XMP.
        signed: Whether a C2PA signature covers the file, so that nothing may be changed.
    """

    xmp: bytes | None = None
    exif: bytes | None = None
    texts: Mapping[str, str] = immutabledict()
    signed: bool = False


def read_metadata(data: bytes) -> Metadata | None:
    """Read what a file says of its picture; None where it is none of the three formats.

    Raises:
        ValueError: The file is damaged.
    """
    if data.startswith(_png.SIGNATURE):
        found = _read_png(data)
    elif data.startswith(_jpeg.START):
        found = _read_jpeg(data)
    elif _webp.is_webp(data):
        found = _read_webp(data)
    else:
        return None
    if found.xmp is not None and _REMOTE_MANIFEST in found.xmp:
        return attrs.evolve(found, signed=True)
    return found


def has_manifest(data: bytes) -> bool:
    """Whether a file of any other format seems to hold a C2PA manifest.

    One that only speaks of such boxes is taken for signed, too, and left alone.
    """
    return b"C2PA_GIF" in data or (b"jumb" in data and b"c2pa" in data)


def with_metadata(
    data: bytes, *, xmp: bytes | None = None, texts: Mapping[str, str] | None = None
) -> bytes:
    """The same picture with XMP and, in a PNG file, texts, each in place of what was there.

    Raises:
        ValueError: It cannot hold them, or is damaged.
    """
    if data.startswith(_png.SIGNATURE):
        packet = {} if xmp is None else {_png.XMP: xmp.decode()}
        return _png.with_texts(data, {**packet, **(texts or {})})
    if xmp is None:
        return data
    return _webp.with_xmp(data, xmp) if _webp.is_webp(data) else _jpeg.with_xmp(data, xmp)


def _read_png(data: bytes) -> Metadata:
    texts: dict[str, str] = {}
    exif, signed = None, False
    for kind, content, _, _ in _png.chunks(data):
        if text := _png.text_of(kind, content):
            texts.setdefault(*text)
        exif = content if kind == b"eXIf" else exif
        signed |= kind == b"caBX"
    packet = texts.pop(_png.XMP, None)
    xmp = None if packet is None else packet.encode()
    return Metadata(xmp=xmp, exif=exif, texts=texts, signed=signed)


def _read_jpeg(data: bytes) -> Metadata:
    xmp = exif = None
    signed = False
    for marker, content, _, _ in _jpeg.segments(data):
        if _jpeg.is_xmp(marker, content):
            xmp = xmp or content.removeprefix(_jpeg.XMP)
        elif _jpeg.is_exif(marker, content):
            exif = exif or content.removeprefix(_jpeg.EXIF)
        signed |= _jpeg.is_signature(marker, content)
    return Metadata(xmp=xmp, exif=exif, signed=signed)


def _read_webp(data: bytes) -> Metadata:
    found: dict[bytes, bytes] = {}
    for kind, content in _webp.chunks(data):
        found.setdefault(kind, content)
    exif = found.get(b"EXIF")
    return Metadata(
        xmp=found.get(b"XMP "),
        # Some writers keep the prefix that only JPEG has.
        exif=None if exif is None else exif.removeprefix(_jpeg.EXIF),
        signed=b"C2PA" in found,
    )
