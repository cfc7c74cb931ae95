"""A run is killed at random moments while the service goes on with its jobs.

In each dialect one folder is worked in by the same command again and again, until it was killed
often enough and then until it is done. Between two runs the emulator keeps its jobs, as the real
service does, so that its counters are the bill.
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
import pytest

from e2e.emulating import DIALECTS, DONE, RESUMABLE, RUN, Emulator, Shell, emulated, slow_line

if TYPE_CHECKING:
    from collections.abc import Iterator

SEED = 20_251_125
#: Kills in each dialect.
FEW, MANY = 5, 20
#: Tasks for each kill; no run may come to its end before it is killed.
TASKS = 9
#: Jobs at once, and so submits that may be on their way when a run is killed.
AT_ONCE = 2
#: A job that is lost keeps its slot for so many seconds, so that the next run can go on.
SOON_OVER = ("--set", "job_timeout_s=2")
#: Seconds for which answers are on their way.
LATENCY_S = 0.1
#: Seconds. A run submits some tasks in this time, after half a second to start and, where the one
#: before has left submits without an answer, up to two more until these have surely ended.
SOON_S = 2.5


@pytest.fixture(scope="module")
def service() -> Iterator[Emulator]:
    options = ("--max-jobs", str(AT_ONCE), "--job-seconds", "0.2,0.5", "--pictures", "cheap")
    with (
        tempfile.TemporaryDirectory() as name,
        emulated(*options, folder=Path(name).resolve()) as emulator,
        # So that kills fall between a submit and its answer, too.
        slow_line(emulator, LATENCY_S) as slow,
    ):
        yield slow


@attrs.frozen
class Killed:
    """A folder whose runs were killed.

    Attributes:
        shell: Where.
        prompts: Of its tasks.
        moments: Seconds after a run's start at which it was killed, as `SIGKILL` found it alive.
        grown: By how many jobs each killed run has made the bill longer.
    """

    shell: Shell
    prompts: list[str]
    moments: list[float] = attrs.field(factory=list)
    grown: list[int] = attrs.field(factory=list)


def killed_again_and_again(emulator: Emulator, folder: Path, dialect: str, kills: int) -> Killed:
    """Kill `kills` runs, and let the next one come to an end."""
    environ = {**emulator.environ, "HUNYUAN_DIALECT": dialect}
    prompts = [f"picture {i} by {dialect}" for i in range(TASKS * kills)]
    found = Killed(Shell(folder, environ), prompts)
    found.shell.write_tasks(found.prompts)
    chance = random.Random(f"{SEED}/{dialect}")
    for _ in range(kills):
        before = made(emulator, found).total()
        run = found.shell.start(*RUN, *SOON_OVER)
        moment = chance.uniform(0.0, SOON_S)
        time.sleep(moment)
        assert run.process.poll() is None, f"it came to its end: {run.stderr}"
        run.kill()
        found.moments.append(moment)
        found.grown.append(made(emulator, found).total() - before)
    return found


def made(emulator: Emulator, found: Killed) -> Counter[str]:
    """Jobs of these tasks, by prompt."""
    mine = set(found.prompts)
    return Counter({prompt: n for prompt, n in emulator.jobs.items() if prompt in mine})


def settle(emulator: Emulator, found: Killed) -> set[str]:
    """Finish the work and check that nothing was paid twice; returns the tasks that were held."""
    shell = found.shell
    last = shell.start(*RUN, *SOON_OVER)
    code = last.ended()
    assert code in (DONE, RESUMABLE), last.stderr
    held = shell.uncertain(code=code) if code else set()
    assert bool(held) == (code == RESUMABLE), last.stderr
    jobs = made(emulator, found)
    keys = {f"task-{i}": prompt for i, prompt in enumerate(found.prompts)}
    counts = {key: jobs[prompt] for key, prompt in keys.items()}
    assert {key: n for key, n in counts.items() if key not in held and n != 1} == {}
    assert {key: n for key, n in counts.items() if key in held and n not in (0, 1)} == {}
    # Each kill can leave in doubt no more than what was on its way at that moment.
    assert len(held) <= AT_ONCE * len(found.moments)
    assert shell.pictures() == keys.keys() - held
    states = shell.states()
    assert {key for key, state in states.items() if state == "done"} == keys.keys() - held
    # What is in doubt has no id by which it could be fetched, and `collect` makes no job.
    shell.call("collect", "out", code=code)
    assert made(emulator, found) == jobs
    shell.run(*SOON_OVER, "--retry-uncertain", code=DONE)
    again = made(emulator, found)
    assert again == Counter({keys[key]: n + (key in held) for key, n in counts.items()})
    assert shell.pictures() == keys.keys()
    assert shell.findings(code=DONE) == []
    assert shell.leaks() == []
    return held


def killed_in_each_dialect(emulator: Emulator, folder: Path, kills: int) -> None:
    """Kill and settle in all dialects, side by side, and print what was found."""
    emulator.reset()

    def work(dialect: str) -> tuple[Killed, set[str]]:
        found = killed_again_and_again(emulator, folder / dialect, dialect, kills)
        return found, settle(emulator, found)

    with ThreadPoolExecutor(len(DIALECTS)) as pool:
        done = list(pool.map(work, DIALECTS))
    for dialect, (found, held) in zip(DIALECTS, done, strict=True):
        print(  # noqa: T201 -- the proof's summary, shown by pytest -s
            f"\n{dialect}: {len(found.moments)} kills, {sum(n > 0 for n in found.grown)} of runs"
            f" that had made jobs ({found.grown}), {len(held)} of {len(found.prompts)} tasks held"
        )
    # Else all were killed while they started, and nothing was shown.
    assert sum(n > 0 for found, _ in done for n in found.grown) >= kills
    assert emulator.stats["leaked_credentials"] == 0


# What a run has done by a moment depends on what else the machine does.
@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_at_random_moments(service: Emulator, tmp_path: Path) -> None:
    killed_in_each_dialect(service, tmp_path, FEW)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_killed_at_many_random_moments(service: Emulator, tmp_path: Path) -> None:
    killed_in_each_dialect(service, tmp_path, MANY)
