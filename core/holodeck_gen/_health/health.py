"""Who may send to the service behind an account: everybody, or trials where it is not well.

A retry budget keeps retries a small part of all requests, a breaker keeps everything but one trial
a minute from a service that does not answer, and an outage that is too long ends the run so that
it can be resumed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

import attrs

from holodeck_gen._calls import DeadlineError, copied, words
from holodeck_gen._health.judgement import OUTAGE_S, Judgement, Outage
from holodeck_gen._health.sign import Sign, sign_of
from holodeck_gen._health.trials import TRIAL_S, Trials
from holodeck_gen._log import Logger
from holodeck_gen._model.provider import Action
from holodeck_gen.errors import (
    PausedError,
    RetryableError,
    SlotRefusedError,
    ThrottledError,
)

if TYPE_CHECKING:
    from types import TracebackType

_log = Logger("holodeck_gen.health")

#: The retry budget, what a retry takes from it, one after a timeout, and what a request gives
#: back that succeeds at once: the figures of the AWS SDKs' standard mode
#: (https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html).
BUDGET = 500
RETRY_COST = 5
TIMEOUT_COST = 10
REFUND = 1

_NEVER = float("-inf")


def price(error: RetryableError) -> int:
    """What the retry after `error` takes from the budget; a refusal of slot or pace nothing."""
    if isinstance(error, ThrottledError | SlotRefusedError):
        return 0
    timed_out = isinstance(error.__cause__, TimeoutError | DeadlineError)
    return TIMEOUT_COST if timed_out else RETRY_COST


@attrs.define(eq=False)
class Visit:
    """Leave to send one request. As a context manager it tells the health what came of it.

    Attributes:
        trial: Whether it is sent to find out whether the service is well.
        retry: Whether the same request has failed before.
        began: Loop time of the leave.
    """

    health: Health
    action: Action
    trial: bool
    retry: bool
    began: float
    _over: bool = attrs.field(default=False, init=False)

    @property
    def holds(self) -> bool:
        """Whether the request may still be sent; others may have found the service unwell."""
        return self.trial or not self.health.shut(self.action)

    def leave(self, error: BaseException | None = None, *, sent: bool = False) -> None:
        """Tell how it ended. Once.

        Args:
            error: What the request raised, if it did.
            sent: Whether it was sent at all.
        """
        if not self._over:
            self._over = True
            self.health._left(self, sign_of(error) if sent else None, error)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.leave(error, sent=True)


@attrs.define(kw_only=True, eq=False)
class Health:
    """Of one account.

    Attributes:
        pause: Told that the outage is too long.
        outage_s: How long that is.
        budget: What is left for retries.
        gone: Why nothing at all is sent any more.
    """

    pause: Callable[[PausedError], object]
    outage_s: float = OUTAGE_S
    budget: int = attrs.field(default=BUDGET, init=False)
    gone: PausedError | None = attrs.field(default=None, init=False)
    _judged: Judgement = attrs.field(init=False)
    _trials: Trials = attrs.field(factory=Trials, init=False)
    _trial: Visit | None = attrs.field(default=None, init=False)
    _watched: int = attrs.field(default=0, init=False)
    _refused: PausedError | None = attrs.field(default=None, init=False)
    _waiting: int = attrs.field(default=0, init=False)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    #: When one that rested was last asked to poll; set and replaced where they are to look.
    _called_at: float = attrs.field(default=_NEVER, init=False)
    _called: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)

    def __attrs_post_init__(self) -> None:
        self._judged = Judgement(outage_s=self.outage_s)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Say that there is a job to poll, so that no submit is needed to try the service."""
        self._watched += 1
        try:
            yield
        finally:
            self._watched -= 1
            self._tell()

    def shut(self, action: Action) -> bool:
        """Whether only trials of `action` are sent."""
        judged = self._judged
        return judged.unwell or (action == "submit" and judged.doubted_since is not None)

    def admits(self, action: Action) -> bool:
        """Whether `action` would be sent at once, be it as a trial."""
        if not self.shut(action):
            return True
        due = self._trial_due(action)
        return due is not None and due <= asyncio.get_running_loop().time()

    async def visit(self, action: Action, *, cost: int = 0) -> Visit:
        """Wait until a request may be sent.

        Args:
            action: What is to be sent.
            cost: What it takes from the retry budget.

        Raises:
            PausedError: Nothing of the kind is sent any more.
        """
        clock = asyncio.get_running_loop().time
        while True:
            self._check(action)
            now = clock()
            if not self.shut(action) and self.budget >= cost:
                self.budget -= cost
                return Visit(self, action, trial=False, retry=cost > 0, began=now)
            due = self._trial_due(action)
            if due is not None and due <= now:
                return self._try(action, now)
            await self._change(until=due)

    async def rest(self, seconds: float) -> bool:
        """Sleep before a poll, unless others wait for a sign of life that it may bring.

        Returns:
            Whether it is to be sent at once, however long is left.
        """
        clock = asyncio.get_running_loop().time
        end = clock() + seconds
        while (now := clock()) < end:
            due = self._poll_due()
            if due is not None and due <= now:
                self._called_at = now
                return True
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(end if due is None else min(due, end)):
                    await self._called.wait()
        return False

    def excuse(self, action: Action | None = None) -> Callable[[], bool]:
        """A function that tells whether nobody had a good answer since it was last called.

        Then the failures of one request may well be the service's. The first call says so.

        Args:
            action: Whose answers count; None counts all.
        """
        before: int | None = None

        def excused() -> bool:
            nonlocal before
            counts = self._judged.answers
            answers = counts.total() if action is None else counts[action]
            before, then = answers, before
            return then in (None, before)

        return excused

    def doubt(self, error: Exception) -> None:
        """A submit was lost that may have made a job: the next one waits for a sign of life."""
        now = asyncio.get_running_loop().time()
        was_doubted = self._judged.doubted_since is not None
        self._judged.doubt(error, now)
        if not was_doubted:
            self._trials.plan("submit", now)

    def dismiss(self, reason: PausedError) -> None:
        """Let no submit wait any longer: raise `reason` where they do."""
        self._refused = reason
        self._tell()

    def _check(self, action: Action) -> None:
        reason = self.gone or (self._refused if action == "submit" else None)
        if reason is not None:
            raise copied(reason)

    def _trial_due(self, action: Action) -> float | None:
        """When `action` may be tried; None where others go first."""
        if self._trial is not None:
            return None
        # A poll costs nothing, a submit may.
        spared = action == "submit" and self._watched > 0
        if self._judged.unwell:
            return None if spared else self._trials.due(None)
        if self.shut(action):
            return None if spared and not self._judged.lives else self._trials.due(action)
        # Without budget: where nothing succeeds, nothing comes back to it either.
        return max(self._judged.answered_at, self._trials.last(None)) + TRIAL_S

    def _poll_due(self) -> float | None:
        """When a poll is to be sent because others wait for what comes of it; None for never."""
        if not self._waiting or self._trial is not None:
            return None
        if self._judged.unwell:
            due = self._trials.due(None)
        elif self._judged.doubted_since is not None and not self._judged.lives:
            due = self._trials.due("submit")
        else:
            return None
        return max(due, self._called_at + TRIAL_S)

    def _try(self, action: Action, now: float) -> Visit:
        self._trial = Visit(self, action, trial=True, retry=True, began=now)
        self._trials.begin(action, now)
        _log.info("service.tried", action=action)
        return self._trial

    def _left(self, visit: Visit, sign: Sign | None, error: BaseException | None) -> None:
        now = asyncio.get_running_loop().time()
        if visit is self._trial:
            self._trial = None
            if sign is None:
                # Nothing was found out; it is another's turn.
                self._trials.undo(visit.action, now)
        if sign == "well":
            self._well(visit, now)
        elif sign is not None and error is not None:
            self._failed(visit, sign, error, now)
        self._tell()

    def _well(self, visit: Visit, now: float) -> None:
        judged = self._judged
        waited = judged.doubted_since is not None and not judged.lives
        judged.good(visit.action, now)
        if not visit.retry:
            self.budget = min(BUDGET, self.budget + REFUND)
        if visit.trial:
            self._trials.succeeded(visit.action)
        if waited and judged.lives:
            # Whether it takes submits as well, one of them finds out.
            self._trials.plan("submit", now, after_s=0.0)

    def _failed(self, visit: Visit, sign: Sign, error: BaseException, now: float) -> None:
        judged = self._judged
        was_unwell = judged.unwell
        judged.bad(error, sign, now, began=visit.began, retry=visit.retry)
        if judged.unwell and not was_unwell:
            self._trials.plan(None, now)
        outage = judged.outage(visit.action, now)
        if outage is not None:
            self._give_up(outage, error)

    def _give_up(self, outage: Outage, error: BaseException) -> None:
        """That is not to go on."""
        what = "has given no good answer" if outage == "all" else "has accepted no submit"
        reason = f"the service {what} for {self.outage_s / 60:.3g} minutes: {words(error)}"
        pause = PausedError(f"paused: {reason}", reason=reason, resume_after=self.outage_s)
        if outage == "all":
            self.gone = self.gone or pause
        self.pause(pause)

    async def _change(self, *, until: float | None) -> None:
        """Wait until something may be different, for instance the time."""
        self._waiting += 1
        self._call()
        try:
            async with asyncio.timeout_at(until):
                await self._changed.wait()
        except TimeoutError:
            pass
        finally:
            self._waiting -= 1

    def _tell(self) -> None:
        if not self._waiting:
            return
        self._call()
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def _call(self) -> None:
        """Let those that rest know where a poll is to be sent now, or soon."""
        if self._poll_due() is None:
            return
        called, self._called = self._called, asyncio.Event()
        called.set()
