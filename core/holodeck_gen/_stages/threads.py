"""Threads for processors, apart from those that files, downloads and the journal share."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import attrs

from holodeck_gen._calls import bounded
from holodeck_gen.errors import PluginError

T = TypeVar("T")

#: Calls at once. More than there are processors finish no sooner, but keep the event loop waiting
#: for one of them: with six calls on two processors three times as long as with two.
PLACES = max(2, os.cpu_count() or 1)
#: Pictures that are decoded at once to find out whether they are whole. They have places of their
#: own: what was downloaded must not wait behind an hour of processing.
CHECKS = PLACES // 2
#: Calls that may be given up and still run before they take the places of others.
SPARES = 16


@attrs.define(kw_only=True, eq=False)
class StageThreads:
    """Runs plain functions, a bounded number at once, each for a bounded time.

    Nobody can stop a thread: a call that is given up goes on. Another thread takes its place, as
    long as there are spare ones.

    Args:
        places: Calls at once.
        spares: Threads beyond these, for places whose call was given up.
    """

    places: int = PLACES
    spares: int = SPARES
    _free: asyncio.Semaphore = attrs.field(init=False)
    _pool: ThreadPoolExecutor | None = attrs.field(default=None, init=False)
    _hung: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._free = asyncio.Semaphore(self.places)

    async def run(self, function: Callable[..., T], *args: Any, timeout_s: float, what: str) -> T:
        """Call `function` in a thread, with the context of the caller.

        Args:
            function: What is called.
            args: For it.
            timeout_s: Seconds from its beginning; the wait for a place is not counted.
            what: For messages.

        Raises:
            DeadlineError: It took longer.
            PluginError: All threads hang.
            Exception: Whatever it raises.
        """
        await self._free.acquire()
        if self._hung == self.places + self.spares:
            self._free.release()
            raise PluginError(f"{what} was not begun: {self._hung} calls before it hang")
        loop = asyncio.get_running_loop()
        call = _Call(
            function=contextvars.copy_context().run,
            args=(function, *args),
            late=lambda: loop.call_soon_threadsafe(self._came_back),
        )
        try:
            running = loop.run_in_executor(self._threads(), call.run)
            return await bounded(running, timeout_s=timeout_s, what=what)
        finally:
            if call.give_up():
                self._lose()
            else:
                self._free.release()

    def close(self) -> None:
        """Let the threads end. Blocks for as long as it takes, but not for those that hang."""
        if self._pool is not None:
            self._pool.shutdown(wait=not self._hung)

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            # So many that whoever has a place is begun at once.
            self._pool = ThreadPoolExecutor(
                self.places + self.spares, thread_name_prefix="holodeck-gen-stage"
            )
        return self._pool

    def _lose(self) -> None:
        self._hung += 1
        if self._hung <= self.spares or self._hung == self.places + self.spares:
            # The latter is no place: it wakes those who wait for one, so that they fail.
            self._free.release()

    def _came_back(self) -> None:
        if self.spares < self._hung < self.places + self.spares:
            self._free.release()
        self._hung -= 1


@attrs.define(kw_only=True, eq=False)
class _Call:
    """One call in a thread, which its caller may give up.

    Attributes:
        late: Called in the thread where it ends after that.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    late: Callable[[], object]
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _ended: bool = attrs.field(default=False, init=False)
    _given_up: bool = attrs.field(default=False, init=False)

    def run(self) -> Any:
        """What the thread does."""
        with self._lock:
            if self._given_up:
                return None
            self._begun = True
        try:
            return self.function(*self.args)
        finally:
            with self._lock:
                self._ended = True
                late = self._given_up
            if late:
                # The loop may be gone by now.
                with contextlib.suppress(RuntimeError):
                    self.late()

    def give_up(self) -> bool:
        """Wait for it no longer; whether it is running all the same."""
        with self._lock:
            self._given_up = True
            return self._begun and not self._ended
