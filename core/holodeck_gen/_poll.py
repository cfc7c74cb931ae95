"""Asking after a job until it has ended or is overdue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable

import attrs

from holodeck_gen._accounts import Account
from holodeck_gen._calls import bounded, told, words
from holodeck_gen._poll_desk import Timetable
from holodeck_gen._poll_plan import Wish
from holodeck_gen._provider import JobRef, JobStatus, Provider
from holodeck_gen._retry import repeat
from holodeck_gen._settings import Settings
from holodeck_gen.errors import (
    ContentRejectedError,
    JobFailedError,
    JobTimeoutError,
    ProviderError,
    RetryableError,
    TransientError,
)

#: Seconds; a provider that asks to be polled sooner than this is not taken at its word.
SHORTEST_PAUSE_S = 0.05


@attrs.define(kw_only=True, eq=False)
class Poller:
    """Polls one job; polls are always safe to repeat."""

    ref: JobRef
    provider: Provider
    account: Account
    timetable: Timetable
    settings: Settings
    on_retry: Callable[[RetryableError, float], Awaitable[None]]
    _wish: Wish | None = attrs.field(default=None, init=False)
    _sent: float = attrs.field(default=-math.inf, init=False)

    async def until_final(self, accepted: float, *, resumed: bool = False) -> JobStatus:
        """Poll until the job has ended.

        Args:
            accepted: Loop time at which the provider accepted the job.
            resumed: Whether an earlier run may have polled it.

        Raises:
            JobTimeoutError: It is overdue.
            ProviderError: The provider cannot tell how it is doing.
        """
        limits = self.provider.limits
        clock = asyncio.get_running_loop().time
        deadline = accepted + self.settings.job_timeout(limits)
        ran, earliest = 0.0, -math.inf
        with self.account.desk(self.provider).job():
            while True:
                await self._due(accepted, ran, earliest, deadline)
                overdue = clock() >= deadline
                if overdue:
                    self._wish = None
                try:
                    # One poll is allowed past the deadline, so that a job is not called overdue
                    # only because nobody has looked.
                    async with asyncio.timeout_at(
                        max(deadline, clock() + self.settings.request_timeout(limits))
                    ):
                        status = await self._poll()
                except TimeoutError:
                    raise self._overdue(ran) from None
                if status.final:
                    # Of one that ended while nobody looked, there is nothing to learn.
                    if ran or not resumed:
                        self.timetable.ended(ran, clock() - accepted)
                    return status
                ran = max(ran, self._sent - accepted)
                self.timetable.still(ran)
                if overdue:
                    raise self._overdue(ran)
                hint = status.retry_hint_s
                # So written, what is not a number is not taken either.
                good = hint is not None and hint >= SHORTEST_PAUSE_S
                earliest = clock() + (hint if hint and good else 0.0)

    async def _due(self, accepted: float, ran: float, earliest: float, deadline: float) -> None:
        """Wait until it is worth a query to ask after the job."""
        clock = asyncio.get_running_loop().time
        desk = self.account.desk(self.provider)
        while True:
            # Others may have told meanwhile that it takes longer than was thought.
            self._wish = self.timetable.plan.wish(accepted, ran)
            price = desk.price(self.timetable)
            due = max(self._wish.time(price), earliest, self._sent + SHORTEST_PAUSE_S)
            wait = min(due, deadline) - clock()
            if wait <= 0:
                return
            await asyncio.sleep(wait)

    async def _poll(self) -> JobStatus:
        surprises = 0

        async def once() -> JobStatus:
            nonlocal surprises
            try:
                return await self.ask()
            except (JobFailedError, ContentRejectedError) as error:
                return JobStatus(phase="failed", error=error)
            except ProviderError as error:
                raise told(error, job_id=self.ref.job_id) from error.__cause__
            except Exception as error:
                surprises += 1
                if surprises >= self.settings.attempts:
                    raise ProviderError(
                        f"{self.provider.name} cannot tell how job {self.ref.job_id} is doing:"
                        f" {words(error)}; the job may still finish",
                        provider=self.provider.name,
                        job_id=self.ref.job_id,
                    ) from error
                raise TransientError(words(error), job_id=self.ref.job_id) from error

        return await repeat(
            once, self.settings.patient_policy(), sleep=asyncio.sleep, on_retry=self.on_retry
        )

    async def ask(self) -> JobStatus:
        """Poll once, in its turn.

        Raises:
            TypeError: The provider returned nonsense.
            Exception: What the provider raised.
        """
        desk = self.account.desk(self.provider)
        await desk.turn(self._wish)
        await desk.pace.departure()
        self._sent = asyncio.get_running_loop().time()
        status = await bounded(
            self.provider.poll(self.ref),
            timeout_s=self.settings.request_timeout(self.provider.limits),
            what=f"poll of {self.provider.name}",
        )
        if not isinstance(status, JobStatus):
            raise TypeError(f"poll returned {type(status).__name__}, not a JobStatus")
        return status

    def _overdue(self, ran: float) -> JobTimeoutError:
        self.timetable.ended(ran, math.inf)
        return JobTimeoutError(
            f"job {self.ref.job_id} of {self.provider.name} has not ended after"
            f" {self.settings.job_timeout(self.provider.limits):g} s; it is paid for and may"
            " still finish",
            provider=self.provider.name,
            job_id=self.ref.job_id,
        )
