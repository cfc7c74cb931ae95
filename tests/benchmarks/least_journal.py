"""The least that a journal of `bench_journal` can do: its rows, its waits, and nothing else.

It makes the same text and writes the same rows in the same groups with a thread that commits, and
whoever waits there waits here, too. But it knows nothing of ownership, of names that are taken, of
tasks that are there already, of which step may follow which, of full disks and of errors. What is
between this and the rows written raw is the price of waiting in asyncio for a thread; what is
between this and `SqliteJournal` is ours.
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._journal import file
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.ledger import Offer
from holodeck_gen._journal.writes import Write, finished, planned, recorded

if TYPE_CHECKING:
    import holodeck_gen as hg

_ADMITTED = (
    "INSERT INTO tasks (number, key, digest, position, run, state, task)"
    " VALUES (?, ?, ?, ?, 1, 'open', ?)"
)


@attrs.define(eq=False)
class LeastJournal:
    """Rows by their statement, and futures for those who wait until they are durable."""

    folder: Path
    _connection: sqlite3.Connection = attrs.field(init=False)
    _rows: dict[str, tuple[int, list[tuple[Any, ...]]]] = attrs.field(factory=dict, init=False)
    _waiting: list[asyncio.Future[None]] = attrs.field(factory=list, init=False)
    _busy: bool = attrs.field(default=False, init=False)
    _thread: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(1), init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = file.connect(self.folder / "journal.sqlite3", durable=True)

    async def admit(self, tasks: Any, _retry: Retry) -> list[Entry]:
        entries = []
        for task, index in tasks:
            offer, number = Offer.of(task, index), index + 1
            self._add((0, _ADMITTED, (number, task.id, offer.digest, index, offer.text)))
            entries.append(Entry(key=task.id, task=task, index=index, number=number, token=""))
        await self._durable()
        return entries

    async def reserve(self, entry: Entry, name: str) -> bool:
        self._add((50, "INSERT INTO names VALUES (?, ?)", (name.casefold(), entry.number)))
        await self._durable()
        return True

    async def planned(self, entry: Entry, plan: Plan) -> None:
        self._add(planned(entry.number, plan))

    async def record(self, part: Any, step: Any) -> None:
        first = step.state == "submitting"
        self._add(recorded(part, step, first=first, now=time.time(), folder=self.folder))
        if step.state in ("submitting", "submitted"):
            await self._durable()

    async def finish(self, entry: Entry, outcome: hg.Outcome) -> None:
        self._add(finished(entry.number, outcome, now=time.time()))
        await self._durable()

    async def aclose(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    def _add(self, write: Write) -> None:
        rank, statement, values = write
        known = self._rows.get(statement)
        if known is None:
            known = self._rows[statement] = rank, []
        known[1].append(values)

    def _durable(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._waiting.append(done)
        if not self._busy:
            self._busy = True
            # As `GroupCommit`: after this turn of the loop and the next one.
            loop.call_soon(loop.call_soon, self._flush)
        return done

    def _flush(self) -> None:
        rows, waiting = self._rows, self._waiting
        self._rows, self._waiting = {}, []

        def done(_written: asyncio.Future[None]) -> None:
            for each in waiting:
                each.set_result(None)
            loop.call_soon(loop.call_soon, self._next)

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, self._write, rows).add_done_callback(done)

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if self._busy:
            self._flush()

    def _write(self, rows: dict[str, tuple[int, list[tuple[Any, ...]]]]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        for _, statement, values in sorted((r, s, v) for s, (r, v) in rows.items()):
            self._connection.executemany(statement, values)
        self._connection.execute("COMMIT")
