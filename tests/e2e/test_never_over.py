"""Jobs at once, as a service counts them that refuses none, with several runs on one account."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

import holodeck_gen as hg
from e2e.emulating import DONE, FAILED, RESUMABLE, Emulator, Shell, emulated, wait_until
from e2e.hurried import make_hurried
from holodeck_gen_providers.hunyuan import HunyuanOptions

if TYPE_CHECKING:
    from pathlib import Path

#: Jobs at once that each run allows.
N = 3
#: Seconds: of a job, of one that is overdue, and until it is.
JOB_S, SLOW_S, OVERDUE_S = 0.1, 0.8, 0.6
#: Lost answers before and after the job was made, reset connections, jobs that are overdue.
FAULTS = "drop-after-accept~lost,drop-before-accept~unsent,slow-job:8~slow,drop-query=0.1"
SERVICE = (
    *("--max-jobs", "1000", "--job-seconds", str(JOB_S), "--pictures", "cheap"),
    *("--submit-rate", "0", "--poll-rate", "0"),
)
RUN = (
    *("run", "tasks.jsonl", "-o", "out", "-p", "hunyuan", "--concurrency", str(N)),
    *("--set", "backoff_s=0.1", "--set", f"job_timeout_s={OVERDUE_S}"),
)
KINDS = ("plain", "plain", "plain", "lost", "plain", "slow", "plain", "unsent")


def tasks_of(name: str, number: int) -> list[str]:
    """Prompts with a fault in some of them."""
    return [f"{name} {i} {KINDS[i % len(KINDS)]}" for i in range(number)]


def shells(emulator: Emulator, folder: Path, number: int, tasks: int) -> list[Shell]:
    """Shells of one user, each with a folder and tasks of its own."""
    environ = {**emulator.environ, "HUNYUAN_DIALECT": "tokenhub"}
    found = [Shell(folder / str(i), environ) for i in range(number)]
    for i, shell in enumerate(found):
        shell.environ["HOME"] = str(folder / "home")
        shell.write_tasks(tasks_of(f"run-{i}", tasks))
    return found


def check(emulator: Emulator) -> None:
    """Never more than allowed, and as many as there was enough to do for."""
    stats = emulator.stats
    assert stats["max_jobs_at_once"] == N
    assert stats["refusals"] == {}
    # Else nothing was shown.
    assert {"drop-after-accept", "drop-before-accept", "slow-job"} <= stats["faults"].keys()


def in_one_process(emulator: Emulator, folder: Path, tasks: int) -> None:
    """Two studios in threads and loops of their own."""
    options = HunyuanOptions(
        dialect="tokenhub",
        api_key=emulator.environ["HUNYUAN_API_KEY"],
        endpoint=emulator.environ["HUNYUAN_ENDPOINT"],
    )
    start = threading.Barrier(2)

    def work(name: str) -> list[str]:
        with hg.Studio(
            lambda _options, ctx: make_hurried(options, ctx),
            output=folder / name,
            concurrency=N,
            backoff_s=0.1,
            job_timeout_s=OVERDUE_S,
            config=hg.Config.of({}, environ={}),
        ) as studio:
            start.wait()
            return [outcome.state for outcome in studio.map(tasks_of(name, tasks))]

    with ThreadPoolExecutor(2) as pool:
        states = [*pool.map(work, ("one", "other"))]
    assert all(state in ("done", "held") for each in states for state in each)
    assert all(len(each) == tasks and "done" in each for each in states)


def in_two_processes(
    emulator: Emulator, folder: Path, tasks: int, kills: int, *, anew: bool = False
) -> None:
    """Two runs, of which one is killed again and again and begun anew.

    Args:
        anew: Whether in the end those without an answer are submitted again, whatever it costs,
            until the time is up: where no answer comes at all, only one is sent in a minute.
    """
    killed, other = shells(emulator, folder, 2, tasks)
    goes_on = other.start(*RUN)
    for _ in range(kills):
        begin_and_kill(emulator, killed)
    for command in (killed.start(*RUN), goes_on):
        assert command.ended() in (DONE, RESUMABLE), command.stderr
    for shell in (killed, other):
        states = [*shell.states().values()]
        assert set(states) <= {"done", "held"}, states
        assert "done" in states
    if anew:
        anyway = ("--retry-uncertain", "--on-uncertain", "resubmit", "--for", "20s")
        commands = [shell.start(*RUN, *anyway) for shell in (killed, other)]
        for command in commands:
            assert command.ended() in (DONE, FAILED, RESUMABLE), command.stderr


def begin_and_kill(emulator: Emulator, shell: Shell) -> None:
    """Kill a run while its jobs are running."""
    enough = mine(emulator) + 2
    run = shell.start(*RUN)
    wait_until(lambda: mine(emulator) >= enough, "jobs of the one that is killed")
    run.kill()


def mine(emulator: Emulator) -> int:
    """Jobs of the first shell."""
    return sum(n for prompt, n in emulator.jobs.items() if prompt.startswith("run-0"))


def test_two_studios_in_one_process(tmp_path: Path) -> None:
    with emulated(*SERVICE, "--faults", FAULTS, folder=tmp_path) as emulator:
        in_one_process(emulator, tmp_path, 8)
        check(emulator)


def test_two_processes_of_which_one_is_killed(tmp_path: Path) -> None:
    with emulated(*SERVICE, "--faults", FAULTS, folder=tmp_path) as emulator:
        in_two_processes(emulator, tmp_path, 8, 1)
        check(emulator)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", range(3))
def test_many_kills(tmp_path: Path, seed: int) -> None:
    options = (*SERVICE, "--faults", FAULTS, "--seed", str(seed))
    with emulated(*options, folder=tmp_path) as emulator:
        in_two_processes(emulator, tmp_path, 80, 8, anew=True)
        check(emulator)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_many_tasks_in_one_process(tmp_path: Path) -> None:
    with emulated(*SERVICE, "--faults", FAULTS, folder=tmp_path) as emulator:
        in_one_process(emulator, tmp_path, 200)
        check(emulator)
