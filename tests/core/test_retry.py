"""A request is repeated only where its error allows it, and never sooner than before."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holodeck_gen._health.retry import RetryPolicy, repeat
from holodeck_gen.errors import (
    AuthError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.testing import run_virtual

policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 6),
    backoff_s=st.floats(0, 10),
    max_backoff_s=st.floats(0, 60),
)


class Request:
    """Raises what it was given, one after the other, then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.calls = 0
        self.waits: list[float] = []
        self.costs: list[int] = []

    async def __call__(self, cost: int) -> str:
        self.calls += 1
        self.costs.append(cost)
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def on_retry(self, error: RetryableError, wait_s: float) -> None:
        self.waits.append(wait_s)

    def run(self, policy: RetryPolicy) -> str:
        return run_virtual(repeat(self, policy, on_retry=self.on_retry))


@given(policies, st.integers(1, 40))
def test_waits_never_shrink_and_are_capped(policy: RetryPolicy, count: int) -> None:
    wait = policy.waits()
    waits = [wait(TransientError("")) for _ in range(count)]
    assert all(earlier <= later for earlier, later in pairwise(waits))
    assert all(0 <= each <= policy.max_backoff_s for each in waits)


@given(policies, st.lists(st.floats(0, 600), min_size=1, max_size=9))
def test_what_the_provider_asks_for_is_obeyed(policy: RetryPolicy, asked: list[float]) -> None:
    wait = policy.waits()
    assert all(wait(ThrottledError("", retry_after=each)) >= each for each in asked)


@given(policies, st.integers(0, 9))
def test_no_more_than_the_attempts(policy: RetryPolicy, failures: int) -> None:
    request = Request(*[TransientError("")] * failures)
    assert policy.attempts is not None
    if failures < policy.attempts:
        assert request.run(policy) == "done"
    else:
        with pytest.raises(TransientError):
            request.run(policy)
    assert request.calls == min(failures + 1, policy.attempts)
    assert len(request.waits) == request.calls - 1


@pytest.mark.parametrize("cls", [ThrottledError, SlotRefusedError])
def test_a_refusal_of_slot_or_pace_uses_up_no_attempt(cls: type[RetryableError]) -> None:
    request = Request(*[cls("")] * 20)
    assert request.run(RetryPolicy(attempts=1)) == "done"
    assert request.calls == 21


@pytest.mark.parametrize("error", [AuthError(""), ProviderError(""), ValueError()])
def test_a_final_error_is_not_repeated(error: Exception) -> None:
    request = Request(error)
    with pytest.raises(type(error)) as caught:
        request.run(RetryPolicy())
    assert caught.value is error
    assert request.calls == 1


def test_a_final_error_after_a_retry_ends_it() -> None:
    request = Request(TransientError(""), AuthError(""))
    with pytest.raises(AuthError):
        request.run(RetryPolicy())
    assert request.calls == 2


def test_patience_without_end() -> None:
    request = Request(*[TransientError("")] * 50)
    assert request.run(RetryPolicy(attempts=None)) == "done"


def test_what_is_final_for_the_caller_is_not_repeated() -> None:
    request = Request(TransientError(""), SlotRefusedError(""))
    with pytest.raises(SlotRefusedError):
        run_virtual(
            repeat(
                request,
                RetryPolicy(),
                on_retry=request.on_retry,
                final=(SlotRefusedError,),
            )
        )
    assert request.calls == 2
