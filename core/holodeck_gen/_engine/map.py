"""Many tasks in, outcomes out as they complete; neither side is ever in memory as a whole."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Sequence,
)
from concurrent.futures import ThreadPoolExecutor
from contextlib import aclosing
from typing import Any, TypeAlias

import attrs

from holodeck_gen._accounts.accounts import Accounts
from holodeck_gen._calls import copied, words
from holodeck_gen._engine.engine import Engine
from holodeck_gen._jobs.life import Life
from holodeck_gen._model.outcome import Failure, Outcome
from holodeck_gen._model.task import Task
from holodeck_gen._stages.stages import Expander
from holodeck_gen.errors import BillingError, GenerationError, PausedError, RewriteError

Tasks: TypeAlias = Iterable[Task | str] | AsyncIterable[Task | str]

#: Tasks taken from a generator in one visit to its thread, and seconds until it is left with
#: fewer: a quick generator is read in batches, a slow one hands over each task at once.
BATCH = 32
BATCH_S = 0.002


@attrs.define(kw_only=True, eq=False)
class MapRun:
    """One call of ``map``.

    Args:
        group: Names its tasks, among which slots are shared out in turn with those of others.
        tasks: Read lazily, in a thread of its own unless it is a list or asynchronous.
        ordered: Deliver in input order instead of as completed.
        window: Returns how many tasks may be in work now.
        spawn: Starts a coroutine that the studio waits for.
        stopped: Set when the studio stops gracefully.
        resumed: Whether results that an earlier run made are delivered.
        limit: How many tasks may be begun at most.
    """

    engine: Engine
    group: str
    accounts: Accounts
    tasks: Tasks
    expanders: Sequence[tuple[str, Expander]]
    ordered: bool
    window: Callable[[], int]
    undelivered: int
    spawn: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    stopped: asyncio.Event
    resumed: bool = True
    limit: int | None = None
    _ready: deque[Outcome] = attrs.field(factory=deque, init=False)
    _early: dict[int, Outcome | None] = attrs.field(factory=dict, init=False)
    _next: int = attrs.field(default=0, init=False)
    _begun: int = attrs.field(default=0, init=False)
    _running: dict[asyncio.Task[None], Life] = attrs.field(factory=dict, init=False)
    _changed: asyncio.Event = attrs.field(factory=asyncio.Event, init=False)
    _feeder: asyncio.Task[None] | None = attrs.field(default=None, init=False)
    _failure: Exception | None = attrs.field(default=None, init=False)
    #: Whether tasks were held because nobody takes their submits, while others went on.
    _refused: bool = attrs.field(default=False, init=False)
    _closed: bool = attrs.field(default=False, init=False)

    async def outcomes(self) -> AsyncGenerator[Outcome, None]:
        """Yield every outcome.

        Raises:
            PausedError: Every account is paused, or a quota that some tasks had to go to; raised
                after all that was begun is delivered.
            Exception: What the iterable of tasks raised, likewise.
        """
        self._feeder = self.spawn(self._feed())
        # Where more jobs fit at once, more tasks are needed, and not only when one has ended.
        grown = self._changed.set
        self.accounts.on_growth.add(grown)
        try:
            while True:
                while self._ready:
                    yield self._ready.popleft()
                    self._changed.set()
                if self._feeder.done() and not self._running:
                    break
                self._changed.clear()
                await self._changed.wait()
        finally:
            self.accounts.on_growth.discard(grown)
            await self._close()
        if self._failure is not None:
            raise self._failure
        pause = self.accounts.paused
        if pause is None and self._refused and (pause := self.accounts.shut) is not None:
            self.accounts.on_pause(pause)
        if pause is not None:
            raise copied(pause)

    async def _close(self) -> None:
        """Stop what still runs: answers that are on their way are waited for and recorded."""
        self._closed = True
        assert self._feeder is not None
        left = [task for task in (self._feeder, *self._running) if not task.done()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    async def _feed(self) -> None:
        index = 0
        try:
            async with aclosing(self._expanded()) as batches:
                async for batch in batches:
                    lives = [
                        Life(index=index + i, task=task, group=self.group)
                        for i, (task, _) in enumerate(batch)
                    ]
                    index += len(batch)
                    errors = await self._admitted(lives, [error for _, error in batch])
                    for life, error in zip(lives, errors, strict=True):
                        if not await self._begin(life, error):
                            return
        except Exception as error:
            # What is in work is delivered first; then the consumer hears of it.
            self._failure = error
        finally:
            self._changed.set()

    async def _admitted(
        self, lives: Sequence[Life], errors: Sequence[GenerationError | None]
    ) -> list[GenerationError | None]:
        sound = [life for life, error in zip(lives, errors, strict=True) if error is None]
        refused = iter(await self.engine.admit(sound))
        return [next(refused) if error is None else error for error in errors]

    async def _begin(self, life: Life, error: GenerationError | None) -> bool:
        """Begin one task, or deliver what is known of it; False where no more may be begun."""
        if life.entry is not None and life.entry.ending is not None:
            await self._room(settled=True)
            wanted = self.resumed or life.entry.state != "done"
            self._deliver(life.index, self.engine.settled(life) if wanted else None)
            self._changed.set()
            return not self._over
        if self.limit is not None and self._begun >= self.limit:
            return False
        await self._room()
        if self._over:
            return False
        self._begun += 1
        running = self.spawn(self._one(life, error))
        self._running[running] = life
        running.add_done_callback(self._done)
        return True

    @property
    def _over(self) -> bool:
        return self.stopped.is_set() or self.accounts.paused is not None

    async def _room(self, *, settled: bool = False) -> None:
        while not self._over:
            waiting = len(self._ready) + len(self._early)
            free = settled or len(self._running) < self.window()
            if free and waiting < self.undelivered:
                return
            self._changed.clear()
            await self._changed.wait()

    async def _one(self, life: Life, error: GenerationError | None) -> None:
        try:
            outcome = await self.engine.run(life, error)
        except asyncio.CancelledError:
            if self._closed or not self.stopped.is_set():
                raise
            outcome = await self.engine.end(life, self.engine.outcomes.cancelled(life))
        if isinstance(outcome, Failure) and isinstance(outcome.error, BillingError | PausedError):
            self._refused = True
        self._deliver(life.index, outcome)

    def _deliver(self, index: int, outcome: Outcome | None) -> None:
        """Hand over an outcome; None where the consumer does not want it."""
        if not self.ordered:
            self._ready.extend([outcome] if outcome else [])
            return
        self._early[index] = outcome
        while self._next in self._early:
            ready = self._early.pop(self._next)
            self._ready.extend([ready] if ready else [])
            self._next += 1

    def _done(self, task: asyncio.Task[None]) -> None:
        life = self._running.pop(task)
        if task.cancelled() and not self._closed:
            # Cancelled before its first step, so that its own handler never ran.
            self._deliver(life.index, self.engine.outcomes.cancelled(life))
        self._changed.set()

    def stop(self, *, finish_jobs: bool) -> None:
        """Begin no more and cancel what waits; all that was begun still gets its outcome."""
        for task, life in self._running.items():
            if not (finish_jobs and life.sent):
                task.cancel()
        if self._feeder is not None:
            self._feeder.cancel()
        self._changed.set()

    async def _expanded(self) -> AsyncGenerator[list[tuple[Task, RewriteError | None]], None]:
        """The tasks that are to be run, or that an expander failed on, as they come in."""
        async for items in _read(self.tasks):
            batch: list[tuple[Task, RewriteError | None]] = []
            for item in items:
                task = Task(item) if isinstance(item, str) else item
                if not isinstance(task, Task):
                    self._failure = TypeError(
                        f"map takes tasks or prompts, not {type(task).__name__}"
                    )
                    break
                try:
                    batch += [(each, None) for each in await self._expand(task)]
                except RewriteError as error:
                    batch.append((task, error))
            yield batch
            if self._failure is not None:
                return

    async def _expand(self, task: Task) -> list[Task]:
        if not self.expanders:
            return [task]
        # It may read files, or think for longer than polls can wait.
        return await asyncio.to_thread(expand, task, self.expanders)


def expand(task: Task, expanders: Sequence[tuple[str, Expander]]) -> list[Task]:
    """Put `task` through every expander in turn; new tasks get the ids ``id~1``, ``id~2``, …

    Raises:
        RewriteError: An expander failed.
    """
    tasks = [task]
    for name, expander in expanders:
        try:
            tasks = [made for each in tasks for made in expander.expand(each)]
            strange = next((each for each in tasks if not isinstance(each, Task)), None)
            if strange is not None:
                raise TypeError(f"it returned {type(strange).__name__}, not tasks")
        except RewriteError:
            raise
        except Exception as error:
            raise RewriteError(f"expander {name!r} failed: {words(error)}", stage=name) from error
    if task.id is None or tasks == [task]:
        return tasks
    return [
        attrs.evolve(each, id=f"{task.id}~{i}") if each.id in (None, task.id) else each
        for i, each in enumerate(tasks, start=1)
    ]


async def _read(tasks: Tasks) -> AsyncIterator[Sequence[Task | str]]:
    """What there is, in batches of at most `BATCH`."""
    if isinstance(tasks, AsyncIterable):
        async for item in tasks:
            yield [item]
        return
    if isinstance(tasks, str):
        raise TypeError("map takes many tasks; for a single prompt use generate")
    if isinstance(tasks, Sequence):
        for first in range(0, len(tasks), BATCH):
            yield tasks[first : first + BATCH]
        return
    # A generator may block, and what it holds open may belong to one thread.
    loop = asyncio.get_running_loop()
    iterator = iter(tasks)
    reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="holodeck-gen-tasks")
    try:
        more = True
        while more:
            batch, more, error = await loop.run_in_executor(reader, _take, iterator)
            if batch:
                yield batch
            if error is not None:
                raise error
    finally:
        reader.shutdown(wait=False, cancel_futures=True)


def _take(iterator: Any) -> tuple[list[Task | str], bool, Exception | None]:
    """A batch, whether there may be more, and what the iterator raised after it."""
    batch: list[Task | str] = []
    end = time.monotonic() + BATCH_S
    try:
        for item in iterator:
            batch.append(item)
            if len(batch) == BATCH or time.monotonic() > end:
                return batch, True, None
    except Exception as error:
        return batch, False, error
    return batch, False, None
