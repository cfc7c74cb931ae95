"""Everything that work needs, opened and closed together."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._accounts.accounts import Accounts
from holodeck_gen._config.settings import Settings
from holodeck_gen._engine.affinity import Affinities
from holodeck_gen._engine.choices import Choices
from holodeck_gen._engine.draft import Drafts
from holodeck_gen._engine.engine import Engine
from holodeck_gen._engine.outcomes import Outcomes
from holodeck_gen._engine.route import Router
from holodeck_gen._event_queue import EventQueue
from holodeck_gen._http.clients import Clients
from holodeck_gen._jobs.job import Submits
from holodeck_gen._jobs.part import PartRunner
from holodeck_gen._journal.audit import owes
from holodeck_gen._journal.journal import Journal, Plan, Retry
from holodeck_gen._journal.place import Place, choose_place
from holodeck_gen._journal.resume import Resume, begin
from holodeck_gen._journal.sqlite import SqliteJournal
from holodeck_gen._model.money import Spending, as_text
from holodeck_gen._model.provider import Provider
from holodeck_gen._model.remote import is_remote
from holodeck_gen._plugins.registry import Configured
from holodeck_gen._plugins.resolve import Maker, Pool
from holodeck_gen._plugins.store import StoreNote, check_store
from holodeck_gen._results.cache import Cache
from holodeck_gen._results.fetch import Fetcher
from holodeck_gen._results.finish import Finisher
from holodeck_gen._results.shelf import Shelf
from holodeck_gen._seats.seating import Seating, left_in, steady_clock
from holodeck_gen._spending.budget import Budget
from holodeck_gen._spending.prices import Prices
from holodeck_gen._stages.in_processes import Processes
from holodeck_gen._stages.threads import CHECKS, StageThreads
from holodeck_gen.errors import ConfigError, GenerationError, PausedError
from holodeck_gen.events import Observer

if TYPE_CHECKING:
    import httpx

    from holodeck_gen._model.provider import Provider
    from holodeck_gen._model.task import Task


@attrs.define(kw_only=True, eq=False)
class Workplace:
    """Providers, stages, folders and a journal, chosen before and opened here.

    Args:
        choices: What it is made of.
        settings: The rules of the work.
        submitter: Makes what submits; None where only what is paid for is collected.
        resume: What to do with an earlier run's journal.
        retry: What of it to try again.
        cache: Where files of earlier generations are kept, if anywhere.
        processes: Where processors run that are named; None means in threads.
    """

    choices: Choices
    settings: Settings
    submitter: Callable[[Journal, Settings, EventQueue], Submits] | None
    #: Where a store must be that was chosen by what a journal says; None means anywhere.
    store_note: StoreNote | None = None
    resume: Resume
    retry: Retry
    cache: Cache | None
    on_event: Observer | None
    transport: httpx.AsyncBaseTransport | None
    #: Starts what is waited for when the work ends.
    spawn: Callable[[Coroutine[Any, Any, Any]], asyncio.Task[Any]]
    processes: Processes | None = None
    place: Place = attrs.field(init=False)
    #: The studio's providers, in their order.
    pools: list[Pool] = attrs.field(init=False)
    expanders: Sequence[Any] = attrs.field(init=False)
    journal: Journal = attrs.field(init=False)
    accounts: Accounts = attrs.field(init=False)
    prices: Prices = attrs.field(init=False)
    budget: Budget = attrs.field(init=False)
    seating: Seating = attrs.field(init=False)
    events: EventQueue = attrs.field(init=False)
    engine: Engine = attrs.field(init=False)
    #: Where the store keeps files, in its own words, if it has any.
    kept_at: str | None = attrs.field(init=False)
    #: Those that only tasks name.
    _named: dict[str, Pool] = attrs.field(factory=dict, init=False)
    _maker: Maker = attrs.field(init=False)
    _clients: Clients = attrs.field(init=False)
    _checks: StageThreads = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.prices = Prices.of(self.choices.config)
        self._clients = Clients(self.transport)
        self._checks = StageThreads(places=CHECKS)

    async def open(self) -> None:
        """Make providers and stages, take the journal, and go on with what it holds.

        Raises:
            JournalError: The journal cannot be used.
            StorageError: A folder cannot be written.
            ConfigError: A provider or stage cannot be made, or an earlier run stands against it.
        """
        self._maker = Maker(
            http=self._clients.api, environ=self.choices.config.environ, wall_clock=time.time
        )
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._clients.aclose)
            undo.push_async_callback(self._maker.aclose)
            self.pools = self._maker.pools(self.choices.providers)
            self.expanders = self._maker.stages(self.choices.stages["expander"])
            rewriters = self._maker.stages(self.choices.stages["rewriter"])
            processors = self._maker.stages(self.choices.stages["processor"])
            self.events = EventQueue(steady_clock())
            undo.push_async_callback(asyncio.to_thread, self.events.close)
            self._observe()
            self.place = await asyncio.to_thread(self._choose_place)
            store = self._maker.store(self.choices.store_at(self.place.output))
            self.kept_at = StoreNote.of(None, store).where
            if self.store_note:
                self.store_note.expect(store)
            if self.submitter:
                await self._check_store(store)
            self.journal = await asyncio.to_thread(self._open_journal, store)
            undo.push_async_callback(self.journal.aclose)
            limit = self.settings.budget
            before = await self.journal.spending() if limit else Spending()
            self.budget = Budget(limit=limit, before=before)
            self.seating = await self._take_seats()
            undo.push_async_callback(asyncio.to_thread, self.seating.close)
            self.accounts = Accounts(
                concurrency=self.settings.concurrency,
                probe=self.settings.probe,
                seating=self.seating,
                outage_s=self.settings.outage_s,
                on_pause=self.journal.note_pause,
                events=self.events,
            )
            parts = self._parts(store, processors)
            self.engine = Engine(
                router=Router(
                    accounts=self.accounts,
                    pools=self.choose,
                    affinities=Affinities(journal=self.journal),
                ),
                drafts=Drafts(pools=self.choose, prices=self.prices),
                choose_again=self.choose_again,
                rewriters=rewriters,
                parts=parts,
                journal=self.journal,
                outcomes=Outcomes(journal=self.journal),
                settings=self.settings,
                events=self.events,
                retry=self.retry,
                spawn=self.spawn,
            )
            if self.submitter:
                self.engine.adopt(await self.journal.in_work(self.retry))
            undo.pop_all()

    async def close(self) -> None:
        """Let go of everything; what runs has ended before."""
        self.accounts.close()
        await asyncio.to_thread(self.engine.parts.finisher.close)
        await asyncio.to_thread(self._checks.close)
        await self._maker.aclose()
        # While the journal is still ours: who owns it next takes over what is left.
        await asyncio.to_thread(self.seating.close)
        await self.journal.aclose()
        await self._clients.aclose()
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(self.place.clear, finished=self.journal.finished)

    def choose(self, task: Task) -> Sequence[Pool]:
        """The providers for a new task, in their order.

        Raises:
            UnknownNameError, ConfigError: There is none of the task's name, or it cannot be made.
        """
        name = task.provider
        if name is None:
            return self.pools
        for pool in self.pools:
            if name in (pool.name, pool.members[0].name):
                return [pool]
        if name not in self._named:
            made = self.choices.pool(name, self._maker)
            for each in made.members:
                self._check_journal(each)
            self._named[name] = made
        return [self._named[name]]

    def choose_again(self, task: Task, plan: Plan) -> Provider:
        """The provider and account that a task was put to in an earlier run.

        Raises:
            PausedError: They are not part of this run.
        """
        for pool in (*self.choose(task), *self.pools):
            for provider in pool.members:
                if (provider.name, provider.account_key()) == (plan.provider, plan.account):
                    return provider
        raise PausedError(
            f"its job belongs to another account of {plan.provider} ({plan.account}) than this"
            " run has; run it with that account to get what is paid for",
            reason="the account has changed",
        )

    def _observe(self) -> None:
        """Let everybody who wants to know have the events."""
        if self.on_event is not None:
            self.events.add("on_event", self.on_event)
        for name, observer in self.choices.resolver.observers():
            self.events.add(name, observer)
        for name, resolved in self.choices.stages["observer"]:
            observer = self._maker.observer(resolved)
            # What the caller handed in ready is the caller's, and may serve other studios.
            ours = isinstance(resolved, Configured)
            self.events.add(
                name, observer, close=getattr(observer, "close", None) if ours else None
            )

    async def _take_seats(self) -> Seating:
        """Learn which slots are taken, before anything is submitted."""
        seating = Seating(settings=self.settings, clock=steady_clock())
        # Only of a journal that was opened here is it certain that nobody else works with it.
        if self.journal is not self.choices.journal and isinstance(self.journal, SqliteJournal):
            rows = self.journal.ledger.rows
            seating.journal = rows.name
            seating.left = await asyncio.to_thread(left_in, rows)
        for pool in self.pools:
            for provider in pool.members:
                await asyncio.to_thread(seating.account, provider)
        return seating

    def _choose_place(self) -> Place:
        chosen = self.choices.journal
        choice = chosen if isinstance(chosen, str | os.PathLike) else None
        paid = any(each.billing != "free" for pool in self.pools for each in pool.members)
        return choose_place(choice, self.choices.output, paid=paid)

    async def _check_store(self, store: Any) -> None:
        try:
            await check_store(store)
        except GenerationError as error:
            journal = self.place.journal
            if journal is not None and await asyncio.to_thread(owes, journal):
                # Its addresses expire, whatever becomes of the store.
                error.add_note(
                    "what earlier runs have paid for can be fetched meanwhile, as far as the"
                    f" spool: 'holodeck-gen collect {journal.parent}'"
                )
            raise

    def _open_journal(self, store: Any) -> Journal:
        chosen = self.choices.journal
        if chosen is not None and not isinstance(chosen, str | os.PathLike):
            return chosen
        if self.place.journal is None:
            return SqliteJournal.private()
        journal = begin(
            self.place.journal,
            resume=self.resume,
            settings=(
                self.choices.fingerprint(self.pools, self.settings, store)
                if self.submitter
                else None
            ),
            network=bool(self.choices.config.get("network_journal")),
        )
        if self.submitter:
            # For whoever collects what this run leaves behind.
            address = self.choices.output if is_remote(self.choices.output) else None
            output = self.place.output.absolute()
            # A folder that holds its own journal can be moved.
            here = output.resolve() == self.place.journal.parent.resolve()
            local = "." if here else str(output)
            journal.note("output", address or local)
            placed_by = getattr(store, "placed_by", None)
            if placed_by != journal.ledger.rows.meta("placed_by"):
                journal.note("placed_by", placed_by)
            journal.note("budget", self.settings.budget and as_text(self.settings.budget))
        return journal

    def _placed_by(self) -> str | None:
        """By which metadata tasks name their own files, where their store is not here."""
        if self.submitter is not None or not isinstance(self.journal, SqliteJournal):
            return None
        name: str | None = self.journal.ledger.rows.meta("placed_by")
        return name

    def _check_journal(self, provider: Provider) -> None:
        """A task may name a paid provider where the studio's own cost nothing."""
        forgets = isinstance(self.journal, SqliteJournal) and self.place.journal is None
        if provider.billing != "free" and forgets and self.choices.journal is not None:
            raise ConfigError(
                f"{provider.name} costs money and this studio has no journal on disk; give it an"
                " output folder, journal=PATH, or, to accept that a crash loses jobs, journal=None"
            )

    def _parts(self, store: Any, processors: Sequence[Any]) -> PartRunner:
        workers = None
        if self.processes is not None:
            stages = self.choices.stages["processor"]
            processors, workers = self.processes.divide(stages, processors, self.choices.config)
        return PartRunner(
            accounts=self.accounts,
            journal=self.journal,
            fetcher=Fetcher(
                folder=self.place.spool,
                clients=self._clients,
                downloads=self.settings.downloads,
                policy=self.settings.submit_policy(),
                on_full=self.journal.disk_full,
                checks=self._checks,
            ),
            finisher=Finisher(
                processors=processors,
                shelf=Shelf(
                    store=store,
                    template=self.settings.name,
                    journal=self.journal,
                    timeout_s=self.settings.stage_timeout_s,
                    placed_by=self._placed_by(),
                ),
                checks=self._checks,
                timeout_s=self.settings.stage_timeout_s,
                processes=workers,
            ),
            submitter=(
                self.submitter(self.journal, self.settings, self.events) if self.submitter else None
            ),
            cache=self.cache,
            prices=self.prices,
            budget=self.budget,
            settings=self.settings,
            events=self.events,
            background=self.spawn,
        )
