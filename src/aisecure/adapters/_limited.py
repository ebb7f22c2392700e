"""Guards round one route: the plan that the route's requests pass, and what they are called."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

from aisecure._flow import Passage, Plan
from aisecure.call import current_context
from aisecure.guard import Guard
from aisecure.ports import EventSink
from aisecure.quotas import Limit, RateLimitGuard, rate_limit

__all__ = ["LimitedRoute"]


class LimitedRoute:
    """The guards of one ``limit(...)``.

    Args:
        limits: Texts and `Limit`s, which become one guard; or ready guards that need no input.
        options: Of `rate_limit`, for texts and `Limit`s.

    Raises:
        TypeError: Both kinds at once, options beside ready guards, or a guard that reads the input.
    """

    def __init__(self, limits: Collection[Any], options: dict[str, Any]) -> None:
        guards = [each for each in limits if isinstance(each, Guard)]
        if guards and (len(guards) != len(limits) or options):
            raise TypeError("limit takes limits and their options, or ready guards alone")
        if not guards:
            guards = [rate_limit(*cast("Collection[str | Limit]", limits), **options)]
        for guard in guards:
            if guard.reads_input and not isinstance(guard, RateLimitGuard):
                raise TypeError(
                    f"{type(guard).__name__} reads a call's input, and a route has none; use the shield"
                )
        self._guards = tuple(guards)
        self._plans: dict[tuple[EventSink, ...], Plan] = {}

    def passage(self, sinks: tuple[EventSink, ...], method: str, template: str, source: str) -> Passage:
        """Return the way of one request.

        Args:
            sinks: Where its event goes.
            method: Of the request.
            template: The route's path as it was declared, so that every path of it counts together.
            source: The peer's address, for apps in which no adapter established one.
        """
        plan = self._plans.get(sinks)
        if plan is None:
            plan = self._plans[sinks] = Plan.compile(self._guards, sinks=sinks)
        context = current_context()
        if not context.source and source:
            context = replace(context, source=source)
        return Passage(plan, context.call("request", f"route:{method} {template}"))
