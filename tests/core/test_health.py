"""Who may send to a service that is unwell, and how many retries there are."""

from __future__ import annotations

import asyncio
import contextlib
from itertools import pairwise
from typing import Literal

import attrs
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from holodeck_gen._calls import DeadlineError
from holodeck_gen._health.health import (
    BUDGET,
    RETRY_COST,
    TIMEOUT_COST,
    Health,
    Visit,
    price,
)
from holodeck_gen._health.judgement import FAILURES, OUTAGE_S
from holodeck_gen._health.trials import FIRST_TRIAL_S, TRIAL_S
from holodeck_gen._model.provider import Action
from holodeck_gen.errors import (
    BillingError,
    ContentRejectedError,
    DownloadError,
    JournalError,
    PausedError,
    ProviderError,
    RetryableError,
    SlotRefusedError,
    StorageError,
    SubmitUncertainError,
    ThrottledError,
    TransientError,
)
from holodeck_gen.testing import run_virtual

#: How a service may be for a while.
Weather = Literal["well", "down", "losing", "busy", "submits down"]
weathers: st.SearchStrategy[list[tuple[Weather, float]]] = st.lists(
    st.tuples(
        st.sampled_from(["well", "down", "losing", "busy", "submits down"]),
        st.floats(0.5, 400.0),
    ),
    # Less than an outage in all.
    max_size=4,
)
LATENCY_S = 0.2


@attrs.define
class World:
    """A service whose weather changes, and what clients see of its health."""

    weather: list[tuple[Weather, float]]
    health: Health = attrs.field(init=False)
    pauses: list[PausedError] = attrs.field(factory=list, init=False)
    visits: list[tuple[float, Action, bool, bool]] = attrs.field(factory=list, init=False)
    answers: list[float] = attrs.field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self.health = Health(pause=self.pauses.append)

    def answer(self, action: Action, now: float) -> Exception | None:
        for weather, seconds in self.weather:
            if now < seconds:
                match weather:
                    case "down":
                        return TransientError("refused", not_created=True)
                    case "busy":
                        return ThrottledError("slow down")
                    case "losing":
                        return TransientError("reset")
                    case "submits down" if action == "submit":
                        return TransientError("reset")
                return None
            now -= seconds
        return None

    async def client(self, actions: list[Action], gap_s: float) -> None:
        clock = asyncio.get_running_loop().time
        for action in actions:
            cost = 0
            while True:
                before = self.health.budget
                visit = await self.health.visit(action, cost=cost)
                assert 0 <= self.health.budget <= BUDGET
                assert self.health.budget <= before or cost == 0 or visit.trial or before < cost
                shut = self.health.shut(action)
                self.visits.append((clock(), action, visit.trial, shut))
                await asyncio.sleep(LATENCY_S)
                error = self.answer(action, clock())
                if action == "submit" and error is not None and "reset" in str(error):
                    self.health.doubt(error)
                visit.leave(error, sent=True)
                if error is None:
                    self.answers.append(clock())
                    break
                assert isinstance(error, RetryableError)
                cost = price(error)
                await asyncio.sleep(gap_s)


async def leave(health: Health, action: Action, error: BaseException | None) -> Visit:
    """One request and its end."""
    visit = await health.visit(action)
    visit.leave(error, sent=True)
    return visit


def healthy() -> Health:
    return Health(pause=lambda _: None)


@settings(max_examples=40)
@given(
    weathers,
    st.lists(st.lists(st.sampled_from(["submit", "poll"]), max_size=8), min_size=1, max_size=5),
    st.floats(0.1, 40.0),
)
@example([("down", 200.0), ("losing", 200.0)], [["submit"] * 8, ["poll"] * 8], 0.5)
@example([("submits down", 399.0), ("submits down", 399.0)], [["submit"] * 8] * 4, 0.1)
def test_whatever_the_weather(
    weather: list[tuple[Weather, float]], clients: list[list[Action]], gap_s: float
) -> None:
    async def main() -> None:
        world = World(weather)
        # Those that never got through would be reported as waiting for ever.
        async with asyncio.TaskGroup() as group:
            for actions in clients:
                group.create_task(world.client(actions, gap_s))
        assert not world.pauses
        assert all(trial for _, _, trial, shut in world.visits if shut)
        for action in ("submit", "poll"):
            trials = [at for at, what, trial, _ in world.visits if trial and what == action]
            for a, b in pairwise(trials):
                in_vain = not any(a < at <= b for at in world.answers)
                assert b - a >= TRIAL_S - 1e-6 or not in_vain

    run_virtual(main())


class TestBreaker:
    def test_it_opens_after_failures_in_a_row(self) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(3):
                for _ in range(FAILURES - 1):
                    await leave(health, "poll", TransientError(""))
                assert not health.shut("poll")
                await leave(health, "poll", None)
            for _ in range(FAILURES):
                await leave(health, "poll", TransientError(""))
            assert health.shut("poll")
            assert health.shut("submit")

        run_virtual(main())

    def test_the_first_trial_comes_soon_and_then_one_a_minute(self) -> None:
        async def main() -> list[float]:
            health = healthy()
            for _ in range(FAILURES):
                await leave(health, "poll", TransientError(""))
            clock = asyncio.get_running_loop().time
            began = clock()
            tried = []
            for _ in range(3):
                visit = await health.visit("poll")
                assert visit.trial
                tried.append(clock() - began)
                visit.leave(TransientError(""), sent=True)
            return tried

        assert run_virtual(main()) == pytest.approx(
            [FIRST_TRIAL_S, FIRST_TRIAL_S + TRIAL_S, FIRST_TRIAL_S + 2 * TRIAL_S], abs=1e-3
        )

    def test_a_trial_that_succeeds_lets_everybody_through(self) -> None:
        async def main() -> float:
            health = healthy()
            for _ in range(FAILURES):
                await leave(health, "poll", TransientError(""))
            await asyncio.gather(*(leave(health, "poll", None) for _ in range(50)))
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == pytest.approx(FIRST_TRIAL_S, abs=1e-3)

    @pytest.mark.parametrize("error", [asyncio.CancelledError(), StorageError("no room")])
    @pytest.mark.parametrize("sent", [False, True])
    def test_one_that_finds_nothing_out_leaves_the_trial_to_another(
        self, error: BaseException, sent: bool
    ) -> None:
        async def main() -> float:
            health = healthy()
            for _ in range(FAILURES):
                await leave(health, "poll", TransientError(""))
            first = await health.visit("poll")
            first.leave(error, sent=sent)
            await health.visit("poll")
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == pytest.approx(FIRST_TRIAL_S, abs=1e-3)

    def test_one_request_that_is_answered_in_vain_again_and_again_does_not_open_it(self) -> None:
        async def main() -> None:
            health = healthy()
            for tries in range(3 * FAILURES):
                visit = await health.visit("download", cost=RETRY_COST if tries else 0)
                visit.leave(TransientError("", code="HTTP 500"), sent=True)
            assert not health.shut("download")
            # Of so many it may be.
            for _ in range(FAILURES):
                await leave(health, "download", TransientError("", code="HTTP 500"))
            assert health.shut("download")

        run_virtual(main())

    def test_what_was_refused_here_says_nothing_of_the_service(self) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(FAILURES):
                await leave(health, "submit", TransientError(""))
            await leave(health, "submit", ProviderError("the file is gone", not_created=True))
            assert health.shut("submit")
            await leave(health, "submit", ProviderError("no", code="400", not_created=True))
            assert not health.shut("submit")

        run_virtual(main())

    def test_who_got_leave_before_it_opened_has_none_any_more(self) -> None:
        async def main() -> None:
            health = healthy()
            visit = await health.visit("submit")
            assert visit.holds
            for _ in range(FAILURES):
                await leave(health, "poll", TransientError(""))
            assert not visit.holds

        run_virtual(main())

    @pytest.mark.parametrize(
        "error",
        [
            ThrottledError(""),
            SlotRefusedError(""),
            ContentRejectedError(""),
            BillingError(""),
            DownloadError(""),
            JournalError(""),
            asyncio.CancelledError(),
        ],
    )
    def test_what_is_no_ill_health(self, error: BaseException) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(3 * FAILURES):
                await leave(health, "submit", error)
            assert not health.shut("submit")

        run_virtual(main())

    @pytest.mark.parametrize(
        "error",
        [
            TransientError(""),
            RetryableError(""),
            SubmitUncertainError(""),
            DeadlineError(""),
            ConnectionResetError(),
            ValueError("nonsense"),
        ],
    )
    def test_what_is(self, error: BaseException) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(FAILURES):
                await leave(health, "submit", error)
            assert health.shut("submit")

        run_virtual(main())


class TestDoubt:
    def test_a_poll_and_then_one_submit_end_it(self) -> None:
        async def main() -> None:
            health = healthy()
            with health.watching():
                health.doubt(OSError("reset"))
                assert health.shut("submit")
                assert not health.shut("poll")
                waiting = [asyncio.ensure_future(health.visit("submit")) for _ in range(3)]
                await asyncio.sleep(10 * TRIAL_S)
                assert not any(each.done() for each in waiting)
                await leave(health, "poll", None)
                await asyncio.sleep(1)
                (trial,) = [each.result() for each in waiting if each.done()]
                assert trial.trial
                trial.leave(None, sent=True)
                await asyncio.sleep(1)
                assert all(each.done() for each in waiting)

        run_virtual(main())

    def test_a_submit_that_was_on_its_way_ends_it_too(self) -> None:
        async def main() -> None:
            health = healthy()
            other = await health.visit("submit")
            health.doubt(OSError("reset"))
            other.leave(None, sent=True)
            assert not health.shut("submit")

        run_virtual(main())

    def test_half_an_hour_of_lost_submits_pauses_the_submits_alone(self) -> None:
        async def main() -> None:
            pauses: list[PausedError] = []
            health = Health(pause=pauses.append)
            clock = asyncio.get_running_loop().time
            while not pauses:
                visit = await health.visit("submit")
                health.doubt(OSError("reset"))
                visit.leave(SubmitUncertainError("reset"), sent=True)
                await leave(health, "poll", None)
            assert OUTAGE_S <= clock() <= OUTAGE_S + 2 * TRIAL_S
            assert "accepted no submit" in pauses[0].reason
            health.dismiss(pauses[0])
            with pytest.raises(PausedError):
                await health.visit("submit")
            await leave(health, "poll", None)

        run_virtual(main())


class TestRest:
    """Before a poll that is planned for later."""

    def rested(self, *, waits: bool, lost: bool = False) -> tuple[list[float], list[float]]:
        """When three that rest for an hour go on, and when those that wait are let through."""

        async def main() -> tuple[list[float], list[float]]:
            health, clock = healthy(), asyncio.get_running_loop().time
            polls: list[float] = []
            submits: list[float] = []

            async def poll() -> None:
                with health.watching():
                    await health.rest(3600.0)
                    polls.append(clock())
                    await leave(health, "poll", None)

            async def submit() -> None:
                await leave(health, "submit", None)
                submits.append(clock())

            async with asyncio.TaskGroup() as group:
                for _ in range(3):
                    group.create_task(poll())
                await asyncio.sleep(1.0)
                if lost:
                    health.doubt(OSError("reset"))
                else:
                    for _ in range(FAILURES):
                        await leave(health, "submit", TransientError(""))
                for _ in range(2 * waits):
                    group.create_task(submit())
            return polls, submits

        return run_virtual(main())

    @pytest.mark.parametrize("lost", [False, True])
    def test_one_goes_at_once_where_others_wait_for_a_sign_of_life(self, lost: bool) -> None:
        polls, submits = self.rested(waits=True, lost=lost)
        assert polls == pytest.approx([1 + FIRST_TRIAL_S, 3600, 3600], abs=1e-3)
        assert submits == pytest.approx(2 * [1 + FIRST_TRIAL_S], abs=1e-3)

    @pytest.mark.parametrize("lost", [False, True])
    def test_where_nobody_waits_all_keep_their_times(self, lost: bool) -> None:
        polls, _ = self.rested(waits=False, lost=lost)
        assert polls == pytest.approx([3600] * 3, abs=1e-3)


class TestBudget:
    def test_prices(self) -> None:
        late = TransientError("")
        late.__cause__ = DeadlineError("")
        errors = [TransientError(""), late, ThrottledError(""), SlotRefusedError("")]
        assert [price(each) for each in errors] == [RETRY_COST, TIMEOUT_COST, 0, 0]

    def test_without_any_a_retry_waits_for_successes(self) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(BUDGET // RETRY_COST):
                visit = await health.visit("poll", cost=RETRY_COST)
                visit.leave(None, sent=True)
            assert health.budget == 0
            waiting = asyncio.ensure_future(health.visit("poll", cost=RETRY_COST))
            for _ in range(RETRY_COST):
                await asyncio.sleep(1)
                assert not waiting.done()
                await leave(health, "poll", None)
            await asyncio.sleep(1)
            assert waiting.done()
            assert health.budget == 0

        run_virtual(main())

    def test_where_nothing_succeeds_one_a_minute_is_sent_all_the_same(self) -> None:
        async def main() -> float:
            health = healthy()
            health.budget = 0
            await leave(health, "poll", None)
            health.budget = 0
            for _ in range(3):
                visit = await health.visit("poll", cost=RETRY_COST)
                visit.leave(TransientError(""), sent=True)
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) == pytest.approx(3 * TRIAL_S, abs=1e-3)


class TestOutage:
    @pytest.mark.parametrize("error", [TransientError("dead"), ThrottledError("dead")])
    def test_after_half_an_hour_nothing_is_sent(self, error: Exception) -> None:
        async def main() -> None:
            pauses: list[PausedError] = []
            health = Health(pause=pauses.append)
            clock = asyncio.get_running_loop().time

            async def again_and_again() -> None:
                while True:
                    await leave(health, "poll", error)
                    await asyncio.sleep(20)

            with pytest.raises(PausedError, match="30 minutes: dead"):
                await again_and_again()
            assert OUTAGE_S <= clock() <= OUTAGE_S + 2 * TRIAL_S
            assert len(pauses) == 1

        run_virtual(main())

    def test_a_pause_without_requests_is_no_outage(self) -> None:
        async def main() -> None:
            health = healthy()
            for _ in range(2):
                await leave(health, "poll", TransientError(""))
                await asyncio.sleep(2 * OUTAGE_S)
            await leave(health, "poll", None)

        run_virtual(main())

    def test_nor_is_it_one_where_one_request_failed_before_it(self) -> None:
        """Its tries are as many as open the breaker, and one more fails after hours."""

        async def main() -> None:
            health = healthy()
            for _ in range(FAILURES - 1):
                await leave(health, "download", TransientError(""))
            await asyncio.sleep(2 * OUTAGE_S)
            await leave(health, "download", TransientError(""))
            await leave(health, "download", None)

        run_virtual(main())

    def test_a_service_that_asks_for_long_pauses_is_given_up_all_the_same(self) -> None:
        async def main() -> float:
            health = healthy()
            with contextlib.suppress(PausedError):
                while True:
                    await leave(health, "submit", ThrottledError("", retry_after=600.0))
                    await asyncio.sleep(600.0)
            return asyncio.get_running_loop().time()

        assert run_virtual(main()) <= OUTAGE_S + 2 * 600.0 + 1

    def test_two_lost_submits_hours_apart_are_none(self) -> None:
        async def main() -> list[PausedError]:
            pauses: list[PausedError] = []
            health = Health(pause=pauses.append)
            for _ in range(2):
                visit = await health.visit("submit")
                health.doubt(OSError("reset"))
                visit.leave(SubmitUncertainError("reset"), sent=True)
                await asyncio.sleep(2 * OUTAGE_S)
            return pauses

        assert run_virtual(main()) == []

    def test_those_that_wait_learn_it(self) -> None:
        async def main() -> None:
            health = healthy()
            health.doubt(OSError("reset"))
            waiting = asyncio.ensure_future(health.visit("submit"))
            await asyncio.sleep(1)
            health.dismiss(PausedError("paused: no credit", reason="no credit"))
            with pytest.raises(PausedError, match="no credit"):
                await waiting

        run_virtual(main())


def test_an_excuse_holds_while_nobody_is_answered() -> None:
    async def main() -> list[bool]:
        health = healthy()
        excused = health.excuse()
        found = [excused(), excused()]
        await leave(health, "poll", None)
        return [*found, excused(), excused()]

    assert run_virtual(main()) == [True, True, False, True]
