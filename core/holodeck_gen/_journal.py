"""What must be remembered about a task, and in which order.

`Journal` is the seam. Every step of a part is recorded before the engine goes on::

    admitted → submitting → submitted → finished → fetched → stored
                  │  └───────→ uncertain
                  └→ admitted (a proven refusal)         any → failed

`MemoryJournal` remembers for as long as the process lives.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, ClassVar, Literal, Protocol, TypeAlias

import attrs

from holodeck_gen._artifact import Artifact
from holodeck_gen._identity import digest
from holodeck_gen._provider import JobRef, Output
from holodeck_gen._task import Task
from holodeck_gen.errors import GenerationError, InvalidTaskError, JournalError

if TYPE_CHECKING:
    from holodeck_gen._outcome import Outcome

PartState: TypeAlias = Literal[
    "admitted", "submitting", "submitted", "finished", "fetched", "stored", "failed", "uncertain"
]


@attrs.frozen(kw_only=True)
class PartKey:
    """The share of a task that one job makes.

    Attributes:
        task: The task's key.
        index: From 0.
    """

    task: str
    index: int

    def __str__(self) -> str:
        return f"{self.task}#{self.index}"


@attrs.frozen(kw_only=True)
class Submitting:
    """A submit is about to be sent."""

    state: ClassVar[PartState] = "submitting"
    attempt: int


@attrs.frozen(kw_only=True)
class Refused:
    """A submit made no job, proven; it may be sent again."""

    state: ClassVar[PartState] = "admitted"
    attempt: int
    error: GenerationError


@attrs.frozen(kw_only=True)
class Submitted:
    """The provider has a job."""

    state: ClassVar[PartState] = "submitted"
    job: JobRef


@attrs.frozen(kw_only=True)
class Finished:
    """The job made its outputs; they can be downloaded."""

    state: ClassVar[PartState] = "finished"
    outputs: tuple[Output, ...]


@attrs.frozen(kw_only=True)
class Fetched:
    """The raw files are in the spool."""

    state: ClassVar[PartState] = "fetched"
    files: tuple[str, ...]


@attrs.frozen(kw_only=True)
class Stored:
    """The finished files are in the store."""

    state: ClassVar[PartState] = "stored"
    artifacts: tuple[Artifact, ...]


@attrs.frozen(kw_only=True)
class Failed:
    """The part ended without a file."""

    state: ClassVar[PartState] = "failed"
    error: GenerationError


@attrs.frozen(kw_only=True)
class Uncertain:
    """A submit ended without a job id and without proof that there is no job."""

    state: ClassVar[PartState] = "uncertain"
    error: GenerationError


Step: TypeAlias = (
    Submitting | Refused | Submitted | Finished | Fetched | Stored | Failed | Uncertain
)

#: From each state, the states that may follow.
FOLLOWS: dict[PartState, frozenset[PartState]] = {
    "admitted": frozenset({"submitting", "failed"}),
    # A service that answers at once goes straight to its outputs.
    "submitting": frozenset(
        {"admitted", "submitted", "finished", "fetched", "failed", "uncertain"}
    ),
    "submitted": frozenset({"finished", "fetched", "failed"}),
    "finished": frozenset({"finished", "fetched", "failed"}),
    "fetched": frozenset({"stored", "failed"}),
    "stored": frozenset({"failed"}),
    "failed": frozenset(),
    # Only an explicit decision, or a provider that cannot charge twice, leads back.
    "uncertain": frozenset({"admitted"}),
}


def follow(state: PartState, step: Step) -> PartState:
    """The state after `step`.

    Raises:
        JournalError: It cannot follow: a fault of the engine, found before it costs money.
    """
    if step.state not in FOLLOWS[state]:
        raise JournalError(f"{step.state} cannot follow {state}")
    return step.state


@attrs.frozen(kw_only=True)
class Entry:
    """An admitted task.

    Attributes:
        key: Its id, or its digest and occurrence number.
        task: As it was given.
        index: Its place in the input.
    """

    key: str
    task: Task
    index: int


class Journal(Protocol):
    """Remembers; what it has returned from is not forgotten."""

    async def admit(self, task: Task, index: int) -> Entry:
        """Give `task` its key.

        Raises:
            InvalidTaskError: Another task of this run has its id.
        """
        ...

    async def rewritten(self, key: str, task: Task) -> None:
        """Remember what a task became, so that it is never rewritten again."""
        ...

    async def record(self, part: PartKey, step: Step) -> None:
        """Remember a step; returns when that is durable."""
        ...

    async def reserve(self, key: str, name: str) -> bool:
        """Keep an output name for a task; False where another task has it."""
        ...

    async def finish(self, key: str, outcome: Outcome) -> None:
        """The task has ended."""
        ...

    async def aclose(self) -> None:
        """Let go."""
        ...


@attrs.define(eq=False)
class MemoryJournal:
    """Remembers for one run, in memory that does not grow with the number of tasks.

    Parts are kept while their task lives; digests and names go to a private temporary
    database, which SQLite moves to disk when it grows.
    """

    _parts: dict[str, dict[int, PartState]] = attrs.field(factory=dict, init=False)
    _seen: sqlite3.Connection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self._seen = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._seen.execute("PRAGMA synchronous = OFF")
        self._seen.execute("PRAGMA journal_mode = OFF")
        self._seen.execute("CREATE TABLE keys (key TEXT PRIMARY KEY, n INTEGER) WITHOUT ROWID")
        self._seen.execute("CREATE TABLE names (name TEXT PRIMARY KEY, key TEXT) WITHOUT ROWID")
        # Never committed: a transaction a statement would write to disk for each task.
        self._seen.execute("BEGIN")

    async def admit(self, task: Task, index: int) -> Entry:
        stem = task.id if task.id is not None else digest(task)
        (count,) = self._seen.execute(
            "INSERT INTO keys VALUES (?, 1) ON CONFLICT DO UPDATE SET n = n + 1 RETURNING n",
            (stem,),
        ).fetchone()
        if task.id is not None and count > 1:
            raise InvalidTaskError(f"another task has the id {task.id!r}", task_id=task.id)
        key = stem if task.id is not None else f"{stem[:16]}-{count}"
        self._parts[key] = {}
        return Entry(key=key, task=task, index=index)

    async def rewritten(self, key: str, task: Task) -> None:
        pass

    async def record(self, part: PartKey, step: Step) -> None:
        states = self._parts[part.task]
        states[part.index] = follow(states.get(part.index, "admitted"), step)

    async def reserve(self, key: str, name: str) -> bool:
        # Case-folded, because half of the world's file systems see no difference.
        (owner,) = self._seen.execute(
            "INSERT INTO names VALUES (?, ?) ON CONFLICT DO UPDATE SET key = key RETURNING key",
            (name.casefold(), key),
        ).fetchone()
        return bool(owner == key)

    async def finish(self, key: str, outcome: Outcome) -> None:
        self._parts.pop(key, None)

    async def aclose(self) -> None:
        self._seen.close()
