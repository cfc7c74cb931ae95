"""What can still be read of a damaged journal."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from holodeck_gen._journal import file
from holodeck_gen.errors import JournalCorruptError, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterator

#: What is worth saving of a damaged journal: tables, their order, and columns.
_SALVAGED = (
    ("tasks", "number", ("key", "state", "task", "outcome")),
    ("parts", "task", ("task", "part", "state", "job", "files")),
)


def salvage(journal: Path) -> Iterator[dict[str, Any]]:
    """Whatever can still be read of a damaged journal's tasks and jobs; addresses stripped.

    Raises:
        JournalError: There is none.
        JournalCorruptError: Nothing can be read at all.
    """
    if not journal.is_file():
        raise JournalError(f"there is no journal {journal}")
    with tempfile.TemporaryDirectory(prefix="holodeck-gen-") as folder:
        # A copy, because only a connection that may write reads the log that belongs to it.
        copy = Path(folder, file.JOURNAL)
        for ending in ("", "-wal"):
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(f"{journal}{ending}", f"{copy}{ending}")
        with contextlib.closing(sqlite3.connect(copy)) as connection:
            try:
                connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
            except sqlite3.DatabaseError as error:
                raise JournalCorruptError(f"nothing of {journal} can be read: {error}") from error
            for table, order, columns in _SALVAGED:
                yield from _salvage(connection, table, order, columns)


def _salvage(
    connection: sqlite3.Connection, table: str, order: str, columns: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    """Rows in both directions, until a damaged page stops each."""
    seen: set[tuple[Any, ...]] = set()
    for direction in ("ASC", "DESC"):
        query = f"SELECT {', '.join(columns)} FROM {table} ORDER BY {order} {direction}"
        with contextlib.suppress(sqlite3.DatabaseError):
            for row in connection.execute(query):
                if row in seen:
                    return
                seen.add(row)
                yield {"table": table, **dict(zip(columns, row, strict=True))}
