"""Job slots: how many jobs of one account and quota key may be between submit and end.

`Gate` is the seam; `LocalGate` serves one studio.
"""

from __future__ import annotations

import asyncio
import heapq
from typing import Protocol

import attrs

from holodeck_gen._provider import Limits
from holodeck_gen.errors import ConfigError, PausedError

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

    def occupy(self) -> Slot:
        """Take a slot for a job that runs already, above the ceiling if need be."""
        ...

    def dismiss(self, reason: PausedError) -> None:
        """Let nobody wait any longer: raise `reason` where they do."""
        ...


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
                if turn.done() and not turn.cancelled() and turn.exception() is None:
                    self._give_back()
                raise
        else:
            self.held += 1
        return _LocalSlot(self)

    def occupy(self) -> Slot:
        self.held += 1
        return _LocalSlot(self)

    def dismiss(self, reason: PausedError) -> None:
        for _, _, turn in self._waiting:
            if not turn.done():
                turn.set_exception(PausedError(str(reason), reason=reason.reason))
        self._waiting.clear()

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
