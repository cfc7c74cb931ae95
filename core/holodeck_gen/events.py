"""What happens in a run, as values; observers receive them in a thread of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs

from holodeck_gen._log import Logger
from holodeck_gen._outcome import Outcome
from holodeck_gen._values import in_order

_log = Logger("holodeck_gen.events")

#: Events that wait for slow observers; more are dropped and counted.
QUEUE_SIZE = 10_000


@attrs.frozen(kw_only=True)
class TaskAdmitted:
    """A task was taken in."""

    key: str
    index: int


@attrs.frozen(kw_only=True)
class JobSubmitted:
    """The provider accepted a job."""

    key: str
    part: int
    provider: str
    job_id: str | None
    attempt: int


@attrs.frozen(kw_only=True)
class RequestRetried:
    """A request was refused or failed and will be repeated.

    Attributes:
        error: The name of the error's class.
        wait_s: Seconds until then.
    """

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
        seconds: From the submit's answer to the poll that saw the end.
        held: Slots still taken.
        ceiling: Slots allowed now.
    """

    key: str
    part: int
    provider: str
    job_id: str | None
    phase: str
    seconds: float
    held: int
    ceiling: int


@attrs.frozen(kw_only=True)
class SlotsSampled:
    """How the job slots of one account are used; at most once a second, when something changes.

    Attributes:
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
class TaskEnded:
    """A task reached its outcome."""

    outcome: Outcome


Event: TypeAlias = (
    TaskAdmitted | JobSubmitted | RequestRetried | JobEnded | SlotsSampled | TaskEnded
)
Observer: TypeAlias = Callable[[Event], None]


@attrs.define(eq=False)
class EventQueue:
    """Carries events from the loop to the observers; never blocks the loop."""

    observers: Sequence[Observer] = attrs.field(converter=in_order)
    dropped: int = attrs.field(default=0, init=False)
    _queue: queue.Queue[Event | None] = attrs.field(
        factory=lambda: queue.Queue(QUEUE_SIZE), init=False
    )
    _thread: threading.Thread | None = attrs.field(default=None, init=False)

    def __bool__(self) -> bool:
        """Whether anybody listens; ask before building an event."""
        return bool(self.observers)

    def put(self, event: Event) -> None:
        """Hand over an event."""
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._deliver, name="holodeck-gen-events", daemon=True
            )
            self._thread.start()
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            self.dropped += 1

    def close(self, timeout_s: float = 5.0) -> None:
        """Deliver what waits, for at most so many seconds. Blocks: call it in a thread."""
        if self._thread is None:
            return
        try:
            self._queue.put(None, timeout=timeout_s)
        except queue.Full:
            self.dropped += self._queue.qsize()
        self._thread.join(timeout_s)
        if self.dropped:
            _log.warning("events.dropped", count=self.dropped)

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            for observer in self.observers:
                try:
                    observer(event)
                except Exception as error:
                    _log.warning("events.observer_failed", error=repr(error))
