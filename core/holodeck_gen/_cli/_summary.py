"""The first and the last line of a run, and what they count."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._cli import _exit
from holodeck_gen._outcome import Failure, Outcome
from holodeck_gen.errors import SubmitUncertainError

if TYPE_CHECKING:
    from holodeck_gen._studio import StudioInfo

_SIGNS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
#: Different reasons that are remembered; a run must not grow with its failures.
_REASONS = 50
_SHOWN = 5


@attrs.define
class Tally:
    """Counts outcomes.

    Attributes:
        states: How many ended in each state.
        costs: Money by currency.
        warnings: The first different warnings.
        reasons: The first different reasons of failures, with how often they came.
        bad_lines: Lines of the task file that are no tasks.
        before: Tasks that earlier runs have done.
        uncertain: How many are held because a submit had no answer.
    """

    states: Counter[str] = attrs.field(factory=Counter)
    costs: dict[str, Decimal] = attrs.field(factory=dict)
    warnings: dict[str, None] = attrs.field(factory=dict)
    reasons: Counter[str] = attrs.field(factory=Counter)
    bad_lines: int = 0
    before: int = 0
    uncertain: int = 0

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.states[outcome.state] += 1
        if isinstance(outcome, Failure):
            self._remember(outcome)
            return
        if cost := outcome.cost:
            self.costs[cost.currency] = self.costs.get(cost.currency, 0 * cost.amount) + cost.amount
        for warning in outcome.warnings:
            if len(self.warnings) < _SHOWN:
                self.warnings.setdefault(warning)

    @property
    def begun(self) -> int:
        """Tasks that have an outcome."""
        return self.states.total()

    @property
    def ended(self) -> int:
        """Tasks that need no more work: all but the cancelled."""
        return self.begun - self.states["cancelled"]

    @property
    def failed(self) -> int:
        """Tasks that ended without a result."""
        return self.states["failed"] + self.states["held"]

    def failures(self) -> list[str]:
        """A line for each of the most frequent reasons."""
        return [f"{count} × {reason}" for reason, count in self.reasons.most_common(_SHOWN)]

    def code(self, *, interrupted: bool, unfinished: bool) -> int:
        """The exit code.

        Args:
            interrupted: By Ctrl-C or SIGTERM.
            unfinished: Whether tasks are left that were not tried.
        """
        if interrupted:
            return _exit.INTERRUPTED
        if unfinished or self.states["held"]:
            return _exit.RESUMABLE
        if self.failed or self.states["cancelled"] or self.bad_lines:
            return _exit.SOME_FAILED
        return _exit.DONE

    def _remember(self, failure: Failure) -> None:
        if failure.state == "cancelled":
            return
        self.uncertain += isinstance(failure.error, SubmitUncertainError)
        words = str(failure.error)
        for own in (failure.job_id, failure.key):
            # Without what is different in each, equal reasons count as equal.
            words = re.sub(rf"(?<!\w){re.escape(own)}(?!\w)", "…", words) if own else words
        reason = f"{type(failure.error).__name__}: {words}"
        if reason in self.reasons or len(self.reasons) < _REASONS:
            self.reasons[reason] += 1


def first_line(info: StudioInfo, todo: int, *, before: int = 0, expanded: bool = False) -> str:
    """What is about to happen: ``procedural · 8 to do · 2 jobs at once · free``."""
    jobs = "1 job" if info.jobs_at_once == 1 else f"{_number(info.jobs_at_once)} jobs"
    price = "free" if info.billing == "free" else "price unknown"
    verb = "to expand" if expanded else "to do"
    done = f"{_number(before)} done before · " if before else ""
    return f"{info.provider} · {done}{_number(todo)} {verb} · {jobs} at once · {price}"


def last_line(tally: Tally, *, left: int, seconds: float) -> str:
    """What has happened: ``8 done · 1 failed · 4.1 s``."""
    counts = [
        (tally.states["failed"], "failed"),
        (tally.states["held"], "held"),
        (tally.bad_lines, "lines skipped"),
        (left, "left"),
    ]
    before = f" ({_number(tally.before)} before)" if tally.before else ""
    words = [f"{_number(tally.before + tally.states['done'])} done{before}"]
    words += [f"{_number(count)} {word}" for count, word in counts if count]
    words += [_money(currency, amount) for currency, amount in sorted(tally.costs.items())]
    return " · ".join([*words, duration(seconds)])


def duration(seconds: float) -> str:
    """``4.1 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def _number(count: int) -> str:
    return f"{count:,}".replace(",", " ")


def _money(currency: str, amount: Decimal) -> str:
    sign = _SIGNS.get(currency)
    return f"{sign}{amount:.2f}" if sign else f"{amount:.2f} {currency}"
