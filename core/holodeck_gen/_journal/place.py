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

from holodeck_gen._journal.file import JOURNAL
from holodeck_gen._journal.spool import SPOOL
from holodeck_gen._model.remote import folder_name, is_remote, lasts
from holodeck_gen.files import check_writable

#: ``"automatic"``: in the output folder or, where that is an address, in a folder below the
#: user's state folder that belongs to it; without an output, as ``"invocation"`` where anything
#: costs money. ``"invocation"``: a file of its own below the user's state folder, for as long as
#: something is unfinished. None, in settings ``"none"``: only in memory. Else a folder for
#: `JOURNAL`, or a file.
JournalChoice: TypeAlias = str | os.PathLike[str] | None
#: What tells a file that is not there yet from a folder that is not there yet.
_SUFFIXES = frozenset({".sqlite3", ".sqlite", ".db"})


@attrs.frozen(kw_only=True)
class Place:
    """Folders of one studio.

    Attributes:
        output: Where local files go.
        journal: The journal's file; None where it is kept in memory.
        spool: For raw files.
        passing: A folder to remove when nothing in it is needed any more.
        made: Whether `output` is nobody's choice, and of use only if something is in it.
    """

    output: Path
    journal: Path | None
    spool: Path
    passing: Path | None = None
    made: bool = False

    def clear(self, *, finished: bool) -> None:
        """Remove what is empty, and with `finished` what only served unfinished work."""
        with contextlib.suppress(OSError):
            # Missing, or it keeps what could not be stored.
            self.spool.rmdir()
        if self.passing is not None and finished:
            shutil.rmtree(self.passing, ignore_errors=True)
        # Else what is collected later goes there.
        if self.made and (finished or self.journal is None):
            with contextlib.suppress(OSError):
                self.output.rmdir()


def choose_place(
    choice: JournalChoice, output: str | os.PathLike[str] | None, *, paid: bool
) -> Place:
    """Decide where things go, and make the output folder.

    Raises:
        StorageError: The output folder cannot be written.
        ConfigError: The output is an address that cannot be one.
    """
    local = None if output is None or is_remote(output) else Path(output).expanduser()
    if local is not None:
        check_writable(local)
    journal = journal_of(choice, output)
    if local is None and is_remote(output) and journal is not None:
        return Place(output=journal.parent, journal=journal, spool=journal.parent / SPOOL)
    made = local is None
    folder = local or Path(tempfile.mkdtemp(prefix="holodeck-gen-"))
    if journal is not None:
        spool = journal.parent / SPOOL
        return Place(output=folder, journal=journal, spool=spool, made=made)
    if paid and choice in ("automatic", "invocation"):
        passing = runs_folder() / f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
        return Place(
            output=folder,
            journal=passing / JOURNAL,
            spool=passing / SPOOL,
            passing=passing,
            made=made,
        )
    return Place(output=folder, journal=None, spool=folder / SPOOL, made=made)


def journal_of(choice: JournalChoice, output: str | os.PathLike[str] | None) -> Path | None:
    """The journal that the same choice finds again; None where there is no such journal.

    Raises:
        ConfigError: The output is an address that cannot be one.
    """
    if choice is None or choice in ("none", "invocation"):
        return None
    if choice != "automatic":
        path = Path(choice).expanduser().absolute()
        file = path.is_file() or (path.suffix in _SUFFIXES and not path.is_dir())
        return path if file else path / JOURNAL
    if is_remote(output):
        # A memory that is gone is no place in which anything was done.
        return remote_folder(output) / JOURNAL if lasts(output) else None
    return None if output is None else Path(output).expanduser().absolute() / JOURNAL


def remote_folder(address: str) -> Path:
    """Where a run is remembered whose files go to `address`.

    Raises:
        ConfigError: It is no address.
    """
    return _state() / "remote" / folder_name(address)


def runs_folder() -> Path:
    """Holds the journals of invocations without a folder of their own."""
    return _state() / "runs"


def slots_folder() -> Path:
    """Holds what the runs of this user tell each other about their job slots."""
    return _state() / "slots"


def is_invocation(journal: Path) -> bool:
    """Whether it is a single invocation's: the same work again has another journal."""
    return journal.absolute().parent.parent == runs_folder().absolute()


def remove_finished(journal: Path, *, finished: bool) -> None:
    """Remove a single invocation's folder in which nothing is needed any more."""
    if finished and is_invocation(journal):
        shutil.rmtree(journal.parent, ignore_errors=True)


def left_behind() -> list[Path]:
    """Journals below the user's state folder, oldest first; those of addresses come last."""
    runs = sorted(runs_folder().glob(f"*/{JOURNAL}"))
    return runs + sorted(
        (_state() / "remote").glob(f"*/{JOURNAL}"), key=lambda path: path.stat().st_mtime
    )


def _state() -> Path:
    return platformdirs.user_state_path("holodeck-gen", appauthor=False)
