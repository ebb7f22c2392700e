"""What a budget says: "200k tokens/day; 50 USD/month" as records of whole numbers.

Money is counted in billionths of the currency, so that a call that costs a fraction of a cent costs neither nothing
nor a cent. Every number stays so small that sums of them are exact also in Redis' Lua, whose numbers are doubles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal, localcontext
from typing import Literal

from aisecure.quotas.rates import MAX_NOTATION, MAX_PERIOD_SECONDS, UNITS

__all__ = [
    "MAX_AMOUNT",
    "MONEY_SCALE",
    "BudgetLimit",
    "Limits",
    "WindowKind",
    "is_money",
    "money_units",
    "parse_budget",
]

WindowKind = Literal["sliding", "calendar"]

#: What a budget may be written as.
Limits = "str | BudgetLimit | Iterable[str | BudgetLimit]"

#: Counted units of one unit of a currency.
MONEY_SCALE = 1_000_000_000

#: The largest limit, and the largest amount of one call: half of what a double counts exactly, so that a sum of two is
#: exact too. In money 4,503,599 of any currency.
MAX_AMOUNT = 2**52

TOKENS = ("tokens", "input tokens", "output tokens")

_FACTORS = {"": 1, "k": 1_000, "m": 1_000_000}
_ONE = re.compile(
    r"([0-9]{1,18}(?:\.[0-9]{1,18})?)\s*([kKmM]?)\s+((?:input\s+|output\s+)?tokens?|[A-Z]{3})"
    r"\s*(?:/|\bper\b)\s*([0-9]{1,12})?\s*([A-Za-z]+)"
)


def is_money(unit: str) -> bool:
    """Whether a unit is a currency."""
    return unit.isupper()


def money_units(amount: Decimal) -> int:
    """Return an amount of money in counted units, rounded up."""
    with localcontext() as context:
        context.prec = 60  # exact for every price and number of tokens there is
        return int((amount * MONEY_SCALE).to_integral_value(rounding=ROUND_CEILING))


@dataclass(frozen=True, slots=True)
class BudgetLimit:
    """At most so much of one unit in any window of ``seconds``, or in each period of the calendar.

    Attributes:
        unit: ``tokens`` (both ways), ``input tokens``, ``output tokens``, or a currency such as ``USD``.
        amount: In tokens, or in billionths of the currency.
        seconds: The period. A sliding month has 30 days and a sliding year 360.
        window: ``sliding``, or ``calendar``: the period is then one second, minute, hour, day, month or year of UTC.

    Raises:
        TypeError: A number is no whole number.
        ValueError: An unknown unit or window, or a number out of range.

    >>> str(BudgetLimit("USD", 50_250_000_000, 86_400))
    '50.25 USD per day'
    """

    unit: str
    amount: int
    seconds: int
    window: WindowKind = "sliding"

    def __post_init__(self) -> None:
        if type(self.amount) is not int or type(self.seconds) is not int:
            raise TypeError("a budget is two whole numbers: amount and seconds")
        if self.unit not in TOKENS and not re.fullmatch("[A-Z]{3}", str(self.unit)):
            raise ValueError(f"a budget counts {', '.join(TOKENS)} or a currency such as USD")
        if not 1 <= self.amount <= MAX_AMOUNT:
            raise ValueError(f"a budget is above 0 and at most {_text(self.unit, MAX_AMOUNT)} {self.unit}")
        if not 1 <= self.seconds <= MAX_PERIOD_SECONDS:
            raise ValueError(f"a budget's period is from 1 to {MAX_PERIOD_SECONDS} seconds")
        if self.window not in ("sliding", "calendar"):
            raise ValueError("window is 'sliding' or 'calendar'")
        if self.window == "calendar" and self.seconds not in UNITS.values():
            raise ValueError(f"a calendar has no such period; write one of {', '.join(UNITS)}")

    @property
    def is_money(self) -> bool:
        """Whether money is counted."""
        return is_money(self.unit)

    @property
    def id(self) -> str:
        """Identify the limit in a ledger. A changed limit begins a new account."""
        return f"{self.unit}:{self.amount}/{self.seconds}:{self.window}"

    def __str__(self) -> str:
        name, unit = next((n, u) for n, u in reversed(UNITS.items()) if self.seconds % u == 0)
        count = self.seconds // unit
        each = "calendar " if self.window == "calendar" else ""
        period = f"{each}{name}" if count == 1 else f"{count} {name}s"
        return f"{_text(self.unit, self.amount)} {self.unit} per {period}"

    def public(self, amount: int) -> int | Decimal:
        """Return an amount as people read it: tokens, or money as a `Decimal`."""
        return from_units(amount) if self.is_money else amount


def from_units(amount: int) -> Decimal:
    """Return money of counted units, without trailing zeros."""
    whole, rest = divmod(abs(amount), MONEY_SCALE)
    digits = f"{rest:09}".rstrip("0")
    return Decimal(f"{'-' if amount < 0 else ''}{whole}{'.' if digits else ''}{digits}")


def parse_budget(
    limits: str | BudgetLimit | Iterable[str | BudgetLimit], *, window: WindowKind = "sliding"
) -> tuple[BudgetLimit, ...]:
    """Return the limits that a notation says, without repetitions.

    Args:
        limits: ``"200k tokens/day"``, ``"50 USD per month"``, ``"1.5M output tokens/5 minutes"``, several separated by
            ``;``, ``,`` or ``|``; a `BudgetLimit`; or a sequence of these. Units: tokens, input tokens, output tokens, or
            a currency in three capital letters. Periods as in `parse_rates`.
        window: Of limits that are written as text.

    Raises:
        ValueError: Nothing, nonsense, zero, a part of a token, or a number out of range.
        TypeError: Neither text nor limit.

    >>> parse_budget("200k tokens/day")
    (BudgetLimit(unit='tokens', amount=200000, seconds=86400, window='sliding'),)
    """
    given: object = [limits] if isinstance(limits, str | BudgetLimit) else limits
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(
            f'a budget is a text such as "50 USD/month", or a sequence, not {type(limits).__name__}'
        )
    found: list[BudgetLimit] = []
    for item in given:
        if isinstance(item, str):
            found += _parse(item, window)
        elif isinstance(item, BudgetLimit):
            found.append(item)
        else:
            raise TypeError(f'a budget is a text such as "50 USD/month", not {type(item).__name__}')
    if not found:
        raise ValueError('no budget was given; write one, such as "200k tokens/day"')
    return tuple(dict.fromkeys(found))


def _parse(text: str, window: WindowKind) -> list[BudgetLimit]:
    if len(text) > MAX_NOTATION:
        raise ValueError(f"a budget notation has at most {MAX_NOTATION} characters")
    found = []
    for piece in re.split("[,;|]", text):
        match = _ONE.fullmatch(piece.strip())
        period = match and UNITS.get(match[5].lower().removesuffix("s"))
        if not match or not period:
            raise ValueError(
                f"{piece.strip()[:60]!r} is no budget; write an amount, a unit, a slash and a period, such as "
                f'"200k tokens/day" or "50.25 USD/month", with a period of {", ".join(UNITS)}'
            )
        number, factor, unit, count, _ = match.groups()
        if not is_money(unit):
            unit = " ".join(unit.removesuffix("s").split()) + "s"
        with localcontext() as context:
            context.prec = 60
            exact = Decimal(number) * _FACTORS[factor.lower()] * (MONEY_SCALE if is_money(unit) else 1)
        if exact != int(exact):
            smallest = "a billionth of the currency" if is_money(unit) else "one token"
            raise ValueError(f"{piece.strip()[:60]!r}: nothing smaller than {smallest} is counted")
        if window == "calendar" and count is not None and int(count) != 1:
            raise ValueError(
                f"{piece.strip()[:60]!r}: a calendar has single periods only, such as day or month"
            )
        found.append(BudgetLimit(unit, int(exact), int(count or 1) * period, window))
    return found


def _text(unit: str, amount: int) -> str:
    return f"{from_units(amount):f}" if is_money(unit) else str(amount)
