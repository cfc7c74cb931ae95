"""Who is polled next: what jobs of one account share.

`Timetable` learns how long jobs take and plans their polls; `PollDesk` gives the polls that the
rate allows to the jobs that are worth them.
"""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._pacing.durations import Durations
from holodeck_gen._pacing.pace import Pace
from holodeck_gen._pacing.poll_plan import IDLE, RATIO, Plan, Wish, plan

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

#: Before anything is known, a job takes about so many of the provider's poll intervals.
INTERVALS = 4.0


@attrs.define(eq=False)
class Timetable:
    """When jobs of one sort are asked after.

    Args:
        poll_interval_s: The provider's; where the first guess comes from.
    """

    poll_interval_s: float
    durations: Durations = attrs.field(init=False)
    _plan: Plan | None = attrs.field(default=None, init=False)
    _resting: set[asyncio.Timeout] = attrs.field(factory=set, init=False)

    def __attrs_post_init__(self) -> None:
        self.durations = Durations(INTERVALS * self.poll_interval_s)

    @property
    def plan(self) -> Plan:
        """Made of what is known now."""
        if self.durations.stale:
            self.durations.learn()
            self._plan = None
        if self._plan is None:
            self._plan = plan(self.durations.spread)
        return self._plan

    def still(self, age: float) -> None:
        """A job was found running at `age` seconds."""
        known = self.durations.spread
        self.durations.still(age)
        if self.durations.spread is not known:
            self._plan = None

    def ended(self, running: float, ended: float) -> None:
        """A job ended between two ages in seconds, or, with infinity, was given up."""
        self.durations.observe(running, ended)
        if self.durations.stale:
            for alarm in self._resting:
                if not alarm.expired():
                    alarm.reschedule(-math.inf)

    async def rest(self, wait: Awaitable[bool]) -> bool:
        """Wait for `wait`; False if meanwhile so much is learnt that a job may be due sooner."""
        alarm = asyncio.timeout(None)
        self._resting.add(alarm)
        try:
            async with alarm:
                return await wait
        except TimeoutError:
            if not alarm.expired():
                raise
            return False
        finally:
            self._resting.discard(alarm)


@attrs.define(eq=False)
class PollDesk:
    """Gives each poll that the rate allows to the job that is worth most.

    However many jobs are due, one of them waits for the pace, on behalf of all: a limiter with a
    thousand waiters is slow, and takes them in the order of their coming.

    Attributes:
        jobs: How many are asked after now and then.
    """

    pace: Pace
    jobs: int = attrs.field(default=0, init=False)
    _waiting: list[_Entry] = attrs.field(factory=list, init=False)
    _leader: _Entry | None = attrs.field(default=None, init=False)

    @contextmanager
    def job(self) -> Iterator[None]:
        """Count one more job."""
        self.jobs += 1
        try:
            yield
        finally:
            self.jobs -= 1

    def price(self, timetable: Timetable) -> float:
        """What a query must be worth, as a logarithm; see `Wish`."""
        # Who takes a query puts off all others by an interval, and of their slots about this
        # share is idle.
        interval = 1 / self.pace.rate if self.pace.rate else 0.0
        return math.log(timetable.plan.price + IDLE * interval * self.jobs, RATIO)

    async def turn(self, wish: Wish | None) -> None:
        """Wait for the turn to poll.

        Args:
            wish: Of the job; None is urgent.
        """
        entry = _Entry(wish, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            if self._leader is None:
                self._leader = entry
            else:
                await entry.call
            if self._leader is entry:
                await self._lead(entry)
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
            if self._leader is entry:
                self._leader = next((e for e in self._waiting if not e.call.done()), None)
                if self._leader is not None:
                    self._leader.call.set_result(None)

    async def _lead(self, leader: _Entry) -> None:
        """Give the turns to the others, until it is the leader's own."""
        clock = asyncio.get_running_loop().time
        while leader in self._waiting:
            await self.pace.token()
            now = clock()
            # Those who were cancelled are still there until they have noticed.
            present = (e for e in self._waiting if e is leader or not e.call.done())
            best = max(present, key=lambda entry: entry.worth(now))
            self._waiting.remove(best)
            if best is not leader:
                best.call.set_result(None)


@attrs.define(eq=False)
class _Entry:
    wish: Wish | None
    #: Set when it is this one's turn, or its turn to lead.
    call: asyncio.Future[None]

    def worth(self, now: float) -> float:
        return math.inf if self.wish is None else self.wish.worth(now)
