"""Who waits for a place, and whose turn is next."""

from __future__ import annotations

import asyncio
import heapq
from collections import OrderedDict, deque
from typing import TYPE_CHECKING, TypeAlias

import attrs

from holodeck_gen._gate.ceiling import Grant

if TYPE_CHECKING:
    from collections.abc import Iterator

#: Groups whose last turn is remembered; one that is forgotten counts as new.
KNOWN_GROUPS = 4096

Group: TypeAlias = str | None


@attrs.frozen(kw_only=True, eq=False)
class Waiter:
    """One who waits.

    Attributes:
        key: Whose place it will be.
        turn: Its result is set when the turn has come; who is done no longer waits.
    """

    key: str
    turn: asyncio.Future[Grant]


@attrs.define(eq=False)
class _Level:
    """Those of one priority."""

    #: Had a turn and lost the place again.
    again: deque[Waiter] = attrs.field(factory=deque, init=False)
    groups: dict[Group, deque[Waiter]] = attrs.field(factory=dict, init=False)
    #: The groups that wait: when each had its last turn, then when it came.
    order: list[tuple[int, int, Group]] = attrs.field(factory=list, init=False)


@attrs.define(eq=False)
class Line:
    """Higher priorities first; of equal ones each group in turn; within a group in order."""

    _levels: dict[int, _Level] = attrs.field(factory=dict, init=False)
    _priorities: list[int] = attrs.field(factory=list, init=False)
    _served: OrderedDict[Group, int] = attrs.field(factory=OrderedDict, init=False)
    _sequence: int = attrs.field(default=0, init=False)

    def push(
        self, waiter: Waiter, *, priority: int = 0, group: Group = None, again: bool = False
    ) -> None:
        """Let `waiter` wait; with `again` before all of its priority who had no turn yet."""
        level = self._levels.get(priority)
        if level is None:
            level = self._levels[priority] = _Level()
            heapq.heappush(self._priorities, -priority)
        if again:
            level.again.append(waiter)
            return
        if group not in level.groups:
            level.groups[group] = deque()
            self._enter(level, group)
        level.groups[group].append(waiter)

    def peek(self) -> Waiter | None:
        """The next one who still waits; None where nobody does."""
        while self._priorities:
            level = self._levels[-self._priorities[0]]
            while (waiter := _first(level)) is not None:
                if not waiter.turn.done():
                    return waiter
                self._drop(level, served=False)
            del self._levels[-heapq.heappop(self._priorities)]
        return None

    def pop(self) -> None:
        """Remove the one that `peek` returned."""
        self._drop(self._levels[-self._priorities[0]], served=True)

    def clear(self) -> Iterator[Waiter]:
        """Remove all; yields those who still wait."""
        while (waiter := self.peek()) is not None:
            self.pop()
            yield waiter

    def _drop(self, level: _Level, *, served: bool) -> None:
        if level.again:
            level.again.popleft()
            return
        group = heapq.heappop(level.order)[2]
        level.groups[group].popleft()
        if served:
            self._sequence += 1
            self._served[group] = self._sequence
            self._served.move_to_end(group)
            if len(self._served) > KNOWN_GROUPS:
                self._served.popitem(last=False)
        if level.groups[group]:
            self._enter(level, group)
        else:
            del level.groups[group]

    def _enter(self, level: _Level, group: Group) -> None:
        self._sequence += 1
        heapq.heappush(level.order, (self._served.get(group, 0), self._sequence, group))


def _first(level: _Level) -> Waiter | None:
    if level.again:
        return level.again[0]
    return level.groups[level.order[0][2]][0] if level.order else None
