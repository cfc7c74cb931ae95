"""What the journal writes, one statement after the other; in one thread, in transactions."""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._journal.gone import is_gone
from holodeck_gen._journal.journal import Entry, PartKey, Retry, TaskState
from holodeck_gen._journal.match import Occurrences
from holodeck_gen._journal.rows import KEPT, REPLACED, Rows, files_text
from holodeck_gen._journal.steps import IN_WORK, PartState, Step, follow
from holodeck_gen._journal.writes import SINK, Write, finished, recorded
from holodeck_gen._model.artifact import in_number
from holodeck_gen._model.codec import dumps, fields
from holodeck_gen._model.identity import digest_of
from holodeck_gen._model.outcome import Failure, Outcome
from holodeck_gen._model.task import Task
from holodeck_gen.errors import (
    InvalidTaskError,
    JournalLockedError,
    PartialResultError,
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
        return [self._admit(offer, retry) for offer in offers]

    def in_work(self, retry: Retry) -> list[Entry]:
        """As `Journal.in_work`."""
        for entry in self.rows.in_work():
            # Another of its parts may be what somebody has decided about.
            self._reopen(entry.number, entry.key, retry)
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

    def dismiss(self, key: str) -> None:
        """Take a task whose submit had no answer for one that made nothing.

        Raises:
            UnknownNameError: There is no such task.
            InvalidTaskError: None of its submits is without an answer.
        """
        entry = self.rows.entry(key)
        if entry is None:
            raise UnknownNameError(f"the journal in {self.rows.folder} has no task {key!r}")
        lost = [record for record in entry.parts.values() if record.state == "uncertain"]
        if not lost:
            raise InvalidTaskError(f"no submit of {key!r} is without an answer", task_id=key)
        self.connection.executemany(
            "UPDATE parts SET state = 'failed', error = ?, changed_at = ?, price = NULL"
            " WHERE task = ? AND part = ?",
            [
                (dumps(record.error), self.clock(), entry.number, index)
                for index, record in entry.parts.items()
                if record.state == "uncertain"
            ],
        )
        if any(record.state in IN_WORK for record in entry.parts.values()):
            # Whoever goes on with the rest of it will tell how it ended.
            return
        error = lost[0].error
        assert error is not None
        made = in_number(each for record in entry.parts.values() for each in record.artifacts)
        if made:
            error = PartialResultError(str(error), artifacts=made)
        outcome = Failure(task=entry.task, index=entry.index, key=key, error=error, artifacts=made)
        write = finished(entry.number, outcome, now=self.clock())
        self.connection.execute(write.statement, write.values)

    def record(self, part: PartKey, step: Step) -> Write:
        """As `Journal.record`; the statement is for the next batch.

        Raises:
            JournalError: It cannot follow; nothing is changed.
        """
        states = self._states.setdefault(part.number, {})
        before = states.get(part.index)
        states[part.index] = follow(before or "admitted", step)
        return recorded(part, step, first=before is None, now=self.clock(), folder=self.rows.folder)

    def answers(self, part: PartKey) -> bool:
        """Whether the next step of `part` is what became of a submit."""
        return self._states.get(part.number, {}).get(part.index) == "submitting"

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

    def _admit(self, offer: Offer, retry: Retry) -> Entry | InvalidTaskError:
        task = offer.task
        key = self._occurrences.key(task, offer.digest)
        if REPLACED in key:
            # It would be taken for a task that another one has taken the id from.
            return InvalidTaskError(f"{REPLACED!r} cannot be part of an id: {key!r}", task_id=key)
        if (entry := self._insert(offer, key)) is not None:
            return entry
        number, known, state, ending, run = self._known(key)
        if run == self.epoch:
            return InvalidTaskError(f"another task has the id {key!r}", task_id=key)
        if known != offer.digest:
            before = self.rows.replaced(key, offer.digest)
            self._replace(number, key)
            if before is None:
                entry = self._insert(offer, key)
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
            self._reopen(number, key, retry)
        entry = self.rows.entry(key)
        assert entry is not None
        # One that was begun with this run ends as this run's, whatever became of it by now.
        return attrs.evolve(entry, ending=None) if adopted else self._watch(entry)

    def _insert(self, offer: Offer, key: str) -> Entry | None:
        """A new task's entry; None where the key is taken."""
        cursor = self.connection.execute(
            "INSERT OR IGNORE INTO tasks (key, digest, position, run, state, task)"
            " VALUES (?, ?, ?, ?, 'open', ?)",
            (key, offer.digest, offer.index, self.epoch, offer.text),
        )
        number = cursor.lastrowid
        if not cursor.rowcount or number is None:
            return None
        self._states[number] = {}
        return Entry(
            key=key,
            task=offer.task,
            index=offer.index,
            number=number,
            token=f"{self.rows.name}-{number}",
        )

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

    def _reopen(self, number: int, key: str, retry: Retry) -> None:
        # What was fetched, or can be fetched, is never paid for again, so it is tried again.
        now = self.clock()
        failed = retry.of_failed(key)
        if key in retry.pay_again:
            self._give_up(key)
        if failed:
            self.connection.execute(
                f"UPDATE parts SET {SINK} WHERE task = ? AND state = 'failed'"
                " AND files IS NULL AND outputs IS NULL",
                (number,),
            )
        self.connection.execute(
            "UPDATE parts SET error = NULL, changed_at = ?,"
            " round = round + (files IS NULL AND outputs IS NULL),"
            " job = CASE WHEN files IS NULL AND outputs IS NULL THEN NULL ELSE job END,"
            " state = CASE WHEN files IS NOT NULL THEN 'fetched'"
            " WHEN outputs IS NOT NULL THEN 'finished' ELSE 'admitted' END"
            " WHERE task = ? AND state = 'failed'"
            " AND (? OR files IS NOT NULL OR outputs IS NOT NULL)",
            (now, number, failed),
        )
        self.connection.execute(
            "UPDATE tasks SET state = 'open', outcome = NULL, ended_at = NULL"
            " WHERE number = ? AND state = 'failed'",
            (number,),
        )
        if retry.of_uncertain(key):
            self.connection.execute(
                f"UPDATE parts SET state = 'admitted', error = NULL, changed_at = ?, {SINK}"
                " WHERE task = ? AND state = 'uncertain'",
                (now, number),
            )

    def _give_up(self, key: str) -> None:
        """Leave what the jobs of `key` made and nobody can have; then it counts as never made."""
        entry = self.rows.entry(key)
        assert entry is not None
        self.connection.executemany(
            # The files of a stored part tell which of its pictures it has.
            "UPDATE parts SET outputs = NULL, expires_at = NULL,"
            " files = iif(state = 'failed', NULL, files) WHERE task = ? AND part = ?",
            [(entry.number, index) for index, part in entry.parts.items() if is_gone(part)],
        )

    def _watch(self, entry: Entry) -> Entry:
        self._states[entry.number] = {i: part.state for i, part in entry.parts.items()}
        return entry
