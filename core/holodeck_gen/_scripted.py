"""A provider that follows a script; public as `holodeck_gen.testing`."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.provider import (
    Billing,
    Bytes,
    JobRef,
    JobStatus,
    Limits,
    Output,
    Prepared,
)
from holodeck_gen._model.values import JsonObject
from holodeck_gen.errors import (
    ContentRejectedError,
    InvalidTaskError,
    JobFailedError,
    SlotRefusedError,
    TaskError,
)

if TYPE_CHECKING:
    from holodeck_gen._model.task import Task

#: A picture of one black pixel.
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
    "0000000c4944415478da63606060000000040001c8eaebf90000000049454e44ae426082"
)

#: What one submit or poll does: raise this; ``"accept"``; ``"hang"`` for ever; be ``"late"``
#: (`ScriptedProvider.late_s`); ``"lose"`` the answer; return ``"nonsense"``; ``"cancel"`` itself.
#: A submit makes its job before it hangs, is late, loses its answer or returns nonsense.
Act: TypeAlias = Exception | Literal["accept", "hang", "late", "lose", "nonsense", "cancel"]


@attrs.frozen(kw_only=True)
class Script:
    """How the provider treats one part.

    Attributes:
        job_s: Seconds from the submit to the job's end; infinity never ends.
        submits: What the submits do, in turn; later ones are accepted.
        polls: What the polls do, in turn; later ones answer.
        error: Why the job fails; None where it succeeds.
        outputs: What it makes; None means one tiny PNG for each picture asked for.
        cost: What the provider says at its end that it cost, if it says.
    """

    job_s: float = 10.0
    submits: Sequence[Act] = ()
    polls: Sequence[Act] = ()
    error: TaskError | None = None
    outputs: Sequence[Output] | None = None
    cost: Cost | None = None


@attrs.define(kw_only=True)
class ScriptedJob:
    """A job as the provider knows it; times are the loop's."""

    key: str
    request: JsonObject
    began: float
    ends: float
    polls: int = 0


@attrs.define(kw_only=True)
class ScriptedProvider:
    """A provider that does what its script says and remembers what it saw.

    Attributes:
        scripts: By prompt; `default` for every other prompt.
        direct: Whether a submit lasts as long as the job and answers with its end.
        quota: Jobs at once above which a submit is refused; None refuses none. A function is
            given the loop's time.
        lag_s: Seconds for which an ended job still counts for the quota.
        latency_s: Seconds that a submit takes; half of them before it arrives.
        foreign: Jobs of others at a loop time; they count for the quota.
        per_job: Pictures that one job makes.
        price: What it says before that a job will cost, if it says.
        jobs: Every job that was made, by id.
        created: How many jobs were made for each part key.
        submits: Loop times at which submits arrived; `polls` likewise, and `refusals` those of
            submits that were refused because of the quota.
        most_at_once: Most jobs that ran at once, as the provider saw it.
        cancelled: Ids of jobs that were cancelled.
    """

    name: str = "scripted"
    account: str = "test"
    billing: Billing = "paid"
    limits: Limits = attrs.field(factory=lambda: Limits(max_jobs=2))
    scripts: Mapping[str, Script] = attrs.field(factory=dict)
    default: Script = attrs.field(factory=Script)
    direct: bool = False
    quota: int | Callable[[float], int] | None = None
    lag_s: float = 0.0
    latency_s: float = 0.0
    foreign: Callable[[float], int] = attrs.field(default=lambda _now: 0)
    per_job: int = 1
    price: Cost | None = None
    late_s: float = 1000.0
    jobs: dict[str, ScriptedJob] = attrs.field(factory=dict, init=False)
    created: Counter[str] = attrs.field(factory=Counter, init=False)
    submits: list[float] = attrs.field(factory=list, init=False)
    polls: list[float] = attrs.field(factory=list, init=False)
    refusals: list[float] = attrs.field(factory=list, init=False)
    most_at_once: int = attrs.field(default=0, init=False)
    cancelled: list[str] = attrs.field(factory=list, init=False)
    closed: bool = attrs.field(default=False, init=False)
    _counted: list[ScriptedJob] = attrs.field(factory=list, init=False)
    _running: list[ScriptedJob] = attrs.field(factory=list, init=False)
    _sent: Counter[str] = attrs.field(factory=Counter, init=False)

    def account_key(self) -> str:
        """The name and the account."""
        return f"{self.name}:{self.account}"

    def quota_key(self, task: Task) -> str:
        """One quota for each kind."""
        return task.kind

    def prepare(self, task: Task) -> Prepared:
        """Pass on prompt, number and seed; refuse any option."""
        if task.provider_options:
            raise InvalidTaskError(f"{self.name} takes no options")
        request = {"prompt": task.prompt, "n": task.n, "seed": task.seed}
        return Prepared(
            request=request, per_job=self.per_job, seed_effective=True, estimate=self.price
        )

    async def submit(self, request: JsonObject, *, key: str) -> JobRef | JobStatus:
        """Make a job, or do what the script says."""
        if not self.latency_s:
            return await self._submit(request, key)
        await asyncio.sleep(self.latency_s / 2)
        try:
            return await self._submit(request, key)
        finally:
            await asyncio.sleep(self.latency_s / 2)

    async def _submit(self, request: JsonObject, key: str) -> JobRef | JobStatus:
        now = asyncio.get_running_loop().time()
        self.submits.append(now)
        script = self._script(request)
        act = _act(script.submits, self._sent[key])
        self._sent[key] += 1
        if isinstance(act, Exception) or act == "cancel":
            await _play(act, self.late_s)
        if self._full(now):
            self.refusals.append(now)
            raise SlotRefusedError("too many jobs at once", code="JobNumExceed")
        job = ScriptedJob(key=key, request=request, began=now, ends=now + script.job_s)
        ref = JobRef(job_id=f"job-{len(self.jobs)}")
        self.jobs[ref.job_id] = job
        self.created[key] += 1
        self._counted.append(job)
        self._running = [each for each in self._running if now < each.ends] + [job]
        self.most_at_once = max(self.most_at_once, len(self._running))
        if act != "accept":
            await _play(act, self.late_s)
            if act == "nonsense":
                return "nonsense"  # type: ignore[return-value]
        if not self.direct:
            return ref
        await asyncio.sleep(script.job_s)
        return self._end(job)

    async def poll(self, job: JobRef) -> JobStatus:
        """Tell how the job is doing, or do what the script says."""
        now = asyncio.get_running_loop().time()
        self.polls.append(now)
        known = self.jobs.get(job.job_id)
        if known is None:
            raise JobFailedError(f"there is no job {job.job_id}", code="JobNotExist")
        act = _act(self._script(known.request).polls, known.polls)
        known.polls += 1
        if isinstance(act, JobFailedError | ContentRejectedError):
            # These say that the job has ended.
            known.ends = min(known.ends, now)
        if act != "accept":
            await _play(act, self.late_s)
            if act == "nonsense":
                return "nonsense"  # type: ignore[return-value]
        if asyncio.get_running_loop().time() < known.ends:
            return JobStatus(phase="running")
        return self._end(known)

    async def cancel(self, job: JobRef) -> None:
        """End the job now."""
        self.cancelled.append(job.job_id)
        self.jobs[job.job_id].ends = asyncio.get_running_loop().time()

    async def aclose(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def running(self, now: float) -> int:
        """Jobs that run at this loop time."""
        return sum(1 for job in self.jobs.values() if job.began <= now < job.ends)

    @property
    def bill(self) -> Decimal:
        """What all jobs have cost: what their scripts say, else the price."""
        costs = [self._script(job.request).cost or self.price for job in self.jobs.values()]
        return sum((cost.amount for cost in costs if cost), Decimal())

    def _full(self, now: float) -> bool:
        if self.quota is None:
            return False
        quota = self.quota(now) if callable(self.quota) else self.quota
        # What does not count any more never will again.
        self._counted = [job for job in self._counted if now < job.ends + self.lag_s]
        return len(self._counted) + self.foreign(now) >= quota

    def _script(self, request: JsonObject) -> Script:
        return self.scripts.get(request["prompt"], self.default)

    def _end(self, job: ScriptedJob) -> JobStatus:
        script = self._script(job.request)
        if script.error is not None:
            return JobStatus(phase="failed", error=script.error, cost=script.cost)
        picture = Bytes(data=PNG, media_type="image/png", seed=job.request["seed"])
        made = [picture] * job.request["n"] if script.outputs is None else script.outputs
        return JobStatus(phase="done", outputs=tuple(made), cost=script.cost)


def _act(acts: Sequence[Act], number: int) -> Act:
    return acts[number] if number < len(acts) else "accept"


async def _play(act: Act, late_s: float) -> None:
    if isinstance(act, Exception):
        raise act
    match act:
        case "hang":
            await asyncio.Event().wait()
        case "late":
            await asyncio.sleep(late_s)
        case "lose":
            raise ConnectionResetError("the connection was reset after the request was sent")
        case "cancel":
            raise asyncio.CancelledError
        case _:
            return
