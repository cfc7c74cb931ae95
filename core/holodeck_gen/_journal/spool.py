"""The spool, where raw files wait to be stored: written piece by piece, and whole or absent."""

from __future__ import annotations

import asyncio
import contextlib
import os
from io import BufferedWriter
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import finish
from holodeck_gen._model.origin import Origin
from holodeck_gen._model.values import JsonObject
from holodeck_gen.errors import StorageError
from holodeck_gen.files import sync_folder

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

#: Below the journal's folder; holds what is fetched and not yet stored.
SPOOL = ".spool"
#: How the names of folders end in which a raw file is worked on; they begin as the file's.
WORK = ".work"
#: Bytes that are gathered before a thread writes them. What comes at once takes one visit.
PIECE = 2**20


@attrs.frozen(kw_only=True)
class RawFile:
    """An output as the provider sent it, in the spool.

    Attributes:
        place: Which of its job's outputs it is, from 0, where that is known.
        origin: How it came about, where a sidecar is to tell that.
    """

    path: Path
    place: int | None = None
    media_type: str | None = None
    seed: int | None = None
    revised_prompt: str | None = None
    metadata: JsonObject
    origin: Origin | None = None


@attrs.define(kw_only=True, eq=False)
class SpoolFile:
    """One file that comes into being where the ``async with`` block ends without an error.

    Args:
        path: Its name; a file that has it is replaced.
        durable: Whether it must be on the disk, and not only on its way there.
    """

    path: Path
    durable: bool
    _waiting: list[bytes] = attrs.field(factory=list, init=False)
    _size: int = attrs.field(default=0, init=False)
    _file: BufferedWriter | None = attrs.field(default=None, init=False)

    async def __aenter__(self) -> SpoolFile:
        return self

    async def write(self, data: bytes) -> None:
        """Add `data`.

        Raises:
            StorageError: It cannot be written; its cause is the `OSError`.
        """
        if self._waiting and self._size + len(data) > PIECE:
            await self._run(self._flush)
        self._waiting.append(data)
        self._size += len(data)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is not None:
            await self._run(self._discard)
            return
        try:
            await self._run(self._commit)
        except StorageError:
            await self._run(self._discard)
            raise

    async def _run(self, step: Callable[[], None]) -> None:
        try:
            # Not cancelled half-way: a file must not be closed while a thread writes to it.
            await finish(asyncio.ensure_future(asyncio.to_thread(step)))
        except OSError as error:
            raise StorageError(
                f"the spool {self.path.parent} cannot be written: {error.strerror or error}",
                stage="spool",
            ) from error

    @property
    def _aside(self) -> Path:
        return self.path.with_suffix(".part")

    def _flush(self) -> None:
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._aside.open("wb")
        self._file.writelines(self._waiting)
        self._waiting, self._size = [], 0

    def _commit(self) -> None:
        self._flush()
        assert self._file is not None
        self._file.flush()
        if self.durable:
            os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._aside, self.path)
        if self.durable:
            sync_folder(self.path.parent)

    def _discard(self) -> None:
        if self._file is not None:
            # What the disk did not take is tried once more, in vain.
            with contextlib.suppress(OSError):
                self._file.close()
        with contextlib.suppress(OSError):
            self._aside.unlink(missing_ok=True)
