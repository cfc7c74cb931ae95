"""Repeats one request where its error says that this is safe and may help."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

import attrs

from holodeck_gen._health.health import price
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
    request: Callable[[int], Awaitable[T]],
    policy: RetryPolicy,
    *,
    on_retry: Callable[[RetryableError, float], object],
    excused: Callable[[RetryableError], bool] = lambda _error: False,
    final: tuple[type[RetryableError], ...] = (),
) -> T:
    """Await `request`, again after every `RetryableError` as far as `policy` allows.

    A refusal of the slot or the pace is not the request's fault and uses up no attempt.

    Args:
        request: Sends it; takes what that costs of the retry budget.
        policy: How often and how soon.
        on_retry: Told of each error and the seconds until the next try; may raise instead.
        excused: Whether another error is not the request's fault, either.
        final: Errors that are raised although they are retryable.
    """
    wait = policy.waits()
    used = cost = 0
    while True:
        try:
            return await request(cost)
        except final:
            raise
        except RetryableError as error:
            if not isinstance(error, ThrottledError | SlotRefusedError) and not excused(error):
                used += 1
            if policy.attempts is not None and used >= policy.attempts:
                raise
            wait_s = wait(error)
            on_retry(error, wait_s)
            cost = price(error)
        await asyncio.sleep(wait_s)
