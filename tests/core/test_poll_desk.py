from __future__ import annotations

import asyncio
import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._pacing.pace import Pace
from holodeck_gen._pacing.poll_desk import INTERVALS, PollDesk, Timetable
from holodeck_gen._pacing.poll_plan import Wish
from holodeck_gen.testing import run_virtual


def wish(first: float, *, least: float = 0.0) -> Wish:
    """Of a job that is asked after from some moment on, sooner than others of a later one."""
    return Wish(tuple(first + 10.0 * i for i in range(8)), least)


class TestRest:
    def test_what_others_tell_wakes_those_who_would_ask_too_late(self) -> None:
        async def main() -> float:
            table = Timetable(2.0)
            clock = asyncio.get_running_loop().time

            async def tell() -> None:
                await asyncio.sleep(3.0)
                table.ended(2.9, 3.0)

            async with asyncio.TaskGroup() as group:
                group.create_task(tell())
                assert not await table.rest(asyncio.sleep(100.0, result=True))
            return clock()

        assert run_virtual(main()) == pytest.approx(3.0, abs=0.01)

    def test_it_ends_by_itself(self) -> None:
        async def main() -> float:
            assert await Timetable(2.0).rest(asyncio.sleep(7.0, result=True))
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == pytest.approx(7.0, abs=0.01)


class TestDesk:
    def test_without_a_rate_nobody_waits(self) -> None:
        async def main() -> None:
            desk = PollDesk(Pace(None))
            await asyncio.gather(*(desk.turn(wish(0.0)) for _ in range(5)))
            assert asyncio.get_running_loop().time() < 0.001

        run_virtual(main())

    def test_turns_go_to_the_jobs_that_are_worth_most(self) -> None:
        order: list[float] = []

        async def main() -> None:
            desk = PollDesk(Pace(1.0))

            async def ask(first: float, urgent: bool = False) -> None:
                await desk.turn(None if urgent else wish(first))
                order.append(first)

            async with asyncio.TaskGroup() as group:
                for first in (-1.0, -3.0, -9.0, -5.0):
                    group.create_task(ask(first))
                await asyncio.sleep(2.5)
                group.create_task(ask(-99.0))
                group.create_task(ask(0.0, urgent=True))

        run_virtual(main())
        # A token was there when the first one came; what is urgent comes before all that is not.
        assert order == [-1.0, -9.0, -5.0, 0.0, -99.0, -3.0]

    @given(
        st.lists(st.tuples(st.floats(0, 5), st.floats(0.1, 8) | st.none()), max_size=12),
        st.sampled_from([0.0, 0.5]),
    )
    def test_whoever_stays_gets_a_turn_and_none_is_given_too_soon(
        self, comings: list[tuple[float, float | None]], interval: float
    ) -> None:
        """Some are cancelled while they wait, lead, or have just been called."""
        turns: list[float] = []

        async def main() -> None:
            desk = PollDesk(Pace(1 / interval if interval else None))
            clock = asyncio.get_running_loop().time

            async def ask(at: float) -> None:
                await asyncio.sleep(at)
                await desk.turn(wish(at))
                turns.append(clock())

            async def maybe(at: float, patience: float | None) -> bool:
                try:
                    async with asyncio.timeout(None if patience is None else at + patience):
                        await ask(at)
                except TimeoutError:
                    return False
                return True

            async with asyncio.timeout(100):
                got = await asyncio.gather(*(maybe(*each) for each in comings))
            assert all(
                turn for turn, (_, patience) in zip(got, comings, strict=True) if not patience
            )
            assert len(turns) == sum(got)
            # It is free again.
            await asyncio.wait_for(desk.turn(None), 2 * interval + 0.001)

        run_virtual(main())
        assert all(b - a > interval - 1e-6 for a, b in itertools.pairwise(turns))

    def test_a_query_must_be_worth_more_the_more_jobs_there_are(self) -> None:
        timetable = Timetable(0.5)
        timetable.ended(2.0, 2.1)

        async def main() -> tuple[list[float], float]:
            desk = PollDesk(Pace(20.0))
            prices = []
            for _ in range(3):
                prices.append(desk.price(timetable))
                with desk.job(), desk.job():
                    prices.append(desk.price(timetable))
            unlimited = PollDesk(Pace(None))
            with unlimited.job():
                return prices, unlimited.price(timetable)

        prices, without_limit = run_virtual(main())
        assert prices[0] == prices[2] == prices[4] == without_limit
        assert prices[1] == prices[3] > prices[0]


class TestTimetable:
    def test_it_begins_with_some_poll_intervals(self) -> None:
        assert Timetable(2.0).plan.typical_s == pytest.approx(2.0 * INTERVALS, rel=0.05)

    def test_what_ends_changes_the_plan(self) -> None:
        timetable = Timetable(2.0)
        first = timetable.plan
        assert timetable.plan is first
        for _ in range(5):
            timetable.ended(29.0, 30.0)
        assert timetable.plan is not first
        assert timetable.plan.typical_s == pytest.approx(29.5, rel=0.1)

    def test_what_runs_changes_only_the_first_plan(self) -> None:
        timetable = Timetable(2.0)
        timetable.still(20.0)
        changed = timetable.plan
        assert changed.typical_s > 20.0
        timetable.ended(25.0, 26.0)
        timetable.plan  # noqa: B018 -- it is made here
        known = timetable.plan
        timetable.still(999.0)
        assert timetable.plan is known

    def test_jobs_that_never_end_leave_a_plan(self) -> None:
        timetable = Timetable(2.0)
        for _ in range(20):
            timetable.ended(600.0, math.inf)
        wish = timetable.plan.wish(0.0, 0.0)
        assert all(math.isfinite(time) for time in wish.times)
