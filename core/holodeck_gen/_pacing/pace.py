"""Requests a second: of one account and one action, however many jobs there are."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import attrs

from holodeck_gen._pacing.lane import Book, Lane, OwnBook
from holodeck_gen.errors import ThrottledError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

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


#: Seconds for which the lowest documented rate counts of those who share an account.
LOWEST_S = 60.0
#: Seconds until it is tried again to reach what others have locked.
LOOK_AGAIN_S = 0.01


@attrs.define(eq=False)
class Pace:
    """Spaces requests evenly as they are sent, with no catching up after a pause.

    Args:
        documented: Requests a second that the service allows; None where it does not say. Of
            those who share a lane the lowest counts.
        book: Keeps what was sent, for all who send together.

    Attributes:
        count: Requests sent so far.
    """

    documented: float | None
    book: Book = attrs.field(factory=OwnBook)
    count: int = attrs.field(default=0, init=False)
    # One sleeps, the others queue: a waiter costs nothing until it is its turn.
    _tokens: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)
    _departures: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    @property
    def rate(self) -> float | None:
        """Requests a second that are allowed now; None where nothing limits them."""
        return self._rate(self.book.lane, _now())

    async def turn(self) -> float:
        """Wait until one request may be sent, and return that loop time."""
        await self.token()
        return await self.departure()

    async def token(self) -> None:
        """Wait until one request may be made ready; `departure` follows.

        For a request that is recorded before it is sent: no more are recorded than have a token.
        """
        async with self._tokens:
            # Others who share the lane have theirs before and after it, so all come to send.
            at = await self._change(self._reserve)
            try:
                while (wait_s := at - _now()) > 0:
                    await asyncio.sleep(wait_s)
                    # A hold is obeyed by those that already wait.
                    at = await self._change(partial(self._postpone, at))
            except BaseException:
                self.book.note(partial(self._give_back, at))
                raise

    async def departure(self) -> float:
        """Wait out what is left of the pace, and return the loop time; then send at once."""
        # What happens between token and sending takes a varying time, so tokens that are far
        # enough apart do not yet make requests that are. Not held: what is recorded as on its
        # way should not stay so for long.
        async with self._departures:
            waited = False
            while True:
                left, at = await self._change(partial(self._depart, waited=waited))
                if left:
                    self.count += 1
                    return at
                waited = True
                await asyncio.sleep(at - _now())

    def hold(self, seconds: float) -> None:
        """No request for so long: the provider asked for it."""
        until = _now() + min(seconds, LONGEST_HOLD_S)

        def close(lane: Lane) -> None:
            lane.closed_until = max(lane.closed_until, until)

        self.book.note(close)

    def heard(self, error: Exception, sent: float) -> None:
        """Obey a refusal of a request that was sent at loop time `sent`; ignore other errors."""
        if not isinstance(error, ThrottledError):
            return
        self.hold(WINDOW_S if error.retry_after is None else error.retry_after)
        self.book.note(partial(self._cut, sent))

    def _cut(self, sent: float, lane: Lane) -> None:
        if sent < lane.cut_at + WINDOW_S:
            return
        now = _now()
        rate = self._rate(lane, now)
        if rate is None:
            rate = float(max(1, sum(1 for at in lane.sent if at >= now - WINDOW_S)))
        lane.cut_to = max(CUT * rate, min(LOWEST_RATE, rate))
        lane.cut_at = now
        lane.doubling_s = min(LONGEST_DOUBLING_S, max(DOUBLING_S, DOUBLING_REQUESTS / rate))

    async def _change(self, step: Callable[[Lane], T]) -> T:
        while True:
            answer = self.book.change(step)
            if answer is not None:
                return answer
            # Another process has the file, and nobody tells when it lets go.
            await asyncio.sleep(LOOK_AGAIN_S)

    def _reserve(self, lane: Lane) -> float:
        """When the next token is due."""
        now = _now()
        self._agree(lane, now)
        lane.token = max(lane.token + self._spacing_s(lane, now), lane.closed_until, now)
        return lane.token

    def _postpone(self, at: float, lane: Lane) -> float:
        """When the token that was due at `at` may be had by what is known now."""
        if lane.closed_until <= at:
            return at
        if lane.token == at:
            lane.token = lane.closed_until
            return lane.token
        return self._reserve(lane)

    def _give_back(self, at: float, lane: Lane) -> None:
        """Let the next one have a token that nobody waits for any more."""
        if lane.token == at:
            lane.token -= self._spacing_s(lane, _now())

    def _depart(self, lane: Lane, *, waited: bool) -> tuple[bool, float]:
        """Let a request leave: whether it does, and since or until when."""
        now = _now()
        self._agree(lane, now)
        due = self._next_departure(lane, now)
        if due > now:
            return False, due
        # Timers are late by about a millisecond, which must not add up.
        spare_s = max(0.005, self._spacing_s(lane, now) / 2)
        lane.departure = max(due, now - spare_s) if waited else now
        lane.sent.append(now)
        while lane.sent[0] < now - max(WINDOW_S, self._window_s(lane, now)):
            lane.sent.popleft()
        return True, now

    def _agree(self, lane: Lane, now: float) -> None:
        """Whoever knows of a lower rate than the others may be right."""
        if self.documented is None:
            return
        fresh = lane.lowest is not None and now < lane.lowest_at + LOWEST_S
        if not fresh or lane.lowest is None or self.documented <= lane.lowest:
            lane.lowest, lane.lowest_at = self.documented, now

    def _rate(self, lane: Lane, now: float) -> float | None:
        documented = self.documented
        if documented is not None and lane.lowest is not None:
            fresh = now < lane.lowest_at + LOWEST_S
            documented = min(documented, lane.lowest) if fresh else documented
        if lane.cut_to is None:
            return documented
        doublings = min((now - lane.cut_at) / lane.doubling_s, 32.0)
        rate: float = lane.cut_to * 2.0**doublings
        return rate if documented is None else min(rate, documented)

    def _spacing_s(self, lane: Lane, now: float) -> float:
        rate = self._rate(lane, now)
        return SLACK / rate if rate else 0.0

    def _window_s(self, lane: Lane, now: float) -> float:
        rate = self._rate(lane, now)
        return _window(rate) * SLACK / rate if rate else 0.0

    def _next_departure(self, lane: Lane, now: float) -> float:
        rate = self._rate(lane, now)
        if rate is None:
            return now
        earliest = lane.departure + SLACK / rate
        count = _window(rate)
        if len(lane.sent) >= count:
            # By when they were really sent: a loop that stood still must not send a burst.
            earliest = max(earliest, lane.sent[-count] + self._window_s(lane, now))
        return earliest


def _window(rate: float) -> int:
    """How many requests are counted together: as many as come in about a second."""
    return max(1, int(rate + 1e-9))


def _now() -> float:
    return asyncio.get_running_loop().time()
