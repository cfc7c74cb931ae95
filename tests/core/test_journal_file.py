"""The journal's file: what it survives, and what it refuses."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import shutil
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import result_of
from holodeck_gen._journal import file, steps
from holodeck_gen._journal.audit import reading, status
from holodeck_gen._journal.file import RESERVE
from holodeck_gen._journal.journal import Entry, PartRecord, Plan, Retry
from holodeck_gen._journal.salvage import salvage
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen.errors import (
    ContentRejectedError,
    GenerationError,
    JobFailedError,
    JournalCorruptError,
    JournalVersionError,
    PausedError,
    StorageError,
    TransientError,
)
from holodeck_gen.testing import run_virtual
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(provider="p", account="a", per_job=1, requests=({"prompt": "a cat"},))
JOB = hg.JobRef(job_id="job-1", state={"region": "here"})
URL = hg.Url(url="https://example.com/a.png?sign=secret", expires_at=1_000_000.0)
GONE = hg.PartError(error=ContentRejectedError("not this one", code="No"))
COST = hg.Cost(amount="0.50", currency="CNY")


async def admitted(journal: SqliteJournal, *tasks: hg.Task) -> list[Entry]:
    answers = await journal.admit([(task, i) for i, task in enumerate(tasks)], Retry())
    return [answer for answer in answers if isinstance(answer, Entry)]


def written(path: Path, *told: steps.Step) -> None:
    """A journal in which the cat's only part took these steps."""

    async def main() -> None:
        journal = SqliteJournal.open(path)
        (entry,) = await admitted(journal, CAT)
        await journal.planned(entry, PLAN)
        for step in told:
            await journal.record(entry.part(0), step)
        await journal.aclose()

    asyncio.run(main())


def read(path: Path) -> Entry:
    """The cat's entry."""

    async def main() -> Entry:
        journal = SqliteJournal.open(path)
        (entry,) = await admitted(journal, CAT)
        await journal.aclose()
        return entry

    return asyncio.run(main())


def part_of(path: Path) -> PartRecord:
    return read(path).parts[0]


class TestRows:
    """What is read back equals what was written."""

    def test_a_job(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        written(path, steps.Submitting(attempt=1), steps.Submitted(job=JOB))
        entry = read(path)
        part = entry.parts[0]
        assert (part.state, part.attempt, part.job) == ("submitted", 1, JOB)
        assert entry.plan == PLAN

    def test_a_price(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        written(path, steps.Submitting(attempt=1, price=COST))
        assert part_of(path).price == COST

    def test_a_price_goes_with_the_proof_that_there_is_no_job(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        error = JobFailedError("no")
        sent = steps.Submitting(attempt=1, price=COST)
        written(path, sent, steps.Refused(attempt=1, error=error))
        assert part_of(path).price is None
        with reading(path) as rows:
            assert rows.spending() == hg.Spending()

    def test_the_price_of_a_job_that_nobody_knows_stays_with_its_part(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        error = JobFailedError("no")
        again = (
            steps.Submitting(attempt=1, price=COST),
            steps.Uncertain(error=error),
            steps.Abandoned(attempt=1, error=error),
        )
        written(path, *again, *again, steps.Submitting(attempt=3, price=COST))
        with reading(path) as rows:
            found = rows.spending()
        assert [each.amount for each in found.spent] == [2 * COST.amount]
        assert found.estimated
        # What was on its way is uncertain by now.
        assert part_of(path).state == "uncertain"
        with reading(path) as rows:
            assert [each.amount for each in rows.spending().spent] == [3 * COST.amount]

    def test_a_failure_keeps_the_cost_that_was_known(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        begun = (steps.Submitting(attempt=1), steps.Submitted(job=JOB))
        written(
            path,
            *begun,
            steps.Finished(outputs=(URL,), cost=COST),
            steps.Failed(error=JobFailedError("gone")),
        )
        with reading(path) as rows:
            assert rows.spending() == hg.Spending(spent=[COST])

    def test_outputs(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        finished = steps.Finished(outputs=(URL, GONE), cost=COST)
        written(path, steps.Submitting(attempt=1), steps.Submitted(job=JOB), finished)
        part = part_of(path)
        assert (part.state, part.cost, part.expires_at) == ("finished", COST, 1_000_000.0)
        assert part.outputs[0] == URL
        gone = part.outputs[1]
        assert isinstance(gone, hg.PartError)
        assert (str(gone.error), gone.error.code) == ("not this one", "No")  # type: ignore[attr-defined]

    def test_files_move_with_their_folder(self, tmp_path: Path) -> None:
        raw = RawFile(path=tmp_path / "a" / ".spool" / "x.raw", seed=3, metadata={"k": [1]})
        artifact = hg.Artifact(
            path=(tmp_path / "a").resolve() / "x.png",
            media_type="image/png",
            sha256="0" * 64,
            size_bytes=1,
        )
        before = (steps.Submitting(attempt=1), steps.Submitted(job=JOB))
        fetched = steps.Fetched(files=(raw,))
        written(tmp_path / "a" / "journal.sqlite3", *before, fetched)
        shutil.move(tmp_path / "a", tmp_path / "b")
        assert part_of(tmp_path / "b" / "journal.sqlite3").files[0] == RawFile(
            path=(tmp_path / "b").resolve() / ".spool" / "x.raw", seed=3, metadata={"k": [1]}
        )
        stored = steps.Stored(artifacts=(artifact,))
        written(tmp_path / "a" / "journal.sqlite3", *before, fetched, stored)
        shutil.move(tmp_path / "a", tmp_path / "c")
        (moved,) = part_of(tmp_path / "c" / "journal.sqlite3").artifacts
        assert moved.path == (tmp_path / "c").resolve() / "x.png"

    def test_errors(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        error = JobFailedError("why", code="C", job_id="job-1")
        written(path, steps.Submitting(attempt=1), steps.Failed(error=error))
        found = part_of(path).error
        assert isinstance(found, JobFailedError)
        assert (str(found), found.code, found.job_id) == ("why", "C", "job-1")

    def test_addresses_are_forgotten_once_the_files_are_stored(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        steps_ = (
            steps.Submitting(attempt=1),
            steps.Submitted(job=JOB),
            steps.Finished(outputs=(URL,)),
            steps.Fetched(files=()),
        )
        written(path, *steps_)
        assert b"sign=secret" in path.read_bytes()
        path.unlink()
        written(path, *steps_, steps.Stored(artifacts=()))
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT outputs FROM parts").fetchall() == [(None,)]

    @given(
        prompt=st.text(min_size=1, max_size=50).filter(lambda text: bool(text.strip())),
        seed=st.integers(0, 2**70),
        numbers=st.dictionaries(st.text(max_size=5), st.integers() | st.none(), max_size=3),
    )
    def test_any_task(self, prompt: str, seed: int, numbers: dict[str, int | None]) -> None:
        async def main() -> None:
            try:
                task = hg.Task(prompt, id="x", seed=seed, metadata=numbers)
            except GenerationError:
                return
            journal = SqliteJournal.private()
            await admitted(journal, task)
            entry = journal.ledger.rows.entry("x")
            assert entry is not None
            assert entry.task == task
            await journal.aclose()

        asyncio.run(main())


class TestFile:
    def test_it_is_private(self, tmp_path: Path) -> None:
        def modes_now() -> list[int]:
            return [each.stat().st_mode & 0o777 for each in tmp_path.glob("journal.sqlite3*")]

        async def main() -> list[int]:
            journal = SqliteJournal.open(tmp_path / "journal.sqlite3")
            await admitted(journal, CAT)
            modes = modes_now()
            await journal.aclose()
            return modes

        modes = asyncio.run(main())
        # The file, its log, its shared memory and the reserve.
        assert len(modes) == 4
        assert set(modes) == {0o600}

    def test_only_the_file_stays(self, tmp_path: Path) -> None:
        written(tmp_path / "journal.sqlite3")
        assert sorted(os.listdir(tmp_path)) == [".journal.sqlite3.lock", "journal.sqlite3"]

    def test_a_link_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "journal.sqlite3").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(StorageError, match="cannot be written"):
            SqliteJournal.open(tmp_path / "journal.sqlite3")
        assert not (tmp_path / "elsewhere").exists()

    def test_a_newer_one_is_refused(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        written(path)
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute(f"PRAGMA user_version = {file.VERSION + 1}")
        before = path.read_bytes()
        with pytest.raises(JournalVersionError, match=r"newer holodeck-gen.*pip install -U"):
            SqliteJournal.open(path)
        assert path.read_bytes() == before

    def test_an_older_one_is_lifted(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.executescript(file.MIGRATIONS[0])
            connection.execute(f"PRAGMA application_id = {file.APPLICATION_ID}")
            connection.execute("PRAGMA user_version = 1")
            connection.execute("INSERT INTO meta VALUES ('epoch', '1')")
            connection.execute(
                "INSERT INTO tasks (key, digest, position, run, state, task)"
                """ VALUES ('old', 'd', 0, 1, 'open', '{"prompt": "an old cat"}')"""
            )
            connection.execute(
                "INSERT INTO parts (task, part, state, attempt) VALUES (1, 0, 'uncertain', 1)"
            )
            connection.commit()
        with reading(path) as rows:
            found = rows.entry("old")
            assert found is not None
            assert found.parts[0].price is None, "readers change nothing and see it all the same"
            assert rows.spending().unpriced == 1

        async def main() -> Entry:
            journal = SqliteJournal.open(path)
            entry = await journal.reopen("old")
            await journal.aclose()
            return entry

        assert asyncio.run(main()).task == hg.Task("an old cat")
        with contextlib.closing(sqlite3.connect(path)) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (file.VERSION,)
            query = "EXPLAIN QUERY PLAN SELECT * FROM tasks WHERE state <> 'done'"
            assert "unfinished" in str(connection.execute(query).fetchall())

    @pytest.mark.parametrize("content", [b"no database" * 300, b"\0" * 5])
    def test_what_is_no_journal_is_left_alone(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "journal.sqlite3"
        path.write_bytes(content)
        with pytest.raises(JournalCorruptError, match="audit --salvage"):
            SqliteJournal.open(path)
        assert path.read_bytes() == content

    def test_a_database_of_something_else_is_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "journal.sqlite3"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE notes (text)")
        before = path.read_bytes()
        with pytest.raises(JournalCorruptError, match="something else"):
            SqliteJournal.open(path)
        assert path.read_bytes() == before

    def test_a_damaged_one_is_left_alone_and_what_is_readable_is_listed(self, runs: Runs) -> None:
        runs.run(*[hg.Task(f"cat number {i} " + "x" * 500, id=f"cat-{i}") for i in range(60)])
        damaged = bytearray(runs.journal.read_bytes())
        # A page in the middle, which holds rows.
        damaged[6 * 4096 : 7 * 4096] = os.urandom(4096)
        runs.journal.write_bytes(damaged)
        jobs = runs.jobs
        with pytest.raises(JournalCorruptError, match="nothing is submitted"):
            runs.run(CAT)
        assert runs.jobs == jobs
        assert runs.journal.read_bytes() == damaged
        rows = list(salvage(runs.journal))
        assert 0 < len({row["key"] for row in rows if row["table"] == "tasks"}) <= 60

    def test_salvage_reads_what_only_the_log_has(self, tmp_path: Path) -> None:
        journal = SqliteJournal.open(tmp_path / "journal.sqlite3")
        asyncio.run(admitted(journal, CAT))
        killed = tmp_path / "killed"
        killed.mkdir()
        for each in tmp_path.glob("journal.sqlite3*"):
            shutil.copy(each, killed)
        journal.close()
        assert [row["key"] for row in salvage(killed / "journal.sqlite3")] == ["cat"]

    def test_no_room_for_the_reserve_is_a_pause_and_leaves_nothing(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def full(path: Path, data: bytes) -> None:
            with path.open("wb") as stream:
                stream.write(data[:1000])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(type(tmp_path), "write_bytes", full)
        with pytest.raises(PausedError, match="make room"):
            SqliteJournal.open(tmp_path / "journal.sqlite3")
        monkeypatch.undo()
        assert not (tmp_path / "journal.sqlite3.reserve").exists()
        SqliteJournal.open(tmp_path / "journal.sqlite3").close()

    def test_a_folder_that_cannot_be_written(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(StorageError, match="journal"):
            SqliteJournal.open(tmp_path / "file" / "journal.sqlite3")


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


class TestLog:
    """SQLite's write-ahead log after a crash."""

    def killed(self, runs: Runs) -> Path:
        runs.run(CAT)
        runs.killed(CAT, DOG, after_s=5)
        return runs.journal.with_name("journal.sqlite3-wal")

    def test_frames_after_the_last_commit_have_no_effect(self, runs: Runs) -> None:
        log = self.killed(runs)
        with log.open("ab") as stream:
            stream.write(os.urandom(10_000))
        outcomes = runs.run(CAT, DOG)
        assert result_of(outcomes["cat"]).resumed
        assert outcomes["dog"].ok
        assert runs.jobs == 2

    def test_a_torn_last_frame_has_no_effect(self, runs: Runs) -> None:
        log = self.killed(runs)
        whole = log.read_bytes()
        # A frame that never became whole: its header is there, its page is not.
        log.write_bytes(whole + whole[32 : 32 + 24 + 100])
        assert runs.run(CAT, DOG)["dog"].ok
        assert runs.jobs == 2

    def test_lost_frames_that_the_spool_contradicts(self, runs: Runs) -> None:
        def fail(_file: Path, _task: hg.Task) -> Path:
            raise OSError("no")

        async def main() -> None:
            async with runs.opened(process=[fail]) as studio:
                await studio.submit(CAT).outcome()
                shutil.copytree(runs.folder, runs.folder.parent / "left")

        run_virtual(main())
        runs.folder = runs.folder.parent / "left"
        runs.journal.with_name("journal.sqlite3-wal").unlink()
        runs.journal.unlink()
        jobs = runs.jobs
        # The spool's file names the journal that it belongs to; an empty one is another.
        written(runs.journal)
        with contextlib.closing(sqlite3.connect(runs.journal)) as connection:
            (raw,) = (runs.folder / ".spool").glob("*.raw")
            name = raw.name.partition("-")[0]
            connection.execute("UPDATE meta SET value = ? WHERE name = 'name'", (f'"{name}"',))
            connection.commit()
        with pytest.raises(JournalCorruptError, match="older than what lies beside it"):
            runs.run(CAT)
        assert runs.jobs == jobs

    def test_lost_frames_that_the_results_contradict(self, runs: Runs) -> None:
        runs.run(DOG)
        (runs.folder / "results.jsonl").write_text(
            '{"key": "dog", "status": "done"}\n{"key": "cat", "status": "done"}\n{"key": "x'
        )
        with pytest.raises(JournalCorruptError, match="has a result of 'cat'"):
            runs.run(CAT)
        assert runs.jobs == 1
        assert runs.run(CAT, resume="never")["cat"].ok
        assert (runs.folder / "results-1.jsonl").exists()


class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Path:
        """A disk of 24 MB, where this machine lets a test have one."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
        try:
            made = subprocess.run(mount, capture_output=True, check=False).returncode == 0
        except FileNotFoundError:
            made = False
        if not made:
            pytest.skip("this machine does not let a test mount a disk")
        return folder

    @pytest.fixture(autouse=True)
    def unmounted(self, tmp_path: Path) -> object:
        yield
        if (tmp_path / "disk").is_dir():
            subprocess.run(["umount", str(tmp_path / "disk")], capture_output=True, check=False)

    def test_ids_are_written_submits_stop_and_the_run_goes_on_later(self, disk: Path) -> None:
        runs = Runs(disk / "out")

        async def main() -> list[hg.Outcome]:
            found: list[hg.Outcome] = []
            async with runs.opened(concurrency=1) as studio:
                first = studio.submit(CAT)
                await asyncio.sleep(1)
                _fill(disk)
                second = studio.submit(DOG)
                found += [await first.outcome(), await second.outcome()]
                more = studio.submit("a bird")
                found.append(await more.outcome())
            return found

        from holodeck_gen.testing import run_virtual

        outcomes = run_virtual(main())
        assert runs.jobs <= 2
        assert all(outcome.ok or outcome.state == "held" for outcome in outcomes)
        assert isinstance(getattr(outcomes[-1], "error", None), PausedError)
        (disk / "filler").unlink()
        again = runs.run(CAT, DOG, "a bird")
        assert all(outcome.ok for outcome in again.values())
        assert runs.jobs == 3

    def test_no_room_at_all(self, disk: Path) -> None:
        _fill(disk)
        with pytest.raises(PausedError, match="is full"):
            SqliteJournal.open(disk / "journal.sqlite3")


def _fill(disk: Path) -> None:
    with (disk / "filler").open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))


def test_the_reserve_is_real(tmp_path: Path) -> None:
    async def main() -> None:
        journal = SqliteJournal.open(tmp_path / "journal.sqlite3")
        reserve = tmp_path / "journal.sqlite3.reserve"
        assert reserve.stat().st_blocks * 512 >= RESERVE
        journal.disk_full()
        assert not reserve.exists()
        (entry,) = await admitted(journal, CAT)
        with pytest.raises(PausedError, match="is full"):
            await journal.record(entry.part(0), steps.Submitting(attempt=1))
        await journal.record(entry.part(0), steps.Failed(error=TransientError("x")))
        await journal.aclose()

    asyncio.run(main())


def test_a_status_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(hg.errors.JournalError, match="there is no journal"):
        status(tmp_path / "journal.sqlite3")
