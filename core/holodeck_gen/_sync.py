"""`Studio`: the same as `AsyncStudio` for code without an event loop of its own."""

from __future__ import annotations

import asyncio
import os
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self, TypeVar

import attrs

from holodeck_gen._engine.handle import AsyncHandle, Progress
from holodeck_gen._studio import AsyncStudio
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Iterator, Sequence
    from concurrent.futures import Future
    from types import TracebackType

    import httpx

    from holodeck_gen._config.config import Config
    from holodeck_gen._config.settings import OnUncertain
    from holodeck_gen._engine.info import StudioInfo
    from holodeck_gen._engine.map import Tasks
    from holodeck_gen._journal.journal import Journal
    from holodeck_gen._journal.place import JournalChoice
    from holodeck_gen._journal.resume import Resume
    from holodeck_gen._model.artifact import Cost
    from holodeck_gen._model.outcome import Outcome, Result
    from holodeck_gen._model.provider import Prepared
    from holodeck_gen._model.task import Task
    from holodeck_gen._plugins.registry import Factory, Kind, Registry
    from holodeck_gen._plugins.resolve import Named
    from holodeck_gen._results.cache import CacheReuse
    from holodeck_gen._stages.stages import Expander, Processor, Rewriter
    from holodeck_gen.events import Observer, SlotsSampled

T = TypeVar("T")


class Studio:
    """Generates media from plain threads, notebooks and running loops alike.

    It runs a private event loop in a thread of its own; many may exist at once, and one may
    be shared by threads. Arguments and errors are those of `AsyncStudio`.
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
        self._studio = AsyncStudio(
            provider,
            output=output,
            store=store,
            name=name,
            journal=journal,
            resume=resume,
            retry_failed=retry_failed,
            retry_uncertain=retry_uncertain,
            pay_again=pay_again,
            cache=cache,
            cache_reuse=cache_reuse,
            concurrency=concurrency,
            probe=probe,
            budget=budget,
            expand=expand,
            rewrite=rewrite,
            process=process,
            observe=observe,
            sidecar=sidecar,
            on_uncertain=on_uncertain,
            attempts=attempts,
            backoff_s=backoff_s,
            request_timeout_s=request_timeout_s,
            job_timeout_s=job_timeout_s,
            outage_s=outage_s,
            on_event=on_event,
            config=config,
            registry=registry,
            transport=transport,
        )
        self._loop: _LoopThread | None = None

    def register(
        self, kind: Kind, name: str, factory: Factory, *, options: type | None = None
    ) -> None:
        """Register a factory from code. As `AsyncStudio.register`."""
        self._studio.register(kind, name, factory, options=options)

    def __enter__(self) -> Self:
        self._loop = _LoopThread()
        try:
            self._call(self._studio.__aenter__())
        except BaseException:
            self._loop.close()
            self._loop = None
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop gracefully and let go of thread, loop and connections. May be called twice."""
        if self._loop is None:
            return
        try:
            self._call(self._studio.__aexit__(None, None, None))
        finally:
            self._loop.close()
            self._loop = None

    def generate(self, task: Task | str, **fields: Any) -> Result:
        """Run one task and return its result. As `AsyncStudio.generate`."""
        return self._call(self._studio.generate(task, **fields))

    def submit(self, task: Task | str, **fields: Any) -> Handle:
        """Begin one task and return its handle, once the journal knows it."""

        async def begin() -> AsyncHandle:
            handle = self._studio.submit(task, **fields)
            await handle.admitted()
            return handle

        return Handle(inner=self._call(begin()), studio=self)

    def map(
        self,
        tasks: Tasks,
        *,
        ordered: bool = False,
        resumed: bool = True,
        limit: int | None = None,
    ) -> Iterator[Outcome]:
        """Run many tasks; yield outcomes as they complete. As `AsyncStudio.map`.

        The iterable is read in another thread, so that slots stay busy while the caller is.
        """
        outcomes = self._studio.map(tasks, ordered=ordered, resumed=resumed, limit=limit)
        turn = asyncio.Lock()
        try:
            while True:
                try:
                    outcome = self._call(_next(outcomes, turn))
                except StopAsyncIteration:
                    return
                yield outcome
        finally:
            # The generator is left by break, by an exception or at the end.
            if self._loop is not None:
                self._call(_close(outcomes, turn))

    def generate_all(self, tasks: Iterable[Task | str]) -> list[Outcome]:
        """Run tasks; return outcomes in input order. As `AsyncStudio.generate_all`."""
        return self._call(self._studio.generate_all(tasks))

    def stop(self, *, finish_jobs: bool = False) -> None:
        """Begin nothing more; from any thread. As `AsyncStudio.stop`."""
        self._call(self._studio.stop(finish_jobs=finish_jobs))

    def check(self, task: Task) -> Prepared:
        """All that can be checked before any cost. As `AsyncStudio.check`."""

        async def prepare() -> Prepared:
            return self._studio.check(task)

        return self._call(prepare())

    def price(self, task: Task) -> Cost | None:
        """What a task will cost, if known. As `AsyncStudio.price`."""

        async def ask() -> Cost | None:
            return self._studio.price(task)

        return self._call(ask())

    def slots(self) -> list[SlotsSampled]:
        """How job slots are used now. As `AsyncStudio.slots`."""

        async def ask() -> list[SlotsSampled]:
            return self._studio.slots()

        return self._call(ask())

    def describe(self) -> StudioInfo:
        """What is about to be used."""
        return self._studio.describe()

    def _call(self, work: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            if asyncio.iscoroutine(work):
                work.close()
            raise ConfigError(
                "this studio is not open; use it inside 'with Studio(...) as studio:'"
            )
        return self._loop.call(work)


@attrs.frozen(kw_only=True)
class Handle:
    """A begun task, for plain threads. As `AsyncHandle`."""

    inner: AsyncHandle
    studio: Studio

    @property
    def id(self) -> str:
        """The task's id or key: what `attach` takes in any process."""
        return self.inner.id

    def status(self) -> Progress:
        """How it stands; asks nobody."""
        return self.inner.status()

    def result(self, *, timeout: float | None = None) -> Result:
        """Wait for the result, for at most `timeout` seconds.

        Raises:
            TaskError: The task ended without one.
            TimeoutError: It is not there yet.
        """
        return self.studio._call(self.inner.result(timeout=timeout))

    def cancel(self) -> None:
        """Stop the task, and its job where the provider can."""
        self.studio._call(self.inner.cancel())


class _LoopThread:
    """A running event loop in a daemon thread."""

    def __init__(self) -> None:
        self._process = os.getpid()
        # With a factory of its own, a runner leaves the caller's current loop alone.
        self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        self._loop = self._runner.get_loop()
        self._thread = threading.Thread(target=self._run, name="holodeck-gen", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        # Here, because the thread of who closes it may be in a loop of its own.
        self._runner.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        if os.getpid() != self._process:
            work.close()
            raise ConfigError("a studio cannot be used after fork; make one in the child process")
        future: Future[T] = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            # Ctrl-C reaches the waiting thread, not the loop: take the call back with it.
            if not future.done():
                future.cancel()
                with suppress(BaseException):
                    future.exception(timeout=0)
            raise

    def close(self) -> None:
        if os.getpid() != self._process:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


# What asynchronous generators return can be awaited, but is not a coroutine. They take turns,
# because a call that Ctrl-C took back may still be in the generator when that is closed.
async def _next(outcomes: AsyncGenerator[Outcome, None], turn: asyncio.Lock) -> Outcome:
    async with turn:
        return await anext(outcomes)


async def _close(outcomes: AsyncGenerator[Outcome, None], turn: asyncio.Lock) -> None:
    async with turn:
        await outcomes.aclose()
