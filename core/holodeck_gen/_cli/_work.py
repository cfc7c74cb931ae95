"""Outcomes of a studio's ``map``, until they are all there or something ends the run."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Literal, NoReturn, TypeAlias

from holodeck_gen._cli._exit import INTERRUPTED, say

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator

    from holodeck_gen._cli._voice import Voice
    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._model.task import Task
    from holodeck_gen._stages.in_processes import Processes
    from holodeck_gen._studio import AsyncStudio

Reason: TypeAlias = Literal["interrupted", "time", "unread"]


class Stop:
    """Asks a run to end early; made inside its loop.

    Attributes:
        reason: Why, once it was asked.
    """

    def __init__(self) -> None:
        self.reason: Reason | None = None
        self._asked = asyncio.Event()
        self._now = asyncio.Event()

    def ask(self, reason: Reason) -> None:
        """End the run gracefully; the first reason counts, but a person comes before the clock."""
        if self.reason in (None, "time"):
            self.reason = reason
        if reason != "time":
            self._now.set()
        self._asked.set()

    async def obey(self, studio: AsyncStudio) -> None:
        """Stop `studio` when asked; when only the time is up, what was submitted may finish."""
        await self._asked.wait()
        if not self._now.is_set():
            await studio.stop(finish_jobs=True)
            await self._now.wait()
        await studio.stop()


async def outcomes(
    studio: AsyncStudio, tasks: Iterable[Task], stop: Stop, *, limit: int | None = None
) -> AsyncIterator[Outcome]:
    """Yield outcomes as they complete; when asked to stop, those of all that was begun.

    Raises:
        PausedError: After all that was begun.
    """
    watcher = asyncio.create_task(stop.obey(studio))
    try:
        async with aclosing(studio.map(tasks, resumed=False, limit=limit)) as run:
            async for outcome in run:
                yield outcome
    finally:
        watcher.cancel()
        await asyncio.wait([watcher])


def in_processes(studio: AsyncStudio, processes: Processes | None) -> AsyncStudio:
    """Let `studio` run processors in processes, before it is opened.

    No argument of a studio's, because a new process imports the main module again. The command
    line's does nothing when it is imported; a user's program may.
    """
    studio._work.processes = processes
    return studio


@contextlib.contextmanager
def signals(stop: Stop, voice: Voice) -> Iterator[None]:
    """Make Ctrl-C and SIGTERM a graceful stop, and a second one the end of the process."""
    loop = asyncio.get_running_loop()
    names = (signal.SIGINT, signal.SIGTERM)

    def receive() -> None:
        if stop.reason == "interrupted":
            _end_now()
        voice.note("stopping: requests in flight finish (once more to stop at once)")
        stop.ask("interrupted")

    for name in names:
        # Not on Windows, and not outside the main thread.
        with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(name, receive)
    try:
        yield
    finally:
        for name in names:
            with contextlib.suppress(NotImplementedError, ValueError, RuntimeError):
                loop.remove_signal_handler(name)


def _end_now() -> NoReturn:
    # Cancelling would wait for the answers of submits that were sent; nothing is lost that
    # being killed would not lose, too.
    if sys.stderr.isatty():
        # A progress bar hides the cursor.
        sys.stderr.write("\x1b[?25h")
    say("stopped at once; answers that were on their way are lost")
    os._exit(INTERRUPTED)
