"""A hidden quota is found quickly, with few refusals, and remembered."""

from __future__ import annotations

from math import log2

import pytest

from discovery import discover

QUOTAS = (1, 2, 3, 5, 8, 17, 64, 200)


def check(quota: int, poll_s: float) -> None:
    first = discover(quota, poll_s=poll_s)
    assert first.refusals <= log2(quota) + 3
    assert first.reached_s <= first.allowed_s
    assert first.utilisation >= 0.95 * first.ideal
    again = discover(quota, poll_s=poll_s)
    assert again.refusals <= 1
    assert again.utilisation >= 0.95 * again.ideal


@pytest.mark.parametrize("quota", [2, 17])
def test_a_hidden_quota_is_found(quota: int) -> None:
    check(quota, poll_s=2.0)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("poll_s", [0.05, 2.0])
@pytest.mark.parametrize("quota", QUOTAS)
def test_every_hidden_quota_is_found_however_late_ends_are_noticed(
    quota: int, poll_s: float
) -> None:
    check(quota, poll_s=poll_s)
