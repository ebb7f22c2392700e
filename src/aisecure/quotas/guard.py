"""Rate limits as a guard: who a call counts for, and what follows when a limit is reached."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_network
from typing import Any, Literal

from aisecure.call import Call
from aisecure.decisions import ALLOW, Decision
from aisecure.guard import Guard, Verdict
from aisecure.ports import Clock, EventSink, discard
from aisecure.quotas.limiter import RateLimiter
from aisecure.quotas.rates import Rate, RateItem
from aisecure.quotas.store import Store

__all__ = ["BY", "By", "RateLimitGuard", "key_function", "rate_limit", "resources_of"]

Key = tuple[str | bytes | int, ...]


def _by_principal(call: Call) -> Key:
    principal = call.principal
    if principal.id:
        return "principal", principal.id
    # Nobody in particular: otherwise all strangers would share one count, and one of them could use it up.
    return _by_source(call)


def _by_source(call: Call) -> Key:
    source = call.source
    return "source", _network(source) if ":" in source else source


def _by_tenant(call: Call) -> Key:
    return ("tenant",)


def _by_resource(call: Call) -> Key:
    return "resource", call.resource


#: Whom a call counts for, by name; always inside the principal's tenant.
BY: dict[str, Callable[[Call], Key]] = {
    "principal": _by_principal,
    "tenant": _by_tenant,
    "source": _by_source,
    "resource": _by_resource,
    # The same by the names that people look for; each concerns only resources of its kind.
    "model": _by_resource,
    "tool": _by_resource,
    "route": _by_resource,
}

#: The kind of resource that a name stands for.
KINDS = {"model": "model:*", "tool": "tool:*", "route": "route:*"}

By = str | Sequence[str] | Callable[[Call], Any]


def key_function(by: By) -> Callable[[Call], Key]:
    """Return the function from a call to the key that it counts for.

    Args:
        by: A name of `BY`; several, for one count each combination (``("principal", "model")``); or a function that
            returns text, bytes, a whole number, or a tuple of them.

    Raises:
        ValueError: An unknown name, or none.
        TypeError: Neither names nor function.
    """
    if callable(by):
        return _custom(by)
    names = (by,) if isinstance(by, str) else by
    if isinstance(names, bytes) or not isinstance(names, Sequence):
        raise TypeError(f"by is a name, several, or a function, not {type(by).__name__}")
    for name in names:
        if name not in BY:
            raise ValueError(f"by is one of {', '.join(BY)}, or a function, not {str(name)[:60]!r}")
    if not names:
        raise ValueError(f"by names nothing; write one of {', '.join(BY)}")
    functions = [BY[name] for name in names]
    if len(functions) == 1:
        return functions[0]
    return lambda call: tuple(part for function in functions for part in function(call))


def resources_of(by: By, on: str | Collection[str]) -> str | Collection[str]:
    """Return which resources a limit concerns: as given, or those of the kind that ``by`` names."""
    names = [by] if isinstance(by, str) else [] if callable(by) else list(by)
    kinds = [KINDS[name] for name in names if name in KINDS]
    return kinds if kinds and on == "*" else on


def _custom(function: Callable[[Call], Any]) -> Callable[[Call], Key]:
    def custom(call: Call) -> Key:
        key = function(call)
        return key if isinstance(key, tuple) else (key,)

    return custom


@lru_cache(maxsize=4096)
def _network(source: str) -> str:
    """Return what counts as one IPv6 source: its /64, which a single customer is given (RFC 6177)."""
    try:
        address = IPv6Address(source.partition("%")[0])
    except ValueError:
        return source
    if address.ipv4_mapped:
        return str(address.ipv4_mapped)
    return str(ip_network((address, 64), strict=False))


class RateLimitGuard(Guard):
    """Refuses a call when a limit is reached; a refused call spends nothing.

    Args:
        limiter: Counts; guards that share one share its counts.
        by: Whom a call counts for, inside its tenant: ``principal`` (callers without one by their address),
            ``tenant``, ``resource`` (all callers together), ``source`` (client address; IPv6 by /64), or a function
            from the call to a key: text, bytes, a whole number, or a tuple of them.
        name, on, shadow, on_unavailable: As for every `Guard`. In shadow mode calls are counted too.

    Raises:
        ValueError: ``by`` is no known name.
    """

    name = "rate_limit"

    def __init__(
        self,
        limiter: RateLimiter,
        *,
        by: str | Callable[[Call], Any] = "principal",
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        self.limiter = limiter
        self._key = key_function(by)
        if limiter.store.over_network:
            self.abefore = self._abefore

    def before(self, call: Call) -> Verdict:
        """Count the call; refuse it when a limit is reached."""
        decision = self.limiter.decide(*self._key(call), tenant=call.principal.tenant)
        return None if decision is ALLOW else decision

    async def _abefore(self, call: Call) -> Decision | None:
        decision = await self.limiter.adecide(*self._key(call), tenant=call.principal.tenant)
        return None if decision is ALLOW else decision

    def health(self) -> dict[str, Any]:
        """Return the state of the store."""
        return self.limiter.store.health()

    def close(self) -> None:
        """Close the store's connections."""
        self.limiter.store.close()


def rate_limit(
    limits: str | Rate | RateItem | Iterable[str | Rate | RateItem],
    *,
    by: str | Callable[[Call], Any] = "principal",
    on: str | Collection[str] = "*",
    store: Store | None = None,
    clock: Clock | None = None,
    events: EventSink = discard,
    name: str = "rate_limit",
    shadow: bool = False,
    on_unavailable: Literal["deny", "allow"] = "deny",
) -> RateLimitGuard:
    """Return a guard for a `Shield` that is also a decorator for any function, coroutine or generator.

    Args:
        limits: ``"10/minute"``, ``"10/minute; 1000/day"``: at most so many in any window that long, all at once.
        by: Whom a call counts for: see `RateLimitGuard`.
        on: Resources that are limited, as shell patterns such as ``model:*``.
        store: Where to count: this process by default (each worker then allows the whole limit), or a
            `RedisStore`. There, limits with the same name, ``by`` and rates share their counts.
        clock: Time for the default store, in tests.
        events: Where the default store tells that it began to approximate.
        name: The guard's name.
        shadow: Count and tell, but refuse nothing.
        on_unavailable: ``allow`` lets calls pass when the store cannot be asked.

    Raises:
        ValueError: The limits are nonsense, zero or out of range, or ``by`` is no known name.

    >>> @rate_limit("1/minute")
    ... def ask(prompt: str) -> str:
    ...     return prompt.upper()
    >>> ask("hello")
    'HELLO'
    >>> ask("hello again")
    Traceback (most recent call last):
        ...
    aisecure.errors.QuotaExceeded: The limit of 1 per minute was reached.
    """
    label = by if isinstance(by, str) else getattr(by, "__qualname__", type(by).__name__)
    limiter = RateLimiter(limits, store=store, clock=clock, events=events, name=f"{name}:{label}")
    return RateLimitGuard(limiter, by=by, name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
