"""What the documentation shows is run: blocks marked ``python`` and ``sh``, in order.

Each page runs in a folder of its own, which holds a copy of ``examples``. Blocks marked
``console`` are only shown; a command of CI runs those of the README.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sybil import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from sybil import Example

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])


def run_shell(example: Example) -> str | None:
    """Run one block; what went wrong, if something did."""
    scripts = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", str(example.parsed)],
        env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return None if done.returncode == 0 else done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_block_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nothing"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    # A module that a page writes is imported from where it was written.
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [each for each in os.environ if each.startswith("HOLODECK_GEN_")]:
        monkeypatch.delenv(name)
    parsers = (PythonCodeBlockParser(), CodeBlockParser("sh", run_shell))
    for example in Document.parse(str(page), *parsers).examples():
        example.evaluate()


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
