"""Many writes in one transaction: what comes while the disk is busy waits for the next one."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import attrs

from holodeck_gen._journal.batch import Answer, Batch, Question, Survey
from holodeck_gen._journal.file import RESERVE, translate, translated
from holodeck_gen._log import Logger
from holodeck_gen.errors import GenerationError

if TYPE_CHECKING:
    from holodeck_gen._journal.writes import Write

T = TypeVar("T")
A = TypeVar("A")

#: Rows and questions in one transaction; more would keep the loop from its other work.
MAX_BATCH = 512
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

    async def ask(self, survey: Survey[A, T], about: A) -> T:
        """As `run`; who asks the same in one transaction is answered by one call."""
        ...

    def tell(self, write: Write) -> Awaitable[None]:
        """Write a row in its turn; whoever waits for that waits until it is durable.

        Raises as `run`.
        """
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

    async def ask(self, survey: Survey[A, T], about: A) -> T:
        return survey([about])[0]

    async def tell(self, write: Write) -> None:
        self.put(write)

    def put(self, write: Write) -> None:
        _, statement, values = write
        self.connection.execute(statement, values)


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
    _queue: deque[Batch] = attrs.field(factory=deque, init=False)
    _writing: asyncio.Future[Any] | None = attrs.field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holodeck-gen-journal")

    async def run(self, question: Question[T]) -> T:
        answer: asyncio.Future[T] = self._running_loop().create_future()
        self._batch().questions.append((question, answer))
        return await answer

    async def ask(self, survey: Survey[A, T], about: A) -> T:
        answer: asyncio.Future[T] = self._running_loop().create_future()
        self._batch().surveys.setdefault(survey, []).append((about, answer))
        return await answer

    def tell(self, write: Write) -> Awaitable[None]:
        # Not a coroutine: the one who calls it waits, and one frame less is woken for each row.
        done: asyncio.Future[None] = self._running_loop().create_future()
        batch = self._batch()
        batch.add(write)
        batch.told.append(done)
        return done

    def put(self, write: Write) -> None:
        self._batch().add(write)

    def run_now(self, operation: Question[object]) -> None:
        """Call `operation` in a transaction, while no loop uses the journal. Blocks.

        Raises:
            JournalError, PausedError: The journal cannot be written.
            Exception: What `operation` raised; then nothing is written.
        """
        with translated(self.path), self._transaction():
            operation()

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

    def _batch(self) -> Batch:
        """The next transaction, with room for one more."""
        if self._broken is not None:
            raise self._broken
        if not self._queue or self._queue[-1].size >= MAX_BATCH:
            self._queue.append(Batch())
            if self._writing is None and len(self._queue) == 1:
                self._flush_soon()
        batch = self._queue[-1]
        batch.size += 1
        return batch

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        # Asking asyncio costs a system call each time.
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def _flush_soon(self) -> None:
        # After this turn of the loop and the next one, so that what others put in it comes along,
        # and what those do who are woken by them. A loop with nothing else to do loses no time by
        # it, and a transaction costs as much as dozens of rows.
        loop = self._running_loop()
        loop.call_soon(loop.call_soon, self._flush)

    def _flush(self) -> None:
        """Do what is in the queue, and begin to make it durable."""
        if self._writing is not None or not self._queue:
            return
        self._write(self._queue.popleft())

    def _write(self, batch: Batch, *, again: bool = False) -> None:
        # All of it in the thread: every statement gives up the interpreter's lock, and the loop
        # would wait for it, and for a processor, as often as there are statements.
        self._writing = self._running_loop().run_in_executor(self._thread, self._transact, batch)
        self._writing.add_done_callback(partial(self._written, batch, again))

    def _written(self, batch: Batch, again: bool, writing: asyncio.Future[list[Answer]]) -> None:
        self._writing = None
        error = writing.exception()
        if isinstance(error, Exception):
            self._failed(batch, error, again=again)
        else:
            batch.settle(writing.result())
        # Those who have waited go on first, and have something new to write.
        self._flush_soon()

    def _failed(self, batch: Batch, error: Exception, *, again: bool) -> None:
        """Try once more where the disk is full; else nothing more can be remembered."""
        if isinstance(error, sqlite3.Error):
            if _no_room(error, self.path.parent) and not again:
                self.on_full()
                self._write(batch, again=True)
                return
            error = translate(error, self.path)
        if isinstance(error, GenerationError):
            self._broken = error
        _log.error("journal.broken", path=str(self.path), error=str(error))
        batch.fail(error)

    def _transact(self, batch: Batch) -> list[Answer]:
        with self._transaction():
            batch.write(self.connection)
            return list(batch.answers())

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self.connection.execute("BEGIN IMMEDIATE")
            self.check()
            yield
            self.connection.execute("COMMIT")
        except BaseException:
            if self.connection.in_transaction:
                self.connection.execute("ROLLBACK")
            raise


def _no_room(error: sqlite3.Error, folder: Path) -> bool:
    """Whether a full disk is the reason; of the memory that readers share SQLite says less."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or (
        code == sqlite3.SQLITE_IOERR and shutil.disk_usage(folder).free < RESERVE // 8
    )
