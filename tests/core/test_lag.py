"""How late slots are freed is learnt from what is accepted and refused."""

from __future__ import annotations

import pytest

from holodeck_gen._gate.lag import DOUBT, ENOUGH, LONGEST_LAG_S, MOST, Lag


def test_a_slot_is_cooling_for_the_lag() -> None:
    lag = Lag(10.0)
    lag.ended(100.0)
    lag.ended(105.0)
    assert [lag.cooling(now) for now in (105.0, 109.9, 110.0, 115.0)] == [2, 2, 1, 0]
    assert lag.free_at(106.0) == pytest.approx(110.0)
    assert lag.free_at(115.0) is None


def test_without_a_lag_nothing_is_cooling() -> None:
    lag = Lag()
    lag.ended(1.0)
    assert lag.cooling(1.0) == 0


def test_the_age_is_that_of_the_slot_that_is_needed() -> None:
    lag = Lag()
    for end in (1.0, 3.0, 6.0):
        lag.ended(end)
    assert [lag.age(10.0, spare) for spare in (1, 2, 3)] == [4.0, 7.0, 9.0]
    assert lag.age(10.0, 4) == lag.age(10.0, 0) == float("inf")


def test_any_refusal_may_be_a_late_slot_until_enough_were_in_time() -> None:
    lag = Lag()
    assert lag.may_explain(0.0)
    assert not lag.may_explain(LONGEST_LAG_S)
    for _ in range(ENOUGH):
        lag.accepted(0.5)
    assert not lag.may_explain(0.0)


def test_doubts_wear_out_what_was_known() -> None:
    lag = Lag()
    for _ in range(MOST):
        lag.accepted(0.5)
    for _ in range(MOST // DOUBT):
        lag.doubt()
    assert not lag.known


def test_what_turns_out_to_be_no_lag_is_forgotten() -> None:
    lag = Lag()
    lag.learn(0.0, 20.0)
    assert lag.seconds == 20.0
    lag.forget()
    assert lag.seconds == 0.0


def test_what_was_punctual_for_a_while_is_not_forgotten() -> None:
    lag = Lag()
    lag.learn(0.0, 20.0)
    for _ in range(ENOUGH):
        lag.accepted(20.0)
    lag.forget()
    assert lag.seconds == 20.0


def test_a_shorter_lag_is_tried_now_and_then_and_less_often_after_a_refusal() -> None:
    lag = Lag()
    lag.learn(0.0, 32.0)
    lag.ended(100.0)
    first = lag.early_at(101.0)
    assert first == pytest.approx(116.0)
    lag.was_early(116.0, 16.0, accepted=True)
    assert lag.seconds == 16.0
    lag.ended(130.0)
    second = lag.early_at(131.0)
    assert second is not None
    lag.was_early(second, 8.0, accepted=False)
    lag.ended(second)
    third = lag.early_at(second + 1)
    assert lag.seconds == 16.0
    assert third is not None
    assert third - second > second - 116.0


def test_a_lag_that_is_known_well_enough_is_left_alone() -> None:
    lag = Lag()
    lag.refused(29.0)
    lag.learn(0.0, 31.0)
    lag.ended(1000.0)
    assert lag.early_at(1000.0) is None


@pytest.mark.parametrize("age", [30.0, float("inf")])
def test_a_try_that_was_accepted_never_makes_it_longer(age: float) -> None:
    lag = Lag(10.0)
    lag.ended(100.0)
    lag.was_early(105.0, age, accepted=True)
    assert lag.seconds == 10.0
    assert lag.free_at(105.0) == pytest.approx(110.0)


def test_what_was_remembered_is_no_longer_than_it_can_be() -> None:
    assert Lag(float("inf")).seconds == LONGEST_LAG_S
