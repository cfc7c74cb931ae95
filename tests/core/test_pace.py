"""Requests are far enough apart as they are sent."""

from __future__ import annotations

import asyncio
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._pace import Pace
from holodeck_gen.testing import run_virtual


async def sent_at(pace: Pace, arrivals: list[float], delays: list[float]) -> list[float]:
    """When requests leave that arrive one by one and take a while between token and sending."""
    clock = asyncio.get_running_loop().time
    sent: list[float] = []

    async def request(delay: float) -> None:
        await pace.token()
        await asyncio.sleep(delay)
        await pace.departure()
        sent.append(clock())

    async with asyncio.TaskGroup() as group:
        for gap, delay in zip(arrivals, delays, strict=False):
            await asyncio.sleep(gap)
            group.create_task(request(delay))
    return sent


gaps = st.lists(st.floats(0, 3), max_size=12)


@given(st.floats(0.01, 2.0), gaps, gaps)
def test_never_closer_than_the_pace(
    interval_s: float, arrivals: list[float], delays: list[float]
) -> None:
    sent = run_virtual(sent_at(Pace(1 / interval_s), arrivals, delays))
    assert all(later - earlier >= interval_s - 1e-6 for earlier, later in pairwise(sorted(sent)))


def test_the_full_rate_is_reached_where_it_is_the_bottleneck() -> None:
    async def main() -> float:
        clock = asyncio.get_running_loop().time
        began = clock()
        # Between token and sending there is a write to disk, now quick, now slow.
        await sent_at(Pace(20.0), [0.0] * 200, [0.001, 0.02] * 100)
        return clock() - began

    assert 199 * 0.05 <= run_virtual(main()) <= 199 * 0.05 / 0.98


def test_after_a_pause_there_is_no_catching_up() -> None:
    sent = run_virtual(sent_at(Pace(1.0), [0.0, 60.0, 0.0, 0.0], [0.0] * 4))
    assert [round(later - earlier, 6) for earlier, later in pairwise(sent)] == [60.0, 1.005, 1.005]


def test_a_hold_reaches_those_that_already_wait() -> None:
    async def main() -> list[float]:
        pace = Pace(1.0)
        clock = asyncio.get_running_loop().time
        began = clock()
        loop = asyncio.get_running_loop()
        loop.call_later(0.5, pace.hold, 30.0)
        return [at - began for at in await sent_at(pace, [0.0] * 3, [0.0] * 3)]

    assert [round(at, 6) for at in run_virtual(main())] == [0.0, 30.5, 31.505]


def test_without_a_rate_only_a_hold_delays() -> None:
    async def main() -> list[float]:
        pace = Pace(None)
        began = asyncio.get_running_loop().time()
        first = await sent_at(pace, [0.0] * 3, [0.0] * 3)
        pace.hold(5.0)
        return [at - began for at in [*first, *await sent_at(pace, [0.0], [0.0])]]

    assert [round(at, 6) for at in run_virtual(main())] == [0.0, 0.0, 0.0, 5.0]
