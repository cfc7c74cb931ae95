"""How well job slots are used, as seen from here."""

from __future__ import annotations

import attrs


@attrs.define(eq=False)
class Meter:
    """Adds up slot-seconds between changes.

    A slot counts as taken until its job is seen to have ended, so what it cost to notice that
    late is in `taken_s`: only the provider knows better. Times in which there is nothing to do
    count on neither side.

    Attributes:
        taken_s: Slot-seconds that were taken.
        allowed_s: Slot-seconds that might have been.
        refusals: Submits that were refused for want of a slot.
    """

    taken_s: float = attrs.field(default=0.0, init=False)
    allowed_s: float = attrs.field(default=0.0, init=False)
    refusals: int = attrs.field(default=0, init=False)
    _since: float = attrs.field(default=0.0, init=False)
    _taken: int = attrs.field(default=0, init=False)
    _allowed: int = attrs.field(default=0, init=False)

    def change(self, now: float, *, taken: int, ceiling: int, waiting: int) -> None:
        """From `now` on it is so.

        Args:
            now: Loop time.
            taken: Slots with a job.
            ceiling: Slots that may have one; jobs that ran before may be more.
            waiting: How many wait for a slot.
        """
        span = now - self._since
        self.taken_s += self._taken * span
        self.allowed_s += self._allowed * span
        self._since = now
        self._taken = taken
        self._allowed = max(ceiling, taken) if taken or waiting else 0
