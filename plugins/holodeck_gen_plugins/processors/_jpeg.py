"""The segments of JPEG that hold words about a picture (ITU-T T.81, annex B; XMP part 3, 1.1.3)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

START = b"\xff\xd8"
XMP = b"http://ns.adobe.com/xap/1.0/\0"
EXIF = b"Exif\0\0"
#: Bytes; a segment's length has 16 bits and counts itself.
MAX_XMP = 0xFFFF - 2 - len(XMP)

_APP0, _APP1, _APP11, _SCAN = 0xE0, 0xE1, 0xEB, 0xDA
#: Markers without a length.
_ALONE = {0x01, *range(0xD0, 0xD9)}


def segments(data: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Marker, content, begin and end of each segment before the picture itself.

    Raises:
        ValueError: There is something else where a segment should begin.
    """
    at = len(START)
    while True:
        while data[at : at + 2] == b"\xff\xff":
            at += 1
        if data[at : at + 1] != b"\xff" or at + 4 > len(data):
            raise ValueError("the JPEG file has no picture after its header")
        marker = data[at + 1]
        if marker == _SCAN:
            return
        if marker in _ALONE:
            at += 2
            continue
        (length,) = struct.unpack_from(">H", data, at + 2)
        end = at + 2 + length
        if length < 2 or end > len(data):
            raise ValueError("the JPEG file ends within its header")
        yield marker, data[at + 4 : end], at, end
        at = end


def is_xmp(marker: int, content: bytes) -> bool:
    """Whether a segment holds XMP."""
    return marker == _APP1 and content.startswith(XMP)


def is_exif(marker: int, content: bytes) -> bool:
    """Whether a segment holds Exif."""
    return marker == _APP1 and content.startswith(EXIF)


def is_signature(marker: int, content: bytes) -> bool:
    """Whether a segment is of a C2PA manifest: JUMBF boxes (C2PA 2.1, A.3.1)."""
    return marker == _APP11 and content.startswith(b"JP") and b"c2pa" in content[:256]


def with_xmp(data: bytes, xmp: bytes) -> bytes:
    """The same picture with `xmp` in place of what XMP it has.

    Raises:
        ValueError: It is longer than `MAX_XMP`.
    """
    if len(xmp) > MAX_XMP:
        raise ValueError(f"a JPEG file takes {MAX_XMP} bytes of XMP, not {len(xmp)}")
    content = XMP + xmp
    new = b"\xff\xe1" + struct.pack(">H", len(content) + 2) + content
    found = list(segments(data))
    # JFIF and Exif both want to be first; readers take them in this order.
    first = [s for s in found if s[0] == _APP0 or is_exif(s[0], s[1])]
    place = max((end for *_, end in first), default=len(START))
    parts, at = [], 0
    for marker, content, begin, end in found:
        if begin >= place and new:
            parts.append(data[at:place] + new)
            at, new = place, b""
        if is_xmp(marker, content):
            parts.append(data[at:begin])
            at = end
    parts.append(data[at:place] + new if new else b"")
    return b"".join(parts) + data[max(at, place) :]
