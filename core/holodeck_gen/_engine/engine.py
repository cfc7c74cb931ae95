"""The life of a task, from admission to its one outcome."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from holodeck_gen._calls import bounded, whole
from holodeck_gen._config.settings import Settings
from holodeck_gen._engine.draft import Drafts
from holodeck_gen._engine.outcomes import Outcomes
from holodeck_gen._engine.route import Router
from holodeck_gen._event_queue import EventQueue
from holodeck_gen._jobs.life import Life
from holodeck_gen._jobs.part import PartRunner
from holodeck_gen._journal.journal import Entry, Journal, Plan, Retry
from holodeck_gen._journal.shares import shares_of
from holodeck_gen._log import Logger
from holodeck_gen._model.outcome import Outcome, Result
from holodeck_gen._model.provider import Provider
from holodeck_gen._model.task import Task
from holodeck_gen._results.sidecar import input_digests
from holodeck_gen._stages.stages import Rewriter
from holodeck_gen.errors import (
    GenerationError,
    InvalidTaskError,
    PausedError,
    ProviderError,
    RewriteError,
    TaskCancelledError,
    TaskError,
)
from holodeck_gen.events import TaskAdmitted, TaskEnded

if TYPE_CHECKING:
    from pathlib import Path

    from holodeck_gen._jobs.delivery import Part

_log = Logger("holodeck_gen.engine")


@attrs.define(kw_only=True, eq=False)
class Engine:
    """Runs tasks. Everything it needs is handed in."""

    #: Finds a provider and account for a task.
    router: Router
    drafts: Drafts
    #: Returns the provider that a task was put to in an earlier run.
    choose_again: Callable[[Task, Plan], Provider]
    #: Starts what the studio waits for.
    spawn: Callable[[Coroutine[Any, Any, Outcome]], asyncio.Task[Outcome]]
    rewriters: Sequence[tuple[str, Rewriter]]
    parts: PartRunner
    journal: Journal
    outcomes: Outcomes
    settings: Settings
    events: EventQueue
    retry: Retry = attrs.field(factory=Retry)
    _adopted: dict[int, tuple[Life, asyncio.Task[Outcome]]] = attrs.field(factory=dict, init=False)

    async def admit(self, lives: Sequence[Life]) -> list[InvalidTaskError | None]:
        """Give tasks their entries; an error for each that has none."""
        answers = await self.journal.admit([(life.task, life.index) for life in lives], self.retry)
        for life, answer in zip(lives, answers, strict=True):
            if isinstance(answer, Entry):
                life.entry = answer
                life.admitted.set()
                if answer.replaces:
                    _log.warning("task.changed", task=answer.key)
                self._tell_admitted(life, answer)
        return [None if isinstance(answer, Entry) else answer for answer in answers]

    def adopt(self, entries: Iterable[Entry]) -> None:
        """Go on at once with what earlier runs have paid for; `run` joins in when it comes."""
        for entry in entries:
            life = Life(index=entry.index, task=entry.task, entry=entry)
            self._adopted[entry.number] = life, self.spawn(self.run(life))

    async def run(self, life: Life, error: GenerationError | None = None) -> Outcome:
        """Return the task's outcome; raises nothing but `CancelledError`.

        Args:
            life: The task; filled in as it runs.
            error: What went wrong with it already.
        """
        life.began = asyncio.get_running_loop().time()
        if life.entry is not None:
            self._tell_admitted(life, life.entry)
        try:
            if error is not None:
                raise error
            if life.entry is None and (error := (await self.admit([life]))[0]) is not None:
                raise error
            assert life.entry is not None
            if life.entry.ending is not None:
                return self.settled(life)
            begun = self._adopted.get(life.entry.number)
            if begun is not None and begun[0] is not life:
                return await self._join(life, *begun)
            outcome = await self._run(life, life.entry)
        except GenerationError as reason:
            outcome = self.outcomes.failure(life, reason)
        except Exception as fault:
            # A fault of a plugin or of ours ends this task only.
            _log.exception("task.crashed", task=life.key)
            wrapped = ProviderError(f"unexpected {type(fault).__name__}: {fault}")
            wrapped.__cause__ = fault
            outcome = self.outcomes.failure(life, wrapped)
        return await self.end(life, outcome)

    def settled(self, life: Life) -> Outcome:
        """The outcome that an earlier run stored."""
        assert life.entry is not None
        outcome = self.journal.outcome(life.entry)
        self._tell_ended(life, outcome)
        return outcome

    async def _join(self, life: Life, other: Life, running: asyncio.Task[Outcome]) -> Outcome:
        """Wait for the run of the same task that began with the studio."""
        assert life.entry is not None
        del self._adopted[life.entry.number]
        life.jobs, life.provider = other.jobs, other.provider
        # Whoever cancels the one who waits means the task.
        return attrs.evolve(await running, task=life.task, index=life.index, key=life.entry.key)

    async def end(self, life: Life, outcome: Outcome) -> Outcome:
        """Tell the journal and the observers; too late to be cancelled.

        Returns:
            The outcome; where it cannot be remembered, one that says so.
        """
        # Cancelled half-way, it would be done in the journal and something else to the caller.
        return await whole(asyncio.ensure_future(self._end(life, outcome)))

    async def _end(self, life: Life, outcome: Outcome) -> Outcome:
        if life.entry is not None:
            try:
                await self.journal.finish(life.entry, outcome)
                spooled = [path for each in life.deliveries for path in each.spooled]
                if spooled:
                    await asyncio.to_thread(_remove, spooled)
            except GenerationError as error:
                life.held = True
                outcome = self.outcomes.failure(life, error)
        if isinstance(outcome, Result):
            _log.info("task.done", task=life.key, files=len(outcome.artifacts))
        else:
            # Of one that was never sent, whoever stopped or paused the run has told already.
            quiet = isinstance(outcome.error, PausedError | TaskCancelledError)
            tell = _log.info if quiet and not outcome.attempts else _log.warning
            tell(
                "task.ended",
                task=life.key,
                state=outcome.state,
                error=type(outcome.error).__name__,
                code=getattr(outcome.error, "code", None),
                job_id=outcome.job_id,
            )
        self._tell_ended(life, outcome)
        return outcome

    def _tell_ended(self, life: Life, outcome: Outcome) -> None:
        if not self.events:
            return
        # An earlier run's outcome knows itself who it was.
        provider = life.provider.name if life.provider else getattr(outcome, "provider", None)
        worked = life.began is not None and not outcome.resumed
        seconds = asyncio.get_running_loop().time() - (life.began or 0.0) if worked else 0.0
        self.events.put(
            TaskEnded(time=self.events.clock(), outcome=outcome, provider=provider, seconds=seconds)
        )

    async def _run(self, life: Life, entry: Entry) -> Outcome:
        self.settings.name.check(life.task)
        # What was sent keeps its words; a rewriter that was added later has nothing to say.
        sent = entry.plan is not None and any(p.state != "admitted" for p in entry.parts.values())
        if self.rewriters and entry.rewritten is None and not sent:
            entry = life.entry = await self._rewrite(entry)
        task = entry.rewritten or entry.task
        if sent:
            assert entry.plan is not None
            # As it was: something may come of that yet.
            life.bind(self.choose_again(task, entry.plan))
            plan = await self._followed_up(life, entry, task)
            parts = await self._parts(life, task, plan)
            return self.outcomes.of_parts(life, entry, task, plan, parts)
        with await self.router.route(life, task, entry.part(0), self._draft) as route:
            while True:
                plan = await self._with_inputs(await route.next(), task)
                await self.journal.planned(entry, plan)
                parts = await self._parts(life, task, plan)
                if not route.goes_on(parts):
                    return self.outcomes.of_parts(life, entry, task, plan, parts)

    async def _parts(self, life: Life, task: Task, plan: Plan) -> list[Part]:
        """Make every part as it is planned."""
        assert life.entry is not None
        entry = life.entry
        shares = shares_of(task, plan, group=life.group_of(task))
        if len(shares) == 1:
            return [await self.parts.run(life, entry, shares[0])]
        async with asyncio.TaskGroup() as group:
            running = [group.create_task(self.parts.run(life, entry, share)) for share in shares]
        return [each.result() for each in running]

    async def _draft(self, task: Task, provider: Provider) -> Plan:
        return await _prepared(task, partial(self.drafts.draft, task, provider))

    async def _followed_up(self, life: Life, entry: Entry, task: Task) -> Plan:
        """The plan as it was, and more where somebody wants what is missing tried again."""
        assert entry.plan is not None
        assert life.provider is not None
        if not self.retry.of_failed(entry.key):
            return entry.plan
        try:
            follow_up = partial(self.drafts.follow_up, life.provider, entry, task, entry.plan)
            plan = await _prepared(task, follow_up)
        except TaskError as error:
            # What was made stays what it is.
            _log.warning("task.not_followed_up", task=entry.key, error=str(error))
            return entry.plan
        if plan is not entry.plan:
            await self.journal.planned(entry, plan)
        return plan

    def _tell_admitted(self, life: Life, entry: Entry) -> None:
        adopted = self._adopted.get(entry.number)
        # What was gone on with when the studio opened is known already when its turn comes.
        known = life.announced or (adopted is not None and adopted[0] is not life)
        if known or entry.ending is not None:
            return
        life.announced = True
        if self.events:
            self.events.put(
                TaskAdmitted(time=self.events.clock(), key=entry.key, index=entry.index)
            )

    async def _with_inputs(self, plan: Plan, task: Task) -> Plan:
        """The plan with the digests of what the task's files hold now, if a sidecar wants them."""
        if not self.settings.sidecar or not task.inputs:
            return plan
        return attrs.evolve(plan, inputs=await asyncio.to_thread(input_digests, task.inputs))

    async def _rewrite(self, entry: Entry) -> Entry:
        """The entry with what the task becomes."""
        task = entry.task
        for name, rewriter in self.rewriters:
            try:
                with self.events.stage("rewrite", key=entry.key, name=name):
                    rewritten = await bounded(
                        rewriter.rewrite(task),
                        timeout_s=self.settings.stage_timeout_s,
                        what=f"rewriter {name!r}",
                    )
                if not isinstance(rewritten, Task):
                    raise TypeError(f"it returned {type(rewritten).__name__}, not a Task")
            except RewriteError:
                raise
            except Exception as error:
                raise RewriteError(
                    f"rewriter {name!r} failed: {str(error) or type(error).__name__}", stage=name
                ) from error
            task = rewritten
        names = tuple(name for name, _ in self.rewriters)
        await self.journal.rewritten(entry, task, names)
        return attrs.evolve(entry, rewritten=task, rewriters=names)


async def _prepared(task: Task, prepare: Callable[[], Plan]) -> Plan:
    """Prepare `task`, in a thread where it has files: a provider reads them to check them."""
    return await asyncio.to_thread(prepare) if task.inputs else prepare()


def _remove(files: Iterable[Path]) -> None:
    # They only take up room: the next start tidies up, too.
    with contextlib.suppress(OSError):
        for file in files:
            file.unlink(missing_ok=True)
