"""What holds whatever the provider does and wherever the caller leaves."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import attrs
from hypothesis import given, settings
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import drain, opened
from holodeck_gen.errors import PausedError, TaskError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from strategies import scripts

if TYPE_CHECKING:
    from collections.abc import Iterator

# Every job ends before it would be overdue: a slot is kept for an overdue job only so long.
LIMITS = hg.Limits(
    max_jobs=2,
    submit_rate=0.5,
    poll_rate=4.0,
    poll_interval_s=3.0,
    request_timeout_s=20.0,
    job_timeout_s=100.0,
)


class LeftError(Exception):
    """The consumer's own."""


def provider_of(given: list[Script], **facts: object) -> tuple[ScriptedProvider, list[hg.Task]]:
    tasks = [hg.Task(f"task {i}", n=1 + i % 3 // 2) for i in range(len(given))]
    provider = ScriptedProvider(
        limits=LIMITS,
        scripts={task.prompt: script for task, script in zip(tasks, given, strict=True)},
        late_s=30.0,
        **facts,  # type: ignore[arg-type]
    )
    return provider, tasks


def check_provider(provider: ScriptedProvider) -> None:
    assert provider.most_at_once <= 2
    assert all(b - a >= 2.0 - 1e-6 for a, b in pairwise(provider.submits))
    assert all(count == 1 for count in provider.created.values()), "paid twice"


@given(st.lists(scripts, max_size=8), st.booleans(), st.booleans())
def test_consumed_to_the_end(given: list[Script], ordered: bool, direct: bool) -> None:
    async def main() -> None:
        provider, tasks = provider_of(given, direct=direct)
        pulled = 0

        def lazily() -> Iterator[hg.Task]:
            nonlocal pulled
            for task in tasks:
                pulled += 1
                yield task

        outcomes: list[hg.Outcome] = []
        paused = False
        async with opened(provider) as studio:
            try:
                await drain(studio.map(lazily(), ordered=ordered), outcomes)
            except PausedError:
                paused = True
        check_provider(provider)
        indices = [outcome.index for outcome in outcomes]
        assert sorted(indices) == list(range(len(indices))), "one outcome for each task begun"
        assert paused or len(indices) == pulled == len(tasks)
        assert not ordered or indices == sorted(indices)
        for outcome in outcomes:
            if isinstance(outcome, hg.Result):
                assert len(outcome.artifacts) == outcome.task.n
            elif outcome.state == "failed" and isinstance(outcome.error, TaskError):
                assert outcome.error.task_id == outcome.key
        assert provider.closed is False, "a ready provider is its owner's to close"

    run_virtual(main())


LEAVES = ("break", "raise", "stop", "cancel", "exit")


@given(
    st.lists(scripts, min_size=1, max_size=8),
    st.sampled_from(LEAVES),
    st.integers(0, 3),
    st.floats(0, 60),
)
def test_left_early(given: list[Script], how: str, after: int, at: float) -> None:
    async def consume(studio: hg.AsyncStudio, tasks: list[hg.Task]) -> None:
        seen = 0
        outcomes = studio.map(tasks)
        try:
            async for _ in outcomes:
                seen += 1
                if seen > after and how == "break":
                    break
                if seen > after and how == "raise":
                    raise LeftError
        finally:
            await outcomes.aclose()

    async def main() -> None:
        provider, tasks = provider_of(given)
        with suppress(PausedError, LeftError):
            async with opened(provider) as studio:
                if how == "cancel":
                    handles = [studio.submit(task) for task in tasks]
                    await asyncio.sleep(at)
                    await handles[after % len(handles)].cancel()
                    states = [handle.status() for handle in handles]
                    assert states[after % len(handles)] not in ("waiting", "running")
                elif how in ("stop", "exit"):
                    run = asyncio.ensure_future(consume(studio, tasks))
                    await asyncio.sleep(at)
                    if how == "stop":
                        await studio.stop()
                    else:
                        run.cancel()
                    with suppress(asyncio.CancelledError):
                        await run
                else:
                    await consume(studio, tasks)
        sent = len(provider.submits)
        await asyncio.sleep(1000)
        assert len(provider.submits) == sent, "submitted after the studio was closed"
        check_provider(provider)

    run_virtual(main())


@given(st.lists(scripts, max_size=6), st.integers(1, 3))
def test_a_quota_below_the_documented_one_is_found(given: list[Script], quota: int) -> None:
    async def main() -> None:
        provider, tasks = provider_of(given, quota=quota)
        async with opened(provider) as studio:
            outcomes = await studio.generate_all(tasks)
        assert len(outcomes) == len(tasks)
        assert provider.most_at_once <= quota
        check_provider(provider)

    run_virtual(main())


@given(st.lists(scripts, max_size=6))
def test_a_free_provider_loses_nothing_to_lost_answers(given: list[Script]) -> None:
    async def main() -> None:
        provider, tasks = provider_of(given, billing="free")
        async with opened(provider) as studio:
            outcomes = await studio.generate_all(tasks)
        assert len(outcomes) == len(tasks)
        assert all(b - a >= 2.0 - 1e-6 for a, b in pairwise(provider.submits))

    run_virtual(main())


@settings(max_examples=25)
@given(
    st.lists(scripts, min_size=1, max_size=8),
    st.lists(
        st.tuples(st.integers(0, 7), st.sampled_from([0.0, 0.5, 3.0, 21.0]) | st.floats(0, 60))
    ),
    st.integers(1, 3),
)
def test_whoever_is_cancelled_keeps_nobody_else(
    given: list[Script], cancelled: list[tuple[int, float]], quota: int
) -> None:
    """Two accounts and a budget: each of their waits is left in the middle."""

    async def main() -> None:
        price = hg.Cost(amount=1, currency="CNY")
        provider, tasks = provider_of(given, quota=quota, price=price)
        pool = [provider, attrs.evolve(provider, account="other")]
        async with opened(pool, budget="100 CNY") as studio:
            handles = [studio.submit(task) for task in tasks]

            async def cancel(number: int, at: float) -> None:
                await asyncio.sleep(at)
                await handles[number % len(handles)].cancel()

            async with asyncio.timeout(7200.0), asyncio.TaskGroup() as group:
                for number, at in cancelled:
                    group.create_task(cancel(number, at))
                for handle in handles:
                    group.create_task(handle.outcome())
            # What is left to jobs that nobody waits for is free by then.
            await asyncio.sleep(3 * LIMITS.job_timeout_s)
            assert all(each.taken == each.waiting == 0 for each in studio.slots())
            assert not studio.describe().spending.in_flight
        for each in pool:
            assert each.most_at_once <= quota
            check_provider(each)

    run_virtual(main())
