"""The search for a hidden quota, through a studio on virtual time, and what can be hoped for."""

from __future__ import annotations

import heapq
from math import log2
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from helpers import opened
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Seconds each job takes.
JOB_S = 2.0
#: Seconds a submit takes.
LATENCY_S = 0.02


@attrs.frozen(kw_only=True)
class Discovery:
    """What came of one run.

    Attributes:
        refusals: Submits that were refused.
        reached_s: Seconds until as many jobs ran as the quota allows.
        utilisation: Busy slots over slots from then to the end.
        ideal: The same for the greedy ideal.
    """

    quota: int
    jobs: int
    refusals: int
    reached_s: float
    utilisation: float
    ideal: float

    @property
    def allowed_s(self) -> float:
        """Until when the quota has to be reached, by what was asked for."""
        return (log2(self.quota) + 3) * JOB_S + self.quota / submit_rate(self.quota)


def submit_rate(quota: int) -> float:
    """Submits and polls a second that do not stand in the way: twice what the jobs need."""
    return max(2.0, 2 * quota / JOB_S)


def discover(quota: int, *, poll_s: float = JOB_S) -> Discovery:
    """Run ``max(400, 20 · quota)`` jobs at a service that does not tell its quota.

    Args:
        quota: The number to be found.
        poll_s: Seconds between two polls of a job; the first usually finds it done.
    """
    jobs = max(400, 20 * quota)
    rate = submit_rate(quota)
    provider = ScriptedProvider(
        name=f"hidden-{quota}",
        quota=quota,
        latency_s=LATENCY_S,
        default=Script(job_s=JOB_S),
        limits=hg.Limits(submit_rate=rate, poll_interval_s=poll_s),
    )

    async def main() -> None:
        async with opened(provider) as studio:
            async for outcome in studio.map(f"{i}" for i in range(jobs)):
                assert outcome.ok

    run_virtual(main())
    spans = sorted((job.began, job.ends) for job in provider.jobs.values())
    assert len(spans) == jobs
    reached = reached_at(spans, quota)
    return Discovery(
        quota=quota,
        jobs=jobs,
        refusals=len(provider.refusals),
        reached_s=reached,
        utilisation=utilisation(spans, quota, reached),
        ideal=utilisation(greedy(spans, quota, reached), quota, reached),
    )


def reached_at(spans: Sequence[tuple[float, float]], quota: int) -> float:
    """When `quota` of these jobs ran at once for the first time; infinite if never."""
    running: list[float] = []
    for began, ends in spans:
        while running and running[0] <= began:
            heapq.heappop(running)
        heapq.heappush(running, ends)
        if len(running) >= quota:
            return began
    return float("inf")


def utilisation(spans: Sequence[tuple[float, float]], slots: int, since: float) -> float:
    """Busy slots over slots, from `since` to the last end."""
    busy = sum(ends - max(began, since) for began, ends in spans if ends > since)
    return busy / (slots * (max(ends for _, ends in spans) - since))


def greedy(
    spans: Sequence[tuple[float, float]], slots: int, since: float
) -> list[tuple[float, float]]:
    """The same jobs, those that began after `since` put on the slots without any overhead."""
    before = [span for span in spans if span[0] <= since]
    free = sorted(max(since, ends) for _, ends in before)[-slots:]
    free += [since] * (slots - len(free))
    heapq.heapify(free)
    placed = list(before)
    for began, ends in spans[len(before) :]:
        start = heapq.heappop(free)
        heapq.heappush(free, start + ends - began)
        placed.append((start, start + ends - began))
    return placed
