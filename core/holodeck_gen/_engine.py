"""The life of a task, from admission to its one outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import attrs

from holodeck_gen._artifact import add_costs
from holodeck_gen._calls import bounded, told
from holodeck_gen._journal import Entry, Journal
from holodeck_gen._log import Logger
from holodeck_gen._outcome import Failure, Outcome, Result, State
from holodeck_gen._part import HELD, Life, Part, PartRunner
from holodeck_gen._provider import Prepared, Provider
from holodeck_gen._settings import Settings
from holodeck_gen._stages import Rewriter
from holodeck_gen._task import Task
from holodeck_gen.errors import (
    GenerationError,
    PartialResultError,
    ProviderError,
    RewriteError,
    TaskCancelledError,
    TaskError,
)
from holodeck_gen.events import EventQueue, TaskAdmitted, TaskEnded

_log = Logger("holodeck_gen.engine")


@attrs.define(kw_only=True, eq=False)
class Engine:
    """Runs tasks. Everything it needs is handed in."""

    #: Returns the provider for a task.
    choose: Callable[[Task], Provider]
    rewriters: Sequence[tuple[str, Rewriter]]
    parts: PartRunner
    journal: Journal
    settings: Settings
    events: EventQueue

    async def run(self, life: Life, error: GenerationError | None = None) -> Outcome:
        """Return the task's outcome; raises nothing but `CancelledError`.

        Args:
            life: The task; filled in as it runs.
            error: What went wrong with it already.
        """
        life.began = asyncio.get_running_loop().time()
        try:
            if error is not None:
                raise error
            outcome = await self._run(life)
        except GenerationError as reason:
            outcome = self.failure(life, reason)
        except Exception as fault:
            # A fault of a plugin or of ours ends this task only.
            _log.exception("task.crashed", task=life.key)
            wrapped = ProviderError(f"unexpected {type(fault).__name__}: {fault}")
            wrapped.__cause__ = fault
            outcome = self.failure(life, wrapped)
        await self.end(life, outcome)
        return outcome

    async def end(self, life: Life, outcome: Outcome) -> None:
        """Tell the journal and the observers."""
        if life.entry is not None:
            await self.journal.finish(life.entry.key, outcome)
        if isinstance(outcome, Result):
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
            error = told(
                error,
                task_id=life.key,
                provider=life.provider.name if life.provider else None,
                job_id=next(iter(life.job_ids), None),
            )
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
        entry = life.entry = await self.journal.admit(life.task, life.index)
        if self.events:
            self.events.put(TaskAdmitted(key=entry.key, index=life.index))
        self.settings.name.check(life.task)
        task = await self._rewrite(entry)
        provider = life.provider = self.choose(task)
        shares = self._split(task, self.prepare(task, provider).per_job)
        prepared = [self.prepare(share, provider) for share in shares]
        if len(shares) == 1:
            parts = [await self.parts.run(life, entry, shares[0], prepared[0], 0, 0)]
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
                group.create_task(self.parts.run(life, entry, share, ready, i, offset))
                for i, (share, ready, offset) in enumerate(
                    zip(shares, prepared, offsets, strict=True)
                )
            ]
        return [each.result() for each in running]

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
