"""Lines of text out of bytes, each decoded on its own."""

from __future__ import annotations

import codecs
from typing import TYPE_CHECKING

from holodeck_gen.errors import InvalidTaskError

if TYPE_CHECKING:
    from typing import BinaryIO

#: Bytes; a longer line is a mistake, and is never held in memory.
MAX_LINE = 1_000_000


class Lines:
    """An iterator over lines, with their ends; after an error it goes on with the next line.

    Attributes:
        number: The number of the line that came last, from 1.
        torn: Whether that line had no end, so that it may have been cut off.

    Raises:
        InvalidTaskError: From ``next``: the line is too long or cannot be decoded.
    """

    def __init__(self, stream: BinaryIO, *, encoding: str) -> None:
        self.number = 0
        self.torn = False
        self._stream = stream
        self._encoding = encoding

    def __iter__(self) -> Lines:
        return self

    def __next__(self) -> str:
        data = self._stream.readline(MAX_LINE + 1)
        if not data:
            raise StopIteration
        self.number += 1
        self.torn = not data.endswith(b"\n")
        if len(data) > MAX_LINE and self.torn:
            self._skip()
            raise InvalidTaskError(f"longer than {MAX_LINE} bytes")
        if self.number == 1:
            data = data.removeprefix(codecs.BOM_UTF8)
        try:
            text = data.decode(self._encoding)
        except UnicodeError as error:
            hint = "; say which encoding it has (--encoding)" if self.number == 1 else ""
            raise InvalidTaskError(
                f"byte {getattr(error, 'start', 0) + 1} is not {self._encoding.upper()}{hint}"
            ) from error
        return text.removesuffix("\n").removesuffix("\r") + "\n"

    def _skip(self) -> None:
        while data := self._stream.readline(1 << 16):
            if data.endswith(b"\n"):
                self.torn = False
                return
