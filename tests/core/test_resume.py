"""What a second run makes of what the first one left."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from typing import TYPE_CHECKING

import attrs
import pytest

import holodeck_gen as hg
from helpers import collect, failure_of, result_of
from holodeck_gen._collect import dismiss
from holodeck_gen._journal.audit import audit, status
from holodeck_gen._scripted import PNG, Script
from holodeck_gen.errors import (
    ContentRejectedError,
    InvalidTaskError,
    JobTimeoutError,
    JournalLockedError,
    ProcessingError,
    SlotRefusedError,
    SubmitUncertainError,
    ThrottledError,
    UnknownNameError,
)
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._model.values import JsonObject


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


class TestResume:
    def test_what_is_done_is_not_done_again(self, runs: Runs) -> None:
        first = runs.run(CAT, "a bird", "a bird")
        second = runs.run(CAT, "a bird", "a bird")
        assert runs.jobs == 3
        assert set(second) == set(first)
        for key, outcome in second.items():
            assert result_of(outcome).resumed
            assert attrs.evolve(result_of(outcome), resumed=False) == first[key]

    def test_a_job_that_runs_is_gone_on_with(self, runs: Runs) -> None:
        runs.killed(CAT, DOG, after_s=5)
        outcomes = runs.run(CAT, DOG)
        assert runs.jobs == 2
        assert not any(result_of(outcome).resumed for outcome in outcomes.values())
        assert outcomes["cat"].attempts == 1

    def test_a_job_is_gone_on_with_before_its_task_comes(self, runs: Runs) -> None:
        runs.provider.scripts = {DOG.prompt: Script(job_s=60)}
        runs.killed(CAT, after_s=5)
        assert "cat" not in runs.run(DOG)
        assert result_of(runs.run(CAT)["cat"]).resumed
        assert runs.jobs == 2

    def test_what_this_run_ended_before_the_task_came_is_its_own(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)

        async def main() -> list[hg.Outcome]:
            async with runs.opened() as studio:
                await asyncio.sleep(100)
                assert status(runs.journal).tasks["done"] == 1
                return await collect(studio.map([CAT], resumed=False))

        (outcome,) = run_virtual(main())
        assert not result_of(outcome).resumed
        assert runs.jobs == 1

    def test_what_this_run_failed_at_before_the_task_came_is_not_tried_again(
        self, runs: Runs
    ) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        runs.killed(CAT, after_s=5)

        async def main() -> list[hg.Outcome]:
            async with runs.opened(process=[fail]) as studio:
                await asyncio.sleep(100)
                return await collect(studio.map([CAT]))

        (outcome,) = run_virtual(main())
        assert isinstance(failure_of(outcome).error, ProcessingError)
        assert status(runs.journal).tasks == {
            "done": 0, "failed": 1, "held": 0, "working": 0, "waiting": 0,
        }  # fmt: skip

    def test_a_task_in_work_is_not_begun_by_a_second_hand(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)

        async def main() -> None:
            async with runs.opened() as studio:
                handle = await studio.go_on("cat")
                with pytest.raises(InvalidTaskError, match="in work already"):
                    await studio.go_on("cat")
                (again,) = await collect(studio.map([CAT]))
                assert isinstance(failure_of(again).error, InvalidTaskError)
                assert (await handle.outcome()).ok

        run_virtual(main())
        assert runs.jobs == 1

    @pytest.mark.parametrize("whole", [True, False])
    def test_an_answer_that_came_and_was_not_recorded_is_taken_from_the_spool(
        self, runs: Runs, whole: bool
    ) -> None:
        calls: list[str] = []

        class Direct(hg.DirectProvider):
            def prepare(self, task: hg.Task) -> hg.Prepared:
                return attrs.evolve(super().prepare(task), per_job=2)

            async def submit(self, request: JsonObject, *, key: str) -> hg.JobStatus:
                calls.append(key)
                return hg.JobStatus(phase="done", outputs=(hg.Bytes(data=PNG),) * 2)

        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        async def unused(_request: JsonObject) -> bytes:
            raise NotImplementedError

        task = attrs.evolve(CAT, n=2)
        direct = Direct("direct", unused)
        runs.run(task, provider=direct, process=[fail])
        raws = sorted((runs.folder / ".spool").glob("*.raw"))
        assert len(raws) == 2
        # As if the process had been killed between the last file and its record.
        with contextlib.closing(sqlite3.connect(runs.journal)) as connection:
            connection.execute("UPDATE parts SET state = 'submitting', files = NULL, error = NULL")
            connection.execute("UPDATE tasks SET state = 'open', outcome = NULL")
            connection.commit()
        if not whole:
            raws[1].unlink()
        outcome = runs.run(task, provider=direct)["cat"]
        assert (outcome.ok, outcome.state) == ((True, "done") if whole else (False, "held"))
        assert len(calls) == 1

    def test_more_of_the_same_prompt_are_new(self, runs: Runs) -> None:
        runs.run("a bird")
        outcomes = list(runs.run("a bird", "a bird").values())
        assert [result_of(outcome).resumed for outcome in outcomes] == [True, False]

    def test_another_task_under_an_id_is_new_and_the_old_file_stays(self, runs: Runs) -> None:
        runs.run(CAT)
        outcome = result_of(runs.run(hg.Task("another cat", id="cat"))["cat"])
        assert runs.jobs == 2
        assert sorted(runs.store.files) == ["cat.png", "cat~2.png"]
        assert outcome.artifact.uri == "memory:cat~2.png"
        assert result_of(runs.run(hg.Task("another cat", id="cat"))["cat"]).resumed

    def test_an_id_that_goes_back_to_an_earlier_task_is_not_paid_for_again(
        self, runs: Runs
    ) -> None:
        other = attrs.evolve(CAT, prompt="another cat")
        for task in (CAT, other, CAT, other, CAT):
            outcome = result_of(runs.run(task)["cat"])
            assert outcome.prompt == task.prompt
        assert outcome.resumed
        assert runs.jobs == 2
        assert status(runs.journal).tasks["done"] == 1

    def test_a_changed_task_does_not_lose_the_job_of_the_old_one(self, runs: Runs) -> None:
        runs.provider.scripts = {"another cat": Script(job_s=60)}
        runs.killed(CAT, after_s=5)
        outcomes = runs.run(hg.Task("another cat", id="cat"))
        assert result_of(outcomes["cat"]).prompt == "another cat"
        assert runs.jobs == 2
        assert len(runs.store.files) == 2

    def test_an_id_cannot_be_that_of_a_task_that_lost_its_own(self, runs: Runs) -> None:
        runs.run(CAT)
        runs.run(attrs.evolve(CAT, prompt="another cat"))
        refused = failure_of(runs.run(hg.Task("a cat", id="cat~replaced-1"))["cat~replaced-1"])
        assert isinstance(refused.error, InvalidTaskError)
        assert runs.jobs == 2
        assert result_of(runs.run(CAT)["cat"]).resumed

    def test_a_prompt_is_rewritten_once(self, runs: Runs) -> None:
        @attrs.define
        class Shout:
            calls: int = 0

            async def rewrite(self, task: hg.Task) -> hg.Task:
                self.calls += 1
                return attrs.evolve(task, prompt=task.prompt.upper())

        shout = Shout()
        runs.killed(CAT, after_s=5, rewrite=[shout])
        outcome = result_of(runs.run(CAT, rewrite=[shout])["cat"])
        assert outcome.prompt == "A CAT"
        assert result_of(runs.run(CAT, rewrite=[shout])["cat"]).prompt == "A CAT"
        assert shout.calls == 1

    def test_only_the_missing_parts_are_made(self, runs: Runs) -> None:
        task = hg.Task("a cat", id="cat", n=5, seed=7)
        runs.killed(task, after_s=15)
        assert runs.jobs == 4
        outcome = result_of(runs.run(task)["cat"])
        assert runs.jobs == 5
        assert [each.seed for each in outcome.artifacts] == [7, 8, 9, 10, 11]

    def test_a_refusal_leaves_no_doubt(self, runs: Runs) -> None:
        refusal = ThrottledError("slow down", retry_after=60)
        runs.provider.scripts = {"a cat": Script(submits=[refusal])}
        runs.killed(CAT, after_s=30)
        assert result_of(runs.run(CAT)["cat"]).ok
        assert runs.jobs == 1

    def test_deadlines_count_what_passed_before(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(job_s=1e9)}
        runs.killed(CAT, after_s=5, job_timeout_s=3600)
        before = len(runs.provider.polls)
        failure = failure_of(runs.run(CAT, job_timeout_s=1e-3)["cat"])
        assert isinstance(failure.error, JobTimeoutError)
        assert failure.state == "held"
        # It is asked once before it is called overdue.
        assert len(runs.provider.polls) == before + 1

    def test_jobs_of_another_account_are_left_alone(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)
        other = ScriptedProvider(name="other")
        failure = failure_of(runs.run(CAT, provider=other)["cat"])
        assert failure.state == "held"
        assert "another account of scripted" in str(failure.error)
        assert other.created.total() == 0
        assert result_of(runs.run(CAT)["cat"]).ok
        assert runs.jobs == 1


class TestUncertain:
    @pytest.fixture
    def lost(self, runs: Runs) -> Runs:
        """A run in which the answer to the cat's submit was lost."""
        runs.provider.scripts = {"a cat": Script(submits=["lose"])}
        failure = failure_of(runs.run(CAT, DOG)["cat"])
        assert isinstance(failure.error, SubmitUncertainError)
        return runs

    def test_it_is_held_until_somebody_decides(self, lost: Runs) -> None:
        failure = failure_of(lost.run(CAT, DOG)["cat"])
        assert isinstance(failure.error, SubmitUncertainError)
        assert (failure.state, lost.jobs) == ("held", 2)
        assert status(lost.journal).tasks["held"] == 1
        assert [finding.kind for finding in audit(lost.journal, now=0)] == ["uncertain"]

    def test_it_can_be_given_up_and_later_retried_as_what_failed(self, lost: Runs) -> None:
        dismiss(lost.journal, "cat")
        failure = failure_of(lost.run(CAT, DOG)["cat"])
        assert isinstance(failure.error, SubmitUncertainError)
        assert (failure.state, failure.resumed, lost.jobs) == ("failed", True, 2)
        lost.provider.scripts = {}
        assert lost.run(CAT, DOG, retry_failed=True)["cat"].ok
        assert lost.jobs == 3

    def test_what_is_not_held_cannot_be_given_up(self, lost: Runs) -> None:
        with pytest.raises(InvalidTaskError, match="no submit of 'dog' is without an answer"):
            dismiss(lost.journal, "dog")
        with pytest.raises(UnknownNameError):
            dismiss(lost.journal, "bird")

    def test_giving_up_one_part_leaves_the_others(self, runs: Runs) -> None:
        task = hg.Task("a cat", id="cat", n=3)
        runs.provider.limits = hg.Limits(max_jobs=3)
        runs.provider.default = Script(submits=[])
        runs.provider.scripts = {"a cat": Script(submits=["lose"])}
        runs.run(task)
        dismiss(runs.journal, "cat")
        failure = failure_of(runs.run(task)["cat"])
        assert failure.state == "failed"
        assert status(runs.journal).tasks["held"] == 0

    def test_a_decision_for_all(self, lost: Runs) -> None:
        assert result_of(lost.run(CAT, retry_uncertain=True)["cat"]).ok
        assert lost.jobs == 3

    def test_a_decision_for_one(self, lost: Runs) -> None:
        assert not lost.run(CAT, retry_uncertain=["dog"])["cat"].ok
        assert lost.run(CAT, retry_uncertain=["cat"])["cat"].ok
        assert lost.jobs == 3

    def test_the_policy_decides(self, lost: Runs) -> None:
        assert lost.run(CAT, on_uncertain="resubmit")["cat"].ok

    def test_a_kill_between_send_and_answer(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(submits=["late"])}
        runs.killed(CAT, after_s=10, request_timeout_s=3600)
        failure = failure_of(runs.run(CAT)["cat"])
        assert isinstance(failure.error, SubmitUncertainError)
        assert (failure.state, runs.jobs) == ("held", 1)

    def test_a_refusal_before_it_does_not_speak_for_it(self, runs: Runs) -> None:
        refused = SlotRefusedError("too many", not_created=True)
        runs.provider.scripts = {"a cat": Script(submits=[refused, "late"])}
        task = hg.Task("a cat", id="cat", n=2)
        runs.killed(task, after_s=60, request_timeout_s=3600, concurrency=1)
        runs.provider.scripts = {}
        failure = failure_of(runs.run(task)["cat"])
        assert status(runs.journal).tasks["held"] == 1
        assert "the process ended while a submit was on its way" in str(
            failure.error.__cause__ or failure.error
        )

    def test_what_costs_nothing_begins_again(self, runs: Runs) -> None:
        runs.provider.billing = "free"
        runs.provider.scripts = {"a cat": Script(submits=["late"])}
        runs.killed(CAT, after_s=10, request_timeout_s=3600)
        assert runs.run(CAT)["cat"].ok

    def test_a_service_that_can_be_asked_is_asked(self, tmp_path: Path) -> None:
        class Asked(ScriptedProvider):
            async def lookup(self, key: str) -> hg.JobRef | None:
                found = [id_ for id_, job in self.jobs.items() if job.key == key]
                return hg.JobRef(job_id=found[0]) if found else None

        for lost in ("late", "lose"):
            provider = Asked(scripts={"a cat": Script(submits=[lost])})
            runs = Runs(tmp_path / lost, provider)
            runs.killed(CAT, after_s=5, request_timeout_s=3600)
            assert runs.run(CAT)["cat"].ok
            assert runs.jobs == 1


class TestFailed:
    def test_what_failed_stays_failed_until_it_is_retried(self, runs: Runs) -> None:
        rejected = ContentRejectedError("not this", code="Rejected")
        runs.provider.scripts = {"a cat": Script(error=rejected)}
        runs.run(CAT, DOG)
        failure = failure_of(runs.run(CAT, DOG)["cat"])
        assert isinstance(failure.error, ContentRejectedError)
        assert failure.error.code == "Rejected"
        assert runs.jobs == 2
        runs.provider.scripts = {}
        outcomes = runs.run(CAT, DOG, retry_failed=True)
        assert outcomes["cat"].ok
        assert result_of(outcomes["dog"]).resumed
        assert runs.jobs == 3

    def test_a_retry_is_a_new_order_to_the_provider(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(error=ContentRejectedError("not this"))}
        runs.run(CAT)
        runs.run(CAT, retry_failed=True)
        assert len({job.key for job in runs.provider.jobs.values()}) == 2

    def test_a_failing_stage_costs_no_picture(self, runs: Runs) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        failure = failure_of(runs.run(CAT, process=[fail])["cat"])
        assert isinstance(failure.error, ProcessingError)
        (raw,) = (runs.folder / ".spool").iterdir()
        assert raw.read_bytes() == PNG
        assert [each.state for each in audit(runs.journal, now=0)] == ["failed"]
        assert result_of(runs.run(CAT)["cat"]).ok
        assert runs.jobs == 1
        assert not (runs.folder / ".spool").exists()

    def test_only_missing_parts_are_retried(self, runs: Runs) -> None:
        class Moody(ScriptedProvider):
            moody = True

            def prepare(self, task: hg.Task) -> hg.Prepared:
                prepared = ScriptedProvider.prepare(self, task)
                if self.moody and task.seed == 2:
                    return attrs.evolve(prepared, request={**prepared.request, "prompt": "bad"})
                return prepared

        runs.provider = Moody(scripts={"bad": Script(error=ContentRejectedError("no"))})
        task = hg.Task("a cat", id="cat", n=3, seed=1)
        failure = failure_of(runs.run(task)["cat"])
        assert len(failure.artifacts) == 2
        assert len(failure_of(runs.run(task)["cat"]).artifacts) == 2
        runs.provider.scripts = {}
        outcome = result_of(runs.run(task, retry_failed=True)["cat"])
        assert len(outcome.artifacts) == 3
        assert runs.jobs == 4


class TestChoice:
    def test_never_keeps_the_old_journal_and_pays_anew(self, runs: Runs) -> None:
        runs.run(CAT)
        assert not result_of(runs.run(CAT, resume="never")["cat"]).resumed
        assert runs.jobs == 2
        assert (runs.folder / "journal-1.sqlite3").exists()

    def test_never_does_not_forget_a_paid_job(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)
        with pytest.raises(hg.errors.ConfigError, match="holodeck-gen collect"):
            runs.run(CAT, resume="never")
        assert runs.run(CAT)["cat"].ok
        assert runs.jobs == 1

    def test_always_wants_something_to_resume(self, runs: Runs) -> None:
        with pytest.raises(hg.errors.ConfigError, match="nothing to resume"):
            runs.run(CAT, resume="always")
        runs.run(CAT)
        assert result_of(runs.run(CAT, resume="always")["cat"]).resumed

    def test_always_wants_the_same_settings(self, runs: Runs) -> None:
        runs.run(CAT)
        with pytest.raises(hg.errors.ConfigError, match=r"settings have changed.*name"):
            runs.run(CAT, resume="always", name="{id}-new")

    def test_changed_settings_are_told(self, runs: Runs) -> None:
        runs.run(CAT)

        async def main() -> hg.StudioInfo:
            async with runs.opened(name="{id}-new", process=[lambda file, _: file]) as studio:
                info: hg.StudioInfo = studio.describe()
                return info

        info = run_virtual(main())
        assert info.changed == ("name", "process")
        assert info.journal == runs.journal


class TestOwner:
    def test_a_second_studio_is_refused_and_told_the_owner(self, runs: Runs) -> None:
        async def main() -> None:
            async with runs.opened():
                with pytest.raises(JournalLockedError, match="process ") as refused:
                    async with runs.opened():
                        pass
            assert "process" in refused.value.owner
            async with runs.opened():
                pass

        run_virtual(main())

    def test_readers_need_no_permission(self, runs: Runs) -> None:
        async def main() -> None:
            async with runs.opened() as studio:
                before = status(runs.journal)
                await studio.generate(CAT)
                after = [status(runs.journal) for _ in range(100)][-1]
            assert before.tasks["done"] == 0
            assert after.tasks["done"] == 1
            assert after.owner is not None

        run_virtual(main())
        assert status(runs.journal).owner is None
