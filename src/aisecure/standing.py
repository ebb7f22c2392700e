"""How much is left of a limit, and the list in which an adapter collects that for one request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self

from aisecure._value import value

__all__ = ["Standing", "collect_standings", "wanted_standings"]


@value
class Standing:
    """How much of one limit is left for one key.

    Attributes:
        name: Of the limit, as events call it.
        limit: What the limit allows in its window.
        window_seconds: How long the window is.
        remaining: What may be spent now.
        reset_seconds: When the whole limit is there again, if nothing else is spent.
        unit: What is counted: ``requests``, ``tokens``, or a currency.
        used: What is spent and still counts.
        reserved: The part of ``used`` that is held for calls on their way.
    """

    name: str
    limit: Any
    window_seconds: int
    remaining: Any
    reset_seconds: float
    unit: str = "requests"
    used: Any = 0
    reserved: Any = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON-ready data; amounts of money are texts."""

        def plain(amount: Any) -> Any:
            # Not str: a Decimal of a small amount would come out as 5E-7.
            return amount if isinstance(amount, int) else format(amount, "f")

        return {
            "name": self.name,
            "limit": plain(self.limit),
            "window_seconds": self.window_seconds,
            "remaining": plain(self.remaining),
            "reset_seconds": round(self.reset_seconds, 3),
            "unit": self.unit,
            "used": plain(self.used),
            "reserved": plain(self.reserved),
        }


_WANTED: ContextVar[list[Standing] | None] = ContextVar("aisecure_standings", default=None)


#: Returns the list that the request's adapter wants filled, or None where nobody asks; guards call it. It is the
#: variable's own method, since every limit asks.
wanted_standings: Callable[[], list[Standing] | None] = _WANTED.get


class _Collected(list[Standing]):
    """A list that takes no more once its request is over: tasks that were begun there and live on still hold it."""

    is_open = True

    def append(self, standing: Standing) -> None:
        if self.is_open:
            super().append(standing)

    def extend(self, standings: Iterable[Standing]) -> None:
        if self.is_open:
            super().extend(standings)

    def __iadd__(self, standings: Iterable[Standing]) -> Self:  # type: ignore[override,misc]
        self.extend(standings)
        return self


@contextmanager
def collect_standings() -> Iterator[list[Standing]]:
    """Collect the standing of every limit that is asked within the block, and in tasks that it begins, until it ends.

    >>> with collect_standings() as seen:
    ...     wanted_standings() is seen
    True
    """
    seen = _Collected()
    token = _WANTED.set(seen)
    try:
        yield seen
    finally:
        seen.is_open = False
        _WANTED.reset(token)
