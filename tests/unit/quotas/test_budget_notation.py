"""How budgets are written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.quotas import BudgetLimit, parse_budget
from aisecure.quotas.budgets.notation import MAX_AMOUNT, money_units
from aisecure.quotas.rates import UNITS


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("200k tokens/day", ("tokens", 200_000, 86_400)),
        ("1.5M tokens/5 minutes", ("tokens", 1_500_000, 300)),
        ("1 token per second", ("tokens", 1, 1)),
        ("10 input  tokens/hour", ("input tokens", 10, 3600)),
        ("10K output tokens/month", ("output tokens", 10_000, 2_592_000)),
        ("50 USD/month", ("USD", 50_000_000_000, 2_592_000)),
        ("50.25 EUR per year", ("EUR", 50_250_000_000, 31_104_000)),
        ("0.000000001 USD/day", ("USD", 1, 86_400)),
        ("1k CHF / day", ("CHF", 1_000_000_000_000, 86_400)),
        ("4.503599627370496m USD/day", ("USD", MAX_AMOUNT, 86_400)),
    ],
)
def test_a_budget_is_read_exactly(text, expected):
    assert parse_budget(text) == (BudgetLimit(*expected),)


def test_several_are_read_at_once_and_repetitions_are_one():
    both = parse_budget("200k tokens/day; 50 USD/month")
    assert [limit.unit for limit in both] == ["tokens", "USD"]
    assert parse_budget(["200k tokens/day", *both, "200000 tokens/day|50 USD/month"]) == both


@pytest.mark.parametrize(
    "text",
    [
        "", ";", "200k", "tokens/day", "200k tokens", "0 tokens/day", "-1 tokens/day", "+1 tokens/day", "1e3 tokens/day",
        "NaN tokens/day", "inf USD/day", "1 usd/day", "1 US/day", "1 EURO/day", "1 requests/day", "1 tokens/week",
        "1 tokens/0 days", "1,000 tokens/day", "1.5 tokens/day", "1.0005k tokens/day", "0.0000000001 USD/day",
        "0.0 USD/day", "9" * 30 + " tokens/day", "4.503599627370497m USD/day", "1 tokens/11 years", "\uff11 tokens/day",
        "1 tokens/day\0", "1 tokens/day\ud800", "x" * 2_000_000, "1..5 USD/day", "$5/day", "200ktokens/day",
    ],
)  # fmt: skip
def test_nonsense_is_refused(text):
    with pytest.raises(ValueError, match=r"budget|nothing smaller") as error:
        parse_budget(text)
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("value", [b"1 tokens/day", None, 5, 5.0, [5], [b"1 tokens/day"], {"a": 1}.values()])
def test_what_is_no_text_is_a_mistake(value):
    with pytest.raises(TypeError):
        parse_budget(value)


@pytest.mark.parametrize("text", ["1 USD/2 days", "1 USD/5 minutes"])
def test_a_calendar_has_single_periods(text):
    assert parse_budget(text)
    with pytest.raises(ValueError, match="single periods"):
        parse_budget(text, window="calendar")


@pytest.mark.parametrize(
    "arguments",
    [
        ("tokens", 0, 1), ("tokens", -1, 1), ("tokens", MAX_AMOUNT + 1, 1), ("tokens", 1, 0), ("tokens", 1, 10**9),
        ("requests", 1, 1), ("usd", 1, 1), ("tokens", 1, 61, "calendar"), ("tokens", 1, 60, "rolling"),
    ],
)  # fmt: skip
def test_a_limit_out_of_range_is_refused(arguments):
    with pytest.raises(ValueError, match=r"budget|window|calendar"):
        BudgetLimit(*arguments)


@pytest.mark.parametrize("amount", [1.0, "1", True, None, Decimal(1), float("nan")])
def test_amounts_are_whole_numbers(amount):
    with pytest.raises(TypeError):
        BudgetLimit("tokens", amount, 60)


@given(
    st.sampled_from(["tokens", "input tokens", "USD"]),
    st.integers(1, MAX_AMOUNT),
    st.integers(1, 9),
    st.sampled_from(sorted(UNITS)),
)
def test_what_is_shown_is_read_as_the_same(unit, amount, count, period):
    limit = BudgetLimit(unit, amount, count * UNITS[period])
    assert parse_budget(str(limit)) == (limit,)


@given(st.decimals(0, 10**6, places=15))
def test_money_is_rounded_up_by_less_than_a_billionth(amount):
    assert 0 <= Decimal(money_units(amount)) / 10**9 - amount < Decimal("1e-9")
