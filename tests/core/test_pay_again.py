"""What is paid for and gone is made anew only where somebody names it, and then once."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from helpers import failure_of, result_of
from holodeck_gen._journal.audit import audit, gone, status
from holodeck_gen._journal.gone import UNTOLD_S, is_gone
from holodeck_gen._journal.journal import PartRecord
from holodeck_gen._journal.spool import RawFile
from holodeck_gen.errors import (
    ConfigError,
    ContentRejectedError,
    DownloadError,
    PartialResultError,
    PausedError,
    ProcessingError,
    StorageError,
)
from holodeck_gen.testing import PNG, Script, ScriptedProvider
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._scripted import ScriptedJob

THREE = hg.Task("three cats", id="cats", n=3, seed=10)
LOST = DownloadError("HTTP 403 for https://r.example/0.png: the address has expired")
URL = hg.Url(url="https://r.example/0.png", expires_at=1000.0)
NAMED: dict[str, Any] = {"pay_again": ["cat", "cats"]}


@attrs.define(kw_only=True)
class Forgetful(ScriptedProvider):
    """Its outputs are addresses that have expired, and it has no others.

    Attributes:
        forgotten: Places within the first job of what can no longer be had.
        expires_at: Of all addresses.
    """

    forgotten: set[int] = attrs.field(factory=lambda: {0})
    expires_at: float | None = 1e9

    def _end(self, job: ScriptedJob) -> hg.JobStatus:
        ended = ScriptedProvider._end(self, job)
        if ended.phase != "done":
            return ended
        number = list(self.jobs.values()).index(job)
        addresses = tuple(
            hg.Url(url=f"https://r.example/{number}/{i}.png", expires_at=self.expires_at)
            for i, _ in enumerate(ended.outputs)
        )
        return attrs.evolve(ended, outputs=addresses)

    async def fetch(self, url: hg.Url) -> bytes:
        number, _, name = url.url.rpartition("r.example/")[2].partition("/")
        if number == "0" and int(name.partition(".")[0]) in self.forgotten:
            raise LOST
        return PNG


FIFTH = hg.Cost(amount="0.20", currency="CNY")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    """A folder in which a run has paid for a cat that is gone."""
    runs = Runs(tmp_path / "out", Forgetful(price=FIFTH))
    assert isinstance(failure_of(runs.run(CAT)["cat"]).error, DownloadError)
    return runs


def forgetful(runs: Runs) -> Forgetful:
    assert isinstance(runs.provider, Forgetful)
    return runs.provider


def spent(runs: Runs) -> str:
    (total,) = status(runs.journal).spending.spent
    return str(total.amount)


class TestOnePicture:
    @pytest.mark.parametrize("retry_failed", [False, True])
    def test_nobody_pays_for_it_unasked(self, runs: Runs, retry_failed: bool) -> None:
        assert not runs.run(CAT, retry_failed=retry_failed, pay_again=["dog"])["cat"].ok
        assert runs.jobs == 1
        assert gone(runs.journal) == ["cat"]

    def test_who_names_it_gets_it_and_pays_once_more(self, runs: Runs) -> None:
        result = result_of(runs.run(CAT, DOG, pay_again="cat")["cat"])
        assert result.job_ids == ("job-1",)
        assert runs.provider.created.total() == 3
        assert max(runs.provider.created.values()) == 1
        assert spent(runs) == "0.60"
        assert gone(runs.journal) == []
        assert result_of(runs.run(CAT, **NAMED)["cat"]).resumed
        assert runs.jobs == 3

    def test_all_it_cost_counts_for_the_budget(self, runs: Runs) -> None:
        outcomes: dict[str, hg.Outcome] = {}
        with suppress(PausedError):
            outcomes = runs.run(CAT, budget="0.30 CNY", **NAMED)
        assert not any(outcome.ok for outcome in outcomes.values())
        assert runs.jobs == 1
        assert runs.run(CAT, budget="0.40 CNY")["cat"].ok
        assert runs.jobs == 2
        assert spent(runs) == "0.40"

    def test_while_its_address_works_it_is_only_fetched(self, runs: Runs) -> None:
        runs.provider = Forgetful(expires_at=4e9)
        assert not runs.run(DOG)["dog"].ok
        assert gone(runs.journal) == ["cat"]
        assert not runs.run(DOG, pay_again=["dog"])["dog"].ok
        assert runs.jobs == 1
        forgetful(runs).forgotten = set()
        assert runs.run(DOG, pay_again=["dog"])["dog"].ok
        assert runs.jobs == 1

    def test_what_is_in_the_spool_is_not_gone(self, tmp_path: Path) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        runs = Runs(tmp_path / "out", Forgetful(forgotten=set()))
        runs.run(CAT, process=[fail])
        forgetful(runs).forgotten = {0}
        assert gone(runs.journal) == []
        assert runs.run(CAT, **NAMED)["cat"].ok
        assert runs.jobs == 1

    def test_an_answer_that_was_deleted_from_the_spool_is(self, tmp_path: Path) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise ProcessingError("the disk is upside down", stage="fail")

        runs = Runs(tmp_path / "out", ScriptedProvider(direct=True))
        runs.run(CAT, process=[fail])
        for file in (runs.folder / ".spool").glob("*.raw"):
            file.unlink()
        assert isinstance(failure_of(runs.run(CAT)["cat"]).error, StorageError)
        assert gone(runs.journal) == ["cat"]
        assert runs.jobs == 1
        assert runs.run(CAT, **NAMED)["cat"].ok
        assert runs.jobs == 2

    def test_what_merely_failed_is_tried_again_too(self, runs: Runs) -> None:
        runs.provider.scripts = {"a dog": Script(error=ContentRejectedError("no"))}
        assert not runs.run(DOG)["dog"].ok
        runs.provider.scripts = {}
        assert runs.run(CAT, DOG, pay_again=["dog"])["dog"].ok
        assert runs.jobs == 3


class TestKilled:
    @pytest.mark.parametrize("after_s", [0.0, 5.0, 10.01])
    def test_the_decision_pays_once(self, runs: Runs, after_s: float) -> None:
        runs.killed(CAT, after_s=after_s, **NAMED)
        assert runs.run(CAT, **NAMED)["cat"].ok
        assert runs.jobs == 2
        assert spent(runs) == "0.40"

    def test_one_that_was_decided_and_not_sent_is_sent_once(self, runs: Runs) -> None:
        """It waits for its slot when the process ends; nobody has to decide again."""
        runs.provider.limits = hg.Limits(max_jobs=1)
        runs.killed(DOG, CAT, after_s=5, **NAMED)
        assert runs.jobs == 2
        (finding,) = audit(runs.journal, now=2e9)
        assert finding.task == "dog"
        outcomes = runs.run(DOG, CAT)
        assert outcomes["dog"].ok
        assert outcomes["cat"].ok
        assert runs.jobs == 3

    def test_a_lost_answer_is_held_and_not_paid_for_again(self, runs: Runs) -> None:
        runs.provider.scripts = {"a cat": Script(submits=["lose"])}
        assert failure_of(runs.run(CAT, **NAMED)["cat"]).state == "held"
        assert failure_of(runs.run(CAT, **NAMED)["cat"]).state == "held"
        assert runs.jobs == 2


class TestOneOfSeveral:
    @pytest.fixture
    def runs(self, tmp_path: Path) -> Runs:
        runs = Runs(tmp_path / "out", Forgetful(forgotten={1}, per_job=3, price=FIFTH))
        assert isinstance(failure_of(runs.run(THREE)["cats"]).error, PartialResultError)
        return runs

    def test_only_the_lost_one_is_made(self, runs: Runs) -> None:
        assert not runs.run(THREE, retry_failed=True)["cats"].ok
        result = result_of(runs.run(THREE, **NAMED)["cats"])
        assert [artifact.number for artifact in result.artifacts] == [1, 2, 3]
        requests = [job.request for job in runs.provider.jobs.values()]
        assert requests[1] == {"prompt": "three cats", "n": 1, "seed": 11}
        assert runs.jobs == 2
        assert spent(runs) == "0.40"

    @pytest.mark.parametrize("after_s", [0.0, 5.0])
    def test_a_kill_pays_for_nothing_twice(self, runs: Runs, after_s: float) -> None:
        runs.killed(THREE, after_s=after_s, **NAMED)
        assert runs.run(THREE, **NAMED)["cats"].ok
        assert runs.jobs == 2

    def test_when_it_was_looked_for_is_remembered(self, runs: Runs) -> None:
        """What was looked for before its address expired may still be renewed."""
        with closing(sqlite3.connect(runs.journal)) as connection:
            connection.execute("UPDATE parts SET changed_at = 5")
            connection.commit()
        assert gone(runs.journal) == []
        assert not runs.run(THREE, **NAMED)["cats"].ok
        assert runs.jobs == 1
        assert gone(runs.journal) == ["cats"]


class TestIsGone:
    @pytest.mark.parametrize(
        ("tried_at", "expires_at", "expected"),
        [
            (999.0, 1000.0, False),
            (1000.0, 1000.0, True),
            (UNTOLD_S, None, False),
            (500.0 + UNTOLD_S, None, True),
        ],
    )
    @pytest.mark.parametrize("state", ["failed", "stored"])
    def test_what_was_looked_for_after_it_expired(
        self, state: Any, tried_at: float, expires_at: float | None, expected: bool
    ) -> None:
        part = PartRecord(
            state=state,
            submitted_at=500.0,
            outputs=(attrs.evolve(URL, expires_at=expires_at),),
            expires_at=expires_at,
            error=LOST,
            changed_at=tried_at,
        )
        assert is_gone(part) == expected

    def test_a_full_disk_says_nothing(self) -> None:
        full = StorageError("the spool cannot be written", stage="spool")
        assert not is_gone(
            PartRecord(
                state="failed", outputs=(URL,), expires_at=1000.0, error=full, changed_at=2000.0
            )
        )

    def test_what_nothing_was_paid_for(self) -> None:
        assert not is_gone(PartRecord(state="failed", error=ContentRejectedError("no")))

    def test_a_file_in_the_spool(self, tmp_path: Path) -> None:
        raw = RawFile(path=tmp_path / "x.raw", metadata={})
        part = PartRecord(state="failed", files=(raw,), error=LOST)
        assert is_gone(part)
        raw.path.touch()
        assert not is_gone(part)


def test_it_is_seen_by_audit(runs: Runs) -> None:
    (finding,) = audit(runs.journal, now=2e9)
    assert (finding.kind, finding.task, finding.job_id) == ("gone", "cat", "job-0")
    assert "can no longer be had (" in finding.problem


def test_it_is_no_reason_against_beginning_anew(runs: Runs) -> None:
    runs.provider = Forgetful(expires_at=4e9)
    runs.run(DOG)
    with pytest.raises(ConfigError, match="collect"):
        runs.run(CAT, resume="never")
    forgetful(runs).forgotten = set()
    assert runs.run(DOG)["dog"].ok
    assert runs.run(CAT, resume="never")["cat"].ok


def test_no_other_state_is_touched(runs: Runs) -> None:
    """The name of a task that is done, or of none, is no order to pay."""
    runs.run(DOG)
    assert runs.run(DOG, pay_again=["dog", "nobody"])["dog"].ok
    assert runs.jobs == 2
