"""No budget is passed, nothing stays set aside, and what earlier runs have spent counts."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

import holodeck_gen as hg
from helpers import drain, failure_of, opened, result_of
from holodeck_gen._collect import dismiss
from holodeck_gen._journal.audit import status
from holodeck_gen._spending.budget import Budget
from holodeck_gen._spending.charge import Charge
from holodeck_gen.errors import (
    BudgetExceededError,
    ConfigError,
    ContentRejectedError,
    GenerationError,
    JobFailedError,
    PausedError,
    SubmitUncertainError,
    TransientError,
)
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from runs import CAT, Runs
from strategies import acts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from holodeck_gen._model.money import Spending


def yuan(amount: object) -> hg.Cost:
    return hg.Cost(amount=Decimal(str(amount)), currency="CNY")


FREE = hg.Cost(amount=0, currency="CNY")
ONE = yuan(1)
LIMITS = hg.Limits(max_jobs=4, poll_interval_s=3.0, request_timeout_s=20.0, job_timeout_s=100.0)


def paid(*scripts: Script, default: Script | None = None, **facts: Any) -> ScriptedProvider:
    """A provider with a script for each of the prompts ``0``, ``1``, …, and a price of 1."""
    return ScriptedProvider(
        scripts={str(i): script for i, script in enumerate(scripts)},
        default=default or Script(),
        **{"price": ONE, "limits": LIMITS, **facts},
    )


def run(
    provider: ScriptedProvider, tasks: Sequence[hg.Task | str], **arguments: Any
) -> tuple[list[hg.Outcome], PausedError | None, Spending]:
    """The outcomes by their place in the input, why the run was paused, and what it has spent."""

    async def main() -> tuple[list[hg.Outcome], PausedError | None, Spending]:
        outcomes: list[hg.Outcome] = []
        pause = None
        async with opened(provider, **arguments) as studio:
            try:
                await drain(studio.map(tasks), outcomes)
            except PausedError as error:
                pause = error
            spending = studio.describe().spending
        outcomes.sort(key=lambda outcome: outcome.index)
        return outcomes, pause, spending

    return run_virtual(main())


def prompts(number: int) -> list[hg.Task | str]:
    return [str(i) for i in range(number)]


class TestLimit:
    def test_it_is_used_up_and_not_passed(self) -> None:
        provider = paid()
        outcomes, pause, spending = run(provider, prompts(10), budget="5 CNY")
        assert provider.bill == 5
        assert len(provider.submits) == 5
        assert [outcome.state for outcome in outcomes].count("done") == 5
        assert all(outcome.state in ("done", "held") for outcome in outcomes)
        assert pause is not None
        assert "the budget of ¥5.00 is reached: ¥5.00 spent" in pause.reason
        assert (spending.spent, spending.in_flight) == ((yuan(5),), ())
        assert spending.words() == "about ¥5.00 of ¥5.00"

    def test_jobs_in_flight_end_first(self) -> None:
        outcomes, _, _ = run(paid(Script(job_s=90)), prompts(5), budget=4)
        assert outcomes[0].ok

    def test_what_the_provider_charges_counts_in_place_of_the_price(self) -> None:
        provider = paid(default=Script(cost=yuan("0.25")))
        outcomes, pause, spending = run(provider, prompts(10), budget="2 CNY")
        # The last could have cost 1, and 0.75 was left of the 2.
        assert provider.bill == Decimal("1.25")
        assert sum(outcome.ok for outcome in outcomes) == 5
        assert pause is not None
        assert not spending.estimated
        assert result_of(outcomes[0]).cost == yuan("0.25")

    def test_a_failure_that_costs_nothing_leaves_room(self) -> None:
        failing = Script(error=JobFailedError("no"), cost=FREE)
        provider = paid(failing, failing)
        outcomes, _, spending = run(provider, prompts(4), budget=2)
        assert [outcome.state for outcome in outcomes] == ["failed", "failed", "done", "done"]
        assert spending.spent == (yuan(2),)

    def test_a_failure_of_unknown_cost_is_spent(self) -> None:
        provider = paid(Script(error=JobFailedError("no")))
        outcomes, pause, _ = run(provider, prompts(3), budget=2)
        assert [outcome.state for outcome in outcomes] == ["failed", "done", "held"]
        assert pause is not None

    @pytest.mark.parametrize(
        "refusal", [ContentRejectedError("no"), TransientError("refused", not_created=True)]
    )
    def test_a_submit_that_made_no_job_is_given_back(self, refusal: Exception) -> None:
        provider = paid(Script(submits=[refusal] * 4))
        outcomes, _, spending = run(provider, prompts(3), budget=2)
        # While one waits for its next attempt, others may have its place.
        assert outcomes[0].state in ("failed", "held")
        assert [outcome.state for outcome in outcomes[1:]] == ["done", "done"]
        assert spending.spent == (yuan(2),)

    def test_a_lost_answer_is_spent(self) -> None:
        provider = paid(Script(submits=["lose"]))
        outcomes, _, _ = run(provider, prompts(3), budget=2)
        assert isinstance(failure_of(outcomes[0]).error, SubmitUncertainError)
        assert [outcome.state for outcome in outcomes] == ["held", "done", "held"]
        assert provider.bill == 2

    def test_a_lost_answer_that_is_sent_again_is_spent_twice(self) -> None:
        provider = paid(Script(submits=["lose", "lose"]))
        arguments: dict[str, Any] = {"on_uncertain": "resubmit", "backoff_s": 0.1}
        outcomes, _, spending = run(provider, prompts(1), budget=3, **arguments)
        assert outcomes[0].ok
        assert provider.bill == 3
        assert spending.spent == (yuan(3),)
        provider = paid(Script(submits=["lose", "lose"]))
        outcomes, pause, _ = run(provider, prompts(1), budget=2, **arguments)
        assert outcomes[0].state == "held"
        assert provider.bill == 2
        assert pause is not None

    def test_an_overdue_job_is_spent_and_nobody_waits_for_it(self) -> None:
        provider = paid(Script(job_s=float("inf")))
        outcomes, _, _ = run(provider, prompts(3), budget=2)
        assert [outcome.state for outcome in outcomes] == ["held", "done", "held"]

    def test_each_part_of_a_task_is_set_aside(self) -> None:
        provider = paid(per_job=1)
        outcomes, _, spending = run(provider, [hg.Task("0", n=5)], budget=3)
        failure = failure_of(outcomes[0])
        assert (failure.state, len(failure.artifacts)) == ("held", 3)
        assert spending.spent == (yuan(3),)

    def test_what_costs_nothing_needs_no_budget(self) -> None:
        provider = paid(billing="free", price=None)
        outcomes, pause, spending = run(provider, prompts(3), budget=0)
        assert all(outcome.ok for outcome in outcomes)
        assert (pause, spending.spent) == (None, ())

    def test_without_one_it_is_only_counted(self) -> None:
        _, _, spending = run(paid(), prompts(3))
        assert (spending.spent, spending.budget, spending.unpriced) == ((yuan(3),), None, 0)
        _, _, spending = run(paid(price=None), prompts(3))
        assert (spending.spent, spending.unpriced, spending.words()) == ((), 3, "")


class TestPricesThatDiffer:
    def test_a_task_that_is_dearer_than_all_of_it_is_held_alone(self) -> None:
        provider = paid(price=None)
        config = priced({"scripted": "2", "scripted:big": "20"})
        tasks = [hg.Task("0", model="big"), hg.Task("1"), hg.Task("2")]
        outcomes, pause, _ = run(provider, tasks, budget="10 CNY", config=config)
        failure = failure_of(outcomes[0])
        assert isinstance(failure.error, BudgetExceededError)
        assert (failure.state, failure.error.task_id) == ("held", failure.key)
        assert "¥20.00, more than the whole budget of ¥10.00" in str(failure.error)
        assert [outcome.ok for outcome in outcomes[1:]] == [True, True]
        assert pause is None

    @pytest.mark.parametrize("concurrency", [1, 4])
    def test_the_first_that_does_not_fit_pauses_the_run(self, concurrency: int) -> None:
        """Also where cheaper ones would fit: the order of the tasks says what comes first."""
        provider = paid(price=None)
        config = priced({"scripted": "1", "scripted:big": "6"})
        big = [hg.Task(prompt, model="big") for prompt in "ac"]
        tasks: list[hg.Task | str] = [big[0], "b", big[1], *prompts(200)]
        outcomes, pause, spending = run(
            provider, tasks, budget="10 CNY", config=config, concurrency=concurrency
        )
        assert [outcome.index for outcome in outcomes if outcome.ok] == [0, 1]
        assert spending.spent == (yuan(7),)
        assert pause is not None
        assert "¥7.00 spent, and the next job costs ¥6.00" in pause.reason
        reasons = {str(failure_of(outcome).error) for outcome in outcomes[2:]}
        assert reasons == {str(pause)}, "one reason, for all that were begun"
        assert len(outcomes) < 100, "what was not begun is not told of one by one"

    def test_dear_ones_at_the_end_are_no_line_each(self) -> None:
        provider = paid(price=None)
        config = priced({"scripted": "1", "scripted:big": "6"})
        dear = [hg.Task(f"dear {i}", model="big") for i in range(200)]
        outcomes, pause, spending = run(provider, [*prompts(5), *dear], budget=10, config=config)
        assert spending.spent == (yuan(5),)
        assert pause is not None
        assert len(outcomes) < 100

    def test_a_larger_budget_goes_on_in_the_same_order(self, tmp_path: Path) -> None:
        runs = Runs(folder=tmp_path / "out", provider=paid(price=None))
        config = priced({"scripted": "1", "scripted:big": "6"})
        tasks = [hg.Task("a", model="big"), hg.Task("b", model="big"), *prompts(9)]
        paused(runs, *tasks, budget="10 CNY", config=config)
        assert spent(runs)["spent"] == 6
        outcomes = paused(runs, *tasks, budget="15 CNY", config=config)
        assert sum(outcome.ok for outcome in outcomes) == 5
        assert spent(runs)["spent"] == 15

    def test_cheap_ones_wait_behind_a_dear_one_that_may_fit(self) -> None:
        """The first could cost 6 and costs 5: then the second fits, but not after a third."""
        provider = paid(Script(cost=yuan(5)), price=None)
        config = priced({"scripted": "1", "scripted:big": "6"})
        tasks = [hg.Task("0", model="big"), hg.Task("b", model="big"), hg.Task("c")]
        outcomes, pause, spending = run(provider, tasks, budget="11 CNY", config=config)
        assert [outcome.ok for outcome in outcomes] == [True, True, False]
        assert spending.spent == (yuan(11),)
        assert pause is not None

    def test_one_that_may_fit_waits(self) -> None:
        """The first could cost 6 and costs 1."""
        provider = paid(Script(cost=yuan(1)), price=yuan(6))
        outcomes, _, _ = run(provider, prompts(2), budget="8 CNY")
        assert all(outcome.ok for outcome in outcomes)
        assert provider.submits[1] >= 10

    def test_one_that_waits_can_be_stopped(self) -> None:
        async def main() -> None:
            provider = paid(price=yuan(6))
            async with opened(provider, budget="8 CNY") as studio:
                handles = [studio.submit(prompt) for prompt in prompts(2)]
                await asyncio.sleep(5)
                await handles[1].cancel()
                assert failure_of(await handles[1].outcome()).state == "cancelled"
                assert (await handles[0].outcome()).ok
            assert studio.describe().spending.spent == (yuan(6),)
            assert len(provider.submits) == 1

        run_virtual(main())


def priced(rows: dict[str, str], **more: Any) -> hg.Config:
    prices = {name: {"amount": amount, "currency": "CNY"} for name, amount in rows.items()}
    return hg.Config.of({"prices": prices, **more}, environ={})


class TestUnknownPrice:
    def test_it_is_told_before_anything_is_spent(self) -> None:
        provider = paid(price=None)
        outcomes, pause, _ = run(provider, [hg.Task("0", model="m"), "1"], budget="5 CNY")
        failure = failure_of(outcomes[0])
        assert isinstance(failure.error, ConfigError)
        assert '[prices."scripted:m"]' in str(failure.error)
        assert failure.state == "held", "with a price it can be made"
        assert pause is not None
        assert provider.submits == []

    def test_a_studio_can_be_asked_first(self) -> None:
        async def main() -> None:
            async with opened(paid(price=None), budget="5 CNY") as studio:
                with pytest.raises(ConfigError, match="price of scripted is unknown"):
                    studio.price(hg.Task("0"))
            async with opened(paid(per_job=2), budget="5 CNY") as studio:
                assert studio.price(hg.Task("0", n=5)) == yuan(3)
            async with opened(paid(price=None)) as studio:
                assert studio.price(hg.Task("0")) is None

        run_virtual(main())

    def test_another_currency_is_none_of_the_budget(self) -> None:
        provider = paid()
        outcomes, _, _ = run(provider, prompts(2), budget="5 USD")
        assert isinstance(failure_of(outcomes[0]).error, ConfigError)
        assert "budget is in USD" in str(failure_of(outcomes[0]).error)
        assert provider.submits == []

    def test_a_provider_that_charges_in_another_currency_pauses_the_run(self) -> None:
        provider = paid(default=Script(cost=hg.Cost(amount=1, currency="USD")))
        outcomes, pause, _ = run(provider, prompts(5), budget="5 CNY", concurrency=1)
        assert (outcomes[0].ok, len(provider.submits)) == (True, 1)
        assert pause is not None
        assert "charges USD" in pause.reason


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(folder=tmp_path / "out", provider=paid())


def spent(runs: Runs) -> dict[str, Any]:
    found = status(runs.journal).spending
    return {
        "spent": sum(each.amount for each in found.spent),
        "in_flight": sum(each.amount for each in found.in_flight),
    }


def paused(runs: Runs, *tasks: hg.Task | str, **arguments: Any) -> list[hg.Outcome]:
    """The outcomes of a run that may be paused."""

    async def main() -> tuple[list[hg.Outcome], Spending]:
        outcomes: list[hg.Outcome] = []
        async with runs.opened(**arguments) as studio:
            with suppress(PausedError):
                await drain(studio.map(tasks), outcomes)
        return outcomes, studio.describe().spending

    outcomes, counted = run_virtual(main())
    if counted.budget is not None:
        # There is no second book. Jobs that nobody waits for any more are in flight on disk.
        assert sum(spent(runs).values()) == sum(each.amount for each in counted.spent)
        assert counted.in_flight == ()
    return outcomes


class TestRuns:
    """The budget is the journal's: what earlier runs have spent is in it."""

    def test_the_same_again_spends_no_more_and_a_larger_one_goes_on(self, runs: Runs) -> None:
        for _ in range(2):
            paused(runs, *prompts(10), budget="3 CNY")
            assert runs.provider.bill == 3
        assert spent(runs) == {"spent": 3, "in_flight": 0}
        assert status(runs.journal).spending.budget == yuan(3)
        outcomes = paused(runs, *prompts(10), budget="10 CNY")
        assert all(outcome.ok for outcome in outcomes)
        assert runs.provider.bill == 10
        assert status(runs.journal).left == ()

    def test_a_bare_number_is_of_the_currency_that_was_spent(self, runs: Runs) -> None:
        paused(runs, "0", budget=3)
        with pytest.raises(ConfigError, match="budget is in USD"):
            paused(runs, "1", budget="3 USD")
        assert spent(runs)["spent"] == 1

    def test_jobs_of_a_killed_run_are_counted_and_settled_once(self, runs: Runs) -> None:
        runs.killed(*prompts(10), after_s=5, budget="6 CNY")
        assert spent(runs) == {"spent": 0, "in_flight": 4}
        paused(runs, *prompts(10), budget="6 CNY")
        assert runs.provider.bill == 6
        assert spent(runs) == {"spent": 6, "in_flight": 0}

    def test_a_job_that_ends_in_a_later_run_may_leave_room(self, tmp_path: Path) -> None:
        provider = paid(default=Script(cost=yuan("0.5")))
        runs = Runs(folder=tmp_path / "out", provider=provider)
        runs.killed(*prompts(4), after_s=5, budget="4 CNY")
        outcomes = paused(runs, *prompts(6), budget="4 CNY")
        assert sum(outcome.ok for outcome in outcomes) == 6
        assert spent(runs) == {"spent": 3, "in_flight": 0}

    def test_a_submit_that_died_on_its_way_is_spent(self, tmp_path: Path) -> None:
        provider = paid(Script(submits=["late"]))
        runs = Runs(folder=tmp_path / "out", provider=provider)
        runs.killed("0", after_s=5, budget="1 CNY")
        paused(runs, *prompts(2), budget="1 CNY")
        assert (runs.jobs, spent(runs)["spent"]) == (1, 1)

    def test_what_a_failed_job_was_charged_is_remembered(self, tmp_path: Path) -> None:
        provider = paid(Script(error=JobFailedError("no"), cost=FREE))
        runs = Runs(folder=tmp_path / "out", provider=provider)
        paused(runs, "0", budget=1)
        assert spent(runs)["spent"] == 0
        assert [outcome.state for outcome in paused(runs, *prompts(2), budget=1)][-1] == "done"

    def test_a_retry_adds_to_what_was_spent_before(self, tmp_path: Path) -> None:
        provider = paid(Script(error=JobFailedError("no")))
        runs = Runs(folder=tmp_path / "out", provider=provider)
        paused(runs, "0", budget=1)
        outcomes = paused(runs, "0", budget=1, retry_failed=True)
        assert [outcome.state for outcome in outcomes] == ["held"]
        assert runs.jobs == 1
        paused(runs, "0", budget=3, retry_failed=True)
        assert (runs.jobs, spent(runs)["spent"]) == (2, 2)

    def test_an_uncertain_submit_that_is_sent_again_stays_spent(self, tmp_path: Path) -> None:
        runs = Runs(folder=tmp_path / "out", provider=paid(default=Script(submits=["lose"])))
        paused(runs, CAT, budget=1)
        runs.provider.default = Script()
        assert [o.state for o in paused(runs, CAT, budget=1, retry_uncertain=True)] == ["held"]
        assert runs.jobs == 1
        assert [o.ok for o in paused(runs, CAT, budget=2)] == [True]
        assert spent(runs)["spent"] == 2

    def test_an_uncertain_submit_that_is_given_up_made_nothing(self, tmp_path: Path) -> None:
        runs = Runs(folder=tmp_path / "out", provider=paid(default=Script(submits=["lose"])))
        paused(runs, CAT, budget=1)
        dismiss(runs.journal, "cat")
        assert spent(runs)["spent"] == 0

    def test_jobs_of_unknown_price_are_told(self, runs: Runs) -> None:
        runs.provider.price = None
        paused(runs, *prompts(2))
        runs.provider.price = ONE
        assert status(runs.journal).spending.unpriced == 2

        async def main() -> Spending:
            async with runs.opened(budget=3) as studio:
                return studio.describe().spending  # type: ignore[no-any-return]

        assert run_virtual(main()).unpriced == 2

    def test_a_price_that_changes_concerns_only_what_is_not_sent(self, runs: Runs) -> None:
        runs.killed(*prompts(4), after_s=5, budget="9 CNY")
        runs.provider.price = yuan(2)
        paused(runs, *prompts(10), budget="9 CNY")
        # Four for 1, two for 2; one more would be 10.
        assert spent(runs)["spent"] == 8
        assert runs.jobs == 6


@st.composite
def priced_scripts(draw: st.DrawFn) -> Script:
    """A script whose jobs cost their price, or less; or nobody says."""
    error = draw(st.none() | st.just(JobFailedError("as scripted")))
    return Script(
        job_s=draw(st.floats(0, 90)),
        submits=draw(st.lists(acts, max_size=2)),
        polls=draw(st.lists(acts, max_size=1)),
        error=error,
        cost=draw(st.none() | st.sampled_from(["0", "0.5", "1"]).map(yuan)),
    )


@settings(max_examples=60)
@given(
    st.lists(priced_scripts(), min_size=1, max_size=12),
    st.sampled_from(["0", "0.5", "1", "2.5", "4", "20"]),
    st.sampled_from(["hold", "resubmit"]),
)
def test_no_bill_is_larger_than_the_budget(
    scripts: list[Script], amount: str, on_uncertain: str
) -> None:
    """Whatever the provider does: every task ends, nothing stays set aside, nothing is passed."""
    provider = paid(*scripts, late_s=30.0)
    outcomes, pause, spending = run(
        provider,
        prompts(len(scripts)),
        budget=f"{amount} CNY",
        on_uncertain=on_uncertain,
        backoff_s=0.5,
    )
    assert spending.in_flight == ()
    counted = sum((each.amount for each in spending.spent), Decimal())
    assert provider.bill <= counted <= Decimal(amount)
    assert len(outcomes) == len(scripts) or pause is not None
    for outcome in outcomes:
        if not outcome.ok and isinstance(failure_of(outcome).error, BudgetExceededError):
            assert outcome.state == "held"


@given(
    st.lists(priced_scripts(), min_size=1, max_size=6),
    st.lists(st.floats(0.5, 200), max_size=2),
)
@settings(max_examples=15)
def test_no_bill_is_larger_over_runs_that_die(
    tmp_path_factory: pytest.TempPathFactory, scripts: list[Script], deaths: list[float]
) -> None:
    folder = tmp_path_factory.mktemp("runs")
    runs = Runs(folder=folder / "out", provider=paid(*scripts, late_s=30.0))
    tasks = prompts(len(scripts))
    for after_s in deaths:
        with suppress(GenerationError):
            runs.killed(*tasks, after_s=after_s, budget="3 CNY", retry_failed=True)
    paused(runs, *tasks, budget="3 CNY", retry_failed=True, retry_uncertain=True)
    found = spent(runs)
    assert runs.provider.bill <= found["spent"] + found["in_flight"] <= 3


class Charges(RuleBasedStateMachine):
    """Every reservation is settled or given back once, whatever is said of it again."""

    def __init__(self) -> None:
        super().__init__()
        self.budget = Budget(limit=yuan(5))
        self.open: list[Charge] = []
        self.ended: list[Charge] = []
        self.spent = Decimal()

    @precondition(lambda self: self.spent + len(self.open) < 5)
    @rule()
    def reserve(self) -> None:
        charge = Charge(budget=self.budget, price=ONE)
        charge.expect()
        asyncio.run(charge.reserve())
        self.open.append(charge)

    @precondition(lambda self: self.spent + len(self.open) == 5)
    @rule()
    def no_room(self) -> None:
        async def main() -> None:
            await asyncio.wait_for(Charge(budget=self.budget, price=ONE).reserve(), 0.001)

        expected = (PausedError, BudgetExceededError) if not self.open else TimeoutError
        with pytest.raises(expected):
            asyncio.run(main())

    @precondition(lambda self: self.open)
    @rule(cost=st.none() | st.sampled_from([FREE, ONE]), how=st.sampled_from("srcx"))
    def end(self, cost: hg.Cost | None, how: str) -> None:
        charge = self.open.pop()
        if how == "s":
            charge.sent()
            charge.settle(cost)
        elif how == "c":
            charge.sent()
            charge.close(cost)
        elif how == "r":
            charge.refund()
        else:
            charge.close(cost)
        if how in "sc":
            self.spent += 1 if cost is None else cost.amount
        self.ended.append(charge)

    @precondition(lambda self: self.ended)
    @rule(say=st.sampled_from(["refund", "settle", "close"]))
    def say_again(self, say: str) -> None:
        getattr(self.ended[-1], say)()

    @invariant()
    def adds_up(self) -> None:
        found = self.budget.spending
        assert sum(each.amount for each in found.spent) == self.spent
        assert sum(each.amount for each in found.in_flight) == len(self.open)


TestCharges = Charges.TestCase
TestCharges.settings = settings(max_examples=30)
