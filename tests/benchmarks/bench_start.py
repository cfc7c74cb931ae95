"""How long does it take until something happens?

Run: ``python tests/benchmarks/bench_start.py``
"""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

RUNS = 7
#: What an import of the library or a page of help has no use for.
HEAVY = ("PIL", "aiohttp", "asyncio", "attrs", "click", "httpx", "numpy", "rich", "structlog")
COMMAND = str(Path(sys.executable).with_name("holodeck-gen"))
CASES = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "python -c 'import click'": [sys.executable, "-c", "import click"],
    "python -c 'import holodeck_gen'": [sys.executable, "-c", "import holodeck_gen"],
    "holodeck-gen --help": [COMMAND, "--help"],
    "holodeck-gen run --help": [COMMAND, "run", "--help"],
    "holodeck-gen providers": [COMMAND, "providers"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - began


def import_ms() -> float:
    """What ``-X importtime`` says of the package."""
    command = [sys.executable, "-X", "importtime", "-c", "import holodeck_gen"]
    written = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    found = re.search(r"\|\s+(\d+) \| holodeck_gen$", written, re.MULTILINE)
    assert found
    return int(found[1]) / 1000


def loaded(statement: str) -> list[str]:
    code = f"{statement}\nimport sys; print(*sorted(set({HEAVY!r}) & set(sys.modules)))"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()[-len(HEAVY) :]


def main() -> None:
    # In turns, so that a slow moment of the machine meets every case.
    times: dict[str, list[float]] = {name: [] for name in CASES}
    imports: list[float] = []
    for command in CASES.values():
        seconds(command)
    for _ in range(RUNS):
        imports.append(import_ms())
        for name, command in CASES.items():
            times[name].append(seconds(command))
    base = statistics.median(times["python -c 'import click'"])
    lines = [f"{'median of ' + str(RUNS):<34}{'ms':>8}{'min':>8}{'max':>8}{'ratio':>8}"]
    for name, found in times.items():
        middle = statistics.median(found)
        figures = "".join(f"{1000 * each:8.0f}" for each in (middle, min(found), max(found)))
        lines.append(f"{name:<34}{figures}{middle / base:8.2f}")
    lines.append(f"{'importtime of holodeck_gen':<34}{statistics.median(imports):8.1f}")
    for name, statement in (
        ("import holodeck_gen", "import holodeck_gen"),
        (
            "holodeck-gen --help",
            "from holodeck_gen._cli._app import cli\ncli(['--help'], standalone_mode=False)",
        ),
    ):
        used = set(loaded(statement)) & set(HEAVY)
        unused = [module for module in HEAVY if module not in used]
        lines.append(f"{name}: loads {' '.join(sorted(used)) or 'none'}; not {' '.join(unused)}")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
