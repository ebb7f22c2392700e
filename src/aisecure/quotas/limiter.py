"""Limits over a store, usable with any key and without a guard."""

from __future__ import annotations

from collections.abc import Iterable

from aisecure.decisions import ALLOW, Decision, Outcome
from aisecure.ports import Clock, EventSink, discard
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, Rate, RateItem, parse_rates
from aisecure.quotas.store import Refusal, Store

__all__ = ["RateLimiter"]

#: One call that spends more is a budget in disguise: every unit is written down.
MAX_COST = 100_000


class RateLimiter:
    """At most so many in any window, counted by key.

    All limits hold at once, and a refused call spends nothing from any of them. A window is any stretch of
    time as long as the period, not a calendar minute: no burst at its edge gets twice the limit.

    Args:
        limits: ``"10/minute"``, ``"10/minute; 1000/day"``, or as `parse_rates` takes them.
        store: Where to count; a `MemoryStore` of its own by default, which counts in this process only.
        clock: Time for that default store; a store that was given has its own.
        events: Where that default store tells that it began to approximate.
        name: Separates these counts from others in a shared store. Limiters with the same store, name and
            limits share their counts; that is how several processes count together on Redis.

    Raises:
        ValueError: The limits are nonsense, zero or out of range.

    >>> limiter = RateLimiter("2/minute")
    >>> [limiter.decide("u-17").allowed for _ in range(3)]
    [True, True, False]
    """

    def __init__(
        self,
        limits: str | Rate | RateItem | Iterable[str | Rate | RateItem],
        *,
        store: Store | None = None,
        clock: Clock | None = None,
        events: EventSink = discard,
        name: str = "rate_limit",
    ) -> None:
        if store is not None and not isinstance(store, Store):
            raise TypeError(f"store is a MemoryStore, a RedisStore or alike, not {type(store).__name__}")
        if store is not None and clock is not None:
            raise ValueError("give the clock to the store: a store that was given has its own")
        self.quota = Quota(name, parse_rates(limits))
        self.store: Store = MemoryStore(clock=clock, events=events) if store is None else store
        self._counter = self.store.counter(self.quota)
        self._hit = self._counter.hit
        self._most = min(MAX_COST, *(rate.amount for rate in self.quota.rates))
        self._reasons = [(f"The limit of {rate} was reached.",) for rate in self.quota.rates]

    def __repr__(self) -> str:
        return f"RateLimiter({'; '.join(map(str, self.quota.rates))!r}, store={self.store!r})"

    def decide(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> Decision:
        """Spend ``cost`` for a key if every limit has room, and say whether it had.

        Args:
            key: Who or what is counted: one part or several, of any length and any content. Parts are kept
                apart: ``("a", "b")`` is not ``("ab",)``, and ``1`` is not ``"1"``.
            tenant: Whose key it is; equal keys of different tenants never share a count.
            cost: How much to spend. More than a limit allows is refused, and no wait helps.

        Returns:
            An allow, or a refusal with code ``quota.exceeded`` and the exact ``retry_after`` in seconds; or with
            ``quota.cost`` and none, when the cost can never fit.

        Raises:
            Unavailable: The store could not answer.
            TypeError, ValueError: The key or the cost is none; a cost is a whole number from 1.
        """
        if cost != 1 and (refusal := self._cost_refusal(cost)) is not None:
            return refusal
        hit = self._hit  # bound to a name: CPython looks a method up for ``self._hit(...)`` and finds none
        answer = hit((tenant, *key), cost)
        return ALLOW if answer is None else self._refused(answer)

    async def adecide(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> Decision:
        """Do as `decide`, without blocking the event loop on a store over the network."""
        if cost != 1 and (refusal := self._cost_refusal(cost)) is not None:
            return refusal
        answer = await self._counter.ahit((tenant, *key), cost)
        return ALLOW if answer is None else self._refused(answer)

    def require(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> None:
        """Do as `decide`, and return only if allowed.

        Raises:
            QuotaExceeded: A limit was reached.
        """
        self.decide(*key, tenant=tenant, cost=cost).require()

    async def arequire(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> None:
        """Do as `require`, without blocking the event loop on a store over the network."""
        (await self.adecide(*key, tenant=tenant, cost=cost)).require()

    def _cost_refusal(self, cost: int) -> Decision | None:
        if type(cost) is not int:
            raise TypeError(f"a cost is a whole number, not {type(cost).__name__}")
        if cost < 1:
            raise ValueError("a cost is at least 1; nothing is given back")
        if cost <= self._most:
            return None
        return Decision.deny(
            "quota.cost", f"The call costs more than the {self._most} that one call may spend."
        )

    def _refused(self, answer: Refusal) -> Decision:
        which, seconds = answer
        return Decision(Outcome.DENY, "quota.exceeded", self._reasons[which], (), seconds)
