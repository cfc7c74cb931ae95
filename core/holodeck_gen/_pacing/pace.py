"""Requests a second: of one account and one action, however many jobs there are."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import attrs

from holodeck_gen.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

#: Times the interval that the rate asks for: requests reach the service some milliseconds
#: earlier or later than they were sent, and it may count per second.
SLACK = 1.005
#: What a refusal leaves of the rate.
CUT = 0.7
#: Seconds that a refusal is taken to concern: others of requests that were sent so shortly after
#: it have the same cause.
WINDOW_S = 1.0
#: Seconds in which a lowered rate doubles again, but at a low rate the time of so many requests:
#: so slow that a service that means less refuses one request in a hundred, and not one in ten.
DOUBLING_S = 60.0
LONGEST_DOUBLING_S = 600.0
DOUBLING_REQUESTS = 200
#: Requests a second that are left, however many refusals there are.
LOWEST_RATE = 1 / 30
#: Seconds for which one refusal may hold back all requests; the next one may again.
LONGEST_HOLD_S = 60.0


@attrs.define(eq=False)
class _Line:
    """Lets through one after the other, first come, first served."""

    due: float = float("-inf")
    _lock: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def wait(self, earliest: Callable[[float, float], float], spare_s: float) -> float:
        """Wait for the turn.

        Args:
            earliest: When it may be, from when the last one was due and from the time now.
            spare_s: Seconds that one who wakes up late may be ahead of time at the next turn.

        Returns:
            Loop time.
        """
        clock = asyncio.get_running_loop().time
        # One sleeps, the others queue: a waiter costs nothing until it is its turn.
        async with self._lock:
            due = now = clock()
            while (at := earliest(self.due, now)) > now:
                due = at
                await asyncio.sleep(at - now)
                now = clock()
            self.due = max(due, now - spare_s)
            return now


@attrs.define(eq=False)
class Pace:
    """Spaces requests evenly as they are sent, with no catching up after a pause.

    Args:
        documented: Requests a second that the service allows; None where it does not say.

    Attributes:
        count: Requests sent so far.
    """

    documented: float | None
    count: int = attrs.field(default=0, init=False)
    _tokens: _Line = attrs.field(factory=_Line, init=False)
    _departures: _Line = attrs.field(factory=_Line, init=False)
    _sent: deque[float] = attrs.field(factory=deque, init=False)
    _closed_until: float = attrs.field(default=float("-inf"), init=False)
    _cut_at: float = attrs.field(default=float("-inf"), init=False)
    _cut_to: float | None = attrs.field(default=None, init=False)
    _doubling_s: float = attrs.field(default=DOUBLING_S, init=False)

    @property
    def rate(self) -> float | None:
        """Requests a second that are allowed now; None where nothing limits them."""
        return self._rate(asyncio.get_running_loop().time())

    async def turn(self) -> float:
        """Wait until one request may be sent, and return that loop time."""
        await self.token()
        return await self.departure()

    async def token(self) -> None:
        """Wait until one request may be made ready; `departure` follows.

        For a request that is recorded before it is sent: no more are recorded than have a token.
        """
        await self._tokens.wait(self._next_token, self._spare_s)

    async def departure(self) -> float:
        """Wait out what is left of the pace, and return the loop time; then send at once."""
        # What happens between token and sending takes a varying time, so tokens that are far
        # enough apart do not yet make requests that are. Not held: what is recorded as on its
        # way should not stay so for long.
        now = await self._departures.wait(self._next_departure, self._spare_s)
        self._sent.append(now)
        self.count += 1
        while self._sent[0] < now - max(WINDOW_S, self._window_s(now)):
            self._sent.popleft()
        return now

    def hold(self, seconds: float) -> None:
        """No request for so long: the provider asked for it."""
        now = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, now + min(seconds, LONGEST_HOLD_S))

    def heard(self, error: Exception, sent: float) -> None:
        """Obey a refusal of a request that was sent at loop time `sent`; ignore other errors."""
        if not isinstance(error, ThrottledError):
            return
        self.hold(WINDOW_S if error.retry_after is None else error.retry_after)
        if sent < self._cut_at + WINDOW_S:
            return
        now = asyncio.get_running_loop().time()
        rate = self._rate(now)
        if rate is None:
            rate = float(max(1, sum(1 for at in self._sent if at >= now - WINDOW_S)))
        self._cut_to = max(CUT * rate, min(LOWEST_RATE, rate))
        self._cut_at = now
        self._doubling_s = min(LONGEST_DOUBLING_S, max(DOUBLING_S, DOUBLING_REQUESTS / rate))

    def _rate(self, now: float) -> float | None:
        if self._cut_to is None:
            return self.documented
        doublings = min((now - self._cut_at) / self._doubling_s, 32.0)
        rate: float = self._cut_to * 2.0**doublings
        return rate if self.documented is None else min(rate, self.documented)

    def _spacing_s(self, now: float) -> float:
        rate = self._rate(now)
        return SLACK / rate if rate else 0.0

    def _window(self, rate: float) -> int:
        """How many requests are counted together: as many as come in about a second."""
        return max(1, int(rate + 1e-9))

    def _window_s(self, now: float) -> float:
        rate = self._rate(now)
        return self._window(rate) * SLACK / rate if rate else 0.0

    @property
    def _spare_s(self) -> float:
        # Timers are late by about a millisecond, which must not add up.
        return max(0.005, self._spacing_s(asyncio.get_running_loop().time()) / 2)

    def _next_token(self, last: float, now: float) -> float:
        # The hold is seen by those that already wait.
        return max(last + self._spacing_s(now), self._closed_until)

    def _next_departure(self, last: float, now: float) -> float:
        rate = self._rate(now)
        if rate is None:
            return now
        earliest = last + SLACK / rate
        count = self._window(rate)
        if len(self._sent) >= count:
            # By when they were really sent: a loop that stood still must not send a burst.
            earliest = max(earliest, self._sent[-count] + self._window_s(now))
        return earliest
