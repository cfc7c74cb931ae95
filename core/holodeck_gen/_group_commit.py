"""Many writes in one transaction: what comes while the disk is busy waits for the next one."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias, TypeVar

import attrs

from holodeck_gen._journal_file import RESERVE, translate, translated
from holodeck_gen._journal_writes import Write
from holodeck_gen._log import Logger
from holodeck_gen.errors import GenerationError, JournalCorruptError

T = TypeVar("T")
#: Asks inside the transaction, and may write there.
Question: TypeAlias = Callable[[], T]
#: A row, or a question; and who waits until that is durable.
_Waiting: TypeAlias = "tuple[Write | Question[Any], asyncio.Future[Any] | None]"

#: Rows and questions in one transaction; more would keep the loop from its other work.
MAX_BATCH = 256
_log = Logger("holodeck_gen.journal")


class Commits(Protocol):
    """How rows get into a journal."""

    async def run(self, question: Question[T]) -> T:
        """Call `question` in the next transaction; returns when that is durable.

        Raises:
            GenerationError: The journal cannot be written.
            Exception: What `question` raised before it wrote anything.
        """
        ...

    async def tell(self, write: Write) -> None:
        """Write a row; returns when that is durable. Raises as `run`."""
        ...

    def put(self, write: Write) -> None:
        """Write a row in its turn; nobody waits for it.

        Raises:
            GenerationError: The journal could not be written before.
        """
        ...


@attrs.frozen
class Immediate:
    """Writes at once, to a journal that only lives as long as the process."""

    connection: sqlite3.Connection

    async def run(self, question: Question[T]) -> T:
        return question()

    async def tell(self, write: Write) -> None:
        self.put(write)

    def put(self, write: Write) -> None:
        self.connection.execute(write.statement, write.values)


@attrs.define(kw_only=True, eq=False)
class GroupCommit:
    """Writes to disk, as many as there are at a time; the commit runs in a thread of its own.

    Args:
        connection: To the journal.
        path: The journal's file.
        check: Called first in each transaction; raises where nothing may be written.
        on_full: Told that the disk is full; makes a little room.
    """

    connection: sqlite3.Connection
    path: Path
    check: Callable[[], None]
    on_full: Callable[[], None]
    _thread: ThreadPoolExecutor = attrs.field(init=False)
    _broken: GenerationError | None = attrs.field(default=None, init=False)
    _queue: list[_Waiting] = attrs.field(factory=list, init=False)
    _writing: asyncio.Future[Any] | None = attrs.field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holodeck-gen-journal")

    async def run(self, question: Question[T]) -> T:
        answer: asyncio.Future[T] = self._running_loop().create_future()
        self._put(question, answer)
        return await answer

    async def tell(self, write: Write) -> None:
        done: asyncio.Future[None] = self._running_loop().create_future()
        self._put(write, done)
        await done

    def put(self, write: Write) -> None:
        self._put(write, None)

    def run_now(self, operation: Question[object]) -> None:
        """Call `operation` in a transaction, while no loop uses the journal. Blocks.

        Raises:
            JournalError, PausedError: The journal cannot be written.
            Exception: What `operation` raised; then nothing is written.
        """
        with translated(self.path):
            (answer,) = self._begin([operation])
            if isinstance(answer, Exception):
                self._roll_back()
                raise answer
            self.connection.execute("COMMIT")

    async def aclose(self, last: Callable[[], None]) -> None:
        """Write what is left, then call `last` in the thread."""
        while self._writing is not None or self._queue:
            self._flush()
            if self._writing is not None:
                await asyncio.wait({self._writing})
        await asyncio.get_running_loop().run_in_executor(self._thread, last)
        self._thread.shutdown(wait=True)

    def close(self, last: Callable[[], None]) -> None:
        """As `aclose`, where no loop has used it. Blocks."""
        last()
        self._thread.shutdown(wait=True)

    def _put(self, work: Write | Question[Any], done: asyncio.Future[Any] | None) -> None:
        if self._broken is not None:
            raise self._broken
        self._queue.append((work, done))
        if self._writing is None and len(self._queue) == 1:
            self._flush_soon()

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # Asking asyncio costs a system call each time.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _flush_soon(self) -> None:
        # After this turn of the loop, so that what others put in it comes along.
        self._running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Do what is in the queue, and begin to make it durable."""
        if self._writing is not None or not self._queue:
            return
        batch, self._queue = self._queue[:MAX_BATCH], self._queue[MAX_BATCH:]
        self._write(batch)

    def _write(self, batch: Sequence[_Waiting], *, again: bool = False) -> None:
        try:
            # Here and not in the thread: SQLite gives up the interpreter's lock for every
            # statement, and two threads that fight for it need twice the time. Only the commit
            # waits for the disk.
            answers = self._begin([work for work, _ in batch])
        except Exception as error:
            self._failed(batch, error, again=again)
            return
        commit = partial(self.connection.execute, "COMMIT")
        self._writing = self._running_loop().run_in_executor(self._thread, commit)
        self._writing.add_done_callback(partial(self._written, batch, answers, again))

    def _written(
        self,
        batch: Sequence[_Waiting],
        answers: Sequence[Any],
        again: bool,
        writing: asyncio.Future[object],
    ) -> None:
        self._writing = None
        error = writing.exception()
        if isinstance(error, Exception):
            self._failed(batch, error, again=again)
        else:
            _settle(batch, answers)
        # Those who have waited go on first, and have something new to write.
        self._flush_soon()

    def _failed(self, batch: Sequence[_Waiting], error: Exception, *, again: bool) -> None:
        """Try once more where the disk is full; else nothing more can be remembered."""
        self._roll_back()
        if isinstance(error, sqlite3.Error):
            if _no_room(error, self.path.parent) and not again:
                self.on_full()
                self._write(batch, again=True)
                return
            error = translate(error, self.path)
        if isinstance(error, GenerationError):
            self._broken = error
        _log.error("journal.broken", path=str(self.path), error=str(error))
        _settle(batch, [error] * len(batch))

    def _begin(self, batch: Sequence[Write | Question[Any]]) -> list[Any]:
        self.connection.execute("BEGIN IMMEDIATE")
        try:
            self.check()
            kinds: dict[tuple[int, str], list[tuple[Any, ...]]] = {}
            for work in batch:
                if isinstance(work, Write):
                    kinds.setdefault((work.rank, work.statement), []).append(work.values)
            for (_, statement), rows in sorted(kinds.items()):
                self.connection.executemany(statement, rows)
            return [None if isinstance(work, Write) else _answer(work) for work in batch]
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self.connection.in_transaction:
            self.connection.execute("ROLLBACK")


def _settle(batch: Sequence[_Waiting], answers: Sequence[Any]) -> None:
    for (_, done), answer in zip(batch, answers, strict=True):
        if done is None or done.done():
            continue
        if isinstance(answer, BaseException):
            done.set_exception(answer)
        else:
            done.set_result(answer)


def _answer(question: Question[Any]) -> Any:
    try:
        return question()
    except (sqlite3.Error, JournalCorruptError):
        raise
    except Exception as error:
        # A fault of one question, found before it wrote anything, is its caller's alone.
        return error


def _no_room(error: sqlite3.Error, folder: Path) -> bool:
    """Whether a full disk is the reason; of the memory that readers share SQLite says less."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or (
        code == sqlite3.SQLITE_IOERR and shutil.disk_usage(folder).free < RESERVE // 8
    )
