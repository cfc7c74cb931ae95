"""The journal on disk: opened by one owner, told of every step, and let go of."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Self

import attrs

from holodeck_gen._calls import copied
from holodeck_gen._journal import file, ownership
from holodeck_gen._journal.group_commit import Commits, GroupCommit, Immediate
from holodeck_gen._journal.journal import Pause
from holodeck_gen._journal.ledger import Ledger, Offer
from holodeck_gen._journal.place import is_invocation
from holodeck_gen._journal.rows import PAUSED, Rows
from holodeck_gen._journal.writes import noted, planned, rewritten
from holodeck_gen._log import Logger
from holodeck_gen._model.codec import fields
from holodeck_gen.errors import (
    ConfigError,
    GenerationError,
    InvalidTaskError,
    JournalLockedError,
    PausedError,
)
from holodeck_gen.files import full_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from holodeck_gen._journal.journal import Entry, PartKey, Plan, Retry
    from holodeck_gen._journal.steps import Step
    from holodeck_gen._model.money import Spending
    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._model.task import Task

#: What may be forgotten, because finding it out again costs nothing: they are written in their
#: order, and nobody waits, unless they are what became of a submit.
_REPEATABLE = frozenset({"finished", "fetched", "stored"})
_log = Logger("holodeck_gen.journal")


@attrs.define(eq=False)
class SqliteJournal:
    """A `Journal` in one SQLite file, or, without a path, for as long as the process lives.

    Make it with `open` or `private`.
    """

    ledger: Ledger
    path: Path | None = None
    _lock: ownership.Lock | None = None
    commits: Commits = attrs.field(init=False)
    paused: PausedError | None = attrs.field(default=None, init=False)
    finished: bool = attrs.field(default=False, init=False)
    #: Settings that differ from those of the last run.
    changed: tuple[str, ...] = attrs.field(default=(), init=False)
    #: Whether this run has submitted anything.
    _submits: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        connection = self.ledger.connection
        if self.path is None:
            self.commits = Immediate(connection)
            return
        self.commits = GroupCommit(
            connection=connection,
            path=self.path,
            check=self.ledger.check_epoch,
            on_full=self.disk_full,
        )

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
            file.make_reserve(path)
            undo.pop_all()
        return cls(ledger, path, lock)

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
        return await self.commits.run(partial(self.ledger.admit, offers, retry))

    async def in_work(self, retry: Retry) -> list[Entry]:
        return await self.commits.run(partial(self.ledger.in_work, retry))

    async def owed(self) -> list[str]:
        return await self.commits.run(self.ledger.rows.owed)

    async def spending(self) -> Spending:
        return await self.commits.run(self.ledger.rows.spending)

    async def reopen(self, key: str) -> Entry:
        return await self.commits.run(partial(self.ledger.reopen, key))

    async def affinities(self) -> dict[str, str]:
        if self.path is None:
            return self.ledger.rows.affinities()
        # It looks at every task, which takes seconds where there are a million.
        return await asyncio.to_thread(_affinities, self.path)

    def outcome(self, entry: Entry) -> Outcome:
        return self.ledger.rows.outcome(entry)

    async def rewritten(self, entry: Entry, task: Task, by: Sequence[str]) -> None:
        await self.commits.tell(rewritten(entry.number, task, by))

    async def planned(self, entry: Entry, plan: Plan) -> None:
        # Nobody waits: it is written with the first submit's record.
        self.commits.put(planned(entry.number, plan))

    async def record(self, part: PartKey, step: Step) -> None:
        if step.state == "submitting" and self.paused is not None:
            raise copied(self.paused)
        write, before = self.ledger.record(part, step)
        if step.state == "submitting" and not self._submits:
            # Whatever stood against it is over.
            self._submits = True
            self.commits.put(noted(PAUSED, None))
        if step.state in _REPEATABLE and before != "submitting":
            self.commits.put(write)
        else:
            await self.commits.tell(write)

    async def reserve(self, entry: Entry, name: str) -> bool:
        return await self.commits.ask(self.ledger.reserve, (name, entry.number))

    async def finish(self, entry: Entry, outcome: Outcome) -> None:
        write = self.ledger.finish(entry.number, outcome)
        if write is not None:
            await self.commits.tell(write)

    async def aclose(self) -> None:
        if isinstance(self.commits, GroupCommit):
            await self.commits.aclose(self._let_go)
        else:
            self.ledger.connection.close()

    def close(self) -> None:
        """As `aclose`, for a journal that no loop has used. Blocks."""
        self._on_disk().close(self._let_go)

    def note(self, name: str, value: object) -> None:
        """Remember a fact about the journal itself. Blocks."""
        self.run_now(partial(self.ledger.set_meta, name, value))

    def run_now(self, operation: Callable[[], object]) -> None:
        """As `GroupCommit.run_now`."""
        self._on_disk().run_now(operation)

    def _on_disk(self) -> GroupCommit:
        assert isinstance(self.commits, GroupCommit)
        return self.commits

    def note_pause(self, reason: PausedError) -> None:
        pause = Pause(reason=reason.reason, since=self.ledger.clock())
        # One that cannot be remembered is told to the caller all the same.
        with contextlib.suppress(GenerationError):
            self.commits.put(noted(PAUSED, fields(pause)))

    def disk_full(self) -> None:
        if self.paused is None:
            self.paused = full_disk(self.ledger.rows.folder)
            _log.error("journal.disk_full", path=str(self.path))
        if self.path is not None:
            file.give_reserve(self.path)

    def _let_go(self) -> None:
        assert self.path is not None
        assert self._lock is not None
        connection = self.ledger.connection
        mine = True
        try:
            rows = self.ledger.rows
            # Nobody goes on with what a single invocation has left unsent.
            finished = not rows.owes() if is_invocation(self.path) else rows.finished()
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
                file.give_reserve(self.path)
            self._lock.release()


def _affinities(path: Path) -> dict[str, str]:
    with contextlib.closing(file.connect_reader(path)) as reader, file.translated(path):
        return Rows(reader, path.parent).affinities()


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
