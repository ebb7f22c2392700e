"""Times as people write and read them."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

import click

__all__ = ["DURATION", "END", "shown"]

_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
_AMOUNT = re.compile(r"(\d{1,6})([smhdw])", re.ASCII)


class _Duration(click.ParamType):
    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        found = _AMOUNT.fullmatch(value) if isinstance(value, str) else None
        if found is None:
            self.fail("write a number and a unit, such as 90d, 12h, 30m, 45s or 2w", param, ctx)
        return float(int(found[1]) * _UNITS[found[2]])


class _End(click.ParamType):
    name = "duration|date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, str) and _AMOUNT.fullmatch(value):
            return datetime.now(UTC).timestamp() + DURATION.convert(value, param, ctx)
        try:
            end = datetime.fromisoformat(value)
        except (TypeError, ValueError):
            self.fail("write how long, such as 90d or 12h, or a date, such as 2030-12-31", param, ctx)
        return (end if end.tzinfo else end.replace(tzinfo=UTC)).timestamp()


#: Seconds.
DURATION = _Duration()
#: Seconds since the epoch; a date without zone is in UTC.
END = _End()


def shown(time: float | None, otherwise: str = "") -> str:
    """Return a time to the minute, in UTC."""
    return otherwise if time is None else datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M")
