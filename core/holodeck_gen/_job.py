"""One job at the provider: its slot, its submit, its polls.

The order is fixed: slot, token, ``submitting`` recorded, send, answer recorded. From the record
to the record nothing can interrupt it but its own deadline and the death of the process.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import attrs

from holodeck_gen._accounts import Account
from holodeck_gen._calls import bounded, finish, words
from holodeck_gen._gate import Gate, Slot
from holodeck_gen._journal import Journal, PartKey, Refused, Submitted, Submitting, Uncertain
from holodeck_gen._log import Logger
from holodeck_gen._poll import Poller
from holodeck_gen._provider import Action, JobRef, JobStatus, Provider
from holodeck_gen._retry import repeat
from holodeck_gen._settings import Settings
from holodeck_gen._values import JsonObject
from holodeck_gen.errors import (
    ContentRejectedError,
    GenerationError,
    JobFailedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    SubmitUncertainError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.events import EventQueue, JobEnded, JobSubmitted, RequestRetried

_log = Logger("holodeck_gen.job")

#: Seconds between polls of a job that nobody waits for any more.
LINGER_POLL_S = 30.0


@attrs.define(kw_only=True, eq=False)
class Job:
    """The share of a task that one job makes, from waiting for a slot to the job's end.

    Attributes:
        ref: The provider's job, once there is one.
        attempts: Submits that were sent.
        wait_s: Seconds until the slot was free.
        run_s: Seconds from the accepted submit to the end.
    """

    key: PartKey
    provider: Provider
    request: JsonObject
    account: Account
    gate: Gate
    journal: Journal
    settings: Settings
    events: EventQueue
    #: Runs what outlives the task: watching a slot that a job may still occupy.
    background: Callable[[Coroutine[Any, Any, None]], object]
    ref: JobRef | None = attrs.field(default=None, init=False)
    attempts: int = attrs.field(default=0, init=False)
    wait_s: float = attrs.field(default=0.0, init=False)
    run_s: float = attrs.field(default=0.0, init=False)
    _may_run: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)

    @property
    def open(self) -> bool:
        """Whether a job may be running at the provider."""
        return self._may_run and not self._ended

    async def run(self, *, priority: int) -> JobStatus:
        """Return the job's final status, which is ``done``.

        Raises:
            GenerationError: Why there is none.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        slot = await self.gate.slot(priority=priority)
        accepted = clock()
        self.wait_s = accepted - began
        try:
            status = await self._submit(slot)
            if status is None:
                accepted = clock()
                status = await self._poller().until_final(accepted)
            self._ended = True
        finally:
            self.run_s = clock() - accepted
            if not self.open:
                slot.release(clean=self._ended)
            else:
                # The provider may still count this job, so the place is not free yet.
                self.background(self._linger(slot))
        self._report(status)
        if status.phase == "failed":
            raise status.error or JobFailedError("the job failed and the provider gives no reason")
        return status

    async def renewed(self) -> JobStatus | None:
        """Ask an ended job once more, for addresses that have not expired."""
        try:
            return await self._poller().ask()
        except Exception as error:
            _log.warning("job.renewal_failed", job_id=self.job_id, error=repr(error))
            return None

    async def _submit(self, slot: Slot) -> JobStatus | None:
        async def on_retry(error: RetryableError, wait_s: float) -> None:
            if isinstance(error, SlotRefusedError):
                slot.refused()
            await self._retrying("submit", error, wait_s)

        return await repeat(
            self._send, self.settings.submit_policy(), sleep=asyncio.sleep, on_retry=on_retry
        )

    async def _send(self) -> JobStatus | None:
        await self.account.pace(self.provider, "submit").token()
        # The account may have been paused while this waited for its slot or its turn.
        self.account.check()
        return await finish(asyncio.ensure_future(self._send_and_record()))

    async def _send_and_record(self) -> JobStatus | None:
        self.attempts += 1
        await self.journal.record(self.key, Submitting(attempt=self.attempts))
        await self.account.pace(self.provider, "submit").departure()
        self._may_run = True
        try:
            answer = await bounded(
                self.provider.submit(self.request, key=str(self.key)),
                timeout_s=self.settings.request_timeout(self.provider.limits),
                what=f"submit of {self.provider.name}",
            )
            if not isinstance(answer, JobRef) and not (
                isinstance(answer, JobStatus) and answer.final
            ):
                raise TypeError(f"submit returned {type(answer).__name__}, not a job or its end")
        except Exception as error:
            # Only now is the answer known; the record must be made before anybody acts on it.
            failure = await self._without_job(error)
            raise failure from (error if failure is not error else None)
        if isinstance(answer, JobRef):
            self.ref = answer
            await self.journal.record(self.key, Submitted(job=answer))
        _log.debug("job.submitted", part=str(self.key), job_id=self.job_id, attempt=self.attempts)
        if self.events:
            self.events.put(
                JobSubmitted(
                    key=self.key.task,
                    part=self.key.index,
                    provider=self.provider.name,
                    job_id=self.job_id,
                    attempt=self.attempts,
                )
            )
        return None if isinstance(answer, JobRef) else answer

    async def _without_job(self, error: Exception) -> GenerationError:
        """Record that a submit gave no job id, and say what that means."""
        if isinstance(error, ProviderError) and error.not_created:
            self._may_run = False
            await self._record_refusal(error)
            return error
        uncertain = SubmitUncertainError(
            f"the answer to a submit was lost ({words(error)}); {self.provider.name} may have"
            " made and billed a job, so it is not sent again",
            code=getattr(error, "code", None),
            request_id=getattr(error, "request_id", None),
            provider=self.provider.name,
            job_id=getattr(error, "job_id", None),
        )
        uncertain.__cause__ = error
        await self.journal.record(self.key, Uncertain(error=uncertain))
        if not self._may_repeat():
            return uncertain
        again = TransientError(
            f"submit to {self.provider.name} failed: {words(error)}",
            retry_after=getattr(error, "retry_after", None),
            provider=self.provider.name,
        )
        # Its slot goes to the next attempt: a job that costs nothing is not waited for.
        self._may_run = False
        await self._record_refusal(again)
        return again

    def _may_repeat(self) -> bool:
        return (
            self.provider.billing == "free"
            or bool(getattr(self.provider, "resubmit_safe", False))
            or self.settings.on_uncertain == "resubmit"
        )

    async def _record_refusal(self, error: GenerationError) -> None:
        await self.journal.record(self.key, Refused(attempt=self.attempts, error=error))

    async def _linger(self, slot: Slot) -> None:
        """Keep the slot of a job that nobody waits for until it is surely free."""
        clock = asyncio.get_running_loop().time
        bound = clock() + self.settings.job_timeout(self.provider.limits)
        try:
            while (left := bound - clock()) > 0:
                await asyncio.sleep(min(left, LINGER_POLL_S) if self.ref else left)
                if self.ref is None:
                    continue
                try:
                    if (await self._poller().ask()).final:
                        return
                except (JobFailedError, ContentRejectedError):
                    return
                except Exception as error:
                    _log.debug("job.linger_poll_failed", job_id=self.job_id, error=repr(error))
        finally:
            slot.release(clean=False)

    async def _retrying(self, action: Action, error: RetryableError, wait_s: float) -> None:
        if isinstance(error, ThrottledError):
            self.account.pace(self.provider, action).hold(wait_s)
        _log.warning(
            "request.retried",
            action=action,
            part=str(self.key),
            provider=self.provider.name,
            error=type(error).__name__,
            code=error.code,
            wait_s=round(wait_s, 3),
        )
        if self.events:
            self.events.put(
                RequestRetried(
                    key=self.key.task,
                    part=self.key.index,
                    provider=self.provider.name,
                    action=action,
                    error=type(error).__name__,
                    code=error.code,
                    wait_s=wait_s,
                )
            )

    def _poller(self) -> Poller:
        async def on_retry(error: RetryableError, wait_s: float) -> None:
            await self._retrying("poll", error, wait_s)

        assert self.ref is not None
        return Poller(
            ref=self.ref,
            provider=self.provider,
            account=self.account,
            settings=self.settings,
            on_retry=on_retry,
        )

    def _report(self, status: JobStatus) -> None:
        _log.info(
            "job.ended",
            part=str(self.key),
            job_id=self.job_id,
            phase=status.phase,
            seconds=round(self.run_s, 3),
        )
        if self.events:
            self.events.put(
                JobEnded(
                    key=self.key.task,
                    part=self.key.index,
                    provider=self.provider.name,
                    job_id=self.job_id,
                    phase=status.phase,
                    seconds=self.run_s,
                    held=self.gate.held,
                    ceiling=self.gate.ceiling,
                )
            )

    @property
    def job_id(self) -> str | None:
        """The provider's id of the job."""
        return self.ref.job_id if self.ref else None
