"""A handle on a task from any process that can read its journal."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._config.config import Config
from holodeck_gen._journal import ownership
from holodeck_gen._journal.audit import output_of, providers_of, reading, sidecar_of, store_of
from holodeck_gen._journal.file import JOURNAL
from holodeck_gen._model.outcome import Failure, Outcome, Result
from holodeck_gen._plugins.registry import Registry
from holodeck_gen._plugins.resolve import Named
from holodeck_gen._studio import AsyncStudio
from holodeck_gen.errors import JournalLockedError, UnknownNameError

if TYPE_CHECKING:
    from holodeck_gen._engine.handle import Progress
    from holodeck_gen._journal.journal import Entry
    from holodeck_gen._journal.rows import Rows

#: Seconds between two looks at a journal that another process works with.
LOOK_S = 0.25


@attrs.define(kw_only=True, eq=False)
class Attached:
    """A task in a journal: the same questions as a `Handle` answers.

    Attributes:
        id: The task's id, or its key.
        journal: The journal's file.
    """

    id: str
    journal: Path
    provider: Named | Sequence[Named] | None = None
    output: str | os.PathLike[str] | None = None
    config: Config | None = None
    registry: Registry | None = None

    def status(self) -> Progress:
        """How it stands, by the journal.

        Raises:
            UnknownNameError: The journal has no such task.
            JournalError: It cannot be read.
        """
        with reading(self.journal) as rows:
            entry = self._entry(rows)
        if entry.state != "open":
            return entry.state
        states = {part.state for part in entry.parts.values()}
        if "uncertain" in states:
            return "held"
        return "waiting" if states <= {"admitted", "submitting"} else "running"

    def outcome(self, *, timeout: float | None = None) -> Outcome:
        """Wait for the outcome; see `outcome_async`. Not for code inside a running loop."""
        return asyncio.run(self.outcome_async(timeout=timeout))

    def result(self, *, timeout: float | None = None) -> Result:
        """Wait for the result.

        Raises:
            TaskError: The task ended without one.
            TimeoutError: It is not there yet.
        """
        outcome = self.outcome(timeout=timeout)
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    async def outcome_async(self, *, timeout: float | None = None) -> Outcome:
        """Wait while another process works on it; where none does, go on with it here.

        Args:
            timeout: Seconds; None waits for as long as it takes. What was begun here is stopped
                as a studio stops: its job stays and can be waited for again.

        Raises:
            TimeoutError: It is not there yet.
            UnknownNameError: The journal has no such task.
            ConfigError: Nobody works on it, and its provider cannot be made here.
        """
        async with asyncio.timeout(timeout):
            while True:
                outcome = await asyncio.to_thread(self._ending)
                if outcome is not None:
                    return outcome
                if not await asyncio.to_thread(ownership.is_owned, self.journal):
                    try:
                        return await self._go_on()
                    except JournalLockedError:
                        # Somebody was quicker.
                        continue
                await asyncio.sleep(LOOK_S)

    async def _go_on(self) -> Outcome:
        note = None if self.output else store_of(self.journal)
        async with AsyncStudio(
            self.provider or providers_of(self.journal),
            output=self.output or output_of(self.journal),
            store=note.name if note else None,
            journal=self.journal,
            sidecar=sidecar_of(self.journal) or None,
            config=self.config,
            registry=self.registry,
        ) as studio:
            return await (await studio.go_on(self.id)).outcome()

    def _ending(self) -> Outcome | None:
        with reading(self.journal) as rows:
            entry = self._entry(rows)
            return None if entry.ending is None else rows.outcome(entry)

    def _entry(self, rows: Rows) -> Entry:
        entry = rows.entry(self.id)
        if entry is None:
            raise UnknownNameError(f"the journal {self.journal} has no task {self.id!r}")
        return entry


def attach(
    id: str,
    *,
    journal: str | os.PathLike[str],
    provider: Named | Sequence[Named] | None = None,
    output: str | os.PathLike[str] | None = None,
    config: Config | None = None,
    registry: Registry | None = None,
) -> Attached:
    """Take hold of a task that this or another process has begun.

    Args:
        id: What `Handle.id` said.
        journal: The journal's file, or the run's folder.
        provider: Who is asked where nobody works on it; None means the last run's, by name.
        output: Where files go then; None means where they went in the last run.
        config: Where unset arguments come from.
        registry: Names of providers and stages.

    Raises:
        UnknownNameError: The journal has no such task.
        JournalError: It cannot be read.
    """
    path = Path(journal).expanduser()
    path = path / JOURNAL if path.is_dir() else path
    attached = Attached(
        id=id,
        journal=path,
        provider=provider,
        output=output,
        config=config,
        registry=registry,
    )
    attached.status()
    return attached
