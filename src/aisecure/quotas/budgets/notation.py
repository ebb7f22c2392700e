"""What a budget says: "200k tokens/day; 50 USD/month" as records."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import Literal

from aisecure.quotas.rates import MAX_NOTATION, MAX_PERIOD_SECONDS, UNITS

__all__ = ["BILLION", "MAX_SUM", "Amount", "Window", "parse_budget"]

#: Money is counted in billionths, so that a token of the cheapest model is still a whole number of them.
BILLION = 1_000_000_000

#: Larger sums could not be added exactly by Redis, whose scripts count in 64-bit floating point: nine quadrillion tokens
#: or nine million of a currency.
MAX_SUM = 2**53 - 1

TOKENS = ("tokens", "input tokens", "output tokens")

Window = Literal["sliding", "calendar"]

_ONE = re.compile(
    r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*([kMB]?)\s*((?:(?:input|output)\s+)?tokens?|[A-Z]{3})\s*(?:/|per)\s*([0-9]{1,9})?\s*([a-z]+)"
)
_FACTORS = {"": 1, "k": 1_000, "M": 1_000_000, "B": BILLION}


@dataclass(frozen=True, slots=True)
class Amount:
    """At most so much of something in a period.

    Attributes:
        unit: ``tokens`` (of prompt and answer together), ``input tokens``, ``output tokens``, or the three capitals of a
            currency (ISO 4217).
        units: How much: tokens, or billionths of the currency.
        seconds: The period.
        window: ``sliding``: no stretch of time as long as the period holds more. ``calendar``: no calendar period (UTC) does.

    Raises:
        ValueError: Out of range, or a calendar period that is none.

    >>> str(Amount("USD", 50 * BILLION, 2_592_000))
    '50 USD per month'
    """

    unit: str
    units: int
    seconds: int
    window: Window = "sliding"

    def __post_init__(self) -> None:
        if not 1 <= self.units <= MAX_SUM:
            raise ValueError(
                "a budget is above nothing, and at most 9 quadrillion tokens or 9 million of a currency"
            )
        if not 1 <= self.seconds <= MAX_PERIOD_SECONDS:
            raise ValueError(f"a budget's period is from 1 to {MAX_PERIOD_SECONDS} seconds")
        if self.window not in ("sliding", "calendar"):
            raise ValueError(f"window is sliding or calendar, not {str(self.window)[:60]!r}")
        if self.window == "calendar" and self.seconds not in UNITS.values():
            raise ValueError("a calendar period is one second, minute, hour, day, month or year")

    @property
    def is_money(self) -> bool:
        """Whether a currency is counted."""
        return self.unit not in TOKENS

    @property
    def id(self) -> str:
        """Identify the limit in a ledger."""
        how = "" if self.window == "sliding" else "calendar "
        return f"{how}{self.units} {self.unit}/{self.seconds}"

    def shown(self, units: int) -> Decimal | int:
        """Return an amount in the unit that people use."""
        return Decimal(units) / BILLION if self.is_money else units

    def __str__(self) -> str:
        name, unit = next((n, u) for n, u in reversed(UNITS.items()) if self.seconds % u == 0)
        count = self.seconds // unit
        number = self.shown(self.units)
        text = f"{number.normalize():f}" if isinstance(number, Decimal) else str(number)
        calendar = "calendar " if self.window == "calendar" else ""
        return f"{text} {self.unit} per {calendar}{name if count == 1 else f'{count} {name}s'}"


def parse_budget(
    budget: str | Amount | Iterable[str | Amount], *, window: Window = "sliding"
) -> tuple[Amount, ...]:
    """Return the amounts that a notation says, without repetitions.

    Args:
        budget: ``"200k tokens/day"``, ``"1.5M input tokens per month"``, ``"50.25 USD/month"``, several separated by ``;``
            or ``,``; an `Amount`; or a sequence of these. ``k``, ``M`` and ``B`` are a thousand, a million and a billion.
            Units of time: second, minute, hour, day, month (30 days), year (360 days).
        window: Of amounts that are written as text; a calendar month or year has the days that it has.

    Raises:
        ValueError: Nothing, nonsense, zero, part of a token, or a number out of range.
        TypeError: Neither text nor amount.

    >>> [str(amount) for amount in parse_budget("200k tokens/day; 50 USD/month")]
    ['200000 tokens per day', '50 USD per month']
    """
    given: object = [budget] if isinstance(budget, str | Amount) else budget
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f'a budget is a text such as "200k tokens/day", not {type(budget).__name__}')
    amounts: list[Amount] = []
    for item in given:
        if isinstance(item, Amount):
            amounts.append(item)
        elif isinstance(item, str):
            if len(item) > MAX_NOTATION:
                raise ValueError(f"a budget has at most {MAX_NOTATION} characters")
            amounts += [_one(piece.strip(), window) for piece in re.split("[,;]", item)]
        else:
            raise TypeError(f'a budget is a text such as "200k tokens/day", not {type(item).__name__}')
    if not amounts:
        raise ValueError('no budget was given; write one, such as "200k tokens/day"')
    return tuple(dict.fromkeys(amounts))


def _one(text: str, window: Window) -> Amount:
    match = _ONE.fullmatch(text)
    period = match and UNITS.get(match[5].removesuffix("s"))
    if not match or not period:
        raise ValueError(
            f"{text[:60]!r} is no budget; write an amount, a unit, a slash and a period, such as "
            '"200k tokens/day", "1M output tokens/5 hours" or "50 USD/month"'
        )
    number = Decimal(match[1]) * _FACTORS[match[2]]
    unit = " ".join(match[3].split())
    if unit.endswith("token"):
        unit += "s"
    seconds = int(match[4] or 1) * period
    if unit not in TOKENS:
        return Amount(unit, int((number * BILLION).to_integral_value(ROUND_CEILING)), seconds, window)
    if number != int(number):
        raise ValueError(f"{text[:60]!r}: there is no part of a token")
    return Amount(unit, int(number), seconds, window)
