"""Pictures that are missing within one job of several: made later, or fetched later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import failure_of, no_plugins, result_of
from holodeck_gen._collect import Collector
from holodeck_gen._journal.audit import audit, status
from holodeck_gen.errors import (
    ConfigError,
    ContentRejectedError,
    DownloadError,
    InvalidTaskError,
    JobFailedError,
    PartialResultError,
    ProcessingError,
    TransientError,
)
from holodeck_gen.testing import PNG, Script, ScriptedProvider, run_virtual
from runs import Runs

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._model.values import JsonObject
    from holodeck_gen._scripted import ScriptedJob

THREE = hg.Task("three cats", id="cats", n=3, seed=10)
MISSING = hg.PartError(error=ContentRejectedError("not this one"))


@attrs.define(kw_only=True)
class Gaps(ScriptedProvider):
    """Makes three at once, of which the first jobs leave some out.

    Attributes:
        gaps: For each of the first jobs, the places of the pictures that are not made.
    """

    per_job: int = 3
    gaps: Sequence[tuple[int, ...]] = ()

    def _end(self, job: ScriptedJob) -> hg.JobStatus:
        ended = ScriptedProvider._end(self, job)
        number = list(self.jobs.values()).index(job)
        gaps = self.gaps[number] if number < len(self.gaps) else ()
        outputs = [MISSING if i in gaps else each for i, each in enumerate(ended.outputs)]
        return attrs.evolve(ended, outputs=outputs)


@attrs.define(kw_only=True)
class Refusing(Gaps):
    """Takes nothing any more."""

    def prepare(self, task: hg.Task) -> hg.Prepared:
        raise InvalidTaskError(f"{self.name} has no such model any more")


@attrs.define(kw_only=True)
class Shop(Gaps):
    """Its outputs are addresses, some of which cannot be had.

    Attributes:
        broken: Why, by the place in the job.
        fetched: How often each address was asked for.
    """

    broken: dict[int, Exception] = attrs.field(factory=dict)
    fetched: Counter[str] = attrs.field(factory=Counter)
    renewed: str = ""

    def _end(self, job: ScriptedJob) -> hg.JobStatus:
        ended = Gaps._end(self, job)
        outputs = [
            each
            if isinstance(each, hg.PartError)
            else hg.Url(url=f"https://r.example/{job.key}/{i}.png{self.renewed}", expires_at=2e9)
            for i, each in enumerate(ended.outputs)
        ]
        return attrs.evolve(ended, outputs=outputs)

    async def fetch(self, url: hg.Url) -> bytes:
        self.fetched[url.url] += 1
        place = int(url.url.rpartition("/")[2].partition(".")[0])
        if place in self.broken and not url.url.endswith("?new"):
            raise self.broken[place]
        return PNG


@attrs.frozen
class Folder:
    """Options of the local store."""

    folder: str


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out", Gaps(gaps=[(1,)]))


def asked(runs: Runs) -> list[JsonObject]:
    """What each job was asked for."""
    return [job.request for job in runs.provider.jobs.values()]


def names(runs: Runs) -> list[str]:
    return sorted(runs.store.files)


async def collected(runs: Runs) -> list[hg.Outcome]:
    registry = no_plugins()

    def local(_options: Any, _ctx: hg.Context) -> Any:
        return runs.store

    registry.register("store", "local", local, options=Folder)
    collector = Collector(
        journal=runs.journal,
        provider=runs.provider,
        process=(),
        config=hg.Config.of({}, environ={}),
        registry=registry,
    )
    return [outcome async for outcome in collector.outcomes()]


class TestRetryFailed:
    def test_only_what_a_job_did_not_make_is_made(self, runs: Runs) -> None:
        failure = failure_of(runs.run(THREE)["cats"])
        assert isinstance(failure.error, PartialResultError)
        assert names(runs) == ["cats-1.png", "cats-3.png"]
        result = result_of(runs.run(THREE, retry_failed=True)["cats"])
        assert names(runs) == ["cats-1.png", "cats-2.png", "cats-3.png"]
        assert [artifact.number for artifact in result.artifacts] == [1, 2, 3]
        assert result.job_ids == ("job-0", "job-1")
        assert asked(runs)[1] == {"prompt": "three cats", "n": 1, "seed": 11}
        assert max(runs.provider.created.values()) == 1

    def test_without_it_nothing_is_made(self, runs: Runs) -> None:
        runs.run(THREE)
        failure = failure_of(runs.run(THREE)["cats"])
        assert len(failure.artifacts) == 2
        assert runs.jobs == 1

    def test_a_finished_task_is_told_as_it_was(self, runs: Runs) -> None:
        runs.run(THREE)
        result = result_of(runs.run(THREE, retry_failed=True)["cats"])
        again = result_of(runs.run(THREE, retry_failed=True)["cats"])
        assert attrs.evolve(again, resumed=False) == result
        assert runs.jobs == 2

    @pytest.mark.parametrize(("seed", "jobs"), [(10, [(1, 10), (1, 12)]), (None, [(2, None)])])
    def test_a_seed_asks_only_for_pictures_that_follow_each_other(
        self, runs: Runs, seed: int | None, jobs: list[tuple[int, int | None]]
    ) -> None:
        runs.provider = Gaps(gaps=[(0, 2)])
        task = attrs.evolve(THREE, seed=seed)
        runs.run(task)
        assert result_of(runs.run(task, retry_failed=True)["cats"]).ok
        assert [(each["n"], each["seed"]) for each in asked(runs)[1:]] == jobs
        assert names(runs) == ["cats-1.png", "cats-2.png", "cats-3.png"]

    def test_what_falls_short_again_is_made_up_for_again(self, runs: Runs) -> None:
        runs.provider = Gaps(gaps=[(0, 1), (1,)])
        runs.run(THREE)
        assert len(failure_of(runs.run(THREE, retry_failed=True)["cats"]).artifacts) == 2
        assert result_of(runs.run(THREE, retry_failed=True)["cats"]).ok
        assert [(each["n"], each["seed"]) for each in asked(runs)] == [(3, 10), (2, 10), (1, 11)]

    def test_a_follow_up_that_failed_is_begun_anew(self, runs: Runs) -> None:
        runs.run(THREE)
        runs.provider.scripts = {"three cats": Script(error=JobFailedError("no luck"))}
        assert len(failure_of(runs.run(THREE, retry_failed=True)["cats"]).artifacts) == 2
        runs.provider.scripts = {}
        assert len(failure_of(runs.run(THREE)["cats"]).artifacts) == 2
        assert runs.jobs == 2
        assert result_of(runs.run(THREE, retry_failed=True)["cats"]).ok
        assert runs.jobs == 3

    def test_a_follow_up_that_is_refused_takes_nothing_away(self, runs: Runs) -> None:
        runs.run(THREE)
        runs.provider = Refusing()
        failure = failure_of(runs.run(THREE, retry_failed=True)["cats"])
        assert isinstance(failure.error, PartialResultError)
        assert len(failure.artifacts) == 2
        runs.provider = Gaps()
        assert result_of(runs.run(THREE, retry_failed=True)["cats"]).ok

    @pytest.mark.parametrize("after_s", [0.0, 5.0])
    def test_a_follow_up_is_gone_on_with(self, runs: Runs, after_s: float) -> None:
        runs.run(THREE)
        runs.killed(THREE, retry_failed=True, after_s=after_s)
        assert runs.run(THREE, retry_failed=not after_s)["cats"].ok
        assert runs.jobs == 2

    def test_one_whose_answer_was_lost_is_held(self, runs: Runs) -> None:
        runs.run(THREE)
        runs.provider.scripts = {"three cats": Script(submits=["lose"])}
        assert failure_of(runs.run(THREE, retry_failed=True)["cats"]).state == "held"
        assert failure_of(runs.run(THREE, retry_failed=True)["cats"]).state == "held"
        assert runs.jobs == 2
        assert runs.run(THREE, retry_uncertain=True)["cats"].ok
        assert runs.jobs == 3

    def test_other_parts_of_the_task_are_left_alone(self, runs: Runs) -> None:
        runs.provider = Gaps(per_job=2, gaps=[(0,)])
        runs.run(THREE)
        assert result_of(runs.run(THREE, retry_failed=True)["cats"]).ok
        assert [(each["n"], each["seed"]) for each in asked(runs)] == [(2, 10), (1, 12), (1, 10)]

    def test_a_provider_that_takes_fewer_by_now_gets_more_jobs(self, runs: Runs) -> None:
        runs.provider = Gaps(gaps=[(0, 1)])
        runs.run(THREE)
        runs.provider.per_job = 1
        assert result_of(runs.run(THREE, retry_failed=True)["cats"]).ok
        assert [each["seed"] for each in asked(runs)] == [10, 10, 11]

    def test_a_job_that_makes_what_was_asked_for_and_an_error_is_whole(self, runs: Runs) -> None:
        two = (hg.Bytes(data=PNG), MISSING, hg.Bytes(data=PNG))
        runs.provider = Gaps(default=Script(outputs=two))
        assert runs.run(attrs.evolve(THREE, n=2))["cats"].ok


def shop(runs: Runs) -> Shop:
    assert isinstance(runs.provider, Shop)
    return runs.provider


class TestUnfetched:
    GONE = DownloadError("HTTP 404 for https://r.example/1.png", stage="download")
    BUSY = TransientError("HTTP 503", code="503")

    @pytest.fixture
    def runs(self, tmp_path: Path) -> Runs:
        return Runs(tmp_path / "out", provider=Shop(broken={1: self.GONE}))

    @pytest.mark.parametrize("error", [GONE, BUSY], ids=["gone", "busy"])
    def test_what_can_be_had_is_kept(self, runs: Runs, error: Exception) -> None:
        runs.provider = Shop(broken={1: error})
        failure = failure_of(runs.run(THREE)["cats"])
        assert names(runs) == ["cats-1.png", "cats-3.png"]
        assert isinstance(failure.error, PartialResultError)
        assert "picture 2: " in str(failure.error)
        assert "job job-0 is paid for; get it with 'holodeck-gen collect" in str(failure.error)

    @pytest.mark.parametrize("retry_failed", [False, True])
    def test_the_rest_is_downloaded_later_and_never_paid_for(
        self, runs: Runs, retry_failed: bool
    ) -> None:
        runs.run(THREE)
        assert len(failure_of(runs.run(THREE, retry_failed=retry_failed)["cats"]).artifacts) == 2
        shop(runs).broken = {}
        result = result_of(runs.run(THREE, retry_failed=retry_failed)["cats"])
        assert [artifact.number for artifact in result.artifacts] == [1, 2, 3]
        assert names(runs) == ["cats-1.png", "cats-2.png", "cats-3.png"]
        assert runs.jobs == 1
        first = next(url for url in shop(runs).fetched if "/0.png" in url)
        assert shop(runs).fetched[first] == 1
        assert result_of(runs.run(THREE)["cats"]).resumed

    def test_it_is_collected(self, runs: Runs) -> None:
        runs.run(THREE)
        shop(runs).broken = {}
        (outcome,) = run_virtual(collected(runs))
        assert len(result_of(outcome).artifacts) == 3
        assert runs.jobs == 1

    def test_it_is_seen_by_audit_and_not_forgotten(self, runs: Runs) -> None:
        runs.run(THREE)
        (finding,) = audit(runs.journal, now=1e9)
        assert (finding.kind, finding.job_id, finding.expires_in_s) == ("job", "job-0", 1e9)
        with pytest.raises(ConfigError, match="holodeck-gen collect"):
            runs.run(THREE, resume="never")
        assert status(runs.journal).tasks["failed"] == 1

    def test_a_fresh_address_is_asked_for(self, runs: Runs) -> None:
        @attrs.define(kw_only=True)
        class Renewing(Shop):
            async def poll(self, job: hg.JobRef) -> hg.JobStatus:
                answer = await Shop.poll(self, job)
                self.renewed = "?new" if answer.final else ""
                return answer

        runs.provider = Renewing(broken={1: self.GONE})
        assert runs.run(THREE)["cats"].ok
        assert sum(shop(runs).fetched.values()) == 4

    def test_what_the_spool_has_needs_no_address(self, runs: Runs) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        runs.run(THREE)
        shop(runs).broken = {}
        failure = failure_of(runs.run(THREE, process=[fail])["cats"])
        assert len(failure.artifacts) == 2
        shop(runs).broken = dict.fromkeys(range(3), self.GONE)
        assert result_of(runs.run(THREE)["cats"]).ok

    def test_what_was_not_made_is_not_what_was_not_fetched(self, runs: Runs) -> None:
        runs.provider = Shop(gaps=[(0,)], broken={1: self.GONE})
        runs.run(THREE)
        assert len(failure_of(runs.run(THREE, retry_failed=True)["cats"]).artifacts) == 2
        assert runs.jobs == 2
        shop(runs).broken = {}
        assert result_of(runs.run(THREE)["cats"]).ok
        assert runs.jobs == 2
        assert asked(runs)[1] == {"prompt": "three cats", "n": 1, "seed": 10}

    def test_a_job_with_bytes_as_well_keeps_these(self, runs: Runs) -> None:
        mixed = (hg.Bytes(data=PNG), hg.Url(url="https://r.example/1.png"))
        provider = ScriptedProvider(per_job=2, default=Script(outputs=mixed))
        failure = failure_of(runs.run(attrs.evolve(THREE, n=2), provider=provider)["cats"])
        assert names(runs) == ["cats-1.png"]
        assert isinstance(failure.error, PartialResultError)

    def test_names_do_not_depend_on_when_a_file_came(self, runs: Runs) -> None:
        both = [hg.Url(url=f"https://r.example/{i}.png") for i in range(2)]

        @attrs.define(kw_only=True)
        class Pairs(Shop):
            """Makes a picture and its preview."""

            def _end(self, job: ScriptedJob) -> hg.JobStatus:
                return hg.JobStatus(phase="done", outputs=both)

        runs.provider = Pairs(broken={1: self.GONE})
        task = attrs.evolve(THREE, n=1)
        runs.run(task)
        assert names(runs) == ["cats-1.png"]
        shop(runs).broken = {}
        assert runs.run(task)["cats"].ok
        assert names(runs) == ["cats-1.png", "cats-2.png"]

    def test_one_address_that_is_gone_fails_the_part_as_before(self, runs: Runs) -> None:
        runs.provider = Shop(broken={0: self.GONE})
        failure = failure_of(runs.run(attrs.evolve(THREE, n=1))["cats"])
        assert isinstance(failure.error, DownloadError)
        assert failure.job_id == "job-0"
