"""A progress bar on stderr, for people who watch."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import attrs

from holodeck_gen._cli._summary import duration, usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen.events import SlotsSampled

#: Ends from which the pace is taken; and how many are needed before it says anything.
WINDOW = 50
ENOUGH = 5


@attrs.define
class Pace:
    """How fast tasks have been ending lately.

    Args:
        clock: Seconds, monotonic.
    """

    clock: Callable[[], float] = time.monotonic
    _ends: deque[float] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        # The start counts as an end, so that the first task's time is not lost.
        self._ends = deque([self.clock()], maxlen=WINDOW)

    def count(self) -> None:
        """A task has ended."""
        self._ends.append(self.clock())

    def seconds_left(self, tasks: int) -> float | None:
        """How long `tasks` more will take at the recent pace; None while that is a guess."""
        if len(self._ends) <= ENOUGH:
            return None
        span = self.clock() - self._ends[0]
        return tasks * span / (len(self._ends) - 1)


class Progress:
    """Shown between ``with`` and its end; does nothing where it is not wanted.

    Args:
        total: Tasks; None where nobody can know.
        shown: Whether there is anybody to look.
    """

    def __init__(self, total: int | None, *, shown: bool, pace: Pace | None = None) -> None:
        self._total = total
        self._pace = pace or Pace()
        self._ended = 0
        self._bar = _bar() if shown else None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
            self._row = self._bar.add_task("", total=self._total, words="")
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, *, failed: int, slots: Sequence[SlotsSampled] = ()) -> None:
        """A task has ended.

        Args:
            failed: How many have ended without a result by now.
            slots: How job slots are used.
        """
        self._pace.count()
        self._ended += 1
        if self._bar is not None:
            words = self.words(failed=failed, slots=slots)
            self._bar.update(self._row, advance=1, words=words)

    def words(self, *, failed: int, slots: Sequence[SlotsSampled] = ()) -> str:
        """What stands beside the bar."""
        words = [f"{failed} failed"] if failed else []
        words += usage(slots)
        if self._total is not None:
            left = self._pace.seconds_left(self._total - self._ended)
            words += [f"about {duration(left)} left"] if left else []
        return " · ".join(words)


def _bar() -> Any:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    return Bar(
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[words]}"),
        console=Console(stderr=True),
        transient=True,
        # stdout is for machines: not a byte of it may be taken.
        redirect_stdout=False,
    )
