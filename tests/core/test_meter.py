"""Slot-seconds add up."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._gate.meter import Meter

changes = st.lists(
    st.tuples(st.floats(0, 1000), st.integers(0, 50), st.integers(1, 50), st.integers(0, 3)),
    max_size=30,
)


def test_half_of_the_slots_for_half_of_the_time() -> None:
    meter = Meter()
    meter.change(10.0, taken=2, ceiling=2, waiting=0)
    meter.change(20.0, taken=1, ceiling=2, waiting=0)
    meter.change(30.0, taken=0, ceiling=2, waiting=0)
    assert (meter.taken_s, meter.allowed_s) == (30.0, 40.0)


def test_a_time_without_work_counts_on_neither_side() -> None:
    meter = Meter()
    meter.change(0.0, taken=1, ceiling=1, waiting=0)
    meter.change(10.0, taken=0, ceiling=1, waiting=0)
    meter.change(1000.0, taken=1, ceiling=1, waiting=0)
    meter.change(1010.0, taken=0, ceiling=1, waiting=0)
    assert meter.taken_s == meter.allowed_s == 20.0


def test_an_empty_slot_that_somebody_waits_for_is_not_busy() -> None:
    meter = Meter()
    meter.change(0.0, taken=0, ceiling=1, waiting=1)
    meter.change(5.0, taken=1, ceiling=1, waiting=0)
    meter.change(10.0, taken=0, ceiling=1, waiting=0)
    assert (meter.taken_s, meter.allowed_s) == (5.0, 10.0)


@given(changes)
def test_no_more_is_taken_than_allowed(steps: list[tuple[float, int, int, int]]) -> None:
    meter, now = Meter(), 0.0
    for span, taken, ceiling, waiting in steps:
        now += span
        meter.change(now, taken=taken, ceiling=ceiling, waiting=waiting)
    assert 0 <= meter.taken_s <= meter.allowed_s + 1e-6
