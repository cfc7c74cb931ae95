"""The journal on disk: many tasks' steps in one transaction, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeAlias, TypeVar

import attrs

from holodeck_gen import _journal_file as file
from holodeck_gen import _ownership as ownership
from holodeck_gen._journal_rows import Rows
from holodeck_gen._journal_writes import Write, planned, rewritten
from holodeck_gen._ledger import Ledger, Offer
from holodeck_gen._log import Logger
from holodeck_gen.errors import (
    ConfigError,
    GenerationError,
    InvalidTaskError,
    JournalCorruptError,
    JournalLockedError,
    PausedError,
    StorageError,
)
from holodeck_gen.files import full_disk, is_full

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holodeck_gen._journal import Entry, PartKey, Plan, Retry, Step
    from holodeck_gen._outcome import Outcome
    from holodeck_gen._task import Task

T = TypeVar("T")
#: A row, or a question inside the transaction; and who waits until that is durable.
_Waiting: TypeAlias = "tuple[Write | Callable[[], Any], asyncio.Future[Any] | None]"
#: Rows and questions in one transaction; more would keep the loop from its other work.
MAX_BATCH = 256
#: What may be forgotten, because finding it out again costs nothing: they are written in their
#: order, and nobody waits.
_REPEATABLE = frozenset({"finished", "stored"})
_log = Logger("holodeck_gen.journal")

#: Bytes kept free on disk while a journal is open: room for the ids of jobs that are accepted
#: while the disk fills up, and for one answer that came with its picture.
RESERVE = 8 * 2**20


@attrs.define(eq=False)
class SqliteJournal:
    """A `Journal` in one SQLite file, or, without a path, for as long as the process lives.

    Steps of many tasks that come in one turn of the loop, or while the disk is busy, are
    written in one transaction. Make it with `open` or `private`.
    """

    ledger: Ledger
    path: Path | None = None
    _lock: ownership.Lock | None = None
    _thread: ThreadPoolExecutor | None = None
    paused: PausedError | None = attrs.field(default=None, init=False)
    finished: bool = attrs.field(default=False, init=False)
    #: Settings that differ from those of the last run.
    changed: tuple[str, ...] = attrs.field(default=(), init=False)
    _broken: GenerationError | None = attrs.field(default=None, init=False)
    _queue: list[_Waiting] = attrs.field(factory=list, init=False)
    _writing: asyncio.Future[Any] | None = attrs.field(default=None, init=False)
    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)

    @classmethod
    def open(
        cls,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        network: bool = False,
    ) -> Self:
        """Own the journal at `path`, which is made if it is missing. Blocks.

        Args:
            path: The file.
            clock: Seconds since the epoch.
            network: Whether it may lie on a network file system.

        Raises:
            JournalLockedError: Another process owns it.
            JournalVersionError: A newer release wrote it.
            JournalCorruptError: It is damaged; it is left as it is.
            ConfigError: It lies on a network file system.
            StorageError: It cannot be written.
            PausedError: There is no room on the disk.
        """
        path = path.expanduser().absolute()
        kind = ownership.network_file_system(path.parent)
        if kind is not None and not network:
            raise ConfigError(
                f"{path.parent} lies on a network file system ({kind}), where a second machine"
                " would not be noticed; choose a local folder, or allow it with --set"
                " network_journal=true"
            )
        file.create_private(path)
        lock = ownership.Lock(path)
        if not lock.acquire():
            with contextlib.closing(file.connect_reader(path)) as reader, file.translated(path):
                owner = Rows(reader, path.parent).meta("owner")
            raise ownership.locked(path, owner)
        with contextlib.ExitStack() as undo:
            undo.callback(lock.release)
            connection = file.connect(path, durable=True)
            undo.callback(connection.close)
            with file.translated(path):
                ledger = Ledger(connection, Rows(connection, path.parent.resolve()), clock)
                _take(ledger)
            _make_reserve(path)
            undo.pop_all()
        thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holodeck-gen-journal")
        return cls(ledger, path, lock, thread)

    @classmethod
    def private(cls, *, clock: Callable[[], float] = time.time) -> Self:
        """Remember until the process ends; for tasks that cost nothing."""
        connection = file.connect_private()
        ledger = Ledger(connection, Rows(connection, Path("/")), clock)
        connection.execute("BEGIN")
        ledger.begin_run()
        return cls(ledger)

    async def admit(
        self, tasks: Sequence[tuple[Task, int]], retry: Retry
    ) -> list[Entry | InvalidTaskError]:
        offers = [Offer.of(task, index) for task, index in tasks]
        return await self.run(partial(self.ledger.admit, offers, retry))

    async def in_work(self, retry: Retry) -> list[Entry]:
        return await self.run(partial(self.ledger.in_work, retry))

    async def owed(self) -> list[str]:
        return await self.run(self.ledger.rows.owed)

    async def reopen(self, key: str) -> Entry:
        return await self.run(partial(self.ledger.reopen, key))

    def outcome(self, entry: Entry) -> Outcome:
        return self.ledger.rows.outcome(entry)

    async def rewritten(self, entry: Entry, task: Task) -> None:
        await self._told(rewritten(entry.number, task))

    async def planned(self, entry: Entry, plan: Plan) -> None:
        # Nobody waits: it is written with the first submit's record.
        self._put(planned(entry.number, plan), None)

    async def record(self, part: PartKey, step: Step) -> None:
        if step.state == "submitting" and self.paused is not None:
            raise PausedError(str(self.paused), reason=self.paused.reason)
        write = self.ledger.record(part, step)
        if step.state in _REPEATABLE:
            self._put(write, None)
        else:
            await self._told(write)

    async def reserve(self, entry: Entry, name: str) -> bool:
        return await self.run(partial(self.ledger.reserve, entry.number, name))

    async def finish(self, entry: Entry, outcome: Outcome) -> None:
        write = self.ledger.finish(entry.number, outcome)
        if write is not None:
            await self._told(write)

    async def aclose(self) -> None:
        while self._writing is not None or self._queue:
            await self._flushed()
        if self._thread is None:
            self.ledger.connection.close()
            return
        await asyncio.get_running_loop().run_in_executor(self._thread, self._let_go)
        self._thread.shutdown(wait=True)

    def close(self) -> None:
        """As `aclose`, for a journal that no loop has used. Blocks."""
        self._let_go()
        if self._thread is not None:
            self._thread.shutdown(wait=True)

    def note(self, name: str, value: object) -> None:
        """Remember a fact about the journal itself. Blocks."""
        self.run_now(partial(self.ledger.set_meta, name, value))

    def run_now(self, operation: Callable[[], object]) -> None:
        """Call `operation` in a transaction, while no loop uses the journal. Blocks.

        Raises:
            JournalError, PausedError: The journal cannot be written.
        """
        assert self.path is not None
        with file.translated(self.path):
            self._begin([operation])
            self.ledger.connection.execute("COMMIT")

    async def run(self, question: Callable[[], T]) -> T:
        """Call `question` in the next transaction; returns when that is durable.

        Raises:
            GenerationError: The journal cannot be written.
            Exception: What `question` raised before it wrote anything.
        """
        if self._thread is None:
            return question()
        answer: asyncio.Future[T] = self._running_loop().create_future()
        self._put(question, answer)
        return await answer

    async def _told(self, write: Write) -> None:
        """Returns when `write` is durable."""
        if self._thread is None:
            self._put(write, None)
            return
        done: asyncio.Future[None] = self._running_loop().create_future()
        self._put(write, done)
        await done

    def _put(self, work: Write | Callable[[], Any], done: asyncio.Future[Any] | None) -> None:
        if self._broken is not None:
            raise self._broken
        if self._thread is None:
            assert isinstance(work, Write)
            self.ledger.connection.execute(work.statement, work.values)
            return
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
        commit = partial(self.ledger.connection.execute, "COMMIT")
        self._writing = self._running_loop().run_in_executor(self._thread, commit)
        self._writing.add_done_callback(partial(self._written, batch, answers, again))

    async def _flushed(self) -> None:
        self._flush()
        if self._writing is not None:
            await asyncio.wait({self._writing})

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
            self._settle(batch, answers)
        # Those who have waited go on first, and have something new to write.
        self._flush_soon()

    def _failed(self, batch: Sequence[_Waiting], error: Exception, *, again: bool) -> None:
        """Try once more where the disk is full; else nothing more can be remembered."""
        self._roll_back()
        if isinstance(error, sqlite3.Error):
            if _no_room(error, self.ledger.rows.folder) and not again:
                self.disk_full()
                self._write(batch, again=True)
                return
            assert self.path is not None
            error = file.translate(error, self.path)
        if isinstance(error, GenerationError):
            self._broken = error
        _log.error("journal.broken", path=str(self.path), error=str(error))
        self._settle(batch, [error] * len(batch))

    def _settle(self, batch: Sequence[_Waiting], answers: Sequence[Any]) -> None:
        for (_, done), answer in zip(batch, answers, strict=True):
            if done is None or done.done():
                continue
            if isinstance(answer, BaseException):
                done.set_exception(answer)
            else:
                done.set_result(answer)

    def _begin(self, batch: Sequence[Write | Callable[[], Any]]) -> list[Any]:
        connection = self.ledger.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            self.ledger.check_epoch()
            kinds: dict[tuple[int, str], list[tuple[Any, ...]]] = {}
            for work in batch:
                if isinstance(work, Write):
                    kinds.setdefault((work.rank, work.statement), []).append(work.values)
            for (_, statement), rows in sorted(kinds.items()):
                connection.executemany(statement, rows)
            return [None if isinstance(work, Write) else _answer(work) for work in batch]
        except BaseException:
            self._roll_back()
            raise

    def _roll_back(self) -> None:
        if self.ledger.connection.in_transaction:
            self.ledger.connection.execute("ROLLBACK")

    def disk_full(self) -> None:
        if self.paused is None:
            self.paused = full_disk(self.ledger.rows.folder)
            _log.error("journal.disk_full", path=str(self.path))
        if self.path is not None:
            _reserve(self.path).unlink(missing_ok=True)

    def _let_go(self) -> None:
        assert self.path is not None
        assert self._lock is not None
        connection = self.ledger.connection
        mine = True
        try:
            finished = self.ledger.rows.finished()
            self.note("owner", None)
            self.finished = finished
        except JournalLockedError:
            # What lies beside it is the new owner's.
            mine = False
        except (sqlite3.Error, GenerationError) as error:
            _log.warning("journal.not_let_go", path=str(self.path), error=str(error))
        finally:
            connection.close()
            if mine:
                _reserve(self.path).unlink(missing_ok=True)
            self._lock.release()


def _take(ledger: Ledger) -> None:
    """Become the owner, durably, and find out what the last one left open."""
    connection = ledger.connection
    connection.execute("BEGIN IMMEDIATE")
    ledger.epoch = (ledger.rows.meta("epoch") or 0) + 1
    ledger.set_meta("epoch", ledger.epoch)
    ledger.set_meta("owner", ownership.this_process(ledger.clock()))
    ledger.begin_run()
    ledger.doubt_unanswered()
    connection.execute("COMMIT")
    # The journal's name must not be lost with its log: by it the spool's files are known, which
    # speak against a journal that has forgotten them. Waits for no reader.
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")


def _answer(operation: Callable[[], Any]) -> Any:
    try:
        return operation()
    except sqlite3.Error:
        raise
    except JournalCorruptError:
        raise
    except Exception as error:
        # A fault of one operation, found before it wrote anything, is its caller's alone.
        return error


def _no_room(error: sqlite3.Error, folder: Path) -> bool:
    """Whether a full disk is the reason; of the memory that readers share SQLite says less."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code == sqlite3.SQLITE_FULL or (
        code == sqlite3.SQLITE_IOERR and shutil.disk_usage(folder).free < RESERVE // 8
    )


def _make_reserve(path: Path) -> None:
    reserve = _reserve(path)
    file.create_private(reserve)
    try:
        reserve.write_bytes(bytes(RESERVE))
    except OSError as error:
        reserve.unlink()
        if is_full(error):
            raise full_disk(path.parent) from error
        raise StorageError(
            f"the journal {path} cannot be written: {error.strerror or error}", stage="journal"
        ) from error


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}.reserve")
