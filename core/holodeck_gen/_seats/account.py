"""All slots of one account: whose they are, and what becomes of those of the dead."""

from __future__ import annotations

import hashlib
import json
import sqlite3
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Literal

import attrs

from holodeck_gen._seats.file import SeatFile, end_owner, is_alive

#: Seconds between two looks whether the other owners are still alive.
REAP_S = 1.0
#: Seconds for which a start waits for a predecessor that is still coming to its end.
PATIENCE_S = 1.0
#: Jobs that must have ended before their times say how long the next one may take.
ENOUGH_JOBS = 10
#: The job of a submit without an answer is taken to have ended after so many times the longest of
#: the last ones. Of lognormal times whose spread is 0.5, about one in 10 000 is longer.
LOST_MARGIN = 3.0
#: Likewise, jobs of a studio that has died. More, because all that it had are concerned, and among
#: them those few that take many times as long as most.
LEFT_MARGIN = 10.0


@attrs.frozen(kw_only=True)
class LeftJob:
    """A part that an earlier run of the same journal had at the provider.

    Attributes:
        key: Its submit key.
        gate: Which slots it shares; see `gate_of`.
        state: What the journal says of it.
        since: When it got there, in seconds since the epoch.
    """

    key: str
    gate: str
    state: Literal["submitted", "uncertain"]
    since: float


@attrs.frozen(kw_only=True)
class Left:
    """Slots that are taken and that nobody gives back before their time.

    Attributes:
        lost: Of submits without an answer.
        jobs: Of jobs of runs that have ended.
        at_most_s: Seconds until none of them counts.
    """

    lost: int
    jobs: int
    at_most_s: float


def gate_of(quota_key: str) -> str:
    """The name of a gate in its account's file."""
    return hashlib.sha256(quota_key.encode()).hexdigest()[:16]


@attrs.define(kw_only=True, eq=False)
class AccountSeats:
    """What one studio knows of all slots of one account.

    Attributes:
        owner: Names the studio, and its lock below `owners`.
        journal: Names the journal, where a later run of it is to find the slots again.
        clock: Seconds since the epoch.
    """

    file: SeatFile
    owners: Path
    owner: str
    journal: str
    clock: Callable[[], float]
    #: What gates could not write yet; until it is, others see a slot as taken.
    owed: list[Callable[[sqlite3.Connection], object]] = attrs.field(factory=list, init=False)
    _reaped: float = attrs.field(default=float("-inf"), init=False)

    def reap(self) -> bool:
        """Take slots of owners that are dead for what they are; whether there were any."""
        now = self.clock()
        if abs(now - self._reaped) < REAP_S:
            return False
        self._reaped = now
        others = self.file.read(
            lambda connection: connection.execute(
                "SELECT DISTINCT owner FROM seats WHERE owner NOT IN ('', ?)", (self.owner,)
            ).fetchall()
        )
        dead = [owner for (owner,) in others or () if not is_alive(self.owners, owner)]

        def change(connection: sqlite3.Connection) -> bool:
            for owner in dead:
                connection.execute("UPDATE seats SET owner = '' WHERE owner = ?", (owner,))
                connection.execute("DELETE FROM waiting WHERE owner = ?", (owner,))
            connection.execute("DELETE FROM seats WHERE owner = '' AND until < ?", (now,))
            return True

        if not dead or not self.file.write(change):
            return False
        for owner in dead:
            end_owner(self.owners, owner)
        return True

    def adopt(self, left: Iterable[LeftJob], *, timeout_s: float) -> None:
        """Go on where earlier runs of the journal have ended. Blocks.

        Slots of jobs that have ended since are free. Those of jobs that may run are kept for
        whoever goes on with them, and for submits without an answer until their time is over.
        """
        jobs = {job.key: job for job in left}
        alive = json.dumps(self._alive_after_all())

        def change(connection: sqlite3.Connection) -> bool:
            newest: dict[str, int] = dict(
                connection.execute(
                    "SELECT key, max(id) FROM seats WHERE journal = ? AND lost = 0"
                    " AND owner NOT IN (SELECT value FROM json_each(?)) GROUP BY key",
                    (self.journal, alive),
                ).fetchall()
            )
            connection.execute(
                "UPDATE seats SET owner = '' WHERE journal = ?"
                " AND owner NOT IN (SELECT value FROM json_each(?))",
                (self.journal, alive),
            )
            for key, row in newest.items():
                if key not in jobs:
                    connection.execute("DELETE FROM seats WHERE id = ?", (row,))
                elif (job := jobs[key]).state == "uncertain":
                    connection.execute(
                        "UPDATE seats SET lost = 1, until = min(until, ?) WHERE id = ?",
                        (job.since + longest_lost(connection, job.gate, timeout_s), row),
                    )
            for key, job in jobs.items():
                if job.state == "uncertain" and key not in newest:
                    self._add_lost(connection, job, timeout_s)
            return True

        if self.journal:
            self.file.write(change)

    def left(self) -> Left:
        """What counts now although no studio has it in hand, but for what this one goes on with."""
        self.reap()
        now = self.clock()
        found = self.file.read(
            lambda connection: connection.execute(
                "SELECT coalesce(sum(lost = 1), 0), coalesce(sum(lost = 0), 0),"
                " coalesce(max(until), 0) FROM seats WHERE owner = '' AND until > :now"
                " AND (lost = 1 OR journal <> :journal OR journal = '')",
                {"now": now, "journal": self.journal},
            ).fetchone()
        )
        lost, jobs, until = found or (0, 0, 0.0)
        return Left(lost=lost, jobs=jobs, at_most_s=max(0.0, until - now))

    def _alive_after_all(self) -> list[str]:
        """Owners with slots of this very journal that do not go away: they work in a copy of it.

        A process that was killed lets go of its locks one after the other.
        """
        end = time.monotonic() + PATIENCE_S
        while True:
            rows = self.file.read(
                lambda connection: connection.execute(
                    "SELECT DISTINCT owner FROM seats WHERE journal = ? AND owner <> ''",
                    (self.journal,),
                ).fetchall()
            )
            alive = [owner for (owner,) in rows or [] if is_alive(self.owners, owner)]
            if not alive or time.monotonic() > end:
                return alive
            time.sleep(0.02)

    def close(self) -> None:
        """Leave behind what still runs, and let go."""

        def change(connection: sqlite3.Connection) -> bool:
            self.replay(connection)
            connection.execute("UPDATE seats SET owner = '' WHERE owner = ?", (self.owner,))
            connection.execute("DELETE FROM waiting WHERE owner = ?", (self.owner,))
            return True

        # Nothing waits for it any more, and what is not written now stays taken for long.
        self.file.be_patient()
        self.file.write(change)
        self.file.close()

    def change(self, change: Callable[[sqlite3.Connection], object]) -> None:
        """Write, now or with what is written next."""
        if self.file.gone:
            return
        self.owed.append(change)
        if self.file.write(self.replay):
            self.owed.clear()

    def replay(self, connection: sqlite3.Connection) -> bool:
        """Write what is owed; for within a transaction."""
        for change in self.owed:
            change(connection)
        return True

    def _add_lost(self, connection: sqlite3.Connection, job: LeftJob, timeout_s: float) -> None:
        """Count a submit without an answer of which there is no row: the journal remembers."""
        kept_s = longest_lost(connection, job.gate, timeout_s)
        connection.execute(
            "INSERT INTO seats (gate, key, owner, journal, until, lost)"
            " SELECT :gate, :key, '', :journal, :until, 1 WHERE NOT EXISTS ("
            " SELECT 1 FROM seats WHERE key = :key AND journal = :journal AND lost = 1)",
            {
                "gate": job.gate,
                "key": job.key,
                "journal": self.journal,
                "until": job.since + kept_s,
            },
        )


def longest_lost(connection: sqlite3.Connection, gate: str, timeout_s: float) -> float:
    """Seconds for which a submit without an answer counts."""
    return min(timeout_s, LOST_MARGIN * longest(connection, gate))


def longest(connection: sqlite3.Connection, gate: str) -> float:
    """Seconds that the longest of the last jobs took; infinity as long as they were few."""
    row = connection.execute(
        "SELECT max(longest_s, before_s) FROM times WHERE gate = ? AND jobs >= ?",
        (gate, ENOUGH_JOBS),
    ).fetchone()
    return float("inf") if row is None else float(row[0])
