"""When the next submit is tried although every slot seems to be taken.

A poll tells of one job, and the slot of a job that has ended is idle until it is polled. Where a
refused submit costs nothing, the submit itself can find out: accepted, it has the slot without
any poll before; refused, it tells that every job still runs. Pure: the time is handed in.
"""

from __future__ import annotations

import math

import attrs

from holodeck_gen._gate.beliefs import Beliefs

#: What one refused submit may cost, in seconds of idle slot, as a share of a job's time.
PRICE = 0.002
#: Steps in which is looked ahead, each twice the one before, and the first, as a share likewise.
STEPS, FIRST_STEP = 11, 0.002


@attrs.define(eq=False)
class Probes:
    """Weighs the time that slots are probably idle against a submit that may be refused.

    Attributes:
        running: What is known of the jobs that occupy slots now.
    """

    running: Beliefs = attrs.field(factory=Beliefs)
    #: Expected seconds for which slots were idle since the last try, as of `_at`.
    _idle: float = attrs.field(default=0.0, init=False)
    _at: float | None = attrs.field(default=None, init=False)
    _free: float = attrs.field(default=0.0, init=False)

    def rest(self) -> None:
        """Nobody waits for a slot, or what was expected until now is no longer."""
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
        return bool(self.running.jobs) and self._idle >= PRICE * self._typical_s

    def next_at(self, over: int) -> float | None:
        """When it will be due, after `due` said that it is not yet; None if not soon."""
        if self._at is None or not self.running.jobs:
            return None
        at, idle, free = self._at, self._idle, self._free
        typical = self._typical_s
        step, price = FIRST_STEP * typical, PRICE * typical
        for _ in range(STEPS):
            then = self._expected(at + step, over)
            more = step * (free + then) / 2
            if idle + more >= price:
                rise, wanted = (then - free) / step, price - idle
                root = math.sqrt(max(0.0, free**2 + 2 * rise * wanted))
                # A little late rather than a little early, which would be looked at again.
                return at + min(step, 1.01 * 2 * wanted / (free + root))
            at, idle, free, step = at + step, idle + more, then, 2 * step
        return at

    def tried(self) -> None:
        """One was sent: what was idle before is settled."""
        self._idle = 0.0

    def answered(self, sent: float, ended: int) -> None:
        """The answer to one that was sent at loop time `sent`: `ended` of the jobs had ended."""
        self.running.told(sent, ended)
        self.rest()

    @property
    def _typical_s(self) -> float:
        return max(job.typical_s for job in self.running.jobs)

    def _expected(self, at: float, over: int) -> float:
        return max(0.0, self.running.ended_by(at) - over)
