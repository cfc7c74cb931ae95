from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._pacing.poll_plan import (
    DEAREST,
    IDLE,
    LATE_S,
    PRICES,
    Plan,
    following,
    idle,
    plan,
)
from holodeck_gen._pacing.spread import Kind, Spread, spread_of

kinds = st.lists(
    st.builds(Kind, st.floats(0.1, 50), st.floats(-3, 6), st.floats(0.003, 1.2)),
    min_size=1,
    max_size=3,
)


@st.composite
def spreads(draw: st.DrawFn) -> Spread:
    """Small ones of any form."""
    steps = draw(st.lists(st.floats(0.01, 10), min_size=1, max_size=12))
    parts = draw(st.lists(st.floats(0, 1), min_size=len(steps), max_size=len(steps)))
    left = draw(st.floats(1e-6, 0.5))
    total = sum(parts) or 1.0
    ages, ended = [0.0], [0.0]
    for step, part in zip(steps, parts, strict=True):
        ages.append(ages[-1] + step)
        ended.append(min(ended[-1] + (1 - left) * part / total, 1 - left))
    return Spread(tuple(ages), tuple(ended))


def lognormal(sigma: float, median: float = 40.0) -> Spread:
    return spread_of([Kind(1.0, math.log(median), sigma)])


def asked(spread: Spread, table: list[int]) -> list[int]:
    """Places of the ages at which a job is asked after, if it never ends."""
    places, at = [], 0
    while at < len(spread.ages) - 1:
        at = table[at]
        places.append(at)
    return places


def cost(spread: Spread, places: list[int], price: float) -> float:
    """Price times queries plus idle time, of asking at these places; the last must be there."""
    table, before = [0] * len(spread.ages), 0
    queries = 0.0
    for place in places:
        queries += 1 - spread.ended[before]
        table[before] = place
        before = place
    return price * queries + idle(spread, table)


prices = st.floats(1e-4, 20)


class TestProgram:
    @given(spreads(), prices, st.data())
    def test_no_other_times_cost_less(
        self, spread: Spread, price: float, data: st.DataObject
    ) -> None:
        last = len(spread.ages) - 1
        others = data.draw(st.sets(st.integers(1, last)))
        best = cost(spread, asked(spread, following(spread, price)), price)
        assert best <= cost(spread, sorted({*others, last}), price) * (1 + 1e-9) + 1e-9

    @pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5])
    @pytest.mark.parametrize("price", [0.02, 0.2, 2.0])
    def test_a_fixed_interval_costs_more(self, sigma: float, price: float) -> None:
        spread = lognormal(sigma)
        best = cost(spread, asked(spread, following(spread, price)), price)
        for interval in (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 40.0):
            places = {
                min(range(1, len(spread.ages)), key=lambda i: abs(spread.ages[i] - age))
                for age in (interval * n for n in range(1, int(spread.ages[-1] / interval) + 1))
            }
            fixed = cost(spread, sorted({*places, len(spread.ages) - 1}), price)
            assert best < fixed * 0.95

    @given(spreads(), prices, st.floats(1.1, 50))
    def test_dearer_queries_are_fewer(self, spread: Spread, price: float, factor: float) -> None:
        def queries(price: float) -> float:
            places = asked(spread, following(spread, price))
            return sum(1 - spread.ended[place] for place in [0, *places[:-1]])

        assert queries(price * factor) <= queries(price) + 1e-6


class TestPlan:
    @given(kinds, st.floats(0, 3000), st.floats(-100, 1e6))
    def test_a_job_is_asked_after_later_and_soon_enough(
        self, given_kinds: list[Kind], age: float, accepted: float
    ) -> None:
        made = plan(spread_of(given_kinds))
        times = made.wish(accepted, age).times
        assert len(times) == PRICES
        assert list(times) == sorted(times)
        assert accepted + age <= times[0]
        longest = max(made.ages[-1], age)
        assert times[-1] <= accepted + longest + 2 * LATE_S + 1e-6

    def test_beyond_all_that_is_known_the_interval_grows_up_to_a_bound(self) -> None:
        made = plan(lognormal(0.1, median=2.0))
        age, waits = made.ages[-1] * 1.01, []
        for _ in range(60):
            after = made.wish(0.0, age).times[0]
            waits.append(after - age)
            age = after
        assert waits == sorted(waits)
        assert 0 < waits[0] < 2.0
        assert waits[-1] == pytest.approx(LATE_S)

    @pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5])
    def test_where_queries_are_plenty_the_slot_is_idle_for_a_known_share(
        self, sigma: float
    ) -> None:
        spread = lognormal(sigma)
        share = idle(spread, following(spread, plan(spread).price)) / 40.0
        assert 0.6 * IDLE < share <= IDLE * 1.001

    def test_equal_times_need_little_more_than_one_query(self) -> None:
        spread = lognormal(0.003)
        made = plan(spread)
        assert made.price == pytest.approx(DEAREST * 40.0, rel=0.01)
        places = [0, *asked(spread, following(spread, made.price))]
        assert sum(1 - spread.ended[place] for place in places[:-1]) < 1.25
        assert idle(spread, following(spread, made.price)) < 0.006 * 40.0

    def test_two_kinds_are_asked_after_twice_and_not_between(self) -> None:
        spread = spread_of([Kind(1.0, math.log(20), 0.01), Kind(1.0, math.log(40), 0.01)])
        made = plan(spread)
        first = made.wish(0.0, 0.0).times[0]
        assert 19 < first < 21
        age = first
        while age < 21:
            age = made.wish(0.0, age).times[0]
        assert age > 38


class TestWish:
    @given(kinds, st.floats(0, 500), st.floats(-1, PRICES))
    def test_time_and_worth_are_inverse(
        self, given_kinds: list[Kind], age: float, level: float
    ) -> None:
        made: Plan = plan(spread_of(given_kinds))
        wish = made.wish(100.0, age)
        price = wish.least + min(max(level, 0.0), PRICES - 1.0)
        time = wish.time(wish.least + level)
        assert wish.times[0] <= time <= wish.times[-1]
        # Where several prices have one time, it is worth the highest of them.
        assert wish.worth(time + 1e-6) >= price - 1e-2
        assert wish.worth(wish.times[0] - 1e-6) == -math.inf

    @given(kinds, st.floats(0, 500))
    def test_waiting_makes_it_worth_more_without_end(
        self, given_kinds: list[Kind], age: float
    ) -> None:
        wish = plan(spread_of(given_kinds)).wish(0.0, age)
        moments = [wish.times[0] + (1 + wish.times[-1]) * i / 20 for i in range(100)]
        worths = [wish.worth(moment) for moment in moments]
        assert worths == sorted(worths)
        assert worths[-1] > worths[-2]
