"""An hour of work through a gate, against a service that is no more than a count of its jobs."""

from __future__ import annotations

import asyncio
import heapq
import random
from collections.abc import Callable, Coroutine
from math import log
from typing import Any

import attrs

import holodeck_gen as hg
from holodeck_gen._gate.local import LocalGate
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen.testing import run_virtual

HOUR_S = 3600.0
#: Seconds a job takes, on average; lognormal.
JOB_S, SPREAD = 20.0, 0.25
#: Seconds a submit takes, seconds until a job's end is noticed at most, submits a second.
LATENCY_S, UNNOTICED_S, RATE = 0.2, 0.3, 20.0


@attrs.define(kw_only=True)
class Service:
    """Counts jobs, as long as each counts, and refuses what is too much.

    Attributes:
        quota: Jobs at once, by time.
        lag_s: Seconds for which an ended job still counts.
        storm: Whether everything is refused, by time.
        others: Jobs of other clients that run; one of them is a coroutine of the test.
    """

    quota: Callable[[float], int]
    lag_s: float = 0.0
    storm: Callable[[float], bool] = attrs.field(default=lambda _now: False)
    rng: random.Random = attrs.field(factory=lambda: random.Random(1))
    spans: list[tuple[float, float]] = attrs.field(factory=list)
    foreign_spans: list[tuple[float, float]] = attrs.field(factory=list)
    submits: int = 0
    refusals: int = 0
    _counted: list[float] = attrs.field(factory=list)

    def full(self, now: float) -> bool:
        """Whether a submit would be refused."""
        while self._counted and self._counted[0] <= now:
            heapq.heappop(self._counted)
        return self.storm(now) or len(self._counted) >= self.quota(now)

    def submit(self, now: float) -> float | None:
        """When the job will end; None where it is refused."""
        self.submits += 1
        if self.full(now):
            self.refusals += 1
            return None
        return self._begin(now, self.spans)

    def foreign(self, now: float) -> float:
        """Begin a job of another client; returns its end."""
        return self._begin(now, self.foreign_spans)

    def used(self, seconds: float) -> float:
        """Slot-seconds of our jobs in the first `seconds`."""
        return _within(self.spans, seconds)

    def _begin(self, now: float, spans: list[tuple[float, float]]) -> float:
        end = now + self.rng.lognormvariate(log(JOB_S) - SPREAD**2 / 2, SPREAD)
        heapq.heappush(self._counted, end + self.lag_s)
        spans.append((now, end))
        return end


@attrs.frozen(kw_only=True)
class Hour:
    """What came of it.

    Attributes:
        utilisation: Of the slots that the service had for us.
        refused: The share of submits that were refused.
    """

    utilisation: float
    refused: float


def an_hour(
    service: Service,
    *,
    concurrency: str = "auto",
    foreign: Callable[[Service], Coroutine[Any, Any, None]] | None = None,
    closed: Callable[[float], bool] = lambda _now: False,
) -> Hour:
    """Work for an hour.

    Args:
        service: The service.
        concurrency: The user's choice.
        foreign: Another client.
        closed: When the service takes nothing from anybody.
    """

    async def main() -> None:
        gate = LocalGate(Concurrency.parse(concurrency), hg.Limits())
        clock = asyncio.get_running_loop().time
        leave = 0.0

        async def worker() -> None:
            nonlocal leave
            again = False
            while True:
                slot = await gate.slot(again=again)
                leave = max(clock(), leave + 1 / RATE)
                await asyncio.sleep(leave - clock() + LATENCY_S / 2)
                slot.sending()
                end = service.submit(clock())
                await asyncio.sleep(LATENCY_S / 2)
                if again := end is None:
                    slot.refused()
                    continue
                slot.accepted()
                assert end is not None
                unnoticed = service.rng.random() * UNNOTICED_S
                await asyncio.sleep(max(0.0, end - clock()) + unnoticed)
                slot.release(clean=True)

        running = [asyncio.ensure_future(worker()) for _ in range(80)]
        if foreign is not None:
            running.append(asyncio.ensure_future(foreign(service)))
        await asyncio.sleep(HOUR_S)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    run_virtual(main())
    seconds = [second for second in range(int(HOUR_S)) if not closed(second)]
    available = float(sum(service.quota(second) for second in seconds))
    available -= _within(service.foreign_spans, HOUR_S)
    if service.lag_s:
        # Nobody can use a slot while it counts for a job that has ended.
        available *= JOB_S / (JOB_S + service.lag_s)
    return Hour(
        utilisation=service.used(HOUR_S) / available,
        refused=service.refusals / service.submits,
    )


def _within(spans: list[tuple[float, float]], seconds: float) -> float:
    return sum(min(end, seconds) - begin for begin, end in spans if begin < seconds)
