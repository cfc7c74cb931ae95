"""When to ask after a job: as seldom as may be, and soon after it has ended.

Asking costs a query, and not asking leaves the slot of a job that has ended idle. For a price of
a query in seconds of idle slot and a distribution of the times that jobs take, the best times to
ask follow from a dynamic program over the ages of a job. Where queries are scarce they have a
higher price, so a plan has the best times for a range of prices; `PollDesk` gives a query to the
job that would be asked after at the highest one.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._pacing.spread import Spread

#: The share of a job's time for which its slot may be idle where queries are plentiful, and the
#: most that a query may cost then, as a share of that time: where times are sure, one query finds
#: the job and the slot is idle for less. Half the idle time takes twice as many queries. Where
#: times are only guessed a query costs the least, because what it tells pays for all that come.
IDLE = 0.025
DEAREST = 0.02
CHEAPEST = DEAREST / 40
#: Prices of a plan, each so many times the one before: from plenty to six hundred times that.
PRICES = 8
RATIO = 2.5
#: Beyond all that is known a job is asked after again when it is older by this share, and at the
#: latest after so many seconds.
LATE_SHARE = 0.1
LATE_S = 30.0


@attrs.frozen
class Wish:
    """When one job would be asked after, depending on the price of a query.

    Attributes:
        times: Loop times, for the prices of the plan; they never fall.
        least: The logarithm, base `RATIO`, of the lowest price, in seconds of idle slot.
    """

    times: tuple[float, ...]
    least: float

    def time(self, price: float) -> float:
        """When the job is asked after at a price, given as a logarithm."""
        level = min(max(price - self.least, 0.0), len(self.times) - 1.0)
        below = min(int(level), len(self.times) - 2)
        low, high = self.times[below], self.times[below + 1]
        return low + (high - low) * (level - below)

    def worth(self, now: float) -> float:
        """The highest price, as a logarithm, at which the job is asked after by now."""
        times = self.times
        place = bisect_right(times, now) - 1
        if place < 0:
            return -math.inf
        # Past the last time it grows on, so that nobody is passed over for ever.
        last = place + 1 == len(times)
        step = (times[-1] - times[0]) / len(times) if last else times[place + 1] - times[place]
        return self.least + place + (now - times[place]) / max(step, 1e-9)


@attrs.frozen
class Plan:
    """When to ask next, for several prices of a query.

    Attributes:
        ages: Seconds; those of the distribution.
        typical_s: Seconds that half of the jobs take at most.
        price: The lowest price, in seconds of idle slot; each further one is `RATIO` times it.
        following: For each price and age, the age at which to ask next if the job ran then.
    """

    ages: tuple[float, ...]
    typical_s: float
    price: float
    following: tuple[tuple[float, ...], ...]

    def wish(self, accepted: float, age: float) -> Wish:
        """When a job is asked after next.

        Args:
            accepted: Loop time of its submit.
            age: Seconds after that at which it ran.
        """
        ages = self.ages
        place = bisect_right(ages, age)
        if place >= len(ages):
            late = min(LATE_SHARE * age, LATE_S)
            following = [age + late * (1.0 + i / PRICES) for i in range(PRICES)]
        else:
            low, high = ages[place - 1], ages[place]
            part = (age - low) / (high - low)
            following = [
                max(each[place - 1] + part * (each[place] - each[place - 1]), age)
                for each in self.following
            ]
        return Wish(tuple(accepted + each for each in following), math.log(self.price, RATIO))


def plan(spread: Spread) -> Plan:
    """The plan for a distribution of job times."""
    typical = spread.age(0.5)
    price = _price(spread, typical)
    ages = spread.ages
    end = ages[-1] + min(LATE_SHARE * ages[-1], LATE_S)
    tables = []
    latest: Sequence[float] = ages
    for i in range(PRICES):
        table = [ages[after] for after in following(spread, price * RATIO**i)]
        table[-1] = end
        # With a higher price nothing is earlier; where two are as good, it may seem so.
        latest = tuple(max(pair) for pair in zip(latest, table, strict=True))
        tables.append(latest)
    return Plan(ages, typical, price, tuple(tables))


def _price(spread: Spread, typical: float) -> float:
    """The price of a query where there are plenty."""
    low, high = CHEAPEST * typical, DEAREST * typical
    if idle(spread, following(spread, high)) <= IDLE * typical:
        return high
    while high > 1.25 * low:
        price = math.sqrt(low * high)
        if idle(spread, following(spread, price)) > IDLE * typical:
            high = price
        else:
            low = price
    return low


def following(spread: Spread, price: float) -> list[int]:
    """For the place of each age, the place of the age at which to ask next.

    It minimizes price times queries plus the expected seconds between a job's end and the poll
    that finds it. With F for the share that has ended and G for its integral, asking at age b and
    next at age a costs ``price (1 - F(b)) + G(a) - G(b) - (a - b) F(b)``, and what comes after a.
    For each a that is a line in F(b), and as b falls, the best line only moves on to earlier
    ages: each age is looked at about once.
    """
    ages, ended = spread.ages, spread.ended
    last = len(ages) - 1
    integral = [0.0]
    for i in range(last):
        integral.append(integral[i] + (ages[i + 1] - ages[i]) * (ended[i + 1] + ended[i]) / 2)
    best = [last] * (last + 1)
    # Beyond the last age: a query and what it comes too late, for each job that is left.
    beyond = (1 - ended[last]) * (price + LATE_SHARE * ages[last])
    offsets = [*integral[:last], integral[last] + beyond]
    # Ages whose lines may be the lowest somewhere, the latest ones first.
    lines, front = [last], 0
    for b in range(last - 1, -1, -1):
        x = ended[b]
        while front + 1 < len(lines) and (
            offsets[lines[front + 1]] - ages[lines[front + 1]] * x
            <= offsets[lines[front]] - ages[lines[front]] * x
        ):
            front += 1
        a = best[b] = lines[front]
        cost = price * (1 - x) - integral[b] + ages[b] * x + offsets[a] - ages[a] * x
        offsets[b] += cost
        while len(lines) - front >= 2 and _hidden(ages, offsets, lines[-2], lines[-1], b):
            lines.pop()
        lines.append(b)
    return best


def _hidden(
    ages: Sequence[float], offsets: Sequence[float], older: int, middle: int, newer: int
) -> bool:
    """Whether the line of `middle` is nowhere below both others."""
    return (offsets[newer] - offsets[older]) * (ages[older] - ages[middle]) <= (
        offsets[middle] - offsets[older]
    ) * (ages[older] - ages[newer])


def idle(spread: Spread, following: Sequence[int]) -> float:
    """Expected seconds between a job's end and the poll that finds it, within the known ages."""
    ages, ended = spread.ages, spread.ended
    total, at = 0.0, 0
    while at < len(ages) - 1:
        until = following[at]
        for i in range(at, until):
            # Who ends between two ages waits, on average, for half of that and for the rest.
            total += (ended[i + 1] - ended[i]) * (ages[until] - (ages[i] + ages[i + 1]) / 2)
        at = until
    return total
