"""The first and the last line of a run, and what they count."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._cli import _exit
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import money, moneys
from holodeck_gen._model.outcome import Failure, Outcome
from holodeck_gen.errors import SubmitUncertainError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from holodeck_gen._engine.info import StudioInfo
    from holodeck_gen._model.money import Spending
    from holodeck_gen.events import SlotsSampled

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

    def failures(self, pause: Exception | None = None) -> list[str]:
        """A line for each of the most frequent reasons.

        Args:
            pause: Why the run ended, if it did before its end: that is told by itself.
        """
        told = f"{type(pause).__name__}: {pause}"
        return [
            f"{count} × {reason}"
            for reason, count in self.reasons.most_common(_SHOWN)
            if reason != told
        ]

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


def first_line(
    info: StudioInfo,
    todo: int,
    *,
    price: Cost | None = None,
    before: int = 0,
    expanded: bool = False,
) -> str:
    """What is about to happen: ``procedural · 8 to do · 2 jobs at once · free``.

    Args:
        info: With what.
        todo: Tasks.
        price: About what they will cost, if known.
        before: Tasks that earlier runs have done.
        expanded: Whether expanders will make other tasks of them.
    """
    jobs = "1 job" if info.jobs_at_once == 1 else f"{_number(info.jobs_at_once)} jobs"
    verb = "to expand" if expanded else "to do"
    done = f"{_number(before)} done before · " if before else ""
    words = [info.provider, f"{done}{_number(todo)} {verb}", f"{jobs} at once", _price(info, price)]
    return " · ".join([*words, *_budget(info.spending)])


def last_line(
    tally: Tally,
    *,
    left: int,
    price: Cost | None = None,
    seconds: float,
    spending: Spending | None = None,
    slots: Sequence[SlotsSampled] = (),
) -> str:
    """What has happened: ``8 done · 1 failed · ¥1.60 · 4.1 s``.

    Args:
        tally: The outcomes.
        left: Tasks that were not begun.
        price: About what they will cost, if known.
        seconds: How long it took.
        spending: What was spent, also on what failed; None means that only `tally` tells.
        slots: How job slots were used.
    """
    counts = [
        (tally.states["failed"], "failed"),
        (tally.states["held"], "held"),
        (tally.bad_lines, "lines skipped"),
        (left, f"left (about {money(price)})" if price and price.amount else "left"),
    ]
    before = f" ({_number(tally.before)} before)" if tally.before else ""
    words = [f"{_number(tally.before + tally.states['done'])} done{before}"]
    words += [f"{_number(count)} {word}" for count, word in counts if count]
    if spending is not None:
        words += [spending.words()] if spending.words() else []
    else:
        costs = sorted(tally.costs.items())
        words += [money(Cost(amount=amount, currency=currency)) for currency, amount in costs]
    return " · ".join([*words, *busy(slots), duration(seconds)])


def busy(slots: Sequence[SlotsSampled]) -> list[str]:
    """``slots 97 % busy``; nothing where there was no work."""
    allowed = sum(each.allowed_s for each in slots)
    if not allowed:
        return []
    return [f"slots {100 * sum(each.taken_s for each in slots) / allowed:.0f} % busy"]


def usage(slots: Sequence[SlotsSampled]) -> list[str]:
    """What the slots are doing now: ``6 of 8 slots``, ``2 refused``, ``slots 97 % busy``."""
    if not slots:
        return []
    refused = sum(each.refusals for each in slots)
    words = [f"{sum(e.taken for e in slots)} of {sum(e.ceiling for e in slots)} slots"]
    words += [f"{_number(refused)} refused"] if refused else []
    return words + busy(slots)


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


def _price(info: StudioInfo, price: Cost | None) -> str:
    if price is not None and price.amount:
        return f"about {money(price)}"
    free = info.billing == "free" or price is not None
    return "free" if free else "price unknown"


def _budget(spending: Spending) -> list[str]:
    if spending.budget is None:
        return []
    before = f", {moneys(spending.spent)} of it spent before" if spending.spent else ""
    words = [f"budget {money(spending.budget)}{before}"]
    if spending.unpriced:
        words.append(f"{_number(spending.unpriced)} earlier jobs of unknown price not counted")
    return words
