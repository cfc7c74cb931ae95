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
from holodeck_gen._journal.batch import Batch
from holodeck_gen._journal.journal import Entry, Plan, Retry
from holodeck_gen._journal.ledger import Offer
from holodeck_gen._journal.writes import finished, planned, recorded

if TYPE_CHECKING:
    import holodeck_gen as hg

_ADMITTED = (
    "INSERT INTO tasks (number, key, digest, position, run, state, task)"
    " VALUES (?, ?, ?, ?, 1, 'open', ?)"
)


@attrs.define(eq=False)
class LeastJournal:
    """Gathers rows, and those who wait for them, while the thread commits what came before."""

    folder: Path
    _connection: sqlite3.Connection = attrs.field(init=False)
    _batch: Batch = attrs.field(factory=Batch, init=False)
    _busy: bool = attrs.field(default=False, init=False)
    _thread: ThreadPoolExecutor = attrs.field(factory=lambda: ThreadPoolExecutor(1), init=False)

    def __attrs_post_init__(self) -> None:
        self._connection = file.connect(self.folder / "journal.sqlite3", durable=True)

    async def admit(self, tasks: Any, _retry: Retry) -> list[Entry]:
        entries = []
        for task, index in tasks:
            offer, number = Offer.of(task, index), index + 1
            self._batch.add((0, _ADMITTED, (number, task.id, offer.digest, index, offer.text)))
            entries.append(Entry(key=task.id, task=task, index=index, number=number, token=""))
        await self._durable()
        return entries

    async def reserve(self, entry: Entry, name: str) -> bool:
        self._batch.add((50, "INSERT INTO names VALUES (?, ?)", (name.casefold(), entry.number)))
        await self._durable()
        return True

    async def planned(self, entry: Entry, plan: Plan) -> None:
        self._batch.add(planned(entry.number, plan))

    async def record(self, part: Any, step: Any) -> None:
        first = step.state == "submitting"
        self._batch.add(recorded(part, step, first=first, now=time.time(), folder=self.folder))
        if step.state in ("submitting", "submitted"):
            await self._durable()

    async def finish(self, entry: Entry, outcome: hg.Outcome) -> None:
        self._batch.add(finished(entry.number, outcome, now=time.time()))
        await self._durable()

    async def aclose(self) -> None:
        self._thread.shutdown()
        self._connection.close()

    def _durable(self) -> asyncio.Future[None]:
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()
        self._batch.told.append(done)
        if not self._busy:
            self._busy = True
            # As `GroupCommit`: after this turn of the loop and the next one.
            loop.call_soon(loop.call_soon, self._flush)
        return done

    def _flush(self) -> None:
        self._busy = bool(self._batch.told)
        if not self._busy:
            return
        batch, self._batch = self._batch, Batch()

        def done(writing: asyncio.Future[None]) -> None:
            if isinstance(error := writing.exception(), Exception):
                batch.fail(error)
            batch.settle(())
            loop.call_soon(loop.call_soon, self._flush)

        loop = asyncio.get_running_loop()
        loop.run_in_executor(self._thread, self._write, batch).add_done_callback(done)

    def _write(self, batch: Batch) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        batch.write(self._connection)
        self._connection.execute("COMMIT")
