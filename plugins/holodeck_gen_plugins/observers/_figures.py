"""The figures of a run by the conventions of Prometheus.

Base units, ``_total`` for what only grows, no label that tells tasks apart. Names and labels are
listed in docs/how-to/watch-a-run.md and do not change within a major release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

if TYPE_CHECKING:
    from typing import ClassVar, Self

#: Seconds; stages take milliseconds, tasks that wait for a slot hours.
BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 10800)

_SLOTS = ("account", "quota")


class Figures:
    """One set of metrics in one registry; safe to use from several threads."""

    _of: ClassVar[WeakKeyDictionary[CollectorRegistry, Figures]] = WeakKeyDictionary()

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, meaning: str, *labels: str) -> Counter:
            return Counter(f"holodeck_gen_{name}", meaning, labels, registry=registry)

        def gauge(name: str, meaning: str, *labels: str) -> Gauge:
            return Gauge(f"holodeck_gen_{name}", meaning, labels, registry=registry)

        def seconds(name: str, meaning: str, *labels: str) -> Histogram:
            return Histogram(
                f"holodeck_gen_{name}_duration_seconds",
                meaning,
                labels,
                buckets=BUCKETS,
                registry=registry,
            )

        self.tasks = counter("tasks", "Tasks that have ended.", "provider", "state", "error")
        self.tasks_resumed = counter("tasks_resumed", "Tasks that an earlier run had ended.")
        self.tasks_in_work = gauge("tasks_in_work", "Tasks that were taken in and have not ended.")
        self.task_seconds = seconds(
            "task", "From the beginning of a task's work to its end.", "provider", "state"
        )
        self.artifacts = counter("artifacts", "Files that were made.", "provider")
        self.submitted = counter("jobs_submitted", "Jobs that a provider accepted.", "provider")
        self.job_seconds = seconds(
            "job", "From a job's submit to the poll that saw its end.", "provider", "phase"
        )
        self.stage_seconds = seconds("stage", "Time in one stage of a task.", "stage", "name")
        self.stage_errors = counter(
            "stage_errors", "Stages that ended in an error.", "stage", "name", "error"
        )
        self.retries = counter(
            "retries", "Requests that were repeated.", "provider", "action", "error"
        )
        self.refusals = counter(
            "slot_refusals", "Submits that were refused as one job too many.", *_SLOTS
        )
        self.taken = gauge("slots_taken", "Job slots with a job.", *_SLOTS)
        self.ceiling = gauge("slots_ceiling", "Job slots that are allowed.", *_SLOTS)
        self.waiting = gauge("jobs_waiting", "Jobs that wait for a slot.", *_SLOTS)
        self.busy = gauge(
            "slots_busy_ratio", "Share of the slot-seconds so far that were taken.", *_SLOTS
        )
        self.taken_seconds = counter(
            "slots_taken_seconds", "Slot-seconds in which a slot had a job.", *_SLOTS
        )
        self.allowed_seconds = counter(
            "slots_allowed_seconds", "Slot-seconds that might have been, with work.", *_SLOTS
        )
        self.cost = counter("cost", "What jobs cost, by currency.", "provider", "currency")
        self.paused = gauge(
            "account_paused", "1 where nothing more is submitted, at least of one quota.", "account"
        )
        self.dropped = counter("events_dropped", "Events that came too fast to be counted.")

    @classmethod
    def of(cls, registry: CollectorRegistry) -> Self:
        """Those of `registry`, which has them once."""
        if registry not in cls._of:
            cls._of[registry] = cls(registry)
        found = cls._of[registry]
        assert isinstance(found, cls)
        return found
