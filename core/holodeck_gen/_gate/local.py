"""The gate of one studio; what it shares with others are its `Seats`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._calls import copied
from holodeck_gen._gate.ceiling import Ceiling, Grant
from holodeck_gen._gate.line import Group, Line, Waiter
from holodeck_gen._gate.meter import Meter
from holodeck_gen._gate.probes import Probes
from holodeck_gen._gate.proven import Memory
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen._model.provider import Limits
from holodeck_gen._seats.own import OwnSeats, Seats

if TYPE_CHECKING:
    from holodeck_gen._gate.beliefs import Running
    from holodeck_gen._gate.gate import Slot
    from holodeck_gen.errors import PausedError

#: Seconds until it is looked again whether others have left a slot: nobody tells.
LOOK_AGAIN_S = 0.25
#: Seconds between two times that what was found out is kept for the next run.
REMEMBER_S = 30.0


@attrs.define(eq=False)
class LocalGate:
    """A gate for one studio."""

    concurrency: Concurrency
    limits: Limits
    seats: Seats = attrs.field(factory=OwnSeats, kw_only=True)
    memory: Memory | None = attrs.field(default=None, kw_only=True)
    #: Whether a submit is tried where a slot is probably free.
    probe: bool = attrs.field(default=False, kw_only=True)
    #: Told of the loop time when something has changed.
    on_change: Callable[[float], object] = attrs.field(default=lambda _now: None, kw_only=True)
    meter: Meter = attrs.field(factory=Meter, init=False)
    held: int = attrs.field(default=0, init=False)
    waiting: int = attrs.field(default=0, init=False)
    _ceiling: Ceiling = attrs.field(init=False)
    _line: Line = attrs.field(factory=Line, init=False)
    _probes: Probes = attrs.field(factory=Probes, init=False)
    _remembered: float = attrs.field(default=float("-inf"), init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        known = self.memory.load() if self.memory else None
        self._ceiling = Ceiling(self.concurrency, self.limits, known)

    @property
    def ceiling(self) -> int:
        return self._ceiling.value

    @property
    def starved_s(self) -> float:
        since = self._ceiling.starved_since
        return 0.0 if since is None else _now() - since

    async def slot(
        self, *, key: str = "", priority: int = 0, group: Group = None, again: bool = False
    ) -> Slot:
        turn: asyncio.Future[Grant] = asyncio.get_running_loop().create_future()
        waiter = Waiter(key=key, turn=turn)
        self._line.push(waiter, priority=priority, group=group, again=again)
        self.waiting += 1
        self._wake()
        try:
            grant = await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                _LocalSlot(self, key, turn.result()).release(clean=False)
            raise
        finally:
            self.waiting -= 1
        return _LocalSlot(self, key, grant)

    def occupy(self, *, key: str = "") -> Slot:
        self.seats.occupy(key)
        self.held += 1
        self._tell()
        return _LocalSlot(self, key, None)

    def dismiss(self, reason: PausedError) -> None:
        for waiter in self._line.clear():
            waiter.turn.set_exception(copied(reason))
        self._set_timer(None)

    def close(self) -> None:
        self._set_timer(None)
        self._remember(_now())

    def _remember(self, now: float) -> None:
        known = self._ceiling.findings(now) if self.memory else None
        if self.memory is not None and known is not None:
            self.memory.save(known)
        self._remembered = now

    def _wake(self) -> None:
        """Something has changed: give away what is free, and tell."""
        self._hand_out()
        self._tell()

    def _tell(self) -> None:
        now = _now()
        self.meter.change(now, taken=self.held, ceiling=self.ceiling, waiting=self.waiting)
        self.on_change(now)

    def _hand_out(self) -> None:
        """Give away what is free; look again when more may be."""
        while (waiter := self._line.peek()) is not None:
            now = _now()
            others = self.seats.others()
            occupied = self.held + others
            allowed = self._ceiling.allowed(now, occupied)
            over = occupied - self._ceiling.levels.limit
            may_probe = self.probe and not others and self._ceiling.may_probe(now, occupied)
            if probe := occupied >= allowed and may_probe and self._probes.due(now, over):
                allowed = occupied + 1
            # Asked also in vain where others are: so they learn that somebody waits.
            full = occupied >= allowed and not others
            if full or not self.seats.take(waiter.key, allowed):
                wake_at = self._ceiling.wake_at(now)
                if others or occupied < allowed:
                    wake_at = min(wake_at or now + LOOK_AGAIN_S, now + LOOK_AGAIN_S)
                if may_probe and (probe_at := self._probes.next_at(over)) is not None:
                    wake_at = min(wake_at or probe_at, probe_at)
                self._set_timer(wake_at)
                return
            self._line.pop()
            self.held += 1
            if probe:
                self._probes.tried()
            waiter.turn.set_result(self._ceiling.grant(now, occupied, probe=probe))
        self._probes.rest()
        self._set_timer(None)

    def _set_timer(self, at: float | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_at(at, self._wake)

    def _give_back(self, key: str, *, ended: bool = False) -> None:
        self.held -= 1
        self.seats.leave(key, ended=ended)


@attrs.define(eq=False)
class _LocalSlot:
    gate: LocalGate
    key: str
    #: None where the job ran before this studio did.
    grant: Grant | None
    _open: bool = attrs.field(default=True, init=False)

    @property
    def probe(self) -> bool:
        return self.grant is not None and self.grant.probe

    @contextmanager
    def watched(self, job: Running) -> Iterator[None]:
        running = self.gate._probes.running
        running.jobs.append(job)
        if self.gate.probe:
            self.gate._hand_out()
        try:
            yield
        finally:
            running.leave(job, _now())

    def sending(self) -> None:
        self.gate.seats.sending(self.key)
        if self.grant is not None:
            occupied = self.gate.held + self.gate.seats.others()
            self.gate._ceiling.sending(_now(), self.grant, occupied)

    def accepted(self) -> None:
        if self.grant is not None:
            self._learn(self.grant, accepted=True)
            self.gate._ceiling.accepted(_now(), self.grant)
            self.gate._wake()

    def refused(self, *, retry_after_s: float | None = None) -> float:
        wait_s = retry_after_s or 0.0
        if self._open:
            self._open = False
            self.gate.meter.refusals += not self.probe
            self.gate._give_back(self.key)
            if self.grant is not None:
                self._learn(self.grant, accepted=False)
                wait_s = self.gate._ceiling.refused(_now(), self.grant, retry_after_s)
            self.gate._wake()
        return wait_s

    def _learn(self, grant: Grant, *, accepted: bool) -> None:
        """An answer to a probe tells how many of the jobs that hold slots have ended."""
        ended = grant.level - 1 - self.gate._ceiling.levels.limit
        if grant.probe and ended >= 0 and self.gate._ceiling.certain(grant):
            self.gate._probes.answered(grant.at, ended + accepted)

    def keep(self, at_most_s: float) -> None:
        self.gate.seats.keep(self.key, at_most_s)

    def abandon(self) -> float:
        if not self._open:
            return 0.0
        self._open = False
        if self.grant is not None:
            self.gate._ceiling.unanswered(self.grant)
        self.gate.held -= 1
        kept_s = self.gate.seats.abandon(self.key)
        self.gate._wake()
        return kept_s

    def release(self, *, clean: bool) -> None:
        if self._open:
            self._open = False
            ceiling = self.gate._ceiling
            if self.grant is not None:
                ceiling.unanswered(self.grant)
            if clean:
                ceiling.ended(_now())
                if _now() - self.gate._remembered >= REMEMBER_S:
                    self.gate._remember(_now())
            self.gate._give_back(self.key, ended=clean)
            self.gate._wake()


def _now() -> float:
    return asyncio.get_running_loop().time()
