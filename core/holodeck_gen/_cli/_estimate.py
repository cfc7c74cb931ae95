"""What a file of tasks will cost, told before it is begun."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import Totals, money
from holodeck_gen._model.task import Task
from holodeck_gen.errors import ConfigError, GenerationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from holodeck_gen._studio import AsyncStudio
    from holodeck_gen._taskfile.taskfile import Line

#: Different kinds of task that are kept; a file must not take up memory.
KINDS = 100
#: Digits of an estimate: what is smaller than this is of no interest.
_SMALLEST = Decimal("0.0001")

_Kind: TypeAlias = tuple[str | None, str | None, str]


@attrs.define
class Estimate:
    """Counts pictures by kind of task, and keeps the first task of each kind.

    A kind is a provider, a model and what is made: what prices depend on as a rule.
    """

    _first: dict[_Kind, Task] = attrs.field(factory=dict, init=False)
    _pictures: dict[_Kind, int] = attrs.field(factory=dict, init=False)
    _whole: bool = attrs.field(default=True, init=False)

    def watched(self, lines: Iterable[Line]) -> Iterator[Line]:
        """Pass on `lines` while counting them."""
        for line in lines:
            if line.task is not None:
                self._count(line.task)
            yield line

    def price(self, studio: AsyncStudio) -> Cost | None:
        """About what all of them cost; None where that is not known.

        Raises:
            ConfigError: The studio's budget cannot be kept, or has room for none of them.
        """
        prices = {kind: _price(studio, task) for kind, task in self._first.items()}
        _check_room(studio, list(prices.values()))
        sums = Totals()
        for kind, price in prices.items():
            if price is None:
                return None
            share = price.amount * self._pictures[kind] / self._first[kind].n
            amount = share.quantize(_SMALLEST).normalize()
            sums.add(Cost(amount=amount, currency=price.currency))
        return sums.only if self._whole and prices else None

    def _count(self, task: Task) -> None:
        kind = (task.provider, task.model, task.kind)
        if kind not in self._first:
            if len(self._first) >= KINDS:
                self._whole = False
                return
            self._first[kind] = task
        self._pictures[kind] = self._pictures.get(kind, 0) + task.n


def part_of(cost: Cost | None, share: int, whole: int) -> Cost | None:
    """The part of `cost` that so many of the tasks have in it."""
    if cost is None or not whole:
        return cost
    amount = (cost.amount * share / whole).quantize(_SMALLEST).normalize()
    return attrs.evolve(cost, amount=amount)


def _price(studio: AsyncStudio, task: Task) -> Cost | None:
    try:
        return studio.price(task)
    except GenerationError as error:
        if isinstance(error, ConfigError) and studio.describe().spending.budget is not None:
            raise
        # It will be told when the task's turn comes.
        return None


def _check_room(studio: AsyncStudio, prices: list[Cost | None]) -> None:
    budget = studio.describe().spending.budget
    if budget is None or not prices:
        return
    least = min((price for price in prices if price), key=lambda each: each.amount, default=None)
    if least is not None and least.amount > budget.amount:
        raise ConfigError(
            f"the budget of {money(budget)} is less than one task costs: {money(least)}"
        )
