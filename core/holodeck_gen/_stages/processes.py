"""Worker processes for processors that hold Python's lock, hang or crash.

Nobody can stop a thread, but a process can be ended. The pools of the standard library are of no
use for that: one worker that dies breaks them as a whole, and a call that is late goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import multiprocessing
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._calls import GRACE_S, DeadlineError
from holodeck_gen._log import Logger
from holodeck_gen._stages.portable import Failed
from holodeck_gen._stages.worker import Done, Logged, Ready, Recipe, serve
from holodeck_gen.errors import PluginError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = Logger("holodeck_gen.stages")

#: Seconds a worker may take until its processors are made.
START_S = 120.0
#: Seconds a worker may take to close them.
END_S = 10.0


@attrs.define(kw_only=True, eq=False)
class StageProcesses:
    """Runs processors in processes, a bounded number at once, each for a bounded time.

    A call that is late, or given up, is ended together with its worker; another worker takes its
    place when it is needed. So it is where a worker dies. The others do not notice.

    Args:
        places: Calls, and processes, at once.
        recipe: How each makes the processors.
    """

    places: int
    recipe: Recipe
    _free: asyncio.Semaphore = attrs.field(init=False)
    _idle: list[_Worker] = attrs.field(factory=list, init=False)
    _pool: ThreadPoolExecutor | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.places)

    async def run(
        self, name: str, file: Path, task: object, *, timeout_s: float, what: str
    ) -> list[Path]:
        """Call a processor in a worker.

        Args:
            name: The processor's.
            file: What it is called with.
            task: Likewise.
            timeout_s: Seconds from its beginning; neither the wait for a place nor the start of
                a worker is counted.
            what: For messages.

        Raises:
            DeadlineError: It took longer; its worker was ended.
            PluginError: The worker died, or could not start.
            Exception: Whatever the processor raises.
        """
        async with self._free:
            worker = self._next()
            context = contextvars.copy_context()
            running = asyncio.get_running_loop().run_in_executor(
                self._threads(),
                lambda: context.run(worker.call, name, (file, task), timeout_s, what),
            )
            try:
                await asyncio.wait({running})
            except asyncio.CancelledError:
                worker.give_up()
                # Seen: otherwise asyncio reports it as never retrieved.
                running.add_done_callback(lambda done: done.cancelled() or done.exception())
                # It may write no more when its folder is removed.
                await asyncio.wait({running}, timeout=GRACE_S)
                raise
            if worker.alive:
                self._idle.append(worker)
            return running.result()

    def close(self) -> None:
        """Let the workers end. Blocks for as long as they take, but not for those that hang."""
        workers, self._idle = self._idle, []
        for worker in workers:
            worker.ask_to_end()
        for worker in workers:
            worker.end(wait_s=END_S)
        if self._pool is not None:
            self._pool.shutdown()

    def _next(self) -> _Worker:
        # The latest first: no more are started than are needed.
        while self._idle:
            worker = self._idle.pop()
            if worker.alive:
                return worker
            # Whoever ended it, no picture is concerned.
            worker.lose("stage.worker_died")
        return _Worker(recipe=self.recipe)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # Each does nothing but wait for one worker.
            self._pool = ThreadPoolExecutor(self.places, thread_name_prefix="holodeck-gen-worker")
        return self._pool


@attrs.define(kw_only=True, eq=False)
class _Worker:
    """One process, as its parent knows it; started by its first call."""

    recipe: Recipe
    _process: SpawnProcess | None = attrs.field(default=None, init=False)
    _pipe: Connection | None = attrs.field(default=None, init=False)
    _given_up: bool = attrs.field(default=False, init=False)

    @property
    def alive(self) -> bool:
        """Whether it takes calls, or will once it is started."""
        return not self._given_up and (self._process is None or not wait([self._sentinel], 0))

    def call(self, name: str, args: tuple[Any, ...], timeout_s: float, what: str) -> list[Path]:
        """As `StageProcesses.run`, for the thread that waits for it."""
        if self._process is None:
            self._start(what)
        assert self._pipe is not None
        try:
            self._pipe.send((name, args))
        except OSError as error:
            raise self._died(what) from error
        message = self._hear(timeout_s, what)
        if message is None:
            self.lose("stage.worker_late", stage=name, seconds=timeout_s)
            raise DeadlineError(f"{what} took longer than {timeout_s:g} s; its process was ended")
        if isinstance(message, Failed):
            raise message.error()
        assert isinstance(message, Done)
        return message.files

    def give_up(self) -> None:
        """End it, whatever it does; the thread that waits for it notices."""
        self._given_up = True
        if self._process is not None and self._process.pid is not None:
            self._process.kill()

    def ask_to_end(self) -> None:
        """Let it close its processors; `end` waits for it."""
        if self._pipe is not None:
            with contextlib.suppress(OSError):
                self._pipe.send(None)

    def end(self, *, wait_s: float = 0.0) -> None:
        """End it for good. Blocks until it is gone; `wait_s` seconds are its own."""
        self._given_up = True
        if self._process is None:
            return
        self._process.join(wait_s)
        self._process.kill()
        self._process.join()
        if self._pipe is not None:
            self._pipe.close()

    @property
    def _sentinel(self) -> int:
        assert self._process is not None
        return self._process.sentinel

    def lose(self, event: str, **facts: Any) -> None:
        """End it and say so."""
        given_up, pid = self._given_up, self._process and self._process.pid
        self.end()
        if not given_up:
            _log.warning(event, pid=pid, **facts)

    def _start(self, what: str) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        process = context.Process(
            target=serve, args=(theirs, self.recipe), name="holodeck-gen worker"
        )
        # Where only the worker has its end of the pipe, the pipe tells of the worker's end.
        with theirs, _without_interrupts():
            process.start()
        self._process = process
        if self._given_up:
            process.kill()
        message = self._hear(START_S, what)
        if message is None:
            self.lose("stage.worker_late", seconds=START_S)
            raise DeadlineError(f"the process for {what} was not ready after {START_S:g} s")
        if isinstance(message, Failed):
            self.end()
            raise message.error()

    def _hear(self, timeout_s: float, what: str) -> Ready | Done | Failed | None:
        """What it says next; None where it says nothing in time. Tells what it logs.

        Raises:
            PluginError: It died.
        """
        assert self._pipe is not None
        until = time.monotonic() + timeout_s
        while (left := until - time.monotonic()) > 0 and wait([self._pipe], left):
            try:
                message: Ready | Done | Failed | Logged = self._pipe.recv()
            except (EOFError, ConnectionError) as error:
                raise self._died(what) from error
            if not isinstance(message, Logged):
                return message
            _tell(message)
        return None

    def _died(self, what: str) -> PluginError:
        assert self._process is not None
        self._process.join(END_S)
        how = ended_by(self._process.exitcode)
        self.lose("stage.worker_died", ended_by=how)
        hint = ", perhaps because memory ran out" if how == "SIGKILL" else ""
        return PluginError(f"the process of {what} died ({how}{hint})")


def _tell(message: Logged) -> None:
    logger = Logger(message.logger)
    facts = dict(message.facts)
    if message.error is not None:
        facts["exc_info"] = message.error.error()
    method = message.method if message.method in ("debug", "info", "warning") else "error"
    getattr(logger, method)(message.event, **facts)


def ended_by(code: int | None) -> str:
    """What ended a process, by its exit code; those below zero are signals."""
    with contextlib.suppress(ValueError):
        if code is not None and code < 0:
            return signal.Signals(-code).name
    return f"exit code {code}"


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """What this thread starts gets no Ctrl-C until it has decided what to do about it."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    # Started with the first process, it would take both signals out of the mask again.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
