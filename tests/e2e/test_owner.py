"""One folder, many processes: one works in it, the others are told who; nothing is paid twice."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sqlite3
import statistics
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from e2e.owning import BROKEN_OFF, REFUSED, Command, Home, Process, Zygote, wait_until
from holodeck_gen._journal import audit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

#: Pairs of processes that start at once, and how many of them at the same time.
ROUNDS, TOGETHER = 50, 10
#: Timeouts that a process stopped for longer than a second has long missed.
SHORT = {"request_timeout_s": 0.3, "job_timeout_s": 0.5}
TASKS = 6
ONCE = Counter(f"picture {i}" for i in range(TASKS))

#: Where a process stands still while its folder is taken away from it.
STEPS = (
    ("submitting unrecorded", 3),
    ("submitting recorded", 3),
    ("sent", 3),
    ("created", 3),
    ("submitted unrecorded", 3),
    ("submitted recorded", 3),
    ("poll", 2),
)


@pytest.fixture(scope="module")
def zygote() -> Iterator[Zygote]:
    started = Zygote.start()
    yield started
    started.close()


@pytest.fixture
def new_home() -> Iterator[Callable[[], Home]]:
    """Makes folders; in memory where it can, because nothing here depends on the disk."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with contextlib.ExitStack() as stack:
        yield lambda: Home(
            Path(stack.enter_context(tempfile.TemporaryDirectory(dir=memory))).resolve()
        )


@pytest.fixture
def home(new_home: Callable[[], Home]) -> Home:
    return new_home()


def gated(home: Home) -> dict[str, object]:
    """Options of a service whose jobs end when `home` has a gate.

    All of them run at once: later ones would be expected to take as long as the first ones did.
    """
    return {"gate": str(home.gate), "max_jobs": TASKS}


def assert_paid_once(home: Home, tasks: int = TASKS) -> None:
    assert home.created() == Counter(f"picture {i}" for i in range(tasks))


def finish(zygote: Zygote, home: Home, *, number: int = 9) -> Counter[str]:
    """Let one more process finish the work; its outcomes' states."""
    home.gate.touch()
    assert zygote.wait(zygote.begin(Process(home=str(home.path), number=number))) == 0
    return Counter(line["state"] for line in home.lines("outcome", run=number))


class TestTwoThatStartAtOnce:
    def test_one_runs_and_the_other_names_it(
        self, zygote: Zygote, new_home: Callable[[], Home]
    ) -> None:
        winners: Counter[int] = Counter()
        for _ in range(ROUNDS // TOGETHER):
            at = time.monotonic() + 0.1
            pairs = []
            for _ in range(TOGETHER):
                home = new_home()
                both = [
                    Process(home=str(home.path), number=i, at=at, options=gated(home))
                    for i in range(2)
                ]
                pairs.append((home, [zygote.begin(each) for each in both]))
            for home, pids in pairs:
                loser, status = zygote.first(*pids)
                assert status == REFUSED
                winner = pids[1 - pids.index(loser)]
                winners[pids.index(winner)] += 1
                (refusal,) = home.lines("refused")
                assert refusal["owner"].startswith(f"process {winner} on ")
                assert refusal["owner"] in refusal["text"]
                home.gate.touch()
                assert zygote.wait(winner) == 0
                assert [line["pid"] for line in home.lines("opened")] == [winner]
                assert len(home.lines("outcome", state="done")) == TASKS
                assert_paid_once(home)
        print(f"\nof {ROUNDS} pairs the first won {winners[0]}, the second {winners[1]}")  # noqa: T201

    def test_so_do_two_commands(self, home: Home) -> None:
        command = Command(home)
        command.write_tasks(TASKS)
        both = [command.run(i, gate=str(home.gate)) for i in range(2)]
        wait_until(lambda: any(each.process.poll() is not None for each in both), "a refusal")
        loser, winner = sorted(both, key=lambda each: each.process.returncode is None)
        assert loser.process.returncode == 1
        assert loser.stderr.startswith(f"error: process {winner.pid} on ")
        assert len(loser.stderr.splitlines()) == 1
        home.gate.touch()
        assert winner.ended() == 0
        results = [
            json.loads(line) for line in (home.out / "results.jsonl").read_text().splitlines()
        ]
        assert Counter(line["id"] for line in results) == Counter(f"task-{i}" for i in range(TASKS))
        assert_paid_once(home)


class TestAnOwnerThatStandsStill:
    def test_keeps_its_folder_however_long_it_takes(self, zygote: Zygote, home: Home) -> None:
        first = zygote.begin(
            Process(
                home=str(home.path), number=1, options=gated(home), settings=SHORT,
                standstill=("poll", 2),
            )
        )  # fmt: skip
        zygote.wait_still(first)
        began = time.monotonic()
        second = zygote.begin(Process(home=str(home.path), number=2, settings=SHORT))
        assert zygote.wait(second) == REFUSED
        assert time.monotonic() - began > max(SHORT.values())
        assert home.lines("refused")[0]["owner"].startswith(f"process {first} on ")
        home.gate.touch()
        os.kill(first, signal.SIGCONT)
        assert zygote.wait(first) == 0
        assert home.created(run=2) == Counter()
        assert finish(zygote, home) == {"done": TASKS}
        assert_paid_once(home)

    @pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0].replace(" ", "-"))
    def test_submits_nothing_more_when_another_has_taken_over(
        self, zygote: Zygote, home: Home, step: tuple[str, int]
    ) -> None:
        first = self._stand_still(zygote, home, step)
        sent = home.created()
        known = home.parts()
        home.lock_file.unlink()
        # With few slots, it leaves tasks that the first could still begin. Three may be kept
        # for submits of the first that were on their way.
        options = {"max_jobs": 4, **gated(home)}
        second = zygote.begin(Process(home=str(home.path), number=2, options=options))
        home.wait_for(1, "opened", run=2)
        self._go_on(zygote, home, first)
        self._assert_only_sent_what_was_on_its_way(home, known, sent)
        home.gate.touch()
        assert zygote.wait(second) == 0
        outcomes = {line["key"]: line["state"] for line in home.lines("outcome", run=2)}
        assert set(outcomes.values()) <= {"done", "held"}
        assert {key for key, state in outcomes.items() if state == "held"} == {
            key for key, state in known.items() if state == "submitting"
        }
        assert len(outcomes) == TASKS
        assert not home.created() - ONCE, "paid twice"
        # Of what it had begun it can remember nothing more, so nothing of it is settled.
        assert {line["state"] for line in home.lines("outcome", run=1)} <= {"held"}

    @pytest.mark.parametrize("step", STEPS, ids=lambda step: step[0].replace(" ", "-"))
    def test_submits_nothing_more_when_its_epoch_is_over(
        self, zygote: Zygote, home: Home, step: tuple[str, int]
    ) -> None:
        first = self._stand_still(zygote, home, step)
        sent = home.created()
        known = home.parts()
        with contextlib.closing(sqlite3.connect(home.journal, isolation_level=None)) as connection:
            connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'epoch'")
        self._go_on(zygote, home, first)
        self._assert_only_sent_what_was_on_its_way(home, known, sent)
        states = finish(zygote, home)
        assert states["done"] + states["held"] == TASKS
        assert states["held"] == Counter(known.values())["submitting"]
        assert not home.created() - ONCE, "paid twice"

    def test_leaves_the_new_owner_its_reserve(self, zygote: Zygote, home: Home) -> None:
        first = self._stand_still(zygote, home, ("poll", 2))
        home.lock_file.unlink()
        second = zygote.begin(Process(home=str(home.path), number=2, options=gated(home)))
        home.wait_for(1, "opened", run=2)
        reserve = home.journal.with_name("journal.sqlite3.reserve")
        assert reserve.exists()
        self._go_on(zygote, home, first)
        assert reserve.exists()
        home.gate.touch()
        assert zygote.wait(second) == 0

    def _stand_still(self, zygote: Zygote, home: Home, step: tuple[str, int]) -> int:
        """Start a process that stops at `step`, and not in the middle of a transaction."""
        first = zygote.begin(
            Process(
                home=str(home.path),
                number=1,
                options={"max_jobs": 3, "gate": f"{home.path}/gate-1"},
                settings=SHORT,
                standstill=step,
            )
        )
        zygote.wait_still(first)
        while not _is_writable(home.journal):
            os.kill(first, signal.SIGCONT)
            time.sleep(0.002)
            os.kill(first, signal.SIGSTOP)
            zygote.wait_still(first)
        return first

    @staticmethod
    def _go_on(zygote: Zygote, home: Home, first: int) -> None:
        """Let it go on to its end; its jobs end at once, so that it has free slots."""
        (home.path / "gate-1").touch()
        os.kill(first, signal.SIGCONT)
        assert zygote.wait(first) in (0, BROKEN_OFF)

    @staticmethod
    def _assert_only_sent_what_was_on_its_way(
        home: Home, known: dict[str, str], before: Counter[str]
    ) -> None:
        """What was recorded as being sent may still be sent, and nothing else."""
        on_their_way = {
            f"picture {key.removeprefix('task-')}"
            for key, state in known.items()
            if state == "submitting"
        }
        assert set(home.created(run=1) - before) <= on_their_way
        assert not home.created() - ONCE, "paid twice"


class TestAnOwnerThatIsKilled:
    def test_is_followed_at_once(self, home: Home) -> None:
        command = Command(home)
        command.write_tasks(TASKS)
        first = command.run(1, gate=str(home.gate), max_jobs=3)
        # Its slots are full, so nothing is on its way.
        home.wait_for(20, "poll", run=1)
        assert home.created().total() == 3
        first.send(signal.SIGKILL)
        assert first.ended() == -signal.SIGKILL
        home.gate.touch()
        began = time.monotonic()
        second = command.run(2, gate=str(home.gate), max_jobs=3)
        home.wait_for(1, "poll", run=2)
        took_s = time.monotonic() - began
        assert second.ended() == 0
        print(f"\ntaken over {took_s:.2f} s after the kill, the command's start included")  # noqa: T201
        assert took_s < 2
        assert_paid_once(home)

    def test_is_followed_while_others_look_on(self, zygote: Zygote, home: Home) -> None:
        """A reader that finds out whether the owner lives holds its lock for a moment."""
        for number in range(10):
            began = time.monotonic()
            pid = zygote.begin(
                Process(home=str(home.path), number=number, tasks=number + 1, options=gated(home))
            )
            while not home.lines("opened", run=number):
                if home.journal.exists() and number:
                    audit.status(home.journal)
            assert time.monotonic() - began < 2
            home.wait_for(1, "poll", run=number)
            os.kill(pid, signal.SIGKILL)
            assert zygote.wait(pid) == -signal.SIGKILL
            assert audit.status(home.journal).owner is None
        assert home.lines("refused") == []


class TestStatusBesideALiveRun:
    def test_is_quick_and_disturbs_nothing(self, zygote: Zygote, home: Home) -> None:
        tasks = 500
        pid = zygote.begin(Process(home=str(home.path), number=1, tasks=tasks))
        home.wait_for(1, "outcome", run=1)
        seconds, done = [], [0]
        while done[-1] < tasks * 9 // 10:
            began = time.perf_counter()
            found = audit.status(home.journal)
            seconds.append(time.perf_counter() - began)
            done.append(found.tasks["done"])
            assert found.owner is not None
            assert found.owner.startswith(f"process {pid} on ")
        assert done == sorted(done)
        assert zygote.wait(pid) == 0
        print(  # noqa: T201
            f"\n{len(seconds)} × status beside a run of {tasks} tasks: median"
            f" {statistics.median(seconds) * 1000:.1f} ms, at most {max(seconds) * 1000:.1f} ms"
        )
        assert len(seconds) >= 100
        assert max(seconds) < 1
        assert len(home.lines("outcome", state="done")) == tasks
        assert_paid_once(home, tasks)

    def test_of_the_command_too(self, home: Home) -> None:
        command = Command(home)
        command.write_tasks(TASKS)
        owner = command.run(1, gate=str(home.gate))
        home.wait_for(1, "poll", run=1)
        seconds = []
        for number in range(2, 5):
            began = time.monotonic()
            assert command.start("status", "out", number=number).ended() == 0
            seconds.append(time.monotonic() - began)
        print(f"\nthe command status takes {statistics.median(seconds):.2f} s")  # noqa: T201
        assert max(seconds) < 3
        home.gate.touch()
        assert owner.ended() == 0
        assert_paid_once(home)


def _is_writable(journal: Path) -> bool:
    """Whether no transaction is open."""
    with contextlib.closing(sqlite3.connect(journal, timeout=0, isolation_level=None)) as writer:
        try:
            writer.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        writer.execute("ROLLBACK")
    return True
