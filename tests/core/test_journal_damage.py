"""What a torn, cut or lost write-ahead log can cost, and what it cannot."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from helpers import failure_of
from holodeck_gen._journal import file, steps
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._scripted import Script, ScriptedJob
from holodeck_gen.errors import JournalCorruptError, ProcessingError
from runs import CAT, DOG, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator

HEADER = 32
FRAME = 24 + 4096
NAME = "journal.sqlite3"
TASKS = 6
PLAN = Plan(provider="p", account="a", per_job=1, requests=({"prompt": "a cat"},))


@attrs.frozen
class Log:
    """A journal as a killed process leaves it.

    Attributes:
        folder: Holds the journal and its log, never opened since.
        told: Lengths of the log when each job's id was acknowledged, oldest first.
    """

    folder: Path
    told: tuple[int, ...]

    def copy(self, to: Path, log: bytes | None) -> Path:
        """The journal with another log; None for no log at all."""
        to.mkdir()
        shutil.copy(self.folder / NAME, to)
        if log is not None:
            (to / f"{NAME}-wal").write_bytes(log)
        return to / NAME

    @property
    def whole(self) -> bytes:
        return (self.folder / f"{NAME}-wal").read_bytes()


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    """Some jobs are acknowledged, one after the other."""
    base = tmp_path_factory.mktemp("log")
    path = base / "live" / NAME
    left = base / "left"
    told: list[int] = []

    async def main() -> None:
        journal = SqliteJournal.open(path)
        tasks = [(hg.Task(f"cat {i}", id=f"cat{i}"), i) for i in range(TASKS)]
        for i, entry in enumerate(await journal.admit(tasks, Retry())):
            assert isinstance(entry, Entry)
            await journal.planned(entry, PLAN)
            await journal.record(entry.part(0), steps.Submitting(attempt=1))
            await journal.record(entry.part(0), steps.Submitted(job=hg.JobRef(job_id=f"job-{i}")))
            told.append(path.with_name(f"{NAME}-wal").stat().st_size)
        shutil.copytree(path.parent, left, ignore=shutil.ignore_patterns("*.reserve", "*-shm"))
        await journal.aclose()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "RESERVE", 4096)
        asyncio.run(main())
    return Log(left, tuple(told))


def jobs_of(journal: Path) -> list[str | None]:
    """The jobs that an owner finds, by task; None where it knows of none."""

    async def main() -> list[str | None]:
        opened = SqliteJournal.open(journal)
        found: list[str | None] = []
        for i in range(TASKS):
            entry = opened.ledger.rows.entry(f"cat{i}")
            part = entry.parts.get(0) if entry else None
            found.append(part.job.job_id if part and part.job else None)
        await opened.aclose()
        return found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(file, "RESERVE", 4096)
        return asyncio.run(main())


def acknowledged(count: int) -> list[str | None]:
    return [f"job-{i}" if i < count else None for i in range(TASKS)]


#: Where in the last, unacknowledged transaction.
where = st.integers(0, 10**6)


class TestUnacknowledged:
    """What lies behind the last acknowledged commit is as if it had never been."""

    def test_the_log_is_what_holds_the_jobs(self, log: Log, tmp_path: Path) -> None:
        """Else nothing below could fail."""
        assert jobs_of(log.copy(tmp_path / "a", log.whole)) == acknowledged(TASKS)
        assert log.told == tuple(sorted(set(log.told)))
        assert log.told[-1] == len(log.whole)

    def test_cut_at_any_byte(self, log: Log, tmp_path_factory: pytest.TempPathFactory) -> None:
        """Each step's first and last byte, and around each frame's boundaries."""
        before, end = log.told[-3], log.told[-2]
        offsets = {before, end - 1, (before + end) // 2}
        for frame in range(before, end, FRAME):
            offsets |= {frame + each for each in (0, 1, 8, 23, 24, 25, FRAME - 1)}
        for offset in sorted(offsets):
            folder = tmp_path_factory.mktemp("cut") / "x"
            found = jobs_of(log.copy(folder, log.whole[:offset]))
            assert found == acknowledged(TASKS - 2), offset

    @given(cut=where, count=st.integers(1, TASKS - 1))
    def test_cut_anywhere(
        self, log: Log, tmp_path_factory: pytest.TempPathFactory, cut: int, count: int
    ) -> None:
        begin, end = log.told[count - 1], log.told[count]
        folder = tmp_path_factory.mktemp("cut") / "x"
        offset = begin + cut % (end - begin)
        assert jobs_of(log.copy(folder, log.whole[:offset])) == acknowledged(count)

    @given(place=where, bit=st.integers(0, 7), count=st.integers(1, TASKS - 1))
    def test_a_flipped_bit(
        self, log: Log, tmp_path_factory: pytest.TempPathFactory, place: int, bit: int, count: int
    ) -> None:
        begin, end = log.told[count - 1], log.told[count]
        damaged = bytearray(log.whole[:end])
        damaged[begin + place % (end - begin)] ^= 1 << bit
        found = jobs_of(log.copy(tmp_path_factory.mktemp("bit") / "x", bytes(damaged)))
        assert found[:count] == acknowledged(count)[:count]
        assert found[count + 1 :] == acknowledged(count)[count + 1 :]

    @given(garbage=st.binary(min_size=1, max_size=3 * FRAME), count=st.integers(1, TASKS))
    def test_garbage(
        self, log: Log, tmp_path_factory: pytest.TempPathFactory, garbage: bytes, count: int
    ) -> None:
        whole = log.whole[: log.told[count - 1]]
        folder = tmp_path_factory.mktemp("garbage") / "x"
        assert jobs_of(log.copy(folder, whole + garbage)) == acknowledged(count)

    @given(place=st.integers(1, 60), count=st.integers(1, TASKS))
    def test_frames_of_an_older_log(
        self, log: Log, tmp_path_factory: pytest.TempPathFactory, place: int, count: int
    ) -> None:
        """A log is written over from its start; what was behind is still there."""
        whole = log.whole
        frames = [whole[at : at + FRAME] for at in range(HEADER, len(whole), FRAME)]
        old = bytearray(frames[place % len(frames)])
        (salt,) = struct.unpack_from(">I", old, 8)
        struct.pack_into(">I", old, 8, (salt - 1) % 2**32)
        folder = tmp_path_factory.mktemp("old") / "x"
        found = jobs_of(log.copy(folder, whole[: log.told[count - 1]] + bytes(old)))
        assert found == acknowledged(count)

    @pytest.mark.parametrize("shared", [b"", b"\0" * 32768, b"\xff" * 32768, b"x"])
    def test_the_shared_memory_counts_for_nothing(
        self, log: Log, tmp_path: Path, shared: bytes
    ) -> None:
        journal = log.copy(tmp_path / "x", log.whole)
        journal.with_name(f"{NAME}-shm").write_bytes(shared)
        assert jobs_of(journal) == acknowledged(TASKS)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    return Runs(tmp_path / "out")


def fail(_file: Path, _task: hg.Task) -> Path:
    raise ProcessingError("the disk is upside down", stage="fail")


def log_of(runs: Runs) -> Path:
    return runs.journal.with_name(f"{NAME}-wal")


def commits(log: bytes) -> Iterator[int]:
    """Lengths of a log that end with a commit, shortest first."""
    for at in range(HEADER, len(log) - FRAME + 1, FRAME):
        (size,) = struct.unpack_from(">I", log, at + 4)
        if size:
            yield at + FRAME


class TestAcknowledged:
    """Where a disk loses what it had acknowledged, whatever else remembers it is believed."""

    def refused(self, runs: Runs) -> None:
        """Nothing is submitted, and nothing is changed."""
        jobs = runs.jobs
        with pytest.raises(JournalCorruptError, match="nothing is submitted"):
            runs.run(CAT, DOG)
        with pytest.raises(JournalCorruptError, match="nothing is submitted"):
            runs.run(CAT, DOG)
        assert runs.jobs == jobs

    def test_a_spooled_file_speaks_against_every_earlier_commit(self, runs: Runs) -> None:
        """A log cut at each of its commits: the job is found, or its file says it is lost."""
        runs.run(DOG)
        runs.killed(CAT, after_s=12, process=[fail])
        (raw,) = (runs.folder / ".spool").glob("*.raw")
        whole = log_of(runs).read_bytes()
        lengths = [0, *commits(whole)]
        jobs, refused, went_on = runs.jobs, 0, 0
        for length in lengths:
            trial = attrs.evolve(runs, folder=runs.folder.parent / f"cut{length}")
            shutil.copytree(runs.folder, trial.folder)
            log_of(trial).write_bytes(whole[:length])
            log_of(trial).with_name(f"{NAME}-shm").unlink(missing_ok=True)
            try:
                outcome = trial.run(CAT)["cat"]
            except JournalCorruptError:
                refused += 1
                assert (trial.folder / ".spool" / raw.name).exists()
            else:
                went_on += 1
                assert outcome.ok or failure_of(outcome).state == "held", length
            assert runs.jobs == jobs, f"a log of {length} bytes paid again"
        assert refused > 0
        assert went_on > 0

    def test_a_first_runs_log_that_is_gone_is_missed_where_the_spool_has_files(
        self, runs: Runs
    ) -> None:
        runs.killed(CAT, after_s=12, process=[fail])
        assert list((runs.folder / ".spool").glob("*.raw"))
        for each in (log_of(runs), log_of(runs).with_name(f"{NAME}-shm")):
            each.unlink()
        self.refused(runs)

    @pytest.mark.parametrize("what", ["cut", "gone"])
    def test_a_result_speaks_against_a_shorter_log(self, runs: Runs, what: str) -> None:
        runs.run(DOG)
        runs.killed(CAT, after_s=60)
        (runs.folder / "results.jsonl").write_text(
            '{"key": "dog", "status": "done"}\n{"key": "cat", "status": "done"}\n'
        )
        log = log_of(runs)
        if what == "cut":
            log.write_bytes(log.read_bytes()[: next(commits(log.read_bytes()))])
        else:
            log.unlink()
        log.with_name(f"{NAME}-shm").unlink(missing_ok=True)
        self.refused(runs)

    def test_a_journal_that_is_gone(self, runs: Runs) -> None:
        runs.run(CAT)
        (runs.folder / "results.jsonl").write_text('{"key": "cat", "status": "done"}\n')
        runs.journal.unlink()
        self.refused(runs)
        with pytest.raises(JournalCorruptError, match="--resume never, which puts what is there"):
            runs.run(CAT)
        assert runs.run(CAT, resume="never")["cat"].ok

    def test_an_older_copy_of_a_whole_journal(self, runs: Runs) -> None:
        runs.run(CAT)
        older = runs.journal.read_bytes()
        runs.run(DOG)
        (runs.folder / "results.jsonl").write_text(
            '{"key": "cat", "status": "done"}\n{"key": "dog", "status": "done"}\n'
        )
        runs.journal.write_bytes(older)
        self.refused(runs)

    @pytest.mark.parametrize("key", ["cat[1]", "c*t", "cat?", "c[a-z]t"])
    def test_a_result_of_the_task_that_had_the_id_before_is_no_contradiction(
        self, runs: Runs, key: str
    ) -> None:
        runs.run(hg.Task("a cat", id=key))
        (runs.folder / "results.jsonl").write_text(f'{{"key": "{key}", "status": "done"}}\n')
        slow = Script(submits=[hg.errors.ThrottledError("slow", retry_after=100)])
        runs.provider.scripts = {"another cat": slow, "a dog": slow}
        # Killed before the new task is submitted: the journal knows only the old one's end.
        runs.killed(DOG, hg.Task("another cat", id=key), after_s=0.5, concurrency=1)
        assert runs.run(hg.Task("another cat", id=key))[key].ok
        assert runs.jobs == 2 + (DOG.prompt in [j.request["prompt"] for j in _jobs(runs)])

    def test_where_nothing_else_remembers_a_lost_commit_the_job_is_paid_again(
        self, runs: Runs
    ) -> None:
        """The limit: a disk that loses what it said it had kept, and a job without a file."""
        runs.run(DOG)
        runs.killed(CAT, after_s=5)
        log_of(runs).unlink()
        log_of(runs).with_name(f"{NAME}-shm").unlink(missing_ok=True)
        assert runs.run(CAT)["cat"].ok
        assert runs.jobs == 3


def _jobs(runs: Runs) -> list[ScriptedJob]:
    return list(runs.provider.jobs.values())


def test_no_page_of_the_journal_itself_waits_for_the_log(runs: Runs) -> None:
    """The journal's name is in its file from the start: it is how the spool's files are known."""
    runs.killed(CAT, after_s=5)
    log_of(runs).unlink()
    log_of(runs).with_name(f"{NAME}-shm").unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(runs.journal)) as connection:
        assert connection.execute("SELECT value FROM meta WHERE name = 'name'").fetchone()
