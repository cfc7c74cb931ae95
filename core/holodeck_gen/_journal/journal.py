"""What must be remembered about a task, and in which order.

`Journal` is the seam. Every step of a part is recorded before the engine goes on: see `_steps`.
What a job did not make stays unmade until somebody decides otherwise; then a further part makes it.

`SqliteJournal` keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import attrs

from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.steps import PartState, Step
from holodeck_gen._model.artifact import Artifact, Cost
from holodeck_gen._model.provider import JobRef, Output
from holodeck_gen._model.task import Task
from holodeck_gen._model.values import JsonObject, in_order
from holodeck_gen.errors import GenerationError, InvalidTaskError, PausedError

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._model.money import Spending
    from holodeck_gen._model.outcome import Outcome

#: ``open`` where there is something left to do, be it a decision.
TaskState: TypeAlias = Literal["open", "done", "failed"]


@attrs.frozen(kw_only=True)
class PartKey:
    """The share of a task that one job makes.

    Attributes:
        task: The task's key.
        number: The task's number in the journal.
        index: From 0.
        submit_key: The same for every attempt at this part and for no other part of any
            journal: what a provider takes as idempotency key.
    """

    task: str
    number: int
    index: int
    submit_key: str

    def __str__(self) -> str:
        return f"{self.task}#{self.index}"


@attrs.frozen(kw_only=True)
class Plan:
    """How a task was put to a provider.

    Attributes:
        provider: The provider's name.
        account: Its `account_key`: who else could be asked about the jobs.
        per_job: Pictures that one job makes at most.
        requests: Exactly what is submitted, one for each part.
        follow_ups: For each part beyond those that the task was first shared out to, the places
            (from 0) of the task's pictures that it makes because another part's job did not.
        model: The model's name, where known.
        warnings: What the provider cannot do as asked.
        seed_effective: Whether the seed decides what is made.
        prices: What each part will cost, where known.
        inputs: The SHA-256 of each of the task's inputs, where a sidecar is to tell that.
    """

    provider: str
    account: str
    per_job: int
    requests: tuple[JsonObject, ...] = attrs.field(converter=in_order)
    model: str | None = None
    warnings: tuple[str, ...] = attrs.field(default=(), converter=in_order)
    seed_effective: bool = False
    follow_ups: tuple[tuple[int, ...], ...] = ()
    prices: tuple[Cost | None, ...] = ()
    inputs: tuple[str | None, ...] = ()


@attrs.frozen(kw_only=True)
class PartRecord:
    """What is remembered of a part.

    Attributes:
        round: How often it was begun anew by an explicit decision.
        attempt: Submits that were sent.
        job: The provider's job.
        submitted_at: When it was accepted, in seconds since the epoch.
        outputs: Where its files can be had, until all of them are stored.
        expires_at: When the first of these addresses expires, in seconds since the epoch.
        price: What was set aside for it, where a submit may have made a job.
        cost: What the provider says that it cost.
        files: Its raw files, in the spool.
        artifacts: Its finished files.
        error: Why it failed, was refused last or is uncertain.
        changed_at: When the last of this was written, in seconds since the epoch; for what is
            uncertain, when it was sent or its answer was lost.
    """

    state: PartState = "admitted"
    round: int = 0
    attempt: int = 0
    job: JobRef | None = None
    submitted_at: float | None = None
    outputs: tuple[Output, ...] = ()
    expires_at: float | None = None
    price: Cost | None = None
    cost: Cost | None = None
    files: tuple[RawFile, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    error: GenerationError | None = None
    changed_at: float | None = None


@attrs.frozen(kw_only=True)
class Entry:
    """An admitted task.

    Attributes:
        key: Its id, or its digest and occurrence number.
        task: As it was given.
        index: Its place in the input.
        number: Its number in the journal.
        token: Names it among the tasks of all journals.
        state: Whether anything is left to do.
        rewritten: What rewriters made of it, if they did.
        rewriters: Their names.
        plan: How it was put to a provider, if it was.
        parts: What is remembered of its parts, by index.
        replaces: Whether its id stood for another task before.
        ending: The outcome as it was stored, as JSON text.
    """

    key: str
    task: Task
    index: int
    number: int = 0
    token: str = ""
    state: TaskState = "open"
    rewritten: Task | None = None
    rewriters: tuple[str, ...] = ()
    plan: Plan | None = None
    parts: Mapping[int, PartRecord] = attrs.field(factory=dict)
    replaces: bool = False
    ending: str | None = None

    def part(self, index: int) -> PartKey:
        """The key of one part."""
        record = self.parts.get(index)
        again = f".{record.round}" if record and record.round else ""
        return PartKey(
            task=self.key,
            number=self.number,
            index=index,
            submit_key=f"{self.token}-{index}{again}",
        )


@attrs.frozen(kw_only=True)
class Retry:
    """What the user has decided to try again.

    Attributes:
        failed: Tasks that failed.
        uncertain: Tasks whose submit may have made a job: all, or those with these keys. This
            may pay a second time.
        pay_again: Keys of tasks that failed and are paid for again where what their jobs made
            is gone: see `is_gone`.
    """

    failed: bool = False
    uncertain: bool | frozenset[str] = False
    pay_again: frozenset[str] = frozenset()

    def of_failed(self, key: str) -> bool:
        """Whether the failed task `key` is tried again."""
        return self.failed or key in self.pay_again

    def of_uncertain(self, key: str) -> bool:
        """Whether the uncertain task `key` is to be submitted again."""
        return self.uncertain if isinstance(self.uncertain, bool) else key in self.uncertain


@attrs.frozen(kw_only=True)
class Pause:
    """Why nothing was submitted any more.

    Attributes:
        reason: What to mend first.
        since: In seconds since the epoch.
    """

    reason: str
    since: float


class Journal(Protocol):
    """Remembers; what it has returned from is not forgotten."""

    @property
    def path(self) -> Path | None:
        """Its file, if it has one."""
        ...

    @property
    def changed(self) -> tuple[str, ...]:
        """Settings that differ from those of the last run."""
        ...

    @property
    def finished(self) -> bool:
        """Whether nothing in it needs more work; known when it is closed."""
        ...

    @property
    def paused(self) -> PausedError | None:
        """Why nothing may be submitted, if so: for instance a full disk."""
        ...

    def note_pause(self, reason: PausedError) -> None:
        """Remember why an account is paused, until something is submitted by another run."""
        ...

    def disk_full(self) -> None:
        """Make room for what is already paid for, and let nothing more be submitted."""
        ...

    async def admit(
        self, tasks: Sequence[tuple[Task, int]], retry: Retry
    ) -> list[Entry | InvalidTaskError]:
        """Give each task, which comes with its place in the input, its entry.

        Returns:
            What is known of it; an error where another task of this run has its id.
        """
        ...

    async def in_work(self, retry: Retry) -> list[Entry]:
        """Open tasks with a job or with files that are paid for and not yet stored."""
        ...

    async def owed(self) -> list[str]:
        """Keys of tasks for which something is, or may be, paid and not finished."""
        ...

    async def reopen(self, key: str) -> Entry:
        """The entry of a task, ready to go on with whatever of it is paid for.

        Raises:
            UnknownNameError: There is no such task.
        """
        ...

    async def spending(self) -> Spending:
        """What its jobs have cost and may cost, over all runs."""
        ...

    async def affinities(self) -> dict[str, str]:
        """By affinity, the name of the provider that has, or may have, made the first of it."""
        ...

    def outcome(self, entry: Entry) -> Outcome:
        """The outcome of an entry that is done or failed, for its task and place in the input."""
        ...

    async def rewritten(self, entry: Entry, task: Task, by: Sequence[str]) -> None:
        """Remember what a task became and by which stages; it is never rewritten again."""
        ...

    async def planned(self, entry: Entry, plan: Plan) -> None:
        """Remember how a task of which nothing was sent yet is put to a provider."""
        ...

    async def record(self, part: PartKey, step: Step) -> None:
        """Remember a step; returns when that is durable.

        Of ``finished``, ``fetched`` and ``stored`` it may return earlier, unless they are what
        became of a submit: what is not durable then is found out again for nothing. Steps become
        durable in their order, so that all of them are where `reserve` or `finish` returns.

        Raises:
            PausedError: Only of a submit that is about to be sent: see `paused`.
            JournalError: It cannot be remembered.
        """
        ...

    async def reserve(self, entry: Entry, name: str) -> bool:
        """Keep an output name for a task; False where another task has it.

        Returns when that is durable, and with it every step that was recorded before.
        """
        ...

    async def finish(self, entry: Entry, outcome: Outcome) -> None:
        """The task has ended, or is left for another run."""
        ...

    async def aclose(self) -> None:
        """Let go."""
        ...
