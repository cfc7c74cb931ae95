"""Repeats one request where its error says that this is safe and may help."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, TypeVar

import attrs
import tenacity

from holodeck_gen.errors import RetryableError, SlotRefusedError, ThrottledError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class RetryPolicy:
    """How often, and how long to wait between.

    Attributes:
        attempts: Tries in all; None is without end (the caller has a deadline).
        backoff_s: Seconds before the second try; doubled for each further one.
        max_backoff_s: Most seconds of our own accord; a provider may ask for more.
    """

    attempts: int | None = 4
    backoff_s: float = attrs.field(default=2.0, validator=attrs.validators.ge(0))
    max_backoff_s: float = attrs.field(default=30.0, validator=attrs.validators.ge(0))

    def waits(self) -> Callable[[RetryableError], float]:
        """A function from each error in turn to seconds; they never shrink."""
        previous, tries = 0.0, 0

        def wait(error: RetryableError) -> float:
            nonlocal previous, tries
            # Jitter below the doubling keeps the sequence growing while it spreads clients.
            own = self.backoff_s * 2.0**tries * (1 + random.random() / 4)
            tries = min(tries + 1, 32)
            previous = max(previous, min(own, self.max_backoff_s))
            return max(previous, error.retry_after or 0.0)

        return wait


async def repeat(
    request: Callable[[], Awaitable[T]],
    policy: RetryPolicy,
    *,
    sleep: Callable[[float], Awaitable[None]],
    on_retry: Callable[[RetryableError, float], Awaitable[None]],
    final: tuple[type[RetryableError], ...] = (),
) -> T:
    """Await `request()`, again after every `RetryableError` as far as `policy` allows.

    A refusal of the slot or the pace is not the request's fault and uses up no attempt.

    Args:
        request: Sends it.
        policy: How often and how soon.
        sleep: Waits for so many seconds.
        on_retry: Told of each error and the seconds until the next try.
        final: Errors that are raised although they are retryable.
    """

    def again(error: BaseException) -> bool:
        return isinstance(error, RetryableError) and not isinstance(error, final)

    try:
        # Entering tenacity costs more than the request's own bookkeeping; most succeed.
        return await request()
    except RetryableError as error:
        if not again(error):
            raise
        first = error
    wait = policy.waits()
    counted = 0

    async def another() -> T:
        nonlocal first
        if first is not None:
            error, first = first, None  # type: ignore[assignment]
            raise error
        return await request()

    def exhausted(state: tenacity.RetryCallState) -> bool:
        nonlocal counted
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, ThrottledError | SlotRefusedError):
            counted += 1
        return policy.attempts is not None and counted >= policy.attempts

    async def before_sleep(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        assert isinstance(error, RetryableError)
        await on_retry(error, state.upcoming_sleep)

    def next_wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        return wait(error) if isinstance(error, RetryableError) else 0.0

    return await tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(again),
        stop=exhausted,
        wait=next_wait,
        sleep=sleep,
        before_sleep=before_sleep,
        reraise=True,
    )(another)
