"""What a limit says: "10/minute; 1000/day" as records, in the notation of the `limits` package.

Read here and not by `limits.parse_many`, because importing that package costs about as much memory and time
as everything else in this concern, and because it reads ``10/0 minute`` as ``10/minute``. A property test
keeps both readers in agreement; items of `limits` are taken as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, Protocol, get_args, runtime_checkable

__all__ = [
    "MAX_AMOUNT",
    "MAX_PERIOD_SECONDS",
    "NANO",
    "STRATEGIES",
    "Quota",
    "Rate",
    "RateItem",
    "Strategy",
    "parse_rates",
]

Strategy = Literal["sliding_log", "gcra", "fixed_window"]

#: What `Quota` promises by each name.
STRATEGIES: tuple[str, ...] = get_args(Strategy)

#: Nanoseconds in a second, the unit of stamps in memory.
NANO = 1_000_000_000

#: Seconds of a unit. A month is 30 days and a year 12 such months, as in `limits`.
UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86_400, "month": 2_592_000, "year": 31_104_000}

#: More than this in one period is no limit that anybody could count exactly.
MAX_AMOUNT = 1_000_000_000

#: Stamps are 64-bit nanoseconds; ten years leave room for every sum that is made of them.
MAX_PERIOD_SECONDS = 10 * UNITS["year"]

#: A notation longer than this is a mistake, and is not echoed.
MAX_NOTATION = 1_000

_ONE = re.compile(r"([0-9]{1,12})\s*(?:/|per)\s*([0-9]{1,12})?\s*([a-z]+)", re.IGNORECASE)


@runtime_checkable
class RateItem(Protocol):
    """What a `limits.RateLimitItem` looks like from here."""

    amount: int

    def get_expiry(self) -> int:
        """Return the period in seconds."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most ``amount`` in any window of ``seconds``.

    >>> str(Rate(10, 300))
    '10 per 5 minutes'
    """

    amount: int
    seconds: int

    def __post_init__(self) -> None:
        if type(self.amount) is not int or type(self.seconds) is not int:
            raise TypeError("a rate is two whole numbers: amount and seconds")
        if not 1 <= self.amount <= MAX_AMOUNT:
            raise ValueError(
                f"a limit allows from 1 to {MAX_AMOUNT} in its period, not {_short(self.amount)}"
            )
        if not 1 <= self.seconds <= MAX_PERIOD_SECONDS:
            raise ValueError(
                f"a limit's period is from 1 to {MAX_PERIOD_SECONDS} seconds, not {_short(self.seconds)}"
            )

    def __str__(self) -> str:
        name, unit = next((n, u) for n, u in reversed(UNITS.items()) if self.seconds % u == 0)
        count = self.seconds // unit
        return f"{self.amount} per {name}" if count == 1 else f"{self.amount} per {count} {name}s"


@dataclass(frozen=True, slots=True)
class Quota:
    """Limits that are counted together, under the name that separates them from other limits in one store.

    Attributes:
        name: What is limited; quotas of the same name, rates and strategy share their counts.
        rates: All of them hold at once.
        strategy: What is promised, for a rate of N a period:

            - ``sliding_log``: at most N in any window that long. Costs 8 bytes an admission in memory.
            - ``gcra``: one every Nth of the period, and ``burst`` at once after a rest: up to N - 1 + ``burst`` in a window.
              Costs a stamp a key.
            - ``fixed_window``: N in a window that begins with a key's first call. Up to 2 N round the edge of two windows.
        burst: For ``gcra``, and only for it: from 1 to the smallest N.

    Raises:
        ValueError: An unknown strategy, or a burst that is missing, not asked for or out of range.
    """

    name: str
    rates: tuple[Rate, ...]
    strategy: Strategy = "sliding_log"
    burst: int | None = None

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise ValueError(f"strategy is one of {', '.join(STRATEGIES)}, not {str(self.strategy)[:60]!r}")
        if (self.burst is None) == (self.strategy == "gcra"):
            raise ValueError(
                "gcra needs a burst: how many may come at once, such as burst=5"
                if self.burst is None
                else "only the strategy gcra has a burst"
            )
        if self.burst is not None:
            if type(self.burst) is not int:
                raise TypeError(f"a burst is a whole number, not {type(self.burst).__name__}")
            smallest = min(rate.amount for rate in self.rates)
            if not 1 <= self.burst <= smallest:
                raise ValueError(
                    f"a burst is from 1 to the smallest limit, {smallest}, not {_short(self.burst)}"
                )

    @property
    def id(self) -> str:
        """Identify the quota in a store. Changed rates begin a new count, so that no old log is misread."""
        how = {"sliding_log": "", "gcra": f"gcra {self.burst}:", "fixed_window": "fixed:"}[self.strategy]
        return f"{how}{','.join(f'{rate.amount}/{rate.seconds}' for rate in self.rates)}|{self.name}"

    @property
    def largest_cost(self) -> int:
        """What one call can spend at most."""
        return min(rate.amount for rate in self.rates) if self.burst is None else self.burst


def parse_rates(limits: str | Rate | RateItem | Iterable[str | Rate | RateItem]) -> tuple[Rate, ...]:
    """Return the rates that a notation says, without repetitions.

    Args:
        limits: ``"10/minute"``, ``"10 per 5 minutes"``, several separated by ``;``, ``,`` or ``|``; a `Rate`; an
            item of the `limits` package; or a sequence of these. Units: second, minute, hour, day, month
            (30 days), year (360 days), in singular or plural.

    Raises:
        ValueError: Nothing, nonsense, zero, or a number out of range.
        TypeError: Neither text nor rate.

    >>> parse_rates("10/minute; 1000/day")
    (Rate(amount=10, seconds=60), Rate(amount=1000, seconds=86400))
    """
    given: object = [limits] if isinstance(limits, str | Rate | RateItem) else limits
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise TypeError(f'limits are a text such as "10/minute", or a sequence, not {type(limits).__name__}')
    rates: list[Rate] = []
    for item in given:
        if isinstance(item, str):
            rates += _parse(item)
        elif isinstance(item, Rate):
            rates.append(item)
        elif isinstance(item, RateItem):
            rates.append(Rate(int(item.amount), int(item.get_expiry())))
        else:
            raise TypeError(f'a limit is a text such as "10/minute", not {type(item).__name__}')
    if not rates:
        raise ValueError('no limit was given; write one, such as "10/minute"')
    return tuple(dict.fromkeys(rates))


def _parse(text: str) -> list[Rate]:
    if len(text) > MAX_NOTATION:
        raise ValueError(f"a limit notation has at most {MAX_NOTATION} characters")
    rates = []
    for piece in re.split("[,;|]", text):
        match = _ONE.fullmatch(piece.strip())
        unit = match and UNITS.get(match[3].lower().removesuffix("s"))
        if not match or not unit:
            raise ValueError(
                f"{piece.strip()[:60]!r} is no limit; write a number, a slash and a unit, such as "
                f'"10/minute" or "10/5 minutes", with a unit of {", ".join(UNITS)}'
            )
        rates.append(Rate(int(match[1]), int(match[2] or 1) * unit))
    return rates


def _short(number: int) -> str:
    # A number of a million digits cannot even be printed (CPython refuses), and nobody would read it.
    return str(number) if abs(number) < 10**15 else "that many"
