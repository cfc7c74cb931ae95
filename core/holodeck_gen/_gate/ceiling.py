"""How many slots may be occupied now: a whole number to be found, and found again.

An accepted submit proves its level at once, so growth needs no job times, only submits. A refused
one bounds the level *for now*. What follows a refusal depends on what was proven before:

- above it, the bound is the quota, and one more is tried on a sparse schedule;
- at or below it, either slots are freed late (see `Lag`) or the quota is smaller for a while:
  another client, a change, a storm. Then it is approached anew from below, and one more is tried
  soon (see `Levels`).

Pure: the time is handed in.
"""

from __future__ import annotations

import attrs

from holodeck_gen._gate.lag import LONGEST_LAG_S, Lag
from holodeck_gen._gate.levels import Known, Levels
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.provider import Limits

#: Submits above the proven level that may be unanswered; below the other level only one.
UNPROVEN, BELOW = 2, 8
#: Seconds after which an unanswered submit no longer stands in the way of the next.
PATIENCE_S = 10.0
#: Seconds after a refusal that has no ready explanation; doubled up to the other.
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
#: Ends of jobs within a second that make the count of those running a guess.
BLURRED = 3
#: Seconds for which refusals may be blamed on slots that are freed late.
LONGEST_DOUBT_S = 45.0


@attrs.define(eq=False, kw_only=True)
class Grant:
    """One submit that was allowed.

    Attributes:
        number: In order.
        at: When; from `Ceiling.sending` on, when it was sent.
        level: Slots that count as occupied, with this one.
        age: Seconds since the end of the job whose slot it needs; see `Lag.age`.
        more: It tries one more than the bound.
        early: It tries a slot that may still be taken.
        sent: Whether it is on its way; before that it may wait for its turn at the pace.
        probe: It tries a slot whose job has probably ended; its answer tells nothing of the quota.
    """

    number: int
    at: float
    level: int
    age: float
    more: bool
    early: bool
    sent: bool = False
    probe: bool = False


@attrs.define(eq=False)
class Ceiling:
    """Decides whether one more slot may be occupied.

    Args:
        concurrency: What the user allows.
        limits: What the provider says.
        known: What an earlier run found out.

    Attributes:
        starved_since: Since when everything is refused although nothing runs.
        submits: Grants that were answered.
        refusals: Those of them that were refused.
    """

    concurrency: Concurrency
    limits: Limits
    known: Known | None = None
    lag: Lag = attrs.field(init=False)
    levels: Levels = attrs.field(init=False)
    starved_since: float | None = attrs.field(default=None, init=False)
    submits: int = attrs.field(default=0, init=False)
    refusals: int = attrs.field(default=0, init=False)
    #: Since when refusals are blamed on slots that are freed late.
    _doubt: float | None = attrs.field(default=None, init=False)
    _pending: dict[int, Grant] = attrs.field(factory=dict, init=False)
    _number: int = attrs.field(default=0, init=False)
    #: Grants below this number share the cause of the last refusal.
    _cause: int = attrs.field(default=0, init=False)
    #: When the submit was sent that was refused last.
    _refused: float = attrs.field(default=float("-inf"), init=False)
    _in_a_row: int = attrs.field(default=0, init=False)
    _not_before: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        self.lag = Lag(self.known.lag_s if self.known else 0.0)
        self.levels = Levels(self.concurrency, self.limits, self.known)

    @property
    def value(self) -> int:
        """Slots that may be occupied, as far as is known."""
        levels = self.levels
        return levels.limit if levels.bounded else min(levels.limit, levels.proven + UNPROVEN)

    def allowed(self, now: float, occupied: int) -> int:
        """Slots that may be occupied now, where `occupied` are."""
        self.levels.confirm(now)
        if now < self._not_before or (self._in_a_row and self._on_its_way(now)):
            # After a refusal one at a time.
            return occupied
        cooling = self.lag.cooling(now)
        level = occupied + cooling
        proven = min(self.levels.proven, self.levels.limit)
        if level < proven:
            return proven - cooling
        if level < self.levels.limit:
            return occupied + self._may_prove(now)
        return occupied + (self._more(now, level, cooling) or self._early(now, level))

    def wake_at(self, now: float) -> float | None:
        """When `allowed` may be more although nothing happens."""
        if now < self._not_before:
            return self._not_before
        times = [self.lag.free_at(now), self.lag.early_at(now), self.levels.trials.at]
        times += [grant.at + PATIENCE_S for grant in self._pending.values()]
        return min((at for at in times if at is not None and now < at < float("inf")), default=None)

    def may_probe(self, now: float, occupied: int) -> bool:
        """Whether one more may be tried although all of the slots are `occupied`.

        Only where it was the provider that refused more, in calm times: a number of the user's is
        never exceeded, and what slots that are freed late answer is worth nothing.
        """
        levels = self.levels
        calm = not self._in_a_row and now >= self._not_before and self._doubt is None
        return (
            calm
            and levels.bounded
            and levels.dip is None
            and levels.limit <= levels.proven
            and levels.limit <= occupied < levels.top
            and not self.lag.seconds
        )

    def grant(self, now: float, occupied: int, *, probe: bool = False) -> Grant:
        """One more submit goes out, where `occupied` were allowed to."""
        cooling = self.lag.cooling(now)
        level = occupied + cooling
        more = not probe and self._more(now, level, cooling)
        self._number += 1
        grant = self._pending[self._number] = Grant(
            number=self._number,
            at=now,
            level=level + 1,
            age=self._age(now, occupied),
            more=more,
            early=level >= self.levels.limit and not more and not probe,
            probe=probe,
        )
        return grant

    def sending(self, now: float, grant: Grant, occupied: int) -> None:
        """It is sent now, where `occupied` slots are, with its own.

        Where many wait for their turn at the pace, jobs have ended since it was granted, and what
        is granted but not sent does not run: what its answer says is how many run now.
        """
        grant.sent = True
        grant.at = now
        running = occupied - 1 - sum(not each.sent for each in self._pending.values())
        grant.level = min(grant.level, running + 1 + self.lag.cooling(now))
        grant.age = self._age(now, running)

    def certain(self, grant: Grant) -> bool:
        """Whether the level of a grant is known: nothing that was sent before has no answer."""
        return not any(each.sent and each.number < grant.number for each in self._pending.values())

    def accepted(self, now: float, grant: Grant) -> None:
        """The provider took it."""
        if self._pending.pop(grant.number, None) is None:
            return
        self.starved_since = None
        if grant.probe:
            return
        self.submits += 1
        if grant.early:
            self.lag.was_early(now, grant.age, accepted=True)
            return
        if grant.at < self._refused:
            # What was refused was sent later and knows better: it says no more than that.
            level = min(grant.level, self.levels.limit)
            self.levels.prove(now, level, sent=grant.at, last_end=self.lag.last)
            return
        if self._doubt is not None:
            self._doubt = None
            if grant.age <= LONGEST_LAG_S:
                self.lag.learn(now, grant.age)
        elif self._in_a_row > 1:
            self.lag.doubt()
        else:
            self.lag.accepted(grant.age)
        self._in_a_row = 0
        self.levels.prove(now, grant.level, sent=grant.at, last_end=self.lag.last)

    def refused(self, now: float, grant: Grant, retry_after_s: float | None = None) -> float:
        """The provider did not take it.

        Returns:
            Seconds until one is tried again at the soonest.
        """
        if self._pending.pop(grant.number, None) is None:
            return 0.0
        for later in self._pending.values():
            if later.number > grant.number:
                # It stood in one place less than was thought.
                later.level -= 1
        if retry_after_s:
            self._wait(now, retry_after_s)
        if grant.probe:
            return max(0.0, self._not_before - now)
        self.submits += 1
        self.refusals += 1
        self._refused = max(self._refused, grant.at)
        if grant.early:
            self.lag.was_early(now, grant.age, accepted=False)
        elif grant.more:
            self._trial_failed(now)
        elif grant.number < self._cause:
            if self._doubt is None:
                self.levels.lower(now, grant.level - 1)
        else:
            self._cause = self._number + 1
            self._consider(now, grant)
        return max(0.0, self._not_before - now)

    def ended(self, now: float) -> None:
        """A job has ended."""
        self.levels.ended(now)
        self.lag.ended(now)

    def unanswered(self, grant: Grant) -> None:
        """Nobody will know whether the provider took it."""
        self._pending.pop(grant.number, None)

    def findings(self, now: float) -> Known | None:
        """What the next run should know; None where nothing was found out."""
        return self.levels.findings(now, refusals=self.refusals, lag_s=self.lag.seconds)

    def _age(self, now: float, occupied: int) -> float:
        full = min(self.levels.limit, self.levels.best)
        return self.lag.age(now, full - occupied)

    def _on_its_way(self, now: float) -> list[Grant]:
        """Submits whose answer may be expected."""
        return [grant for grant in self._pending.values() if now - grant.at < PATIENCE_S]

    def _may_prove(self, now: float) -> bool:
        """Whether one more submit may go above what is proven."""
        proven = self.levels.proven
        unproven = sum(grant.level > proven for grant in self._on_its_way(now))
        return unproven < (UNPROVEN if proven >= BELOW else 1)

    def _more(self, now: float, level: int, cooling: int) -> bool:
        """Whether it is time to try one more than the bound."""
        levels = self.levels
        return (
            level == levels.limit < levels.top
            # A slot that is cooling may be free, which would make one more look accepted.
            and (not cooling or self.lag.known)
            and levels.trials.due(
                now, refusals=self.refusals, submits=self.submits, clear=not cooling
            )
            and self._may_prove(now)
        )

    def _early(self, now: float, level: int) -> bool:
        """Whether it is time to try whether slots are freed sooner than is thought."""
        at = self.lag.early_at(now)
        return (
            at is not None
            and now >= at
            and level == self.levels.limit
            and self.levels.dip is None
            and not self._in_a_row
            and not any(grant.early for grant in self._on_its_way(now))
        )

    def _consider(self, now: float, grant: Grant) -> None:
        """What a refusal means that was neither expected nor known before it was sent."""
        running = grant.level - 1
        self._in_a_row += 1
        if running == 0 and self.starved_since is None:
            self.starved_since = now
        self.levels.confirm(now)
        new = grant.level > self.levels.best
        # Where many jobs end, some always have and are not noticed yet: no count is exact.
        blurred = self.lag.age(now, BLURRED) < 1.0
        first = self._doubt is None and self._in_a_row <= (BLURRED if blurred else 1)
        if self._in_a_row == 1:
            self.levels.mark()
        if running and (first or new) and self.levels.doubtful(grant.level, blurred=blurred):
            self._in_a_row -= new
            self.levels.refuse(now, grant.level)
        elif self._is_late(now, grant.age):
            # Not later than when it is surely something else.
            surely = LONGEST_LAG_S - grant.age - FIRST_WAIT_S
            self._wait(now, min(self._backoff(1), max(FIRST_WAIT_S, surely)))
        else:
            self.levels.undo()
            self.levels.lower(now, running)
            if self._in_a_row > 1 or running == 0:
                self._wait(now, self._backoff(2 if running else 1))

    def _is_late(self, now: float, age: float) -> bool:
        """Whether a refusal is blamed on a slot that is freed late."""
        late = self.lag.may_explain(age)
        if late and self._doubt is None and self.levels.dip is None:
            self._doubt = now
        if self._doubt is None:
            return False
        if late and now - self._doubt < LONGEST_DOUBT_S:
            self.lag.refused(age)
            return True
        self._doubt = None
        self.lag.forget()
        return False

    def _trial_failed(self, now: float) -> None:
        dip = self.levels.dip
        if dip is not None and dip.proven < (dip.bound or 0):
            # Not even so many were accepted yet: what refused them goes on.
            self._in_a_row += 1
            dip.trials.at = now + max(dip.trials.first_s, self._backoff(1))
        else:
            self.levels.trial_failed(now)

    def _backoff(self, free: int) -> float:
        return float(min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** min(self._in_a_row - free, 32)))

    def _wait(self, now: float, seconds: float) -> None:
        self._not_before = max(self._not_before, now + seconds)
