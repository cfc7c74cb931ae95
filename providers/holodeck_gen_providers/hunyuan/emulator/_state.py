"""Everything that the service remembers; a reset is a new one."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from holodeck_gen_providers.hunyuan.emulator._faults import FaultPlan
from holodeck_gen_providers.hunyuan.emulator._interfaces import UNDOCUMENTED_MAX_JOBS, Interface
from holodeck_gen_providers.hunyuan.emulator._jobs import Jobs
from holodeck_gen_providers.hunyuan.emulator._rates import RateWindows
from holodeck_gen_providers.hunyuan.emulator._settings import Settings


@attrs.define(eq=False)
class State:
    """Jobs, windows, chances and counters.

    Attributes:
        settings: How the service behaves.
        clock: Seconds since the epoch.
        base_url: Where results are; scheme, host and port.
        durations: Where the seconds of jobs come from: the next job takes the next ones, whatever
            else is left to chance.
        counts: ``submits``, ``queries``, ``downloads``, ``leaked_credentials``.
        refusals: By code.
        prompts: Jobs created for each prompt.
    """

    settings: Settings
    clock: Callable[[], float]
    base_url: str
    jobs: Jobs = attrs.field(init=False)
    rates: RateWindows = attrs.field(factory=RateWindows, init=False)
    faults: FaultPlan = attrs.field(init=False)
    chance: random.Random = attrs.field(init=False)
    durations: random.Random = attrs.field(init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    refusals: Counter[str] = attrs.field(factory=Counter, init=False)
    prompts: Counter[str] = attrs.field(factory=Counter, init=False)

    def __attrs_post_init__(self) -> None:
        self.jobs = Jobs(
            slot_lag_s=self.settings.slot_lag_s,
            keep_s=self.settings.keep_s,
            bill_failures=self.settings.bill_failures,
        )
        self.faults = FaultPlan(self.settings.faults, self.settings.seed)
        self.chance = random.Random(f"{self.settings.seed}/jobs")
        self.durations = random.Random(f"{self.settings.seed}/durations")

    def change(self, **changes: Any) -> None:
        """Behave otherwise from now on; jobs that run are not touched.

        Args:
            changes: Fields of `Settings`.
        """
        self.settings = attrs.evolve(self.settings, **changes)
        self.jobs.slot_lag_s = self.settings.slot_lag_s
        self.jobs.keep_s = self.settings.keep_s
        self.jobs.bill_failures = self.settings.bill_failures
        if "faults" in changes:
            self.faults = FaultPlan(self.settings.faults, self.settings.seed)

    def request_id(self) -> str:
        """A new id; every reply has one."""
        return str(uuid.UUID(int=self.chance.getrandbits(128), version=4))

    def clock_offset(self, dialect: str) -> float:
        """Seconds by which the clock is wrong for one request."""
        return sum(float(each.value) for each in self.faults.strike("clock", dialect=dialect))

    def max_jobs(self, interface: Interface) -> int:
        """Slots of one account."""
        return self.settings.max_jobs or interface.models[0].max_jobs or UNDOCUMENTED_MAX_JOBS

    def submit_rate(self, interface: Interface) -> float | None:
        """Submits a second."""
        chosen = self.settings.submit_rate
        return interface.models[0].submit_rate if chosen is None else chosen

    def poll_rate(self, interface: Interface) -> float | None:
        """Queries a second."""
        chosen = self.settings.poll_rate
        return interface.models[0].poll_rate if chosen is None else chosen

    def url_ttl_s(self, interface: Interface) -> float:
        """Seconds for which an address works."""
        chosen = self.settings.url_ttl_s
        return interface.models[0].url_ttl_s if chosen is None else chosen

    def stats(self) -> Mapping[str, Any]:
        """The counters, as JSON."""
        now = self.clock()
        return {
            "submits": self.counts["submits"],
            "jobs_created": self.jobs.created,
            "queries": self.counts["queries"],
            "downloads": self.counts["downloads"],
            "refusals": dict(self.refusals),
            "max_jobs_at_once": max(self.jobs.most_at_once.values(), default=0),
            "max_jobs_at_once_by_quota": dict(self.jobs.most_at_once),
            "busy_slot_seconds": self.jobs.busy_slot_s(now),
            "unfinished_jobs": self.jobs.unfinished(now),
            "prompts": dict(self.prompts),
            "billed": self.jobs.billed,
            "faults": dict(self.faults.struck),
            "leaked_credentials": self.counts["leaked_credentials"],
        }
