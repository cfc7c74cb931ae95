"""Live figures of one gate: taken where something changes, told at most once a second."""

from __future__ import annotations

import attrs

from holodeck_gen._event_queue import EventQueue
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._pacing.pace import Pace
from holodeck_gen.events import SlotsSampled

#: Seconds between two samples, at least: enough for people, and for graphs.
INTERVAL_S = 1.0


@attrs.define(kw_only=True, eq=False)
class Sampler:
    """Samples one gate.

    Args:
        account: The provider's `account_key`.
        quota: The provider's `quota_key`.
        gate: Whose figures these are.
        submits: The account's pace of submits.
        polls: And of polls.
        events: Where samples go.
    """

    account: str
    quota: str
    gate: LocalGate
    submits: Pace
    polls: Pace
    events: EventQueue
    _told_at: float = attrs.field(default=float("-inf"), init=False)
    _counted_at: float | None = attrs.field(default=None, init=False)
    _counts: tuple[int, int] = attrs.field(default=(0, 0), init=False)
    _rates: tuple[float, float] = attrs.field(default=(0.0, 0.0), init=False)

    def changed(self, now: float) -> None:
        """Something is different at the gate since this loop time."""
        if self.events and now >= self._told_at + INTERVAL_S:
            self._told_at = now
            self.events.put(self.sample(now))

    def close(self, now: float) -> None:
        """Tell how it ended."""
        if self.events:
            self.events.put(self.sample(now))

    def sample(self, now: float) -> SlotsSampled:
        """The figures at this loop time."""
        self._count(now)
        gate, meter = self.gate, self.gate.meter
        return SlotsSampled(
            time=self.events.clock(),
            account=self.account,
            quota=self.quota,
            taken=gate.held,
            ceiling=gate.ceiling,
            waiting=gate.waiting,
            refusals=meter.refusals,
            taken_s=meter.taken_s,
            allowed_s=meter.allowed_s,
            submit_rate=self._rates[0],
            poll_rate=self._rates[1],
        )

    def _count(self, now: float) -> None:
        counts = self.submits.count, self.polls.count
        if self._counted_at is not None:
            span = now - self._counted_at
            if span < INTERVAL_S:
                return
            self._rates = (
                (counts[0] - self._counts[0]) / span,
                (counts[1] - self._counts[1]) / span,
            )
        self._counted_at, self._counts = now, counts
