"""What is not needed is not imported: by the library, a page of help, or a listing."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {"PIL", "aiohttp", "httpx", "numpy", "opentelemetry", "prometheus_client"}
COMMAND = "from holodeck_gen._cli._app import cli\ncli({!r}, standalone_mode=False)"


@pytest.mark.parametrize(
    "statement",
    [
        "import holodeck_gen",
        "from holodeck_gen import AsyncStudio, Config, Provider, Studio, Task",
        COMMAND.format(["--help"]),
        COMMAND.format(["run", "--help"]),
        COMMAND.format(["plugins"]),
    ],
    ids=["import", "names", "help", "help of run", "plugins"],
)
def test_heavy_modules_stay_unloaded(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint('loaded:', *sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("loaded: ")[2].split())
    assert loaded & HEAVY == set()
