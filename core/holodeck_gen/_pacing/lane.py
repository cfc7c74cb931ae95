"""What is known of the requests of one account and action, and who keeps it."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Protocol, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_NEVER = float("-inf")


@attrs.define(kw_only=True, eq=False)
class Lane:
    """The requests of one account and action; times are the loop's.

    Attributes:
        token: When the last token was due.
        departure: When the last request was due to leave.
        sent: When the last requests left, the oldest first.
        closed_until: Until when the provider wants none.
        cut_at: When a refusal last lowered the rate, and `cut_to` how many a second it left.
        doubling_s: Seconds in which a lowered rate doubles again.
        lowest: The lowest documented rate of those who use the lane, and `lowest_at` when one
            of them last said so.
    """

    token: float = _NEVER
    departure: float = _NEVER
    sent: deque[float] = attrs.field(factory=deque)
    closed_until: float = _NEVER
    cut_at: float = _NEVER
    cut_to: float | None = None
    doubling_s: float = 60.0
    lowest: float | None = None
    lowest_at: float = _NEVER


class Book(Protocol):
    """Keeps a lane for all who send in it. Quick."""

    @property
    def lane(self) -> Lane:
        """As it was last seen, for looking at."""
        ...

    def change(self, step: Callable[[Lane], T]) -> T | None:
        """What `step` returns, which changes the lane while nobody else does.

        None where that is not possible now, but soon.
        """
        ...

    def note(self, step: Callable[[Lane], object]) -> None:
        """Let `step` change the lane, at the latest before the next change."""
        ...


@attrs.frozen(eq=False)
class OwnBook:
    """A lane in which nobody else sends."""

    lane: Lane = attrs.field(factory=Lane)

    def change(self, step: Callable[[Lane], T]) -> T | None:
        return step(self.lane)

    def note(self, step: Callable[[Lane], object]) -> None:
        step(self.lane)
