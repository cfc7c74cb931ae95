"""Runs what a page of the documentation shows: blocks marked ``python`` and ``sh``, in order."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from sybil import Document
from sybil.parsers.markdown import CodeBlockParser, PythonCodeBlockParser

if TYPE_CHECKING:
    from sybil import Example

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("README*.md"), *ROOT.glob("docs/**/*.md")])
#: Installs a package, so that it is run in an environment of its own: tests/packaging.
INSTALLS = ROOT / "docs" / "tutorial" / "your-first-plugin.md"


def run_blocks(page: Path, *, scripts: Path = Path(sys.executable).parent) -> list[str]:
    """Run every block in the working folder; Python in this process.

    Args:
        page: A page of the documentation.
        scripts: Where shells look for commands first.

    Returns:
        What the shell blocks wrote, stdout and stderr together.
    """
    written: list[str] = []

    def run_shell(example: Example) -> str | None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", str(example.parsed)],
            env=os.environ | {"PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        written.append(done.stdout)
        # Sybil takes words for a failure.
        return None if done.returncode == 0 else done.stdout or f"exit code {done.returncode}"

    parsers = (PythonCodeBlockParser(), CodeBlockParser("sh", run_shell))
    for example in Document.parse(str(page), *parsers).examples():
        example.evaluate()
    return written
