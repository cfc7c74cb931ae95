"""The next submit is tried where a slot is probably free, if the user and the provider allow it."""

from __future__ import annotations

import asyncio
import itertools
import random

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from discovery import greedy, utilisation
from helpers import opened
from holodeck_gen._gate.beliefs import TINY, Beliefs, Running
from holodeck_gen._gate.beliefs import given as given_that
from holodeck_gen._gate.local import LocalGate, _LocalSlot
from holodeck_gen._gate.probes import PRICE, Probes
from holodeck_gen._model.concurrency import Concurrency
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

ACCOUNTS = itertools.count()
LIMITS = hg.Limits(max_jobs=4, max_jobs_enforced=True, refusals_free=True, poll_rate=8.0)


@attrs.define(eq=False)
class Job:
    """Ends somewhere between two times, all of which are as likely."""

    first: float
    last: float
    typical_s: float = 10.0
    ran_at: float = 0.0

    def ended_by(self, at: float, since: float) -> float:
        low = max(self.first, since)
        return min(max((at - low) / (self.last - low), 0.0), 1.0)

    def ran(self, at: float) -> None:
        self.ran_at = max(self.ran_at, at)


def probing(*jobs: Job) -> Probes:
    return Probes(Beliefs([*jobs]))


class TestBeliefs:
    def test_a_refusal_of_one_too_many_tells_that_all_of_them_run(self) -> None:
        jobs = [Job(5.0, 9.0), Job(5.0, 9.0)]
        beliefs = Beliefs([*jobs])
        beliefs.told(8.0, 0)
        assert [job.ran_at for job in jobs] == [8.0, 8.0]
        assert beliefs.ended_by(8.0) == 0.0

    def test_how_many_ended_is_known_though_not_which(self) -> None:
        beliefs = Beliefs([Job(5.0, 9.0), Job(5.0, 9.0), Job(7.0, 9.0)])
        beliefs.told(8.0, 1)
        assert beliefs.ended_by(8.0) == pytest.approx(1.0)
        assert beliefs.ended_by(8.5) == pytest.approx(2.0)
        assert beliefs.ended_by(9.0) == pytest.approx(3.0)

    def test_one_that_is_found_ended_was_one_of_them(self) -> None:
        first, second, third = jobs = [Job(5.0, 9.0), Job(5.0, 9.0), Job(5.0, 9.0)]
        beliefs = Beliefs([*jobs])
        beliefs.told(8.0, 2)
        beliefs.leave(first, 8.0)
        assert beliefs.ended_by(8.0) == pytest.approx(1.0)
        beliefs.leave(second, 8.0)
        assert beliefs.ended_by(8.0) == pytest.approx(0.0, abs=1e-6)
        assert third.ran_at == 0.0

    def test_one_that_is_found_running_was_none_of_them(self) -> None:
        first, second = jobs = [Job(5.0, 9.0), Job(5.0, 9.0)]
        beliefs = Beliefs([*jobs])
        beliefs.told(7.0, 1)
        first.ran(8.0)
        assert beliefs.ended_by(8.0) == 1.0
        assert beliefs.ended_by(8.5) == 1.5
        second.ran(8.0)
        assert beliefs.ended_by(8.0) == 0.0

    def test_what_began_since_is_counted_by_itself(self) -> None:
        beliefs = Beliefs([Job(5.0, 9.0), Job(5.0, 9.0)])
        beliefs.told(7.0, 1)
        beliefs.jobs.append(Job(10.0, 12.0, ran_at=7.5))
        assert beliefs.ended_by(9.0) == pytest.approx(2.0)
        assert beliefs.ended_by(11.0) == pytest.approx(2.5)


@given(
    st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12).map(
        lambda chances: {Job(0.0, 1.0): each for each in chances}
    ),
    st.floats(0.0, 12.0),
)
def test_what_is_given_adds_up_and_keeps_the_order(
    chances: dict[Running, float], count: float
) -> None:
    after = given_that(chances, count)
    unsure = [each for each in chances.values() if TINY < each < 1.0 - TINY]
    sure = sum(each >= 1.0 - TINY for each in chances.values())
    assert after.keys() == chances.keys()
    assert sum(after.values()) == pytest.approx(min(max(count, sure), sure + len(unsure)), abs=1e-6)
    pairs = sorted((chances[job], after[job]) for job in chances)
    assert all(a <= b + 1e-9 for (_, a), (_, b) in itertools.pairwise(pairs))


class TestProbes:
    def test_nothing_is_due_before_a_job_may_have_ended(self) -> None:
        probes = probing(Job(5.0, 6.0))
        assert not probes.due(0.0, 0)
        assert not probes.due(5.0, 0)
        assert probes.due(6.0, 0)

    def test_it_is_due_when_as_much_is_idle_as_it_costs(self) -> None:
        probes = probing(Job(5.0, 6.0))
        probes.due(5.0, 0)
        at = probes.next_at(0)
        # Idle slots grow from none to as many as ten jobs of a second each would give.
        assert at == pytest.approx(5.0 + (2 * PRICE * 10.0) ** 0.5, abs=0.02)
        assert probes.due(at, 0)  # type: ignore[arg-type]

    def test_more_jobs_make_it_due_sooner(self) -> None:
        times = []
        for count in (1, 4):
            probes = probing(*(Job(5.0, 6.0) for _ in range(count)))
            probes.due(5.0, 0)
            times.append(probes.next_at(0))
        assert times[1] < times[0]  # type: ignore[operator]

    def test_after_an_answer_nothing_is_due_before_more_may_have_ended(self) -> None:
        for ended in (0, 1):
            probes = probing(Job(5.0, 9.0), Job(5.0, 9.0))
            probes.due(5.0, ended)
            assert probes.due(8.9, ended)
            probes.answered(8.0, ended)
            assert not probes.due(8.0, ended)
            assert probes.next_at(ended) > 8.0  # type: ignore[operator]

    def test_a_slot_that_was_found_free_is_not_found_again(self) -> None:
        probes = probing(Job(5.0, 6.0))
        probes.due(5.0, 1)
        assert not probes.due(60.0, 1)

    def test_time_in_which_nobody_waits_is_not_counted(self) -> None:
        probes = probing(Job(5.0, 6.0))
        probes.due(5.0, 0)
        probes.rest()
        assert not probes.due(6.0, 0)
        assert probes.next_at(0) is not None


def test_an_answer_tells_nothing_while_an_earlier_one_is_out() -> None:
    """Nobody knows whether the earlier one has a slot, and so what the later one found."""

    async def main() -> list[float]:
        gate = LocalGate(Concurrency(minimum=2, maximum=2), hg.Limits(), probe=True)
        running = gate._probes.running
        running.jobs += [Job(0.0, 10.0), Job(0.0, 10.0)]
        gate.held = 2
        await asyncio.sleep(1)
        slots = []
        for occupied in (2, 3):
            grant = gate._ceiling.grant(1.0, occupied, probe=True)
            gate.held += 1
            slots.append(_LocalSlot(gate, "", grant))
            slots[-1].sending()
        expected = [running.ended_by(1.0)]
        for slot in reversed(slots):
            slot.accepted()
            expected.append(running.ended_by(1.0))
        gate.close()
        return expected

    assert run_virtual(main()) == pytest.approx([0.2, 0.2, 1.0])


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

    def test_many_slots_are_as_busy_as_few(self) -> None:
        """Where one was found free already, answers told nothing: they were busy for 0.85."""
        limits = attrs.evolve(LIMITS, max_jobs=24, poll_rate=30.0)
        provider = scripted(240, quota=24, limits=limits)
        work(provider, 240)
        spans = sorted((job.began, job.ends) for job in provider.jobs.values())
        assert utilisation(spans, 24, 0.0) > 0.97 * utilisation(greedy(spans, 24, 0.0), 24, 0.0)
        assert len(provider.refusals) < 2.5 * 240

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
