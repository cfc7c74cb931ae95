"""The next submit is tried where a slot is probably free, if the user and the provider allow it."""

from __future__ import annotations

import itertools
import random

import attrs
import pytest

import holodeck_gen as hg
from discovery import greedy, utilisation
from helpers import opened
from holodeck_gen._gate.probes import PRICE, Probes
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

ACCOUNTS = itertools.count()
LIMITS = hg.Limits(max_jobs=4, max_jobs_enforced=True, refusals_free=True, poll_rate=8.0)


@attrs.define(eq=False)
class Job:
    """Ends somewhere between two times, all of which are as likely."""

    first: float
    last: float
    typical_s: float = 10.0
    seen: float = 0.0

    def ended_by(self, at: float) -> float:
        low = max(self.first, self.seen)
        return min(max((at - low) / (self.last - low), 0.0), 1.0)

    def ran(self, at: float) -> None:
        self.seen = at


class TestProbes:
    def test_nothing_is_due_before_a_job_may_have_ended(self) -> None:
        probes = Probes([Job(5.0, 6.0)])
        assert not probes.due(0.0, 0)
        assert not probes.due(5.0, 0)
        assert probes.due(6.0, 0)

    def test_it_is_due_when_as_much_is_idle_as_it_costs(self) -> None:
        probes = Probes([Job(5.0, 6.0)])
        probes.due(5.0, 0)
        at = probes.next_at(0)
        # Idle slots grow from none to as many as ten jobs of a second each would give.
        assert at == pytest.approx(5.0 + (2 * PRICE * 10.0) ** 0.5, abs=0.02)
        assert probes.due(at, 0)  # type: ignore[arg-type]

    def test_more_jobs_make_it_due_sooner(self) -> None:
        times = []
        for count in (1, 4):
            probes = Probes([Job(5.0, 6.0) for _ in range(count)])
            probes.due(5.0, 0)
            times.append(probes.next_at(0))
        assert times[1] < times[0]  # type: ignore[operator]

    def test_a_refusal_tells_that_all_of_them_run(self) -> None:
        jobs = [Job(5.0, 9.0), Job(5.0, 9.0)]
        probes = Probes([*jobs])
        probes.due(5.0, 0)
        assert probes.due(8.0, 0)
        probes.refused(8.0)
        assert [job.seen for job in jobs] == [8.0, 8.0]
        assert not probes.due(8.0, 0)

    def test_a_slot_that_was_found_free_is_not_found_again(self) -> None:
        probes = Probes([Job(5.0, 6.0)])
        probes.due(5.0, 1)
        assert not probes.due(60.0, 1)

    def test_time_in_which_nobody_waits_is_not_counted(self) -> None:
        probes = Probes([Job(5.0, 6.0)])
        probes.due(5.0, 0)
        probes.rest()
        assert not probes.due(6.0, 0)
        assert probes.next_at(0) is not None


def work(
    provider: ScriptedProvider,
    jobs: int,
    *,
    concurrency: int | str = "auto",
    probe: bool = True,
) -> list[hg.SlotsSampled]:
    """Run jobs through a studio; returns how the slots were used in the end."""

    async def main() -> list[hg.SlotsSampled]:
        async with opened(provider, concurrency=concurrency, probe=probe) as studio:
            async for outcome in studio.map(f"{i}" for i in range(jobs)):
                assert outcome.ok
                assert outcome.attempts <= 60
            return list(studio.slots())

    return run_virtual(main())


def scripted(jobs: int, *, quota: int | None, limits: hg.Limits = LIMITS) -> ScriptedProvider:
    chance = random.Random(5)
    times = {f"{i}": Script(job_s=2.0 * chance.lognormvariate(0.0, 0.3)) for i in range(jobs)}
    # Each is another account, of which nothing is remembered.
    account = f"{next(ACCOUNTS)}"
    return ScriptedProvider(
        scripts=times, quota=quota, latency_s=0.02, limits=limits, account=account
    )


class TestStudio:
    def test_slots_are_busier_and_refusals_lower_nothing(self) -> None:
        used, refused = [], []
        for probe in (False, True):
            provider = scripted(80, quota=4)
            (sample,) = work(provider, 80, probe=probe)
            assert (sample.ceiling, provider.most_at_once) == (4, 4)
            spans = sorted((job.began, job.ends) for job in provider.jobs.values())
            best = utilisation(greedy(spans, 4, 0.0), 4, 0.0)
            used.append(utilisation(spans, 4, 0.0) / best)
            refused.append(len(provider.refusals))
        assert used[1] > used[0] + 0.02
        assert refused[0] <= 4 < refused[1]

    @pytest.mark.parametrize("concurrency", [4, "1-4"])
    def test_a_number_of_the_users_is_never_exceeded(self, concurrency: int | str) -> None:
        provider = scripted(60, quota=None, limits=attrs.evolve(LIMITS, max_jobs=None))
        work(provider, 60, concurrency=concurrency)
        assert provider.most_at_once == 4

    def test_where_refusals_may_cost_something_none_is_provoked(self) -> None:
        provider = scripted(60, quota=4, limits=attrs.evolve(LIMITS, refusals_free=False))
        work(provider, 60)
        assert len(provider.refusals) <= 4

    def test_where_slots_are_freed_late_it_stops(self) -> None:
        refused = []
        for lag_s in (0.0, 5.0):
            provider = scripted(80, quota=4)
            provider.lag_s = lag_s
            work(provider, 80)
            refused.append(len(provider.refusals))
        assert refused[1] < 0.2 * refused[0]
