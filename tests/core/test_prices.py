"""The user's table of prices, and what a job costs by it."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

import holodeck_gen as hg
from holodeck_gen._model.money import FREE
from holodeck_gen._spending.prices import Prices
from holodeck_gen.errors import ConfigError
from holodeck_gen.testing import ScriptedProvider

if TYPE_CHECKING:
    from pathlib import Path

TOML = """
[prices."scripted:Big-1"]
amount = 0.1
currency = "cny"
source = "https://example.com/prices"
date = 2026-11-01

[prices.scripted]
amount = "2"
currency = "CNY"
per = "job"
"""
ESTIMATE = hg.Cost(amount=7, currency="USD")


def yuan(amount: str) -> hg.Cost:
    return hg.Cost(amount=amount, currency="CNY")


def read(**rows: Any) -> Prices:
    return Prices.of(hg.Config.of({"prices": rows}, environ={}))


def of_job(
    prices: Prices, model: str | None = None, *, estimate: hg.Cost | None = ESTIMATE, **facts: Any
) -> hg.Cost | None:
    provider = ScriptedProvider(**facts)
    return prices.of_job(provider, model=model, pictures=3, estimate=estimate)


def test_a_table_in_a_file(tmp_path: Path) -> None:
    (tmp_path / "holodeck-gen.toml").write_text(TOML)
    prices = Prices.of(hg.Config.load(cwd=tmp_path, environ={}))
    assert of_job(prices, "Big-1") == yuan("0.3")
    assert of_job(prices, "big-1") == yuan("0.3"), "whatever its case"
    assert of_job(prices, "other") == of_job(prices) == yuan("2"), "a job, however many pictures"
    (row,) = (each for each in prices.table.values() if each.date)
    assert (row.amount, row.date) == (Decimal("0.1"), datetime.date(2026, 11, 1))


def test_the_table_wins_over_the_provider_and_the_provider_over_nothing() -> None:
    row = {"amount": 1, "currency": "CNY"}
    assert of_job(read(scripted=row)) == yuan("3")
    assert of_job(read(other=row)) == ESTIMATE
    assert of_job(read(), estimate=None) is None


def test_a_free_provider_costs_nothing_unless_the_table_says_so() -> None:
    assert of_job(read(), billing="free") == FREE
    assert of_job(read(scripted={"amount": 1, "currency": "CNY"}), billing="free") == yuan("3")


def test_a_row_may_be_in_variables() -> None:
    variables = {
        "HOLODECK_GEN_PRICES__SCRIPTED__AMOUNT": "0.5",
        "HOLODECK_GEN_PRICES__SCRIPTED__CURRENCY": "USD",
        "HOLODECK_GEN_PRICES__SCRIPTED__DATE": "2026-11-01",
    }
    prices = Prices.of(hg.Config.load(environ=variables))
    assert of_job(prices) == hg.Cost(amount="1.5", currency="USD")


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ({"amount": 1}, r'prices."x" lacks \'currency\''),
        ({"currency": "CNY"}, "lacks 'amount'"),
        ({"amount": -1, "currency": "CNY"}, "amount must be a number of at least 0, not -1"),
        ({"amount": "nan", "currency": "CNY"}, "amount must be"),
        ({"amount": True, "currency": "CNY"}, "amount must be"),
        ({"amount": 1, "currency": "yuan"}, "currency must be a code of ISO 4217"),
        ({"amount": 1, "currency": "CNY", "per": "minute"}, '"picture" or "job"'),
        ({"amount": 1, "currency": "CNY", "date": "soon"}, "a date such as 2026-11-01"),
        ({"amount": 1, "currency": "CNY", "source": 7}, "source must be text"),
        ({"amount": 1, "curency": "CNY"}, "did you mean"),
    ],
)
def test_what_cannot_be_is_told(row: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigError, match=problem):
        read(x=row)


def test_a_wrong_table_is_told_before_a_studio_is_opened() -> None:
    config = hg.Config.of({"prices": {"x": {"amount": 1}}}, environ={})
    with pytest.raises(ConfigError, match="lacks 'currency'"):
        hg.AsyncStudio(ScriptedProvider(), config=config)
