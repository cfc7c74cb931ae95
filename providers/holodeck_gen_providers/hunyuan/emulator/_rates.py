"""Requests a second, as the service counts them."""

from __future__ import annotations

from collections import deque

import attrs

#: Share of the window; a client that spaces its requests exactly is not refused because the
#: network delivered one of them a little late and the next in time.
TOLERANCE = 0.05


@attrs.define(eq=False)
class RateWindows:
    """Sliding windows, one for each key; what was refused does not count."""

    _admitted: dict[object, deque[float]] = attrs.field(factory=dict, init=False)

    def admits(self, key: object, rate: float | None, now: float) -> bool:
        """Count one request at `now`.

        Args:
            key: Whose window.
            rate: Requests a second; None or 0 is no limit.
            now: Seconds.
        """
        if not rate:
            return True
        most = max(1, int(rate))
        window_s = most / rate * (1 - TOLERANCE)
        times = self._admitted.setdefault(key, deque())
        while times and times[0] <= now - window_s:
            times.popleft()
        if len(times) >= most:
            return False
        times.append(now)
        return True
