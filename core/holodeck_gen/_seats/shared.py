"""Who occupies the job slots of an account: all studios of all processes of one user.

A provider counts an account's jobs and knows nothing of processes, so neither may we. Each slot
that is taken is a row in a small file per account. Whoever takes one looks at all rows in the
same transaction. A row outlives its process, since so does the job.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from holodeck_gen._seats.account import LEFT_MARGIN, AccountSeats, longest, longest_lost

if TYPE_CHECKING:
    import sqlite3

#: Seconds after which one that waits for a slot and has not asked again does not wait any more.
FRESH_S = 1.0
#: Jobs after which the longest is forgotten in favor of that of the next so many.
MEMORY = 64

# Whoever has fewer slots goes first, then who has waited longer: a studio that gives back a slot
# and asks for the next in the same breath would otherwise keep all others out for ever. Who could
# not take the slot either (`most`) is no reason to leave it empty.
_TAKE = """
    INSERT INTO seats (gate, key, owner, journal, until)
    SELECT :gate, :key, :owner, :journal, :until
    FROM (
        SELECT count(*) AS taken, coalesce(sum(owner = :owner), 0) AS mine FROM seats
        WHERE gate = :gate AND (owner <> '' OR until > :now)
    )
    WHERE taken < :most AND NOT EXISTS (
        SELECT 1 FROM waiting AS other
        WHERE gate = :gate AND owner <> :owner AND most > taken AND abs(:now - seen) < :fresh
        AND (
            (SELECT count(*) FROM seats WHERE gate = :gate AND owner = other.owner), since
        ) < (mine, coalesce(
            (SELECT since FROM waiting WHERE gate = :gate AND owner = :owner), :now
        ))
    )
"""
_WAIT = """
    INSERT INTO waiting VALUES (:gate, :owner, :most, :now, :now)
    ON CONFLICT DO UPDATE SET seen = :now, most = :most,
    since = CASE WHEN abs(:now - seen) < :fresh THEN since ELSE :now END
"""
_LEARN = f"""
    INSERT INTO times VALUES (:gate, 1, :seconds, 0.0)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1,
    before_s = CASE WHEN jobs % {MEMORY} = 0 THEN longest_s ELSE before_s END,
    longest_s = CASE WHEN jobs % {MEMORY} = 0 THEN :seconds ELSE max(longest_s, :seconds) END
"""


@attrs.define(eq=False)
class _Seat:
    """A slot of ours.

    Attributes:
        row: Its row; None as long as that could not be written.
        sent: When its submit was sent; None where an earlier run did.
    """

    row: int | None = None
    sent: float | None = None


@attrs.define(kw_only=True, eq=False)
class SharedSeats:
    """The slots of one gate, as one studio takes and leaves them. Belongs to one thread.

    Attributes:
        gate: Its name; see `gate_of`.
        timeout_s: Seconds a job takes at most, as long as nothing better is known.
    """

    account: AccountSeats
    gate: str
    timeout_s: float
    #: Seconds for which a submit without an answer counts.
    lost_s: float = attrs.field(init=False)
    #: Seconds for which a job counts whose studio has died. An overdue one is kept for as long.
    left_s: float = attrs.field(init=False)
    _mine: dict[str, list[_Seat]] = attrs.field(factory=dict, init=False)
    #: Times until which jobs may run that are not watched; for where the file is gone.
    _abandoned: list[float] = attrs.field(factory=list, init=False)
    _waits: bool = attrs.field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        self.lost_s, self.left_s = self.timeout_s, 2 * self.timeout_s
        self.account.file.read(self._learn)

    def others(self) -> int:
        """Slots that others occupy, and jobs that nobody watches."""
        self.account.reap()
        answer = self.account.file.read(
            lambda connection: connection.execute(
                "SELECT count(*) FROM seats WHERE gate = ? AND owner <> ?"
                " AND (owner <> '' OR until > ?)",
                (self.gate, self.account.owner, self.account.clock()),
            ).fetchone()
        )
        return 0 if answer is None else int(answer[0])

    def take(self, key: str, limit: int) -> bool:
        """Take a slot; False where all together have `limit`, or it is another's turn.

        Also False where the file is busy, which passes.
        """
        return self._take(key, limit) or (self.account.reap() and self._take(key, limit))

    def occupy(self, key: str) -> None:
        """Take a slot for a job that runs, whatever the others have."""
        seat = _Seat()
        values = self._values(key, self.account.clock())

        def change(connection: sqlite3.Connection) -> None:
            # Where an earlier run has left it. What was begun anew after a lost answer has two.
            found = connection.execute(
                "UPDATE seats SET owner = :owner, until = :until, lost = 0 WHERE id = ("
                " SELECT id FROM seats WHERE gate = :gate AND key = :key AND owner = ''"
                " AND journal = :journal ORDER BY lost, id DESC LIMIT 1) RETURNING id",
                values,
            ).fetchall()
            if found:
                seat.row = found[0][0]
                return
            seat.row = connection.execute(
                "INSERT INTO seats (gate, key, owner, journal, until)"
                " VALUES (:gate, :key, :owner, :journal, :until)",
                values,
            ).lastrowid

        self._mine.setdefault(key, []).append(seat)
        self.account.change(change)

    def sending(self, key: str) -> None:
        """A submit is about to be sent: its job may run from now on."""
        seat = self._mine[key][-1]
        seat.sent = self.account.clock()
        self._keep(seat, seat.sent + self.left_s)

    def keep(self, key: str, at_most_s: float) -> None:
        """The job may run for so many seconds more, also where this process ends."""
        self._keep(self._mine[key][-1], self.account.clock() + at_most_s)

    def abandon(self, key: str) -> float:
        """Watch the job no more: it counts until it has surely ended, in so many seconds."""
        seat = self._pop(key)
        kept_s = self.lost_s
        now = self.account.clock()
        until = now + kept_s
        self._abandoned = [each for each in self._abandoned if each > now] + [until]
        self.account.change(
            lambda connection: connection.execute(
                "UPDATE seats SET owner = '', lost = 1, until = ? WHERE id = ?", (until, seat.row)
            )
        )
        return kept_s

    def leave(self, key: str, *, ended: bool = False) -> None:
        """Give a slot back; `ended` where the job ran to its end."""
        seat = self._pop(key)
        values = {"gate": self.gate, "seconds": self.account.clock() - (seat.sent or 0.0)}

        def change(connection: sqlite3.Connection) -> None:
            connection.execute("DELETE FROM seats WHERE id = ?", (seat.row,))
            if ended and seat.sent is not None:
                connection.execute(_LEARN, values)
                self._learn(connection)

        self.account.change(change)

    def _take(self, key: str, limit: int) -> bool:
        if self.account.file.gone:
            now = self.account.clock()
            self._abandoned = [until for until in self._abandoned if until > now]
            if sum(map(len, self._mine.values())) + len(self._abandoned) >= limit:
                return False
            self._mine.setdefault(key, []).append(_Seat())
            return True
        now = self.account.clock()
        values = {**self._values(key, now), "most": limit, "fresh": FRESH_S}

        def change(connection: sqlite3.Connection) -> tuple[int | None]:
            self.account.replay(connection)
            cursor = connection.execute(_TAKE, values)
            if cursor.rowcount != 1:
                connection.execute(_WAIT, values)
                return (None,)
            if self._waits:
                connection.execute(
                    "DELETE FROM waiting WHERE gate = :gate AND owner = :owner", values
                )
            return (cursor.lastrowid,)

        answer = self.account.file.write(change)
        if answer is None:
            return False
        self.account.owed.clear()
        (row,) = answer
        self._waits = row is None
        if row is None:
            return False
        self._mine.setdefault(key, []).append(_Seat(row, now))
        return True

    def _values(self, key: str, now: float) -> dict[str, object]:
        return {
            "gate": self.gate,
            "key": key,
            "owner": self.account.owner,
            "journal": self.account.journal,
            "now": now,
            "until": now + self.left_s,
        }

    def _pop(self, key: str) -> _Seat:
        seats = self._mine[key]
        seat = seats.pop()
        if not seats:
            del self._mine[key]
        return seat

    def _keep(self, seat: _Seat, until: float) -> None:
        self.account.change(
            lambda connection: connection.execute(
                "UPDATE seats SET until = ? WHERE id = ?", (until, seat.row)
            )
        )

    def _learn(self, connection: sqlite3.Connection) -> None:
        self.lost_s = longest_lost(connection, self.gate, self.timeout_s)
        self.left_s = min(2 * self.timeout_s, LEFT_MARGIN * longest(connection, self.gate))
