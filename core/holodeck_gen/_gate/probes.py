"""When the next submit is tried although every slot seems to be taken.

A poll tells of one job, and the slot of a job that has ended is idle until it is polled. Where a
refused submit costs nothing, the submit itself can find out: accepted, it has the slot without
any poll before; refused, it tells that every job still runs. Pure: the time is handed in.
"""

from __future__ import annotations

import math
from typing import Protocol

import attrs

#: What one refused submit may cost, in seconds of idle slot, as a share of a job's time.
PRICE = 0.002
#: Steps in which is looked ahead, each twice the one before, and the first, as a share likewise.
STEPS, FIRST_STEP = 11, 0.002


class Running(Protocol):
    """A job that occupies a slot."""

    @property
    def typical_s(self) -> float:
        """Seconds that such a job takes."""
        ...

    def ended_by(self, at: float) -> float:
        """How likely it has ended by loop time `at`, from 0 to 1; 0 where nothing is known."""
        ...

    def ran(self, at: float) -> None:
        """It was found running at loop time `at`."""
        ...


@attrs.define(eq=False)
class Probes:
    """Weighs the time that slots are probably idle against a submit that may be refused.

    Attributes:
        jobs: Those that occupy slots now.
    """

    jobs: list[Running] = attrs.field(factory=list)
    #: Expected seconds for which slots were idle since the last try, as of `_at`.
    _idle: float = attrs.field(default=0.0, init=False)
    _at: float | None = attrs.field(default=None, init=False)
    _free: float = attrs.field(default=0.0, init=False)

    def rest(self) -> None:
        """Nobody waits for a slot."""
        self._at = None
        self._idle = 0.0

    def due(self, now: float, over: int) -> bool:
        """Whether to try one now.

        Args:
            now: Loop time.
            over: Slots that were found free so already, whose ended jobs nobody knows yet.
        """
        if self._at is None:
            self._at, self._free = now, self._expected(now, over)
        span = now - self._at
        # It grows faster and faster, so that the last part is looked at most closely.
        for left in (0.5, 0.25, 0.125, 0.0) if span else ():
            at = now - span * left
            free = self._expected(at, over)
            self._idle += (at - self._at) * (self._free + free) / 2
            self._at, self._free = at, free
        return bool(self.jobs) and self._idle >= self._price

    def next_at(self, over: int) -> float | None:
        """When it will be due, after `due` said that it is not yet; None if not soon."""
        if self._at is None or not self.jobs:
            return None
        at, idle, free = self._at, self._idle, self._free
        step = FIRST_STEP * self._typical_s
        for _ in range(STEPS):
            then = self._expected(at + step, over)
            more = step * (free + then) / 2
            if idle + more >= self._price:
                rise, wanted = (then - free) / step, self._price - idle
                root = math.sqrt(max(0.0, free**2 + 2 * rise * wanted))
                # A little late rather than a little early, which would be looked at again.
                return at + min(step, 1.01 * 2 * wanted / (free + root))
            at, idle, free, step = at + step, idle + more, then, 2 * step
        return at

    def tried(self) -> None:
        """One was sent, or its answer came: what was idle before is settled."""
        self._idle = 0.0

    def refused(self, sent: float) -> None:
        """One that was sent at loop time `sent` was refused because all of `jobs` ran."""
        for job in self.jobs:
            job.ran(sent)
        self.tried()

    @property
    def _typical_s(self) -> float:
        return max(job.typical_s for job in self.jobs)

    @property
    def _price(self) -> float:
        return PRICE * self._typical_s

    def _expected(self, at: float, over: int) -> float:
        return max(0.0, sum(job.ended_by(at) for job in self.jobs) - over)
