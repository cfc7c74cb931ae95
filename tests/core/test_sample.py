"""Live figures: as a studio tells them."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen.events import SlotsSampled
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual


def sampled(
    provider: ScriptedProvider, tasks: int, *, concurrency: int | str
) -> tuple[list[SlotsSampled], list[SlotsSampled], float]:
    """What the observers of a run were told, what `slots` said at its end, and how long it took."""
    told: list[SlotsSampled] = []

    def observe(event: object) -> None:
        if isinstance(event, SlotsSampled):
            told.append(event)

    async def main() -> tuple[list[SlotsSampled], float]:
        async with opened(provider, concurrency=concurrency, on_event=observe) as studio:
            assert all(o.ok for o in await collect(studio.map([str(i) for i in range(tasks)])))
            return studio.slots(), asyncio.get_running_loop().time()

    last, seconds = run_virtual(main())
    return told, last, seconds


def test_slot_seconds_are_those_of_the_jobs() -> None:
    provider = ScriptedProvider(
        default=Script(job_s=20.0), limits=hg.Limits(max_jobs=4, poll_interval_s=5.0)
    )
    _, (last,), seconds = sampled(provider, 8, concurrency=4)
    assert (last.account, last.quota) == ("scripted:test", "image")
    assert (last.taken, last.ceiling, last.waiting, last.refusals) == (0, 4, 0, 0)
    assert last.allowed_s == pytest.approx(4 * seconds, rel=0.01)
    # A job counts until it is seen to have ended.
    assert 8 * 20 <= last.taken_s <= last.allowed_s
    assert last.busy == last.taken_s / last.allowed_s


def test_refusals_are_counted() -> None:
    provider = ScriptedProvider(default=Script(job_s=20.0), quota=2)
    _, (last,), _ = sampled(provider, 10, concurrency="4-4")
    assert last.refusals == len(provider.refusals) > 0
    assert last.ceiling == 2


def test_samples_come_at_most_once_a_second_and_at_the_end() -> None:
    provider = ScriptedProvider(default=Script(job_s=0.2), limits=hg.Limits(max_jobs=4))
    told, (last,), seconds = sampled(provider, 200, concurrency=4)
    assert 5 < len(told) <= seconds + 2
    assert all(a.taken_s <= b.taken_s for a, b in pairwise(told))
    assert told[-1] == last
    busy = told[1:-1]
    # Some 200 jobs in so many seconds, each with a submit.
    assert sum(each.submit_rate for each in busy) / len(busy) == pytest.approx(
        200 / seconds, rel=0.2
    )
    assert all(each.poll_rate >= 0.9 * each.submit_rate for each in busy)
