"""How many jobs at once a provider was seen to accept and to refuse.

A *level* is the number of slots that are occupied with the submit in question. Pure: the time is
handed in.
"""

from __future__ import annotations

import attrs

from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.provider import Limits

#: Seconds until one more is tried, by what each refusal multiplies them, and up to how many.
SPARSE = (90.0, 3.0, 600.0)
#: The same where more was accepted before: at once, then when a slot that was freed late is free.
DENSE = (4.0, 7.5, 180.0)
#: Trials in a row that may fail before the share of refused submits counts, and that share.
FREE_TRIALS, REFUSED_SHARE, REFUSED_FEW = 2, 0.04, 3
#: Seconds without the end of a job that show that those before a submit were still running: what
#: has ended and was not noticed yet makes a level look accepted.
FIRM_S = 3.0
#: Accepted submits that show it as well.
FIRM_SUBMITS = 20
#: Seconds between trials from which on what an earlier run or the provider's pages say, and no
#: submit of this run has shown, is no longer expected.
TRUSTED_S = 40.0
#: Seconds after which less than what was accepted before is what the next run should begin with.
LASTING_S = 300.0


@attrs.frozen(kw_only=True)
class Known:
    """What one run finds out for the next.

    Attributes:
        proven: Jobs at once that were accepted.
        refused: Jobs at once that were refused.
        lag_s: Seconds for which a slot stays taken after its job's end.
        wait_s: Seconds until one more is tried.
    """

    proven: int = attrs.field(validator=attrs.validators.ge(1))
    refused: int | None = None
    lag_s: float = attrs.field(default=0.0, validator=attrs.validators.ge(0.0))
    wait_s: float = attrs.field(default=SPARSE[0], validator=attrs.validators.gt(0.0))


@attrs.define(eq=False)
class Trials:
    """When one more than the bound is tried.

    Attributes:
        at: The next time.
        won: Whether the last one was accepted.
        lost: How many in a row were refused.
    """

    first_s: float
    factor: float
    longest_s: float
    wait_s: float = attrs.field(init=False)
    at: float = attrs.field(default=float("inf"), init=False)
    won: bool = attrs.field(default=False, init=False)
    lost: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.wait_s = self.first_s

    def put_off(self, now: float) -> None:
        """Something else was refused or accepted."""
        self.at = now + self.wait_s

    def failed(self, now: float) -> None:
        """It was refused."""
        self.put_off(now)
        self.won = False
        self.lost += 1
        self.wait_s = min(self.wait_s * self.factor, self.longest_s)

    def due(self, now: float, *, refusals: int, submits: int, clear: bool) -> bool:
        """Whether it is time.

        Args:
            now: The time.
            refusals: How many submits were refused so far.
            submits: Of so many.
            clear: Whether the answer will be.
        """
        few = refusals < REFUSED_FEW + REFUSED_SHARE * submits
        if clear and not few and self.lost >= FREE_TRIALS:
            return now >= self.at + SPARSE[2]
        return now >= self.at and (clear or few)


@attrs.define(eq=False)
class Dip:
    """A time in which less is accepted than before: the search begins anew below.

    Attributes:
        bound: Not more than so many for now; None where that is not known.
        proven: So many were accepted in it.
        rising: Trials that were accepted one after another.
    """

    since: float
    bound: int | None = None
    proven: int = 0
    rising: int = 0
    trials: Trials = attrs.field(factory=lambda: Trials(*DENSE))


@attrs.define(eq=False)
class Levels:
    """What is proven and what is refused, now and at best.

    Attributes:
        top: Never more.
        best: Accepted before, or taken on trust.
        firm: Of `best`, what is beyond doubt.
        bound: A level above was refused.
        reached: Accepted in this run.
    """

    concurrency: Concurrency
    limits: Limits
    known: Known | None
    top: int = attrs.field(init=False)
    best: int = attrs.field(init=False)
    firm: int = attrs.field(init=False)
    bound: int | None = attrs.field(default=None, init=False)
    reached: int = attrs.field(default=0, init=False)
    dip: Dip | None = attrs.field(default=None, init=False)
    _trials: Trials = attrs.field(factory=lambda: Trials(*SPARSE), init=False)
    #: When `best` was accepted; None where a job's end makes that doubtful.
    _seen: float | None = attrs.field(default=None, init=False)
    _times: int = attrs.field(default=0, init=False)
    _marked: tuple[int, int, int | None] | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.top = self.concurrency.top(self.limits)
        self.best = min(self.concurrency.start(self.limits), self.top)
        if self.known is not None and not self.concurrency.fixed:
            self.best = min(self.known.proven, self.top)
            if self.known.refused is not None and self.best < self.top:
                self.bound = max(self.best, min(self.known.refused - 1, self.top))
                self._trials.wait_s = max(self.known.wait_s, SPARSE[0] * SPARSE[1])
        self.firm = self.best

    @property
    def proven(self) -> int:
        """So many are accepted now."""
        return self.best if self.dip is None else self.dip.proven

    @property
    def limit(self) -> int:
        """Not more than so many now, proven or not."""
        if self.dip is not None:
            return self.best if self.dip.bound is None else self.dip.bound
        return self.top if self.bound is None else self.bound

    @property
    def bounded(self) -> bool:
        """Whether `limit` comes from a refusal."""
        return (self.bound if self.dip is None else self.dip.bound) is not None

    @property
    def trials(self) -> Trials:
        """When one more than `limit` is tried."""
        return self._trials if self.dip is None else self.dip.trials

    def confirm(self, now: float) -> None:
        """Time has passed."""
        if self.bound is not None and self._trials.at == float("inf"):
            # It comes from an earlier run.
            self._trials.failed(now)
        if self.best > self.firm and (
            self._times >= FIRM_SUBMITS or (self._seen is not None and now - self._seen >= FIRM_S)
        ):
            self.firm = self.best
            if self.bound == self.best and self._trials.won:
                # There may be a lot more.
                self.bound = None
                self._trials = Trials(*SPARSE)

    def ended(self, now: float) -> None:
        """A job has ended, perhaps a while ago."""
        self.confirm(now)
        self._seen = None

    def prove(self, now: float, level: int, *, sent: float, last_end: float) -> None:
        """A submit sent at `sent` was accepted; the last job had ended at `last_end`."""
        level = min(level, self.top)
        self.reached = max(self.reached, level)
        if self.dip is not None:
            self._rise(now, self.dip, level)
        if level < self.best or self.dip is not None:
            return
        self._times = self._times + 1 if level == self.best else 1
        if level > self.best or self._seen is None:
            self._seen = sent if last_end <= sent else None
        self.best = level
        if self.bound is not None and level > self.bound:
            self.bound = level
            self._trials.won = True
            self._trials.put_off(now)

    def doubtful(self, level: int, *, blurred: bool) -> bool:
        """Whether a refusal at `level` says no more than that it is too high."""
        guess = blurred or level > self.reached
        return self.dip is None and (level > self.firm or (guess and level == self.best))

    def refuse(self, now: float, level: int) -> None:
        """A `doubtful` level was refused."""
        if level <= self.best:
            self.best = level - 1
            self.firm = min(self.firm, self.best)
            self._times, self._seen = 0, None
        self.lower(now, level - 1)
        self._trials.failed(now)

    def mark(self) -> None:
        """What is `refuse`d from here on may turn out to be something else."""
        self._marked = self.best, self.firm, self.bound

    def undo(self) -> None:
        """It was: less is accepted for a while, whatever the levels are."""
        if self.dip is None and self._marked is not None:
            self.best, self.firm, self.bound = self._marked
        self._marked = None

    def lower(self, now: float, running: int) -> None:
        """Not more than `running` for now."""
        if self.dip is None and running >= self.best:
            self.bound = max(1, running if self.bound is None else min(self.bound, running))
            return
        if self.dip is None:
            self.dip = Dip(now)
        if running == 0:
            # There is no quota of none: whatever it was, it says nothing of how many.
            self.dip.bound = None
        elif self.dip.bound is None or running < self.dip.bound:
            self.dip.bound = running
        self.dip.proven = min(self.dip.proven, running)
        self.dip.trials.put_off(now)

    def trial_failed(self, now: float) -> None:
        """One more than the limit was refused, as could be expected."""
        self.trials.failed(now)
        if (dip := self.dip) is None:
            return
        dip.rising = 0
        unseen = self.best > self.reached and not self.concurrency.fixed
        if unseen and dip.bound is not None and dip.trials.wait_s > TRUSTED_S:
            self.best = self.firm = self.bound = max(1, dip.bound)
            self.dip = None
            self._trials = Trials(*SPARSE)
            self._trials.failed(now)

    def findings(self, now: float, *, refusals: int, lag_s: float) -> Known | None:
        """What the next run should know; None where nothing was found out."""
        if not self.reached:
            return self.known
        self.confirm(now)
        firm = self.firm if self._seen is None else self.best
        # One was accepted, whatever of that is not firm yet.
        proven, bound = max(1, min(self.reached, firm)), self.bound
        dip, before = self.dip, self.known
        lasting = dip is not None and (now - dip.since > LASTING_S or dip.trials.lost)
        if dip is not None and (lasting or proven < self.best):
            proven, bound = max(1, dip.proven), dip.bound
        elif before is not None and (dip is not None or not refusals):
            proven = max(proven, min(before.proven, self.best))
        return Known(
            proven=proven,
            refused=None if bound is None else max(proven, bound) + 1,
            lag_s=round(lag_s, 1),
            wait_s=self._trials.wait_s,
        )

    def _rise(self, now: float, dip: Dip, level: int) -> None:
        dip.proven = max(dip.proven, level)
        if dip.bound is not None and level > dip.bound:
            dip.rising += 1
            dip.bound = level if dip.rising == 1 else None
            dip.trials.at = now + FIRM_S
        if dip.proven >= self.best:
            self.dip = None
            self.firm = min(self.firm, self.best - 1)
