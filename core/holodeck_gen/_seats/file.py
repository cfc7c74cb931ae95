"""The file of an account: a row for each job slot that is taken, and one for each action's rate."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import attrs

from holodeck_gen._journal.file import create_private
from holodeck_gen._journal.ownership import Lock, is_owned
from holodeck_gen._log import Logger
from holodeck_gen.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_log = Logger("holodeck_gen.seats")

#: Seconds for which a statement waits for another process. A transaction takes well under a
#: millisecond, and the event loop stands still meanwhile.
BUSY_S = 0.02
#: Seconds, likewise, while the file is opened: another process may be recovering it.
PATIENCE_S = 2.0
#: Seconds between two tries, where SQLite does not wait by itself.
AGAIN_S = 0.01

# Nobody owns a row ('') whose job may run and is not watched: it counts until its time is over.
# `lost` marks the rows of submits without an answer; nothing can tell that such a job has ended.
_SCHEMA = """
    CREATE TABLE IF NOT EXISTS seats (
        id INTEGER PRIMARY KEY,
        gate TEXT NOT NULL,
        key TEXT NOT NULL,
        owner TEXT NOT NULL,
        journal TEXT NOT NULL,
        until REAL NOT NULL,
        lost INTEGER NOT NULL DEFAULT 0
    );
    CREATE INDEX IF NOT EXISTS seats_of_gate ON seats (gate);
    CREATE TABLE IF NOT EXISTS waiting (
        gate TEXT NOT NULL,
        owner TEXT NOT NULL,
        most INTEGER NOT NULL,
        since REAL NOT NULL,
        seen REAL NOT NULL,
        PRIMARY KEY (gate, owner)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS times (
        gate TEXT PRIMARY KEY,
        jobs INTEGER NOT NULL,
        longest_s REAL NOT NULL,
        before_s REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS lanes (
        action TEXT PRIMARY KEY,
        seen REAL NOT NULL,
        token REAL NOT NULL,
        departure REAL NOT NULL,
        closed_until REAL NOT NULL,
        cut_at REAL NOT NULL,
        cut_to REAL,
        doubling_s REAL NOT NULL,
        lowest REAL,
        lowest_at REAL NOT NULL,
        sent BLOB NOT NULL
    ) WITHOUT ROWID;
"""


@attrs.define(eq=False)
class SeatFile:
    """A connection for one owner, used by one thread at a time.

    Attributes:
        path: Where.
        gone: Whether the file cannot be used any more; then everybody counts for himself.
    """

    path: Path
    _connection: sqlite3.Connection
    gone: bool = attrs.field(default=False, init=False)
    _busy_since: float | None = attrs.field(default=None, init=False)

    @classmethod
    def open(cls, path: Path) -> SeatFile:
        """Open the file, which is made if it is missing. Blocks.

        Raises:
            StorageError: It cannot be written.
            sqlite3.Error: It cannot be used.
        """
        create_private(path)
        connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=PATIENCE_S
        )
        try:
            _use_log(connection)
            # It need not outlive the machine: a job that does is in its run's journal.
            connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} COMMIT;")
            _wait_for(connection, BUSY_S)
        except BaseException:
            connection.close()
            raise
        return cls(path, connection)

    def read(self, question: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `question` answers; None where it cannot be asked now."""
        if self.gone:
            return None
        try:
            answer = question(self._connection)
        except sqlite3.Error as error:
            self._fail(error)
            return None
        self._busy_since = None
        return answer

    def write(self, change: Callable[[sqlite3.Connection], T]) -> T | None:
        """What `change` returns, in one transaction; None where nothing was changed."""

        def whole(connection: sqlite3.Connection) -> T:
            connection.execute("BEGIN IMMEDIATE")
            try:
                answer = change(connection)
                connection.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(sqlite3.Error):
                    connection.execute("ROLLBACK")
                raise
            return answer

        return self.read(whole)

    def be_patient(self) -> None:
        """Wait for others for longer from now on; the event loop must not stand behind it."""
        with contextlib.suppress(sqlite3.Error):
            _wait_for(self._connection, PATIENCE_S)

    def close(self) -> None:
        """Let go of it."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    def _fail(self, error: sqlite3.Error) -> None:
        if not _is_busy(error):
            self.gone = True
            tell_unshared(self.path, error)
            return
        now = time.monotonic()
        if self._busy_since is None:
            self._busy_since = now
        elif now - self._busy_since > 10.0:
            self._busy_since = now
            _log.warning("slots.busy", path=str(self.path), hint="who keeps it locked?")


def _is_busy(error: sqlite3.Error) -> bool:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)


def _use_log(connection: sqlite3.Connection) -> None:
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.Error as error:
            # Where another one does the same just now, SQLite does not wait, whatever its timeout.
            if not _is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(AGAIN_S)
        else:
            return


def _wait_for(connection: sqlite3.Connection, seconds: float) -> None:
    connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")


def tell_unshared(path: Path, error: Exception) -> None:
    """Warn that this studio's slots are not counted together with those of others."""
    _log.warning(
        "slots.not_shared",
        path=str(path),
        error=str(error),
        hint="jobs and requests of other runs are not counted; work in one at a time",
    )


def begin_owner(folder: Path, owner: str) -> Lock:
    """Be alive, as far as others can see, until the lock is released or the process ends.

    Raises:
        StorageError: The folder cannot be written.
    """
    lock = Lock(folder / owner)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock.acquire()
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error}", stage="slots") from error
    return lock


def end_owner(folder: Path, owner: str, lock: Lock | None = None) -> None:
    """Forget an owner that has no rows any more."""
    if lock is not None:
        lock.release()
    # Nobody else takes a lock of this name.
    with contextlib.suppress(OSError):
        (folder / f".{owner}.lock").unlink(missing_ok=True)


def is_alive(folder: Path, owner: str) -> bool:
    """Whether the studio that took a slot still has it in hand."""
    return is_owned(folder / owner)
