"""What resuming costs: ``python tests/benchmarks/bench_resume.py [tasks]``.

A journal of a million tasks, nine tenths of them done, and the task file that they came from:

- *select*: a plain ``SELECT`` of all keys and states;
- *first submit*: from opening the folder to the first submit of an unfinished task, by a studio
  in the same process;
- *matching*: all lines of the file, read, checked and looked up in the journal, as ``run`` does
  before it submits; with the growth of resident memory from the first tenth to the end;
- *passing*: all tasks through ``map``, where done ones are only passed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import resource
import shutil
import sqlite3
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

import holodeck_gen as hg
from holodeck_gen._cli._history import History
from holodeck_gen._cli._where import Where
from holodeck_gen._journal import file
from holodeck_gen._journal.rows import artifacts_text
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._model.codec import dumps, ending_fields
from holodeck_gen._model.identity import digest
from holodeck_gen._taskfile.taskfile import check_tasks, read_tasks
from holodeck_gen.testing import Script, ScriptedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

PROMPT = "misty mountains at dawn, oil on canvas, soft light over a quiet valley"
ROWS = 10_000
QUICK = Script(job_s=0.01)


@attrs.define
class Calls:
    """A rewriter that must not be asked about what is done."""

    count: int = 0

    async def rewrite(self, task: hg.Task) -> hg.Task:
        self.count += 1
        return task


class Measured(ScriptedProvider):
    """Tells when the first submit comes."""

    first: float | None = None

    async def submit(self, request: Any, *, key: str) -> Any:
        self.first = self.first or time.perf_counter()
        return await ScriptedProvider.submit(self, request, key=key)


def task_of(number: int) -> hg.Task:
    return hg.Task(f"{PROMPT}, number {number}", id=f"task-{number}", seed=number)


def make(folder: Path, count: int) -> Path:
    """Write the task file, and the journal that a run would have left of it."""
    SqliteJournal.open(folder / "journal.sqlite3").close()
    connection = file.connect(folder / "journal.sqlite3", durable=False)
    tasks = folder / "tasks.jsonl"
    with tasks.open("w") as stream:
        for first in range(0, count, ROWS):
            numbers = range(first, min(first + ROWS, count))
            connection.execute("BEGIN")
            connection.executemany(
                "INSERT INTO tasks VALUES (?, ?, ?, ?, 1, ?, ?, NULL, ?, ?, ?)",
                [_task_row(n, folder, done=n < count * 9 // 10) for n in numbers],
            )
            done = [n for n in numbers if n < count * 9 // 10]
            connection.executemany(
                "INSERT INTO parts (task, part, state, attempt, job, artifacts, changed_at)"
                " VALUES (?, 0, 'stored', 1, ?, ?, 1.0)",
                [(n + 1, dumps(hg.JobRef(job_id=f"job-{n}")), _artifacts(n, folder)) for n in done],
            )
            connection.executemany(
                "INSERT INTO names VALUES (?, ?)", [(f"task-{n}.png", n + 1) for n in done]
            )
            connection.execute("COMMIT")
            stream.writelines(
                json.dumps({"id": t.id, "prompt": t.prompt, "seed": t.seed}) + "\n"
                for t in map(task_of, numbers)
            )
    connection.close()
    return tasks


def _task_row(number: int, folder: Path, *, done: bool) -> tuple[Any, ...]:
    task = task_of(number)
    row = (number + 1, task.id, digest(task), number)
    if not done:
        return (*row, "open", dumps(task), None, None, None)
    result = hg.Result(
        task=task,
        index=number,
        key=task.id or "",
        artifacts=(_artifact(number, folder),),
        prompt=task.prompt,
        provider="scripted",
        job_ids=(f"job-{number}",),
        seconds={"wait": 0.1, "job": 12.0, "fetch": 0.3, "finish": 0.1, "total": 12.5},
    )
    return (*row, "done", dumps(task), None, dumps(ending_fields(result)), 1.0)


def _artifact(number: int, folder: Path) -> hg.Artifact:
    return hg.Artifact(
        path=folder / f"task-{number}.png",
        media_type="image/png",
        sha256="0" * 64,
        size_bytes=1_400_000,
    )


def _artifacts(number: int, folder: Path) -> str:
    return artifacts_text((_artifact(number, folder),), folder)


def select(journal: Path) -> float:
    """Seconds for keys and states."""
    with contextlib.closing(sqlite3.connect(journal)) as connection:
        began = time.perf_counter()
        connection.execute("SELECT key, state FROM tasks").fetchall()
        return time.perf_counter() - began


def studio_in(folder: Path, provider: Any, rewriter: Any = None) -> hg.AsyncStudio:
    return hg.AsyncStudio(
        provider,
        output=folder,
        rewrite=[rewriter] if rewriter else [],
        config=hg.Config.of({}, environ={}),
        registry=hg.Registry(),
    )


def first_submit(folder: Path, number: int) -> float:
    """Seconds until an unfinished task is sent."""
    provider = Measured(default=QUICK)

    async def main() -> None:
        async with studio_in(folder, provider) as studio:
            handle = studio.submit(task_of(number))
            await asyncio.wait_for(handle.outcome(), 60)

    began = time.perf_counter()
    asyncio.run(main())
    assert provider.first is not None
    return provider.first - began


def match(folder: Path, tasks: Path, count: int) -> tuple[float, float]:
    """Seconds for all lines, and megabytes by which memory grew after the first tenth."""
    history = History.of(
        Where.of(hg.Config.of({"output": str(folder)}, environ={})), resume="if-possible"
    )
    sizes: list[float] = []
    began = time.perf_counter()

    def watched() -> Iterator[Any]:
        for number, line in enumerate(history.matched(read_tasks(tasks), expanded=False)):
            if number in (count // 10, count - 1):
                sizes.append(resident_mb())
            yield line

    check_tasks(watched())
    seconds = time.perf_counter() - began
    # Three were used to find out how long the first submit takes.
    assert history.found == {"done": count * 9 // 10 + 3, "open": count - count * 9 // 10 - 3}
    return seconds, sizes[1] - sizes[0]


def passing(folder: Path, tasks: Path, count: int) -> tuple[float, int]:
    """Seconds for the done tasks to be passed over, and how often the rewriter was called."""
    rewriter = Calls()
    done = count * 9 // 10

    async def main() -> float:
        async with studio_in(folder, ScriptedProvider(default=QUICK), rewriter) as studio:
            lines = itertools.islice(read_tasks(tasks), done)
            began = time.perf_counter()
            async for _ in studio.map((e.task for e in lines if e.task), resumed=False):
                raise AssertionError("all of them are done")
            return time.perf_counter() - began

    return asyncio.run(main()), rewriter.count


def resident_mb() -> float:
    try:
        status = Path("/proc/self/status").read_text()
        return int(status.split("VmRSS:")[1].split()[0]) / 1024
    except (OSError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    folder = Path(tempfile.mkdtemp(prefix="bench-resume-"))
    try:
        tasks = make(folder, count)
        journal = folder / "journal.sqlite3"
        plain = sorted(select(journal) for _ in range(3))[1]
        first = sorted(first_submit(folder, count - i) for i in (1, 2, 3))[1]
        matching, grown = match(folder, tasks, count)
        passed, rewrites = passing(folder, tasks, count)
        sys.stdout.write(
            f"{count} tasks, nine tenths done, journal of {journal.stat().st_size / 1e6:.0f} MB\n"
            f"  select        {plain:7.2f} s\n"
            f"  first submit  {first:7.2f} s   ratio {first / plain:.2f}\n"
            f"  matching      {matching:7.2f} s   memory + {grown:.1f} MB\n"
            f"  passing       {passed:7.2f} s   rewriters called {rewrites} times\n"
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
