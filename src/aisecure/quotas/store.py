"""What a place that counts has to offer; `RateLimiter` knows no more of memory or Redis than this."""

from __future__ import annotations

import hashlib
from typing import Any, Protocol, runtime_checkable

from aisecure.quotas.rates import Quota

__all__ = ["Counter", "Refusal", "Store", "Subject", "canonical"]

#: Whose count: the tenant, then the parts of the key, as they were given.
Subject = tuple[Any, ...]

#: Why not: the position in ``quota.rates`` of the limit that takes longest to clear, and the seconds until all
#: limits have room for the same cost, if nothing else is admitted. A bare tuple, since refusing has to be cheap too.
Refusal = tuple[int, float]

#: Longer parts are kept as a digest, so that what a caller sends never fills the store.
MAX_PART = 128


class Counter(Protocol):
    """The counts of one quota in one store."""

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend ``cost`` from every limit of the quota; or spend nothing and say why.

        Args:
            subject: Tenant and parts of the key; the counter makes them `canonical`.
            cost: At least 1 and at most the smallest limit.

        Raises:
            Unavailable: The store could not answer; nothing may be let through on its account.
            TypeError, ValueError: As `canonical`.
        """

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, without blocking the event loop."""


@runtime_checkable
class Store(Protocol):
    """A place that counts."""

    #: Whether a hit waits for a network, so that asynchronous code must await it.
    over_network: bool

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota; the same ones for equal quotas."""

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts, at least ``{"ok": bool}``."""

    def close(self) -> None:
        """Release connections; later use opens them again."""

    async def aclose(self) -> None:
        """Release the connections of this event loop, before it ends."""


def canonical(subject: Subject) -> Subject:
    """Return a subject that is small, and equal only for equal tenants and keys.

    Short texts stay; everything else becomes a pair of its type and its SHA-256, which no text equals.

    Raises:
        TypeError: The tenant is no text, or a part is neither text, bytes nor a whole number.
        ValueError: There is no part, so that everybody would share one count.

    >>> canonical(("acme", "u-17"))
    ('acme', 'u-17')
    """
    if len(subject) < 2:
        raise ValueError("a key has at least one part")
    if not isinstance(subject[0], str):
        raise TypeError(f"a tenant is a str, not {type(subject[0]).__name__}")
    return tuple(map(_part, subject))


def _part(part: Any) -> Any:
    if isinstance(part, str):
        if len(part) <= MAX_PART:
            return str(part)
        return "str", hashlib.sha256(part.encode("utf-8", "surrogatepass")).digest()
    if isinstance(part, bytes):
        return "bytes", hashlib.sha256(part).digest()
    if isinstance(part, int) and not isinstance(part, bool):
        # Hexadecimal: CPython refuses to print very long numbers in decimal.
        return "int", hashlib.sha256(hex(part).encode()).digest()
    raise TypeError(f"a part of a key is str, bytes or int, not {type(part).__name__}")
