"""The requests of an account, as all studios of all processes of one user send them.

A provider that counts requests a second counts those of an account, so each request that leaves
is written down in the account's file, in the transaction that lets it leave. Who sends nothing
takes nothing from the others.
"""

from __future__ import annotations

import asyncio
from array import array
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import attrs

from holodeck_gen._model.provider import Action
from holodeck_gen._pacing.lane import Lane
from holodeck_gen._seats.file import SeatFile

if TYPE_CHECKING:
    import sqlite3

T = TypeVar("T")

#: Seconds by which the clocks of two loops may differ. The clock begins anew with the machine:
#: what is later than now was written before, and says nothing any more.
SKEW_S = 1.0

_LOAD = """
    SELECT seen, token, departure, closed_until, cut_at, cut_to, doubling_s, lowest, lowest_at, sent
    FROM lanes WHERE action = ?
"""
_SAVE = "INSERT OR REPLACE INTO lanes VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


@attrs.define(kw_only=True, eq=False)
class SharedBook:
    """Keeps the lane of one action in an account's file. Belongs to one thread.

    Attributes:
        lane: As it was last seen; where the file is gone, this studio's own from then on.
    """

    file: SeatFile
    action: Action
    lane: Lane = attrs.field(factory=Lane, init=False)
    #: What could not be written yet.
    _owed: list[Callable[[Lane], object]] = attrs.field(factory=list, init=False)

    def change(self, step: Callable[[Lane], T]) -> T | None:
        answer = self.file.write(lambda connection: self._change(connection, step))
        if answer is None and self.file.gone:
            return self._steps(step)
        return answer

    def note(self, step: Callable[[Lane], object]) -> None:
        self._owed.append(step)
        self.change(lambda _lane: True)

    def _change(self, connection: sqlite3.Connection, step: Callable[[Lane], T]) -> T:
        # Loop time is the system's monotonic clock, the same one for all of its processes.
        clock = asyncio.get_running_loop().time
        row = connection.execute(_LOAD, (self.action,)).fetchone()
        if row is not None and row[0] <= clock() + SKEW_S:
            self.lane = _lane(row)
        answer = self._steps(step)
        connection.execute(_SAVE, (self.action, clock(), *_row(self.lane)))
        return answer

    def _steps(self, step: Callable[[Lane], T]) -> T:
        for owed in self._owed:
            owed(self.lane)
        self._owed.clear()
        return step(self.lane)


def _lane(row: tuple[float, ...]) -> Lane:
    _, token, departure, closed_until, cut_at, cut_to, doubling_s, lowest, lowest_at, sent = row
    times = array("d")
    times.frombytes(sent)  # type: ignore[arg-type]
    return Lane(
        token=token,
        departure=departure,
        closed_until=closed_until,
        cut_at=cut_at,
        cut_to=cut_to,
        doubling_s=doubling_s,
        lowest=lowest,
        lowest_at=lowest_at,
        sent=deque(times),
    )


def _row(lane: Lane) -> tuple[object, ...]:
    return (
        lane.token,
        lane.departure,
        lane.closed_until,
        lane.cut_at,
        lane.cut_to,
        lane.doubling_s,
        lane.lowest,
        lane.lowest_at,
        array("d", lane.sent).tobytes(),
    )
