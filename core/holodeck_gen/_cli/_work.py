"""Outcomes of a studio's ``map``, until they are all there or something ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from holodeck_gen._cli._voice import Voice
    from holodeck_gen._outcome import Outcome
    from holodeck_gen._studio import AsyncStudio
    from holodeck_gen._task import Task

Reason: TypeAlias = Literal["interrupted", "time", "unread"]


class Stop:
    """Asks a run to end early; made inside its loop.

    Attributes:
        reason: Why, once it was asked.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._asked = asyncio.Event()

    def ask(self, reason: Reason) -> None:
        """End the run gracefully; the first reason counts."""
        self.reason = self.reason or reason
        self._asked.set()

    async def wait(self) -> None:
        """Return when it was asked."""
        await self._asked.wait()


async def outcomes(
    studio: AsyncStudio, tasks: Iterable[Task], stop: Stop
) -> AsyncIterator[Outcome]:
    """Yield outcomes as they complete; when asked to stop, those of all that was begun.

    Raises:
        PausedError: After all that was begun.
    """

    async def end() -> None:
        await stop.wait()
        await studio.stop()

    watcher = asyncio.create_task(end())
    try:
        async with aclosing(studio.map(tasks)) as run:
            async for outcome in run:
                yield outcome
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


@contextlib.contextmanager
def signals(stop: Stop, voice: Voice) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM a graceful stop, and a second one an end without grace."""
    loop = asyncio.get_running_loop()
    main = asyncio.current_task()
    names = (signal.SIGINT, signal.SIGTERM)

    def receive() -> None:
        if stop.reason == "interrupted":
            remove()
            if main is not None:
                main.cancel()
            return
        voice.note("stopping: requests in flight finish (once more to stop at once)")
        stop.ask("interrupted")

    def remove() -> None:
        for name in names:
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(name)

    for name in names:
        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(name, receive)
    try:
        yield
    finally:
        remove()
