"""Rows of the journal to values and back, and the questions that readers ask."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import attrs

from holodeck_gen._journal.journal import Entry, PartRecord, Plan, TaskState
from holodeck_gen._journal.spool import SPOOL, RawFile
from holodeck_gen._model.artifact import Artifact, Cost, in_number
from holodeck_gen._model.codec import dumps, ending_from_json, error_from_json, fields, from_json
from holodeck_gen._model.money import Spending, Totals, spending_of
from holodeck_gen._model.provider import JobRef, Output, Url
from holodeck_gen._model.task import Task
from holodeck_gen.errors import GenerationError, SubmitUncertainError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from holodeck_gen._journal.steps import PartState
    from holodeck_gen._model.outcome import Outcome

_ENTRY = "number, key, position, state, task, rewritten, plan, outcome"
_PART = (
    "part, state, round, attempt, job, submitted_at, outputs, expires_at, price, cost, files,"
    " artifacts, error, changed_at"
)
#: Why nothing was submitted any more, among the facts about the journal itself.
PAUSED = "paused"
#: Parts that have ended and of which something is paid for and can still be had: what was fetched,
#: or an address. They are never paid for again.
KEPT = (
    "(parts.state = 'failed' AND parts.files IS NOT NULL"
    " OR parts.state IN ('failed', 'stored') AND parts.outputs IS NOT NULL)"
)
#: Between the key that a task had before another took it, and its number; no id contains it.
REPLACED = "~replaced-"
#: Beside the fields of a rewritten task, the names of the stages that made it that.
REWRITERS = "rewriters"


@attrs.define(eq=False)
class Rows:
    """Reads a journal.

    Attributes:
        connection: To the journal.
        folder: The journal's; paths below it are kept relative, so that it can be moved.
        name: Names the journal among all journals.
    """

    connection: sqlite3.Connection
    folder: Path
    name: str = ""

    def entry(self, key: str) -> Entry | None:
        """What is known of the task `key`."""
        row = self.connection.execute(f"SELECT {_ENTRY} FROM tasks WHERE key = ?", (key,))
        found = row.fetchone()
        return None if found is None else self._entry(found)

    def unfinished(self) -> Iterator[Entry]:
        """Every task that is not done, in order."""
        rows = self.connection.execute(
            f"SELECT {_ENTRY} FROM tasks WHERE state <> 'done' ORDER BY number"
        )
        for row in rows:
            yield self._entry(row)

    def in_work(self) -> list[Entry]:
        """Open tasks that have a job, or files that are not stored yet."""
        rows = self.connection.execute(
            f"SELECT {_ENTRY} FROM tasks WHERE state <> 'done' AND state = 'open' AND EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number"
            " AND parts.state IN ('submitted', 'finished', 'fetched')) ORDER BY number"
        ).fetchall()
        return [self._entry(row) for row in rows]

    def at_provider(self) -> list[Entry]:
        """Tasks with a job that may be running, also those whose submit has no answer."""
        rows = self.connection.execute(
            f"SELECT {_ENTRY} FROM tasks WHERE state <> 'done' AND EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number"
            " AND parts.state IN ('submitted', 'uncertain')) ORDER BY number"
        ).fetchall()
        return [self._entry(row) for row in rows]

    def owed(self) -> list[str]:
        """Keys of unfinished tasks with a job, or files that are not stored, or no answer."""
        rows = self.connection.execute(
            "SELECT key FROM tasks WHERE state <> 'done' AND EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number AND (parts.state IN"
            f" ('submitted', 'finished', 'fetched', 'uncertain') OR {KEPT})) ORDER BY number"
        )
        return [key for (key,) in rows]

    def kept(self) -> Iterator[Entry]:
        """Tasks with parts that have ended, are paid for and not stored; see `KEPT`."""
        rows = self.connection.execute(
            f"SELECT {_ENTRY} FROM tasks WHERE state <> 'done' AND EXISTS ("
            f" SELECT 1 FROM parts WHERE parts.task = tasks.number AND {KEPT}) ORDER BY number"
        )
        for row in rows:
            yield self._entry(row)

    def works(self) -> bool:
        """Whether a job that is paid for, or a file of one, is on its way."""
        row = self.connection.execute(
            "SELECT 1 FROM tasks WHERE state <> 'done' AND EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number"
            " AND parts.state IN ('submitted', 'finished', 'fetched'))"
        )
        return row.fetchone() is not None

    def owes(self) -> bool:
        """Whether something is, or may be, paid for and not finished."""
        row = self.connection.execute(
            "SELECT 1 FROM tasks WHERE state <> 'done' AND EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number AND (parts.state NOT IN"
            f" ('admitted', 'stored', 'failed') OR {KEPT}))"
        )
        return row.fetchone() is not None

    def was_replaced(self, key: str) -> bool:
        """Whether `key` stood for another task before."""
        row = self.connection.execute(
            "SELECT 1 FROM tasks WHERE key > ? AND key < ?", _replaced(key)
        )
        return row.fetchone() is not None

    def replaced(self, key: str, digest: str) -> tuple[int, TaskState] | None:
        """Number and state of the task with this digest that `key` stood for before."""
        row: tuple[int, TaskState] | None = self.connection.execute(
            "SELECT number, CASE WHEN state <> 'replaced' THEN state"
            " WHEN outcome IS NULL THEN 'open' ELSE json_extract(outcome, '$.status') END"
            " FROM tasks WHERE key > ? AND key < ? AND digest = ?",
            (*_replaced(key), digest),
        ).fetchone()
        return row

    def affinities(self) -> dict[str, str]:
        """As `Journal.affinities`."""
        rows = self.connection.execute(
            "SELECT json_extract(coalesce(rewritten, task), '$.affinity') AS affinity,"
            " coalesce(json_extract(plan, '$.provider'), json_extract(outcome, '$.provider'))"
            " AS provider FROM tasks WHERE instr(coalesce(rewritten, task), '\"affinity\"')"
            " AND affinity IS NOT NULL AND provider IS NOT NULL AND (state = 'done' OR EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number"
            " AND parts.state NOT IN ('admitted', 'failed'))) ORDER BY number DESC"
        )
        # The first of a group is read last, and stays.
        return dict(rows.fetchall())

    def finished(self) -> bool:
        """Whether no task needs more work."""
        row = self.connection.execute(
            "SELECT 1 FROM tasks WHERE state <> 'done' AND (state = 'open' OR EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number AND (parts.state NOT IN"
            f" ('admitted', 'stored', 'failed') OR {KEPT})))"
        )
        return row.fetchone() is None

    def counts(self) -> dict[str, int]:
        """How many tasks are in each state."""
        return dict(
            self.connection.execute("SELECT state, count(*) FROM tasks GROUP BY state").fetchall()
        )

    def spending(self) -> Spending:
        """What jobs have cost and may cost."""
        (unpriced,) = self.connection.execute(
            "SELECT count(*) FROM parts WHERE cost IS NULL AND price IS NULL AND attempt > 0"
            " AND (job IS NOT NULL OR state NOT IN ('admitted', 'failed'))"
        ).fetchone()
        return spending_of(self._charges(), unpriced=unpriced)

    def _charges(self) -> Iterator[tuple[bool, Cost, bool, int]]:
        # A million parts have few different prices.
        rows = self.connection.execute(
            "SELECT state IN ('submitting', 'submitted'), coalesce(cost, price), cost IS NULL,"
            " count(*) FROM parts WHERE cost IS NOT NULL OR price IS NOT NULL GROUP BY 1, 2, 3"
        )
        for running, text, guessed, count in rows:
            yield bool(running), from_json(json.loads(text), Cost), bool(guessed), count
        for text, count in self.connection.execute(
            "SELECT sunk, count(*) FROM parts WHERE sunk IS NOT NULL GROUP BY 1"
        ):
            for each in json.loads(text):
                yield False, from_json(each, Cost), True, count

    def price_of_waiting(self) -> tuple[Cost, ...]:
        """What the tasks of which nothing was sent will cost, as far as that is known."""
        rows = self.connection.execute(
            "SELECT json_extract(plan, '$.prices'), count(*) FROM tasks"
            " WHERE state <> 'done' AND state = 'open' AND plan IS NOT NULL AND NOT EXISTS ("
            " SELECT 1 FROM parts WHERE parts.task = tasks.number AND parts.state <> 'admitted')"
            " GROUP BY 1"
        )
        sums = Totals()
        for text, count in rows:
            for each in json.loads(text or "[]"):
                if each is not None:
                    sums.add(from_json(each, Cost), count)
        return sums.costs

    def endings(self) -> Iterator[Outcome]:
        """The outcome of every finished task, in order."""
        rows = self.connection.execute(
            f"SELECT {_ENTRY} FROM tasks WHERE outcome IS NOT NULL ORDER BY number"
        )
        for row in rows:
            yield self.outcome(self._entry(row))

    def meta(self, name: str) -> Any:
        """A fact about the journal itself; None where it is not known."""
        row = self.connection.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def outcome(self, entry: Entry) -> Outcome:
        """The outcome that is stored for `entry`, as an earlier run's."""
        assert entry.ending is not None
        parts = self.connection.execute(
            "SELECT artifacts FROM parts WHERE task = ? ORDER BY part", (entry.number,)
        )
        artifacts = in_number(each for (text,) in parts for each in self._artifacts(text))
        outcome = ending_from_json(
            json.loads(entry.ending),
            task=entry.task,
            index=entry.index,
            key=entry.key,
            artifacts=artifacts,
        )
        return attrs.evolve(outcome, resumed=True)

    def spool(self, part: Mapping[str, Any]) -> RawFile:
        """A raw file of a row."""
        return from_json({**part, "path": str(self.folder / SPOOL / part["path"])}, RawFile)

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        number, key, position, state, task, rewritten, plan, ending = row
        parts: dict[int, PartRecord] = {}
        if state != "done":
            for part in self.connection.execute(
                f"SELECT {_PART} FROM parts WHERE task = ?", (number,)
            ):
                parts[part[0]] = self._part(part)
        became = None if rewritten is None else json.loads(rewritten)
        return Entry(
            key=key,
            task=from_json(json.loads(task), Task),
            index=position,
            number=number,
            token=f"{self.name}-{number}",
            state=cast("TaskState", state),
            rewritten=None if became is None else from_json(became, Task),
            rewriters=() if became is None else tuple(became.get(REWRITERS, ())),
            plan=None if plan is None else from_json(json.loads(plan), Plan),
            parts=parts,
            ending=ending,
        )

    def _part(self, row: tuple[Any, ...]) -> PartRecord:
        _, state, again, attempt, job, submitted_at, *rest = row
        outputs, expires_at, price, cost, files, artifacts, error, changed_at = rest
        reason: GenerationError | None = None
        if error is not None:
            reason = error_from_json(json.loads(error))
        elif state == "uncertain":
            reason = SubmitUncertainError(
                "the process ended while a submit was on its way; the provider may have made and"
                " billed a job, so it is not sent again"
            )
        return PartRecord(
            state=cast("PartState", state),
            round=again,
            attempt=attempt,
            job=None if job is None else from_json(json.loads(job), JobRef),
            submitted_at=submitted_at,
            outputs=() if outputs is None else from_json(json.loads(outputs), tuple[Output, ...]),
            expires_at=expires_at,
            price=None if price is None else from_json(json.loads(price), Cost),
            cost=None if cost is None else from_json(json.loads(cost), Cost),
            files=tuple(self.spool(each) for each in json.loads(files or "[]")),
            artifacts=self._artifacts(artifacts),
            error=reason,
            changed_at=changed_at,
        )

    def _artifacts(self, text: str | None) -> tuple[Artifact, ...]:
        """Artifacts of a row, with their paths as they are now."""
        found = [from_json(each, Artifact) for each in json.loads(text or "[]")]
        return tuple(self._here(each) for each in found)

    def _here(self, artifact: Artifact) -> Artifact:
        if artifact.sidecar is not None:
            artifact = attrs.evolve(artifact, sidecar=self._here(artifact.sidecar))
        path = artifact.path
        return attrs.evolve(artifact, path=self.folder / path) if path else artifact


def _replaced(key: str) -> tuple[str, str]:
    """Between which keys tasks are that had `key` before; see `Ledger`."""
    return f"{key}{REPLACED}", f"{key}{REPLACED[:-1]}."


def is_kept(part: PartRecord) -> bool:
    """As `KEPT`."""
    if part.state == "failed":
        return bool(part.files or part.outputs)
    return part.state == "stored" and bool(part.outputs)


def files_text(files: tuple[RawFile, ...]) -> str:
    """Raw files for a row; the folder is the spool, wherever that is by then."""
    return dumps([{**fields(each), "path": each.path.name} for each in files])


def artifacts_text(artifacts: tuple[Artifact, ...], folder: Path) -> str:
    """Artifacts for a row, relative to the journal's folder where they are below it."""
    below = f"{folder}/"
    return dumps([_relative(each, below) for each in artifacts])


def _relative(artifact: Artifact, below: str) -> dict[str, Any]:
    path = artifact.path and str(artifact.path).removeprefix(below)
    row: dict[str, Any] = {**fields(artifact), "path": path}
    if artifact.sidecar is not None:
        row["sidecar"] = _relative(artifact.sidecar, below)
    return row


def expiry(outputs: tuple[Output, ...]) -> float | None:
    """When the first of the addresses expires, in seconds since the epoch."""
    times = [each.expires_at for each in outputs if isinstance(each, Url) and each.expires_at]
    return min(times, default=None)
