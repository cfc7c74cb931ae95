"""What the ends of requests say about a service: well, unwell, in doubt, or out for too long."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from holodeck_gen._calls import words
from holodeck_gen._health.trials import TRIAL_S
from holodeck_gen._log import Logger
from holodeck_gen._model.provider import Action

if TYPE_CHECKING:
    from holodeck_gen._health.sign import Sign

_log = Logger("holodeck_gen.health")

#: Failures without a good answer between them that open the breaker.
FAILURES = 5
#: Seconds without a good answer after which the account is paused.
OUTAGE_S = 1800.0
#: Seconds for which nobody sent anything, after which what failed before says nothing of now. A
#: little more than a provider may ask to wait for.
IDLE_S = 660.0
#: Submits without an answer, and none accepted between them, that it takes to call it an outage.
LOST = 3

_NEVER = float("-inf")

#: What is out: everything, or submits.
Outage: TypeAlias = Literal["all", "submits"]


@attrs.define(kw_only=True, eq=False)
class Judgement:
    """Of one service. All times are the loop's.

    Attributes:
        outage_s: Seconds without a good answer that are too long.
        answers: Good answers so far, by action.
        answered_at: When the last of them came.
        doubted_since: Since when submits are lost that may have made jobs nobody knows of.
        lives: Whether a poll had a good answer since the last of these.
    """

    outage_s: float = OUTAGE_S
    answers: Counter[Action] = attrs.field(factory=Counter, init=False)
    answered_at: float = attrs.field(default=_NEVER, init=False)
    doubted_since: float | None = attrs.field(default=None, init=False)
    lives: bool = attrs.field(default=False, init=False)
    #: Failures since the last good answer.
    _failures: int = attrs.field(default=0, init=False)
    #: Since when there was none, and how many requests had another end; refusals for the pace
    #: are among them.
    _waiting_since: float = attrs.field(default=_NEVER, init=False)
    _vain: int = attrs.field(default=0, init=False)
    _vain_at: float = attrs.field(default=_NEVER, init=False)
    _lost: int = attrs.field(default=0, init=False)

    @property
    def unwell(self) -> bool:
        """Whether nothing but trials should be sent."""
        return self._failures >= FAILURES

    def good(self, action: Action, now: float) -> None:
        """A request was answered well."""
        self.answers[action] += 1
        self.answered_at = now
        if self.unwell:
            # As loud as what it takes back.
            _log.warning("service.back", action=action)
        self._failures = self._vain = 0
        if action == "submit":
            if self.doubted_since is not None:
                _log.warning("submits.resumed")
            self.doubted_since, self._lost = None, 0
        elif self.doubted_since is not None:
            self.lives = True

    def bad(
        self, error: BaseException, sign: Sign, now: float, *, began: float, retry: bool
    ) -> None:
        """A request had another end.

        Args:
            error: That.
            sign: What it says by itself.
            now: When it came.
            began: When the request was allowed.
            retry: Whether the same request had failed before.
        """
        if began - self._vain_at > IDLE_S:
            self._vain = 0
            if not self.unwell:
                self._failures = 0
        self._vain, self._vain_at = self._vain + 1, now
        if self._vain == 1:
            self._waiting_since = now
        # What fails again and again although it is answered may be that request alone.
        if sign == "ill" and not (retry and getattr(error, "code", None)):
            self._failures += 1
            if self._failures == FAILURES:
                self._tell("service.unwell", error)

    def doubt(self, error: Exception, now: float) -> None:
        """A submit was lost that may have made a job."""
        self.lives = False
        self._lost += 1
        if self.doubted_since is None:
            self.doubted_since = now
            self._tell("submits.stopped", error)

    def outage(self, action: Action, now: float) -> Outage | None:
        """What has been out for too long, as far as a failed request of `action` can tell."""
        if self._vain >= FAILURES and now - self._waiting_since >= self.outage_s:
            return "all"
        since = self.doubted_since
        too_long = since is not None and now - since >= self.outage_s
        return "submits" if action == "submit" and too_long and self._lost >= LOST else None

    def _tell(self, event: str, error: BaseException) -> None:
        _log.warning(event, error=words(error), tried_every_s=TRIAL_S, paused_after_s=self.outage_s)
