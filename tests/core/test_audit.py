"""What a journal tells anybody who asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

import holodeck_gen as hg
from holodeck_gen._journal import steps
from holodeck_gen._journal.audit import Finding, audit, output_of, providers_of, status
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.salvage import salvage
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._scripted import PNG
from holodeck_gen.errors import (
    ContentRejectedError,
    JournalCorruptError,
    JournalError,
    ProcessingError,
    SubmitUncertainError,
)
from holodeck_gen.files import place
from holodeck_gen.testing import run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PLAN = Plan(provider="p", account="a", per_job=1, requests=({"prompt": "a cat"},))
JOB = steps.Submitted(job=hg.JobRef(job_id="job-1"))
BEGUN: tuple[steps.Step, ...] = (steps.Submitting(attempt=1), JOB)
URL = hg.Url(url="https://example.com/a.png?sign=secret", expires_at=10_000.0)


class Shelf:
    """Keeps files in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def put(self, file: Path, name: str) -> Path:
        return await asyncio.to_thread(place, file, self.folder, name)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out", store=Shelf(tmp_path / "out"))  # type: ignore[arg-type]


def written(path: Path, *told: steps.Step) -> Path:
    """A journal in which the cat's only part took these steps."""

    async def main() -> None:
        journal = SqliteJournal.open(path)
        (entry,) = await journal.admit([(CAT, 0)], Retry())
        assert isinstance(entry, Entry)
        await journal.planned(entry, PLAN)
        for step in told:
            await journal.record(entry.part(0), step)
        await journal.aclose()

    asyncio.run(main())
    return path


def fail(_file: Path, _task: hg.Task) -> Path:
    raise ProcessingError("the disk is upside down", stage="fail")


def found(journal: Path, now: float = 0.0, **arguments: Any) -> list[Finding]:
    return list(audit(journal, now=now, **arguments))


class TestJobs:
    def test_nothing_to_see(self, runs: Runs) -> None:
        runs.run(CAT, DOG)
        assert found(runs.journal) == []

    def test_a_job_and_hours_until_its_files_expire(self, tmp_path: Path) -> None:
        path = written(tmp_path / "j", *BEGUN, steps.Finished(outputs=(URL,)))
        (finding,) = found(path, now=2800.0)
        assert (finding.kind, finding.state, finding.task) == ("job", "finished", "cat")
        assert (finding.provider, finding.job_id) == ("p", "job-1")
        assert finding.expires_in_s == 7200.0
        (late,) = found(path, now=10_001.0)
        assert late.expires_in_s == -1.0
        assert "secret" not in str(finding)

    def test_of_several_addresses_the_first_to_expire_counts(self, tmp_path: Path) -> None:
        early = hg.Url(url="https://example.com/b.png", expires_at=5000.0)
        unknown = hg.Url(url="https://example.com/c.png")
        outputs = (URL, early, unknown)
        (finding,) = found(written(tmp_path / "j", *BEGUN, steps.Finished(outputs=outputs)))
        assert finding.expires_in_s == 5000.0

    def test_what_is_fetched_expires_no_more(self, tmp_path: Path) -> None:
        raw = RawFile(path=tmp_path / "x.raw", metadata={})
        path = written(
            tmp_path / "j", *BEGUN, steps.Finished(outputs=(URL,)), steps.Fetched(files=(raw,))
        )
        (finding,) = found(path)
        assert (finding.state, finding.expires_in_s) == ("fetched", None)

    @pytest.mark.parametrize(
        "told",
        [
            (steps.Submitting(attempt=1),),
            (
                steps.Submitting(attempt=1),
                steps.Uncertain(error=SubmitUncertainError("lost")),
            ),
        ],
    )
    def test_an_uncertain_submit(self, tmp_path: Path, told: tuple[steps.Step, ...]) -> None:
        (finding,) = found(written(tmp_path / "j", *told))
        assert (finding.kind, finding.job_id) == ("uncertain", None)
        assert status(tmp_path / "j").tasks["held"] == 1

    def test_what_failed_without_a_file_is_no_ones_business(self, tmp_path: Path) -> None:
        path = written(tmp_path / "j", *BEGUN, steps.Failed(error=ContentRejectedError("no")))
        assert found(path) == []

    def test_a_failed_stage_leaves_something_paid(self, runs: Runs) -> None:
        runs.run(CAT, process=[fail])
        (finding,) = found(runs.journal)
        assert (finding.kind, finding.state) == ("job", "failed")
        assert "upside down" in finding.problem

    def test_a_replaced_tasks_job_is_still_named(self, runs: Runs) -> None:
        runs.provider.limits = hg.Limits(max_jobs=4)
        runs.killed(CAT, after_s=5)
        runs.killed(hg.Task("another cat", id="cat"), after_s=5)
        assert {each.job_id for each in found(runs.journal)} == {"job-0", "job-1"}


class TestFiles:
    @pytest.fixture
    def done(self, runs: Runs) -> Runs:
        runs.run(CAT, DOG)
        assert (runs.folder / "cat.png").read_bytes() == PNG
        return runs

    def test_a_missing_file(self, done: Runs) -> None:
        (done.folder / "cat.png").unlink()
        (finding,) = found(done.journal)
        assert (finding.kind, finding.task, finding.problem) == ("file", "cat", "it is gone")
        assert finding.path == (done.folder / "cat.png").resolve()

    def test_a_changed_file(self, done: Runs) -> None:
        (done.folder / "dog.png").write_bytes(PNG[:-1])
        (finding,) = found(done.journal)
        assert (finding.task, finding.problem) == ("dog", "it has been changed")

    def test_what_cannot_be_read(self, done: Runs) -> None:
        (done.folder / "dog.png").unlink()
        (done.folder / "dog.png").mkdir()
        (finding,) = found(done.journal)
        assert "cannot be read" in finding.problem

    def test_files_are_not_read_where_that_is_not_wanted(self, done: Runs) -> None:
        (done.folder / "cat.png").unlink()
        assert found(done.journal, hashes=False) == []

    def test_a_folder_that_was_moved_is_whole(self, done: Runs) -> None:
        moved = done.folder.rename(done.folder.with_name("moved"))
        assert found(moved / "journal.sqlite3") == []


class TestStatus:
    def test_every_state_is_counted_once(self, runs: Runs) -> None:
        from holodeck_gen._scripted import Script

        runs.provider.scripts = {
            "lost": Script(submits=["lose"]),
            "rejected": Script(error=ContentRejectedError("no")),
            "slow": Script(job_s=1e6),
        }
        tasks = [hg.Task(p, id=p) for p in ("a cat", "lost", "rejected", "slow", "never", "last")]
        runs.provider.limits = hg.Limits(max_jobs=1)
        runs.killed(*tasks[:3], after_s=1000)
        runs.killed(*tasks[3:], after_s=1000)
        assert status(runs.journal).tasks == {
            "done": 1, "failed": 1, "held": 1, "working": 1, "waiting": 2,
        }  # fmt: skip

    def test_costs_are_added_by_currency(self, tmp_path: Path) -> None:
        for currency, sums in (("CNY", {"CNY": "0.75"}), ("USD", {"CNY": "0.50", "USD": "0.25"})):
            path = tmp_path / currency

            async def main(path: Path = path, currency: str = currency) -> None:
                journal = SqliteJournal.open(path)
                for i, (amount, unit) in enumerate([("0.50", "CNY"), ("0.25", currency)]):
                    task = hg.Task(f"cat {i}")
                    (entry,) = await journal.admit([(task, i)], Retry())
                    assert isinstance(entry, Entry)
                    for step in (
                        *BEGUN,
                        steps.Finished(outputs=(), cost=hg.Cost(amount=amount, currency=unit)),
                    ):
                        await journal.record(entry.part(0), step)
                await journal.aclose()

            asyncio.run(main())
            spent = {each.currency: str(each.amount) for each in status(path).spending.spent}
            assert spent == sums

    def test_of_an_empty_journal(self, tmp_path: Path) -> None:
        async def main() -> None:
            await SqliteJournal.open(tmp_path / "j").aclose()

        asyncio.run(main())
        found = status(tmp_path / "j")
        assert (found.changed_at, found.spending, found.left) == (None, hg.Spending(), ())
        with pytest.raises(JournalError, match="does not say which provider"):
            providers_of(tmp_path / "j")
        assert output_of(tmp_path / "j") == str(tmp_path)

    def test_what_the_last_run_used_is_known(self, runs: Runs) -> None:
        runs.run(CAT)
        assert providers_of(runs.journal) == ["scripted"]
        assert output_of(runs.journal) == str(runs.folder)

    def test_beside_a_live_owner(self, runs: Runs) -> None:
        async def main() -> None:
            async with runs.opened() as studio:
                handle = studio.submit(CAT)
                await asyncio.sleep(5)
                assert [each.state for each in found(runs.journal)] == ["submitted"]
                assert status(runs.journal).owner == f"process {os.getpid()} on {os.uname()[1]}"
                assert (await handle.outcome()).ok
                assert found(runs.journal) == []

        run_virtual(main())
        assert status(runs.journal).owner is None

    def test_a_dead_owner_is_none(self, runs: Runs) -> None:
        runs.killed(CAT, after_s=5)
        assert status(runs.journal).owner is None
        assert status(runs.journal).tasks["working"] == 1


class TestReadOnly:
    @pytest.fixture
    def locked(self, runs: Runs) -> Iterator[Runs]:
        """A finished folder on which nothing can be written, root or not."""
        runs.run(CAT)
        folder = str(runs.folder)
        bind = ["mount", "--bind", folder, folder]
        remount = ["mount", "-o", "remount,bind,ro", folder]
        try:
            mounted = subprocess.run(bind, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            mounted = False
        if not mounted:
            pytest.skip("this machine does not let a test mount a folder")
        try:
            if subprocess.run(remount, capture_output=True, check=False).returncode:
                pytest.skip("this machine does not let a test mount a folder read-only")
            yield runs
        finally:
            if subprocess.run(["umount", folder], capture_output=True, check=False).returncode:
                subprocess.run(["umount", "-l", folder], capture_output=True, check=False)
                pytest.fail("something keeps a file open")

    def test_it_is_read(self, locked: Runs) -> None:
        with pytest.raises(OSError, match="Read-only"):
            (locked.folder / "x").touch()
        assert status(locked.journal).tasks["done"] == 1
        assert status(locked.journal).owner is None
        assert found(locked.journal) == []

    def test_it_is_not_worked_in(self, locked: Runs) -> None:
        with pytest.raises(hg.errors.StorageError):
            locked.run(CAT)
        assert locked.jobs == 1


class TestSalvage:
    def test_of_a_sound_journal_it_is_all(self, runs: Runs) -> None:
        runs.run(CAT, DOG)
        rows = list(salvage(runs.journal))
        assert [row["key"] for row in rows if row["table"] == "tasks"] == ["cat", "dog"]
        assert [row["state"] for row in rows if row["table"] == "parts"] == ["stored", "stored"]

    def test_from_both_sides_of_the_damage(self, runs: Runs) -> None:
        tasks = [hg.Task(f"cat number {i} " + "x" * 500, id=f"cat-{i:02}") for i in range(60)]
        runs.run(*tasks)
        with contextlib.closing(sqlite3.connect(runs.journal)) as connection:
            pages = [
                page
                for (page,) in connection.execute(
                    "SELECT pageno FROM dbstat WHERE name = 'tasks' AND pagetype = 'leaf'"
                )
            ]
        middle = sorted(pages)[len(pages) // 2]
        data = bytearray(runs.journal.read_bytes())
        data[(middle - 1) * 4096 : middle * 4096] = b"\xff" * 4096
        runs.journal.write_bytes(data)
        keys = [row["key"] for row in salvage(runs.journal) if row["table"] == "tasks"]
        assert len(keys) == len(set(keys))
        assert 40 <= len(keys) < 60
        assert {"cat-00", "cat-59"} <= set(keys)
        assert runs.journal.read_bytes() == data

    def test_no_addresses(self, tmp_path: Path) -> None:
        path = written(tmp_path / "j", *BEGUN, steps.Finished(outputs=(URL,)))
        assert "secret" not in str(list(salvage(path)))

    def test_nothing_can_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "j").write_bytes(b"no database" * 300)
        with pytest.raises(JournalError):
            list(salvage(tmp_path / "j"))
        with pytest.raises(JournalCorruptError):
            found(tmp_path / "j")
        with pytest.raises(JournalError):
            found(tmp_path / "none")
