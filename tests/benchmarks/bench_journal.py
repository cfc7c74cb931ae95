"""What the journal costs: ``python tests/benchmarks/bench_journal.py [tasks]``.

200 tasks are in flight, each with the ten records of a paid job: admitted, planned, submitting,
submitted, finished, fetched, a name, stored, done. Four figures of CPU time (user and system,
all threads) per task, from the same run:

- *journal*: with `SqliteJournal` on disk, less what the same tasks cost with a journal that
  does nothing. In both a task waits for its job, so that so many are alive: looking through
  what is alive for what may be freed costs more than all else in a task that does nothing;
- *raw*: the same rows made of the same values and written by one thread, 200 tasks to a
  statement and a transaction to each kind of record;
- *write*: of that, the part after the values are text;
- *least*: as *journal*, with one that has the same rows and waits and nothing else, see
  `LeastJournal`.

Then the longest time for which the event loop stood still, also with an fsync that takes 20 ms.
"""

from __future__ import annotations

import asyncio
import gc
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import holodeck_gen as hg
from benchmarks.least_journal import LeastJournal
from holodeck_gen._engine.map import BATCH
from holodeck_gen._journal import file, steps
from holodeck_gen._journal.group_commit import GroupCommit
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.rows import artifacts_text, expiry, files_text
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._model.codec import dumps, ending_fields
from holodeck_gen._model.identity import digest

if TYPE_CHECKING:
    from collections.abc import Iterator

IN_FLIGHT = 200
#: Seconds a job takes.
JOB_S = 0.05
PROMPT = "misty mountains at dawn, oil on canvas, soft light over a quiet valley"
URL = "https://files.example.com/2026/11/24/result.png?sign=q-sign-algorithm%3Dsha1"


class Nothing:
    """A journal that remembers nothing, to find out what the rest of the benchmark costs."""

    async def admit(self, tasks: Any, _retry: Retry) -> list[Entry]:
        return [Entry(key=t.id, task=t, index=i, number=i, token="0-0") for t, i in tasks]

    async def reserve(self, _entry: Entry, _name: str) -> bool:
        return True

    async def planned(self, _entry: Entry, _plan: Plan) -> None:
        pass

    async def record(self, _part: Any, _step: Any) -> None:
        pass

    async def finish(self, _entry: Entry, _outcome: hg.Outcome) -> None:
        pass

    async def aclose(self) -> None:
        pass


def task_of(number: int) -> hg.Task:
    return hg.Task(PROMPT, id=f"task-{number}", seed=number, size="1024x1024")


def plan_of(task: hg.Task) -> Plan:
    request = {"Prompt": task.prompt, "Seed": task.seed, "Resolution": "1024:1024"}
    return Plan(provider="hunyuan", account="0" * 16, per_job=1, requests=(request,))


def steps_of(folder: Path, number: int) -> list[steps.Step]:
    name = f"task-{number}"
    return [
        steps.Submitting(attempt=1),
        steps.Submitted(job=hg.JobRef(job_id=f"1346-{number}")),
        steps.Finished(outputs=(hg.Url(url=URL, expires_at=1.8e9),)),
        steps.Fetched(files=(RawFile(path=folder / ".spool" / f"{name}.raw", metadata={}),)),
        steps.Stored(artifacts=(artifact_of(folder, name),)),
    ]


def artifact_of(folder: Path, name: str) -> hg.Artifact:
    return hg.Artifact(
        path=folder / f"{name}.png",
        media_type="image/png",
        sha256="0" * 64,
        size_bytes=1_400_000,
        width=1024,
        height=1024,
    )


def result_of(task: hg.Task, artifact: hg.Artifact, number: int) -> hg.Result:
    seconds = {"wait": 0.1, "job": 12.0, "fetch": 0.3, "finish": 0.1, "total": 12.5}
    return hg.Result(
        task=task,
        index=number,
        key=f"task-{number}",
        artifacts=(artifact,),
        prompt=task.prompt,
        provider="hunyuan",
        job_ids=(f"1346-{number}",),
        seconds=seconds,
    )


async def life(journal: Any, folder: Path, entry: Entry) -> None:
    task, number = entry.task, entry.index
    await journal.planned(entry, plan_of(task))
    part = entry.part(0)
    *before, stored = steps_of(folder, number)
    for step in before:
        await journal.record(part, step)
        if step.state == "submitted":
            await asyncio.sleep(JOB_S)
    await journal.reserve(entry, f"task-{number}.png")
    await journal.record(part, stored)
    assert isinstance(stored, steps.Stored)
    await journal.finish(entry, result_of(task, stored.artifacts[0], number))


async def lives(journal: Any, folder: Path, count: int) -> None:
    turns = asyncio.Semaphore(IN_FLIGHT)

    async def work(entry: Entry) -> None:
        await life(journal, folder, entry)
        turns.release()

    async with asyncio.TaskGroup() as group:
        for first in range(0, count, BATCH):
            numbers = range(first, min(first + BATCH, count))
            entries = await journal.admit([(task_of(n), n) for n in numbers], Retry())
            for entry in entries:
                await turns.acquire()
                group.create_task(work(entry))
    await journal.aclose()


def cpu_of(journal: Any, folder: Path, count: int) -> float:
    began = time.process_time()
    asyncio.run(lives(journal, folder, count))
    return (time.process_time() - began) / count * 1e6


def raw(folder: Path, count: int) -> tuple[float, float]:
    """CPU per task of the same rows written raw: in all, and without making the text."""
    connection = file.connect(folder / "journal.sqlite3", durable=True)
    making = writing = 0.0
    for first in range(0, count, IN_FLIGHT):
        numbers = range(first, min(first + IN_FLIGHT, count))
        values = [(n, task_of(n), plan_of(task_of(n)), steps_of(folder, n)) for n in numbers]
        results = [result_of(t, artifact_of(folder, t.id or ""), n) for n, t, _, _ in values]
        began = time.process_time()
        batches = _rows(values, results, folder)
        making += time.process_time() - began
        began = time.process_time()
        for statement, rows in batches:
            connection.execute("BEGIN")
            connection.executemany(statement, rows)
            connection.execute("COMMIT")
        writing += time.process_time() - began
    connection.close()
    return (making + writing) / count * 1e6, writing / count * 1e6


def _rows(values: Any, results: Any, folder: Path) -> list[tuple[str, list[tuple[Any, ...]]]]:
    def of(place: int) -> Any:
        return [(n + 1, made[place]) for n, _, _, made in values]

    now = time.time()
    where = "WHERE task = ? AND part = 0"
    return [
        (
            "INSERT INTO tasks (key, digest, position, run, state, task)"
            " VALUES (?, ?, ?, 1, 'open', ?)",
            [(t.id, digest(t), n, dumps(t)) for n, t, _, _ in values],
        ),
        (
            "UPDATE tasks SET plan = ? WHERE number = ?",
            [(dumps(p), n + 1) for n, _, p, _ in values],
        ),
        (
            "INSERT INTO parts (task, part, state, attempt, changed_at)"
            " VALUES (?, 0, 'submitting', 1, ?)",
            [(n + 1, now) for n, *_ in values],
        ),
        (
            "UPDATE parts SET state = 'submitted', changed_at = ?, job = ?, submitted_at = ?"
            f" {where}",
            [(now, dumps(s.job), now, n) for n, s in of(1)],
        ),
        (
            "UPDATE parts SET state = 'finished', changed_at = ?, outputs = ?, expires_at = ?"
            f" {where}",
            [(now, dumps(s.outputs), expiry(s.outputs), n) for n, s in of(2)],
        ),
        (
            f"UPDATE parts SET state = 'fetched', changed_at = ?, files = ? {where}",
            [(now, files_text(s.files), n) for n, s in of(3)],
        ),
        ("INSERT INTO names VALUES (?, ?)", [(f"{t.id}.png", n + 1) for n, t, _, _ in values]),
        (
            "UPDATE parts SET state = 'stored', changed_at = ?, artifacts = ?, outputs = NULL,"
            f" expires_at = NULL {where}",
            [(now, artifacts_text(s.artifacts, folder), n) for n, s in of(4)],
        ),
        (
            "UPDATE tasks SET state = 'done', outcome = ?, ended_at = ?, plan = NULL"
            " WHERE number = ?",
            [(dumps(ending_fields(r)), now, r.index + 1) for r in results],
        ),
    ]


class SlowConnection:
    """A connection whose commits take longer, as on a slow disk."""

    def __init__(self, connection: sqlite3.Connection, commit_s: float) -> None:
        self._connection = connection
        self._commit_s = commit_s

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            time.sleep(self._commit_s)
        return self._connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def longest_pause(folder: Path, count: int, *, commit_s: float) -> float:
    """Most seconds between two turns of a loop that does nothing but the lives of tasks."""

    journal = SqliteJournal.open(folder / "journal.sqlite3")
    assert isinstance(journal.commits, GroupCommit)
    journal.commits.connection = SlowConnection(  # type: ignore[assignment]
        journal.commits.connection, commit_s
    )

    async def main() -> float:
        # As the command does.
        gc.collect()
        gc.freeze()
        longest, last = 0.0, time.perf_counter()
        work = asyncio.create_task(lives(journal, folder, count))
        while not work.done():
            await asyncio.sleep(0.001)
            now = time.perf_counter()
            longest, last = max(longest, now - last - 0.001), now
        await work
        return longest

    return asyncio.run(main())


def report(count: int, folder: Path) -> Iterator[str]:
    nothing = cpu_of(Nothing(), folder / "0", count)
    journal = cpu_of(SqliteJournal.open(folder / "1" / "journal.sqlite3"), folder / "1", count)
    every, written = raw(folder / "2", count)
    least = cpu_of(LeastJournal(folder / "3"), folder / "3", count) - nothing
    cost = journal - nothing
    yield f"SQLite {sqlite3.sqlite_version}, {count} tasks, {IN_FLIGHT} in flight; CPU a task:"
    yield f"  journal {cost:6.0f} µs   (with the tasks themselves {journal:.0f} µs)"
    yield f"  least   {least:6.0f} µs"
    yield f"  raw     {every:6.0f} µs   (of that written {written:.0f} µs)"
    yield f"  ratio   {cost / every:6.2f}      (to what is written {cost / written:.2f})"
    yield f"  ratio of the least {least / every:.2f}"
    for commit_s in (0.0, 0.02):
        pause = longest_pause(folder / str(commit_s), count // 5, commit_s=commit_s)
        yield f"loop still for at most {pause * 1e3:.1f} ms, commits + {commit_s * 1e3:.0f} ms"


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    folder = Path(tempfile.mkdtemp(prefix="bench-journal-"))
    try:
        for line in report(count, folder):
            sys.stdout.write(line + "\n")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
