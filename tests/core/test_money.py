from __future__ import annotations

from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import holodeck_gen as hg
from holodeck_gen._model.money import FREE, Totals, as_text, money, parse_money, total
from strategies import costs


@pytest.mark.parametrize("text", ["10 CNY", "10CNY", " 10 cny ", "10.00CNY"])
def test_an_amount_with_its_currency(text: str) -> None:
    assert parse_money(text) == hg.Cost(amount=10, currency="CNY")


@pytest.mark.parametrize("number", [10, 10.0, "10", Decimal(10)])
def test_a_bare_number_has_no_currency(number: object) -> None:
    assert parse_money(number) == hg.Cost(amount=10, currency="XXX")


def test_a_float_is_what_was_written() -> None:
    assert parse_money(0.1).amount == Decimal("0.1")


@pytest.mark.parametrize(
    "wrong", ["", "CNY", "CNY 10", "¥10", "-1", "1e3", "ten", "10 YUAN", "1,5", True, None, "nan"]
)
def test_what_is_no_amount(wrong: Any) -> None:
    with pytest.raises(ValueError, match="an amount such as"):
        parse_money(wrong)


@given(costs)
def test_the_text_of_an_amount_is_read_again(cost: hg.Cost) -> None:
    assert parse_money(as_text(cost)) == cost


@pytest.mark.parametrize(
    ("amount", "currency", "shown"),
    [
        ("986.2", "CNY", "¥986.20"),
        ("0.066", "USD", "$0.066"),
        ("1E+3", "NOK", "1000.00 NOK"),
        ("10", "XXX", "10.00"),
        ("0", "EUR", "€0.00"),
    ],
)
def test_as_people_read_it(amount: str, currency: str, shown: str) -> None:
    assert money(hg.Cost(amount=amount, currency=currency)) == shown


@given(st.lists(costs))
def test_totals_add_up_by_currency(given: list[hg.Cost]) -> None:
    sums = Totals()
    for cost in given:
        sums.add(cost)
    for each in sums.costs:
        assert each.amount == sum(c.amount for c in given if c.currency == each.currency)
    for cost in given:
        sums.add(cost, -1)
    assert sums.costs == ()


def test_a_total_is_known_where_all_of_it_is() -> None:
    one, dollar = hg.Cost(amount=1, currency="CNY"), hg.Cost(amount=1, currency="USD")
    assert total([one, one, FREE]) == hg.Cost(amount=2, currency="CNY")
    assert total([]) == FREE
    assert total([one, None]) is None
    assert total([one, dollar]) is None


def test_what_is_spent_in_words() -> None:
    spent, budget = hg.Cost(amount="9.8", currency="CNY"), hg.Cost(amount=10, currency="CNY")
    assert hg.Spending().words() == ""
    assert hg.Spending(spent=[spent]).words() == "¥9.80"
    assert hg.Spending(budget=budget).words() == "¥0.00 of ¥10.00"
    number = attrs.evolve(budget, currency="XXX")
    assert hg.Spending(spent=[spent], budget=number).words() == "¥9.80 of ¥10.00"
    told = hg.Spending(spent=[spent], budget=budget, estimated=True)
    assert told.words() == "about ¥9.80 of ¥10.00"
