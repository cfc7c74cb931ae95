"""Job slots and request paces: how much may happen at once, and how fast.

`Gate` is the seam; `LocalGate` serves one studio. A gate belongs to an account and a quota
key; slots bound the jobs between submit and end, paces bound the requests a second.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Callable
from typing import Protocol, TypeAlias

import attrs
from aiolimiter import AsyncLimiter

from holodeck_gen._provider import Action, Limits
from holodeck_gen.errors import ConfigError

#: Jobs at once where neither the user nor the provider says: one is always allowed.
UNKNOWN_QUOTA = 1


@attrs.frozen(kw_only=True)
class Concurrency:
    """How many jobs at once the user allows.

    Attributes:
        minimum: Where an automatic search starts; None means at the provider's own figure.
        maximum: Never more; None means what the provider accepts.
    """

    minimum: int | None = None
    maximum: int | None = None

    @classmethod
    def parse(cls, value: int | str | Concurrency) -> Concurrency:
        """Read ``N``, ``"auto"`` or ``"MIN-MAX"``.

        Raises:
            ConfigError: It is none of these.
        """
        if isinstance(value, Concurrency):
            return value
        text = str(value).strip()
        if text == "auto":
            return cls()
        low, dash, high = text.partition("-")
        if not isinstance(value, bool) and low.isdecimal() and (high.isdecimal() or not dash):
            minimum, maximum = int(low), int(high or low)
            if 1 <= minimum <= maximum:
                return cls(minimum=minimum, maximum=maximum)
        raise ConfigError(
            f"concurrency must be a number of at least 1, 'auto' or 'MIN-MAX', not {value!r}"
        )

    def start(self, limits: Limits) -> int:
        """The ceiling to begin with."""
        documented = limits.max_jobs or UNKNOWN_QUOTA
        low = self.minimum or documented
        return min(low, self.maximum or low)

    def top(self, limits: Limits) -> int | None:
        """The ceiling that is never passed."""
        return self.maximum if self.maximum is not None else limits.max_jobs


class Slot(Protocol):
    """One job's place; held from before the submit to the job's end."""

    def refused(self) -> None:
        """The provider says that there are too many jobs at once."""
        ...

    def release(self, *, clean: bool) -> None:
        """Give the place back. Once; `clean` where the job ran to its end."""
        ...


class Gate(Protocol):
    """What the engine asks before it calls a provider."""

    @property
    def ceiling(self) -> int:
        """Jobs at once that are allowed now."""
        ...

    @property
    def held(self) -> int:
        """Slots that are taken now."""
        ...

    @property
    def waiting(self) -> int:
        """How many wait for a slot."""
        ...

    async def slot(self, *, priority: int = 0) -> Slot:
        """Wait for a free slot; higher priorities first, then in order."""
        ...

    async def token(self, action: Action) -> None:
        """Wait for the turn to send one request."""
        ...

    async def departure(self, action: Action) -> None:
        """Wait out what is left of the pace; the very last thing before sending."""
        ...

    def hold(self, action: Action, seconds: float) -> None:
        """No request of this kind for so long: the provider asked for it."""
        ...


#: Makes the gate of one account and quota key.
GateFactory: TypeAlias = Callable[[Concurrency, Limits], Gate]


@attrs.define(eq=False)
class _Pace:
    """Requests at least `interval_s` apart, as sent; no catching up after a pause."""

    interval_s: float
    _limiter: AsyncLimiter = attrs.field(init=False)
    _next: float = attrs.field(default=float("-inf"), init=False)
    _closed_until: float = attrs.field(default=float("-inf"), init=False)

    def __attrs_post_init__(self) -> None:
        # Capacity 1: the bucket's burst and leak would let nearly twice the rate pass.
        self._limiter = AsyncLimiter(1, self.interval_s)

    async def token(self) -> None:
        clock = asyncio.get_running_loop().time
        while (rest := self._closed_until - clock()) > 0:  # noqa: ASYNC110 -- it may be extended
            await asyncio.sleep(rest)
        await self._limiter.acquire()

    async def departure(self) -> None:
        # What happens between token and sending takes a varying time, so tokens that are far
        # enough apart do not yet make requests that are.
        now = asyncio.get_running_loop().time()
        leave = max(now, self._next)
        self._next = leave + self.interval_s
        if leave > now:
            await asyncio.sleep(leave - now)

    def hold(self, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        self._closed_until = max(self._closed_until, now + seconds)


@attrs.define(eq=False)
class LocalGate:
    """A gate for one studio: a ceiling that falls on a refusal and grows while it is in use."""

    concurrency: Concurrency
    limits: Limits
    ceiling: int = attrs.field(init=False)
    held: int = attrs.field(default=0, init=False)
    _waiting: list[tuple[int, int, asyncio.Future[None]]] = attrs.field(factory=list, init=False)
    _sequence: int = attrs.field(default=0, init=False)
    _clean: int = attrs.field(default=0, init=False)
    _paces: dict[Action, _Pace] = attrs.field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self.ceiling = self.concurrency.start(self.limits)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def slot(self, *, priority: int = 0) -> Slot:
        if self._waiting or self.held >= self.ceiling:
            turn = asyncio.get_running_loop().create_future()
            self._sequence += 1
            heapq.heappush(self._waiting, (-priority, self._sequence, turn))
            self._wake()
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._give_back()
                raise
        else:
            self.held += 1
        return _LocalSlot(self)

    async def token(self, action: Action) -> None:
        if (pace := self._pace(action)) is not None:
            await pace.token()

    async def departure(self, action: Action) -> None:
        if (pace := self._pace(action)) is not None:
            await pace.departure()

    def hold(self, action: Action, seconds: float) -> None:
        if (pace := self._pace(action)) is not None:
            pace.hold(seconds)

    def _pace(self, action: Action) -> _Pace | None:
        if action not in self._paces:
            rate = self.limits.rate(action)
            if rate is None:
                return None
            self._paces[action] = _Pace(1 / rate)
        return self._paces[action]

    def _refused(self) -> None:
        # A number given by the user is not searched, only obeyed.
        if self.concurrency.minimum != self.concurrency.maximum or self.concurrency.minimum is None:
            self.ceiling = max(1, min(self.ceiling, self.held - 1))
        self._clean = 0

    def _released(self, *, clean: bool) -> None:
        if clean and self.held >= self.ceiling:
            self._clean += 1
            top = self.concurrency.top(self.limits)
            if self._clean >= self.ceiling and (top is None or self.ceiling < top):
                self.ceiling += 1
                self._clean = 0
        self._give_back()

    def _give_back(self) -> None:
        self.held -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting and self.held < self.ceiling:
            turn = heapq.heappop(self._waiting)[2]
            if not turn.done():
                self.held += 1
                turn.set_result(None)


@attrs.define(eq=False)
class _LocalSlot:
    gate: LocalGate
    _open: bool = attrs.field(default=True, init=False)

    def refused(self) -> None:
        self.gate._refused()

    def release(self, *, clean: bool) -> None:
        if self._open:
            self._open = False
            self.gate._released(clean=clean)
