"""Jobs and their slots. A job's state follows from the time alone; nothing runs."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs
from immutabledict import immutabledict

from holodeck_gen_providers.hunyuan.emulator._interfaces import Interface

Phase: TypeAlias = Literal["queued", "running", "done", "failed"]


@attrs.frozen(kw_only=True)
class Wish:
    """What a job makes, read from its parameters.

    Attributes:
        prompt: The words; empty where only a picture was given.
        count: Pictures.
        width: Pixels; `height` likewise.
        seed: What was asked for, or drawn.
        style: As told; for the drawing.
        avoid: As told; for the drawing.
        rewrite: Whether the prompt is to be revised.
        format: The file's name extension.
        inline: Whether the answer carries the picture itself, in base64.
    """

    prompt: str
    count: int = 1
    width: int = 1024
    height: int = 1024
    seed: int = 0
    style: str | None = None
    avoid: str | None = None
    rewrite: bool = False
    format: str = "png"
    inline: bool = False


@attrs.define(kw_only=True, eq=False)
class Job:
    """One accepted job. Times are seconds since the epoch.

    Attributes:
        id: Told to whoever submitted it.
        interface: How it was submitted.
        account: Whose it is.
        wish: What it makes.
        created: When it was accepted.
        starts: When it stops waiting.
        ends: When it is done or failed; infinity never ends.
        error: The code with which it fails.
        missing: Pictures that are not made; the last ones.
        faults: Those decided at its start, with their values.
        queries: How often it was asked after.
        found: When it was first asked after since its end; infinity before.
    """

    id: str
    interface: Interface
    account: str
    wish: Wish
    created: float
    starts: float
    ends: float
    error: str | None = None
    missing: int = 0
    faults: Mapping[str, str] = immutabledict()
    queries: int = 0
    found: float = math.inf

    def phase(self, now: float) -> Phase:
        """How it stands."""
        if now >= self.ends:
            return "failed" if self.error else "done"
        return "running" if now >= self.starts else "queued"

    def status(self, now: float) -> str:
        """`phase` in the dialect's own word."""
        phase = self.phase(now)
        if phase in ("queued", "running") and "odd-status" in self.faults:
            return self.faults["odd-status"]
        # Where several words mean the same, the first.
        words = self.interface.dialect.words.phases
        return next(word for word, meaning in words.items() if meaning == phase)

    def unknown(self, now: float) -> bool:
        """Count a query; whether it is answered as if there were no such job."""
        self.queries += 1
        if now >= self.ends:
            self.found = min(self.found, now)
        return self.queries <= float(self.faults.get("unknown-at-first", "0"))

    @property
    def made(self) -> int:
        """Pictures there will be."""
        return 0 if self.error or "no-picture" in self.faults else self.wish.count - self.missing


@attrs.define(eq=False)
class Jobs:
    """Every job of the service.

    Args:
        slot_lag_s: Seconds that a slot stays taken after its job's end.
        keep_s: Seconds after which a job and its files are forgotten.
        bill_failures: Whether pictures are billed that were not made.

    Attributes:
        created: How many there were.
        most_at_once: The most that ran at once, by slot key.
        billed: Pictures of the jobs that have ended which are to be paid for.
    """

    slot_lag_s: float
    keep_s: float
    bill_failures: bool = False
    created: int = attrs.field(default=0, init=False)
    most_at_once: Counter[str] = attrs.field(factory=Counter, init=False)
    billed: int = attrs.field(default=0, init=False)
    _jobs: dict[str, Job] = attrs.field(factory=dict, init=False)
    _running: dict[str, list[float]] = attrs.field(factory=dict, init=False)
    _slots: dict[str, list[float]] = attrs.field(factory=dict, init=False)
    _ends: list[tuple[float, int, Job]] = attrs.field(factory=list, init=False)
    _order: itertools.count[int] = attrs.field(factory=itertools.count, init=False)
    _busy_s: float = attrs.field(default=0.0, init=False)

    def taken(self, slot_key: str, now: float) -> int:
        """Slots that cannot be had: those of running jobs, and those not yet given back."""
        return _still(self._slots.setdefault(slot_key, []), now)

    def add(self, job: Job, slot_key: str) -> None:
        """Begin `job` in a slot."""
        self._forget(job.created)
        self.created += 1
        self._jobs[job.id] = job
        heapq.heappush(self._slots.setdefault(slot_key, []), job.ends + self.slot_lag_s)
        heapq.heappush(self._ends, (job.ends, next(self._order), job))
        running = self._running.setdefault(slot_key, [])
        heapq.heappush(running, job.ends)
        at_once = _still(running, job.created)
        self.most_at_once[slot_key] = max(self.most_at_once[slot_key], at_once)

    def find(self, job_id: str, account: str, interface: Interface, now: float) -> Job | None:
        """The job, if it is this account's and of this interface and not forgotten."""
        job = self._jobs.get(job_id)
        if job is None or job.account != account or job.interface != interface:
            return None
        return job if now < job.created + self.keep_s else None

    def of_file(self, job_id: str) -> Job | None:
        """The job whose file is asked for."""
        return self._jobs.get(job_id)

    def told(self) -> list[Mapping[str, Any]]:
        """The times and queries of each job, in the order of their submits."""
        return [
            {
                "created": job.created,
                "ends": job.ends if math.isfinite(job.ends) else None,
                "found": job.found if math.isfinite(job.found) else None,
                "queries": job.queries,
            }
            for job in self._jobs.values()
        ]

    def settle(self, now: float) -> None:
        """Account for the jobs that have ended."""
        while self._ends and self._ends[0][0] <= now:
            _, _, job = heapq.heappop(self._ends)
            self.billed += job.wish.count if self.bill_failures else job.made
            self._busy_s += job.ends - job.created

    def busy_slot_s(self, now: float) -> float:
        """Seconds that jobs have spent in slots, without the lag."""
        self.settle(now)
        return self._busy_s + sum(now - job.created for _, _, job in self._ends)

    def unfinished(self, now: float) -> int:
        """Jobs that have not ended."""
        self.settle(now)
        return len(self._ends)

    def _forget(self, now: float) -> None:
        self.settle(now)
        # They stand in the order of their beginning, and one is added for at most two removed.
        for job_id in list(itertools.islice(self._jobs, 2)):
            if self._jobs[job_id].created + self.keep_s <= now:
                del self._jobs[job_id]


def _still(ends: list[float], now: float) -> int:
    while ends and ends[0] <= now:
        heapq.heappop(ends)
    return len(ends)
