"""Through an hour of changes the slots stay in use, and refusals are rare."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

import holodeck_gen as hg
from helpers import opened
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from hours import HOUR_S, Hour, Service, an_hour

if TYPE_CHECKING:
    from collections.abc import Callable

#: Seconds of the first and the second change.
FIRST_S, SECOND_S = 1200.0, 2400.0


def lowered(now: float) -> int:
    return 8 if now < FIRST_S else 4


def raised(now: float) -> int:
    return 4 if now < FIRST_S else 8


def lowered_and_raised(now: float) -> int:
    return 4 if FIRST_S < now < SECOND_S else 8


def lowered_and_raised_by_many(now: float) -> int:
    return 32 if FIRST_S < now < SECOND_S else 64


def check(hour: Hour) -> None:
    assert hour.utilisation >= 0.85
    assert hour.refused <= 0.05


@pytest.mark.parametrize("quota", [lowered, raised, lowered_and_raised, lowered_and_raised_by_many])
def test_a_quota_that_changes(quota: Callable[[float], int]) -> None:
    check(an_hour(Service(quota=quota)))


def test_a_number_that_is_larger_than_the_quota() -> None:
    check(an_hour(Service(quota=lambda _now: 4), concurrency="8"))


@pytest.mark.parametrize("concurrency", ["auto", "8"])
def test_slots_that_are_freed_late(concurrency: str) -> None:
    check(an_hour(Service(quota=lambda _now: 8, lag_s=30.0), concurrency=concurrency))


@pytest.mark.parametrize("always", [True, False])
def test_another_client_takes_half_of_the_slots(always: bool) -> None:
    async def client(service: Service) -> None:
        clock = asyncio.get_running_loop().time

        async def worker() -> None:
            while clock() < HOUR_S:
                # It is away every other ten minutes.
                if (always or clock() % FIRST_S > FIRST_S / 2) and not service.full(clock()):
                    await asyncio.sleep(service.foreign(clock()) - clock() + 0.2)
                else:
                    await asyncio.sleep(1.0)

        async with asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(worker())

    check(an_hour(Service(quota=lambda _now: 8), foreign=client))


@pytest.mark.parametrize(("every_s", "for_s"), [(600.0, 60.0), (900.0, 120.0)])
def test_storms_in_which_everything_is_refused(every_s: float, for_s: float) -> None:
    def storm(now: float) -> bool:
        return every_s / 2 < now % every_s <= every_s / 2 + for_s

    check(an_hour(Service(quota=lambda _now: 8, storm=storm), closed=storm))


def test_the_same_through_a_studio() -> None:
    job_s = 40.0
    provider = ScriptedProvider(
        quota=lowered_and_raised,
        latency_s=0.2,
        default=Script(job_s=job_s),
        limits=hg.Limits(poll_interval_s=job_s),
    )

    async def main() -> None:
        async with opened(provider) as studio:
            clock = asyncio.get_running_loop().time
            async for _ in studio.map(f"{i}" for i in range(900)):
                if clock() > HOUR_S:
                    break

    run_virtual(main())
    used = sum(min(job.ends, HOUR_S) - job.began for job in provider.jobs.values())
    available = sum(lowered_and_raised(second) for second in range(int(HOUR_S)))
    check(
        Hour(utilisation=used / available, refused=len(provider.refusals) / len(provider.submits))
    )
