"""What a place that counts has to offer; `RateLimiter` knows no more of memory or Redis than this."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from aisecure.quotas.rates import Quota
from aisecure.standing import Standing

__all__ = [
    "EVERYBODY",
    "Ask",
    "Counter",
    "Refusal",
    "Store",
    "Subject",
    "canonical",
    "digest_of",
    "framed",
    "standing",
    "tag_of",
]

#: Whose count: the tenant, then the parts of the key, as they were given.
Subject = tuple[Any, ...]

#: Stands for the tenant of a count that all tenants share; the quota's name keeps it apart from a tenant of that name.
EVERYBODY = "*"

#: Why not: the position in ``quota.rates`` of the limit that takes longest to clear, and the seconds until all
#: limits have room for the same cost, if nothing else is admitted. A bare tuple, since refusing has to be cheap too.
Refusal = tuple[int, float]

#: Longer parts are kept as a digest, so that what a caller sends never fills the store.
MAX_PART = 128

#: Tenants that may stand in a key as they are; others are digested, so that no tenant can write into a hash tag.
_PLAIN_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class Counter(Protocol):
    """The counts of one quota in one store."""

    quota: Quota

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend ``cost`` from every limit of the quota; or spend nothing and say why.

        Args:
            subject: Tenant and parts of the key; the counter makes them `canonical`.
            cost: At least 1 and at most the quota's ``largest_cost``.

        Raises:
            Unavailable: The store could not answer; nothing may be let through on its account.
            TypeError, ValueError: As `canonical`.
        """

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, without blocking the event loop."""


class Ask(NamedTuple):
    """One quota that a call has to pass, and for whom it counts."""

    counter: Counter
    subject: Subject


@runtime_checkable
class Store(Protocol):
    """A place that counts."""

    #: Whether a hit waits for a network, so that asynchronous code must await it.
    over_network: bool

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota; the same ones for equal quotas."""

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend ``cost`` from every limit of several quotas; or spend nothing and say which ask was refused and why.

        Args:
            asks: Counters of this store, each at most once with a subject.
            cost: As for `Counter.hit`; 0 spends nothing, to be told alone.
            tell: Gets the standing of every limit after the call, in order.

        Raises:
            Unavailable: The store could not answer.
        """

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, without blocking the event loop."""

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent.

        Raises:
            Unavailable: The store could not answer.
        """

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts, at least ``{"ok": bool}``."""

    def close(self) -> None:
        """Release connections; later use opens them again."""

    async def aclose(self) -> None:
        """Release the connections of this event loop, before it ends."""


def standing(quota: Quota, index: int, used: int, reset_seconds: float) -> Standing:
    """Return the record of one limit of a quota.

    Args:
        quota: Whose.
        index: Position in its ``rates``.
        used: What counts at this moment.
        reset_seconds: Until nothing of it counts any more.
    """
    rate = quota.rates[index]
    room = rate.amount if quota.burst is None else quota.burst
    return Standing(
        quota.name, rate.amount, rate.seconds, max(0, room - used), max(0.0, reset_seconds), "requests", used
    )


def canonical(subject: Subject) -> Subject:
    """Return a subject that is small, and equal only for equal tenants and keys.

    Short texts stay, and a subject of nothing else is returned itself; everything else becomes a pair of its type and its SHA-256, which no text equals.

    Raises:
        TypeError: The tenant is no text, or a part is neither text, bytes nor a whole number.
        ValueError: There is no part, so that everybody would share one count.

    >>> canonical(("acme", "u-17"))
    ('acme', 'u-17')
    """
    if len(subject) < 2:
        raise ValueError("a key has at least one part")
    for part in subject:
        if type(part) is not str or len(part) > MAX_PART:
            break
    else:
        return subject
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


def tag_of(tenant: str) -> str:
    """Return what stands for a tenant in the hash tag of a key."""
    if _PLAIN_TENANT.fullmatch(tenant):
        return tenant
    return "~" + hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def digest_of(digest: Any, subject: Subject) -> str:
    """Return a name for a canonical subject, after what the digest has taken in already: 160 bits in hexadecimal."""
    for part in subject:
        # A text, or a pair of type and digest; the first byte says which.
        plain = isinstance(part, str)
        raw = b"=" + part.encode("utf-8", "surrogatepass") if plain else b"#" + part[0].encode() + part[1]
        digest.update(framed(raw))
    return cast("str", digest.hexdigest()[:40])


def framed(raw: bytes) -> bytes:
    """Return bytes with their length before them, so that no two sequences of them are the same."""
    return len(raw).to_bytes(4, "big") + raw
