"""``--for 8h`` and ``--until 06:30``."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from typing import Any

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")


class Span(click.ParamType[float]):
    """A length of time: ``90s``, ``30m``, ``8h``, ``1d``, ``1h30m``; seconds as a number."""

    name = "span"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Return seconds."""
        parts = _SPAN.findall(str(value))
        if not parts or "".join(number + unit for number, unit in parts) != value:
            self.fail(f"{value!r} is not a time; write 90s, 30m, 8h or 1d", param, ctx)
        return sum(float(number) * _UNITS[unit] for number, unit in parts)


class ClockTime(click.ParamType[tuple[int, int]]):
    """A local time of day as hour and minute."""

    name = "HH:MM"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[int, int]:
        """Return hour and minute."""
        found = _CLOCK.fullmatch(str(value))
        if not found:
            self.fail(f"{value!r} is not a time of day; write HH:MM", param, ctx)
        return int(found[1]), int(found[2])


def seconds_until(clock_time: tuple[int, int], now: datetime) -> float:
    """Seconds from `now` to the next such local time; a day where it is that minute now.

    Args:
        clock_time: Hour and minute.
        now: Local and without a zone.
    """
    hour, minute = clock_time
    then = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    if then <= now:
        then += timedelta(days=1)
    # Through the epoch, because clocks may be put forward or back on the way.
    return then.timestamp() - now.timestamp()
