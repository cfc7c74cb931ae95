"""One task that was begun, to be looked at, waited for or cancelled."""

from __future__ import annotations

import asyncio
from typing import Literal, TypeAlias

import attrs

from holodeck_gen._calls import bounded
from holodeck_gen._engine.engine import Engine
from holodeck_gen._jobs.life import Life
from holodeck_gen._log import Logger
from holodeck_gen._model.outcome import Failure, Outcome, Result

_log = Logger("holodeck_gen.handle")

Progress: TypeAlias = Literal["waiting", "running", "done", "failed", "held", "cancelled"]


@attrs.define(kw_only=True, eq=False)
class AsyncHandle:
    """A begun task."""

    engine: Engine
    life: Life
    run: asyncio.Task[Outcome]
    _cancelled: Failure | None = attrs.field(default=None, init=False)

    @property
    def id(self) -> str:
        """The task's id, or its key once it is admitted: what `attach` takes."""
        return self.life.key

    async def admitted(self) -> str:
        """Wait until the journal knows the task, and return its `id`.

        From then on any process can `attach` to it.
        """
        known = asyncio.ensure_future(self.life.admitted.wait())
        await asyncio.wait({self.run, known}, return_when=asyncio.FIRST_COMPLETED)
        known.cancel()
        return self.id

    def status(self) -> Progress:
        """How it stands; asks nobody."""
        if self._cancelled is not None:
            return self._cancelled.state
        if self.run.done() and not self.run.cancelled():
            return self.run.result().state
        return "running" if self.life.job_ids else "waiting"

    async def outcome(self, *, timeout: float | None = None) -> Outcome:
        """Wait for the outcome; leaving early does not stop the task.

        Args:
            timeout: Seconds; None waits for as long as it takes.

        Raises:
            TimeoutError: It is not there yet.
        """
        async with asyncio.timeout(timeout):
            await asyncio.wait({self.run})
        if self.run.cancelled():
            self._cancelled = self._cancelled or self.engine.outcomes.cancelled(self.life)
            return self._cancelled
        return self.run.result()

    async def result(self, *, timeout: float | None = None) -> Result:
        """Wait for the result.

        Raises:
            TaskError: The task ended without one.
            TimeoutError: It is not there yet.
        """
        outcome = await self.outcome(timeout=timeout)
        if isinstance(outcome, Failure):
            raise outcome.error
        return outcome

    async def cancel(self) -> None:
        """Stop the task; where its job has begun, ask the provider to cancel that, if it can."""
        if self.run.done():
            return
        self.run.cancel()
        await asyncio.wait({self.run})
        if not self.run.cancelled():
            return
        self._cancelled = self.engine.outcomes.cancelled(self.life)
        await self.engine.end(self.life, self._cancelled)
        cancel = getattr(self.life.provider, "cancel", None)
        if cancel is None:
            return
        for job in self.life.jobs:
            if job.ref is not None and job.open:
                try:
                    await bounded(cancel(job.ref), timeout_s=30.0, what="cancel")
                except Exception as error:
                    _log.warning("job.cancel_failed", job_id=job.job_id, error=repr(error))
