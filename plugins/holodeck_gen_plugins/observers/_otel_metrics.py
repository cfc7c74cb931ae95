"""The figures of a run as OpenTelemetry's metrics.

Names, units and kinds of instruments follow its conventions
(https://opentelemetry.io/docs/specs/semconv/general/metrics/, 2026-11): seconds are ``s``, things
that are counted ``{thing}``, a share ``1``. No attribute tells tasks apart.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import holodeck_gen as hg
from holodeck_gen import events
from holodeck_gen_plugins.observers._slots import SlotChange, Slots

if TYPE_CHECKING:
    from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter

#: Seconds; stages take milliseconds, tasks that wait for a slot hours.
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)

ERROR = "error.type"
PROVIDER = "holodeck_gen.provider"
ACCOUNT = "holodeck_gen.account"
QUOTA = "holodeck_gen.quota"


class OtelMetrics:
    """Counts the events of one studio."""

    def __init__(self, meter: Meter) -> None:
        def counter(name: str, unit: str, meaning: str) -> Counter:
            return meter.create_counter(f"holodeck_gen.{name}", unit, meaning)

        def level(name: str, unit: str, meaning: str) -> UpDownCounter:
            return meter.create_up_down_counter(f"holodeck_gen.{name}", unit, meaning)

        def seconds(name: str, meaning: str) -> Histogram:
            return meter.create_histogram(
                f"holodeck_gen.{name}.duration",
                "s",
                meaning,
                explicit_bucket_boundaries_advisory=BUCKETS,
            )

        self._task = seconds("task", "From the beginning of a task's work to its end.")
        self._active = level("task.active", "{task}", "Tasks taken in that have not ended.")
        self._resumed = counter("task.resumed", "{task}", "Tasks that an earlier run had ended.")
        self._artifacts = counter("artifact.made", "{artifact}", "Files that were made.")
        self._submitted = counter("job.submitted", "{job}", "Jobs that a provider accepted.")
        self._job = seconds("job", "From a job's submit to the poll that saw its end.")
        # A currency is no unit of UCUM, and there may be several: it is an attribute.
        self._cost = counter("job.cost", "{currency}", "What jobs cost.")
        self._stage = seconds("stage", "Time in one stage of a task.")
        self._retries = counter("request.retries", "{request}", "Requests that were repeated.")
        self._refusals = counter("slot.refusals", "{request}", "Submits refused as one too many.")
        self._usage = level("slot.usage", "{slot}", "Job slots with a job.")
        self._pending = level("slot.pending_jobs", "{job}", "Jobs that wait for a slot.")
        # No sum: the ceiling is the account's, for all studios.
        self._limit = meter.create_gauge(
            "holodeck_gen.slot.limit", "{slot}", "Job slots that are allowed."
        )
        self._utilization = meter.create_gauge(
            "holodeck_gen.slot.utilization", "1", "Share of the slot-seconds that were taken."
        )
        self._taken = counter("slot.taken_time", "s", "Slot-seconds with a job.")
        self._allowed = counter("slot.allowed_time", "s", "Slot-seconds that might have been.")
        self._pauses = counter("account.pauses", "{pause}", "Pauses of an account.")
        self._dropped = counter("event.dropped", "{event}", "Events that came too fast.")
        self._slots = Slots()
        self._in_work: set[str] = set()

    def __call__(self, event: events.Event) -> None:
        """Count one event."""
        match event:
            case events.TaskAdmitted():
                self._in_work.add(event.key)
                self._active.add(1)
            case events.StageEnded(error="CancelledError"):
                # How long something took that was stopped says nothing.
                pass
            case events.StageEnded():
                stage: dict[str, str] = {"holodeck_gen.stage": event.stage}
                if event.name is not None:
                    stage["holodeck_gen.stage.name"] = event.name
                self._stage.record(event.seconds, stage | _error(event.error))
            case events.JobSubmitted():
                self._submitted.add(1, {PROVIDER: event.provider})
            case events.RequestRetried():
                action = {PROVIDER: event.provider, "holodeck_gen.action": event.action}
                self._retries.add(1, action | _error(event.error))
            case events.JobEnded():
                provider = {PROVIDER: event.provider}
                self._job.record(event.seconds, provider | {"holodeck_gen.job.phase": event.phase})
                if event.cost is not None and event.cost.amount:
                    currency = {"holodeck_gen.currency": event.cost.currency}
                    self._cost.add(float(event.cost.amount), provider | currency)
            case events.SlotsSampled():
                self._sample(event)
            case events.AccountPaused():
                self._pauses.add(1, {ACCOUNT: event.account})
            case events.TaskEnded():
                self._end(event)
            case events.EventsDropped():
                self._dropped.add(event.count)

    def close(self) -> None:
        """Take back what is only true while the studio is open."""
        self._active.add(-len(self._in_work))
        self._in_work.clear()
        for change in self._slots.leave():
            self._level(change)

    def _sample(self, event: events.SlotsSampled) -> None:
        slots = {ACCOUNT: event.account, QUOTA: event.quota}
        change = self._slots.change(event)
        self._level(change)
        self._refusals.add(change.refusals, slots)
        self._taken.add(change.taken_s, slots)
        self._allowed.add(change.allowed_s, slots)
        self._limit.set(event.ceiling, slots)
        if event.busy is not None:
            self._utilization.set(event.busy, slots)

    def _level(self, change: SlotChange) -> None:
        slots = {ACCOUNT: change.account, QUOTA: change.quota}
        self._usage.add(change.taken, slots)
        self._pending.add(change.waiting, slots)

    def _end(self, event: events.TaskEnded) -> None:
        outcome = event.outcome
        if outcome.key in self._in_work:
            self._in_work.remove(outcome.key)
            self._active.add(-1)
        if outcome.resumed:
            self._resumed.add(1)
            return
        provider = {PROVIDER: event.provider} if event.provider else {}
        error = None if isinstance(outcome, hg.Result) else type(outcome.error).__name__
        state = {"holodeck_gen.task.state": outcome.state}
        self._task.record(event.seconds, provider | state | _error(error))
        self._artifacts.add(len(outcome.artifacts), provider)


def _error(name: str | None) -> dict[str, str]:
    return {} if name is None else {ERROR: name}
