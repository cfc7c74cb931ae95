"""The work of one ``run``, once everything that can be checked was checked."""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._cli._estimate import Estimate, part_of
from holodeck_gen._cli._exit import BAD_INPUT, DONE, SOME_FAILED, say, tell
from holodeck_gen._cli._history import History, unfinished
from holodeck_gen._cli._progress import Progress
from holodeck_gen._cli._results import FAILED, Results, outcome_line
from holodeck_gen._cli._summary import Tally, first_line, last_line
from holodeck_gen._cli._voice import Voice, emit_json
from holodeck_gen._cli._where import Where
from holodeck_gen._cli._work import Stop, outcomes, signals
from holodeck_gen._journal.audit import gone
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import FREE, Totals
from holodeck_gen._model.task import Task
from holodeck_gen._taskfile.taskfile import Check, Line
from holodeck_gen.errors import GenerationError, RewriteError, TaskError
from holodeck_gen.events import SlotsSampled

if TYPE_CHECKING:
    from holodeck_gen._model.money import Spending
    from holodeck_gen._model.outcome import Outcome
    from holodeck_gen._studio import AsyncStudio

_SHOWN = 20


@attrs.define(kw_only=True)
class Batch:
    """One invocation.

    Args:
        read: Reads the task file from its start.
        history: What earlier runs have done of it.
        where: Its places.
        check: What the first pass found.
        estimate: What it saw that prices depend on.
        retry_failed: Whether what failed before is tried again.
        pay_again: Keys of failed tasks that are, and are paid for again where all is gone.
        from_failed: Whether the tasks are those of the folder's own ``failed.jsonl``.
        command: What to type to go on.
        limit: How many tasks to begin at most.
        seconds: After how long to stop.
        expanded: Whether expanders make the number of tasks unknown.
        as_json: Whether stdout gets a line for each outcome.
        voice: For the first and the last line.
    """

    read: Callable[[], Iterator[Line]]
    history: History
    retry_failed: bool
    pay_again: frozenset[str]
    from_failed: bool
    command: str
    where: Where
    check: Check
    estimate: Estimate
    limit: int | None
    seconds: float | None
    expanded: bool
    as_json: bool
    voice: Voice
    tally: Tally = attrs.field(factory=Tally, init=False)
    _begun: bool = attrs.field(default=False, init=False)
    _journal: Path | None = attrs.field(default=None, init=False)
    _price: Cost | None = attrs.field(default=None, init=False)
    #: What an expander may have failed on, by key: the journal does not know such tasks.
    _refused: dict[str, Task] = attrs.field(factory=dict, init=False)
    _slots: Sequence[SlotsSampled] = attrs.field(default=(), init=False)

    async def work(self, studio: AsyncStudio) -> int:
        """Run the tasks and return the exit code."""
        began = time.monotonic()
        self.tally.bad_lines = self.check.bad_count
        stop = Stop()
        error: Exception | None = None
        with signals(stop, self.voice), Results(self.where.folder) as results:
            try:
                async with studio:
                    # What is loaded by now stays. To look through it for what may be freed, again
                    # and again, keeps the loop from its work for up to 60 ms.
                    gc.freeze()
                    # Only now does nobody else write here.
                    results.open()
                    self.history.renew(self.read, expanded=self.expanded)
                    self._price = self.estimate.price(studio)
                    for outcome in self.history.missing_results():
                        results.repair(outcome)
                    self._begin(studio, stop)
                    await self._deliver(studio, results, stop)
            except Exception as caught:
                if not self._begun:
                    raise
                # From here on the exit code must not say that nothing was spent.
                error = caught
            finally:
                # Whoever called the command from a program may have something to free.
                gc.unfreeze()
            self._finish(results, stop)
        spending = studio.describe().spending
        return self._conclude(stop, error, spending, seconds=time.monotonic() - began)

    async def check_all(self, studio: AsyncStudio) -> int:
        """Let the provider check every task without running it; return the exit code."""
        wrong = 0
        prices = Totals()
        known = True
        async with studio:
            for line in self.read():
                if line.task is None:
                    continue
                try:
                    studio.check(line.task)
                    price = studio.price(line.task)
                except TaskError as error:
                    wrong += 1
                    if wrong <= _SHOWN:
                        say(f"line {line.number}: {error}")
                    continue
                known = known and price is not None
                prices.add(price or FREE)
            self._price = prices.only if known else None
            todo = self._first_line(studio)
        if wrong:
            say(f"error: {wrong} of {self.check.count} tasks cannot be run")
            return BAD_INPUT
        self.voice.note(f"{todo} · dry run: nothing was generated")
        return SOME_FAILED if self.check.bad_count else DONE

    @property
    def _before(self) -> int:
        """Tasks that earlier runs have finished and that are not tried again."""
        found = self.history.found
        left = 0 if self.retry_failed else max(0, found["failed"] - len(self.pay_again))
        return found["done"] + left

    @property
    def _todo(self) -> int:
        left = self.check.count - (0 if self.expanded else self._before)
        return left if self.limit is None else min(self.limit, left)

    def _first_line(self, studio: AsyncStudio) -> str:
        done = self.history.found["done"]
        # What expanders make of the tasks, nobody has asked for yet.
        price = None if self.expanded else part_of(self._price, self._todo, self.check.count)
        return first_line(
            studio.describe(), self._todo, price=price, before=done, expanded=self.expanded
        )

    def _begin(self, studio: AsyncStudio, stop: Stop) -> None:
        self._begun = True
        info = studio.describe()
        self._journal = info.journal
        if places := self.where.told(info.store):
            self.voice.note(places)
        self.voice.note(self._first_line(studio))
        found = self.history.found
        if found["changed"]:
            self.voice.note(
                f"changed since the last run and generated anew: {found['changed']} of"
                f" {self.check.count} tasks; their old files are kept"
            )
        if info.changed and found.total() - found["new"]:
            self.voice.note(
                f"changed since the last run: {', '.join(info.changed)}; what was already sent"
                " keeps what it had"
            )
        if found["failed"] and not self.retry_failed and not self.pay_again:
            self.voice.note(f"{found['failed']} failed before; --retry-failed tries them again")
        if self.seconds is not None:
            asyncio.get_running_loop().call_later(self.seconds, stop.ask, "time")

    async def _deliver(self, studio: AsyncStudio, results: Results, stop: Stop) -> None:
        total = None if self.expanded else self._todo
        shown = self.voice.animated and not (self.as_json and sys.stdout.isatty())
        with Progress(total, shown=shown) as progress:
            self.tally.before = self.history.found["done"]
            async for outcome in outcomes(studio, self._tasks(), stop, limit=self.limit):
                self.tally.add(outcome)
                results.add(outcome)
                if self._journal is None and outcome.state in ("failed", "held"):
                    results.add_failed(outcome.key, outcome.task)
                elif self.expanded and isinstance(getattr(outcome, "error", None), RewriteError):
                    self._refused[outcome.key] = outcome.task
                self._slots = studio.slots()
                progress.advance(failed=self.tally.failed, slots=self._slots)
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

    def _finish(self, results: Results, stop: Stop) -> None:
        try:
            if self.from_failed and self._unfinished(stop):
                # It may hold what somebody has edited and no run has begun.
                results.abandon()
                self.voice.note(f"{FAILED} is left as it was")
                return
            if self._journal is not None:
                for key, task in unfinished(self._journal):
                    self._refused.pop(key, None)
                    results.add_failed(key, task)
                for key, task in self._refused.items():
                    results.add_failed(key, task)
            results.finish()
        except (OSError, GenerationError) as failure:
            tell(failure)

    @property
    def _left(self) -> int:
        ended = self.tally.before + self.tally.ended
        return 0 if self.expanded else max(0, self.check.count - ended)

    def _unfinished(self, stop: Stop) -> bool:
        if not self.expanded:
            return self._left > 0
        limited = self.limit is not None and self.tally.begun >= self.limit
        return limited or stop.reason is not None

    def _conclude(
        self, stop: Stop, error: Exception | None, spending: Spending, *, seconds: float
    ) -> int:
        unfinished = self._unfinished(stop) or error is not None
        for text in self.tally.warnings:
            self.voice.note(f"warning: {text}")
        for text in self.tally.failures(error):
            self.voice.note(text)
        if error is not None:
            tell(error)
        if unfinished or stop.reason == "interrupted":
            self.voice.note(self._early_end(stop))
            self.voice.note(self.command)
        if self.tally.uncertain:
            self.voice.note(
                f"{self.tally.uncertain} held because a submit had no answer: there may be jobs"
                " that are billed; --retry-uncertain submits them again and may pay twice"
            )
        for text in self._gone():
            self.voice.note(text)
        price = part_of(self._price, self._left, self.check.count)
        words = last_line(
            self.tally,
            left=self._left,
            price=price,
            seconds=seconds,
            spending=spending,
            slots=self._slots,
        )
        self.voice.note(words)
        return self.tally.code(interrupted=stop.reason == "interrupted", unfinished=unfinished)

    def _gone(self) -> Iterator[str]:
        """What is paid for and can no longer be had."""
        if self._journal is None or not self.tally.failed:
            return
        try:
            keys = gone(self._journal)
        except GenerationError as failure:
            tell(failure)
            return
        if keys:
            yield (
                f"{len(keys)} failed because what their jobs made can no longer be had, {keys[0]!r}"
                f" for instance: 'holodeck-gen audit {self._journal.parent}' lists them;"
                " --pay-again ID makes one anew and pays for it again"
            )

    def _early_end(self, stop: Stop) -> str:
        because: dict[Any, str] = {
            "interrupted": "interrupted",
            "time": "the time is up",
            "unread": "nobody reads the output any more",
            None: "ended early",
        }
        why = because[stop.reason]
        if stop.reason is None and self.limit is not None and self.tally.begun >= self.limit:
            why = f"the limit of {self.limit} is reached"
        if self.expanded:
            return f"{why}: some tasks may be left"
        if not self._left:
            return f"{why}: what is held can go on"
        return f"{why}: {self._left} of {self.check.count} tasks are left"
