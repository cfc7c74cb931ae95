"""What waits for the disk, and what is told where the disk fails."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from holodeck_gen import JobRef, Url
from holodeck_gen._journal import steps
from holodeck_gen._journal.audit import reading
from holodeck_gen._journal.group_commit import GroupCommit
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.spool import RawFile
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen.errors import JournalError
from runs import CAT, DOG

if TYPE_CHECKING:
    from collections.abc import Coroutine
    from pathlib import Path


PLAN = Plan(provider="p", account="a", per_job=1, requests=({"prompt": "a cat"},))
SUBMITTED = steps.Submitted(job=JobRef(job_id="job-1"))
FINISHED = steps.Finished(outputs=(Url(url="https://example.com/a.png"),))


@attrs.define
class Disk:
    """The journal's connection, to a disk that can stand still or fail."""

    connection: sqlite3.Connection
    #: Clear while it stands still.
    runs: threading.Event = attrs.field(factory=threading.Event)
    broken: bool = False

    def execute(self, statement: str, *values: Any) -> Any:
        if statement == "COMMIT":
            assert self.runs.wait(60)
            if self.broken:
                raise sqlite3.OperationalError("disk I/O error")
        return self.connection.execute(statement, *values)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.connection, name)


@attrs.define
class Counted(Disk):
    """A disk that counts its commits."""

    commits: int = 0

    def execute(self, statement: str, *values: Any) -> Any:
        self.commits += statement == "COMMIT"
        return Disk.execute(self, statement, *values)


@attrs.define
class World:
    """A journal on such a disk, and a task of it."""

    journal: SqliteJournal
    disk: Disk
    cat: Entry
    dog: Entry

    async def record(self, *told: steps.Step) -> None:
        for step in told:
            await self.journal.record(self.cat.part(0), step)

    async def waits(self, call: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """A call that does not return while the disk stands still."""
        self.disk.runs.clear()
        task = asyncio.ensure_future(call)
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        return task


async def world_in(folder: Path) -> World:
    journal = SqliteJournal.open(folder / "journal.sqlite3")
    assert isinstance(journal.commits, GroupCommit)
    disk = Disk(journal.commits.connection)
    disk.runs.set()
    journal.commits.connection = disk  # type: ignore[assignment]
    cat, dog = await journal.admit([(CAT, 0), (DOG, 1)], Retry())
    assert isinstance(cat, Entry)
    assert isinstance(dog, Entry)
    await journal.planned(cat, PLAN)
    return World(journal, disk, cat, dog)


def fetched_in(folder: Path) -> steps.Fetched:
    return steps.Fetched(files=(RawFile(path=folder / ".spool" / "x.raw", metadata={}),))


def test_a_fetched_file_is_not_waited_for_but_its_name_is(tmp_path: Path) -> None:
    async def main() -> None:
        world = await world_in(tmp_path)
        await world.record(steps.Submitting(attempt=1), SUBMITTED)
        world.disk.runs.clear()
        async with asyncio.timeout(30):
            await world.record(FINISHED, fetched_in(tmp_path))
        named = await world.waits(world.journal.reserve(world.cat, "cat.png"))
        world.disk.runs.set()
        assert await named
        assert world.journal.path is not None
        with reading(world.journal.path) as rows:
            entry = rows.entry(world.cat.key)
        assert entry is not None
        assert entry.parts[0].state == "fetched"
        await world.journal.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("at_once", ["addresses", "bytes"])
def test_what_became_of_a_submit_is_waited_for(tmp_path: Path, at_once: str) -> None:
    async def main() -> None:
        world = await world_in(tmp_path)
        await world.record(steps.Submitting(attempt=1))
        answer = FINISHED if at_once == "addresses" else fetched_in(tmp_path)
        recorded = await world.waits(world.record(answer))
        world.disk.runs.set()
        await recorded
        await world.journal.aclose()

    asyncio.run(main())


def test_whoever_waits_next_is_told_that_a_fetched_file_was_not_recorded(tmp_path: Path) -> None:
    async def main() -> None:
        world = await world_in(tmp_path)
        await world.record(steps.Submitting(attempt=1), SUBMITTED)
        world.disk.broken = True
        await world.record(fetched_in(tmp_path))
        with pytest.raises(JournalError, match="disk I/O error"):
            await world.journal.reserve(world.cat, "cat.png")
        with pytest.raises(JournalError, match="disk I/O error"):
            await world.record(steps.Stored(artifacts=()))
        world.disk.broken = False
        await world.journal.aclose()

    asyncio.run(main())


def test_of_two_who_want_a_name_at_once_one_gets_it(tmp_path: Path) -> None:
    async def main() -> list[bool]:
        world = await world_in(tmp_path)
        wanted = [(world.cat, "a.png"), (world.dog, "A.png"), (world.dog, "b.png")]
        calls = [world.journal.reserve(entry, name) for entry, name in wanted]
        got = [*await asyncio.gather(*calls), await world.journal.reserve(world.cat, "a.PNG")]
        await world.journal.aclose()
        return got

    assert asyncio.run(main()) == [True, False, True, True]


def test_who_has_stopped_waiting_takes_nothing_from_the_others(tmp_path: Path) -> None:
    async def main() -> list[bool]:
        world = await world_in(tmp_path)
        first = await world.waits(world.journal.reserve(world.cat, "a.png"))
        second = asyncio.ensure_future(world.journal.reserve(world.dog, "b.png"))
        first.cancel()
        await asyncio.wait([first])
        world.disk.runs.set()
        # The name is the task's all the same.
        got = [await second, await world.journal.reserve(world.dog, "a.png")]
        await world.journal.aclose()
        return got

    assert asyncio.run(main()) == [True, False]


def test_what_comes_with_the_next_turn_of_the_loop_is_written_along(tmp_path: Path) -> None:
    async def main() -> None:
        world = await world_in(tmp_path)
        await world.journal.reserve(world.cat, "cat.png")
        for _ in range(10):
            await asyncio.sleep(0)
        disk = Counted(world.disk.connection, world.disk.runs)
        assert isinstance(world.journal.commits, GroupCommit)
        world.journal.commits.connection = disk  # type: ignore[assignment]

        async def later(name: str, turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            assert await world.journal.reserve(world.dog, name)

        await asyncio.gather(later("a.png", 0), later("b.png", 1))
        assert disk.commits == 1
        await world.journal.aclose()

    asyncio.run(main())
