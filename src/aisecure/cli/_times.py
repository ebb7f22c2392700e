"""Times as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from math import ceil

import click

__all__ = ["duration", "end", "shown", "spelled"]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AMOUNT = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)


def duration(text: str) -> float:
    """Return seconds, for click."""
    found = _AMOUNT.fullmatch(text)
    if found is None:
        raise click.BadParameter("write a number and a unit, such as 90d, 12h, 30m, 45s or 2w")
    return float(int(found[1]) * _UNITS[found[2]])


def end(text: str) -> float:
    """Return seconds since the epoch, for click; a date without zone is in UTC."""
    if _AMOUNT.fullmatch(text):
        return datetime.now(UTC).timestamp() + duration(text)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            "write how long, such as 90d or 12h, or a date, such as 2030-12-31"
        ) from None
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()


def shown(time: float | None, otherwise: str = "") -> str:
    """Return a time to the minute, in UTC."""
    return otherwise if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")


def spelled(seconds: float) -> str:
    """Return how long, in the two largest units, rounded up; an empty text for no time at all.

    >>> spelled(60), spelled(5400.2), spelled(0.3), spelled(2_592_000)
    ('1m', '1h 31m', '1s', '30d')
    """
    whole = ceil(seconds)
    if whole <= 0:
        return ""
    names = [unit for unit in ("d", "h", "m", "s") if whole >= _UNITS[unit]][:2]
    smallest = _UNITS[names[-1]]
    whole = -(-whole // smallest) * smallest
    parts = []
    for unit in ("d", "h", "m", "s"):
        count, whole = divmod(whole, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts)
