"""The way of events from the loop to the observers: it never blocks, and never fails."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Protocol

import attrs

from holodeck_gen._log import Logger
from holodeck_gen.events import Event, EventsDropped, Observer, Stage, StageEnded

if TYPE_CHECKING:
    from types import TracebackType

_log = Logger("holodeck_gen.events")

#: Events that wait for one slow observer; more are dropped and counted.
QUEUE_SIZE = 10_000
#: Seconds that observers get at the end for what still waits, and to close.
CLOSE_S = 5.0

_UNTIMED = nullcontext()


@attrs.define(eq=False)
class EventQueue:
    """Carries events to observers, of which each has its own queue and thread.

    Args:
        clock: Seconds since the epoch.
    """

    clock: Callable[[], float] = time.time
    _feeds: list[_Feed] = attrs.field(factory=list, init=False)

    def __bool__(self) -> bool:
        """Whether anybody listens; ask before building an event."""
        return bool(self._feeds)

    def add(
        self, name: str, observer: Observer, *, close: Callable[[], object] | None = None
    ) -> None:
        """Let `observer` have all events from now on.

        Args:
            name: For messages.
            observer: Called with one event after the other, in a thread of its own.
            close: Called there after the last one.
        """
        self._feeds.append(_Feed(name=name, observer=observer, on_close=close, clock=self.clock))

    def put(self, event: Event) -> None:
        """Hand over an event."""
        for feed in self._feeds:
            feed.put(event)

    def stage(
        self,
        stage: Stage,
        *,
        key: str,
        part: int | None = None,
        name: str | None = None,
        began: float | None = None,
    ) -> AbstractContextManager[None]:
        """Time what is done in a ``with`` block, and tell `StageEnded`.

        Args:
            stage, key, part, name: As there.
            began: Loop time at which it has begun already.
        """
        if not self._feeds:
            return _UNTIMED
        if began is None:
            began = asyncio.get_running_loop().time()
        return _Timed(self, stage, key, part, name, began)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Deliver what waits, and close the observers, for at most so many seconds.

        Blocks: call it in a thread.
        """
        until = time.monotonic() + timeout_s
        for feed in self._feeds:
            feed.end()
        for feed in self._feeds:
            feed.join(until)


class StageTimer(Protocol):
    """`EventQueue.stage` of one part of a task."""

    def __call__(
        self, stage: Stage, *, name: str | None = None, began: float | None = None
    ) -> AbstractContextManager[None]:
        """Time what is done in a ``with`` block."""
        ...


@attrs.define(eq=False)
class _Timed:
    """One stage of one task, as a context manager."""

    events: EventQueue
    stage: Stage
    key: str
    part: int | None
    name: str | None
    began: float

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.events.put(
            StageEnded(
                time=self.events.clock(),
                key=self.key,
                part=self.part,
                stage=self.stage,
                name=self.name,
                seconds=asyncio.get_running_loop().time() - self.began,
                error=None if kind is None else kind.__name__,
            )
        )


@attrs.define(kw_only=True, eq=False)
class _Feed:
    """One observer, which can keep nobody waiting but itself."""

    name: str
    observer: Observer
    on_close: Callable[[], object] | None
    clock: Callable[[], float]
    dropped: int = attrs.field(default=0, init=False)
    failures: int = attrs.field(default=0, init=False)
    #: Of the dropped, those that the observer was not told of.
    _missing: int = attrs.field(default=0, init=False)
    #: Whether it is time to end, and whether no event is wanted any more.
    _ending: bool = attrs.field(default=False, init=False)
    _late: bool = attrs.field(default=False, init=False)
    _queue: queue.Queue[Event | None] = attrs.field(
        factory=lambda: queue.Queue(QUEUE_SIZE), init=False
    )
    _thread: threading.Thread | None = attrs.field(default=None, init=False)

    def put(self, event: Event) -> None:
        if self._ending:
            return
        if self._thread is None:
            self._start()
        try:
            if self._missing:
                self._queue.put_nowait(EventsDropped(time=self.clock(), count=self._missing))
                self._missing = 0
            self._queue.put_nowait(event)
        except queue.Full:
            self._missing += 1
            self.dropped += 1
            if self.dropped == 1:
                _log.warning("events.observer_too_slow", observer=self.name, waiting=QUEUE_SIZE)

    def end(self) -> None:
        """Let nothing more come in."""
        if self._thread is None and self.on_close is not None:
            self._start()
        self._ending = True
        if self._thread is not None:
            # Where it is full, the thread sees that it is time when there is nothing more.
            with suppress(queue.Full):
                self._queue.put_nowait(None)

    def join(self, until: float) -> None:
        """Wait for the thread; what comes too late is dropped. Told once, with figures."""
        if self._thread is None:
            return
        self._thread.join(max(0.0, until - time.monotonic()))
        if self._thread.is_alive():
            self._late = True
            self.dropped += self._queue.qsize()
            _log.warning(
                "events.observer_still_busy",
                observer=self.name,
                hint="what it had still to tell may be lost; the results are not",
            )
        if self.dropped:
            _log.warning("events.dropped", observer=self.name, count=self.dropped)
        if self.failures > 1:
            _log.warning("events.observer_failures", observer=self.name, count=self.failures)

    def _start(self) -> None:
        self._thread = threading.Thread(
            target=self._deliver, name=f"holodeck-gen-events-{self.name}", daemon=True
        )
        self._thread.start()

    def _deliver(self) -> None:
        while (event := self._next()) is not None:
            self._call(type(event).__name__, self.observer, event)
        if self._missing and not self._late:
            last = EventsDropped(time=self.clock(), count=self._missing)
            self._call(type(last).__name__, self.observer, last)
        if self.on_close is not None:
            self._call("close", self.on_close)

    def _next(self) -> Event | None:
        """The next event; None where there is none any more."""
        if self._late or (self._ending and self._queue.empty()):
            return None
        return self._queue.get()

    def _call(self, what: str, function: Callable[..., object], *given: Event) -> None:
        try:
            function(*given)
        except (Exception, SystemExit) as error:
            # One that fails at each event says so once, and how often at the end.
            self.failures += 1
            if self.failures == 1:
                _log.warning(
                    "events.observer_failed", observer=self.name, at=what, error=repr(error)
                )
