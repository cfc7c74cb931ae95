"""What is known of one task while it runs."""

from __future__ import annotations

import asyncio

import attrs

from holodeck_gen._accounts.berth import Berth
from holodeck_gen._jobs.delivery import Delivery
from holodeck_gen._jobs.job import Job
from holodeck_gen._journal.journal import Entry, PartRecord
from holodeck_gen._journal.steps import IN_WORK
from holodeck_gen._model.provider import Provider
from holodeck_gen._model.task import Task
from holodeck_gen.errors import (
    AuthError,
    BillingError,
    BudgetExceededError,
    JobTimeoutError,
    JournalError,
    PausedError,
    SubmitUncertainError,
)

#: Errors after which the same task may still get its result without being paid for again.
HELD = (
    SubmitUncertainError,
    JobTimeoutError,
    PausedError,
    AuthError,
    BillingError,
    BudgetExceededError,
    JournalError,
)


@attrs.define(kw_only=True, eq=False)
class Life:
    """One task; a handle reads it.

    Attributes:
        entry: Its place in the journal, once it is admitted.
        admitted: Set when the journal knows it.
        held: Whether a job may still be running, or was never allowed to start.
        group: The call of ``map`` that it came with, if it did.
        berth: The slot that its first job begins with, if it has one already.
    """

    index: int
    task: Task
    group: str | None = None
    entry: Entry | None = None
    provider: Provider | None = None
    jobs: list[Job] = attrs.field(factory=list)
    deliveries: list[Delivery] = attrs.field(factory=list)
    began: float | None = None
    held: bool = False
    berth: Berth | None = None
    admitted: asyncio.Event = attrs.field(factory=asyncio.Event)
    #: Whether observers know of it.
    announced: bool = False

    @property
    def key(self) -> str:
        """The task's key, or what comes nearest before it is admitted."""
        return self.entry.key if self.entry else self.task.id or str(self.index)

    @property
    def sent(self) -> bool:
        """Whether anything of it was submitted and, as far as is known, goes on to its end.

        Where an answer was lost and another submit would follow, it does not.
        """
        return any(
            job.begun or (job.attempts and not job.refused and not job.lost) for job in self.jobs
        )

    def group_of(self, task: Task) -> str | None:
        """Names the tasks with which `task`, after rewriting, takes turns for slots."""
        return task.affinity or self.group

    @property
    def begun(self) -> bool:
        """Whether there is, or may be, a job of it."""
        return any(job.may_run or job.lost or job.ref is not None for job in self.jobs)

    @property
    def owed(self) -> bool:
        """Whether something of it is, or may be, paid for and not finished."""
        if self.held or any(job.open for job in self.jobs):
            return True
        begun = {job.key.index for job in self.jobs}
        parts = self.entry.parts.items() if self.entry else ()
        # Those that this run did not even come to: nothing is known against them.
        return any(
            part.state in (*IN_WORK, "uncertain") for index, part in parts if index not in begun
        )

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The provider's jobs so far."""
        return tuple(job.job_id for job in self.jobs if job.job_id)

    def bind(self, provider: Provider, berth: Berth | None = None) -> None:
        """Put it to `provider`; another one may have refused it, so that there is no job."""
        assert self.entry is not None
        parts = dict(self.entry.parts)
        for job in self.jobs:
            record = parts.get(job.key.index, PartRecord())
            parts[job.key.index] = attrs.evolve(record, attempt=job.attempts)
        self.entry = attrs.evolve(self.entry, parts=parts)
        self.jobs.clear()
        self.deliveries.clear()
        self.provider, self.berth = provider, berth
