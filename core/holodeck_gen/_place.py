"""Where the journal is, and what is not finished yet."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import TypeAlias

import attrs
import platformdirs

from holodeck_gen._journal_file import JOURNAL
from holodeck_gen._journal_rows import SPOOL
from holodeck_gen.files import check_writable

#: ``"automatic"``: in the output folder; without one, as ``"invocation"`` where anything costs
#: money. ``"invocation"``: a file of its own below the user's state folder, for as long as
#: something is unfinished. None: only in memory.
JournalChoice: TypeAlias = str | os.PathLike[str] | None


@attrs.frozen(kw_only=True)
class Place:
    """Folders of one studio.

    Attributes:
        output: Where local files go.
        journal: The journal's file; None where it is kept in memory.
        spool: For raw files.
        passing: A folder to remove when nothing in it is needed any more.
    """

    output: Path
    journal: Path | None
    spool: Path
    passing: Path | None = None

    def clear(self, *, finished: bool) -> None:
        """Remove what is empty, and with `finished` what only served unfinished work."""
        with contextlib.suppress(OSError):
            # Missing, or it keeps what could not be stored.
            self.spool.rmdir()
        if self.passing is not None and finished:
            shutil.rmtree(self.passing, ignore_errors=True)


def choose_place(
    choice: JournalChoice, output: str | os.PathLike[str] | None, *, paid: bool
) -> Place:
    """Decide where things go, and make the output folder.

    Raises:
        StorageError: The output folder cannot be written.
    """
    local = None if output is None or "://" in str(output) else Path(output).expanduser()
    if local is not None:
        check_writable(local)
    folder = local or Path(tempfile.mkdtemp(prefix="holodeck-gen-"))
    if choice == "automatic":
        choice = folder / JOURNAL if local else "invocation"
    if choice == "invocation":
        choice = None
        if paid:
            passing = runs_folder() / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
            return Place(
                output=folder, journal=passing / JOURNAL, spool=passing / SPOOL, passing=passing
            )
    if choice is None:
        return Place(output=folder, journal=None, spool=folder / SPOOL)
    journal = Path(choice).expanduser().absolute()
    return Place(output=folder, journal=journal, spool=journal.parent / SPOOL)


def runs_folder() -> Path:
    """Holds the journals of invocations without a folder of their own."""
    return platformdirs.user_state_path("holodeck-gen", appauthor=False) / "runs"


def slots_folder() -> Path:
    """Holds what the runs of this user tell each other about their job slots."""
    return platformdirs.user_state_path("holodeck-gen", appauthor=False) / "slots"


def is_invocation(journal: Path) -> bool:
    """Whether it is a single invocation's: the same work again has another journal."""
    return journal.absolute().parent.parent == runs_folder().absolute()


def remove_finished(journal: Path, *, finished: bool) -> None:
    """Remove a single invocation's folder in which nothing is needed any more."""
    if finished and is_invocation(journal):
        shutil.rmtree(journal.parent, ignore_errors=True)


def left_behind() -> list[Path]:
    """Journals below the user's state folder, oldest first."""
    return sorted(runs_folder().glob(f"*/{JOURNAL}"))
