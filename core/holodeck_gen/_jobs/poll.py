"""Asking after a job until it has ended or is overdue."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import attrs

from holodeck_gen._accounts.accounts import Account
from holodeck_gen._calls import DeadlineError, bounded, copied, told, words
from holodeck_gen._config.settings import Settings
from holodeck_gen._health.retry import repeat
from holodeck_gen._model.provider import JobRef, JobStatus, Provider
from holodeck_gen._pacing.poll_desk import Timetable
from holodeck_gen._pacing.poll_plan import Wish
from holodeck_gen.errors import (
    ContentRejectedError,
    JobFailedError,
    JobTimeoutError,
    PausedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    ThrottledError,
    TransientError,
)

#: Seconds; a provider that asks to be polled sooner than this is not taken at its word.
SHORTEST_PAUSE_S = 0.05


@attrs.define(kw_only=True, eq=False)
class Poller:
    """Polls one job; polls are always safe to repeat.

    Attributes:
        accepted: Loop time at which the provider accepted the job.
    """

    ref: JobRef
    provider: Provider
    account: Account
    timetable: Timetable
    settings: Settings
    on_retry: Callable[[RetryableError, float], object]
    accepted: float
    _wish: Wish | None = attrs.field(default=None, init=False)
    _sent: float = attrs.field(default=-math.inf, init=False)
    #: Seconds after which the job was found running.
    _ran: float = attrs.field(default=0.0, init=False)

    async def until_final(self, *, resumed: bool = False) -> JobStatus:
        """Poll until the job has ended.

        Args:
            resumed: Whether an earlier run may have polled it.

        Raises:
            JobTimeoutError: It is overdue.
            ProviderError: The provider cannot tell how it is doing.
        """
        clock = asyncio.get_running_loop().time
        accepted = self.accepted
        deadline = accepted + self.settings.job_timeout(self.provider.limits)
        earliest = -math.inf
        with self.account.desk(self.provider).job():
            while True:
                await self._due(accepted, earliest, deadline)
                overdue = clock() >= deadline
                if overdue:
                    self._wish = None
                # One good answer is waited for past the deadline, so that a job is not called
                # overdue only because nobody could look.
                status = await self._poll(deadline)
                if status.final:
                    # Of one that ended while nobody looked, there is nothing to learn.
                    if self._ran or not resumed:
                        self.timetable.ended(self._ran, clock() - accepted)
                    return status
                self._ran = max(self._ran, self._sent - accepted)
                self.timetable.still(self._ran)
                if overdue:
                    raise self._overdue()
                hint = status.retry_hint_s
                # So written, what is not a number is not taken either.
                good = hint is not None and hint >= SHORTEST_PAUSE_S
                earliest = clock() + (hint if hint and good else 0.0)

    @property
    def typical_s(self) -> float:
        """Seconds that such jobs take."""
        return self.timetable.plan.typical_s

    @property
    def ran_at(self) -> float:
        """Loop time at which the job was last known to run."""
        return self.accepted + self._ran

    def ended_by(self, at: float, since: float) -> float:
        """How likely the job has ended by loop time `at`, if it ran at `since`."""
        durations = self.timetable.durations
        if not durations.seen or at <= since:
            return 0.0
        gone = durations.spread.share(since - self.accepted)
        return (durations.spread.share(at - self.accepted) - gone) / (1 - gone)

    def ran(self, at: float) -> None:
        """The job was found running at loop time `at`."""
        self._ran = max(self._ran, at - self.accepted)

    async def _due(self, accepted: float, earliest: float, deadline: float) -> None:
        """Wait until it is worth a query to ask after the job."""
        clock = asyncio.get_running_loop().time
        desk = self.account.desk(self.provider)
        while True:
            # Others may have told meanwhile how long it takes.
            self._wish = self.timetable.plan.wish(accepted, self._ran)
            price = desk.price(self.timetable)
            due = max(self._wish.time(price), earliest, self._sent + SHORTEST_PAUSE_S)
            wait = min(due, deadline) - clock()
            if wait <= 0:
                return
            if await self.timetable.rest(self.account.health.rest(wait)):
                return

    async def _poll(self, deadline: float) -> JobStatus:
        surprises = 0
        clock = asyncio.get_running_loop().time
        unheard = self.account.health.excuse()

        def on_retry(error: RetryableError, wait_s: float) -> None:
            answered = isinstance(error, ThrottledError | SlotRefusedError)
            if clock() >= deadline and (answered or not unheard()):
                # The service is well, or others get to know how their jobs are doing.
                raise self._overdue() from error
            self.on_retry(error, wait_s)

        async def once(cost: int) -> JobStatus:
            nonlocal surprises
            try:
                return await self.ask(cost=cost)
            except (JobFailedError, ContentRejectedError) as error:
                return JobStatus(phase="failed", error=error)
            except ProviderError as error:
                own = told(error, job_id=self.ref.job_id)
                if isinstance(own, RetryableError) and (wanted := own.retry_after):
                    # Looked at once more before it is called overdue, whatever is asked for.
                    own = copied(own)
                    own.retry_after = min(wanted, max(0.0, deadline - clock()))
                raise own from error.__cause__
            except PausedError:
                raise
            except (DeadlineError, OSError) as error:
                raise TransientError(words(error), job_id=self.ref.job_id) from error
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

        return await repeat(once, self.settings.patient_policy(), on_retry=on_retry)

    async def ask(self, *, cost: int = 0) -> JobStatus:
        """Poll once, in its turn, when the service is well.

        Args:
            cost: What it takes from the retry budget.

        Raises:
            PausedError: The service has been unwell for too long.
            TypeError: The provider returned nonsense.
            Exception: What the provider raised.
        """
        desk = self.account.desk(self.provider)
        with await self.account.health.visit("poll", cost=cost):
            await desk.turn(self._wish)
            self._sent = await desk.pace.departure()
            try:
                status = await bounded(
                    self.provider.poll(self.ref),
                    timeout_s=self.settings.request_timeout(self.provider.limits),
                    what=f"poll of {self.provider.name}",
                )
            except Exception as error:
                desk.pace.heard(error, self._sent)
                raise
        if not isinstance(status, JobStatus):
            raise TypeError(f"poll returned {type(status).__name__}, not a JobStatus")
        return status

    def _overdue(self) -> JobTimeoutError:
        self.timetable.ended(self._ran, math.inf)
        return JobTimeoutError(
            f"job {self.ref.job_id} of {self.provider.name} has not ended after"
            f" {self.settings.job_timeout(self.provider.limits):g} s; it is paid for and may"
            " still finish",
            provider=self.provider.name,
            job_id=self.ref.job_id,
        )
