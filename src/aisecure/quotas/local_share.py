"""What follows when Redis does not answer: go on with this process's share of each limit, and say so."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from aisecure._flow import Effect, Flow, adrive, drive
from aisecure.errors import Unavailable
from aisecure.events import Result, SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.quotas.memory import MemoryStore
from aisecure.quotas.rates import Quota, Rate
from aisecure.quotas.store import Ask, Counter, Refusal, Store, Subject
from aisecure.standing import Standing

__all__ = ["LocalShare"]


class LocalShare:
    """Counts in a store over the network, and while that is away in this process, with a share of every limit.

    Without it a call whose limit cannot be checked is refused (``on_unavailable="deny"``, the default of a guard) or passes
    uncounted (``"allow"``). With it each of ``processes`` admits at most the limit divided by their number, rounded down;
    where that is nothing, calls are refused as unavailable. In a window in which the store went away or came back at
    most twice the limit is admitted: what was counted there, and what was counted here.

    While the store is away one call in ``retry_seconds`` asks it, so that only that one waits for a timeout; the events are
    ``quota.degraded`` and ``quota.recovered``.

    Args:
        store: Where to count: a `RedisStore`, or a `LeasedStore`.
        processes: How many processes share each limit; more than there are is safe.
        retry_seconds: How long the store is left alone after it failed.
        max_keys: Keys that are counted exactly in this process.
        clock: Time, for tests.
        events: Where it is told that counting became local, and that it is shared again.

    Raises:
        ValueError: A number out of range.

    >>> from aisecure.quotas import RedisStore
    >>> store = LocalShare(RedisStore("redis://limits.example:6379"), processes=8)
    """

    over_network = True

    def __init__(
        self,
        store: Store,
        *,
        processes: int,
        retry_seconds: float = 1.0,
        max_keys: int = 100_000,
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if not isinstance(store, Store) or not store.over_network:
            raise TypeError(f"a share is of a store over the network, not of {type(store).__name__}")
        if type(processes) is not int or processes < 1 or retry_seconds <= 0:
            raise ValueError("processes is a whole number from 1, and retry_seconds is above 0")
        self.store = store
        self.processes = processes
        self.retry_seconds = retry_seconds
        self._clock = clock or SystemClock()
        self._events = events
        self._local = MemoryStore(max_keys=max_keys, clock=clock, events=events)
        self._lock = threading.Lock()
        self._away = False
        self._ask_again_at = 0.0

    def __repr__(self) -> str:
        return f"LocalShare({self.store!r}, processes={self.processes})"

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota."""
        return _SharedCounter(quota, self)

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from every limit of several quotas, there or here, or from none."""
        return drive(self._hit_all(asks, cost, tell))

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, in a coroutine."""
        return await adrive(self._hit_all(asks, cost, tell))

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent, here and there."""
        here = [(_shared(ask).here, ask.subject) for ask in asks]
        self._local.reset([Ask(counter, subject) for counter, subject in here if counter is not None])
        self.store.reset([Ask(_shared(ask).there, ask.subject) for ask in asks])

    def health(self) -> dict[str, Any]:
        """Tell of the store, and whether counting is local at the moment; that alone is no failure."""
        return {**self.store.health(), "local_share": self._away}

    def close(self) -> None:
        """Close the store's connections."""
        self.store.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        await self.store.aclose()

    def local(self, quota: Quota) -> Counter | None:
        """Return the counts of this process's share of a quota, or None when the share is nothing."""
        amounts = [rate.amount // self.processes for rate in quota.rates]
        if not all(amounts):
            return None
        rates = tuple(Rate(amount, rate.seconds) for amount, rate in zip(amounts, quota.rates, strict=True))
        burst = None if quota.burst is None else min(quota.burst, *amounts)
        return self._local.counter(Quota(quota.name, rates, quota.strategy, burst))

    def either(self, there: Effect, here: Callable[[], Any]) -> Flow[Any]:
        """Ask the store; or, while it is away, count here.

        Raises:
            Unavailable: The store is away, and there is no share to fall back on.
        """
        if self._is_left_alone():
            return here()
        try:
            answer = yield there
        except Unavailable as err:
            self._went_away(err)
            return here()
        if self._away:
            self._came_back()
        return answer

    def _is_left_alone(self) -> bool:
        if not self._away:
            return False
        with self._lock:
            now = self._clock.monotonic()
            if now < self._ask_again_at:
                return True
            # This call asks; the others go on without until it knows.
            self._ask_again_at = now + self.retry_seconds
            return False

    def _went_away(self, err: Unavailable) -> None:
        with self._lock:
            first, self._away = not self._away, True
            self._ask_again_at = self._clock.monotonic() + self.retry_seconds
        if first:
            cause = type(err.__cause__).__name__ if err.__cause__ else type(err).__name__
            detail = {"error_type": cause, "processes": self.processes}
            self._tell("quota.degraded", Result.FAILURE, detail)

    def _came_back(self) -> None:
        with self._lock:
            back, self._away = self._away, False
        if back:
            self._tell("quota.recovered", Result.SUCCESS, {})

    def _tell(self, event_type: str, result: Result, detail: dict[str, Any]) -> None:
        self._events.record(SecurityEvent(event_type, time=self._clock.time(), result=result, detail=detail))

    def _hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None
    ) -> Flow[tuple[int, Refusal] | None]:
        parts = [_shared(ask) for ask in asks]
        there = [Ask(part.there, ask.subject) for part, ask in zip(parts, asks, strict=True)]
        told = 0 if tell is None else len(tell)

        def here() -> tuple[int, Refusal] | None:
            local = [Ask(part.share(cost), ask.subject) for part, ask in zip(parts, asks, strict=True)]
            if tell is not None:
                del tell[told:]  # of what was told there, nothing holds here
            return self._local.hit_all(local, cost, tell)

        effect = Effect(self.store.hit_all, self.store.ahit_all, (there, cost, tell))
        return cast("tuple[int, Refusal] | None", (yield from self.either(effect, here)))


class _SharedCounter:
    """The counts of one quota, there and here."""

    def __init__(self, quota: Quota, store: LocalShare) -> None:
        self.quota = quota
        self.there = store.store.counter(quota)
        self.here = store.local(quota)
        self._store = store

    def share(self, cost: int) -> Counter:
        """Return the counts of the share, if the cost can fit it."""
        if self.here is None or cost > self.here.quota.largest_cost:
            raise Unavailable(
                "the limit could not be checked, and this process's share of it is too small for the call",
                code="unavailable.quota",
            )
        return self.here

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend there, or here, or nothing and say why."""
        return drive(self._hit(subject, cost))

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, in a coroutine."""
        return await adrive(self._hit(subject, cost))

    def _hit(self, subject: Subject, cost: int) -> Flow[Refusal | None]:
        def here() -> Refusal | None:
            return self.share(cost).hit(subject, cost)

        effect = Effect(self.there.hit, self.there.ahit, (subject, cost))
        return cast("Refusal | None", (yield from self._store.either(effect, here)))


def _shared(ask: Ask) -> _SharedCounter:
    return cast("_SharedCounter", ask.counter)
