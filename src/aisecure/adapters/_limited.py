"""Guards round one route: the plan that the route's requests pass, and what they are called."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any, Literal, TypedDict

from aisecure._flow import Passage, Plan
from aisecure.call import Call, current_context
from aisecure.guard import Guard
from aisecure.ports import Clock, EventSink
from aisecure.quotas import (
    CircuitBreaker,
    Concurrency,
    Limit,
    LoadShedder,
    RateLimitGuard,
    Store,
    rate_limit,
)
from aisecure.quotas.guard import Limits
from aisecure.quotas.keys import KINDS, By, Key, key_function
from aisecure.quotas.rates import Strategy

__all__ = ["LimitOptions", "LimitedRoute"]


class LimitOptions(TypedDict, total=False):
    """Options of ``limit(...)``, as for `aisecure.quotas.rate_limit`."""

    by: By
    across_tenants: bool
    strategy: Strategy
    burst: int | None
    cost: int | Callable[[Call], int]
    store: Store | None
    clock: Clock | None
    events: EventSink
    name: str
    shadow: bool
    on_unavailable: Literal["deny", "allow"]


class LimitedRoute:
    """The guards of one ``limit(...)``.

    Args:
        limits: Texts and `Limit`s, which become one guard; or ready guards that need no input.
        options: Of `rate_limit`, for texts and `Limit`s.

    Raises:
        TypeError: Both kinds at once, options beside ready guards, or a guard that reads the input.
        ValueError: The limits are nonsense, or would never concern a route.
    """

    def __init__(self, limits: Collection[Any], options: LimitOptions) -> None:
        guards = [each for each in limits if isinstance(each, Guard)]
        if guards and (len(guards) != len(limits) or options):
            raise TypeError("limit takes limits and their options, or ready guards alone")
        if not guards:
            guards = [_of_routes(limits, options)]
        for guard in guards:
            # Of these, a function may look at the input, of which there is none; it finds out who calls what.
            if guard.reads_input and not isinstance(
                guard, RateLimitGuard | Concurrency | CircuitBreaker | LoadShedder
            ):
                raise TypeError(
                    f"{type(guard).__name__} reads a call's input, and a route has none; use the shield"
                )
        self._plan = Plan.compile(guards)
        #: Whether a guard wants to know how a request ended; where none does, being let in is all there is.
        self.settles = bool(self._plan.settle)

    def passage(self, sinks: tuple[EventSink, ...], method: str, template: str, source: str) -> Passage:
        """Return the way of one request.

        Args:
            sinks: Where its event goes.
            method: Of the request; HEAD is served by the same code as GET, and counted with it.
            template: The route's path as it was declared, so that every path of it counts together.
            source: The peer's address, for apps in which no adapter established one.
        """
        plan = self._plan
        if plan.sinks is not sinks:
            plan = self._plan = Plan.compile(plan.guards, sinks=sinks)
        context = current_context()
        verb = "GET" if method == "HEAD" else method
        return Passage(
            plan,
            Call(
                context.principal,
                "request",
                f"route:{verb} {template}",
                None,
                context.source or source,
                context.request_id,
                context.conversation,
                context.trace,
            ),
        )


def _of_routes(limits: Collection[Limits | Limit], options: LimitOptions) -> RateLimitGuard:
    name = options.get("name", "")
    if "name" in options and not name:
        raise ValueError("name: is a text, or left out")
    lines = [
        replace(limit, by=_for_each_route(limit.by, limit.name or name))
        if isinstance(limit, Limit)
        else limit
        for limit in limits
    ]
    options = {**options, "by": _for_each_route(options.get("by", "principal"), name)}
    return rate_limit(*lines, **options)


def _for_each_route(by: By, name: str) -> By:
    """Return ``by`` with the route beside it, unless the limit has a name, by which it says what it shares."""
    whose = key_function(by)
    names: tuple[Any, ...] = (by,) if isinstance(by, str) else () if callable(by) else tuple(by)
    for kind in names:
        if kind in KINDS and kind != "route":
            raise ValueError(f"by={kind!r} concerns no route; such a limit is for the shield")
    if name or "resource" in names or "route" in names:
        return by
    if names:
        return (*names, "resource")

    def each_route(call: Call) -> Key:
        return (*whose(call), call.resource)

    each_route.__qualname__ = str(getattr(by, "__qualname__", type(by).__name__))
    return each_route
