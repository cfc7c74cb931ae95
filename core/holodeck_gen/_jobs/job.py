"""One job at the provider: its slot, from before its submit to its end, and its polls.

Nothing here can begin a job; `Submitter` can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from holodeck_gen._accounts.accounts import Account
from holodeck_gen._accounts.berth import Berth, MovesOnError
from holodeck_gen._calls import bounded, words
from holodeck_gen._config.settings import Settings
from holodeck_gen._gate.gate import Gate, Slot
from holodeck_gen._jobs.poll import Poller
from holodeck_gen._jobs.reports import JobReports
from holodeck_gen._journal.journal import PartKey
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.provider import JobRef, JobStatus, Provider
from holodeck_gen._spending.charge import Charge, untracked
from holodeck_gen.errors import (
    ContentRejectedError,
    GenerationError,
    JobFailedError,
    PausedError,
    RetryableError,
    SlotRefusedError,
    SubmitUncertainError,
)

if TYPE_CHECKING:
    from holodeck_gen._model.values import JsonObject
    from holodeck_gen._pacing.poll_desk import Timetable

#: Seconds between polls of a job that nobody waits for any more.
LINGER_POLL_S = 30.0
#: Seconds for which every submit may be refused as one job too many while none of ours runs;
#: then something else is wrong with the account.
LONGEST_STARVED_S = 1800.0


class Submits(Protocol):
    """Makes jobs run; see `Submitter`. It is absent where only what is paid for is collected."""

    async def submit(self, job: Job, request: JsonObject) -> JobStatus | None:
        """Make `job` run; its final status where the service answers at once.

        Raises:
            SlotRefusedError: There are too many jobs at once: it takes another slot to try again.
        """
        ...

    async def settle(self, job: Job, error: GenerationError) -> None:
        """Find out what became of an uncertain submit, or raise `error`."""
        ...


@attrs.define(kw_only=True, eq=False)
class Job:
    """The share of a task that one job makes, from waiting for a slot to the job's end.

    Attributes:
        ref: The provider's job, once there is one.
        charge: What it may cost, and where that is counted.
        cost: What it cost, if the provider says.
        attempts: Submits that were sent.
        wait_s: Seconds until the slot was free.
        run_s: Seconds from the accepted submit to the end.
    """

    key: PartKey
    provider: Provider
    account: Account
    #: The provider's `quota_key`, and the job slots that go with it.
    quota: str
    gate: Gate
    settings: Settings
    reports: JobReports
    #: Runs what outlives the task: watching a slot that a job may still occupy.
    background: Callable[[Coroutine[Any, Any, None]], object]
    #: Told of an answer that came at once, before anything can interrupt; makes it durable.
    answered: Callable[[JobStatus], Awaitable[None]] | None = None
    #: Jobs with equal keys take about as long; see `Provider`.
    duration_key: str = ""
    charge: Charge = attrs.field(factory=untracked)
    attempts: int = 0
    #: Where the slot to begin with is, if its task has one already.
    berth: Berth | None = None
    ref: JobRef | None = attrs.field(default=None, init=False)
    cost: Cost | None = attrs.field(default=None, init=False)
    wait_s: float = attrs.field(default=0.0, init=False)
    run_s: float = attrs.field(default=0.0, init=False)
    #: Loop time at which the last submit was sent, if in this run.
    sent: float | None = attrs.field(default=None, init=False)
    #: Loop time at which the provider accepted the job, if in this run.
    accepted: float | None = attrs.field(default=None, init=False)
    #: Whether a submit was sent whose job may be running.
    may_run: bool = attrs.field(default=False, init=False)
    #: Whether the answer to a submit was lost, so that a later refusal proves nothing about it.
    lost: bool = attrs.field(default=False, init=False)
    #: Whether the submits so far, if any, made no job; until the next one has its slot.
    refused: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _slot: Slot | None = attrs.field(default=None, init=False)
    _next_slot: Callable[[], Awaitable[Slot]] | None = attrs.field(default=None, init=False)

    @property
    def open(self) -> bool:
        """Whether a job may be running at the provider."""
        return self.may_run and not self._ended

    @property
    def begun(self) -> bool:
        """Whether it goes on to its end without another submit."""
        return self.open or self._ended or self.ref is not None

    async def run(
        self,
        request: JsonObject,
        submits: Submits,
        *,
        priority: int,
        group: str | None = None,
    ) -> JobStatus:
        """Begin the job and return its final status, which is ``done``.

        Args:
            request: What is submitted.
            submits: What submits it.
            priority: Higher ones get a slot first.
            group: Groups of equal priority get slots in turn.

        Raises:
            GenerationError: Why there is none.
        """
        clock = asyncio.get_running_loop().time
        began = clock()
        # A slot may have been waited for before there was a job.
        waits_since = began - (self.berth.wait_s if self.berth else 0.0)
        place = partial(self.gate.slot, key=self.key.submit_key, priority=priority, group=group)
        self._next_slot = place
        while True:
            self.account.check(self.quota)
            if self._slot is None and self.berth:
                self._slot = self.berth.take()
            with self.reports.stage("wait", began=waits_since):
                await self.seat()
            self.wait_s = clock() - began + (self.berth.wait_s if self.berth else 0.0)
            # Once it has had a slot, it comes first.
            self._next_slot = partial(place, again=True)
            try:
                return await self._hold(partial(self._submit, request, submits), clock())
            except SlotRefusedError:
                waits_since = clock()
                elsewhere = self.berth is not None and self.berth.others and not self.lost
                if self.open or elsewhere:
                    # It came for a poll: this job exists. Or another account may have room.
                    raise

    async def seat(self) -> None:
        """Wait for a slot, where there is none or what was there is left to a lost submit.

        Raises:
            PausedError: Nothing more may be submitted.
        """
        if self._slot is None:
            assert self._next_slot is not None
            self._slot = await self._next_slot()

    def sending(self) -> None:
        """A submit is about to be sent."""
        assert self._slot is not None
        self._slot.sending()
        self.sent = asyncio.get_running_loop().time()
        self.may_run = True

    def unseat(self) -> None:
        """Leave the slot to a job that may run and of which nothing is known."""
        self.may_run = False
        if self._slot is not None:
            self._abandon(self._slot)
            self._slot = None

    async def resume(self, ref: JobRef, *, age_s: float) -> JobStatus:
        """Go on with a job that an earlier run began; as `run`.

        Args:
            ref: The job.
            age_s: Seconds since it was accepted; they count for its deadline.
        """
        self.ref = ref
        self.may_run = True
        # It runs, whatever the ceiling is: new submits have to make do with what is left.
        self._slot = self.gate.occupy(key=self.key.submit_key)
        return await self._hold(None, asyncio.get_running_loop().time() - age_s)

    async def _hold(
        self, submit: Callable[[], Awaitable[JobStatus | None]] | None, accepted: float
    ) -> JobStatus:
        clock = asyncio.get_running_loop().time
        self.refused = False
        try:
            status = await submit() if submit else None
            if status is None:
                accepted = accepted if self.accepted is None else self.accepted
                poller = self._poller(accepted)
                watched = nullcontext() if self._slot is None else self._slot.watched(poller)
                with self.account.health.watching(), self.reports.stage("job"), watched:
                    status = await poller.until_final(resumed=submit is None)
            self._ended = True
            self.cost = status.cost
        finally:
            self.run_s = clock() - accepted
            slot, self._slot = self._slot, None
            if not self.open:
                self.refused = not self._ended
            # The provider may still count this job; then the place is not free yet.
            if slot is None:
                pass
            elif not self.open:
                slot.release(clean=self._ended)
            elif self.ref is None:
                self._abandon(slot)
            else:
                self.background(self._linger(slot))
        self.reports.ended(
            self.job_id,
            status.phase,
            seconds=self.run_s,
            held=self.gate.held,
            ceiling=self.gate.ceiling,
            cost=self.charge.counted(status.cost),
        )
        if status.phase == "failed":
            raise status.error or JobFailedError("the job failed and the provider gives no reason")
        return status

    async def _submit(self, request: JsonObject, submits: Submits) -> JobStatus | None:
        try:
            status = await submits.submit(self, request)
        except SlotRefusedError as error:
            assert self._slot is not None
            # Others may be refused no more than this one, so it gives the slot back to wait.
            wait_s = self._slot.refused(retry_after_s=error.retry_after)
            if self.gate.starved_s > LONGEST_STARVED_S:
                self.account.pause(
                    PausedError(
                        f"paused: {self.provider.name} has taken no job for"
                        f" {self.gate.starved_s:.0f} s although none of this run is there:"
                        f" {error}",
                        reason=str(error),
                    )
                )
            elif self._slot.probe:
                self.reports.tried_in_vain()
            else:
                self.reports.retried("submit", error, wait_s)
            raise
        if self._slot is not None:
            self._slot.accepted()
        return status

    def check_health(self) -> None:
        """Find out whether to wait until the service is well again.

        Raises:
            MovesOnError: Another account would take the job now.
        """
        if self.berth is None or self.lost:
            return
        others = self.berth.others
        if not self.account.takes_submits and any(other.takes_submits for other in others):
            raise MovesOnError(f"{self.provider.name} takes no submit now at {self.account.key}")

    async def renewed(self) -> JobStatus | None:
        """Ask an ended job once more, for addresses that have not expired."""
        try:
            async with asyncio.timeout(2 * self.settings.request_timeout(self.provider.limits)):
                return await self._poller().ask()
        except Exception as error:
            self.reports.not_renewed(self.job_id, error)
            return None

    async def look_up(self) -> JobRef | None:
        """Ask a service with idempotency keys for the job; None where there is none to find.

        Raises:
            ProviderError: It cannot be asked now.
        """
        lookup = getattr(self.provider, "lookup", None)
        if lookup is None:
            return None
        try:
            found: JobRef | None = await bounded(
                lookup(self.key.submit_key),
                timeout_s=self.settings.request_timeout(self.provider.limits),
                what=f"lookup of {self.provider.name}",
            )
        except Exception as error:
            raise SubmitUncertainError(
                f"{self.provider.name} cannot be asked whether it made a job for {self.key}:"
                f" {words(error)}",
                provider=self.provider.name,
            ) from error
        return found

    async def _linger(self, slot: Slot) -> None:
        """Keep the slot of a job that nobody waits for until it is surely free."""
        clock = asyncio.get_running_loop().time
        kept_s = self.settings.job_timeout(self.provider.limits)
        self.reports.kept(self.job_id, kept_s)
        bound = clock() + kept_s
        slot.keep(kept_s)
        while (left := bound - clock()) > 0:
            await asyncio.sleep(min(left, LINGER_POLL_S))
            try:
                async with asyncio.timeout_at(bound):
                    if (await self._poller().ask()).final:
                        break
            except (JobFailedError, ContentRejectedError):
                break
            except Exception as error:
                self.reports.lingers(self.job_id, error)
        # Not reached where the studio closes: the job goes on, and its slot is left to it.
        slot.release(clean=False)

    def _abandon(self, slot: Slot) -> None:
        """Leave a slot to a job of which nothing is known."""
        self.reports.kept(self.job_id, slot.abandon())

    def _poller(self, accepted: float = 0.0) -> Poller:
        def on_retry(error: RetryableError, wait_s: float) -> None:
            self.reports.retried("poll", error, wait_s)

        assert self.ref is not None
        return Poller(
            ref=self.ref,
            provider=self.provider,
            account=self.account,
            timetable=self._timetable,
            settings=self.settings,
            on_retry=on_retry,
            accepted=accepted,
        )

    @property
    def _timetable(self) -> Timetable:
        return self.account.timetable(self.provider, self.duration_key)

    @property
    def job_id(self) -> str | None:
        """The provider's id of the job."""
        return self.ref.job_id if self.ref else None
