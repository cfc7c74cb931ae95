"""How the times that jobs take are distributed."""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Distances of the points of a distribution, as logarithms: where its density is high, at most
#: anywhere, and at least. A query cannot be planned more finely.
FINE, COARSE, FINEST = 0.0125, 0.04, 1e-4
#: At most so much of the distribution lies between two points that could be nearer.
SHARE = 1 / 256

_ROOT_2 = math.sqrt(2.0)


@attrs.frozen
class Spread:
    """A distribution of the ages at which jobs end, linear between points.

    Attributes:
        ages: Seconds, from 0 on, increasing.
        ended: The share of jobs that have ended by each age; never 1, as some may never end.
    """

    ages: tuple[float, ...]
    ended: tuple[float, ...]

    def share(self, age: float) -> float:
        """The share of jobs that end before `age` seconds."""
        ages, ended = self.ages, self.ended
        place = bisect_right(ages, age)
        if place >= len(ages):
            return ended[-1]
        low, high = ages[place - 1], ages[place]
        return ended[place - 1] + (ended[place] - ended[place - 1]) * (age - low) / (high - low)

    def age(self, share: float) -> float:
        """Seconds by which this share of jobs has ended; the last age where that is later."""
        ages, ended = self.ages, self.ended
        place = bisect_right(ended, share)
        if place >= len(ages):
            return ages[-1]
        low, high = ended[place - 1], ended[place]
        return ages[place - 1] + (ages[place] - ages[place - 1]) * (share - low) / (high - low)

    def after(self, age: float) -> Spread:
        """The distribution among the jobs that still run at `age` seconds."""
        gone = self.share(age)
        rest = [
            (each, (ended - gone) / (1 - gone))
            for each, ended in zip(self.ages, self.ended, strict=True)
            if each > age
        ]
        if age <= 0.0 or not rest:
            return self
        return Spread((0.0, age, *(a for a, _ in rest)), (0.0, 0.0, *(e for _, e in rest)))


@attrs.frozen
class Kind:
    """A normal distribution of logarithms of seconds.

    Attributes:
        weight: How many jobs are of this kind.
        middle: The logarithm around which they are.
        scatter: Its standard deviation.
    """

    weight: float
    middle: float
    scatter: float


def spread_of(kinds: Sequence[Kind]) -> Spread:
    """The distribution of a mixture."""
    total = sum(kind.weight for kind in kinds)
    places = set()
    for kind in kinds:
        count = min(max(math.ceil(4 * kind.scatter / FINE), 20), 160)
        places |= {kind.middle + 4 * kind.scatter * z / count for z in range(-count, count + 1)}
    ages, ended = [0.0], [0.0]
    kept = -math.inf
    for place in sorted(places):
        share = sum(k.weight * normal((place - k.middle) / k.scatter) for k in kinds) / total
        far = share - ended[-1] > SHARE or place - kept > COARSE
        if far and place - kept > FINEST:
            ages.append(math.exp(place))
            ended.append(share)
            kept = place
    return Spread(tuple(ages), tuple(ended))


def normal(z: float) -> float:
    """The share of a standard normal distribution below `z`."""
    return 0.5 * math.erfc(-z / _ROOT_2)
