"""The best that polls can do where the distribution of job times is known.

Written apart from the planner of the library, which it is to judge: every pair of points is
looked at. Queries cost nothing but their number here: none waits for another, and an answer, and
the submit after it, take no time.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import math
from bisect import bisect_left
from statistics import NormalDist
from typing import TYPE_CHECKING

import attrs
import numpy

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

POINTS = 500
#: Prices of a query, as shares of the median job time.
PRICES = [2e-5 * 1.25**i for i in range(60)]


@attrs.frozen
class Outcome:
    """What a policy makes of some jobs.

    Attributes:
        utilization: Busy seconds of the slots by all their seconds until the last job has ended.
        queries: For each job.
    """

    utilization: float
    queries: float


def greedy(seconds: Sequence[float], slots: int) -> float:
    """Utilization if every job began as soon as a slot was free."""
    free = [0.0] * slots
    for each in seconds:
        heapq.heapreplace(free, free[0] + each)
    return sum(seconds) / (slots * max(free))


@attrs.frozen
class Times:
    """A distribution of job times, linear between points.

    Attributes:
        ages: Seconds, from 0 on.
        ended: The share of jobs that have ended by each age.
    """

    ages: tuple[float, ...]
    ended: tuple[float, ...]

    def draw(self, chance: random.Random) -> float:
        """Seconds that one job takes."""
        return float(numpy.interp(chance.random(), self.ended, self.ages))


def lognormal(median_s: float, sigma: float) -> Times:
    """A lognormal distribution."""
    scores = numpy.linspace(-5.0, 5.0, POINTS)
    ages = (0.0, *(median_s * numpy.exp(sigma * scores)))
    return Times(ages, (0.0, *(NormalDist().cdf(score) for score in scores)))


def tabled(share: Callable[[float], float], unit_s: float) -> Times:
    """The distribution with a share of jobs that have ended by each age, given in units."""
    longest = next(age for age in itertools.count(1) if share(age) > 1 - 1e-6)
    ages = [longest * i / (2 * POINTS) for i in range(2 * POINTS + 1)]
    return Times(tuple(unit_s * age for age in ages), tuple(share(age) for age in ages))


class Frontier:
    """The outcomes of the best policies, from few queries to many.

    Args:
        seconds: How long each job takes, in the order of their submits.
        slots: Jobs at once.
        policies: For each price of a query, the ages at which a job is asked after.
        turn_s: Seconds from the poll that finds a job ended to the submit of the next one.
        factors: Of those ages, for each job; where times change, the policies know it.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        slots: int,
        policies: Sequence[Sequence[float]],
        *,
        turn_s: float = 0.0,
        factors: Sequence[float] | None = None,
    ) -> None:
        outcomes = [simulate(seconds, slots, each, turn_s, factors) for each in policies]
        self.outcomes = sorted(outcomes, key=lambda outcome: outcome.queries)

    def utilization(self, queries: float) -> float:
        """What can be had with so many queries for each job."""
        known = self.outcomes
        return float(
            numpy.interp(queries, [o.queries for o in known], [o.utilization for o in known])
        )

    def queries(self, utilization: float) -> float:
        """What each job needs at least for a utilization."""
        known = sorted(self.outcomes, key=lambda outcome: outcome.utilization)
        return float(
            numpy.interp(utilization, [o.utilization for o in known], [o.queries for o in known])
        )


@functools.cache
def best_policies(times: Times) -> list[list[float]]:
    """The best policies for a distribution."""
    typical = float(numpy.interp(0.5, times.ended, times.ages))
    return [policy(times, price * typical) for price in PRICES]


def only_policy(seconds: float) -> list[list[float]]:
    """The best policy for equal times."""
    # As told by clocks, equal times are not quite equal.
    return [[seconds * 1.001]]


def policy(times: Times, price_s: float) -> list[float]:
    """The ages at which a job is asked after, for a price of a query in seconds of idle slot."""
    ages, ended = numpy.array(times.ages), numpy.array(times.ended)
    last = len(ages) - 1
    steps = numpy.diff(ages) * (ended[1:] + ended[:-1]) / 2
    integral = numpy.concatenate([[0.0], numpy.cumsum(steps)])
    cost = numpy.zeros(last + 1)
    after = numpy.full(last + 1, last)
    for b in range(last - 1, -1, -1):
        later = slice(b + 1, None)
        idle = integral[later] - integral[b] - (ages[later] - ages[b]) * ended[b]
        total = price_s * (1 - ended[b]) + idle + cost[later]
        least = int(numpy.argmin(total))
        cost[b], after[b] = total[least], b + 1 + least
    asked, at = [], 0
    while at < last:
        at = int(after[at])
        asked.append(float(ages[at]))
    return asked


def simulate(
    seconds: Sequence[float],
    slots: int,
    asked: Sequence[float],
    turn_s: float,
    factors: Sequence[float] | None = None,
) -> Outcome:
    """Run the jobs; each is asked after at the same ages, or at these times its factor."""
    free = [0.0] * slots
    queries, end = 0, 0.0
    for each, factor in zip(seconds, factors or itertools.repeat(1.0), strict=False):
        began = free[0]
        number = bisect_left(asked, each / factor)
        found = asked[number] * factor if number < len(asked) else each
        queries += number + 1
        end = max(end, began + each)
        heapq.heapreplace(free, began + found + turn_s)
    return Outcome(sum(seconds) / (slots * end), queries / len(seconds))


def median_of(mean_s: float, sigma: float) -> float:
    """The median of the lognormal distribution with a mean."""
    return mean_s * math.exp(-(sigma**2) / 2)
