"""What the journal writes, one statement after the other; in one thread, in transactions."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._journal.journal import Entry, PartKey, Retry, TaskState
from holodeck_gen._journal.match import Occurrences
from holodeck_gen._journal.reopening import reopen
from holodeck_gen._journal.rows import KEPT, REPLACED, Rows, files_text
from holodeck_gen._journal.steps import PartState, Step, follow
from holodeck_gen._journal.writes import Write, finished, recorded
from holodeck_gen._model.codec import dumps, fields
from holodeck_gen._model.identity import digest_of
from holodeck_gen._model.outcome import Failure, Outcome
from holodeck_gen._model.task import Task
from holodeck_gen.errors import (
    InvalidTaskError,
    JournalLockedError,
    UnknownNameError,
)

if TYPE_CHECKING:
    from holodeck_gen._journal.evidence import Answer

NO_RETRY = Retry()


@attrs.frozen
class Offer:
    """A task that wants to be admitted, in the form in which it is written.

    Attributes:
        task: As it was given.
        index: Its place in the input.
        digest: What it asks for.
        text: The task as JSON.
    """

    task: Task
    index: int
    digest: str
    text: str

    @classmethod
    def of(cls, task: Task, index: int) -> Offer:
        """Prepare a task for `Ledger.admit`, outside the transaction."""
        given = fields(task)
        return cls(task, index, digest_of(given), dumps(given))


@attrs.define(eq=False)
class Ledger:
    """Writes a journal. What answers is called inside a transaction; what only tells is a `Write`.

    Attributes:
        connection: To the journal.
        rows: Reads it.
        clock: Seconds since the epoch.
        epoch: The number of this ownership.
    """

    connection: sqlite3.Connection
    rows: Rows
    clock: Callable[[], float]
    epoch: int = 1
    #: The states of parts that are in work; a step that cannot follow is a fault of ours.
    _states: dict[int, dict[int, PartState]] = attrs.field(factory=dict, init=False)
    #: Tasks that this run goes on with before the input names them.
    _adopted: set[int] = attrs.field(factory=set, init=False)
    _occurrences: Occurrences = attrs.field(init=False)

    def begin_run(self) -> None:
        """Give the journal its name, and count occurrences from the start."""
        self.rows.name = self.rows.meta("name") or secrets.token_hex(4)
        self.set_meta("name", self.rows.name)
        self._occurrences = Occurrences(self.connection)

    def doubt_unanswered(self) -> None:
        """Submits that were on their way when an earlier owner ended are uncertain.

        ``changed_at`` stays: since then their jobs may run.
        """
        self.connection.execute(
            "UPDATE parts SET state = 'uncertain' WHERE state = 'submitting'"
            " AND task IN (SELECT number FROM tasks WHERE state <> 'done')"
        )

    def set_meta(self, name: str, value: object) -> None:
        """Remember a fact about the journal itself."""
        self.connection.execute(
            "INSERT OR REPLACE INTO meta VALUES (?, ?)",
            (name, dumps(value)),
        )

    def check_epoch(self) -> None:
        """Find out whether the journal is still ours.

        Raises:
            JournalLockedError: Somebody took it over.
        """
        if self.rows.meta("epoch") != self.epoch:
            raise JournalLockedError(
                f"another process took over the journal in {self.rows.folder} while this one"
                " stood still; nothing more is submitted"
            )

    def take_answers(self, answers: Sequence[Answer]) -> None:
        """Record what came for submits whose end was not recorded."""
        self.connection.executemany(
            "UPDATE parts SET state = 'fetched', error = NULL, files = ?, changed_at = ?"
            " WHERE task = ? AND part = ? AND state = 'uncertain'",
            [(files_text(each.files), self.clock(), each.task, each.part) for each in answers],
        )

    def admit(self, offers: Sequence[Offer], retry: Retry) -> list[Entry | InvalidTaskError]:
        """As `Journal.admit`."""
        keys = [self._occurrences.key(offer.task, offer.digest) for offer in offers]
        # Of most tasks nothing is known yet, so all are written before any is looked up.
        entries = self._insert(list(zip(offers, keys, strict=True)))
        return [
            self._known_already(offer, key, retry) if entry is None else entry
            for offer, key, entry in zip(offers, keys, entries, strict=True)
        ]

    def in_work(self, retry: Retry) -> list[Entry]:
        """As `Journal.in_work`."""
        for entry in self.rows.in_work():
            # Another of its parts may be what somebody has decided about.
            reopen(self.rows, entry.number, entry.key, retry, now=self.clock())
        entries = [self._watch(entry) for entry in self.rows.in_work()]
        self._adopted.update(entry.number for entry in entries)
        return entries

    def reopen(self, key: str, retry: Retry = NO_RETRY) -> Entry:
        """As `Journal.reopen`, with what the user has decided to try again."""
        row = self.connection.execute(
            "SELECT number, run FROM tasks WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            raise UnknownNameError(f"the journal in {self.rows.folder} has no task {key!r}")
        number, run = row
        if run == self.epoch:
            raise InvalidTaskError(f"the task {key!r} is in work already", task_id=key)
        return self._go_on(number, key, retry)

    def record(self, part: PartKey, step: Step) -> tuple[Write, PartState | None]:
        """As `Journal.record`; the statement is for the next batch.

        Returns:
            The statement, and the state before, if the part had one.

        Raises:
            JournalError: It cannot follow; nothing is changed.
        """
        states = self._states.get(part.number)
        if states is None:
            states = self._states[part.number] = {}
        before = states.get(part.index)
        states[part.index] = follow(before or "admitted", step)
        first = before is None
        write = recorded(part, step, first=first, now=self.clock(), folder=self.rows.folder)
        return write, before

    def reserve(self, wanted: Sequence[tuple[str, int]]) -> list[bool]:
        """As `Journal.reserve`, for names and the numbers of the tasks that want them."""
        # Case-folded, because half of the world's file systems see no difference.
        rows = [(name.casefold(), number) for name, number in wanted]
        cursor = self.connection.executemany("INSERT OR IGNORE INTO names VALUES (?, ?)", rows)
        if cursor.rowcount == len(rows):
            return [True] * len(rows)
        return [self._owner(name) == number for name, number in rows]

    def _owner(self, name: str) -> int:
        (owner,) = self.connection.execute(
            "SELECT task FROM names WHERE name = ?", (name,)
        ).fetchone()
        return int(owner)

    def finish(self, number: int, outcome: Outcome) -> Write | None:
        """As `Journal.finish`; None where there is nothing to write."""
        self._states.pop(number, None)
        if isinstance(outcome, Failure) and outcome.state != "failed":
            # Held or cancelled: its parts say how it stands.
            return None
        return finished(number, outcome, now=self.clock())

    def _known_already(self, offer: Offer, key: str, retry: Retry) -> Entry | InvalidTaskError:
        """The entry of a task whose key is taken, or may not be."""
        task = offer.task
        if REPLACED in key:
            # It would be taken for a task that another one has taken the id from.
            return InvalidTaskError(f"{REPLACED!r} cannot be part of an id: {key!r}", task_id=key)
        number, known, state, ending, run = self._known(key)
        if run == self.epoch:
            return InvalidTaskError(f"another task has the id {key!r}", task_id=key)
        if known != offer.digest:
            before = self.rows.replaced(key, offer.digest)
            self._replace(number, key)
            if before is None:
                (entry,) = self._insert([(offer, key)])
                assert entry is not None
                return attrs.evolve(entry, replaces=True)
            # The id stood for this very task already; what it made is not paid for again.
            self._bring_back(*before, key)
            number, _, state, ending, _ = self._known(key)
        settled = state == "done" or (
            state == "failed" and not retry.of_failed(key) and not self._has_files(number)
        )
        if settled and number not in self._adopted:
            return Entry(
                key=key,
                task=task,
                index=offer.index,
                number=number,
                token=f"{self.rows.name}-{number}",
                state=state,
                ending=ending,
            )
        return attrs.evolve(self._go_on(number, key, retry), task=task, index=offer.index)

    def _go_on(self, number: int, key: str, retry: Retry) -> Entry:
        # A second task under the same key would pay twice, so it is refused from now on.
        self.connection.execute("UPDATE tasks SET run = ? WHERE number = ?", (self.epoch, number))
        adopted = number in self._adopted
        if not adopted:
            reopen(self.rows, number, key, retry, now=self.clock())
        entry = self.rows.entry(key)
        assert entry is not None
        # One that was begun with this run ends as this run's, whatever became of it by now.
        return attrs.evolve(entry, ending=None) if adopted else self._watch(entry)

    def _insert(self, offers: Sequence[tuple[Offer, str]]) -> list[Entry | None]:
        """The entries of new tasks, which come with their keys; None where a key is taken."""
        (last,) = self.connection.execute("SELECT max(number) FROM tasks").fetchone()
        first = (last or 0) + 1
        rows = [
            (number, key, offer.digest, offer.index, self.epoch, offer.text)
            for number, (offer, key) in enumerate(offers, start=first)
            if REPLACED not in key
        ]
        cursor = self.connection.executemany(
            "INSERT OR IGNORE INTO tasks (number, key, digest, position, run, state, task)"
            " VALUES (?, ?, ?, ?, ?, 'open', ?)",
            rows,
        )
        new = {number for number, *_ in rows}
        if cursor.rowcount < len(rows):
            found = self.connection.execute("SELECT number FROM tasks WHERE number >= ?", (first,))
            new = {number for (number,) in found}
        self._states.update((number, {}) for number in new)
        return [
            Entry(
                key=key,
                task=offer.task,
                index=offer.index,
                number=number,
                token=f"{self.rows.name}-{number}",
            )
            if number in new
            else None
            for number, (offer, key) in enumerate(offers, start=first)
        ]

    def _replace(self, number: int, key: str) -> None:
        """Another task has the id now; what was paid for the old one stays collectable."""
        self.connection.execute(
            "UPDATE tasks SET key = ?, state = CASE WHEN state = 'open' AND EXISTS ("
            " SELECT 1 FROM parts WHERE task = number"
            " AND parts.state NOT IN ('admitted', 'stored', 'failed'))"
            " THEN 'open' ELSE 'replaced' END WHERE number = ?",
            (f"{key}{REPLACED}{number}", number),
        )

    def _bring_back(self, number: int, state: TaskState, key: str) -> None:
        self.connection.execute(
            "UPDATE tasks SET key = ?, state = ? WHERE number = ?", (key, state, number)
        )

    def _known(self, key: str) -> tuple[int, str, TaskState, str | None, int]:
        """Number, digest, state, outcome and run of a task that is there."""
        row: tuple[int, str, TaskState, str | None, int] = self.connection.execute(
            "SELECT number, digest, state, outcome, run FROM tasks WHERE key = ?", (key,)
        ).fetchone()
        return row

    def _has_files(self, number: int) -> bool:
        """Whether something of a failed task is paid for and could still be had."""
        row = self.connection.execute(
            f"SELECT 1 FROM parts WHERE task = ? AND {KEPT}",
            (number,),
        ).fetchone()
        return row is not None

    def _watch(self, entry: Entry) -> Entry:
        self._states[entry.number] = {i: part.state for i, part in entry.parts.items()}
        return entry
