"""One part of a task: its job, then its files."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from holodeck_gen._accounts import Accounts
from holodeck_gen._artifact import Artifact
from holodeck_gen._calls import told
from holodeck_gen._fetch import Fetcher, RawFile, pictures
from holodeck_gen._finish import Finisher
from holodeck_gen._job import Job
from holodeck_gen._journal import Entry, Failed, Fetched, Finished, Journal, PartKey, Stored
from holodeck_gen._provider import JobStatus, Prepared, Provider
from holodeck_gen._settings import Settings
from holodeck_gen._task import Task
from holodeck_gen.errors import (
    AuthError,
    BillingError,
    DownloadError,
    GenerationError,
    JobFailedError,
    JobTimeoutError,
    PausedError,
    StageError,
    SubmitUncertainError,
)
from holodeck_gen.events import EventQueue

#: Errors after which the same task may still get its result without being paid for again.
HELD = (SubmitUncertainError, JobTimeoutError, PausedError, AuthError, BillingError)


@attrs.define(kw_only=True, eq=False)
class Life:
    """What is known of one task while it runs; a handle reads it.

    Attributes:
        entry: Its place in the journal, once it is admitted.
        held: Whether a job may still be running, or was never allowed to start.
    """

    index: int
    task: Task
    entry: Entry | None = None
    provider: Provider | None = None
    jobs: list[Job] = attrs.field(factory=list)
    began: float = 0.0
    fetch_s: float = 0.0
    finish_s: float = 0.0
    held: bool = False

    @property
    def key(self) -> str:
        """The task's key, or what comes nearest before it is admitted."""
        return self.entry.key if self.entry else self.task.id or str(self.index)

    @property
    def sent(self) -> bool:
        """Whether anything was submitted for it."""
        return any(job.attempts for job in self.jobs)

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The provider's jobs so far."""
        return tuple(job.job_id for job in self.jobs if job.job_id)


@attrs.frozen(kw_only=True)
class Part:
    """What one job made of its share: files, an error, or both."""

    artifacts: tuple[Artifact, ...] = ()
    status: JobStatus | None = None
    revised_prompt: str | None = None
    error: GenerationError | None = None


@attrs.define(kw_only=True, eq=False)
class PartRunner:
    """Runs parts. Everything it needs is handed in."""

    accounts: Accounts
    journal: Journal
    fetcher: Fetcher
    finisher: Finisher
    settings: Settings
    events: EventQueue
    #: Runs what may outlive a task.
    background: Callable[[Coroutine[Any, Any, None]], object]

    async def run(
        self, life: Life, entry: Entry, share: Task, prepared: Prepared, index: int, offset: int
    ) -> Part:
        """Run one job and finish its files; its error is a value, so that others go on."""
        assert life.provider is not None
        provider = life.provider
        account = self.accounts.of(provider)
        key = PartKey(task=entry.key, index=index)
        job = Job(
            key=key,
            provider=provider,
            request=prepared.request,
            account=account,
            gate=account.gate(provider, share),
            journal=self.journal,
            settings=self.settings,
            events=self.events,
            background=self.background,
        )
        life.jobs.append(job)
        try:
            status = await job.run(priority=share.priority)
        except GenerationError as error:
            account.consider(error)
            if job.open or isinstance(error, HELD):
                life.held = True
            else:
                await self.journal.record(key, Failed(error=error))
            return Part(error=error)
        return await self._finish(life, entry, share, job, status, offset)

    async def _finish(
        self, life: Life, entry: Entry, share: Task, job: Job, status: JobStatus, offset: int
    ) -> Part:
        artifacts: list[Artifact] = []
        raws: list[RawFile] = []
        error: GenerationError | None = None
        made, missing = pictures(status)
        if not made:
            reason = missing[0].error if missing else JobFailedError("it made nothing")
            await self.journal.record(job.key, Failed(error=reason))
            return Part(error=reason)
        try:
            raws = await self._fetch(life, job, status)
            await self.journal.record(job.key, Fetched(files=tuple(str(r.path) for r in raws)))
            began = asyncio.get_running_loop().time()
            for place, raw in enumerate(raws, start=1):
                artifacts += await self.finisher.finish(
                    raw,
                    entry,
                    provider=job.provider.name,
                    number=offset + place,
                    total=max(entry.task.n, len(raws)),
                )
            life.finish_s += asyncio.get_running_loop().time() - began
            await self.journal.record(job.key, Stored(artifacts=tuple(artifacts)))
            await asyncio.to_thread(_remove, raws)
        except StageError as stage:
            error = told(stage, job_id=job.job_id)
            await self.journal.record(job.key, Failed(error=error))
        if error is None and missing:
            error = missing[0].error
        elif error is None and len(made) < share.n:
            error = JobFailedError(f"it made {len(made)} of {share.n}", job_id=job.job_id)
        revised = next((raw.revised_prompt for raw in raws if raw.revised_prompt), None)
        return Part(artifacts=tuple(artifacts), status=status, revised_prompt=revised, error=error)

    async def _fetch(self, life: Life, job: Job, status: JobStatus) -> list[RawFile]:
        began = asyncio.get_running_loop().time()
        await self.journal.record(job.key, Finished(outputs=status.outputs))
        try:
            return await self._fetch_all(job, status)
        except DownloadError:
            if job.ref is None:
                raise
            # The address may have expired; asking again costs nothing and may renew it.
            fresh = await job.renewed()
            if fresh is None or fresh.outputs == status.outputs:
                raise
            await self.journal.record(job.key, Finished(outputs=fresh.outputs))
            return await self._fetch_all(job, fresh)
        finally:
            life.fetch_s += asyncio.get_running_loop().time() - began

    async def _fetch_all(self, job: Job, status: JobStatus) -> list[RawFile]:
        made, _ = pictures(status)
        return [
            await self.fetcher.fetch(output, job.provider, name=f"{job.key}-{i}")
            for i, output in enumerate(made)
        ]


def _remove(raws: Sequence[RawFile]) -> None:
    for raw in raws:
        raw.path.unlink(missing_ok=True)
