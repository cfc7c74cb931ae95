"""Requests a second: of one account and one action, however many jobs there are."""

from __future__ import annotations

import asyncio

import attrs
from aiolimiter import AsyncLimiter


@attrs.define(eq=False)
class Pace:
    """Requests at least `interval_s` apart, as sent; no catching up after a pause.

    Zero is no limit: then only what the provider asks for holds requests back.
    """

    interval_s: float
    _limiter: AsyncLimiter | None = attrs.field(init=False)
    _next: float = attrs.field(default=float("-inf"), init=False)
    _closed_until: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        # Capacity 1: the bucket's burst and leak would let nearly twice the rate pass.
        self._limiter = AsyncLimiter(1, self.interval_s) if self.interval_s else None

    async def token(self) -> None:
        """Wait for the turn to send one request."""
        if self._limiter is not None:
            await self._limiter.acquire()
        # Last, so that a hold reaches those that already wait, and not those on their way out.
        clock = asyncio.get_running_loop().time
        while (rest := self._closed_until - clock()) > 0:  # noqa: ASYNC110 -- it may be extended
            await asyncio.sleep(rest)

    async def departure(self) -> None:
        """Wait out what is left of the pace; the very last thing before sending."""
        # What happens between token and sending takes a varying time, so tokens that are far
        # enough apart do not yet make requests that are.
        now = asyncio.get_running_loop().time()
        leave = max(now, self._next)
        self._next = leave + self.interval_s
        if leave > now:
            await asyncio.sleep(leave - now)

    def hold(self, seconds: float) -> None:
        """No request for so long: the provider asked for it."""
        now = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, now + seconds)
