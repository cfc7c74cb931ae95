from __future__ import annotations

import math
import random
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holodeck_gen._pacing.durations import Durations

if TYPE_CHECKING:
    from collections.abc import Iterable

WIDTHS = (0.05, 0.3)


def learnt(times: Iterable[float], *, widths: tuple[float, float] = WIDTHS) -> Durations:
    """What is known after jobs that took so long, each between two polls some way apart."""
    chance = random.Random(1)
    durations = Durations(8.0)
    for seconds in times:
        width = seconds * chance.uniform(*widths)
        before = width * chance.random()
        durations.observe(max(seconds - before, 0.0), seconds - before + width)
        if durations.stale:
            durations.learn()
    durations.learn()
    return durations


def lognormal(count: int, sigma: float, *, median: float = 2.0, seed: int = 7) -> list[float]:
    chance = random.Random(seed)
    return [median * chance.lognormvariate(0, sigma) for _ in range(count)]


@pytest.mark.parametrize("sigma", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("median", [0.3, 2.0, 90.0])
def test_a_lognormal_is_recovered_from_intervals(sigma: float, median: float) -> None:
    spread = learnt(lognormal(100, sigma, median=median)).spread
    assert spread.age(0.5) == pytest.approx(median, rel=max(0.03, 0.4 * sigma))
    # Half a standard deviation, either way.
    for z, share in ((-1.0, 0.1587), (1.0, 0.8413)):
        assert math.log(spread.age(share) / median) == pytest.approx(z * sigma, abs=0.5 * sigma)


def test_equal_times_become_narrow() -> None:
    """As planned polls see them: ever nearer before and after, and sometimes only after."""
    durations = Durations(8.0)
    for i in range(30):
        off = max(0.3 / (i + 1), 0.004)
        durations.observe(0.0 if i % 3 == 2 else 20.0 * (1 - off), 20.0 * (1 + off))
        durations.learn()
    spread = durations.spread
    assert spread.age(0.1) > 20 * 0.985
    assert spread.age(0.9) < 20 * 1.01


def test_one_job_that_was_asked_after_late_does_not_make_all_late() -> None:
    times = lognormal(40, 0.1)
    before = learnt(times).spread
    durations = learnt(times)
    durations.observe(1.0, 60.0)
    durations.learn()
    assert durations.spread.age(0.5) == pytest.approx(before.age(0.5), rel=0.02)
    assert durations.spread.age(0.9) == pytest.approx(before.age(0.9), rel=0.05)


def test_two_kinds_of_jobs_stay_two() -> None:
    spread = learnt([20.0 if i % 2 else 40.0 for i in range(80)], widths=(0.01, 0.05)).spread
    assert spread.age(0.25) == pytest.approx(20, rel=0.05)
    assert spread.age(0.75) == pytest.approx(40, rel=0.05)
    assert spread.share(36) - spread.share(24) < 0.05


@pytest.mark.parametrize("factor", [0.3, 0.7, 1.5, 4.0])
def test_times_that_change_are_followed(factor: float) -> None:
    times = lognormal(100, 0.1)
    durations = learnt([*times, *(factor * t for t in lognormal(40, 0.1, seed=8))])
    assert durations.spread.age(0.5) == pytest.approx(2.0 * factor, rel=0.25)


def test_shorter_times_are_noticed_although_all_end_before_the_first_poll() -> None:
    durations = learnt(lognormal(100, 0.05))
    for _ in range(40):
        first = durations.spread.age(0.1)
        # It takes a second, so the first poll always finds it ended.
        durations.observe(0.0 if first > 1.0 else first, max(first, 1.05))
        durations.learn()
    assert durations.spread.age(0.1) < 1.3


def test_jobs_that_never_end_do_not_hide_those_that_do() -> None:
    durations = learnt(lognormal(60, 0.1))
    for _ in range(6):
        durations.observe(600.0, math.inf)
    durations.learn()
    assert durations.spread.age(0.45) == pytest.approx(2.0, rel=0.1)
    assert durations.spread.share(10.0) < 0.96


def test_before_a_job_has_ended_those_that_run_tell_of_the_others() -> None:
    durations = Durations(8.0)
    assert durations.spread.age(0.5) == pytest.approx(8.0, rel=0.05)
    durations.still(40.0)
    assert durations.spread.share(30.0) == 0.0
    assert durations.spread.age(0.5) > 40.0
    durations.observe(40.0, 44.0)
    durations.learn()
    known = durations.spread
    durations.still(1000.0)
    assert durations.spread is known


def test_nothing_seen_is_nothing_learnt() -> None:
    durations = Durations(8.0)
    known = durations.spread
    durations.observe(3.0, 3.0)
    durations.observe(-1.0, 3.0)
    durations.learn()
    assert durations.seen == 0
    assert durations.spread is known


ages = st.floats(0, 1e6) | st.sampled_from([0.0, 1e-9, 1e12])


@settings(max_examples=40)
@given(st.lists(st.tuples(ages, ages | st.just(math.inf)), max_size=30))
@example([(0.0, 5e-324), (1e300, math.inf)])
@example([(3.0, math.nextafter(3.0, 4.0))] * 30)
def test_whatever_is_observed_the_estimate_is_a_distribution(
    pairs: list[tuple[float, float]],
) -> None:
    durations = Durations(8.0)
    for running, ended in pairs:
        durations.observe(running, ended)
        if durations.stale:
            durations.learn()
        spread = durations.spread
        assert all(math.isfinite(each) for each in (*spread.ages, *spread.ended))
        assert all(low < high for low, high in zip(spread.ages, spread.ages[1:], strict=False))
        assert list(spread.ended) == sorted(spread.ended)
        assert spread.ended[-1] <= 1.0
        assert spread.age(0.5) > 0
