"""Does memory grow with the number of tasks, and what does the engine cost for each?

Run: ``python tests/benchmarks/bench_memory.py [N …]``; each N runs in a process of its own.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import holodeck_gen as hg

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

COUNTS = (1_000, 10_000, 100_000)
#: Outcomes before the first measurement; imports and pools are complete by then.
WARM = 500
#: One white pixel.
PICTURE = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGP4DwABAQEAsz7qVgAAAABJRU5ErkJggg=="
)


class Discard:
    """A store that keeps nothing."""

    async def put(self, file: Path, name: str) -> str:
        return f"null:{name}"


async def answer(_request: Mapping[str, Any]) -> bytes:
    return PICTURE


def resident() -> int:
    """Bytes of memory in use now, not at most (Linux)."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def measure(count: int) -> dict[str, float]:
    provider = hg.DirectProvider("nothing", answer, billing="free", limits=hg.Limits(max_jobs=8))
    tasks = (hg.Task("a cat", id=f"cat-{i}") for i in range(count))
    with (
        tempfile.TemporaryDirectory() as folder,
        hg.Studio(provider, store=Discard(), output=folder, config=hg.Config.of({})) as studio,
    ):
        first = highest = 0.0
        # From the start, because outcomes wait for us: rates between two of them mislead.
        began, cpu = time.perf_counter(), time.process_time()
        for done, outcome in enumerate(studio.map(tasks), start=1):
            assert isinstance(outcome, hg.Result), outcome
            if done == WARM:
                first = resident()
            if done % 1_000 == 0:
                highest = max(highest, resident())
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        return {
            "tasks": count,
            "first MB": first / 2**20,
            "last MB": resident() / 2**20,
            "growth MB": (resident() - first) / 2**20,
            "highest MB": highest / 2**20,
            "tasks/s": count / seconds,
            "CPU us/task": cpu / count * 1e6,
        }


def main() -> None:
    if sys.argv[1:2] == ["--one"]:
        sys.stdout.write(json.dumps(measure(int(sys.argv[2]))))
        return
    counts = [int(text) for text in sys.argv[1:]] or COUNTS
    for count in counts:
        run = subprocess.run(
            [sys.executable, __file__, "--one", str(count)], capture_output=True, text=True
        )
        if run.returncode:
            raise SystemExit(run.stderr)
        row = json.loads(run.stdout)
        if count == counts[0]:
            sys.stdout.write("".join(f"{name:>13}" for name in row) + "\n")
        sys.stdout.write("".join(f"{value:13,.1f}" for value in row.values()) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
