"""Sending a submit: the only place that makes a provider begin a job.

The order is fixed: price set aside, leave of the account's health, token, ``submitting`` recorded,
send, answer recorded. From the record to the record nothing can interrupt it but its own deadline
and the death of the process.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._accounts.berth import MovesOnError
from holodeck_gen._calls import bounded, finish, words
from holodeck_gen._config.settings import Settings
from holodeck_gen._event_queue import EventQueue
from holodeck_gen._health.retry import repeat
from holodeck_gen._journal.journal import Journal
from holodeck_gen._journal.steps import Abandoned, Refused, Submitted, Submitting, Uncertain
from holodeck_gen._log import Logger
from holodeck_gen._model.provider import JobRef, JobStatus
from holodeck_gen.errors import (
    GenerationError,
    InvalidTaskError,
    PausedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    SubmitUncertainError,
    TransientError,
)
from holodeck_gen.events import JobSubmitted

if TYPE_CHECKING:
    from holodeck_gen._health.health import Visit
    from holodeck_gen._jobs.job import Job
    from holodeck_gen._model.values import JsonObject

_log = Logger("holodeck_gen.submit")

#: Seconds; who is asked to wait for longer is told so instead of being kept.
LONGEST_WAIT_S = 600.0


@attrs.define(kw_only=True, eq=False)
class Submitter:
    """Submits parts, again where it is proven that no job was made."""

    journal: Journal
    settings: Settings
    events: EventQueue

    async def submit(self, job: Job, request: JsonObject) -> JobStatus | None:
        """Make `job` run.

        Returns:
            Its final status where the service answers at once; else None, and `job.ref` is set.

        Raises:
            SlotRefusedError: There are too many jobs at once.
            SubmitUncertainError: There may be a job, and nobody knows its id.
            GenerationError: There is none.
        """

        async def send(cost: int) -> JobStatus | None:
            await job.seat()
            await job.charge.reserve()
            job.check_health()
            with await self._leave(job, cost):
                # The account may have been paused while this waited for its slot or its turn.
                job.account.check(job.quota)
                return await finish(asyncio.ensure_future(self._send_and_record(job, request)))

        def on_retry(error: RetryableError, wait_s: float) -> None:
            _pause_if_long(job, error, wait_s)
            job.reports.retried("submit", error, wait_s)

        nobody = job.account.health.excuse()
        no_submit = job.account.health.excuse("submit")

        def excused(error: RetryableError) -> bool:
            # What never came to the service is no fault of the task, unless the submits of others
            # come there all the time; polls may well be answered. What may have come and costs
            # nothing is none, unless others are answered at all.
            unheard, unsubmitted = nobody(), no_submit()
            if error.code is not None:
                return False
            return unsubmitted if error.not_created else unheard and _repeats_for_nothing(job)

        try:
            return await repeat(
                send,
                self.settings.submit_policy(),
                on_retry=on_retry,
                excused=excused,
                final=(SlotRefusedError, MovesOnError),
            )
        except SlotRefusedError as error:
            _pause_if_long(job, error, error.retry_after or 0.0)
            raise

    async def settle(self, job: Job, error: GenerationError) -> None:
        """Find out what became of an uncertain submit; afterwards `job` runs or is not begun.

        Raises:
            GenerationError: `error`, where nothing but a person can tell.
        """
        if (ref := await job.look_up()) is not None:
            await self._accepted(job, ref)
        elif _repeats_for_nothing(job):
            await self._record_refusal(job, error)
        elif self.settings.on_uncertain == "resubmit":
            # Before the record, so that a crash cannot make the slot look free.
            job.unseat()
            await self.journal.record(job.key, Abandoned(attempt=job.attempts, error=error))
            job.charge.settle()
        else:
            raise error

    async def _leave(self, job: Job, cost: int) -> Visit:
        """Wait until the service is well and it is this submit's turn."""
        pace = job.account.pace(job.provider, "submit")
        while True:
            visit = await job.account.health.visit("submit", cost=cost)
            try:
                await pace.token()
            except BaseException:
                visit.leave()
                raise
            if visit.holds:
                return visit
            visit.leave()

    async def _send_and_record(self, job: Job, request: JsonObject) -> JobStatus | None:
        await self.journal.record(
            job.key, Submitting(attempt=job.attempts + 1, price=job.charge.price)
        )
        job.charge.sent()
        job.attempts += 1
        pace = job.account.pace(job.provider, "submit")
        sent = await pace.departure()
        job.sending()
        try:
            with job.reports.stage("submit"):
                answer = await bounded(
                    job.provider.submit(request, key=job.key.submit_key),
                    timeout_s=self.settings.request_timeout(job.provider.limits),
                    what=f"submit of {job.provider.name}",
                )
            if not isinstance(answer, JobRef) and not (
                isinstance(answer, JobStatus) and answer.final
            ):
                raise TypeError(f"submit returned {type(answer).__name__}, not a job or its end")
        except Exception as error:
            pace.heard(error, sent)
            # Only now is the answer known; the record must be made before anybody acts on it.
            failure = await self._without_job(job, error)
            if failure is None:
                return None
            raise failure from (error if failure is not error else None)
        if isinstance(answer, JobRef):
            await self._accepted(job, answer)
            return None
        self._tell(job)
        if job.answered is not None:
            # There is no job to ask again: a stop must not throw the answer away.
            await job.answered(answer)
        return answer

    async def _accepted(self, job: Job, ref: JobRef) -> None:
        job.ref = ref
        job.accepted = asyncio.get_running_loop().time()
        job.may_run = True
        try:
            await self.journal.record(job.key, Submitted(job=ref))
        except GenerationError as error:
            # Whoever reads the log can still find the job; nothing else knows of it.
            _log.error("job.not_recorded", part=str(job.key), job_id=ref.job_id)
            error.add_note(f"{job.provider.name} had accepted job {ref.job_id} for {job.key}")
            raise
        self._tell(job)

    def _tell(self, job: Job) -> None:
        _log.debug("job.submitted", part=str(job.key), job_id=job.job_id, attempt=job.attempts)
        if self.events:
            self.events.put(
                JobSubmitted(
                    time=self.events.clock(),
                    key=job.key.task,
                    part=job.key.index,
                    provider=job.provider.name,
                    job_id=job.job_id,
                    attempt=job.attempts,
                )
            )

    async def _without_job(self, job: Job, error: Exception) -> GenerationError | None:
        """Record that a submit gave no job id; None where the job was found all the same."""
        if isinstance(error, InvalidTaskError) or (
            isinstance(error, ProviderError) and error.not_created
        ):
            job.may_run = False
            await self._record_refusal(job, error)
            return error
        if not _repeats_for_nothing(job):
            job.account.health.doubt(error)
        uncertain = SubmitUncertainError(
            f"the answer to a submit was lost ({words(error)}); {job.provider.name} may have"
            " made and billed a job, so it is not sent again",
            code=_text_of(error, "code"),
            request_id=_text_of(error, "request_id"),
            provider=job.provider.name,
            job_id=_text_of(error, "job_id"),
        )
        uncertain.__cause__ = error
        job.lost = True
        await self.journal.record(job.key, Uncertain(error=uncertain))
        again = TransientError(
            f"submit to {job.provider.name} failed: {words(error)}",
            code=uncertain.code,
            retry_after=getattr(error, "retry_after", None),
            provider=job.provider.name,
        )
        try:
            await self.settle(job, again)
        except TransientError:
            return uncertain
        if job.ref is not None:
            return None
        job.may_run = False
        return again

    async def _record_refusal(self, job: Job, error: GenerationError) -> None:
        await self.journal.record(job.key, Refused(attempt=job.attempts, error=error))
        job.charge.refund()


def _repeats_for_nothing(job: Job) -> bool:
    """Whether a submit without an answer can be sent again without paying twice."""
    return (
        job.provider.billing == "free"
        or bool(getattr(job.provider, "resubmit_safe", False))
        or hasattr(job.provider, "lookup")
    )


def _pause_if_long(job: Job, error: RetryableError, wait_s: float) -> None:
    """Pause the account where the provider wants nothing for long.

    Raises:
        PausedError: It does.
    """
    if wait_s > LONGEST_WAIT_S:
        pause = PausedError(
            f"paused: {job.provider.name} wants no submit for {wait_s:g} s: {error}",
            reason=str(error),
            resume_after=wait_s,
        )
        job.account.pause(pause)
        raise pause from error


def _text_of(error: Exception, name: str) -> str | None:
    """A fact of an error that may come from anywhere: some have methods of that name."""
    fact = getattr(error, name, None)
    return str(fact) if isinstance(fact, str | int) else None
