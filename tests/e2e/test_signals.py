"""Ctrl-C and SIGTERM end the command with every id saved; the same command again finishes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest

import holodeck_gen as hg
from e2e.owning import Command, Home, Running
from helpers import collect, opened
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen.testing import ScriptedProvider, run_virtual

if TYPE_CHECKING:
    from collections.abc import Iterator

INTERRUPTED, RESUMABLE = 130, 4
#: Folders in which a run is interrupted again and again, side by side, and how often each.
FOLDERS, TIMES = 3, 5
#: Seconds within which a run is interrupted: it would take longer to finish the work.
SOON_S = 1.3


@pytest.fixture
def home() -> Iterator[Home]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=memory) as name:
        yield Home(Path(name).resolve())


def command_with(home: Home, tasks: int) -> Command:
    command = Command(home)
    command.write_tasks(tasks)
    return command


def assert_all_saved(home: Home) -> None:
    """No job was made whose id is not in the journal."""
    states = Counter(home.parts().values())
    assert states["submitting"] == states["uncertain"] == 0, states
    assert home.created().total() == states.total() - states["admitted"]


def assert_finished(home: Home, tasks: int) -> None:
    """Every task has its picture and its line, and one job."""
    assert home.created() == Counter(f"picture {i}" for i in range(tasks))
    assert {path.stem for path in home.out.glob("*.png")} == {f"task-{i}" for i in range(tasks)}
    lines = [json.loads(line) for line in (home.out / "results.jsonl").read_text().splitlines()]
    done = Counter(line["id"] for line in lines if line["status"] == "done")
    assert done == Counter(f"task-{i}" for i in range(tasks))
    assert set(home.parts().values()) == {"stored"}


def assert_all_told(home: Home, run: Running) -> None:
    """Every task that the journal has as done has its line."""
    results = home.out / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    told = {line["id"] for line in lines if line["status"] == "done"}
    stored = {key for key, state in home.parts().items() if state == "stored"}
    assert stored <= told, f"{stored - told} without a line: {run.stderr}"


def said(run: Running) -> str:
    """What to type to go on, as the command has it."""
    (line,) = (line for line in run.stderr.splitlines() if line.startswith("go on with: "))
    return line.removeprefix("go on with: ")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda each: each.name)
class TestOneSignal:
    def test_saves_the_ids_and_says_how_to_go_on(self, home: Home, number: signal.Signals) -> None:
        command = command_with(home, 6)
        first = command.run(1, job_s=60, max_jobs=3, gate=str(home.gate))
        home.wait_for(3, "poll")
        began = time.monotonic()
        first.send(number)
        assert first.ended() == INTERRUPTED
        assert time.monotonic() - began < 2, "a job was waited for"
        assert_all_saved(home)
        assert home.created().total() == 3
        assert "interrupted: 3 of 6 tasks are left" in first.stderr
        assert "Traceback" not in first.stderr
        assert said(first).startswith("holodeck-gen run tasks.jsonl -o out -p counting")

    def test_waits_for_answers_that_are_on_their_way(
        self, home: Home, number: signal.Signals
    ) -> None:
        command = command_with(home, 4)
        first = command.run(1, latency_s=0.7, max_jobs=2)
        home.wait_for(2, "created")
        first.send(number)
        assert first.ended() == INTERRUPTED
        assert home.created().total() == 2
        assert set(home.parts().values()) == {"submitted"}
        assert command.run(2).ended() == 0
        assert_finished(home, 4)

    def test_leaves_a_run_that_the_same_command_finishes(
        self, home: Home, number: signal.Signals
    ) -> None:
        command = command_with(home, 8)
        first = command.run(1, job_s=0.4, max_jobs=3)
        home.wait_for(4, "created")
        first.send(number)
        assert first.ended() == INTERRUPTED
        assert_all_saved(home)
        again = command.start(*said(first).split()[1:], number=2)
        assert again.ended() == 0
        assert_finished(home, 8)

    def test_again_ends_it_at_once(self, home: Home, number: signal.Signals) -> None:
        command = command_with(home, 4)
        first = command.run(1, latency_s=30, max_jobs=2)
        home.wait_for(2, "created")
        first.send(number)
        first.wait_to_say("once more to stop at once")
        began = time.monotonic()
        first.send(number)
        assert first.ended() == INTERRUPTED
        assert time.monotonic() - began < 0.5
        assert "stopped at once" in first.stderr
        # What was on its way is not paid for again, and the rest is made.
        assert command.run(2).ended() == RESUMABLE
        assert max(home.created().values()) == 1
        assert Counter(home.parts().values()) == {"uncertain": 2, "stored": 2}


def test_the_played_service_goes_on_with_its_jobs(home: Home) -> None:
    command = command_with(home, 4)
    words = ("run", "tasks.jsonl", "-o", "out", "-p", "procedural")
    slow = ("--set", "providers.procedural.job_s=1", "--set", "providers.procedural.job_spread=0")
    first = command.start(*words, *slow, number=1)
    first.wait_to_say("4 to do")
    while "submitted" not in _states(home):
        assert first.process.poll() is None
        time.sleep(0.01)
    first.send(signal.SIGINT)
    assert first.ended() == INTERRUPTED
    second = command.start(*words, *slow, number=2)
    assert second.ended() == 0, second.stderr
    assert len(list(home.out.glob("*.png"))) == 4


def test_sigint_at_any_moment(home: Home) -> None:
    def interrupted_again_and_again(number: int) -> list[int]:
        own = Home(home.path / str(number))
        own.path.mkdir()
        command = command_with(own, 24)
        chance = random.Random(number)
        codes = []
        for run in range(TIMES):
            # The first third of it is the interpreter's start.
            wait_s = chance.uniform(0, SOON_S)
            running = command.run(run, job_s=0.5, max_jobs=3, latency_s=0.05)
            time.sleep(wait_s)
            running.send(signal.SIGINT)
            codes.append(running.ended())
            # Before Python can say anything, the signal ends it as it ends any process.
            assert codes[-1] in (INTERRUPTED, -signal.SIGINT), (wait_s, running.stderr)
            if codes[-1] == INTERRUPTED:
                assert "Traceback" not in running.stderr, (wait_s, running.stderr)
            if own.journal.exists() and own.created():
                assert_all_saved(own)
                assert_all_told(own, running)
        last = command.run(TIMES)
        assert last.ended() == 0, last.stderr
        assert_finished(own, 24)
        return codes

    with ThreadPoolExecutor(FOLDERS) as pool:
        codes = [code for found in pool.map(interrupted_again_and_again, range(FOLDERS))
                 for code in found]  # fmt: skip
    print(f"\ninterrupted at {len(codes)} moments; exit codes {dict(Counter(codes))}")  # noqa: T201
    assert INTERRUPTED in codes


class TestLinesOfResults:
    @pytest.mark.parametrize("owner", [json.dumps({"pid": 1}), "null"], ids=["killed", "let go"])
    def test_missing_ones_are_written_by_the_next_run(self, home: Home, owner: str) -> None:
        """Also where the task has a line that it was held, from a run before that one."""
        command = command_with(home, 2)
        first = command.run(1, gate=str(home.gate))
        home.wait_for(2, "poll")
        first.send(signal.SIGINT)
        assert first.ended() == INTERRUPTED
        assert command.run(2).ended() == 0
        # As it would be had it come to an end between the journal's entry and the line.
        results = home.out / "results.jsonl"
        lines = results.read_text().splitlines(keepends=True)
        results.write_text("".join(line for line in lines if '"status": "done"' not in line))
        with contextlib.closing(sqlite3.connect(home.journal, isolation_level=None)) as connection:
            connection.execute("UPDATE meta SET value = ? WHERE name = 'owner'", (owner,))
        assert command.run(3).ended() == 0
        assert_finished(home, 2)


@attrs.define
class StoppingJournal:
    """A journal that stops the studio while it writes down that a task has ended."""

    journal: SqliteJournal
    stop: Callable[[], object] | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self.journal, name)

    async def finish(self, entry: Any, outcome: hg.Outcome) -> None:
        if self.stop is not None:
            asyncio.get_running_loop().call_soon(self.stop)
        await self.journal.finish(entry, outcome)


def test_a_stop_does_not_take_back_what_the_journal_has_as_done(home: Home) -> None:
    async def main() -> list[hg.Outcome]:
        journal = StoppingJournal(SqliteJournal.open(home.journal))
        async with opened(ScriptedProvider(), output=home.out, journal=journal) as studio:
            stopping: list[asyncio.Task[None]] = []
            journal.stop = lambda: stopping.append(asyncio.ensure_future(studio.stop()))
            return await collect(studio.map([hg.Task("a cat", id="cat")]))

    (outcome,) = run_virtual(main())
    assert _states(home) == ["stored"]
    assert outcome.state == "done"


def _states(home: Home) -> list[str]:
    return list(home.parts().values()) if home.journal.exists() else []
