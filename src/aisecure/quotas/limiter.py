"""Limits over a store, usable with any key and without a guard."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from aisecure.decisions import ALLOW, Decision, Outcome
from aisecure.ports import Clock, EventSink, discard
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, Rate, RateItem, Strategy, parse_rates
from aisecure.quotas.store import Ask, Refusal, Store
from aisecure.standing import Standing, wanted_standings

__all__ = ["MAX_COST", "RateLimiter", "Reasons"]

#: One call that spends more is a budget in disguise: every unit is written down.
MAX_COST = 100_000


_DENY = Outcome.DENY  # an enumeration looks its members up slowly


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
        strategy: What is promised: see `Quota`. The default is exact.
        burst: For the strategy ``gcra``: how many may come at once.

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
        strategy: Strategy = "sliding_log",
        burst: int | None = None,
    ) -> None:
        if store is not None and not isinstance(store, Store):
            raise TypeError(f"store is a MemoryStore, a RedisStore or alike, not {type(store).__name__}")
        if store is not None and clock is not None:
            raise ValueError("give the clock to the store: a store that was given has its own")
        self.quota = Quota(name, parse_rates(limits), strategy, burst)
        self.store: Store = MemoryStore(clock=clock, events=events) if store is None else store
        self.counter = self.store.counter(self.quota)
        self._hit = self.counter.hit
        self._most = min(MAX_COST, self.quota.largest_cost)
        self._reasons = Reasons(self.quota)

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
        if cost != 1 and (refusal := check_cost(cost, self._most)) is not None:
            return refusal
        if (tell := wanted_standings()) is not None:
            return self._answer(self.store.hit_all((Ask(self.counter, (tenant, *key)),), cost, tell))
        hit = self._hit  # bound to a name: CPython looks a method up for ``self._hit(...)`` and finds none
        answer = hit((tenant,) + key, cost)  # noqa: RUF005  (half the price of unpacking)
        return ALLOW if answer is None else self._reasons.refuse(answer)

    async def adecide(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> Decision:
        """Do as `decide`, without blocking the event loop on a store over the network."""
        if cost != 1 and (refusal := check_cost(cost, self._most)) is not None:
            return refusal
        if (tell := wanted_standings()) is not None:
            return self._answer(await self.store.ahit_all((Ask(self.counter, (tenant, *key)),), cost, tell))
        answer = await self.counter.ahit((tenant, *key), cost)
        return ALLOW if answer is None else self._reasons.refuse(answer)

    def require(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> None:
        """Do as `decide`, and return only if allowed.

        Raises:
            QuotaExceeded: A limit was reached.
        """
        self.decide(*key, tenant=tenant, cost=cost).require()

    async def arequire(self, *key: str | bytes | int, tenant: str = "default", cost: int = 1) -> None:
        """Do as `require`, without blocking the event loop on a store over the network."""
        (await self.adecide(*key, tenant=tenant, cost=cost)).require()

    def remaining(self, *key: str | bytes | int, tenant: str = "default") -> list[Standing]:
        """Return how much of each limit is left for a key; nothing is spent.

        Raises:
            Unavailable: The store could not answer.

        >>> limiter = RateLimiter("5/minute")
        >>> limiter.require("u-17", cost=2)
        >>> limiter.remaining("u-17")[0].remaining
        3
        """
        out: list[Standing] = []
        self.store.hit_all((Ask(self.counter, (tenant, *key)),), 0, out)
        return out

    async def aremaining(self, *key: str | bytes | int, tenant: str = "default") -> list[Standing]:
        """Do as `remaining`, without blocking the event loop on a store over the network."""
        out: list[Standing] = []
        await self.store.ahit_all((Ask(self.counter, (tenant, *key)),), 0, out)
        return out

    def reset(self, *key: str | bytes | int, tenant: str = "default") -> None:
        """Forget what a key spent.

        Raises:
            Unavailable: The store could not answer.
        """
        self.store.reset((Ask(self.counter, (tenant, *key)),))

    def _answer(self, refused: tuple[int, Refusal] | None) -> Decision:
        return ALLOW if refused is None else self._reasons.refuse(refused[1])


class Reasons:
    """The refusals of a quota, with their texts made ahead."""

    def __init__(self, quota: Quota) -> None:
        self._reasons = [(f"The limit of {rate} was reached.",) for rate in quota.rates]

    def refuse(self, refusal: Refusal) -> Decision:
        """Return the refusal as a decision."""
        which, seconds = refusal
        return Decision(_DENY, "quota.exceeded", self._reasons[which], (), seconds)


def check_cost(cost: int, most: int) -> Decision | None:
    """Return a refusal for a cost that can never fit.

    Raises:
        TypeError, ValueError: It is no cost at all.
    """
    if type(cost) is not int:
        raise TypeError(f"a cost is a whole number, not {type(cost).__name__}")
    if cost < 1:
        raise ValueError("a cost is at least 1; nothing is given back")
    if cost <= most:
        return None
    return Decision.deny("quota.cost", f"The call costs more than the {most} that one call may spend.")


def check_distinct(quotas: Sequence[Quota]) -> None:
    """Return if no two quotas would count into one another.

    Raises:
        ValueError: Two are the same.
    """
    for index, quota in enumerate(quotas):
        if quota in quotas[:index]:
            raise ValueError(
                f"two limits are called {quota.name!r} and count the same; rename one or drop it"
            )
