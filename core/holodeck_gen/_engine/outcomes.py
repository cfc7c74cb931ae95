"""What a task ends with, from what is known of it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import reworded, told
from holodeck_gen._jobs.life import HELD, Life
from holodeck_gen._journal.journal import Entry, Journal, Plan
from holodeck_gen._journal.place import is_invocation
from holodeck_gen._model.artifact import add_costs, in_number
from holodeck_gen._model.outcome import Failure, Outcome, Result, State
from holodeck_gen.errors import (
    DownloadError,
    GenerationError,
    PartialResultError,
    ProcessingError,
    StorageError,
    SubmitUncertainError,
    TaskCancelledError,
    TaskError,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holodeck_gen._jobs.delivery import Part
    from holodeck_gen._model.task import Task

#: Errors after which what a job made can still be had, without being paid for again.
UNSTORED = (DownloadError, ProcessingError, StorageError)


@attrs.frozen(kw_only=True)
class Outcomes:
    """Makes outcomes; where something is paid for or may be, they say what can be done.

    Args:
        journal: Where that is written down.
    """

    journal: Journal

    def of_parts(
        self, life: Life, entry: Entry, task: Task, plan: Plan, parts: Sequence[Part]
    ) -> Outcome:
        """What a task ends with whose parts have ended.

        Raises:
            GenerationError: None of them made anything.
        """
        artifacts = in_number(artifact for part in parts for artifact in part.artifacts)
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
        assert life.began is not None
        jobs = life.jobs
        return Result(
            task=life.task,
            index=life.index,
            key=entry.key,
            artifacts=artifacts,
            prompt=task.prompt,
            revised_prompt=next((p.revised_prompt for p in parts if p.revised_prompt), None),
            provider=life.provider.name,
            model=plan.model,
            job_ids=life.job_ids,
            attempts=sum(job.attempts for job in jobs),
            cost=add_costs([part.cost for part in parts if part.cost]),
            seconds={
                "wait": max(job.wait_s for job in jobs),
                "job": sum(job.run_s for job in jobs),
                "fetch": sum(each.fetch_s for each in life.deliveries),
                "finish": sum(each.finish_s for each in life.deliveries),
                "total": asyncio.get_running_loop().time() - life.began,
            },
            warnings=plan.warnings,
        )

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
            state = "held" if life.owed or isinstance(error, HELD) else "failed"
        lost = isinstance(error, SubmitUncertainError) or any(job.open for job in life.jobs)
        if state == "held" and (lost or life.job_ids) and (path := self.journal.path):
            error = reworded(error, f"{error}; {_whereabouts(path, known=bool(life.job_ids))}")
        absent = error if isinstance(error, UNSTORED) else error.__cause__
        unstored = state == "failed" and isinstance(absent, UNSTORED)
        if unstored and (path := self.journal.path):
            # Its addresses expire, so whoever reads this should know before.
            job = f"job {job_id}" if (job_id := getattr(absent, "job_id", None)) else "it"
            free = life.provider is not None and life.provider.billing == "free"
            rest = f"{'' if free else f'{job} is paid for; '}{_whereabouts(path, known=True)}"
            # What has no journal of its own would be paid for again.
            again = "" if is_invocation(path) else ", or run the same again"
            error = reworded(error, f"{error}; {rest}{again}")
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
        if not ids and life.owed:
            rest = "; a submit had no answer, so there may be a job that is billed"
        error = TaskCancelledError(f"cancelled{rest}", job_id=next(iter(ids), None))
        return self.failure(life, error, state="held" if ids or life.owed else "cancelled")


def _whereabouts(journal: Path, *, known: bool) -> str:
    """What a person can do about a job that nobody waits for."""
    folder = journal.parent
    if known:
        return f"get it with 'holodeck-gen collect {folder}'"
    return f"it is kept in mind: 'holodeck-gen audit {folder}'"
