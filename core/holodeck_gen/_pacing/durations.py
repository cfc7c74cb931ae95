"""How long jobs take, learnt from polls.

A poll does not see a job end. It tells that the end lies between the last poll that found the job
running and the one that found it ended. To such intervals a mixture of lognormal distributions is
fitted by expectation and maximization, so that a job that was asked after late counts with where
its end probably was. There are a few components, since a rejected picture or a rewritten prompt
takes another time than the rest, and a broad one of small weight for what is like nothing before.
"""

from __future__ import annotations

import math
from collections import deque

import attrs

from holodeck_gen._pacing.spread import Kind, Spread, normal, spread_of

# The figures below were chosen by simulation, against the best plan for the true distribution:
# equal times, lognormal ones with sigma 0.1 to 0.5, and times that change.

#: Jobs that are remembered, the latest ones; an older one weighs less by this factor for each
#: later one, so that the estimate follows times that change.
REMEMBERED = 100
FADING = 0.98
#: Standard deviation of the first guess, as a logarithm: a factor of 12 to either side has 95 %.
GUESS_SCATTER = 1.25
#: Until a job has ended, each that is found running tells of the others: few take less than its
#: age divided by `ALIKE`. Worth a new estimate where it is older by the factor `NEWS`.
ALIKE = 1.25
NEWS = 1.1
#: Kinds of jobs that are told apart. The scatter of all counts like so many jobs of each kind, so
#: that none becomes narrow by chance.
KINDS = 3
COMMON = 8.0
#: The least scatter; and that of one job, which is divided by the number of jobs to this power.
LEAST_SCATTER = 0.003
FIRST_SCATTER = 0.5
FEWER_BY = 1.6
#: What is like nothing before weighs as much as so many jobs, and scatters so much around the
#: rest. With more of them in the sample they make a kind of their own.
DOUBT = 0.5
DOUBT_SCATTER = 0.5
STRANGERS = 2.0
#: With more jobs than these, the broadest kind is tried as two.
DIVIDED = 25.0
#: No job takes less or more seconds.
SHORTEST_S, LONGEST_S = 1e-3, 1e8

_ROOT_2_PI = math.sqrt(2.0 * math.pi)


@attrs.define(eq=False)
class Durations:
    """Learns from one sort of request.

    Args:
        guess_s: Seconds that a job probably takes.

    Attributes:
        spread: The estimate, as of `learn`.
        seen: Jobs that were observed.
    """

    guess_s: float
    spread: Spread = attrs.field(init=False)
    seen: int = attrs.field(default=0, init=False)
    _intervals: deque[tuple[float, float]] = attrs.field(
        factory=lambda: deque(maxlen=REMEMBERED), init=False
    )
    _kinds: list[Kind] = attrs.field(factory=list, init=False)
    _doubt: Kind = attrs.field(init=False)
    _learnt: int = attrs.field(default=0, init=False)
    _ran: float = attrs.field(default=0.0, init=False)

    def __attrs_post_init__(self) -> None:
        self._doubt = Kind(DOUBT, math.log(self.guess_s), GUESS_SCATTER)
        self.spread = spread_of([self._doubt])

    def observe(self, running: float, ended: float) -> None:
        """Take note of a job.

        Args:
            running: Seconds since its submit at which it surely ran.
            ended: Seconds since its submit at which it surely did no longer; infinite where it
                was given up.
        """
        if ended < math.inf:
            ended = min(max(ended, SHORTEST_S), LONGEST_S)
        if ended > running >= 0.0:
            self._intervals.append((running, ended))
            self.seen += 1

    def still(self, age: float) -> None:
        """Take note that a job runs at `age` seconds; that is news until one has ended."""
        if not self.seen and age > NEWS * self._ran:
            self._ran = age
            self.spread = spread_of([self._doubt]).after(age / ALIKE)

    @property
    def stale(self) -> bool:
        """Whether enough has been seen since `learn` to do it again."""
        # An estimate takes some milliseconds, and one job changes the less the more there are.
        return self.seen - self._learnt > min(self._learnt // 4, REMEMBERED // 8)

    def learn(self) -> None:
        """Make a new estimate of what was seen."""
        if not self.seen:
            return
        self._learnt = self.seen
        # It begins where the last one ended, so that few rounds are enough.
        for _ in range(2):
            self._fit()
        self.spread = spread_of([*self._kinds, self._doubt])

    def _fit(self) -> None:
        kinds = [*self._kinds, self._doubt]
        sums = [_Sums() for _ in kinds]
        weight, total = 1.0, 0.0
        for running, ended in reversed(self._intervals):
            low = math.log(running) if running else -math.inf
            high = math.log(ended) if ended < math.inf else math.inf
            parts = [_part(kind, low, high) for kind in kinds]
            whole = sum(mass for mass, _, _ in parts)
            if whole:
                for each, (mass, mean, square) in zip(sums, parts, strict=True):
                    each.add(weight * mass / whole, mean, square)
            else:
                # So far from everything that numbers cannot tell how far.
                place = high if high < math.inf else low
                sums[-1].add(weight, place, place**2)
            total += weight
            weight *= FADING
        *known, strangers = sums
        known = [each for each in known if each.weight > 0.01 * total]
        if strangers.weight > STRANGERS or not known:
            known.sort(key=lambda each: -each.weight)
            known = [*known[: KINDS - 1], strangers]
        self._kinds = _kinds(known, total)
        if len(self._kinds) < KINDS and total > DIVIDED:
            self._kinds.sort(key=lambda kind: kind.scatter * kind.weight)
            self._kinds += _halves(self._kinds.pop())
        self._doubt = Kind(DOUBT, sum(each.first for each in sums) / total, DOUBT_SCATTER)


@attrs.define
class _Sums:
    """What is counted for one kind: weight, sum, and sum of squares."""

    weight: float = 0.0
    first: float = 0.0
    second: float = 0.0

    def add(self, weight: float, mean: float, square: float) -> None:
        self.weight += weight
        self.first += weight * mean
        self.second += weight * square

    @property
    def middle(self) -> float:
        return self.first / self.weight

    @property
    def variance(self) -> float:
        return max(self.second / self.weight - self.middle**2, 0.0)


def _kinds(sums: list[_Sums], total: float) -> list[Kind]:
    whole = sum(each.weight for each in sums)
    common = sum(each.weight * each.variance for each in sums) / whole
    least = max(LEAST_SCATTER, FIRST_SCATTER * math.pow(total, -FEWER_BY))

    def scatter(each: _Sums) -> float:
        variance = (each.weight * each.variance + COMMON * common) / (each.weight + COMMON)
        return max(math.sqrt(variance), least)

    return [Kind(total * each.weight / whole, each.middle, scatter(each)) for each in sums]


def _halves(kind: Kind) -> list[Kind]:
    """Two kinds about like one. Where there are two in truth, they part; else they stay near."""
    return [
        Kind(kind.weight / 2, kind.middle + side * 0.6 * kind.scatter, 0.8 * kind.scatter)
        for side in (-1, 1)
    ]


def _part(kind: Kind, low: float, high: float) -> tuple[float, float, float]:
    """What of `kind` is between two logarithms: its mass, mean and mean square."""
    a, b = (low - kind.middle) / kind.scatter, (high - kind.middle) / kind.scatter
    # The tail that is the smaller one is exact.
    share = normal(b) - normal(a) if a < 0 else normal(-a) - normal(-b)
    if share < 1e-200:
        return 0.0, 0.0, 0.0
    at_a, at_b = _density(a), _density(b)
    first = (at_a - at_b) / share
    second = 1.0 + ((a * at_a if at_a else 0.0) - (b * at_b if at_b else 0.0)) / share
    mean = min(max(kind.middle + kind.scatter * first, low), high)
    return kind.weight * share, mean, mean**2 + kind.scatter**2 * max(second - first**2, 0.0)


def _density(z: float) -> float:
    return math.exp(-z * z / 2) / _ROOT_2_PI
