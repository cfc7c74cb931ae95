"""The chunks of PNG that hold words about a picture (PNG, third edition, clauses 5 and 11.3)."""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The keyword of the chunk that holds XMP (XMP part 3, 1.1.5).
XMP = "XML:com.adobe.xmp"
#: Bytes; a longer text is left packed and counts as unreadable.
MAX_TEXT = 1 << 22


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Type, content, begin and end of each chunk, up to the last whole one.

    Raises:
        ValueError: The file ends within a chunk.
    """
    at = len(SIGNATURE)
    while at < len(data):
        if at + 12 > len(data):
            raise ValueError("the PNG file ends within a chunk")
        length, kind = struct.unpack_from(">I4s", data, at)
        end = at + 12 + length
        if end > len(data):
            raise ValueError("the PNG file ends within a chunk")
        yield kind, data[at + 8 : end - 4], at, end
        if kind == b"IEND":
            return
        at = end


def text_of(kind: bytes, content: bytes) -> tuple[str, str] | None:
    """Keyword and text of a chunk; None where it holds none, or none that can be read."""
    keyword, nul, rest = content.partition(b"\0")
    if not nul or kind not in (b"tEXt", b"zTXt", b"iTXt"):
        return None
    try:
        if kind == b"tEXt":
            return keyword.decode("latin-1"), rest.decode("latin-1")
        if kind == b"zTXt":
            return keyword.decode("latin-1"), _unpacked(rest[1:]).decode("latin-1")
        _language, _, rest_text = rest[2:].partition(b"\0")
        _translated, _, text = rest_text.partition(b"\0")
        packed = rest[:1] == b"\x01"
        return keyword.decode("latin-1"), (_unpacked(text) if packed else text).decode()
    except (ValueError, zlib.error):
        return None


def with_texts(data: bytes, texts: Mapping[str, str]) -> bytes:
    """The same picture with these texts in place of others with the same keywords."""
    parts = [SIGNATURE]
    for kind, content, begin, end in chunks(data):
        known = text_of(kind, content)
        if known is None or known[0] not in texts:
            parts.append(data[begin:end])
        if kind == b"IHDR":
            parts += [_text_chunk(keyword, text) for keyword, text in texts.items()]
    return b"".join(parts)


def _text_chunk(keyword: str, text: str) -> bytes:
    key = keyword.encode("latin-1")
    try:
        if keyword == XMP:
            # XMP is in an iTXt chunk whatever its characters are.
            raise UnicodeError
        return _chunk(b"tEXt", key + b"\0" + text.encode("latin-1"))
    except UnicodeError:
        return _chunk(b"iTXt", key + b"\0\0\0\0\0" + text.encode())


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", check)


def _unpacked(packed: bytes) -> bytes:
    unpacker = zlib.decompressobj()
    text = unpacker.decompress(packed, MAX_TEXT)
    if unpacker.unconsumed_tail:
        raise ValueError(f"more than {MAX_TEXT} bytes of text")
    return text
