"""A service that is dead for ten minutes, through the whole engine on a virtual clock."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import attrs
import pytest
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, drain, failure_of, opened
from holodeck_gen._health.judgement import OUTAGE_S
from holodeck_gen._health.trials import TRIAL_S
from holodeck_gen.errors import PausedError, SubmitUncertainError, TransientError
from holodeck_gen.events import RequestRetried
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from holodeck_gen._model.values import JsonObject

SLOTS = 8


@attrs.define(kw_only=True)
class Dying(ScriptedProvider):
    """Dead from one moment to another, in one of three ways.

    Attributes:
        dead: Loop times.
        how: ``refused``: nothing is connected; ``reset`` and ``502``: no usable answer.
        sides: What is dead of it.
        vain: Requests that met it dead, with their times.
    """

    limits: hg.Limits = attrs.field(factory=lambda: hg.Limits(max_jobs=SLOTS))
    default: Script = attrs.field(factory=lambda: Script(job_s=30.0))
    dead: tuple[float, float]
    how: Literal["refused", "reset", "502"] = "refused"
    sides: str = "submit poll"
    vain: list[tuple[str, float]] = attrs.field(factory=list, init=False)

    async def submit(self, request: JsonObject, *, key: str) -> Any:
        self.die("submit")
        return await ScriptedProvider.submit(self, request, key=key)

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        self.die("poll")
        return await ScriptedProvider.poll(self, job)

    def die(self, side: str) -> None:
        now = asyncio.get_running_loop().time()
        if side not in self.sides or not self.dead[0] <= now < self.dead[1]:
            return
        self.vain.append((side, now))
        match self.how:
            case "refused":
                raise TransientError("connection refused", not_created=True)
            case "reset":
                raise ConnectionResetError("reset by peer")
            case "502":
                raise TransientError("bad gateway", code="HTTP 502")


def run(
    provider: ScriptedProvider, count: int, **arguments: Any
) -> tuple[Counter[str], int, PausedError | None]:
    """How many tasks ended how, how many retries there were, and why it was paused."""
    retries = 0

    def observe(event: hg.Event) -> None:
        nonlocal retries
        retries += isinstance(event, RequestRetried)

    async def main() -> tuple[Counter[str], PausedError | None]:
        outcomes: list[hg.Outcome] = []
        pause = None
        async with opened(provider, on_event=observe, **arguments) as studio:
            try:
                await drain(studio.map([str(i) for i in range(count)]), outcomes)
            except PausedError as error:
                pause = error
        return Counter(outcome.state for outcome in outcomes), pause

    states, pause = run_virtual(main())
    return states, retries, pause


class TestTenMinutes:
    def test_refused_connections_cost_no_task(self) -> None:
        provider = Dying(dead=(300.0, 900.0))
        states, retries, _ = run(provider, 400)
        assert states == {"done": 400}
        assert max(provider.created.values()) == 1
        requests = len(provider.submits) + len(provider.polls) + len(provider.vain)
        assert retries < 0.1 * requests

    @pytest.mark.parametrize("how", ["reset", "502"])
    def test_lost_answers_hold_what_was_on_its_way_and_the_trials(self, how: Any) -> None:
        provider = Dying(dead=(300.0, 900.0), how=how)
        states, retries, _ = run(provider, 400)
        assert set(states) <= {"done", "held"}
        assert states["held"] <= SLOTS + 600 / TRIAL_S
        requests = len(provider.submits) + len(provider.polls) + len(provider.vain)
        assert retries < 0.1 * requests

    def test_only_submits_are_dead_and_no_more_than_one_a_minute_is_lost(self) -> None:
        provider = Dying(dead=(300.0, 900.0), how="502", sides="submit")
        states, _, _ = run(provider, 400)
        lost = [at for side, at in provider.vain if side == "submit"]
        assert set(states) == {"done", "held"}
        assert states["held"] == len(lost)
        assert len([at for at in lost if at > lost[0] + 1]) <= 600 / TRIAL_S

    @pytest.mark.parametrize("how", ["refused", "502"])
    def test_at_the_breaker_there_is_one_trial_a_minute(self, how: Any) -> None:
        provider = Dying(dead=(300.0, 900.0), how=how)
        run(provider, 400)
        # Until it opens, what is in flight fails.
        trials = [at for _, at in provider.vain if at > 340.0]
        assert len(trials) >= 8
        assert all(later - earlier >= TRIAL_S - 1e-6 for earlier, later in pairwise(trials))

    def test_the_work_goes_on_within_a_minute(self) -> None:
        provider = Dying(dead=(300.0, 900.0))
        run(provider, 400)
        after = [at for at in provider.submits if at >= 900.0]
        assert after[0] <= 900.0 + TRIAL_S + 1
        assert len([at for at in after if at <= 900.0 + TRIAL_S + 10]) >= SLOTS

    def test_polls_try_it_as_long_as_there_is_a_job(self) -> None:
        """A submit could be paid for and lost."""
        provider = Dying(dead=(300.0, 900.0), how="502", default=Script(job_s=1000.0))
        provider.limits = hg.Limits(max_jobs=SLOTS, job_timeout_s=5000.0)
        states, _, _ = run(provider, 40)
        assert states == {"done": 40}
        assert {side for side, _ in provider.vain} == {"poll"}


class TestFromTheStart:
    def test_no_attempt_is_used_up(self) -> None:
        provider = Dying(dead=(0.0, 600.0))
        states, _, _ = run(provider, 3, attempts=1)
        assert states == {"done": 3}

    def test_an_outage_of_half_an_hour_pauses_the_run(self) -> None:
        provider = Dying(dead=(0.0, float("inf")))
        states, _, pause = run(provider, 100)
        assert set(states) == {"held"}
        assert pause is not None
        assert "no good answer for 30 minutes: connection refused" in pause.reason
        assert pause.resume_after == OUTAGE_S
        last = provider.vain[-1][1]
        assert OUTAGE_S <= last <= OUTAGE_S + 2 * TRIAL_S
        assert len(provider.vain) < 80

    def test_how_long_that_is_can_be_set(self) -> None:
        provider = Dying(dead=(0.0, float("inf")))
        _, _, pause = run(provider, 2, outage_s=90.0)
        assert pause is not None
        assert "for 1.5 minutes" in pause.reason
        assert 90.0 <= provider.vain[-1][1] <= 90.0 + 2 * TRIAL_S

    def test_jobs_that_run_are_held_and_not_overdue(self) -> None:
        provider = Dying(dead=(10.0, float("inf")))
        provider.limits = hg.Limits(max_jobs=SLOTS, job_timeout_s=60.0)

        async def main() -> hg.Outcome:
            async with opened(provider) as studio:
                return await studio.submit("a").outcome()

        failure = failure_of(run_virtual(main()))
        assert failure.state == "held"
        assert isinstance(failure.error, PausedError)


class TestPoison:
    """A task that the service never gets right, and that made no job."""

    def provider(self, **facts: Any) -> ScriptedProvider:
        error = TransientError("always", code="InternalError", not_created=True)
        return ScriptedProvider(
            scripts={"0": Script(submits=[error] * 100)}, limits=hg.Limits(max_jobs=1), **facts
        )

    @pytest.mark.parametrize("attempts", [1, 4, 12])
    @pytest.mark.parametrize("count", [1, 3])
    def test_it_ends_after_its_attempts(self, attempts: int, count: int) -> None:
        provider = self.provider()
        states, _, pause = run(provider, count, attempts=attempts)
        assert pause is None
        assert states == Counter(failed=1, done=count - 1)
        assert len(provider.submits) == attempts + count - 1

    def test_one_without_a_code_ends_as_well_where_others_are_answered(self) -> None:
        error = TransientError("always", not_created=True)
        provider = ScriptedProvider(
            scripts={"0": Script(submits=[error] * 100)}, limits=hg.Limits(max_jobs=2)
        )
        states, _, _ = run(provider, 20)
        assert states == Counter(failed=1, done=19)


class TestUncertain:
    def test_the_next_submit_waits_for_a_poll(self) -> None:
        provider = ScriptedProvider(
            scripts={"1": Script(submits=["lose"])},
            default=Script(job_s=200.0),
            limits=hg.Limits(max_jobs=4, poll_interval_s=15.0),
        )

        async def main() -> list[hg.Outcome]:
            async with opened(provider) as studio:
                first = studio.submit("0")
                await asyncio.sleep(20.0)
                lost = studio.submit("1")
                assert isinstance(failure_of(await lost.outcome()).error, SubmitUncertainError)
                later = [studio.submit("2"), studio.submit("3")]
                return [await each.outcome() for each in (first, *later)]

        assert all(outcome.ok for outcome in run_virtual(main()))
        _, lost, *later = provider.submits
        assert lost < 21
        polled = min(at for at in provider.polls if at > lost)
        assert all(polled <= at < polled + 1.0 for at in later), later

    def test_where_nothing_is_polled_one_submit_at_a_time_finds_out(self) -> None:
        provider = ScriptedProvider(
            scripts={str(i): Script(submits=["lose"], job_s=1.0) for i in range(3)},
            default=Script(job_s=1.0),
            direct=True,
            limits=hg.Limits(max_jobs=6, job_timeout_s=2000.0),
        )
        states, _, _ = run(provider, 12, concurrency=6)
        # The first three were on their way together.
        assert states == Counter(held=3, done=9)

    def test_who_waits_for_its_turn_when_it_happens_is_not_sent(self) -> None:
        provider = ScriptedProvider(
            scripts={"0": Script(submits=["lose"])},
            default=Script(job_s=1.0),
            direct=True,
            limits=hg.Limits(max_jobs=4, submit_rate=0.2, job_timeout_s=100.0),
        )
        states, _, _ = run(provider, 4)
        assert states == Counter(held=1, done=3)
        # The turn at 5 s was for one that had leave from before.
        assert provider.submits[1] >= 10.0

    def test_a_stop_does_not_wait_until_it_may_be_sent_again(self) -> None:
        provider = ScriptedProvider(
            scripts={"lost": Script(submits=["lose", "lose", "lose"]), "fine": Script(job_s=1.0)},
            limits=hg.Limits(max_jobs=2, poll_interval_s=0.5, job_timeout_s=100.0),
        )

        async def main() -> tuple[list[hg.Outcome], float]:
            clock = asyncio.get_running_loop().time
            async with opened(provider, on_uncertain="resubmit", attempts=9) as studio:
                work = asyncio.ensure_future(collect(studio.map(["lost", "fine"])))
                await asyncio.sleep(0.5)
                await studio.stop(finish_jobs=True)
                return await work, clock()

        outcomes, ended = run_virtual(main())
        assert {outcome.task.prompt: outcome.state for outcome in outcomes} == {
            "lost": "cancelled",
            "fine": "done",
        }
        assert (len(provider.submits), ended < 3.0) == (2, True)

    def test_whoever_reads_along_knows_what_stands_still_and_what_goes_on(self) -> None:
        provider = ScriptedProvider(
            scripts={"0": Script(submits=["lose"])}, limits=hg.Limits(max_jobs=1)
        )
        with capture_logs() as logs:
            run(provider, 2, job_timeout_s=100.0)
        told = {each["event"]: each for each in logs if each["log_level"] == "warning"}
        assert list(told) == ["submits.stopped", "slot.kept", "task.ended", "submits.resumed"]
        assert told["submits.stopped"]["tried_every_s"] == TRIAL_S
        assert told["slot.kept"]["at_most_s"] == 100

    def test_a_second_one_after_hours_is_no_outage(self) -> None:
        lose = Script(submits=["lose"])
        provider = ScriptedProvider(scripts={"0": lose, "1": lose})

        async def main() -> list[str]:
            states: list[str] = []
            async with opened(provider) as studio:
                for prompt in "012":
                    states.append((await studio.submit(prompt).outcome()).state)
                    await asyncio.sleep(4000.0)
            return states

        assert run_virtual(main()) == ["held", "held", "done"]


class TestPlannedPolls:
    """Jobs take long, and are not asked after for long."""

    def provider(self, dead: tuple[float, float], sides: str) -> Dying:
        return Dying(
            dead=dead,
            sides=sides,
            default=Script(job_s=300.0),
            limits=hg.Limits(max_jobs=4, poll_interval_s=15.0, job_timeout_s=2000.0),
        )

    def test_free_slots_do_not_wait_for_the_next_one(self) -> None:
        provider = self.provider((950.0, 965.0), "submit poll")

        async def main() -> list[hg.Outcome]:
            async with opened(provider, concurrency=4) as studio:
                # Until it is known how long they take.
                await studio.generate_all(["known"] * 12)
                assert asyncio.get_running_loop().time() < 945.0
                running = [studio.submit("first")]
                await asyncio.sleep(950.0 - asyncio.get_running_loop().time())
                running += [studio.submit("later") for _ in range(3)]
                return [await each.outcome() for each in running]

        assert all(outcome.ok for outcome in run_virtual(main()))
        assert max(provider.submits) <= 950.0 + TRIAL_S + 30.0

    def test_an_outage_of_submits_alone_costs_no_task(self) -> None:
        """Polls that are answered meanwhile prove nothing about submits."""
        provider = self.provider((250.0, 850.0), "submit")
        states, _, _ = run(provider, 12)
        assert states == {"done": 12}
