"""Which provider and account a task goes to, and when."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import FakeStore, collect, drain, failure_of, no_plugins, opened, result_of
from holodeck_gen._journal.audit import providers_of, reading
from holodeck_gen._journal.rows import PAUSED
from holodeck_gen.errors import (
    AuthError,
    BillingError,
    ConfigError,
    ContentRejectedError,
    InvalidTaskError,
    JobFailedError,
    JournalError,
    PausedError,
    ProviderError,
    SubmitUncertainError,
    TransientError,
)
from holodeck_gen.testing import Act, Script, ScriptedProvider, run_virtual
from runs import Runs
from strategies import scripts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


@attrs.define(kw_only=True)
class Choosy(ScriptedProvider):
    """Refuses some prompts before any cost, and every submit when its credit is used up.

    Until `dead_until` it cannot be reached.
    """

    refuses: frozenset[str] = frozenset()
    credit: int = 1_000_000
    dead_until: float = 0.0

    def prepare(self, task: hg.Task) -> hg.Prepared:
        if task.prompt in self.refuses:
            raise InvalidTaskError(f"{self.name} cannot do {task.prompt}")
        return super().prepare(task)

    async def submit(self, request: hg.JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        now = asyncio.get_running_loop().time()
        if now < self.dead_until:
            self.submits.append(now)
            raise TransientError("connection refused", not_created=True)
        if len(self.jobs) >= self.credit:
            raise BillingError("no credit")
        return await super().submit(request, key=key)


def provider(name: str = "one", *, quota: int = 2, **facts: Any) -> Choosy:
    facts = {"limits": hg.Limits(max_jobs=quota), "quota": quota, **facts}
    return Choosy(name=name, **facts)


def accounts(*quotas: int, **facts: Any) -> list[Choosy]:
    """One provider's accounts with these quotas."""
    return [
        provider(account=f"account {i}", quota=quota, **facts) for i, quota in enumerate(quotas)
    ]


def refusing(error: Exception, name: str = "one", **facts: Any) -> Choosy:
    """Every submit is answered with `error`."""
    return provider(name, default=Script(submits=[error] * 100), **facts)


def run_all(
    providers: Sequence[ScriptedProvider], tasks: Sequence[hg.Task | str], **arguments: Any
) -> list[hg.Outcome]:
    async def main() -> list[hg.Outcome]:
        async with opened(list(providers), **arguments) as studio:
            return await studio.generate_all(tasks)

    return run_virtual(main())


async def makespan(pool: Sequence[ScriptedProvider], tasks: Sequence[str]) -> float:
    clock = asyncio.get_running_loop().time
    async with opened(list(pool)) as studio:
        began = clock()
        outcomes = await collect(studio.map(tasks))
        assert all(outcome.ok for outcome in outcomes)
        return clock() - began


def jobs(*providers: ScriptedProvider) -> list[int]:
    return [len(each.jobs) for each in providers]


class TestPool:
    @pytest.mark.parametrize("tasks", [140, 143, 300])
    def test_unequal_accounts_are_busy_to_the_end(self, tasks: int) -> None:
        """Two and five slots are as good as seven."""
        pool = accounts(2, 5)
        took = run_virtual(makespan(pool, [f"task {i}" for i in range(tasks)]))
        ideal = math.ceil(tasks / 7) * 10.0
        assert ideal <= took <= 1.05 * ideal
        assert sum(jobs(*pool)) == tasks
        assert [each.most_at_once for each in pool] == [2, 5]

    def test_an_account_that_refuses_has_no_room(self) -> None:
        """Its tasks go where there is some, instead of waiting for it."""
        busy, free = accounts(2, 2)
        busy.quota = 0
        outcomes = run_all([busy, free], [f"task {i}" for i in range(8)])
        assert all(outcome.ok for outcome in outcomes)
        assert jobs(busy, free) == [0, 8]
        ends = max(job.ends for job in free.jobs.values())
        assert ends <= 1.05 * 40

    def test_who_is_refused_keeps_the_turn(self) -> None:
        busy, free = accounts(1, 1)
        busy.quota = 0
        run_all([busy, free], [f"{i}" for i in range(8)])
        order = [int(job.request["prompt"]) for job in free.jobs.values()]
        assert all(abs(number - place) <= 1 for place, number in enumerate(order)), order

    @pytest.mark.parametrize("tasks", [20, 100])
    def test_an_account_whose_service_is_dead_leaves_the_work_to_the_others(
        self, tasks: int
    ) -> None:
        dead, good = accounts(3, 2)
        dead.dead_until = math.inf
        ends: list[float] = []

        async def main() -> None:
            async with opened([dead, good]) as studio:
                async for outcome in studio.map([f"task {i}" for i in range(tasks)]):
                    assert outcome.ok
                    ends.append(asyncio.get_running_loop().time())

        run_virtual(main())
        assert ends[-1] <= 1.05 * tasks / 2 * 10
        # It is tried once a minute.
        assert 5 <= len(dead.submits) <= 7 + ends[-1] / 60
        assert jobs(dead, good) == [0, tasks]

    def test_a_task_whose_submit_was_lost_stays(self) -> None:
        """Although its account is unwell then: there may be a job of it."""
        pool = accounts(1, 1)
        acts: list[Act] = ["lose", *[TransientError("refused", not_created=True)] * 99]
        pool[0].scripts = {"first": Script(submits=acts)}
        outcomes = run_all(pool, ["first", *["a"] * 5], on_uncertain="resubmit")
        assert failure_of(outcomes[0]).state == "held"
        assert [outcome.ok for outcome in outcomes[1:]] == [True] * 5
        prompts = [job.request["prompt"] for each in pool for job in each.jobs.values()]
        assert prompts.count("first") == 1

    def test_an_account_that_is_well_again_gets_work_again(self) -> None:
        sick, good = accounts(5, 2)
        sick.dead_until = 100.0
        took = run_virtual(makespan([sick, good], [f"task {i}" for i in range(60)]))
        # It is tried once a minute.
        assert took <= 160 + 10 * (60 - 2 * 16) / 7 + 20
        assert jobs(sick)[0] >= 15

    def test_a_paused_account_gets_nothing_more_and_the_others_go_on(self) -> None:
        broke, good = accounts(2, 2)
        broke.default = Script(submits=[BillingError("no credit")] * 3)
        outcomes = run_all([broke, good], [f"task {i}" for i in range(20)])
        assert all(outcome.ok for outcome in outcomes)
        assert len(broke.submits) <= 2
        assert jobs(broke, good) == [0, 20]

    def test_a_run_that_goes_on_is_not_remembered_as_paused(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        pool = accounts(1, 1, credit=0)
        pool[1].credit = 99
        runs.run(*[f"task {i}" for i in range(6)], provider=pool)
        with reading(runs.journal) as rows:
            assert rows.meta(PAUSED) is None
        pool[1].credit = 0
        with pytest.raises(PausedError):
            runs.run("one more", provider=pool)
        with reading(runs.journal) as rows:
            assert rows.meta(PAUSED) is not None

    def test_the_run_pauses_where_all_accounts_are_paused(self) -> None:
        pool = accounts(1, 1, default=Script(submits=[BillingError("no credit")] * 9))
        outcomes: list[hg.Outcome] = []

        async def main() -> None:
            async with opened(list(pool)) as studio:
                await drain(studio.map(f"task {i}" for i in range(1000)), outcomes)

        with pytest.raises(PausedError, match="no credit"):
            run_virtual(main())
        assert {failure_of(outcome).state for outcome in outcomes} == {"held"}
        assert len(outcomes) < 200
        assert sum(len(each.submits) for each in pool) == 2

    def test_tasks_that_wait_learn_that_an_account_is_paused(self) -> None:
        """They wait at all accounts, and one of them goes."""
        broke, good = accounts(1, 1)
        broke.scripts = {"poor": Script(submits=[BillingError("no credit")])}
        outcomes = run_all([broke, good], ["a", "b", "poor", "c", "d", "e"])
        assert sum(outcome.ok for outcome in outcomes) >= 5
        assert sum(jobs(broke, good)) == sum(outcome.ok for outcome in outcomes)

    def test_the_jobs_of_one_task_share_an_account(self) -> None:
        pool = accounts(2, 2)
        (outcome,) = run_all(pool, [hg.Task("many", n=6)])
        assert len(result_of(outcome).job_ids) == 6
        assert sorted(jobs(*pool)) == [0, 6]

    def test_a_cancelled_wait_keeps_no_slot(self) -> None:
        pool = accounts(1, 1)

        async def main() -> list[hg.Outcome]:
            async with opened(list(pool)) as studio:
                handles = [studio.submit(f"task {i}") for i in range(4)]
                await asyncio.sleep(5)
                await handles[2].cancel()
                await asyncio.sleep(0.5)
                # The moment in which both accounts grant a slot.
                canceller = asyncio.get_running_loop().call_at(10.0, handles[3].run.cancel)
                outcomes = [await handle.outcome() for handle in handles[:2]]
                canceller.cancel()
                more = await studio.generate_all(["later", "later still"])
                return outcomes + more

        assert all(outcome.ok for outcome in run_virtual(main()))

    @pytest.mark.parametrize("count", [1, 2])
    def test_what_was_refused_is_not_submitted_after_a_stop(self, count: int) -> None:
        """It has no job that could be finished."""
        pool = accounts(*[1] * count, limits=hg.Limits(max_jobs=2))
        outcomes: list[hg.Outcome] = []

        async def main() -> None:
            async with opened(list(pool)) as studio:
                run = asyncio.ensure_future(drain(studio.map(["a"] * 8), outcomes))
                await asyncio.sleep(5)
                await studio.stop(finish_jobs=True)
                await run

        run_virtual(main())
        assert jobs(*pool) == [1] * count
        assert sorted(outcome.state for outcome in outcomes)[-count:] == ["done"] * count
        assert len(outcomes) == 8

    def test_a_cached_picture_keeps_no_slot(self, tmp_path: Path) -> None:
        """Neither from the task's other pictures nor from other tasks."""
        cats = [hg.Task("a cat", seed=1), hg.Task("a cat", seed=1, n=3)]
        run_all(accounts(1, 1), cats[:1], cache=tmp_path / "cache", output=tmp_path / "one")
        pool = accounts(1, 1)
        tasks = [*cats * 4, hg.Task("a dog")]
        outcomes = run_all(pool, tasks, cache=tmp_path / "cache", output=tmp_path / "two")
        assert all(outcome.ok for outcome in outcomes)
        assert sum(jobs(*pool)) <= 4 * 2 + 1

    def test_an_account_that_is_there_twice_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="one is there twice"):
            run_all([provider(), provider()], ["a cat"])

    def test_what_it_is_called(self) -> None:
        async def main() -> hg.StudioInfo:
            async with opened([*accounts(2, 5, 1), provider("two", quota=9)]) as studio:
                return studio.describe()

        info = run_virtual(main())
        assert (info.provider, info.jobs_at_once) == ("one (3 accounts), then two", 8)

    def test_an_account_that_cannot_do_a_task_does_not_get_it(self) -> None:
        pool = accounts(3, 1)
        pool[0].refuses = frozenset({"hard"})
        outcomes = run_all(pool, ["hard"] * 3)
        assert all(outcome.ok for outcome in outcomes)
        assert jobs(*pool) == [0, 3]


#: What a submit is answered with, and whether the next provider gets the task.
REFUSALS: list[tuple[Act, bool]] = [
    (AuthError("no such key"), True),
    (BillingError("no credit"), True),
    (ContentRejectedError("not this"), False),
    (JobFailedError("the model is broken", not_created=True), False),
    (ProviderError("refused", not_created=True), False),
    (TransientError("busy", code="Busy", not_created=True), False),
    (AuthError("who knows", not_created=False), False),
    (SubmitUncertainError("who knows"), False),
    ("lose", False),
    ("hang", False),
    ("nonsense", False),
]


class TestOrder:
    def test_the_first_provider_gets_all_that_it_takes(self) -> None:
        """However long they wait for it."""
        one, two = provider(), provider("two", quota=9)
        outcomes = run_all([one, two], ["a"] * 6)
        assert {result_of(outcome).provider for outcome in outcomes} == {"one"}
        assert jobs(one, two) == [6, 0]

    @pytest.mark.parametrize(("act", "goes_on"), REFUSALS, ids=lambda value: repr(value)[:40])
    def test_what_goes_on_to_the_next(self, act: Act, goes_on: bool) -> None:
        acts: list[Act] = [act] * 9
        one = provider(default=Script(submits=acts))
        two = provider("two")
        (outcome,) = run_all([one, two], [hg.Task("a cat", id="cat")], backoff_s=0.1)
        assert outcome.ok is goes_on
        assert jobs(two) == [int(goes_on)]
        assert sum(one.created.values()) + sum(two.created.values()) <= 1
        if goes_on:
            assert (result_of(outcome).provider, result_of(outcome).attempts) == ("two", 2)
        else:
            assert not isinstance(failure_of(outcome).error, JournalError)

    def test_all_of_a_long_run_goes_on(self) -> None:
        """A pause of the first provider is none of the run."""
        one, two = provider(credit=3), provider("two", quota=9)

        async def main() -> list[hg.Outcome]:
            async with opened([one, two]) as studio:
                return await collect(studio.map(f"task {i}" for i in range(200)))

        outcomes = run_virtual(main())
        assert len(outcomes) == 200
        assert all(outcome.ok for outcome in outcomes)
        assert jobs(one, two) == [3, 197]

    def test_it_ends_as_the_next_provider_ends_it(self) -> None:
        one, two = refusing(AuthError("no")), refusing(ContentRejectedError("not this"), "two")
        (outcome,) = run_all([one, two], ["a cat"])
        assert isinstance(failure_of(outcome).error, ContentRejectedError)
        assert outcome.state == "failed"

    def test_what_a_provider_cannot_do_goes_to_the_next(self) -> None:
        one, two = provider(refuses=frozenset({"hard"})), provider("two")
        outcomes = run_all([one, two], ["easy", "hard"])
        assert [result_of(outcome).provider for outcome in outcomes] == ["one", "two"]

    def test_what_none_can_do_fails_for_the_first_ones_reason(self) -> None:
        refuses = frozenset({"hard"})
        one, two = provider(refuses=refuses), provider("two", refuses=refuses)
        (outcome,) = run_all([one, two], ["hard"])
        error = failure_of(outcome).error
        assert isinstance(error, InvalidTaskError)
        assert (error.provider, outcome.state) == ("one", "failed")

    def test_what_only_a_paused_provider_can_do_is_held(self) -> None:
        one, two = refusing(AuthError("no such key")), provider("two", refuses=frozenset({"a cat"}))
        (outcome,) = run_all([one, two], ["a cat"])
        assert isinstance(failure_of(outcome).error, AuthError)
        assert outcome.state == "held"

    def test_what_waits_for_a_provider_that_is_paused_goes_on(self) -> None:
        one, two = provider(quota=1), provider("two")
        one.scripts = {"second": Script(submits=[BillingError("no credit")])}
        outcomes = run_all([one, two], ["first", "second", "third"])
        names = [result_of(outcome).provider for outcome in outcomes]
        assert names == ["one", "two", "two"]

    def test_a_task_with_a_job_stays(self) -> None:
        """Its other jobs are held where they were refused."""
        one, two = provider(quota=1, credit=1), provider("two")
        (outcome,) = run_all([one, two], [hg.Task("two cats", n=2)])
        assert failure_of(outcome).state == "held"
        assert len(failure_of(outcome).artifacts) == 1
        assert jobs(one, two) == [1, 0]

    def test_a_lost_answer_counts_also_where_it_is_submitted_again(self) -> None:
        """The refusal of the second submit proves nothing about the first."""
        acts: list[Act] = ["lose", AuthError("no such key")]
        one, two = provider(default=Script(submits=acts)), provider("two")
        (outcome,) = run_all([one, two], ["a cat"], on_uncertain="resubmit")
        assert isinstance(failure_of(outcome).error, AuthError)
        assert jobs(one, two) == [1, 0]

    def test_a_lost_answer_that_is_submitted_again_waits_for_a_slot(self) -> None:
        """Others may have room; but to them it cannot go."""
        pool = [
            provider(
                account=f"account {i}",
                quota=1,
                limits=hg.Limits(max_jobs=4, job_timeout_s=60.0),
                default=Script(job_s=30.0),
                scripts={"lost": Script(submits=["lose"], job_s=30.0)},
            )
            for i in range(2)
        ]
        outcomes = run_all(pool, ["lost", *"abcdef"], on_uncertain="resubmit", concurrency=4)
        assert all(outcome.ok for outcome in outcomes), outcomes
        assert sorted(jobs(*pool))[0] > 0

    def test_the_next_provider_may_need_fewer_jobs(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        one, two = refusing(AuthError("no such key")), provider("two", per_job=4)
        done = runs.run(hg.Task("a cat", id="cat", n=4), provider=[one, two])
        result = result_of(done["cat"])
        assert (len(result.artifacts), len(result.job_ids), len(one.submits)) == (4, 1, 2)
        assert result_of(runs.run(hg.Task("a cat", id="cat", n=4), provider=two)["cat"]).resumed

    def test_a_provider_that_the_task_names_is_binding(self) -> None:
        one, two = refusing(AuthError("no such key")), provider("two")
        outcomes = run_all([one, two], [hg.Task("a", provider="one"), hg.Task("b")])
        assert [outcome.ok for outcome in outcomes] == [False, True]
        (outcome,) = run_all([provider(), provider("two")], [hg.Task("b", provider="two")])
        assert result_of(outcome).provider == "two"

    def test_the_next_provider_may_be_a_pool(self) -> None:
        one, pool = refusing(AuthError("no such key")), accounts(1, 2, name="two")
        outcomes = run_all([one, *pool], ["a"] * 9)
        assert all(outcome.ok for outcome in outcomes)
        assert len(one.submits) <= 2
        assert max(job.ends for each in pool for job in each.jobs.values()) <= 1.05 * 30

    def test_all_accounts_come_before_the_next_provider(self) -> None:
        pool = accounts(2, 2, default=Script(submits=[BillingError("no credit")]))
        two = provider("two")
        (outcome,) = run_all([*pool, two], ["a cat"])
        assert (result_of(outcome).provider, result_of(outcome).attempts) == ("two", 3)
        assert [len(each.submits) for each in pool] == [1, 1]


class TestAffinity:
    def test_a_group_stays_with_the_provider_of_its_first(self) -> None:
        one, two = provider(refuses=frozenset({"hard"})), provider("two")
        tasks = [
            hg.Task("hard", affinity="scene"),
            *[hg.Task(f"easy {i}", affinity="scene") for i in range(4)],
            hg.Task("alone"),
        ]

        async def main() -> list[hg.Outcome]:
            async with opened([one, two]) as studio:
                first = await studio.submit(tasks[0]).outcome()
                return [first, *await studio.generate_all(tasks[1:])]

        names = [result_of(outcome).provider for outcome in run_virtual(main())]
        assert names == ["two"] * 5 + ["one"]

    def test_it_fails_rather_than_look_different(self) -> None:
        one, two = provider(refuses=frozenset({"hard"})), provider("two")

        async def main() -> list[hg.Outcome]:
            async with opened([one, two]) as studio:
                first = await studio.submit(hg.Task("easy", affinity="scene")).outcome()
                return [first, await studio.submit(hg.Task("hard", affinity="scene")).outcome()]

        first, second = run_virtual(main())
        assert result_of(first).provider == "one"
        assert isinstance(failure_of(second).error, InvalidTaskError)
        assert jobs(one, two) == [1, 0]

    def test_it_is_held_where_its_provider_is_paused(self) -> None:
        one, two = provider(), provider("two")
        one.scripts = {"late": Script(submits=[BillingError("no credit")])}

        async def main() -> list[hg.Outcome]:
            async with opened([one, two]) as studio:
                first = await studio.submit(hg.Task("early", affinity="scene")).outcome()
                late = [hg.Task("late", affinity="scene"), hg.Task("late", affinity="other")]
                return [first, *[await studio.submit(task).outcome() for task in late]]

        first, second, third = run_virtual(main())
        assert first.ok
        assert failure_of(second).state == "held"
        assert result_of(third).provider == "two"

    def test_a_group_of_which_nothing_was_made_goes_on_together(self) -> None:
        """Although some of it are still being refused when the first one is."""
        one, two = refusing(BillingError("no credit"), quota=3), provider("two", quota=9)
        tasks = [hg.Task(f"task {i}", affinity="scene") for i in range(9)]
        outcomes = run_all([one, two], tasks)
        assert {result_of(outcome).provider for outcome in outcomes} == {"two"}

    def test_any_account_of_the_provider_will_do(self) -> None:
        pool = accounts(1, 1)
        tasks = [hg.Task(f"task {i}", affinity="scene") for i in range(6)]
        run_all([*pool, provider("two")], tasks)
        assert jobs(*pool) == [3, 3]

    def test_a_later_run_goes_on_with_the_provider(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        one, two = provider(refuses=frozenset({"hard"})), provider("two")
        done = runs.run(
            hg.Task("hard", id="1", affinity="scene"),
            hg.Task("easy", id="2", affinity="other"),
            provider=[one, two],
        )
        assert [result_of(done[key]).provider for key in "12"] == ["two", "one"]
        tasks = [
            hg.Task("more", id="3", affinity="scene"),
            hg.Task("more", id="4", affinity="other"),
        ]
        done = runs.run(*tasks, provider=[one, two])
        assert [result_of(done[key]).provider for key in "34"] == ["two", "one"]

    def test_a_later_run_without_the_provider_holds_it(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        runs.run(hg.Task("a", id="1", affinity="scene"), provider=provider())
        tasks = [
            hg.Task("b", id="2", affinity="scene"),
            hg.Task("c", id="3", affinity="scene", provider="two"),
            hg.Task("d", id="4"),
        ]
        done = runs.run(*tasks, provider=provider("two"))
        held = failure_of(done["2"])
        assert (held.state, done["3"].ok, done["4"].ok) == ("held", True, True)
        assert "were made by one" in str(held.error)


@attrs.frozen(kw_only=True)
class Options:
    """Of a provider that is configured."""

    account: str = "none"
    quota: int = 1


class TestConfigured:
    """Providers by their names, with the accounts that the configuration gives them."""

    TABLES: ClassVar[dict[str, Any]] = {
        "one": {"quota": 2, "accounts": [{"account": "a"}, {"account": "b", "quota": 5}]},
        "twin": {"use": "one", "account": "a"},
    }

    def run(
        self, named: Any, tasks: Sequence[hg.Task | str], folder: Path
    ) -> tuple[list[hg.Outcome], list[Choosy], hg.StudioInfo]:
        made: list[Choosy] = []

        def factory(options: Options, _ctx: hg.Context) -> Choosy:
            made.append(provider("one", account=options.account, quota=options.quota))
            return made[-1]

        registry = no_plugins()
        registry.register("provider", "one", factory, options=Options)
        registry.register("provider", "idle", lambda _options, _ctx: provider("idle"))

        async def main() -> tuple[list[hg.Outcome], hg.StudioInfo]:
            async with hg.AsyncStudio(
                named,
                output=folder,
                store=FakeStore(),
                journal=None,
                config=hg.Config.of({"providers": self.TABLES}, environ={}),
                registry=registry,
            ) as studio:
                return await studio.generate_all(tasks), studio.describe()

        outcomes, info = run_virtual(main())
        assert all(outcome.ok for outcome in outcomes)
        return outcomes, made, info

    def test_one_name_means_all_its_accounts(self, tmp_path: Path) -> None:
        _, made, info = self.run("one", ["a"] * 14, tmp_path)
        assert [each.account for each in made] == ["a", "b"]
        assert jobs(*made) == [4, 10]
        assert (info.provider, info.jobs_at_once) == ("one (2 accounts)", 7)

    def test_a_task_that_names_a_provider_gets_all_its_accounts(self, tmp_path: Path) -> None:
        _, made, _ = self.run("idle", [hg.Task("a", provider="one")] * 14, tmp_path)
        assert jobs(*made) == [4, 10]

    def test_another_name_for_it_is_another_provider(self, tmp_path: Path) -> None:
        """The user tells them apart, so they are an order."""
        outcomes, made, info = self.run(
            ["twin", "one"], [hg.Task("a"), hg.Task("b", provider="twin")], tmp_path
        )
        assert jobs(*made) == [2, 0, 0]
        assert info.provider == "twin, then one (2 accounts)"
        assert {result_of(outcome).provider for outcome in outcomes} == {"one"}


class TestFairness:
    def test_two_calls_of_map_take_turns(self) -> None:
        one = provider(quota=1)

        async def main() -> None:
            async with opened(one) as studio:

                async def work(name: str, after_s: float) -> None:
                    await asyncio.sleep(after_s)
                    await collect(studio.map([f"{name} {i}" for i in range(6)]))

                await asyncio.gather(work("long", 0), work("late", 15))

        run_virtual(main())
        order = [job.request["prompt"].split()[0] for job in one.jobs.values()]
        assert order[2:8] in (["late", "long"] * 3, ["long", "late"] * 3)

    def test_scenes_take_turns_at_every_account(self) -> None:
        pool = accounts(1, 1)
        tasks = [
            hg.Task(f"{scene} {i}", affinity=scene) for scene in ("long", "short") for i in range(8)
        ]
        run_all(pool, tasks)
        for account in pool:
            order = [job.request["prompt"].split()[0] for job in account.jobs.values()]
            assert set(order[1:3]) == {"long", "short"}
            assert set(order[3:5]) == {"long", "short"}

    def test_priorities_hold_over_all_accounts(self) -> None:
        pool = accounts(1, 2)
        tasks = [hg.Task(f"{i}", priority=i) for i in range(30)]
        run_all(pool, tasks)
        began = sorted(
            (job.began, int(job.request["prompt"])) for a in pool for job in a.jobs.values()
        )
        late = [number for _, number in began[3:]]
        for i in range(0, len(late), 3):
            assert min(late[i : i + 3]) > max(late[i + 3 :], default=-1)


class TestResume:
    def test_jobs_are_asked_for_at_their_own_account(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        pool = accounts(2, 3)
        tasks = [hg.Task(f"task {i}", id=f"{i}") for i in range(20)]
        runs.killed(*tasks, after_s=15.0, provider=pool)
        before = sum(jobs(*pool))
        assert before == 10
        done = runs.run(*tasks, provider=pool)
        assert all(outcome.ok for outcome in done.values())
        assert sum(jobs(*pool)) == 20
        assert all(job.polls for each in pool for job in each.jobs.values())
        assert providers_of(runs.journal) == ["one"]

    def test_an_account_that_is_gone_keeps_its_jobs(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        pool = accounts(1, 1)
        tasks = [hg.Task(f"task {i}", id=f"{i}") for i in range(6)]
        runs.killed(*tasks, after_s=5.0, provider=pool)
        done = runs.run(*tasks, provider=pool[1:])
        held = [outcome for outcome in done.values() if not outcome.ok]
        assert len(held) == 1
        assert "another account of one" in str(failure_of(held[0]).error)
        assert jobs(*pool) == [1, 5]

    def test_what_was_refused_may_go_elsewhere(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out")
        one, two = refusing(AuthError("no such key")), provider("two")
        with pytest.raises(PausedError):
            runs.run(hg.Task("a cat", id="cat"), provider=one)
        done = runs.run(hg.Task("a cat", id="cat"), provider=[one, two])
        assert result_of(done["cat"]).provider == "two"
        assert jobs(one, two) == [0, 1]


#: Two providers' behavior towards each of some tasks.
@given(
    st.lists(st.tuples(scripts, scripts), max_size=6),
    st.booleans(),
    st.sampled_from([None, "scene"]),
    st.lists(st.integers(1, 3), min_size=2, max_size=3),
)
def test_nothing_is_made_twice(
    given: list[tuple[Script, Script]], pool: bool, affinity: str | None, quotas: list[int]
) -> None:
    """Whatever the providers do, and whether they are a pool or an order."""
    tasks = [hg.Task(f"task {i}", affinity=affinity) for i in range(len(given))]
    providers = [
        provider(
            "one" if pool else f"provider {i}",
            account=f"account {i}",
            quota=quota,
            limits=hg.Limits(max_jobs=quota, request_timeout_s=20.0, job_timeout_s=100.0),
            late_s=30.0,
            scripts={task.prompt: pair[i % 2] for task, pair in zip(tasks, given, strict=True)},
        )
        for i, quota in enumerate(quotas)
    ]

    outcomes = run_all(providers, tasks)
    assert len(outcomes) == len(tasks)
    for task, outcome in zip(tasks, outcomes, strict=True):
        made = [
            job
            for each in providers
            for job in each.jobs.values()
            if job.request["prompt"] == task.prompt
        ]
        assert len(made) <= 1, "paid twice"
        assert made or not outcome.ok
    if affinity and not pool:
        makers = [each for each in providers if each.jobs]
        assert len(makers) <= 1, "a group looks different"
    for each, quota in zip(providers, quotas, strict=True):
        assert each.most_at_once <= quota
