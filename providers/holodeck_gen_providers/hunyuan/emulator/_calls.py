"""Submits and queries, whatever dialect they came in: limits, moderation, slots, faults."""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from holodeck_gen_providers.hunyuan._tables import Model
from holodeck_gen_providers.hunyuan.emulator._checks import check_parameters
from holodeck_gen_providers.hunyuan.emulator._damage import damaged
from holodeck_gen_providers.hunyuan.emulator._interfaces import Interface
from holodeck_gen_providers.hunyuan.emulator._jobs import Job, Wish
from holodeck_gen_providers.hunyuan.emulator._wire import RefusedError, Reply
from holodeck_gen_providers.hunyuan.emulator._wishes import read_wish, refuse_words, rejection

if TYPE_CHECKING:
    from holodeck_gen_providers.hunyuan.emulator._faults import Fault
    from holodeck_gen_providers.hunyuan.emulator._state import State

#: Seconds that a direct answer which never comes is held back.
_FOREVER_S = 24 * 3600.0

_FULL = "RequestLimitExceeded.JobNumExceed"
_BEFORE = {"drop-before-accept", "stall-before-accept", "http-before-accept"}


class Face(Protocol):
    """A dialect's way of saying things."""

    def accepted(self, job: Job, *, told: bool) -> Reply:
        """The answer to a submit; without the id where it is not to be told."""
        ...

    def described(self, job: Job, now: float) -> Reply:
        """The answer to a query."""
        ...

    def finished(self, job: Job, *, told: bool) -> Reply:
        """The answer of a direct call; without its picture where it is not to be told."""
        ...

    def refused(self, error: RefusedError) -> Reply:
        """The answer that says why not."""
        ...


@attrs.frozen(kw_only=True)
class Call:
    """One authenticated request.

    Attributes:
        face: Words the answer.
        interface: What it is for.
        model: The row of it.
        account: Whose it is: a secret id or a digest of a key.
        region: Empty where the dialect has none.
        parameters: JSON.
    """

    face: Face
    interface: Interface
    model: Model
    account: str
    region: str = ""
    parameters: Mapping[str, Any]

    @property
    def dialect(self) -> str:
        """The dialect's name."""
        return self.interface.dialect.name


def submit(state: State, call: Call, now: float) -> Reply:
    """Make a job, or refuse it, or have an accident with it.

    Raises:
        RefusedError: There is no job.
    """
    state.counts["submits"] += 1
    prompt = _prompt_of(call)
    struck = state.faults.strike("submit", dialect=call.dialect, prompt=prompt)
    fault = struck[0] if struck else None
    if fault is not None:
        if fault.name in _BEFORE:
            return damaged(Reply(), fault)
        _refuse_by(fault, call)
    key = ("submit", call.account, call.interface.name, call.region)
    if not state.rates.admits(key, state.submit_rate(call.interface), now):
        raise _too_fast()
    check_parameters(call.interface, call.model, call.parameters)
    wish = read_wish(call.interface, call.model, call.parameters, state.chance)
    slots = f"{call.account}/{call.dialect}/{call.interface.name}"
    most = state.max_jobs(call.interface)
    if state.jobs.taken(slots, now) >= most:
        raise _full(most)
    refuse_words(state.settings, wish)
    job = _begin(state, call, wish, now)
    state.jobs.add(job, slots)
    state.prompts[wish.prompt] += 1
    told = fault is None or fault.name != "no-job-id"
    if call.interface.direct:
        reply = _direct(call.face, job, told=told)
    else:
        reply = call.face.accepted(job, told=told)
    return reply if fault is None else damaged(reply, fault)


def query(state: State, call: Call, job_id: str, now: float) -> Reply:
    """Say how a job is doing.

    Raises:
        RefusedError: It cannot be told.
    """
    state.counts["queries"] += 1
    job = state.jobs.find(job_id, call.account, call.interface, now)
    prompt = job.wish.prompt if job is not None else ""
    struck = state.faults.strike("query", dialect=call.dialect, prompt=prompt)
    if not struck:
        return _described(state, call, job, now)
    fault = struck[0]
    if fault.name == "throttle-query":
        raise _too_fast()
    if fault.name == "error-query":
        raise RefusedError(fault.value, "As the fault asks.")
    try:
        reply = _described(state, call, job, now)
    except RefusedError as error:
        reply = call.face.refused(error)
    return damaged(reply, fault)


def _described(state: State, call: Call, job: Job | None, now: float) -> Reply:
    key = ("query", call.account, call.interface.name, call.region)
    if not state.rates.admits(key, state.poll_rate(call.interface), now):
        raise _too_fast()
    if job is None or job.unknown(now):
        raise RefusedError("FailedOperation.JobNotExist", "The job does not exist.")
    return call.face.described(job, now)


def _refuse_by(fault: Fault, call: Call) -> None:
    match fault.name:
        case "throttle-submit":
            raise _too_fast()
        case "slots-full":
            raise _full(1)
        case "refuse":
            raise RefusedError(fault.value, "As the fault asks.")
        case "error-in-200" if not call.interface.dialect.signed:
            raise RefusedError(f"200/{fault.value}", "As the fault asks.")


def _begin(state: State, call: Call, wish: Wish, now: float) -> Job:
    settings = state.settings
    struck = state.faults.strike("job", dialect=call.dialect, prompt=wish.prompt)
    faults = {fault.name: fault.value for fault in struck}
    seconds = settings.job_s * state.durations.lognormvariate(0.0, settings.job_sigma)
    seconds *= float(faults.get("slow-job", "1"))
    if "never-ends" in faults:
        seconds = math.inf
    waits = 0.0 if math.isinf(seconds) else seconds * settings.queue_share
    unique = uuid.UUID(int=state.chance.getrandbits(128), version=4)
    return Job(
        # As real ones look; nobody should read anything from them.
        id=f"{state.jobs.created + 1}-{int(now)}-{unique}-0",
        interface=call.interface,
        account=call.account,
        wish=wish,
        created=now,
        starts=now + waits,
        ends=now + seconds,
        error=faults.get("job-failed") or rejection(settings, wish),
        missing=min(wish.count, int(float(faults.get("partial", "0")))),
        faults=faults,
    )


def _direct(face: Face, job: Job, *, told: bool) -> Reply:
    if math.isinf(job.ends):
        return Reply(wait_s=_FOREVER_S, delivery="dropped")
    wait_s = job.ends - job.created
    try:
        reply = face.finished(job, told=told)
    except RefusedError as error:
        reply = face.refused(error)
    return attrs.evolve(reply, wait_s=wait_s)


def _prompt_of(call: Call) -> str:
    for name in ("Prompt", "prompt", "messages"):
        if value := call.parameters.get(name):
            return str(value)
    return ""


def _too_fast() -> RefusedError:
    return RefusedError(
        "RequestLimitExceeded", "Your current request times exceed the limit, please try later."
    )


def _full(most: int) -> RefusedError:
    return RefusedError(_FULL, f"当前已达到{most}个任务上限，请稍后重试")
