"""What a provider refuses for one quota, such as a model's, is none of the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import drain, failure_of, opened
from holodeck_gen._journal.audit import status
from holodeck_gen.errors import BillingError, PausedError
from holodeck_gen.events import AccountPaused
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import Runs

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

GONE = "there is no more of this model's quota"


@attrs.define(kw_only=True)
class Models(ScriptedProvider):
    """A provider with a quota for each model, of which some are used up."""

    used_up: frozenset[str] = frozenset({"big"})
    whole: bool = False

    def quota_key(self, task: hg.Task) -> str:
        return task.model or "small"

    def prepare(self, task: hg.Task) -> hg.Prepared:
        prepared = super().prepare(task)
        return attrs.evolve(prepared, request={**prepared.request, "model": task.model or "small"})

    async def submit(self, request: hg.JsonObject, *, key: str) -> hg.JobRef | hg.JobStatus:
        if request["model"] in self.used_up:
            self.submits.append(0.0)
            raise BillingError(GONE, code="UsedUp", quota_only=not self.whole)
        return await super().submit(request, key=key)


def mixed(number: int) -> list[hg.Task]:
    """Tasks of both models, the first of the one that is used up."""
    return [hg.Task(f"a {i}", id=f"t{i}", model=("big", "small")[i % 2]) for i in range(number)]


def run(
    providers: Iterable[ScriptedProvider], tasks: list[hg.Task], **arguments: Any
) -> tuple[list[hg.Outcome], PausedError | None]:
    """The outcomes by their place, and why the run was paused."""

    async def main() -> tuple[list[hg.Outcome], PausedError | None]:
        outcomes: list[hg.Outcome] = []
        pause = None
        async with opened(list(providers), **arguments) as studio:
            try:
                await drain(studio.map(tasks), outcomes)
            except PausedError as error:
                pause = error
        return sorted(outcomes, key=lambda outcome: outcome.index), pause

    return run_virtual(main())


class TestOneQuota:
    def test_tasks_of_other_models_go_on(self) -> None:
        """However many of the refused one come first."""
        first = [hg.Task(f"first {i}", model="big") for i in range(100)]
        provider = Models()
        outcomes, pause = run([provider], [*first, *mixed(20)])
        assert [each.ok for each in outcomes] == [False] * 100 + [False, True] * 10
        assert {each.state for each in outcomes if not each.ok} == {"held"}
        # As many were on their way when it was told.
        assert len(provider.submits) == 10 + 2
        assert pause is not None
        assert "tasks of big" in str(pause)
        assert GONE in pause.reason

    def test_what_concerns_the_account_pauses_all(self) -> None:
        provider = Models(whole=True, limits=hg.Limits(max_jobs=1))
        outcomes, pause = run([provider], mixed(200))
        assert pause is not None
        assert sum(each.ok for each in outcomes) <= 1
        assert len(outcomes) < 200

    def test_those_that_have_nowhere_to_go_are_made_by_a_later_run(self, tmp_path: Path) -> None:
        provider = Models()
        runs = Runs(tmp_path / "out", provider)
        outcomes: list[hg.Outcome] = []

        async def main() -> None:
            async with runs.opened() as studio:
                await drain(studio.map(mixed(6)), outcomes)

        with pytest.raises(PausedError, match="tasks of big"):
            run_virtual(main())
        found = status(runs.journal).paused
        assert found is not None
        assert GONE in found.reason
        provider.used_up = frozenset()
        assert all(outcome.ok for outcome in runs.run(*mixed(6)).values())
        assert len(provider.jobs) == 6

    def test_another_account_makes_them(self) -> None:
        pool = [Models(account="poor"), Models(account="rich", used_up=frozenset())]
        outcomes, pause = run(pool, mixed(20))
        assert all(each.ok for each in outcomes)
        assert pause is None
        # The first still makes what it can.
        assert {job.request["model"] for job in pool[0].jobs.values()} == {"small"}

    def test_or_another_provider(self) -> None:
        one, two = Models(), Models(name="two", used_up=frozenset())
        outcomes, pause = run([one, two], mixed(20))
        assert all(each.ok for each in outcomes)
        assert pause is None
        assert (len(one.jobs), len(two.jobs)) == (10, 10)

    def test_observers_learn_for_which(self) -> None:
        seen: list[object] = []
        run([Models()], mixed(6), on_event=seen.append)
        assert [each.quota for each in seen if isinstance(each, AccountPaused)] == ["big"]

    def test_a_single_task_learns_it_too(self) -> None:
        async def main() -> list[hg.Outcome]:
            async with opened(Models()) as studio:
                handles = [studio.submit(task) for task in mixed(3)]
                return [await handle.outcome() for handle in handles]

        outcomes = run_virtual(main())
        assert [each.ok for each in outcomes] == [False, True, False]
        assert GONE in str(failure_of(outcomes[2]).error)
