"""The journal's file: its schema, and every way in which it can be unusable."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from typing import TYPE_CHECKING

from holodeck_gen.errors import (
    JournalCorruptError,
    JournalError,
    JournalVersionError,
    PausedError,
    StorageError,
)
from holodeck_gen.files import full_disk, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

#: The name in a run's folder.
JOURNAL = "journal.sqlite3"
#: Marks the file as ours (``PRAGMA application_id``): "hg" and a format.
APPLICATION_ID = 0x68_67_00_01
#: Seconds that a statement waits for another connection, for instance one that recovers.
BUSY_S = 10.0

#: Bytes kept free on disk while a journal is open: room for the ids of jobs that are accepted
#: while the disk fills up, and for one answer that came with its picture.
RESERVE = 8 * 2**20

#: Each script lifts a journal by one version (``PRAGMA user_version``); a new one gets all.
MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE tasks (
        number INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        digest TEXT NOT NULL,
        position INTEGER NOT NULL,
        run INTEGER NOT NULL,
        state TEXT NOT NULL,
        task TEXT NOT NULL,
        rewritten TEXT,
        plan TEXT,
        outcome TEXT,
        ended_at REAL
    );
    CREATE TABLE parts (
        task INTEGER NOT NULL,
        part INTEGER NOT NULL,
        state TEXT NOT NULL,
        round INTEGER NOT NULL DEFAULT 0,
        attempt INTEGER NOT NULL DEFAULT 0,
        job TEXT,
        submitted_at REAL,
        outputs TEXT,
        expires_at REAL,
        cost TEXT,
        files TEXT,
        artifacts TEXT,
        error TEXT,
        changed_at REAL,
        PRIMARY KEY (task, part)
    ) WITHOUT ROWID;
    CREATE TABLE names (name TEXT PRIMARY KEY, task INTEGER NOT NULL) WITHOUT ROWID;
    """,
    # Unfinished tasks are found without looking at those that are done.
    "CREATE INDEX unfinished ON tasks (number) WHERE state <> 'done';",
    # What a job may cost, and what was spent on earlier jobs of the same part.
    "ALTER TABLE parts ADD COLUMN price TEXT; ALTER TABLE parts ADD COLUMN sunk TEXT;",
)
VERSION = len(MIGRATIONS)
#: What shows readers, who change nothing, a journal of before a version as if it had that one.
_VIEWS = {
    3: "CREATE TEMP VIEW parts AS SELECT *, NULL AS price, NULL AS sunk FROM main.parts",
}


@contextlib.contextmanager
def translated(path: Path) -> Iterator[None]:
    """Turn SQLite's errors into ours.

    Raises:
        JournalCorruptError: The file is damaged.
        PausedError: The disk is full.
        JournalError: Anything else.
    """
    try:
        yield
    except sqlite3.Error as error:
        raise translate(error, path) from error


def translate(error: sqlite3.Error, path: Path) -> JournalError | PausedError:
    """What an error of SQLite means to a user."""
    code = getattr(error, "sqlite_errorcode", None)
    primary = None if code is None else code & 0xFF
    if primary in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        return corrupt(path, str(error))
    if primary == sqlite3.SQLITE_FULL:
        return full_disk(path.parent)
    return JournalError(f"the journal {path}: {error}")


def corrupt(path: Path, what: str) -> JournalCorruptError:
    """The error of a damaged journal."""
    return JournalCorruptError(
        f"the journal {path} is damaged ({what}); it is left as it is and nothing is submitted."
        " 'holodeck-gen audit --salvage' lists what can still be read"
    )


def create_private(path: Path) -> None:
    """Make an empty file that only its owner can read, unless there is one.

    Raises:
        StorageError: It cannot be made, or a link stands in its place.
    """
    nofollow = getattr(os, "O_NOFOLLOW", 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # SQLite gives its own files beside it the same permissions.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | nofollow, 0o600))
    except OSError as error:
        raise StorageError(
            f"the journal {path} cannot be written: {error.strerror or error}", stage="journal"
        ) from error


def make_reserve(path: Path) -> None:
    """Take up the room that is given back by `give_reserve`.

    Raises:
        PausedError: There is not so much on the disk.
        StorageError: It cannot be written.
    """
    reserve = _reserve(path)
    create_private(reserve)
    try:
        reserve.write_bytes(bytes(RESERVE))
    except OSError as error:
        reserve.unlink()
        if is_full(error):
            raise full_disk(path.parent) from error
        raise StorageError(
            f"the journal {path} cannot be written: {error.strerror or error}", stage="journal"
        ) from error


def give_reserve(path: Path) -> None:
    """Make room on the disk, if that was not done before."""
    _reserve(path).unlink(missing_ok=True)


def _reserve(path: Path) -> Path:
    return path.with_name(f"{path.name}.reserve")


def connect(path: Path, *, durable: bool) -> sqlite3.Connection:
    """A connection that writes, to a journal that may be new, old or not ours.

    Raises:
        JournalVersionError: A newer release wrote it.
        JournalCorruptError: It is damaged, or no journal.
        StorageError: It cannot be written.
    """
    create_private(path)
    if path.stat().st_size:
        # With a connection that cannot write: one that can would tidy up a damaged file.
        with contextlib.closing(connect_reader(path)) as reader, translated(path):
            check_pages(reader, path)
    with translated(path):
        connection = _connection(f"{path.absolute().as_uri()}?mode=rw")
        try:
            connection.execute(f"PRAGMA journal_mode = {'WAL' if durable else 'OFF'}")
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'OFF'}")
            migrate(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def connect_private() -> sqlite3.Connection:
    """A journal that ends with the process; SQLite moves it to disk where it grows."""
    connection = _connection("file:?mode=rwc")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = OFF")
    migrate(connection)
    return connection


def connect_reader(path: Path) -> sqlite3.Connection:
    """A connection that only reads, beside a live owner or without one.

    Raises:
        JournalVersionError, JournalCorruptError: As `connect`.
        JournalError: There is none, or it cannot be read.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal {path}")
    address = path.absolute().as_uri()
    # Without a log there is neither an owner nor anything to recover; then only a connection
    # that may write takes away what SQLite puts beside the file for readers.
    mode = "ro" if path.with_name(f"{path.name}-wal").exists() else "rw"
    with translated(path):
        try:
            return _checked(f"{address}?mode={mode}", path)
        except sqlite3.OperationalError:
            if os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists():
                raise
            # A folder that cannot be written has no room for the memory that readers share.
            return _checked(f"{address}?mode=ro&immutable=1", path)


def _checked(uri: str, path: Path) -> sqlite3.Connection:
    connection = _connection(uri)
    try:
        check(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for since, view in _VIEWS.items():
            if 0 < version < since:
                connection.execute(view)
    except BaseException:
        connection.close()
        raise
    return connection


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Look at what the file says of itself, and whether its pages hang together.

    Raises:
        JournalVersionError: A newer release wrote it.
        JournalCorruptError: It is damaged, or no journal.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if (application, version, tables) == (0, 0, 0):
        return
    if application != APPLICATION_ID:
        raise corrupt(path, "it is a database of something else")
    if version > VERSION:
        raise JournalVersionError(
            f"the journal {path} has version {version}, written by a newer holodeck-gen; this"
            f" one knows {VERSION}. Update holodeck-gen: pip install -U holodeck-gen"
        )


def check_pages(connection: sqlite3.Connection, path: Path) -> None:
    """Read the whole file and find out whether it is sound.

    Raises:
        JournalCorruptError: It is not.
    """
    (answer,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if answer != "ok":
        raise corrupt(path, str(answer))


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a journal to this release's version, or make a new one; all or nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    scripts = "".join(MIGRATIONS[version:])
    connection.executescript(
        f"BEGIN IMMEDIATE; {scripts} PRAGMA application_id = {APPLICATION_ID};"
        f" PRAGMA user_version = {VERSION}; COMMIT;"
    )


def _connection(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(
        uri, uri=True, isolation_level=None, check_same_thread=False, timeout=BUSY_S
    )
    connection.execute("PRAGMA temp_store = FILE")
    return connection
