"""The best that polls can do where the distribution of job times is known.

Written apart from the planner of the library, which it is to judge: every pair of points is
looked at. Queries cost nothing but their number here: none waits for another, and an answer, and
the submit after it, take no time.
"""

from __future__ import annotations

import heapq
import math
from statistics import NormalDist
from typing import TYPE_CHECKING

import attrs
import numpy

if TYPE_CHECKING:
    from collections.abc import Sequence

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


class Frontier:
    """The outcomes of the best policies, from few queries to many.

    Args:
        seconds: How long each job takes, in the order of their submits.
        slots: Jobs at once.
        median_s: Of the distribution that the policies know.
        sigma: Its scatter, as a logarithm; 0 where all times are equal.
        turn_s: Seconds from the poll that finds a job ended to the submit of the next one.
    """

    def __init__(
        self,
        seconds: Sequence[float],
        slots: int,
        median_s: float,
        sigma: float,
        *,
        turn_s: float = 0.0,
    ) -> None:
        if sigma:
            policies = [policy(median_s, sigma, price * median_s) for price in PRICES]
        else:
            # As told by clocks, equal times are not quite equal.
            policies = [[median_s * 1.001]]
        outcomes = [simulate(seconds, slots, each, turn_s) for each in policies]
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


def policy(median_s: float, sigma: float, price_s: float) -> list[float]:
    """The ages at which a job is asked after, for a price of a query in seconds of idle slot."""
    scores = numpy.linspace(-5.0, 5.0, POINTS)
    ages = numpy.concatenate([[0.0], median_s * numpy.exp(sigma * scores)])
    ended = numpy.array([0.0, *(NormalDist().cdf(score) for score in scores)])
    steps = numpy.diff(ages) * (ended[1:] + ended[:-1]) / 2
    integral = numpy.concatenate([[0.0], numpy.cumsum(steps)])
    cost = numpy.zeros(POINTS + 1)
    after = numpy.full(POINTS + 1, POINTS)
    for b in range(POINTS - 1, -1, -1):
        later = slice(b + 1, None)
        idle = integral[later] - integral[b] - (ages[later] - ages[b]) * ended[b]
        total = price_s * (1 - ended[b]) + idle + cost[later]
        best = int(numpy.argmin(total))
        cost[b], after[b] = total[best], b + 1 + best
    asked, at = [], 0
    while at < POINTS:
        at = int(after[at])
        asked.append(float(ages[at]))
    return asked


def simulate(
    seconds: Sequence[float], slots: int, asked: Sequence[float], turn_s: float
) -> Outcome:
    """Run the jobs; each is asked after at the same ages."""
    free = [0.0] * slots
    queries, end = 0, 0.0
    for each in seconds:
        began = free[0]
        number = next((i for i, age in enumerate(asked) if age >= each), len(asked))
        found = asked[number] if number < len(asked) else each
        queries += number + 1
        end = max(end, began + each)
        heapq.heapreplace(free, began + found + turn_s)
    return Outcome(sum(seconds) / (slots * end), queries / len(seconds))


def median_of(mean_s: float, sigma: float) -> float:
    """The median of the lognormal distribution with a mean."""
    return mean_s * math.exp(-(sigma**2) / 2)
