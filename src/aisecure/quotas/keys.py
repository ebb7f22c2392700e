"""Whom a call counts for: a name such as ``principal``, several of them, or a function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import lru_cache, reduce
from ipaddress import IPv6Address, ip_network
from typing import Any

from aisecure.call import Call

__all__ = ["BY", "By", "Key", "key_function", "label_of", "resources_of"]

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
    names: object = (by,) if isinstance(by, str) else by
    if isinstance(names, bytes) or not isinstance(names, Sequence):
        raise TypeError(f"by is a name, several, or a function, not {type(by).__name__}")
    for name in names:
        if name not in BY:
            raise ValueError(f"by is one of {', '.join(BY)}, or a function, not {str(name)[:60]!r}")
    if not names:
        raise ValueError(f"by names nothing; write one of {', '.join(BY)}")
    functions = [BY[name] for name in names]
    return reduce(_both, functions)


def resources_of(by: By, on: str | Collection[str]) -> str | Collection[str]:
    """Return which resources a limit concerns: as given, or those of the kind that ``by`` names."""
    names = [by] if isinstance(by, str) else [] if callable(by) else list(by)
    kinds = [KINDS[name] for name in names if name in KINDS]
    return kinds if kinds and on == "*" else on


def _both(first: Callable[[Call], Key], second: Callable[[Call], Key]) -> Callable[[Call], Key]:
    return lambda call: first(call) + second(call)


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


def label_of(by: By) -> str:
    """Return a name for counts by ``by``, the same in every process."""
    if isinstance(by, str):
        return by
    if callable(by):
        return str(getattr(by, "__qualname__", type(by).__name__))
    return "+".join(by)
