"""The work of one ``run``, once everything that can be checked was checked."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._cli._exit import BAD_INPUT, DONE, SOME_FAILED, say, tell
from holodeck_gen._cli._progress import Progress
from holodeck_gen._cli._results import FAILED, Results, outcome_line
from holodeck_gen._cli._summary import Tally, first_line, last_line
from holodeck_gen._cli._voice import Voice, emit_json
from holodeck_gen._cli._work import Stop, outcomes, signals
from holodeck_gen._task import Task
from holodeck_gen._taskfile import Check, Line
from holodeck_gen.errors import PausedError, TaskError

if TYPE_CHECKING:
    from holodeck_gen._outcome import Outcome
    from holodeck_gen._studio import AsyncStudio

_SHOWN = 20


@attrs.define(kw_only=True)
class Batch:
    """One invocation.

    Args:
        read: Reads the task file from its start.
        source: Its path, if it is a file.
        folder: The run's folder.
        check: What the first pass found.
        limit: How many tasks to try at most.
        seconds: After how long to stop.
        expanded: Whether expanders make the number of tasks unknown.
        as_json: Whether stdout gets a line for each outcome.
        voice: For the first and the last line.
    """

    read: Callable[[], Iterator[Line]]
    source: Path | None
    folder: Path
    check: Check
    limit: int | None
    seconds: float | None
    expanded: bool
    as_json: bool
    voice: Voice
    tally: Tally = attrs.field(factory=Tally, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _cancelled: list[Task] = attrs.field(factory=list, init=False)

    async def work(self, studio: AsyncStudio) -> int:
        """Run the tasks and return the exit code."""
        began = time.monotonic()
        self.tally.bad_lines = self.check.bad_count
        stop = Stop()
        error: Exception | None = None
        with signals(stop, self.voice), Results(self.folder) as results:
            try:
                async with studio:
                    self._begin(studio, stop)
                    await self._deliver(studio, results, stop)
            except Exception as caught:
                if not self._begun:
                    raise
                # From here on the exit code must not say that nothing was spent.
                error = caught
            self._finish(results, stop, error)
        return self._conclude(stop, error, seconds=time.monotonic() - began)

    async def check_all(self, studio: AsyncStudio) -> int:
        """Let the provider check every task without running it; return the exit code."""
        wrong = 0
        async with studio:
            for line in self.read():
                if line.task is None:
                    continue
                try:
                    studio.check(line.task)
                except TaskError as error:
                    wrong += 1
                    if wrong <= _SHOWN:
                        say(f"line {line.number}: {error}")
            todo = first_line(studio.describe(), self._todo, expanded=self.expanded)
        if wrong:
            say(f"error: {wrong} of {self.check.count} tasks cannot be run")
            return BAD_INPUT
        self.voice.note(f"{todo} · dry run: nothing was generated")
        return SOME_FAILED if self.check.bad_count else DONE

    @property
    def _todo(self) -> int:
        return self.check.count if self.limit is None else min(self.limit, self.check.count)

    def _begin(self, studio: AsyncStudio, stop: Stop) -> None:
        self._begun = True
        self.voice.note(first_line(studio.describe(), self._todo, expanded=self.expanded))
        if self.seconds is not None:
            asyncio.get_running_loop().call_later(self.seconds, stop.ask, "time")

    async def _deliver(self, studio: AsyncStudio, results: Results, stop: Stop) -> None:
        total = None if self.expanded else self._todo
        shown = self.voice.animated and not (self.as_json and sys.stdout.isatty())
        with Progress(total, shown=shown) as progress:
            async for outcome in outcomes(studio, islice(self._tasks(), self.limit), stop):
                self.tally.add(outcome)
                results.add(outcome)
                if outcome.state == "cancelled":
                    self._cancelled.append(outcome.task)
                progress.advance(failed=self.tally.failed)
                self._emit(outcome, stop)

    def _tasks(self) -> Iterator[Task]:
        return (line.task for line in self.read() if line.task is not None)

    def _emit(self, outcome: Outcome, stop: Stop) -> None:
        if not self.as_json:
            return
        try:
            emit_json(outcome_line(outcome))
        except BrokenPipeError:
            self.as_json = False
            stop.ask("unread")
            # What the interpreter writes at its end would fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())

    def _finish(self, results: Results, stop: Stop, error: Exception | None) -> None:
        try:
            left = self._left_of_failed(stop, error)
            if left is None:
                results.abandon()
                self.voice.note(
                    f"{FAILED} is left as it was; results.jsonl tells which of its tasks are done"
                )
            else:
                results.finish(left)
        except OSError as failure:
            tell(failure)

    def _left_of_failed(self, stop: Stop, error: Exception | None) -> Iterable[Task] | None:
        """What an earlier ``failed.jsonl`` holds that this run, which reads it, did not try.

        None where that cannot be told.
        """
        failed = self.folder / FAILED
        if self.source is None or not failed.exists() or not self.source.samefile(failed):
            return ()
        certain = error is None or isinstance(error, PausedError)
        if not certain or self.check.bad_count or (self.expanded and self._unfinished(stop)):
            return None
        return [*self._cancelled, *islice(self._tasks(), self.tally.begun, None)]

    @property
    def _left(self) -> int:
        return 0 if self.expanded else max(0, self.check.count - self.tally.ended)

    def _unfinished(self, stop: Stop) -> bool:
        if not self.expanded:
            return self._left > 0
        return self._todo < self.check.count or stop.reason is not None

    def _conclude(self, stop: Stop, error: Exception | None, *, seconds: float) -> int:
        unfinished = self._unfinished(stop) or error is not None
        for text in self.tally.warnings:
            self.voice.note(f"warning: {text}")
        for text in self.tally.failures():
            self.voice.note(text)
        if error is not None:
            tell(error)
        if unfinished or stop.reason == "interrupted":
            self.voice.note(self._early_end(stop))
        self.voice.note(last_line(self.tally, left=self._left, seconds=seconds))
        return self.tally.code(interrupted=stop.reason == "interrupted", unfinished=unfinished)

    def _early_end(self, stop: Stop) -> str:
        because: dict[Any, str] = {
            "interrupted": "interrupted",
            "time": "the time is up",
            "unread": "nobody reads the output any more",
            None: "ended early",
        }
        why = because[stop.reason]
        if stop.reason is None and self._todo < self.check.count:
            why = f"the limit of {self.limit} is reached"
        if self.expanded:
            return f"{why}: some tasks may be left"
        return f"{why}: {self._left} of {self.check.count} tasks are left"
