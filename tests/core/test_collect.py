"""Fetching what is paid for, and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import failure_of, result_of
from holodeck_gen._collect import WINDOW, Collector
from holodeck_gen._journal.audit import status
from holodeck_gen._scripted import PNG, Script
from holodeck_gen.errors import (
    ContentRejectedError,
    DownloadError,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    PausedError,
    ProcessingError,
    SubmitUncertainError,
)
from holodeck_gen.testing import ScriptedProvider, run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path


class Renewing(ScriptedProvider):
    """Its addresses expire; each poll gives fresh ones, as long as it can."""

    renews = True
    dead: frozenset[str] = frozenset()
    asked = 0

    async def poll(self, job: hg.JobRef) -> hg.JobStatus:
        status = await ScriptedProvider.poll(self, job)
        if status.phase != "done":
            return status
        self.asked += self.renews
        url = f"https://example.com/{job.job_id}?sign={self.asked}"
        return attrs.evolve(status, outputs=(hg.Url(url=url, expires_at=1.0),))

    async def fetch(self, output: hg.Url) -> bytes:
        if output.url in self.dead or "*" in self.dead:
            raise DownloadError("HTTP 403", stage="download")
        return PNG


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


def collected(runs: Runs, provider: Any = None, **arguments: Any) -> dict[str, hg.Outcome]:
    """What is collected, by key; no submit must come."""
    given = runs.provider if provider is None else provider
    sent = len(given.submits)

    async def main() -> list[hg.Outcome]:
        collector = Collector(
            journal=runs.journal,
            provider=[given],
            config=arguments.pop("config", hg.Config.of({}, environ={})),
            **arguments,
        )
        return [outcome async for outcome in collector.outcomes()]

    outcomes = run_virtual(main())
    assert len(given.submits) == sent, "it has submitted"
    assert len({outcome.key for outcome in outcomes}) == len(outcomes)
    return {outcome.key: outcome for outcome in outcomes}


def fail(_file: Path, _task: hg.Task) -> Path:
    raise ProcessingError("the disk is upside down", stage="fail")


def test_a_submitted_job_is_fetched(runs: Runs) -> None:
    runs.killed(CAT, DOG, after_s=5)
    outcomes = collected(runs)
    assert {key: outcome.ok for key, outcome in outcomes.items()} == {"cat": True, "dog": True}
    for outcome in outcomes.values():
        path = result_of(outcome).artifacts[0].path
        assert path is not None
        assert path.read_bytes() == PNG
    assert status(runs.journal).tasks["done"] == 2
    assert collected(runs) == {}
    assert result_of(runs.run(CAT)["cat"]).resumed


def test_what_was_never_sent_is_left_for_a_run(runs: Runs) -> None:
    runs.killed(CAT, DOG, "a bird", after_s=5, concurrency=1)
    assert list(collected(runs)) == ["cat"]
    assert status(runs.journal).tasks["waiting"] == 2
    assert all(outcome.ok for outcome in runs.run(CAT, DOG, "a bird").values())
    assert runs.jobs == 3


def test_a_task_of_which_some_was_never_sent_stays_open(runs: Runs) -> None:
    task = attrs.evolve(CAT, n=3, seed=1)
    runs.killed(task, after_s=5)
    failure = failure_of(collected(runs)["cat"])
    assert (failure.state, len(failure.artifacts)) == ("held", 2)
    assert isinstance(failure.error.__cause__, PausedError)
    assert len(result_of(runs.run(task)["cat"]).artifacts) == 3
    assert runs.jobs == 3


def test_a_finished_job_is_fetched_from_its_address(runs: Runs) -> None:
    provider = runs.provider = Renewing()
    provider.dead = frozenset("*")
    assert isinstance(failure_of(runs.run(CAT)["cat"]).error, DownloadError)
    provider.dead = frozenset()
    polls = len(provider.polls)
    assert collected(runs)["cat"].ok
    assert len(provider.polls) == polls


def test_an_expired_address_is_asked_for_once_more(runs: Runs) -> None:
    provider = runs.provider = Renewing()
    provider.dead = frozenset("*")
    runs.run(CAT)
    provider.dead = frozenset(f"https://example.com/job-0?sign={i}" for i in range(10))
    provider.asked = 10
    provider.jobs["job-0"].ends = 0.0
    polls = len(provider.polls)
    assert collected(runs)["cat"].ok
    assert len(provider.polls) == polls + 1
    assert runs.jobs == 1


def test_an_address_that_is_not_renewed_is_an_error_with_the_job(runs: Runs) -> None:
    provider = runs.provider = Renewing()
    provider.renews = False
    provider.dead = frozenset("*")
    runs.run(CAT)
    polls = len(provider.polls)
    failure = failure_of(collected(runs)["cat"])
    assert isinstance(failure.error, DownloadError)
    assert failure.error.job_id == "job-0"
    assert "sign" not in str(failure.error)
    assert len(provider.polls) == polls + 1
    assert runs.jobs == 1
    # It stays owed: it may be had another day.
    provider.dead = frozenset()
    assert collected(runs)["cat"].ok


def test_held_tasks_stay_held(runs: Runs) -> None:
    runs.provider.scripts = {"a cat": Script(submits=["lose"])}
    runs.run(CAT, DOG)
    for _ in range(2):
        failure = failure_of(collected(runs)["cat"])
        assert isinstance(failure.error, SubmitUncertainError)
        assert failure.state == "held"
    assert status(runs.journal).tasks["held"] == 1


def test_a_policy_that_submits_again_is_none_of_its_business(runs: Runs) -> None:
    runs.provider.scripts = {"a cat": Script(submits=["lose"])}
    runs.run(CAT)
    config = hg.Config.of({"on_uncertain": "resubmit"}, environ={})
    assert failure_of(collected(runs, config=config)["cat"]).state == "held"
    runs.provider.billing = "free"
    assert failure_of(collected(runs)["cat"]).state == "held"


def test_a_failed_stage_is_tried_again_and_fetched_files_are_not_fetched(runs: Runs) -> None:
    runs.run(CAT, DOG, process=[fail])
    polls = len(runs.provider.polls)
    assert all(outcome.ok for outcome in collected(runs).values())
    assert len(runs.provider.polls) == polls
    assert not (runs.folder / ".spool").exists()


def test_what_failed_at_the_provider_is_not_asked_for(runs: Runs) -> None:
    runs.provider.scripts = {"a cat": Script(error=ContentRejectedError("not this"))}
    runs.run(CAT)
    assert collected(runs) == {}


def test_a_job_that_fails_while_it_is_collected(runs: Runs) -> None:
    runs.provider.scripts = {"a cat": Script(error=ContentRejectedError("not this"))}
    runs.killed(CAT, after_s=5)
    failure = failure_of(collected(runs)["cat"])
    assert (failure.state, type(failure.error)) == ("failed", ContentRejectedError)
    assert collected(runs) == {}


def test_a_job_that_does_not_end_stays(runs: Runs) -> None:
    runs.provider.scripts = {"a cat": Script(job_s=1e9)}
    runs.killed(CAT, after_s=5)
    config = hg.Config.of({"job_timeout_s": 60.0}, environ={})
    assert failure_of(collected(runs, config=config)["cat"]).state == "held"
    assert failure_of(collected(runs, config=config)["cat"]).state == "held"


def test_a_changed_tasks_old_job_is_fetched(runs: Runs) -> None:
    runs.provider.limits = hg.Limits(max_jobs=4)
    runs.killed(CAT, after_s=5)
    runs.killed(hg.Task("another cat", id="cat"), after_s=5)
    outcomes = collected(runs)
    assert {outcome.task.prompt for outcome in outcomes.values()} == {"a cat", "another cat"}
    assert all(outcome.ok for outcome in outcomes.values())
    files = {result_of(outcome).artifacts[0].path for outcome in outcomes.values()}
    assert len(files) == 2


def test_another_account_is_not_asked(runs: Runs) -> None:
    runs.killed(CAT, after_s=5)
    other = ScriptedProvider(name="other")
    failure = failure_of(collected(runs, other)["cat"])
    assert failure.state == "held"
    assert "another account of scripted" in str(failure.error)
    assert other.polls == []
    assert collected(runs)["cat"].ok


def test_more_jobs_than_are_fetched_at_once(runs: Runs) -> None:
    tasks = [hg.Task(f"cat {i}", id=f"cat{i}") for i in range(WINDOW + 8)]
    runs.provider.limits = hg.Limits(max_jobs=100)
    runs.killed(*tasks, after_s=5)
    assert runs.jobs == len(tasks)
    outcomes = collected(runs)
    assert len(outcomes) == len(tasks)
    assert all(outcome.ok for outcome in outcomes.values())


def test_a_live_owner_is_not_disturbed(runs: Runs) -> None:
    async def main() -> None:
        async with runs.opened() as studio:
            collector = Collector(
                journal=runs.journal, provider=[runs.provider], config=hg.Config.of({}, environ={})
            )
            with pytest.raises(JournalLockedError, match="process "):
                async for _ in collector.outcomes():
                    pass
            assert (await studio.submit(CAT).outcome()).ok

    run_virtual(main())


def test_nothing_is_made_where_there_is_no_journal(runs: Runs) -> None:
    with pytest.raises(JournalError, match="there is no journal"):
        collected(runs)
    assert not runs.folder.exists()


def test_a_damaged_journal_is_left_alone(runs: Runs) -> None:
    runs.folder.mkdir()
    runs.journal.write_bytes(b"no database" * 300)
    with pytest.raises(JournalCorruptError):
        collected(runs)
    assert runs.journal.read_bytes() == b"no database" * 300


def test_who_leaves_early_lets_go_of_the_journal(runs: Runs) -> None:
    runs.killed(CAT, DOG, after_s=5)

    async def main() -> None:
        collector = Collector(
            journal=runs.journal, provider=[runs.provider], config=hg.Config.of({}, environ={})
        )
        outcomes = collector.outcomes()
        async for outcome in outcomes:
            assert outcome.ok
            break
        await outcomes.aclose()  # type: ignore[attr-defined]

    run_virtual(main())
    assert all(outcome.ok for outcome in runs.run(CAT, DOG).values())
    assert runs.jobs == 2


def test_settings_of_the_last_run_stay_as_they_were(runs: Runs) -> None:
    """Else the next run would not notice that its own differ."""
    runs.killed(CAT, after_s=5, name="{id}-old")
    collected(runs)

    async def main() -> tuple[str, ...]:
        async with runs.opened(name="{id}-new") as studio:
            info: hg.StudioInfo = studio.describe()
            return info.changed

    assert run_virtual(main()) == ("name",)
