"""Planned polls through the engine, on virtual time."""

from __future__ import annotations

import itertools
import random
from typing import Any

import pytest

import holodeck_gen as hg
from benchmarks import optimum
from benchmarks.optimum import Frontier, best_policies, greedy, median_of
from helpers import collect, failure_of, opened
from holodeck_gen.errors import JobTimeoutError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

MEAN_S = 40.0


def run(provider: ScriptedProvider, count: int, **arguments: Any) -> list[hg.Outcome]:
    async def main() -> list[hg.Outcome]:
        async with opened(provider, **arguments) as studio:
            return await collect(studio.map(str(i) for i in range(count)))

    return run_virtual(main())


def provider_of(
    seconds: list[float], slots: int, rate: float | None, *, interval_s: float = 5.0
) -> ScriptedProvider:
    return ScriptedProvider(
        scripts={str(i): Script(job_s=each) for i, each in enumerate(seconds)},
        limits=hg.Limits(max_jobs=slots, poll_rate=rate, poll_interval_s=interval_s),
    )


def lognormal(count: int, sigma: float) -> list[float]:
    chance = random.Random(11)
    median = median_of(MEAN_S, sigma)
    return [median * chance.lognormvariate(0, sigma) for _ in range(count)]


def figures(provider: ScriptedProvider, slots: int) -> tuple[list[float], float, float, float]:
    """Job times in the order of the submits; utilization, queries for each, makespan."""
    jobs = list(provider.jobs.values())
    seconds = [job.ends - job.began for job in jobs]
    makespan = max(job.ends for job in jobs) - jobs[0].began
    queries = len(provider.polls) / len(jobs)
    return seconds, sum(seconds) / (slots * makespan), queries, makespan


class TestUtilization:
    @pytest.mark.parametrize(
        ("slots", "rate", "sigma", "count"),
        [
            (1, 1.0, 0.25, 60),
            (8, 1.0, 0.1, 240),
            (8, 1.0, 0.5, 240),
            (32, 2.0, 0.25, 480),
        ],
    )
    def test_it_comes_near_the_optimum(
        self, slots: int, rate: float, sigma: float, count: int
    ) -> None:
        """The durations are learnt on the way."""
        provider = provider_of(lognormal(count, sigma), slots, rate)
        assert all(outcome.ok for outcome in run(provider, count, concurrency=slots))
        seconds, busy, queries, makespan = figures(provider, slots)
        times = optimum.lognormal(median_of(MEAN_S, sigma), sigma)
        best = Frontier(seconds, slots, best_policies(times))
        assert busy >= 0.96 * best.utilization(rate * makespan / count)
        assert queries <= 1.35 * best.queries(busy)

    @pytest.mark.parametrize("slots", [1, 8])
    def test_equal_times_are_found_with_few_queries(self, slots: int) -> None:
        provider = provider_of([44.0] * 40 * slots, slots, 1.0)
        run(provider, 40 * slots, concurrency=slots)
        seconds, busy, queries, _ = figures(provider, slots)
        assert busy >= 0.98 * greedy(seconds, slots)
        assert queries <= 3
        learnt = [job.polls for job in provider.jobs.values()][20 * slots :]
        assert sum(learnt) <= 1.5 * len(learnt)

    @pytest.mark.parametrize(("slots", "most"), [(1, 0.09), (8, 0.012)])
    def test_before_anything_is_known_the_first_end_is_found_soon(
        self, slots: int, most: float
    ) -> None:
        """All jobs that come later wait for what it tells. One time may be met by chance."""
        late = []
        for seconds in (24.0, 27.0, 31.0, 35.0, 40.0, 46.0, 52.0, 59.0):
            provider = provider_of([seconds] * (slots + 1), slots, 1.0, interval_s=20.0)
            run(provider, slots + 1, concurrency=slots)
            late.append(list(provider.jobs.values())[slots].began / seconds - 1)
        assert sum(late) / len(late) < most

    def test_where_queries_are_scarce_none_is_wasted(self) -> None:
        """More slots than the polls can ever empty."""
        provider = provider_of(lognormal(480, 0.1), 32, 0.5)
        run(provider, 480, concurrency=32)
        _, busy, queries, makespan = figures(provider, 32)
        # Until the first job ends, nothing can be found.
        steady = makespan / (makespan - MEAN_S)
        assert busy * steady >= 0.97 * 0.5 * MEAN_S / 32
        assert queries < 1.1
        assert all(b - a > 2 - 1e-6 for a, b in itertools.pairwise(sorted(provider.polls)))

    def test_two_kinds_of_requests_are_learnt_apart(self) -> None:
        """They alternate; together they would be polled twice each."""
        seconds = [20.0 if i % 2 else 60.0 for i in range(120)]

        class Telling(ScriptedProvider):
            def duration_key(self, request: hg.JsonObject) -> str:
                return "odd" if int(request["prompt"]) % 2 else "even"

        counts = []
        for kind in (Telling, ScriptedProvider):
            made = provider_of(seconds, 4, None)
            provider = kind(scripts=made.scripts, limits=made.limits)
            run(provider, 120, concurrency=4)
            _, busy, queries, _ = figures(provider, 4)
            assert busy > 0.95
            counts.append(queries)
        assert counts[0] < 0.9 * counts[1]


class TestWaiting:
    def test_a_broken_duration_key_ends_nothing(self) -> None:
        class Broken(ScriptedProvider):
            def duration_key(self, request: hg.JsonObject) -> str:
                raise ValueError("no")

        assert run(Broken(), 1)[0].ok

    def test_a_hint_of_the_provider_is_the_least_wait(self) -> None:
        class Hinting(ScriptedProvider):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                status = await super().poll(job)
                if status.final:
                    return status
                return hg.JobStatus(phase="running", retry_hint_s=25.0)

        provider = Hinting(default=Script(job_s=100.0), limits=hg.Limits(max_jobs=1))
        run(provider, 1)
        assert len(provider.polls) > 2
        assert all(b - a >= 25 for a, b in itertools.pairwise(provider.polls))

    def test_a_job_that_never_ends_is_asked_after_up_to_its_deadline(self) -> None:
        seconds = [10.0] * 30
        provider = ScriptedProvider(
            scripts={
                **{str(i): Script(job_s=each) for i, each in enumerate(seconds)},
                "30": Script(job_s=float("inf")),
            },
            limits=hg.Limits(max_jobs=1, job_timeout_s=600.0),
        )
        outcomes = run(provider, 31)
        assert isinstance(failure_of(outcomes[-1]).error, JobTimeoutError)
        began = provider.jobs["job-30"].began
        polls = [at - began for at in provider.polls if began < at <= began + 601]
        waits = [b - a for a, b in itertools.pairwise(polls)]
        assert polls[-1] == pytest.approx(600.0, abs=0.1)
        assert max(waits) <= 30.1
        assert len(polls) < 100

    def test_a_slow_first_job_is_not_asked_after_all_the_time(self) -> None:
        """Fewer times than by the provider's interval, of which 150 pass."""
        provider = ScriptedProvider(default=Script(job_s=300.0), limits=hg.Limits(max_jobs=1))
        run(provider, 1)
        assert len(provider.polls) < 110
        assert provider.polls[-1] < 300.0 * 1.1

    def test_jobs_that_begin_together_share_what_they_tell(self) -> None:
        """Each for itself would be asked after as often as one that is alone."""
        alone = ScriptedProvider(default=Script(job_s=60.0), limits=hg.Limits(max_jobs=1))
        run(alone, 1)
        limits = hg.Limits(max_jobs=50, submit_rate=2.0)
        many = ScriptedProvider(default=Script(job_s=60.0), limits=limits)
        run(many, 50, concurrency=50)
        assert len(many.polls) / 50 < 0.5 * len(alone.polls)


class TestUncertain:
    def test_its_slot_is_kept_for_as_long_as_other_jobs_tell(self) -> None:
        scripts = {str(i): Script(job_s=10.0) for i in range(40)}
        scripts["20"] = Script(job_s=10.0, submits=["lose"])
        provider = ScriptedProvider(scripts=scripts, limits=hg.Limits(max_jobs=1))
        run(provider, 40)
        lost = provider.jobs["job-20"].began
        after = provider.jobs["job-21"].began
        assert 10.0 <= after - lost < 40.0
        assert provider.most_at_once == 1
