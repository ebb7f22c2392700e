"""Rate limits as a guard: several at once, each for whom it counts, all spent from or none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.guard import Guard, Verdict
from aisecure.ports import Clock, EventSink, discard
from aisecure.quotas.keys import By, Key, key_function, label_of, resources_of
from aisecure.quotas.limiter import MAX_COST, Reasons, check_cost, check_distinct
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, Rate, RateItem, Strategy, parse_rates
from aisecure.quotas.store import EVERYBODY, Ask, Counter, Refusal, Store
from aisecure.standing import Standing, wanted_standings

__all__ = ["Limit", "RateLimitGuard", "rate_limit"]

#: What a limit may be written as.
Limits = str | Rate | RateItem | Iterable[str | Rate | RateItem]

#: Resources of which is remembered which limits concern them.
_REMEMBERED = 1024


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit of a guard that has several.

    Attributes:
        limits: ``"10/minute"``, ``"10/minute; 1000/day"``, or as `parse_rates` takes them.
        by: Whom it counts for, inside a tenant: ``principal`` (callers without one by their address), ``tenant``,
            ``source`` (client address; IPv6 by /64), ``resource``, ``model``, ``tool`` or ``route`` (all callers together;
            the last three concern only resources of their kind), several of these for one count each combination, or a
            function from the call to a key: text, bytes, a whole number, or a tuple of them.
        on: Resources that it concerns, as shell patterns such as ``model:*``.
        across_tenants: Count all tenants together. On a Redis Cluster that is a second round trip.
        strategy: What is promised: see `Quota`.
        burst: For the strategy ``gcra``.
        name: Separates its counts from others; the guard's name by default.
    """

    limits: Limits
    by: By = "principal"
    on: str | Collection[str] = "*"
    across_tenants: bool = False
    strategy: Strategy = "sliding_log"
    burst: int | None = None
    name: str = ""


class _Line(NamedTuple):
    """A limit, ready to be asked."""

    counter: Counter
    key: Callable[[Call], Key]
    on: tuple[str, ...]
    everybody: bool
    reasons: Reasons

    def subject(self, call: Call) -> tuple[Any, ...]:
        return (EVERYBODY if self.everybody else call.principal.tenant, *self.key(call))


class RateLimitGuard(Guard):
    """Refuses a call when a limit is reached; a refused call spends nothing from any of them.

    Args:
        limits: All of them hold.
        store: Where to count; this process by default.
        cost: What a call spends: a whole number, or a function of the call that returns one.
        clock: Time for the default store.
        events: Where the default store tells that it began to approximate.
        name, on, shadow, on_unavailable: As for every `Guard`. In shadow mode calls are counted too.

    Raises:
        ValueError: A limit is nonsense, zero or out of range, or stands there twice.
    """

    name = "rate_limit"

    def __init__(
        self,
        *limits: Limit,
        store: Store | None = None,
        cost: int | Callable[[Call], int] = 1,
        clock: Clock | None = None,
        events: EventSink = discard,
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        if store is not None and not isinstance(store, Store):
            raise TypeError(f"store is a MemoryStore, a RedisStore or alike, not {type(store).__name__}")
        if store is not None and clock is not None:
            raise ValueError("give the clock to the store: a store that was given has its own")
        if not limits or not all(isinstance(limit, Limit) for limit in limits):
            raise TypeError('a guard has at least one Limit, such as Limit("10/minute")')
        self.store: Store = MemoryStore(clock=clock, events=events) if store is None else store
        self._lines = tuple(self._line(limit) for limit in limits)
        check_distinct([line.counter.quota for line in self._lines])
        self._cost = cost
        self._most = min(MAX_COST, *(line.counter.quota.largest_cost for line in self._lines))
        if not callable(cost) and check_cost(cost, self._most) is not None:
            raise ValueError(f"a cost of {cost} never fits a limit of {self._most}")
        # A name says nothing of the input; a function may.
        self.reads_input = callable(cost) or any(callable(limit.by) for limit in limits)
        only = self._lines[0] if len(self._lines) == 1 and self._lines[0].on == ("*",) else None
        self._only = None if only is None or only.everybody or cost != 1 else only
        self._concerned: dict[str, tuple[_Line, ...]] = {}
        if self.store.over_network:
            self.abefore = self._abefore

    def _line(self, limit: Limit) -> _Line:
        key = key_function(limit.by)
        label = f"{limit.name or self.name}:{label_of(limit.by)}{'*' if limit.across_tenants else ''}"
        quota = Quota(label, parse_rates(limit.limits), limit.strategy, limit.burst)
        on = resources_of(limit.by, limit.on)
        return _Line(
            self.store.counter(quota),
            key,
            (on,) if isinstance(on, str) else tuple(on),
            limit.across_tenants,
            Reasons(quota),
        )

    @property
    def quotas(self) -> tuple[Quota, ...]:
        """What is limited."""
        return tuple(line.counter.quota for line in self._lines)

    @property
    def counts_are_shared(self) -> bool:
        """Whether other processes see the same counts."""
        return self.store.over_network

    def before(self, call: Call) -> Verdict:
        """Count the call; refuse it when a limit is reached."""
        only = self._only
        if only is not None and wanted_standings() is None:
            answer = only.counter.hit((call.principal.tenant, *only.key(call)), 1)
            return None if answer is None else only.reasons.refuse(answer)
        asked = self._ask(call)
        if isinstance(asked, Decision):
            return asked
        lines, asks, cost = asked
        if not asks:
            return None
        return _verdict(lines, self.store.hit_all(asks, cost, wanted_standings()))

    async def _abefore(self, call: Call) -> Verdict:
        only = self._only
        if only is not None and wanted_standings() is None:
            answer = await only.counter.ahit((call.principal.tenant, *only.key(call)), 1)
            return None if answer is None else only.reasons.refuse(answer)
        asked = self._ask(call)
        if isinstance(asked, Decision):
            return asked
        lines, asks, cost = asked
        if not asks:
            return None
        return _verdict(lines, await self.store.ahit_all(asks, cost, wanted_standings()))

    def remaining(self, call: Call) -> list[Standing]:
        """Return how much is left of each limit that concerns a call; nothing is spent.

        Raises:
            Unavailable: The store could not answer.
        """
        out: list[Standing] = []
        asks = [Ask(line.counter, line.subject(call)) for line in self._lines_for(call.resource)]
        if asks:
            self.store.hit_all(asks, 0, out)
        return out

    def reset(self, call: Call, *, only: Collection[str] | None = None) -> list[str]:
        """Forget what was spent from the limits that concern a call; return their names.

        Args:
            call: Whose, and of what.
            only: Names of limits, as their standings have them; all by default.

        Raises:
            Unavailable: The store could not answer.
        """
        asks = [
            Ask(line.counter, line.subject(call))
            for line in self._lines_for(call.resource)
            if only is None or line.counter.quota.name in only
        ]
        if asks:
            self.store.reset(asks)
        return [ask.counter.quota.name for ask in asks]

    def health(self) -> dict[str, Any]:
        """Return the state of the store."""
        return self.store.health()

    def close(self) -> None:
        """Close the store's connections."""
        self.store.close()

    def _ask(self, call: Call) -> tuple[Sequence[_Line], list[Ask], int] | Decision:
        lines = self._lines_for(call.resource)
        cost = self._cost
        if callable(cost):
            cost = cost(call)
            refusal = check_cost(cost, self._most)
            if refusal is not None:
                return refusal
        return lines, [Ask(line.counter, line.subject(call)) for line in lines], cost

    def _lines_for(self, resource: str) -> tuple[_Line, ...]:
        lines = self._concerned.get(resource)
        if lines is None:
            lines = tuple(
                line for line in self._lines if any(fnmatchcase(resource, pattern) for pattern in line.on)
            )
            if len(self._concerned) >= _REMEMBERED:
                self._concerned.clear()
            self._concerned[resource] = lines
        return lines


def rate_limit(
    *limits: Limits | Limit,
    by: By = "principal",
    on: str | Collection[str] = "*",
    across_tenants: bool = False,
    strategy: Strategy = "sliding_log",
    burst: int | None = None,
    cost: int | Callable[[Call], int] = 1,
    store: Store | None = None,
    clock: Clock | None = None,
    events: EventSink = discard,
    name: str = "rate_limit",
    shadow: bool = False,
    on_unavailable: Literal["deny", "allow"] = "deny",
) -> RateLimitGuard:
    """Return a guard for a `Shield` that is also a decorator for any function, coroutine or generator.

    Args:
        limits: ``"10/minute"``, ``"10/minute; 1000/day"``: at most so many in any window that long, all at once. Further
            ones that count for somebody else are a `Limit` each.
        by: Whom limits that are no `Limit` themselves count for; see there.
        on: Resources that are limited, as shell patterns such as ``model:*``.
        across_tenants: Of those limits: count all tenants together.
        strategy: Of those limits: what is promised.
        burst: Of those limits, for the strategy ``gcra``.
        cost: What a call spends: a whole number, or a function of the call that returns one.
        store: Where to count: this process by default (each worker then allows the whole limit), or a
            `RedisStore`. There, limits with the same name, ``by`` and rates share their counts.
        clock: Time for the default store, in tests.
        events: Where the default store tells that it began to approximate.
        name: The guard's name.
        shadow: Count and tell, but refuse nothing.
        on_unavailable: ``allow`` lets calls pass when the store cannot be asked.

    Raises:
        ValueError: The limits are nonsense, zero or out of range, or ``by`` is no known name.

    >>> @rate_limit("1/minute", Limit("1000/minute", by="tenant"))
    ... def ask(prompt: str) -> str:
    ...     return prompt.upper()
    >>> ask("hello")
    'HELLO'
    >>> ask("hello again")
    Traceback (most recent call last):
        ...
    aisecure.errors.QuotaExceeded: The limit of 1 per minute was reached.
    """
    if not limits:
        raise ValueError('no limit was given; write one, such as "10/minute"')
    lines = [
        limit if isinstance(limit, Limit) else Limit(limit, by, on, across_tenants, strategy, burst)
        for limit in limits
    ]
    return RateLimitGuard(
        *lines,
        store=store,
        cost=cost,
        clock=clock,
        events=events,
        name=name,
        on=on,
        shadow=shadow,
        on_unavailable=on_unavailable,
    )


def _verdict(lines: Sequence[_Line], refused: tuple[int, Refusal] | None) -> Decision | None:
    if refused is None:
        return None
    which, refusal = refused
    return lines[which].reasons.refuse(refusal)
