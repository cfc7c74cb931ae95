from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._pacing.spread import Kind, Spread, spread_of

kinds = st.lists(
    st.builds(Kind, st.floats(0.1, 50), st.floats(-5, 7), st.floats(0.003, 1.5)),
    min_size=1,
    max_size=4,
)


@given(kinds)
def test_ages_grow_and_shares_never_fall(given_kinds: list[Kind]) -> None:
    spread = spread_of(given_kinds)
    assert spread.ages[0] == spread.ended[0] == 0.0
    assert all(low < high for low, high in zip(spread.ages, spread.ages[1:], strict=False))
    assert list(spread.ended) == sorted(spread.ended)
    assert 0.99 < spread.ended[-1] <= 1.0
    # A plan looks at every point.
    assert len(spread.ages) < 1000


@given(kinds, st.floats(0.001, 0.999))
def test_share_and_age_are_inverse(given_kinds: list[Kind], share: float) -> None:
    spread = spread_of(given_kinds)
    age = spread.age(share)
    if age < spread.ages[-1]:
        assert spread.share(age) == pytest.approx(share, abs=1e-6)


@given(kinds, st.floats(0.001, 500))
def test_those_that_still_run_end_later(given_kinds: list[Kind], age: float) -> None:
    spread = spread_of(given_kinds)
    rest = spread.after(age)
    if age < spread.ages[-1]:
        assert rest.share(age) == 0.0
        later = age * 1.3
        gone = spread.share(age)
        # Between two points the one is linear from the point on, the other from the age.
        expected = (spread.share(later) - gone) / (1 - gone)
        assert rest.share(later) == pytest.approx(expected, abs=1e-6)


def test_a_lognormal_distribution_has_its_quantiles() -> None:
    spread = spread_of([Kind(1.0, math.log(2.0), 0.25)])
    assert spread.age(0.5) == pytest.approx(2.0, rel=0.01)
    assert spread.age(0.8413) == pytest.approx(2.0 * math.exp(0.25), rel=0.01)
    assert spread.share(2.0 * math.exp(-0.25)) == pytest.approx(0.1587, abs=0.01)


def test_beyond_the_last_age_nothing_more_is_known() -> None:
    spread = Spread((0.0, 1.0, 2.0), (0.0, 0.5, 0.9))
    assert (spread.share(99.0), spread.age(0.95)) == (0.9, 2.0)
    assert spread.after(5.0) is spread
