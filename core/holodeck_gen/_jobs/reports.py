"""What a job tells of itself: to the log, and to those who observe the run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from holodeck_gen._event_queue import EventQueue
from holodeck_gen._journal.journal import PartKey
from holodeck_gen._log import Logger
from holodeck_gen.errors import RetryableError, SlotRefusedError
from holodeck_gen.events import JobEnded, RequestRetried, Stage

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from holodeck_gen._model.artifact import Cost
    from holodeck_gen._model.provider import Action

_log = Logger("holodeck_gen.job")

#: Seconds; a refusal of a slot that holds up submits for less is nothing to worry about.
QUIET_S = 5.0


@attrs.frozen(kw_only=True, eq=False)
class JobReports:
    """Of one part of a task, at one provider."""

    key: PartKey
    provider: str
    events: EventQueue

    def stage(
        self, stage: Stage, *, name: str | None = None, began: float | None = None
    ) -> AbstractContextManager[None]:
        """Time a stage. As `EventQueue.stage`."""
        task, part = self.key.task, self.key.index
        return self.events.stage(stage, key=task, part=part, name=name, began=began)

    def retried(self, action: Action, error: RetryableError, wait_s: float) -> None:
        """A request is sent again after a while."""
        # That there are no more slots than are found is in the nature of a search.
        searching = isinstance(error, SlotRefusedError) and wait_s < QUIET_S
        tell = _log.info if searching else _log.warning
        tell(
            "request.retried",
            action=action,
            part=str(self.key),
            provider=self.provider,
            error=type(error).__name__,
            code=error.code,
            wait_s=round(wait_s, 3),
        )
        if self.events:
            self.events.put(
                RequestRetried(
                    time=self.events.clock(),
                    key=self.key.task,
                    part=self.key.index,
                    provider=self.provider,
                    action=action,
                    error=type(error).__name__,
                    code=error.code,
                    wait_s=wait_s,
                )
            )

    def tried_in_vain(self) -> None:
        """A submit was sent before its slot was known to be free, and was refused."""
        _log.debug("submit.tried_in_vain", part=str(self.key))

    def kept(self, job_id: str | None, seconds: float) -> None:
        """A slot is left to a job that nobody waits for, for so long at most."""
        # Else a run with few slots would stand still and not say why.
        _log.warning("slot.kept", part=str(self.key), job_id=job_id, at_most_s=round(seconds))

    def not_renewed(self, job_id: str | None, error: Exception) -> None:
        """An ended job could not be asked once more."""
        _log.warning("job.renewal_failed", job_id=job_id, error=repr(error))

    def lingers(self, job_id: str | None, error: Exception) -> None:
        """A job that nobody waits for could not be asked whether it has ended."""
        _log.debug("job.linger_poll_failed", job_id=job_id, error=repr(error))

    def ended(
        self,
        job_id: str | None,
        phase: str,
        *,
        seconds: float,
        held: int,
        ceiling: int,
        cost: Cost | None,
    ) -> None:
        """A job has ended, as `JobEnded` tells."""
        _log.info(
            "job.ended", part=str(self.key), job_id=job_id, phase=phase, seconds=round(seconds, 3)
        )
        if self.events:
            self.events.put(
                JobEnded(
                    time=self.events.clock(),
                    key=self.key.task,
                    part=self.key.index,
                    provider=self.provider,
                    job_id=job_id,
                    phase=phase,
                    seconds=seconds,
                    held=held,
                    ceiling=ceiling,
                    cost=cost,
                )
            )
