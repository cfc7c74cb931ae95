"""Amounts of money: read, added up and shown."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING

import attrs

from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.values import in_order

if TYPE_CHECKING:
    from collections.abc import Iterable

#: ISO 4217 has a code for where no currency is meant.
NO_CURRENCY = "XXX"
#: What a job of a free provider costs.
FREE = Cost(amount=0, currency=NO_CURRENCY)

_SIGNS = {"CNY": "¥", "USD": "$", "EUR": "€", "GBP": "£"}
_MONEY = re.compile(r"(\d{1,12}(?:\.\d{1,9})?)\s*([A-Za-z]{3})?")


def parse_money(value: object) -> Cost:
    """Read ``10 CNY``, ``10CNY`` or a bare number, whose currency is `NO_CURRENCY`.

    Raises:
        ValueError: It is none of these.
    """
    if isinstance(value, Cost):
        return value
    found = None if isinstance(value, bool) else _MONEY.fullmatch(as_written(value))
    if found is None:
        raise ValueError(f'an amount such as "10 CNY", or a number, not {value!r}')
    return Cost(amount=Decimal(found[1]), currency=(found[2] or NO_CURRENCY).upper())


def as_text(cost: Cost) -> str:
    """What `parse_money` reads again."""
    return f"{cost.amount} {cost.currency}"


def as_written(value: object) -> str:
    """A number as it stands in a file: what `Decimal` makes of a float has digits of its own."""
    return repr(value) if isinstance(value, float) else str(value).strip()


def money(cost: Cost) -> str:
    """``¥9.80``, ``0.066 NOK``; with as many digits as there are, and at least two."""
    amount = cost.amount.normalize()
    exponent = amount.as_tuple().exponent
    digits = max(2, -exponent if isinstance(exponent, int) else 2)
    number = f"{amount:.{digits}f}"
    if cost.currency == NO_CURRENCY:
        return number
    sign = _SIGNS.get(cost.currency)
    return f"{sign}{number}" if sign else f"{number} {cost.currency}"


def moneys(costs: Iterable[Cost]) -> str:
    """Amounts of different currencies: ``¥9.80 + $1.00``."""
    return " + ".join(money(cost) for cost in costs)


@attrs.define(eq=False)
class Totals:
    """Sums by currency."""

    _amounts: dict[str, Decimal] = attrs.field(factory=dict, init=False)

    def add(self, cost: Cost, times: int = 1) -> None:
        """Add `cost` so many times; a negative number takes it away."""
        before = self._amounts.get(cost.currency, Decimal())
        self._amounts[cost.currency] = before + cost.amount * times

    def of(self, currency: str) -> Decimal:
        """The sum of one currency."""
        return self._amounts.get(currency, Decimal())

    @property
    def costs(self) -> tuple[Cost, ...]:
        """Every sum that is not zero, by currency."""
        return tuple(
            Cost(amount=amount, currency=currency)
            for currency, amount in sorted(self._amounts.items())
            if amount
        )

    @property
    def only(self) -> Cost | None:
        """The sum where all is of one currency, else None."""
        costs = self.costs
        if len(costs) > 1:
            return None
        return costs[0] if costs else FREE


@attrs.frozen(kw_only=True)
class Spending:
    """What the jobs of a run cost. Each sum has one amount for each currency.

    Attributes:
        spent: For jobs that have ended, and for submits that may have made one.
        in_flight: Set aside for jobs that have not ended.
        budget: What all of it may come to; the currency ``XXX`` means that of the prices.
        estimated: Whether a price stands in place of what the provider has not said.
        unpriced: Jobs of which neither is known.
    """

    spent: tuple[Cost, ...] = attrs.field(default=(), converter=in_order)
    in_flight: tuple[Cost, ...] = attrs.field(default=(), converter=in_order)
    budget: Cost | None = None
    estimated: bool = False
    unpriced: int = 0

    def words(self) -> str:
        """``about ¥9.80 of ¥10.00``; empty where there is nothing to say."""
        about = "about " if self.estimated else ""
        budget = self.budget
        if budget is None:
            return about + moneys(self.spent)
        if not self.spent:
            return f"{money(attrs.evolve(budget, amount=Decimal()))} of {money(budget)}"
        if budget.currency == NO_CURRENCY:
            budget = attrs.evolve(budget, currency=self.spent[0].currency)
        return f"{about}{moneys(self.spent)} of {money(budget)}"


def spending_of(groups: Iterable[tuple[bool, Cost, bool, int]], *, unpriced: int) -> Spending:
    """Add up jobs.

    Args:
        groups: Whether they are in flight; what one costs; whether that is a price which the
            provider has not confirmed; how many there are.
        unpriced: How many more there are of which nothing is known.
    """
    spent, in_flight, estimated = Totals(), Totals(), False
    for running, cost, guessed, count in groups:
        (in_flight if running else spent).add(cost, count)
        estimated = estimated or (guessed and not running and cost.amount > 0)
    return Spending(
        spent=spent.costs, in_flight=in_flight.costs, estimated=estimated, unpriced=unpriced
    )


def total(costs: Iterable[Cost | None]) -> Cost | None:
    """The sum of costs of one currency, free ones aside; None where one is not known."""
    sums = Totals()
    for cost in costs:
        if cost is None:
            return None
        sums.add(cost)
    return sums.only
