"""`AsyncStudio`: a provider, a place for the files, and the rules of the work."""

from __future__ import annotations

import asyncio
import itertools
import tempfile
import time
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import attrs

from holodeck_gen._accounts import Accounts
from holodeck_gen._config import Config
from holodeck_gen._engine import Engine
from holodeck_gen._fetch import Fetcher
from holodeck_gen._finish import Finisher
from holodeck_gen._handle import AsyncHandle
from holodeck_gen._http import LazyClient
from holodeck_gen._journal import Journal, MemoryJournal
from holodeck_gen._map import MapRun, Tasks
from holodeck_gen._names import NameTemplate
from holodeck_gen._outcome import Failure, Outcome, Result
from holodeck_gen._part import Life, PartRunner
from holodeck_gen._registry import Factory, Kind, Registry
from holodeck_gen._resolve import Maker, Named, Resolver
from holodeck_gen._settings import Settings
from holodeck_gen._task import Task
from holodeck_gen.errors import ConfigError, PausedError
from holodeck_gen.events import EventQueue, Observer
from holodeck_gen.files import check_writable

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Sequence
    from types import TracebackType

    import httpx

    from holodeck_gen._provider import Prepared, Provider
    from holodeck_gen._stages import Expander, Processor, Rewriter

#: Below the output folder; holds what is fetched and not yet stored.
SPOOL = ".spool"


@attrs.frozen(kw_only=True)
class StudioInfo:
    """What a studio is about to do, for the first line of a run.

    Attributes:
        provider: The providers' names.
        billing: ``"free"`` only where every provider is.
        jobs_at_once: Job slots to begin with, over all providers.
    """

    provider: str
    billing: Literal["paid", "free"]
    jobs_at_once: int


class AsyncStudio:
    """Generates media with one provider or a pool of them. Use it with ``async with``.

    Args:
        provider: A name, a configured or ready provider, a factory, or a sequence of these (a
            pool: each task goes to the one with most room). None means the configured one.
        output: A folder. None without a `store` keeps files in a new temporary folder.
        store: A name, object or factory; overrides `output` as the place of finished files.
        name: Template of file names, such as ``"{id}"``.
        journal: What remembers paid work; None opts out of that.
        concurrency: Jobs at once: ``N``, ``"auto"`` or ``"MIN-MAX"``.
        expand: Names or objects of expanders, in order.
        rewrite: Names or objects of rewriters, in order.
        process: Names of processors, or functions, in order.
        on_uncertain: ``"hold"``, or ``"resubmit"``, which may pay twice.
        attempts: Tries of one request in all.
        backoff_s: Seconds before the second try.
        request_timeout_s: Seconds for one submit or poll; None means the provider's figure.
        job_timeout_s: Seconds until a job is overdue; None means the provider's figure.
        on_event: Called with every event, in a thread of its own.
        config: Where unset arguments come from; None means the files and environment.
        registry: Names of providers and stages; None means the installed plugins.
        transport: Replaces the network.

    Raises:
        ConfigError: An argument or the configuration is wrong.
        UnknownNameError: Nothing has one of the names.
    """

    def __init__(
        self,
        provider: Named | Sequence[Named] | None = None,
        *,
        output: str | os.PathLike[str] | None = None,
        store: Named | None = None,
        name: str | None = None,
        journal: Journal | Literal["automatic"] | None = "automatic",
        concurrency: int | str | None = None,
        expand: Sequence[str | Expander] | None = None,
        rewrite: Sequence[str | Rewriter] | None = None,
        process: Sequence[str | Processor] | None = None,
        on_uncertain: Literal["hold", "resubmit"] | None = None,
        attempts: int | None = None,
        backoff_s: float | None = None,
        request_timeout_s: float | None = None,
        job_timeout_s: float | None = None,
        on_event: Observer | None = None,
        config: Config | None = None,
        registry: Registry | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._config = Config.load() if config is None else config
        self._registry = registry or Registry()
        self._resolver = Resolver(registry=self._registry, config=self._config)
        self.settings = self._settings(
            concurrency=concurrency,
            on_uncertain=on_uncertain,
            attempts=attempts,
            backoff_s=backoff_s,
            request_timeout_s=request_timeout_s,
            job_timeout_s=job_timeout_s,
            name=name,
        )
        self._journal_argument = journal
        self._providers = self._resolver.providers(provider)
        self._expand = self._resolver.stages("expander", expand)
        self._rewrite = self._resolver.stages("rewriter", rewrite)
        self._process = self._resolver.stages("processor", process)
        self._output = self._config.get("output") if output is None else output
        self._store = self._resolver.store(store, self._output)
        self._observers = [on_event] if on_event else []
        self._http = LazyClient(transport)
        self._opened = False

    def register(
        self, kind: Kind, name: str, factory: Factory, *, options: type | None = None
    ) -> None:
        """Register a factory from code, for tasks and stages that name it.

        Raises:
            ConfigError, DuplicateNameError: As `Registry.register`.
        """
        self._registry.register(kind, name, factory, options=options)

    async def __aenter__(self) -> Self:
        if self._opened:
            raise ConfigError("a studio is used once; make another")
        self._opened = True
        self._maker = Maker(http=self._http, environ=self._config.environ, wall_clock=time.time)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._maps: set[MapRun] = set()
        self._singles = itertools.count()
        self._stopped = asyncio.Event()
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self._http.aclose)
            undo.push_async_callback(self._maker.aclose)
            self._pool = [self._maker.provider(each) for each in self._providers]
            self._by_name = {each.name: each for each in self._pool}
            self._expanders = self._maker.stages(self._expand)
            spool = await asyncio.to_thread(self._prepare_folders)
            self.events = EventQueue([*self._observers, *self._resolver.observers()])
            self._journal = self._open_journal()
            self._accounts = Accounts(concurrency=self.settings.concurrency)
            self._engine = self._make_engine(spool)
            undo.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.stop()
        # A task that ends may leave one behind that watches its slot, so look again.
        while left := [task for task in self._tasks if not task.done()]:
            for task in left:
                task.cancel()
            await asyncio.wait(left)
        await self._maker.aclose()
        await self._journal.aclose()
        await self._http.aclose()
        await asyncio.to_thread(self.events.close)
        await asyncio.to_thread(_remove_if_empty, self._spool)

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
        task = _task(task, fields)
        life = Life(index=next(self._singles), task=task)
        return AsyncHandle(engine=self._engine, life=life, run=self._spawn(self._engine.run(life)))

    async def map(self, tasks: Tasks, *, ordered: bool = False) -> AsyncGenerator[Outcome, None]:
        """Run many tasks; yield outcomes as they complete.

        Args:
            tasks: Tasks or prompts, read lazily; may be asynchronous.
            ordered: Yield in input order instead.

        Raises:
            PausedError: The account is paused; raised after all that was begun is delivered.
        """
        run = MapRun(
            engine=self._engine,
            accounts=self._accounts,
            tasks=tasks,
            expanders=self._expanders,
            ordered=ordered,
            window=self._window,
            undelivered=self.settings.undelivered,
            spawn=self._spawn,
            stopped=self._stopped,
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
                self._engine.failure(Life(index=i, task=task), pause)
                for i, task in enumerate(given[begun:], start=begun)
            ]
        if self._stopped.is_set():
            begun = len(outcomes)
            outcomes += [
                self._engine.cancelled(Life(index=i, task=task))
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
        self.settings.name.check(task)
        return self._engine.prepare(task, self._choose(task))

    def describe(self) -> StudioInfo:
        """What is about to be used."""
        free = all(provider.billing == "free" for provider in self._pool)
        return StudioInfo(
            provider=" + ".join(provider.name for provider in self._pool),
            billing="free" if free else "paid",
            jobs_at_once=sum(self.settings.concurrency.start(each.limits) for each in self._pool),
        )

    def _settings(self, *, name: str | None, **arguments: Any) -> Settings:
        known = {
            key: self._config.get(key) if given is None else given
            for key, given in arguments.items()
        }
        template = NameTemplate(self._config.get("name") if name is None else name)
        try:
            return Settings(name=template, **{k: v for k, v in known.items() if v is not None})
        except (TypeError, ValueError) as error:
            raise ConfigError(str(error.args[0])) from error

    def _make_engine(self, spool: Path) -> Engine:
        parts = PartRunner(
            accounts=self._accounts,
            journal=self._journal,
            fetcher=Fetcher(
                folder=spool,
                http=self._http,
                downloads=self.settings.downloads,
                policy=self.settings.submit_policy(),
            ),
            finisher=Finisher(
                processors=self._maker.stages(self._process),
                store=self._maker.store(self._store),
                template=self.settings.name,
                journal=self._journal,
                timeout_s=self.settings.stage_timeout_s,
            ),
            settings=self.settings,
            events=self.events,
            background=self._spawn,
        )
        return Engine(
            choose=self._choose,
            rewriters=self._maker.stages(self._rewrite),
            parts=parts,
            journal=self._journal,
            settings=self.settings,
            events=self.events,
        )

    def _open_journal(self) -> Journal:
        if self._journal_argument not in ("automatic", None):
            return self._journal_argument  # type: ignore[return-value]
        for provider in self._pool:
            self._check_journal(provider)
        return MemoryJournal()

    def _check_journal(self, provider: Provider) -> None:
        if provider.billing == "free" or self._journal_argument != "automatic":
            return
        if self._config.get("journal") != "none":
            raise ConfigError(
                f"{provider.name} costs money, and this release has no durable journal yet: after"
                " a crash nothing would know of its jobs. To accept that, pass journal=None"
                " (on the command line: --set journal=none)"
            )

    def _prepare_folders(self) -> Path:
        if self._output is None:
            folder = Path(tempfile.mkdtemp(prefix="holodeck-gen-"))
            self._store = self._store or self._resolver.store(None, folder)
        elif "://" in str(self._output):
            folder = Path(tempfile.mkdtemp(prefix="holodeck-gen-"))
        else:
            folder = Path(self._output).expanduser()
            check_writable(folder)
        self._spool = folder / SPOOL
        return self._spool

    def _choose(self, task: Task) -> Provider:
        if task.provider is not None:
            if task.provider not in self._by_name:
                made = self._maker.provider(self._resolver.provider(task.provider))
                self._check_journal(made)
                self._by_name[task.provider] = made
            return self._by_name[task.provider]
        if len(self._pool) == 1:
            return self._pool[0]
        return max(self._pool, key=lambda provider: self._room_at(provider, task))

    def _room_at(self, provider: Provider, task: Task) -> int:
        gate = self._accounts.of(provider).gate(provider, task)
        return gate.ceiling - gate.held - gate.waiting

    def _window(self) -> int:
        return max(self.settings.window, 2 * self._accounts.ceiling)

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _task(task: Task | str, fields: dict[str, Any]) -> Task:
    if isinstance(task, str):
        return Task(task, **fields)
    return attrs.evolve(task, **fields) if fields else task


def _remove_if_empty(folder: Path) -> None:
    try:
        folder.rmdir()
    except OSError:
        # Missing, or it keeps what could not be stored.
        return
