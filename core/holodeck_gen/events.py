"""What happens in a run, as values.

Whoever wants to know is an observer: a function that takes an event. Each has a thread of its own
and gets the events in the order in which they happened; see `EventQueue`. The fields of every
event, what comes before what, and what may be missing: docs/reference/events.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, TypeAlias

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.outcome import Outcome

#: What a task goes through, in this order; `StageEnded` says what each is.
Stage: TypeAlias = Literal["rewrite", "wait", "submit", "job", "fetch", "process", "store"]


@attrs.frozen(kw_only=True)
class TaskAdmitted:
    """A task was taken in, or is gone on with.

    Attributes:
        time: When, in seconds since the epoch.
        key: What identifies the task on resume: its id, or a digest and an occurrence number.
        index: Its place in the input, from 0.
    """

    time: float
    key: str
    index: int


@attrs.frozen(kw_only=True)
class StageEnded:
    """A task has been through a stage, successfully or not.

    Attributes:
        time: When it ended, in seconds since the epoch.
        key: Of the task.
        part: Which job's share of the task, from 0; None where it is the whole task's.
        stage: ``rewrite``: one rewriter. ``wait``: for a free job slot. ``submit``: one request
            that begins a job. ``job``: from the accepted submit, or from the start of this run,
            to the poll that saw the end. ``fetch``: bringing what a job made to this machine.
            ``process``: one processor with one file. ``store``: one file.
        name: The rewriter's or processor's name; None for other stages.
        seconds: How long it took.
        error: The name of the error's class; None where there was none. ``CancelledError`` where
            the task was stopped.
    """

    time: float
    key: str
    part: int | None
    stage: Stage
    name: str | None
    seconds: float
    error: str | None


@attrs.frozen(kw_only=True)
class JobSubmitted:
    """The provider accepted a job.

    Attributes:
        time: When, in seconds since the epoch.
        key: Of the task.
        part: Which job's share of the task, from 0.
        provider: The provider's name.
        job_id: The provider's id; None where the answer came at once, without a job.
        attempt: How many submits were sent for this part.
    """

    time: float
    key: str
    part: int
    provider: str
    job_id: str | None
    attempt: int


@attrs.frozen(kw_only=True)
class RequestRetried:
    """A submit or poll was refused or failed and will be repeated.

    Attributes:
        time: When it failed, in seconds since the epoch.
        key: Of the task.
        part: Which job's share of the task, from 0.
        provider: The provider's name.
        action: ``submit`` or ``poll``.
        error: The name of the error's class: ``SlotRefusedError`` for one job too many,
            ``ThrottledError`` for one request too many.
        code: The service's code, if it gave one.
        wait_s: Seconds until then.
    """

    time: float
    key: str
    part: int
    provider: str
    action: str
    error: str
    code: str | None
    wait_s: float


@attrs.frozen(kw_only=True)
class JobEnded:
    """A job reached its end and its slot is free.

    Attributes:
        time: When its end was seen, in seconds since the epoch.
        key: Of the task.
        part: Which job's share of the task, from 0.
        provider: The provider's name.
        job_id: The provider's id; None where the answer came at once, without a job.
        phase: ``done`` or ``failed``.
        seconds: From the submit's answer, also in an earlier run, to the poll that saw the end.
        held: Slots still taken.
        ceiling: Slots allowed now.
        cost: What a budget counts for it: what the provider says that it cost or, where it does
            not say, its price; None where neither is known.
    """

    time: float
    key: str
    part: int
    provider: str
    job_id: str | None
    phase: str
    seconds: float
    held: int
    ceiling: int
    cost: Cost | None


@attrs.frozen(kw_only=True)
class SlotsSampled:
    """How the job slots of one account are used; at most once a second, when something changes.

    Attributes:
        time: When, in seconds since the epoch.
        account: The provider's `account_key`.
        quota: The provider's `quota_key`: which of the account's slots these are.
        taken: Slots with a job now.
        ceiling: Slots allowed now.
        waiting: How many jobs wait for a slot.
        refusals: Submits refused so far for want of a slot.
        taken_s: Slot-seconds so far in which a slot was taken. A job counts until it is seen to
            have ended.
        allowed_s: Slot-seconds that might have been, while there was work.
        submit_rate: Submits the account sent a second, since the last sample.
        poll_rate: Polls sent a second, likewise.
    """

    time: float
    account: str
    quota: str
    taken: int
    ceiling: int
    waiting: int
    refusals: int
    taken_s: float
    allowed_s: float
    submit_rate: float
    poll_rate: float

    @property
    def busy(self) -> float | None:
        """The share of the slot-seconds that were taken, 0 to 1; None before there were any."""
        return self.taken_s / self.allowed_s if self.allowed_s else None


@attrs.frozen(kw_only=True)
class AccountPaused:
    """Nothing more is submitted at an account, or for one quota of it, in this run.

    Attributes:
        time: When, in seconds since the epoch.
        account: The provider's `account_key`.
        quota: The provider's `quota_key`, where tasks of other quotas go on; else None.
        reason: Why, in words.
        resume_after_s: Seconds after which it may be tried again, where that is known.
    """

    time: float
    account: str
    quota: str | None = None
    reason: str
    resume_after_s: float | None


@attrs.frozen(kw_only=True)
class TaskEnded:
    """A task reached its outcome.

    Attributes:
        time: When, in seconds since the epoch.
        outcome: A `Result` or a `Failure`; `resumed` is true where an earlier run made it.
        provider: The name of the provider that it was put to last; None where there was none.
        seconds: Since its work began in this run; 0 where an earlier run made it.
    """

    time: float
    outcome: Outcome
    provider: str | None
    seconds: float


@attrs.frozen(kw_only=True)
class EventsDropped:
    """The observer was too slow, and events are missing here.

    Attributes:
        time: When there was room again, in seconds since the epoch.
        count: How many are missing since the last event of this kind.
    """

    time: float
    count: int


Event: TypeAlias = (
    TaskAdmitted
    | StageEnded
    | JobSubmitted
    | RequestRetried
    | JobEnded
    | SlotsSampled
    | AccountPaused
    | TaskEnded
    | EventsDropped
)
Observer: TypeAlias = Callable[[Event], object]
