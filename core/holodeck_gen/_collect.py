"""Fetching what is paid for. Nothing that is reached from here can begin a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._background import Background
from holodeck_gen._config.config import Config
from holodeck_gen._config.settings import settings_of
from holodeck_gen._engine.choices import Choices
from holodeck_gen._engine.workplace import Workplace
from holodeck_gen._jobs.life import Life
from holodeck_gen._journal import reopening
from holodeck_gen._journal.audit import output_of, providers_of, sidecar_of, store_of
from holodeck_gen._journal.journal import Retry
from holodeck_gen._journal.place import remove_finished
from holodeck_gen._journal.resume import begin
from holodeck_gen._log import Logger
from holodeck_gen._plugins.registry import Registry
from holodeck_gen._plugins.resolve import Named, Resolver
from holodeck_gen.errors import ConfigError, JournalError, PluginError

if TYPE_CHECKING:
    import os

    import httpx

    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._plugins.registry import Configured
    from holodeck_gen._plugins.store import StoreNote
    from holodeck_gen._stages.in_processes import Processes

_log = Logger("holodeck_gen.collect")

#: Tasks in work at once; each is a download or a poll.
WINDOW = 32


def dismiss(journal: Path, key: str) -> None:
    """Decide that the submit of `key` which had no answer made no job; it is not held any more.

    Raises:
        UnknownNameError: The journal has no such task.
        InvalidTaskError: None of its submits is without an answer.
        JournalError: The journal cannot be used; another process may be at work.
    """
    owned = begin(journal, resume="if-possible", settings=None, network=False)
    try:
        ledger = owned.ledger
        owned.run_now(partial(reopening.dismiss, ledger.rows, key, now=ledger.clock()))
    finally:
        owned.close()
    remove_finished(journal, finished=owned.finished)


@attrs.define(kw_only=True, eq=False)
class Collector:
    """Goes on with the jobs of a journal until their files are stored.

    Args:
        journal: The journal's file.
        provider: Who is asked; None means the providers of the journal's last run, by name.
        output: Where files go; None means where they went in the last run.
        store: Keeps them; None means the last run's, by name.
        process: Processors; None means the configured ones.
        config: Where options come from.
        processes: Where processors run that are named; None means in threads.
    """

    journal: Path
    provider: Named | Sequence[Named] | None = None
    output: str | os.PathLike[str] | None = None
    store: Named | None = None
    process: Sequence[Named] | None = None
    config: Config
    registry: Registry = attrs.field(factory=Registry)
    transport: httpx.AsyncBaseTransport | None = None
    processes: Processes | None = None
    _background: Background = attrs.field(factory=Background, init=False)

    async def outcomes(self) -> AsyncIterator[Outcome]:
        """Yield the outcome of each task that something is paid for, as they complete.

        Raises:
            JournalError: The journal cannot be used; another process may be at work.
            ConfigError: A provider cannot be made.
        """
        work = self._workplace()
        await work.open()
        try:
            keys = await work.journal.owed()
            running: set[asyncio.Task[Outcome]] = set()
            for key in keys:
                running.add(self._background.spawn(self._collect(work, key)))
                if len(running) >= WINDOW:
                    done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for each in done:
                        yield each.result()
            for next_done in asyncio.as_completed(running):
                yield await next_done
        finally:
            await self._background.cancel()
            await work.close()
            remove_finished(self.journal, finished=work.journal.finished)

    async def _collect(self, work: Workplace, key: str) -> Outcome:
        entry = await work.journal.reopen(key)
        return await work.engine.run(Life(index=entry.index, task=entry.task, entry=entry))

    def _workplace(self) -> Workplace:
        if not self.journal.is_file():
            raise JournalError(f"there is no journal {self.journal}")
        output = self.output or output_of(self.journal)
        note = None if self.output or self.store else store_of(self.journal)
        return Workplace(
            choices=Choices.of(
                self.config,
                self.registry,
                provider=self.provider or providers_of(self.journal),
                output=output,
                store=self.store if note is None else self._store(note, output),
                expand=(),
                rewrite=(),
                process=self.process,
                observe=None,
                journal=self.journal,
            ),
            settings=settings_of(
                self.config, name=None, outage_s=None, sidecar=sidecar_of(self.journal) or None
            ),
            submitter=None,
            store_note=note,
            resume="if-possible",
            retry=Retry(),
            cache=None,
            on_event=None,
            transport=self.transport,
            spawn=self._background.spawn,
            processes=self.processes,
        )

    def _store(self, note: StoreNote, output: str | os.PathLike[str]) -> Configured:
        """The store of the last run.

        Raises:
            ConfigError: It cannot be made here.
        """
        resolver = Resolver(registry=self.registry, config=self.config)
        if note.made is not None:
            _log.warning("collect.store_unknown", store=note.made, output=str(output))
        if note.name is None:
            return resolver.store_at(output)
        try:
            return resolver.named_store(note.name, output)
        except (ConfigError, PluginError) as error:
            raise ConfigError(
                f"the run kept its files in the store {note.name!r}"
                f"{f' ({note.where})' if note.where else ''}, which cannot be made here: {error};"
                f" give its options again in [stages.{note.name}] or with --set, or say with"
                " --store where the files are to go"
            ) from error
