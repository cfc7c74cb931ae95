"""What the documentation shows is run: blocks marked ``python`` and ``sh``, in order.

Each page runs in a folder of its own, which holds a copy of ``examples``. Blocks marked
``console`` are only shown; a command of CI runs those of the README.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from pages import INSTALLS, PAGES, ROOT, run_blocks

if TYPE_CHECKING:
    from pathlib import Path

RUN_HERE = [page for page in PAGES if page != INSTALLS]


@pytest.mark.parametrize("page", RUN_HERE, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # A module that a page writes is imported from where it was written.
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in os.environ if each.startswith("HOLODECK_GEN_")]:
        monkeypatch.delenv(name)
    run_blocks(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    words = page.read_text(encoding="utf-8").split("](")[1:]
    targets = [word.partition(")")[0].partition("#")[0] for word in words]
    local = [each for each in targets if each and "://" not in each]
    assert [each for each in local if not (page.parent / each).exists()] == []


@pytest.mark.parametrize("name", ["prompts.jsonl", "prompts.csv", "prompts.txt"])
def test_every_example_file_can_be_run(name: str, tmp_path: Path) -> None:
    command = [
        *(sys.executable, "-c", "from holodeck_gen._cli import main; main()"),
        *("run", str(ROOT / "examples" / name), "-p", "procedural", "-o", "out", "--dry-run"),
    ]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    assert done.returncode == 0, done.stderr
