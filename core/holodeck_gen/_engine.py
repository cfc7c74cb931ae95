"""The life of a task, from admission to its one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import attrs

from holodeck_gen._artifact import Artifact, add_costs
from holodeck_gen._calls import bounded
from holodeck_gen._fetch import Fetcher, RawFile, pictures
from holodeck_gen._finish import Finisher
from holodeck_gen._gate import Gate, LocalGate
from holodeck_gen._job import Job
from holodeck_gen._journal import (
    Entry,
    Failed,
    Fetched,
    Finished,
    Journal,
    PartKey,
    Stored,
)
from holodeck_gen._log import Logger
from holodeck_gen._outcome import Failure, Outcome, Result, State
from holodeck_gen._provider import JobStatus, Prepared, Provider
from holodeck_gen._settings import Settings
from holodeck_gen._stages import Rewriter
from holodeck_gen._task import Task
from holodeck_gen.errors import (
    AuthError,
    BillingError,
    DownloadError,
    GenerationError,
    JobFailedError,
    JobTimeoutError,
    PartialResultError,
    PausedError,
    ProviderError,
    RewriteError,
    StageError,
    SubmitUncertainError,
    TaskCancelledError,
    TaskError,
)
from holodeck_gen.events import EventQueue, TaskAdmitted, TaskEnded

_log = Logger("holodeck_gen.engine")

#: Errors after which the same task may still get its result without being paid for again.
HELD = (SubmitUncertainError, JobTimeoutError, PausedError, AuthError, BillingError)


@attrs.define(kw_only=True, eq=False)
class Life:
    """What is known of one task while it runs; a handle reads it."""

    index: int
    task: Task
    key: str = ""
    provider: Provider | None = None
    jobs: list[Job] = attrs.field(factory=list)
    began: float = 0.0
    fetch_s: float = 0.0
    finish_s: float = 0.0
    #: Whether a job may still be running, or was never allowed to start.
    held: bool = False

    @property
    def job_ids(self) -> tuple[str, ...]:
        """The provider's jobs so far."""
        return tuple(job.job_id for job in self.jobs if job.job_id)


@attrs.frozen(kw_only=True)
class Part:
    """What one job made of its share."""

    artifacts: tuple[Artifact, ...] = ()
    status: JobStatus | None = None
    revised_prompt: str | None = None
    error: GenerationError | None = None


@attrs.define(kw_only=True, eq=False)
class Engine:
    """Runs tasks; owns gates and pauses. Everything it needs is handed in."""

    #: Returns the provider for a task.
    choose: Callable[[Task], Provider]
    rewriters: Sequence[tuple[str, Rewriter]]
    journal: Journal
    fetcher: Fetcher
    finisher: Finisher
    settings: Settings
    events: EventQueue
    #: Runs what may outlive a task.
    background: Callable[[Coroutine[Any, Any, None]], object]
    gates: dict[tuple[str, str], Gate] = attrs.field(factory=dict, init=False)
    paused: dict[str, PausedError] = attrs.field(factory=dict, init=False)

    async def run(self, life: Life) -> Outcome:
        """Return the task's outcome; raises nothing but `CancelledError`."""
        life.began = asyncio.get_running_loop().time()
        life.key = life.task.id or str(life.index)
        try:
            outcome = await self._run(life)
        except GenerationError as error:
            outcome = self.failure(life, error)
        except Exception as error:
            # A fault of a plugin or of ours ends this task only.
            _log.exception("task.crashed", task=life.key)
            wrapped = ProviderError(f"unexpected {type(error).__name__}: {error}")
            wrapped.__cause__ = error
            outcome = self.failure(life, wrapped)
        await self.end(life, outcome)
        return outcome

    async def end(self, life: Life, outcome: Outcome) -> None:
        """Tell the journal and the observers."""
        await self.journal.finish(life.key, outcome)
        if outcome.ok:
            _log.info("task.done", task=life.key, files=len(outcome.artifacts))
        else:
            _log.warning(
                "task.ended",
                task=life.key,
                state=outcome.state,
                error=type(outcome.error).__name__,
                code=getattr(outcome.error, "code", None),
                job_id=outcome.job_id,
            )
        if self.events:
            self.events.put(TaskEnded(outcome=outcome))

    def failure(self, life: Life, error: GenerationError, *, state: State | None = None) -> Failure:
        """A task's end without a result, with what is known of it."""
        if isinstance(error, TaskError):
            error.task_id = error.task_id or life.key
            error.provider = error.provider or (life.provider.name if life.provider else None)
            error.job_id = error.job_id or next(iter(life.job_ids), None)
        if state is None:
            state = "held" if life.held or isinstance(error, HELD) else "failed"
        artifacts = error.artifacts if isinstance(error, PartialResultError) else ()
        return Failure(
            task=life.task,
            index=life.index,
            key=life.key,
            error=error,
            state=state,
            artifacts=artifacts,
            attempts=sum(job.attempts for job in life.jobs),
        )

    def cancelled(self, life: Life) -> Failure:
        """The outcome of a task that its owner stopped; held where its job goes on."""
        ids = life.job_ids
        rest = f"; job {', '.join(ids)} goes on at the provider" if ids else ""
        error = TaskCancelledError(f"cancelled{rest}", job_id=next(iter(ids), None))
        return self.failure(life, error, state="held" if ids else "cancelled")

    def prepare(self, task: Task, provider: Provider) -> Prepared:
        """Ask the provider to translate `task`; its faults become errors of the task."""
        try:
            prepared = provider.prepare(task)
            if not isinstance(prepared, Prepared):
                raise TypeError(f"prepare returned {type(prepared).__name__}, not Prepared")
        except TaskError:
            raise
        except Exception as error:
            raise ProviderError(
                f"{provider.name} could not prepare the task: {error or type(error).__name__}",
                not_created=True,
                provider=provider.name,
            ) from error
        return prepared

    async def _run(self, life: Life) -> Outcome:
        entry = await self.journal.admit(life.task, life.index)
        life.key = entry.key
        if self.events:
            self.events.put(TaskAdmitted(key=entry.key, index=life.index))
        self.settings.name.check(life.task.metadata)
        task = await self._rewrite(entry)
        provider = life.provider = self.choose(task)
        shares = self._split(task, self.prepare(task, provider).per_job)
        prepared = [self.prepare(share, provider) for share in shares]
        if len(shares) == 1:
            parts = [await self._part(life, entry, shares[0], prepared[0], 0, 0)]
        else:
            parts = await self._parts(life, entry, shares, prepared)
        return self._assemble(life, entry, task, prepared[0], parts)

    async def _rewrite(self, entry: Entry) -> Task:
        task = entry.task
        for name, rewriter in self.rewriters:
            try:
                rewritten = await bounded(
                    rewriter.rewrite(task),
                    timeout_s=self.settings.stage_timeout_s,
                    what=f"rewriter {name!r}",
                )
                if not isinstance(rewritten, Task):
                    raise TypeError(f"it returned {type(rewritten).__name__}, not a Task")
            except RewriteError:
                raise
            except Exception as error:
                raise RewriteError(
                    f"rewriter {name!r} failed: {error or type(error).__name__}", stage=name
                ) from error
            task = rewritten
        if self.rewriters:
            await self.journal.rewritten(entry.key, task)
        return task

    def _split(self, task: Task, per_job: int) -> list[Task]:
        if task.n <= per_job:
            return [task]
        return [
            attrs.evolve(
                task,
                n=min(per_job, task.n - first),
                seed=None if task.seed is None else task.seed + first,
            )
            for first in range(0, task.n, per_job)
        ]

    async def _parts(
        self, life: Life, entry: Entry, shares: Sequence[Task], prepared: Sequence[Prepared]
    ) -> list[Part]:
        async with asyncio.TaskGroup() as group:
            offsets = [sum(share.n for share in shares[:i]) for i in range(len(shares))]
            running = [
                group.create_task(self._part(life, entry, share, ready, i, offset))
                for i, (share, ready, offset) in enumerate(
                    zip(shares, prepared, offsets, strict=True)
                )
            ]
        return [each.result() for each in running]

    async def _part(
        self, life: Life, entry: Entry, share: Task, prepared: Prepared, index: int, offset: int
    ) -> Part:
        """Run one job and finish its files; its error is a value, so that others go on."""
        assert life.provider is not None
        provider = life.provider
        account = provider.account_key()
        key = PartKey(task=entry.key, index=index)
        job = Job(
            key=key,
            provider=provider,
            request=prepared.request,
            gate=self.gate(provider, share),
            journal=self.journal,
            settings=self.settings,
            events=self.events,
            background=self.background,
            admit=lambda: self._check_pause(account),
        )
        life.jobs.append(job)
        try:
            status = await job.run(priority=share.priority)
        except GenerationError as error:
            self._pause_on(account, error)
            if job.open or isinstance(error, HELD):
                life.held = True
            else:
                await self.journal.record(key, Failed(error=error))
            return Part(error=error)
        return await self._finish_part(life, entry, job, status, offset)

    async def _finish_part(
        self, life: Life, entry: Entry, job: Job, status: JobStatus, offset: int
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
            stage.job_id = stage.job_id or job.job_id
            error = stage
            await self.journal.record(job.key, Failed(error=error))
        if error is None and missing:
            error = missing[0].error
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
            fresh = await bounded(
                job.provider.poll(job.ref),
                timeout_s=self.settings.request_timeout(job.provider.limits),
                what=f"poll of {job.provider.name}",
            )
            if not isinstance(fresh, JobStatus) or fresh.outputs == status.outputs:
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

    def _assemble(
        self, life: Life, entry: Entry, task: Task, prepared: Prepared, parts: Sequence[Part]
    ) -> Outcome:
        artifacts = tuple(artifact for part in parts for artifact in part.artifacts)
        errors = [part.error for part in parts if part.error is not None]
        if errors and not artifacts:
            raise next((each for each in errors if isinstance(each, HELD)), errors[0])
        if errors:
            partial = PartialResultError(
                f"{len(errors)} of {len(parts)} jobs gave no complete result: {errors[0]}",
                artifacts=artifacts,
            )
            partial.__cause__ = errors[0]
            return self.failure(life, partial)
        assert life.provider is not None
        jobs = life.jobs
        return Result(
            task=life.task,
            index=life.index,
            key=entry.key,
            artifacts=artifacts,
            prompt=task.prompt,
            revised_prompt=next((p.revised_prompt for p in parts if p.revised_prompt), None),
            provider=life.provider.name,
            model=prepared.model or task.model,
            job_ids=life.job_ids,
            attempts=sum(job.attempts for job in jobs),
            cost=add_costs([p.status.cost for p in parts if p.status and p.status.cost]),
            seconds={
                "wait": max(job.wait_s for job in jobs),
                "job": sum(job.run_s for job in jobs),
                "fetch": life.fetch_s,
                "finish": life.finish_s,
                "total": asyncio.get_running_loop().time() - life.began,
            },
            warnings=prepared.warnings,
        )

    def gate(self, provider: Provider, task: Task) -> Gate:
        """The gate through which `task` goes at `provider`."""
        key = (provider.account_key(), provider.quota_key(task))
        if key not in self.gates:
            self.gates[key] = LocalGate(self.settings.concurrency, provider.limits)
        return self.gates[key]

    def _check_pause(self, account: str) -> None:
        if (pause := self.paused.get(account)) is not None:
            raise PausedError(str(pause), reason=pause.reason)

    def _pause_on(self, account: str, error: GenerationError) -> None:
        """Credentials and credit concern every task of the account, so none is burnt on them."""
        if isinstance(error, AuthError | BillingError) and account not in self.paused:
            what = "credentials" if isinstance(error, AuthError) else "account"
            self.paused[account] = PausedError(
                f"paused: the provider refuses the {what}: {error}", reason=str(error)
            )
            _log.error("run.paused", account=account, reason=type(error).__name__)


def _remove(raws: Sequence[RawFile]) -> None:
    for raw in raws:
        raw.path.unlink(missing_ok=True)
