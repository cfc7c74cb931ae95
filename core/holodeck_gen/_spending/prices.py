"""What a job will cost: the user's table of prices, else what the provider says."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal

import attrs

from holodeck_gen._config.config import Config, fold
from holodeck_gen._model.artifact import Cost
from holodeck_gen._model.money import FREE, as_written
from holodeck_gen._model.nearest import did_you_mean
from holodeck_gen.errors import ConfigError

if TYPE_CHECKING:
    from holodeck_gen._model.provider import Provider


@attrs.frozen(kw_only=True)
class Price:
    """One row of the table.

    Attributes:
        amount: Of one picture or job.
        currency: ISO 4217 code.
        per: What the amount is for.
        source: Where it was read, for people.
        date: When.
    """

    amount: Decimal
    currency: str
    per: Literal["picture", "job"] = "picture"
    source: str | None = None
    date: datetime.date | None = None

    def of(self, pictures: int) -> Cost:
        """What one job of so many pictures costs."""
        times = pictures if self.per == "picture" else 1
        return Cost(amount=self.amount * times, currency=self.currency)


@attrs.frozen(kw_only=True)
class Prices:
    """The user's table: rows by ``PROVIDER:MODEL``, or by ``PROVIDER`` for all its models."""

    table: Mapping[str, Price] = attrs.field(factory=dict)

    @classmethod
    def of(cls, config: Config) -> Prices:
        """Read ``[prices]`` of the configuration.

        Raises:
            ConfigError: A row is incomplete, or cannot be what it is.
        """
        return cls(table={fold(name): _row(name, row) for name, row in config.prices().items()})

    def of_job(
        self, provider: Provider, *, model: str | None, pictures: int, estimate: Cost | None
    ) -> Cost | None:
        """What one job will cost; None where nobody says.

        The table comes first: contracts differ, and what is built into a provider grows old.

        Args:
            provider: Who is asked.
            model: Its name of the model.
            pictures: How many the job makes.
            estimate: What the provider says.
        """
        for name in (price_name(provider.name, model), provider.name):
            if (row := self.table.get(fold(name))) is not None:
                return row.of(pictures)
        return FREE if provider.billing == "free" else estimate


def price_name(provider: str, model: str | None) -> str:
    """The name of a row."""
    return f"{provider}:{model}" if model else provider


def _row(name: str, row: Mapping[str, Any]) -> Price:
    where = f'prices."{name}"'
    for key in row:
        if key not in _FIELDS:
            raise ConfigError(f"{where} has no {key!r}{did_you_mean(key, tuple(_FIELDS))}")
    for key in ("amount", "currency"):
        if key not in row:
            raise ConfigError(f"{where} lacks {key!r}")
    values: dict[str, Any] = {}
    for key, value in row.items():
        try:
            values[key] = _FIELDS[key](value)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"{where}: {key} must be {error}") from None
    return Price(**values)


def _amount(value: Any) -> Decimal:
    try:
        amount = Decimal("NaN") if isinstance(value, bool) else Decimal(as_written(value))
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"a number of at least 0, not {value!r}")
    return amount


def _currency(value: Any) -> str:
    if not isinstance(value, str) or not (len(value) == 3 and value.isascii() and value.isalpha()):
        raise ValueError(f'a code of ISO 4217 such as "CNY", not {value!r}')
    return value.upper()


def _per(value: Any) -> str:
    if value not in ("picture", "job"):
        raise ValueError(f'"picture" or "job", not {value!r}')
    return str(value)


def _source(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"text, not {value!r}")
    return value


def _date(value: Any) -> datetime.date:
    # A date with a time is a date, too, to Python.
    if isinstance(value, datetime.date) and not isinstance(value, datetime.datetime):
        return value
    try:
        return datetime.date.fromisoformat(str(value))
    except ValueError:
        raise ValueError(f"a date such as 2026-11-01, not {value!r}") from None


_FIELDS = {
    "amount": _amount,
    "currency": _currency,
    "per": _per,
    "source": _source,
    "date": _date,
}
