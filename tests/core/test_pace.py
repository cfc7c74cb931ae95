"""Requests are far enough apart as they are sent, at a rate that the service puts up with."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holodeck_gen._pacing.pace import CUT, DOUBLING_S, LONGEST_HOLD_S, SLACK, Pace
from holodeck_gen.errors import ThrottledError, TransientError
from holodeck_gen.testing import run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence


async def sent_at(pace: Pace, arrivals: Sequence[float], delays: Sequence[float]) -> list[float]:
    """When requests leave that arrive one by one and take a while between token and sending."""
    sent: list[float] = []

    async def request(delay: float) -> None:
        await pace.token()
        await asyncio.sleep(delay)
        sent.append(await pace.departure())

    async with asyncio.TaskGroup() as group:
        for gap, delay in zip(arrivals, delays, strict=False):
            await asyncio.sleep(gap)
            group.create_task(request(delay))
    return sent


def most_in_a_second(sent: Sequence[float]) -> int:
    """Most requests within any one second."""
    times = sorted(sent)
    return max(sum(1 for at in times[i:] if at < first + 1) for i, first in enumerate(times))


gaps = st.lists(st.floats(0, 3), max_size=12)


class TestSpacing:
    @given(st.floats(0.01, 2.0), gaps, gaps)
    def test_never_closer_than_the_pace(
        self, interval_s: float, arrivals: list[float], delays: list[float]
    ) -> None:
        sent = run_virtual(sent_at(Pace(1 / interval_s), arrivals, delays))
        assert all(b - a >= interval_s - 1e-6 for a, b in pairwise(sorted(sent)))

    @settings(max_examples=30)
    @given(
        st.integers(1, 60),
        st.lists(st.floats(0, 0.2), min_size=1, max_size=8),
        st.lists(st.floats(0, 0.7), min_size=1, max_size=5),
    )
    def test_no_second_has_more_than_the_rate_where_the_loop_stands_still(
        self, rate: int, delays: list[float], stalls: list[float]
    ) -> None:
        async def main() -> list[float]:
            loop = asyncio.get_running_loop()

            def stall(seconds: float) -> None:
                # A step that takes long: whoever should have left in the meantime is late.
                loop._virtual.now += seconds  # type: ignore[attr-defined]

            for i, seconds in enumerate(stalls):
                loop.call_later(0.3 + 0.8 * i, stall, seconds)
            count = 4 * rate
            return await sent_at(Pace(float(rate)), [0.0] * count, delays * count)

        assert most_in_a_second(run_virtual(main())) <= rate

    @pytest.mark.parametrize("rate", [1.0, 20.0, 80.0, 300.0])
    def test_the_full_rate_is_reached_where_it_is_the_bottleneck(self, rate: float) -> None:
        async def main() -> float:
            # Between token and sending there is a write to disk, now quick, now slow.
            count = int(rate) * 10
            sent = await sent_at(Pace(rate), [0.0] * count, [0.001, 0.02] * count)
            return (count - 1) / (max(sent) - min(sent))

        assert 0.98 * rate <= run_virtual(main()) <= rate

    def test_timers_that_are_late_do_not_add_up(self) -> None:
        async def main() -> float:
            loop = asyncio.get_running_loop()
            on_time = loop.call_at
            loop.call_at = lambda when, *args, **kwargs: on_time(  # type: ignore[method-assign]
                when + 0.0015, *args, **kwargs
            )
            sent = await sent_at(Pace(100.0), [0.0] * 500, [0.0] * 500)
            assert most_in_a_second(sent) <= 100
            return 499 / (max(sent) - min(sent))

        assert run_virtual(main()) >= 98.0

    def test_after_a_pause_there_is_no_catching_up(self) -> None:
        sent = run_virtual(sent_at(Pace(1.0), [0.0, 60.0, 0.0, 0.0], [0.0] * 4))
        assert [b - a for a, b in pairwise(sent)] == pytest.approx([60.0, SLACK, SLACK])

    def test_who_is_cancelled_while_waiting_keeps_nobody(self) -> None:
        async def main() -> float:
            pace = Pace(1.0)
            await pace.turn()
            waiting = [asyncio.ensure_future(pace.turn()) for _ in range(5)]
            await asyncio.sleep(0.5)
            for each in waiting[:4]:
                each.cancel()
            await asyncio.wait(waiting)
            return waiting[4].result()

        assert run_virtual(main()) == pytest.approx(SLACK)


class TestHold:
    def test_it_reaches_those_that_already_wait(self) -> None:
        async def main() -> list[float]:
            pace = Pace(1.0)
            asyncio.get_running_loop().call_later(0.5, pace.hold, 30.0)
            return await sent_at(pace, [0.0] * 3, [0.0] * 3)

        assert run_virtual(main()) == pytest.approx([0.0, 30.5, 30.5 + SLACK], abs=1e-6)

    def test_without_a_rate_it_alone_delays(self) -> None:
        async def main() -> list[float]:
            pace = Pace(None)
            first = await sent_at(pace, [0.0] * 3, [0.0] * 3)
            pace.hold(5.0)
            return [*first, *await sent_at(pace, [0.0], [0.0])]

        assert run_virtual(main()) == pytest.approx([0.0, 0.0, 0.0, 5.0], abs=1e-6)

    @pytest.mark.parametrize(("asked", "kept"), [(None, 1.0), (7.0, 7.0), (9e9, LONGEST_HOLD_S)])
    def test_what_a_refusal_asks_for_is_obeyed_within_reason(
        self, asked: float | None, kept: float
    ) -> None:
        async def main() -> float:
            pace = Pace(100.0)
            pace.heard(ThrottledError("", retry_after=asked), await pace.turn())
            return await pace.turn()

        assert run_virtual(main()) == pytest.approx(kept, abs=0.02)


class TestAdaptation:
    def test_a_refusal_lowers_the_rate_and_it_comes_back(self) -> None:
        async def main() -> list[float]:
            pace = Pace(20.0)
            pace.heard(ThrottledError(""), await pace.turn())
            rates = []
            for _ in range(4):
                assert pace.rate is not None
                rates.append(pace.rate)
                await asyncio.sleep(DOUBLING_S / 4)
            return rates

        assert run_virtual(main()) == pytest.approx([14.0, 16.65, 19.8, 20.0], abs=0.01)

    def test_refusals_with_one_cause_cut_once(self) -> None:
        async def main() -> float | None:
            pace = Pace(20.0)
            sent = [await pace.turn() for _ in range(10)]
            for at in sent:
                pace.heard(ThrottledError(""), at)
            return pace.rate

        assert run_virtual(main()) == pytest.approx(CUT * 20.0)

    def test_other_errors_change_nothing(self) -> None:
        async def main() -> float | None:
            pace = Pace(20.0)
            pace.heard(TransientError("", retry_after=5.0), await pace.turn())
            await pace.turn()
            assert asyncio.get_running_loop().time() < 1
            return pace.rate

        assert run_virtual(main()) == 20.0

    def test_where_none_is_documented_what_was_sent_lately_counts(self) -> None:
        async def main() -> float | None:
            pace = Pace(None)
            for _ in range(30):
                await pace.turn()
                await asyncio.sleep(0.1)
            pace.heard(ThrottledError(""), await pace.turn())
            return pace.rate

        assert run_virtual(main()) == pytest.approx(CUT * 10, abs=CUT + 0.01)

    @settings(max_examples=30)
    @given(st.none() | st.floats(0.05, 100), st.lists(st.floats(0, 20), max_size=40))
    def test_it_is_never_nothing_and_never_above_the_documented_one(
        self, documented: float | None, gaps: list[float]
    ) -> None:
        async def main() -> None:
            pace = Pace(documented)
            for gap in gaps:
                sent = await pace.turn()
                await asyncio.sleep(gap)
                pace.heard(ThrottledError(""), sent)
                rate = pace.rate
                assert rate is not None
                assert 0 < rate <= (documented or float("inf"))

        run_virtual(main())

    @pytest.mark.parametrize("documented", [None, 40.0, 20.0])
    @pytest.mark.parametrize("hidden", [20, 5])
    def test_a_service_that_means_less_is_found_out(
        self, documented: float | None, hidden: int
    ) -> None:
        """It counts in whole seconds. Few are refused, and the rate is used."""

        async def main() -> tuple[int, int]:
            pace = Pace(documented)
            accepted: dict[int, int] = {}
            good = refused = 0
            while (now := await pace.turn()) < 600.0:
                second = int(now)
                if accepted.get(second, 0) < hidden:
                    accepted[second] = accepted.get(second, 0) + 1
                    good += 1
                else:
                    refused += 1
                    pace.heard(ThrottledError(""), now)
                # So that a client without a limit does not send for ever in one moment.
                await asyncio.sleep(0.002)
            return good, refused

        good, refused = run_virtual(main())
        assert refused <= 0.03 * good
        assert good >= 0.8 * 600 * min(hidden, documented or hidden)
