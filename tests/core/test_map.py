"""What feeds a run, apart from what the engine makes of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs

import holodeck_gen as hg
from helpers import collect, opened
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator


@attrs.define
class Twice:
    """Makes two of each, and remembers where."""

    threads: set[threading.Thread] = attrs.field(factory=set)

    def expand(self, task: hg.Task) -> Iterator[hg.Task]:
        self.threads.add(threading.current_thread())
        yield from (attrs.evolve(task, prompt=f"{task.prompt} {i}") for i in range(2))


def test_an_expander_that_thinks_does_not_hold_up_the_loop() -> None:
    twice = Twice()

    async def main() -> list[hg.Outcome]:
        async with opened(ScriptedProvider(), expand=[twice]) as studio:
            return await collect(studio.map(["a", "b"], ordered=True))

    outcomes = run_virtual(main())
    assert [each.task.prompt for each in outcomes] == ["a 0", "a 1", "b 0", "b 1"]
    assert threading.current_thread() not in twice.threads


def test_all_slots_that_are_found_are_used_before_the_first_job_ends() -> None:
    """More tasks are let in as the ceiling grows, also above what the window holds at first."""
    provider = ScriptedProvider(
        limits=hg.Limits(max_jobs=1, max_jobs_enforced=True),
        default=Script(job_s=500.0),
        quota=200,
        latency_s=0.1,
    )

    async def main() -> None:
        async with opened(provider, request_timeout_s=20.0, job_timeout_s=5000.0) as studio:
            await collect(studio.map([f"picture {i}" for i in range(250)]))

    run_virtual(main())
    first_end = min(job.ends for job in provider.jobs.values())
    assert sum(1 for job in provider.jobs.values() if job.began < first_end) == 200
