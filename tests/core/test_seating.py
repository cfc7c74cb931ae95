"""Studios that share an account's slots."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

import holodeck_gen as hg
from helpers import collect, drain, opened, result_of
from holodeck_gen._journal.place import slots_folder
from holodeck_gen._seats.seating import VERSION
from holodeck_gen.errors import PausedError
from holodeck_gen.testing import Script, ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs
from strategies import scripts

if TYPE_CHECKING:
    from pathlib import Path

LIMITS = hg.Limits(max_jobs=2, request_timeout_s=20.0, job_timeout_s=100.0)


def prompts(name: str, number: int = 4) -> list[str]:
    return [f"{name} {i}" for i in range(number)]


class TestTogether:
    @pytest.mark.parametrize("journal", [None, "automatic"])
    def test_two_studios_have_no_more_than_one(self, tmp_path: Path, journal: Any) -> None:
        provider = ScriptedProvider(limits=LIMITS)

        async def work(name: str) -> list[hg.Outcome]:
            async with opened(provider, state=tmp_path, journal=journal) as studio:
                return await collect(studio.map(prompts(name, 8)))

        async def main() -> list[list[hg.Outcome]]:
            return [*await asyncio.gather(work("one"), work("other"))]

        outcomes = run_virtual(main())
        assert all(outcome.ok for each in outcomes for outcome in each)
        assert provider.most_at_once == 2
        names = [job.request["prompt"].split()[0] for job in provider.jobs.values()]
        assert 2 <= names[:8].count("one") <= 6, "nobody is kept waiting until the other is done"

    def test_accounts_do_not_share(self, tmp_path: Path) -> None:
        providers = [ScriptedProvider(name=name, limits=LIMITS) for name in ("one", "other")]

        async def work(provider: ScriptedProvider) -> float:
            async with opened(provider, state=tmp_path) as studio:
                await collect(studio.map(prompts("a", 2)))
            return asyncio.get_running_loop().time()

        async def main() -> list[float]:
            return await asyncio.gather(*map(work, providers))

        assert max(run_virtual(main())) < 15

    def test_what_is_free_is_not_counted(self, tmp_path: Path) -> None:
        provider = ScriptedProvider(limits=LIMITS, billing="free")

        async def work(name: str) -> None:
            async with opened(provider, state=tmp_path) as studio:
                await collect(studio.map(prompts(name)))

        async def main() -> None:
            await asyncio.gather(work("one"), work("other"))

        run_virtual(main())
        assert provider.most_at_once == 4
        assert not any(tmp_path.iterdir())

    def test_without_a_folder_to_write_it_goes_on_alone(self, tmp_path: Path) -> None:
        (tmp_path / "holodeck-gen").write_text("a file is in the way")
        provider = ScriptedProvider(limits=LIMITS)

        async def main() -> list[hg.Outcome]:
            async with opened(provider, state=tmp_path) as studio:
                return await collect(studio.map(prompts("a")))

        with capture_logs() as logs:
            outcomes = run_virtual(main())
        assert all(outcome.ok for outcome in outcomes)
        assert provider.most_at_once == 2
        assert [each["event"] for each in logs].count("slots.not_shared") == 1

    def test_nothing_is_left_of_those_who_have_ended(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out", state=tmp_path / "state")
        runs.run(CAT, DOG)
        (file,) = (runs.state / "holodeck-gen" / slots_folder().name).iterdir()
        assert file.name.endswith(f"-{VERSION}.sqlite3")


class TestLeftBehind:
    @pytest.mark.parametrize("end", ["leave", "kill"])
    def test_jobs_that_go_on_keep_their_slots(self, tmp_path: Path, end: str) -> None:
        first = Runs(tmp_path / "one", ScriptedProvider(limits=LIMITS))
        first.provider.default = Script(job_s=60)
        if end == "kill":
            first.killed(CAT, DOG, after_s=5)
        else:
            first.run_for(5, CAT, DOG)
        assert first.jobs == 2
        # What the provider has begun it goes on with; its clock is the next loop's.
        for job in first.provider.jobs.values():
            job.began, job.ends = 0.0, 55.0
        other = Runs(tmp_path / "other", first.provider, state=first.state)
        assert result_of(other.run(hg.Task("a bird", id="bird"))["bird"])
        assert first.provider.most_at_once == 2
        assert first.provider.submits[2] >= 55

    def test_who_goes_on_with_them_has_their_slots(self, tmp_path: Path) -> None:
        runs = Runs(tmp_path / "out", ScriptedProvider(limits=LIMITS))
        runs.provider.default = Script(job_s=60)
        runs.killed(CAT, DOG, after_s=5)
        for job in runs.provider.jobs.values():
            job.began, job.ends = 0.0, 30.0
        outcomes = runs.run(CAT, DOG, hg.Task("a bird", id="bird"))
        assert all(outcome.ok for outcome in outcomes.values())
        assert runs.provider.most_at_once == 2
        # As soon as the first has ended, and not when its time would have been over.
        assert 30 <= runs.provider.submits[2] < 35


class TestLost:
    def test_the_next_attempt_does_not_take_its_slot(self) -> None:
        """It may pay twice, by the user's word; more jobs than allowed nobody wanted."""
        provider = ScriptedProvider(
            limits=hg.Limits(max_jobs=1, job_timeout_s=100.0),
            scripts={"a cat": Script(submits=["lose"], job_s=90)},
        )

        async def main() -> list[hg.Outcome]:
            async with opened(provider, on_uncertain="resubmit") as studio:
                return await collect(studio.map(["a cat", "a dog"]))

        assert all(outcome.ok for outcome in run_virtual(main()))
        assert provider.created.total() == 3
        assert provider.most_at_once == 1

    @pytest.mark.parametrize("decision", [{"retry_uncertain": True}, {"on_uncertain": "resubmit"}])
    def test_nor_does_that_of_a_later_run(self, tmp_path: Path, decision: dict[str, Any]) -> None:
        runs = Runs(tmp_path / "out", ScriptedProvider())
        runs.provider.limits = hg.Limits(max_jobs=1, job_timeout_s=100.0)
        runs.provider.scripts = {"a cat": Script(submits=["late"], job_s=90)}
        runs.killed(CAT, after_s=5, request_timeout_s=3600)
        (job,) = runs.provider.jobs.values()
        job.began, job.ends = 0.0, 85.0
        assert runs.run(CAT, **decision)["cat"].ok
        assert runs.provider.most_at_once == 1
        assert runs.jobs == 2

    def test_a_state_folder_that_is_gone_is_made_up_for_by_the_journal(
        self, tmp_path: Path
    ) -> None:
        runs = Runs(tmp_path / "out", ScriptedProvider())
        runs.provider.limits = hg.Limits(max_jobs=1, job_timeout_s=100.0)
        runs.provider.scripts = {"a cat": Script(submits=["lose"], job_s=90)}
        runs.run(CAT)
        (job,) = runs.provider.jobs.values()
        job.began, job.ends = 0.0, 90.0
        runs.state = tmp_path / "new"
        with capture_logs() as logs:
            assert runs.run(DOG)["dog"].ok
        kept = next(each for each in logs if each["event"] == "slots.kept")
        assert kept["lost_submits"] == 1
        assert kept["at_most_s"] <= 100
        assert runs.provider.most_at_once == 1

    def test_jobs_of_a_killed_run_are_told_to_others(self, tmp_path: Path) -> None:
        provider = ScriptedProvider(limits=hg.Limits(max_jobs=1), default=Script(job_s=300.0))
        killed = Runs(tmp_path / "killed", provider)
        killed.killed(CAT, after_s=10.0)
        other = Runs(tmp_path / "other", provider, state=killed.state)
        with capture_logs() as logs:
            other.run_for(1.0, DOG)
            killed.run_for(1.0, CAT)
        (kept,) = [each for each in logs if each["event"] == "slots.kept"]
        assert (kept["lost_submits"], kept["jobs_of_ended_runs"]) == (0, 1)
        assert 0 < kept["at_most_s"] <= 1200


@settings(max_examples=25)
@given(
    batches=st.lists(st.lists(scripts, max_size=5), min_size=2, max_size=3), at=st.floats(0, 100)
)
def test_never_over_whoever_leaves_and_comes(
    batches: list[list[Script]], at: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Studios beside each other, of which one is left in the middle and begun again."""
    tmp_path = tmp_path_factory.mktemp("law")
    given_scripts = {
        f"task {i}.{j}": script for i, each in enumerate(batches) for j, script in enumerate(each)
    }
    limits = hg.Limits(max_jobs=2, poll_interval_s=3.0, request_timeout_s=20.0, job_timeout_s=100.0)
    provider = ScriptedProvider(limits=limits, scripts=given_scripts, late_s=30.0)

    async def work(number: int) -> None:
        tasks = [name for name in given_scripts if name.startswith(f"task {number}.")]
        # Refused credentials concern the account; then a run may end early.
        with suppress(PausedError):
            async with opened(
                provider,
                state=tmp_path / "state",
                output=tmp_path / str(number),
                journal="automatic",
            ) as studio:
                await drain(studio.map(tasks), [])

    async def left() -> None:
        first = asyncio.ensure_future(work(0))
        await asyncio.sleep(at)
        first.cancel()
        with suppress(asyncio.CancelledError):
            await first
        await work(0)

    async def main() -> None:
        await asyncio.gather(left(), *(work(i) for i in range(1, len(batches))))

    run_virtual(main())
    assert provider.most_at_once <= 2
    assert all(count == 1 for count in provider.created.values()), "paid twice"
    assert os.listdir(tmp_path / "state" / "holodeck-gen" / "slots")
