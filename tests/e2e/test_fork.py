"""A program that forks keeps what it owns, and its children keep nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from holodeck_gen._journal.ownership import is_owned
from holodeck_gen._journal.place import slots_folder
from holodeck_gen._seats.file import is_alive


def test_the_locks_are_the_parents_and_end_with_it(tmp_path: Path) -> None:
    journal = tmp_path / "journal.sqlite3"
    # From Python 3.12 on, to fork a program with threads is worth a warning.
    program = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-m", "e2e.forking", str(tmp_path)],
        cwd=Path(__file__).parents[1],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = None
    try:
        assert program.stdout is not None
        assert program.stdout.readline() == "ended\n"
        (lock,) = slots_folder().glob(".*.lock")
        owner = lock.name.removeprefix(".").removesuffix(".lock")
        assert is_owned(journal), "the child that ended has let go of it"
        assert is_alive(slots_folder(), owner)
        child = int(program.stdout.readline())
        program.kill()
        program.wait()
        assert not is_owned(journal), "the child that lives on keeps it"
        assert not is_alive(slots_folder(), owner)
    finally:
        program.kill()
        program.wait()
        if child is not None:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        if program.stdout is not None:
            program.stdout.close()
