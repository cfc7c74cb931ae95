"""`AsyncStudio`: a provider, a place for the files, and the rules of the work."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import attrs

from holodeck_gen._background import Background
from holodeck_gen._config.config import Config
from holodeck_gen._config.settings import OnUncertain, Settings, settings_of
from holodeck_gen._engine.choices import Choices
from holodeck_gen._engine.handle import AsyncHandle
from holodeck_gen._engine.info import StudioInfo, label
from holodeck_gen._engine.map import MapRun, Tasks
from holodeck_gen._engine.workplace import Workplace
from holodeck_gen._jobs.life import Life
from holodeck_gen._jobs.submit import Submitter
from holodeck_gen._journal.journal import Journal, Retry
from holodeck_gen._model.outcome import Failure, Outcome, Result
from holodeck_gen._model.task import Task
from holodeck_gen._plugins.registry import KINDS, Factory, Kind, Registry
from holodeck_gen._results.cache import Cache, CacheReuse
from holodeck_gen.errors import ConfigError, PausedError, TaskError

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Iterable, Sequence
    from types import TracebackType

    import httpx

    from holodeck_gen._event_queue import EventQueue
    from holodeck_gen._journal.place import JournalChoice
    from holodeck_gen._journal.resume import Resume
    from holodeck_gen._model.artifact import Cost
    from holodeck_gen._model.provider import Prepared, Provider
    from holodeck_gen._plugins.resolve import Named
    from holodeck_gen._stages.stages import Expander, Processor, Rewriter
    from holodeck_gen.events import Observer, SlotsSampled


class AsyncStudio:
    """Generates media with one provider or several. Use it with ``async with``.

    Args:
        provider: A name, a configured or ready provider, a factory, or a sequence of these. Of
            one name they are accounts of one provider: each task goes where a slot is free. Of
            different names they are an order: the next one gets what those before it refuse.
            None means the configured one.
        output: A folder, or an address such as ``"s3://BUCKET/PREFIX"``. None without a `store`
            keeps files in a new temporary folder.
        store: A name, object or factory; overrides `output` as the place of finished files.
        name: Template of file names, such as ``"{id}"``.
        journal: What remembers the work: a folder or file, or None to keep it in memory only.
            ``"automatic"`` is ``journal.sqlite3`` in the output folder or, for an address, in a
            folder below the user's state folder that belongs to it; without an output, and
            where anything costs money, a file of its own there (``"invocation"``), which is
            removed when all is done.
        resume: What to do with an earlier run's journal: go on with it (``"if-possible"``),
            only if there is one made under the same settings (``"always"``), or set it aside
            and pay anew (``"never"``).
        retry_failed: Try again what failed in earlier runs.
        retry_uncertain: Submit again where a submit had no answer, or only tasks with these
            keys. May pay twice.
        pay_again: Keys of failed tasks that are tried again, and paid for again where what
            their jobs made can no longer be had.
        cache: A folder in which raw files are kept for other runs that ask for the same.
        cache_reuse: ``"reproducible"``: only where the seed decides what is made; ``"any"``:
            any earlier file for the same request is good enough.
        concurrency: Jobs at once: ``N``, ``"auto"`` or ``"MIN-MAX"``.
        probe: Try the next submit where a slot is probably free, instead of asking after its job
            first; only at providers where refused submits cost nothing. Default False.
        budget: What all jobs of the journal may cost, over all runs: ``"10 CNY"``, a `Cost`, or
            a number in the currency of the prices. No submit passes it; where it is reached,
            the account is paused.
        expand: Names or objects of expanders, in order.
        rewrite: Names or objects of rewriters, in order.
        process: Names of processors, or functions, in order.
        observe: Names of observers, or functions that take an event; see `holodeck_gen.events`.
        sidecar: Whether each picture gets a JSON file beside it that tells how it was made; see
            `Sidecar` and `Artifact.sidecar`.
        on_uncertain: ``"hold"``, or ``"resubmit"``, which may pay twice.
        attempts: Tries of one request in all.
        backoff_s: Seconds before the second try.
        request_timeout_s: Seconds for one submit or poll; None means the provider's figure.
        job_timeout_s: Seconds until a job is overdue; None means the provider's figure.
        outage_s: Seconds without a good answer of the service after which the run pauses.
        on_event: One more observer.
        config: Where unset arguments come from; None means the files and environment.
        registry: Names of providers and stages; None means the installed plugins.
        transport: Replaces the network.

    Raises:
        ConfigError: An argument or the configuration is wrong.
        UnknownNameError: Nothing has one of the names.

    Entering it raises `JournalLockedError` where another process works with the journal,
    `JournalCorruptError` and `JournalVersionError` where it cannot be used.
    """

    def __init__(
        self,
        provider: Named | Sequence[Named] | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        store: Named | None = None,
        name: str | None = None,
        journal: Journal | JournalChoice = "automatic",
        resume: Resume | None = None,
        retry_failed: bool = False,
        retry_uncertain: bool | Iterable[str] = False,
        pay_again: Iterable[str] = (),
        cache: str | os.PathLike[str] | None = None,
        cache_reuse: CacheReuse | None = None,
        concurrency: int | str | None = None,
        probe: bool | None = None,
        budget: Cost | str | float | None = None,
        expand: Sequence[str | Expander] | None = None,
        rewrite: Sequence[str | Rewriter] | None = None,
        process: Sequence[str | Processor] | None = None,
        observe: Sequence[str | Observer] | None = None,
        sidecar: bool | None = None,
        on_uncertain: OnUncertain | None = None,
        attempts: int | None = None,
        backoff_s: float | None = None,
        request_timeout_s: float | None = None,
        job_timeout_s: float | None = None,
        outage_s: float | None = None,
        on_event: Observer | None = None,
        config: Config | None = None,
        registry: Registry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        config = Config.load() if config is None else config
        some = isinstance(retry_uncertain, bool)
        self._background = Background()
        self._registry = registry or Registry()
        self._work = Workplace(
            choices=Choices.of(
                config,
                self._registry,
                provider=provider,
                output=output,
                store=store,
                expand=expand,
                rewrite=rewrite,
                process=process,
                observe=observe,
                journal=journal,
            ),
            settings=settings_of(
                config,
                concurrency=concurrency,
                probe=probe,
                budget=budget,
                on_uncertain=on_uncertain,
                attempts=attempts,
                backoff_s=backoff_s,
                request_timeout_s=request_timeout_s,
                job_timeout_s=job_timeout_s,
                outage_s=outage_s,
                sidecar=sidecar,
                name=name,
            ),
            submitter=_submitter,
            resume=resume or config.get("resume", "if-possible"),
            retry=Retry(
                failed=retry_failed,
                uncertain=bool(retry_uncertain) if some else frozenset(retry_uncertain),  # type: ignore[arg-type]
                pay_again=frozenset([pay_again] if isinstance(pay_again, str) else pay_again),
            ),
            cache=_cache(cache or config.get("cache"), cache_reuse or config.get("cache_reuse")),
            on_event=on_event,
            transport=transport,
            spawn=self._background.spawn,
        )
        self._opened = False

    def register(
        self, kind: Kind, name: str, factory: Factory, *, options: type | None = None
    ) -> None:
        """Register a provider's factory from code, for tasks that name it.

        Raises:
            ConfigError: It is of a stage; stages are looked up when the studio is made.
            DuplicateNameError: The name is taken.
        """
        if kind in KINDS and kind != "provider":
            raise ConfigError(
                f"the {kind} {name!r} comes too late for this studio: register it with a"
                " holodeck_gen.Registry and give that to the studio as registry=…"
            )
        self._registry.register(kind, name, factory, options=options)

    async def __aenter__(self) -> Self:
        if self._opened:
            raise ConfigError("a studio is used once; make another")
        self._opened = True
        self._maps: set[MapRun] = set()
        self._singles = itertools.count()
        self._groups = itertools.count()
        self._stopped = asyncio.Event()
        await self._work.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        await self._background.cancel()
        await self._work.close()

    async def generate(self, task: Task | str, **fields: Any) -> Result:
        """Run one task and return its result.

        Args:
            task: A task, or a prompt with the fields of `Task` as keyword arguments.

        Raises:
            TaskError: It ended without a result.
        """
        outcome = await self.submit(task, **fields).outcome()
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    def submit(self, task: Task | str, **fields: Any) -> AsyncHandle:
        """Begin one task and return its handle.

        Raises:
            ConfigError: The studio is not open, or was stopped.
        """
        if not self._opened or self._stopped.is_set():
            raise ConfigError("this studio is not open, or was stopped; make another")
        return self._handle(Life(index=next(self._singles), task=_task(task, fields)))

    async def go_on(self, key: str) -> AsyncHandle:
        """Go on with one task of the journal and return its handle.

        Args:
            key: Its id, or what `AsyncHandle.id` said.

        Raises:
            UnknownNameError: The journal has no such task.
        """
        entry = await self._work.journal.reopen(key)
        return self._handle(Life(index=entry.index, task=entry.task, entry=entry))

    def _handle(self, life: Life) -> AsyncHandle:
        engine = self._work.engine
        return AsyncHandle(engine=engine, life=life, run=self._background.spawn(engine.run(life)))

    async def map(
        self,
        tasks: Tasks,
        *,
        ordered: bool = False,
        resumed: bool = True,
        limit: int | None = None,
    ) -> AsyncGenerator[Outcome, None]:
        """Run many tasks; yield outcomes as they complete.

        Args:
            tasks: Tasks or prompts, read lazily; may be asynchronous.
            ordered: Yield in input order instead.
            resumed: Yield the results that an earlier run made, too.
            limit: How many tasks to begin at most, not counting what earlier runs
                finished.

        Raises:
            PausedError: The account is paused; raised after all that was begun is delivered.
        """
        run = MapRun(
            engine=self._work.engine,
            group=f"map {next(self._groups)}",
            accounts=self._work.accounts,
            tasks=tasks,
            expanders=self._work.expanders,
            ordered=ordered,
            window=self._window,
            undelivered=self._work.settings.undelivered,
            spawn=self._background.spawn,
            stopped=self._stopped,
            resumed=resumed,
            limit=limit,
        )
        self._maps.add(run)
        try:
            async with aclosing(run.outcomes()) as outcomes:
                async for outcome in outcomes:
                    yield outcome
        finally:
            self._maps.discard(run)

    async def generate_all(self, tasks: Iterable[Task | str]) -> list[Outcome]:
        """Run tasks that fit in memory; return their outcomes in input order.

        Where the account is paused on the way, the rest are failures with state ``held``;
        where the studio is stopped, ``cancelled``.
        """
        given = [_task(task, {}) for task in tasks]
        outcomes: list[Outcome] = []
        try:
            async with aclosing(self.map(given, ordered=True)) as run:
                async for outcome in run:
                    outcomes.append(outcome)  # noqa: PERF401 -- kept when the run is paused
        except PausedError as pause:
            begun = len(outcomes)
            outcomes += [
                self._work.engine.outcomes.failure(Life(index=i, task=task), pause)
                for i, task in enumerate(given[begun:], start=begun)
            ]
        if self._stopped.is_set():
            begun = len(outcomes)
            outcomes += [
                self._work.engine.outcomes.cancelled(Life(index=i, task=task))
                for i, task in enumerate(given[begun:], start=begun)
            ]
        return outcomes

    async def stop(self, *, finish_jobs: bool = False) -> None:
        """Begin nothing more; requests in flight finish, then `map` ends.

        Args:
            finish_jobs: Let tasks whose job was submitted run to their end instead of leaving
                the job to be collected later.
        """
        self._stopped.set()
        for run in self._maps:
            run.stop(finish_jobs=finish_jobs)

    def check(self, task: Task) -> Prepared:
        """Prepare `task` without running it: all that can be checked before any cost.

        Raises:
            InvalidTaskError: It cannot be run.
        """
        self._work.settings.name.check(task)
        return self._work.engine.drafts.check(task)

    def price(self, task: Task) -> Cost | None:
        """What `task` will cost: by the table of prices, else by the provider; else None.

        Rewriters and expanders are not asked, so what they change is not in it.

        Raises:
            InvalidTaskError: It cannot be run.
            ConfigError: There is a budget, and the price is unknown or of another currency.
        """
        price, name = self._work.engine.drafts.price(task)
        self._work.budget.check(price, what=name)
        return price

    def describe(self, task: Task | None = None) -> StudioInfo:
        """What is about to be used.

        Args:
            task: One of those to come, because job slots may differ between models.
        """
        pools = self._work.pools
        free = all(each.billing == "free" for pool in pools for each in pool.members)
        return StudioInfo(
            provider=", then ".join(label(pool) for pool in pools),
            billing="free" if free else "paid",
            jobs_at_once=sum(self._start(each, task or Task("-")) for each in pools[0].members),
            journal=self._work.journal.path,
            store=self._work.kept_at,
            changed=self._work.journal.changed,
            spending=self._work.budget.spending,
        )

    def slots(self) -> list[SlotsSampled]:
        """How job slots are used now, for each account and quota in use."""
        return self._work.accounts.samples()

    def _start(self, provider: Provider, task: Task) -> int:
        try:
            return self._work.accounts.start(provider, task)
        except TaskError:
            # It does not know this task's model; its usual quota says enough.
            return self._work.settings.concurrency.start(provider.limits)

    def _window(self) -> int:
        return max(self._work.settings.window, 2 * self._work.accounts.ceiling)


def _task(task: Task | str, fields: dict[str, Any]) -> Task:
    if isinstance(task, str):
        return Task(task, **fields)
    return attrs.evolve(task, **fields) if fields else task


def _cache(folder: str | os.PathLike[str] | None, reuse: CacheReuse | None) -> Cache | None:
    if folder is None:
        return None
    return Cache(folder=Path(folder).expanduser(), reuse=reuse or "reproducible")


def _submitter(journal: Journal, settings: Settings, events: EventQueue) -> Submitter:
    return Submitter(journal=journal, settings=settings, events=events)
