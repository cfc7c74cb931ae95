"""The chunks of WebP that hold words about a picture (RFC 9649)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Flags of the extended header.
_ALPHA, _XMP = 0x10, 0x04


def is_webp(data: bytes) -> bool:
    """Whether it begins as such a file does."""
    return data[:4] == b"RIFF" and data[8:12] == b"WEBP"


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Type and content of each chunk.

    Raises:
        ValueError: The file ends within a chunk.
    """
    at, end = 12, min(len(data), 8 + struct.unpack_from("<I", data, 4)[0])
    while at + 8 <= end:
        kind, length = struct.unpack_from("<4sI", data, at)
        if at + 8 + length > len(data):
            raise ValueError("the WebP file ends within a chunk")
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def with_xmp(data: bytes, xmp: bytes) -> bytes:
    """The same picture with `xmp` in place of what XMP it has.

    Raises:
        ValueError: It has no picture.
    """
    kept = [(kind, content) for kind, content in chunks(data) if kind != b"XMP "]
    if not kept:
        raise ValueError("the WebP file holds nothing")
    if kept[0][0] == b"VP8X":
        header = bytearray(kept.pop(0)[1])
        header[0] |= _XMP
    else:
        header = bytearray(_header(*kept[0]))
    # C2PA's chunk, where there is one, is to be the last; then nothing may be added anyway.
    parts = [(b"VP8X", bytes(header)), *kept, (b"XMP ", xmp)]
    body = b"WEBP" + b"".join(_chunk(kind, content) for kind, content in parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def _header(kind: bytes, content: bytes) -> bytes:
    """The extended header of a file that has only a picture."""
    flags = _XMP
    if kind == b"VP8L" and len(content) >= 5:
        bits = int.from_bytes(content[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        flags |= _ALPHA if bits >> 28 & 1 else 0
    elif kind == b"VP8 " and len(content) >= 10:
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", content, 6))
    else:
        raise ValueError("the WebP file begins with no picture")
    sides = (side.to_bytes(3, "little") for side in (width - 1, height - 1))
    return bytes([flags, 0, 0, 0]) + b"".join(sides)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
