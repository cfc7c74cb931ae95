"""Which task of a journal a line of input is."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from holodeck_gen._journal.rows import Rows
from holodeck_gen._model.identity import digest

if TYPE_CHECKING:
    from holodeck_gen._model.task import Task

#: ``changed`` where the id stands for another task in the journal.
Match: TypeAlias = Literal["new", "open", "done", "failed", "changed"]


@attrs.define(eq=False)
class Occurrences:
    """Gives the tasks of one run their keys; counts equal ones in a table that SQLite keeps.

    Args:
        connection: Takes a temporary table, so it may be one that only reads.
    """

    connection: sqlite3.Connection

    def __attrs_post_init__(self) -> None:
        self.connection.execute(
            "CREATE TEMP TABLE seen (digest TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID"
        )

    def key(self, task: Task, digest: str) -> str:
        """The key of the next task."""
        if task.id is not None:
            return task.id
        (count,) = self.connection.execute(
            "INSERT INTO seen VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
            (digest,),
        ).fetchone()
        return f"{digest[:16]}-{count}"


@attrs.define(eq=False)
class Matcher:
    """Looks tasks up in a journal, in the order of a run, without changing it.

    Args:
        rows: The journal's.
    """

    rows: Rows
    _occurrences: Occurrences = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._occurrences = Occurrences(self.rows.connection)
        # Never committed: a transaction a statement would cost more than the statement.
        self.rows.connection.execute("BEGIN")

    def match(self, task: Task) -> Match:
        """How the next task of the input stands."""
        asked = digest(task)
        key = self._occurrences.key(task, asked)
        row = self.rows.connection.execute(
            "SELECT digest, state FROM tasks WHERE key = ?", (key,)
        ).fetchone()
        if row is None:
            return "new"
        known, state = row
        if known != asked:
            # What the id has stood for before is brought back.
            before = self.rows.replaced(key, asked)
            return before[1] if before else "changed"
        found: Match = state
        return found
