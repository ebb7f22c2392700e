"""Quota leases: a process takes a share of a limit from Redis, and spends it without asking again.

The promise stays exact. A lease lives at most T. Redis counts it at the moment in which it is taken, and counts in windows
that are T longer than the limit says. What is admitted in a window of the period P was therefore taken within P + T, of
which Redis gave out at most N: no window ever holds more than N, whatever the number of processes. The price is on the
other side: at a steady pace N in P + T are admitted, and what a process took and did not spend is nobody's for a time.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from aisecure._flow import Flow, adrive, drive
from aisecure.ports import Clock, SystemClock
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.redis_store import Receipt, RedisCounter, RedisStore
from aisecure.quotas.store import Ask, Refusal, Subject, canonical
from aisecure.standing import Standing

__all__ = ["LeasedStore"]

#: A lease takes no more of a window than this, or the lengthened window would give up too much of the limit.
_LONGEST_SHARE_OF_PERIOD = 0.1

#: Redis writes each admission down; more at once would keep others waiting.
_MOST_AT_ONCE = 1_000

#: How often a call that has to pass several limits tries to find all of them with a lease before it asks Redis itself.
_ATTEMPTS = 3


class LeasedStore:
    """Counts on Redis through leases: exact in every window, with few round trips.

    How much is taken adapts to each key: twice as much after a lease that was used up, half after one that was not,
    at most ``share`` of the smallest limit. Every process that counts a limit has to use leases of the same length.
    Only the strategy ``sliding_log`` can be leased. What `wanted_standings` is told is what this process still holds:
    at least so much remains.

    A lease is timed by this machine's clock that also runs while the machine sleeps, where there is one. A virtual machine
    that is stopped and resumed with its clock can spend a lease late; use `RedisStore` where that matters.

    Args:
        store: Where leases are taken from.
        lease_seconds: How long a lease lives at most; never more than a tenth of the shortest period of a limit.
        share: The part of a limit that one process takes at most, from above 0 to 1.
        max_keys: Leases that are held at once. Beyond, the oldest is dropped: what was left of it is lost until its window
            has passed.
        clock: Time, for tests; its ``monotonic`` is used.

    Raises:
        ValueError: A number out of range.
    """

    over_network = True

    def __init__(
        self,
        store: RedisStore,
        *,
        lease_seconds: float = 1.0,
        share: float = 0.02,
        max_keys: int = 100_000,
        clock: Clock | None = None,
    ) -> None:
        if not isinstance(store, RedisStore):
            raise TypeError(f"leases are taken from a RedisStore, not {type(store).__name__}")
        if not (lease_seconds > 0 and 0 < share <= 1 and max_keys >= 1):
            raise ValueError("lease_seconds is above 0, share above 0 and at most 1, max_keys at least 1")
        self.store = store
        self.lease_seconds = lease_seconds
        self.share = share
        self.max_keys = max_keys
        self.lock = threading.Lock()
        self.now: Callable[[], int] = _nanoseconds(clock)
        self._counters: dict[str, LeasedCounter] = {}
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"LeasedStore({self.store!r}, lease_seconds={self.lease_seconds}, share={self.share})"

    def counter(self, quota: Quota) -> LeasedCounter:
        """Return the counts of a quota; the same ones for equal quotas."""
        if quota.strategy != "sliding_log":
            raise ValueError(f"only the strategy sliding_log can be leased, not {quota.strategy}")
        with self.lock:
            counter = self._counters.get(quota.id)
            if counter is None:
                counter = self._counters[quota.id] = LeasedCounter(quota, self)
            return counter

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from leases of every limit, or from none and say which refused and why."""
        return drive(self._hit_all(asks, cost, tell))

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, in a coroutine."""
        return await adrive(self._hit_all(asks, cost, tell))

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent; other processes may hold leases that they took before."""
        with self.lock:
            for ask in asks:
                _leased(ask).drop(canonical(ask.subject))
        self.store.reset([Ask(_leased(ask).base, ask.subject) for ask in asks])

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there, and tell how many leases are held."""
        held = sum(len(counter.leases) for counter in self._counters.values())
        return {**self.store.health(), "leases": held}

    def close(self) -> None:
        """Give back what is left of live leases, as far as the server answers, and close all connections."""
        for counter in tuple(self._counters.values()):
            drive(counter.give_back())
        self.store.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        await self.store.aclose()

    def forget(self) -> None:
        """Drop every lease, in a forked child: they are the parent's to spend."""
        self.lock = threading.Lock()
        for counter in self._counters.values():
            counter.leases.clear()

    def _hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None
    ) -> Flow[tuple[int, Refusal] | None]:
        base = [Ask(_leased(ask).base, ask.subject) for ask in asks]
        if not cost:
            return (yield from self.store._hit_all(base, 0, tell))  # noqa: SLF001  (its own flow, to go on with)
        for _ in range(_ATTEMPTS):
            for index, ask in enumerate(asks):
                refusal = yield from _leased(ask).ensure(ask.subject, cost)
                if refusal is not None:
                    return index, refusal
            with self.lock:
                now = self.now()
                leases = [_leased(ask).leases.get(canonical(ask.subject)) for ask in asks]
                if all(lease is not None and lease.holds(cost, now) for lease in leases):
                    for ask, lease in zip(asks, leases, strict=True):
                        assert lease is not None  # noqa: S101  (just asked)
                        lease.left -= cost
                        if tell is not None:
                            tell += _leased(ask).standings(lease, now)
                    return None
        # Others spent what was taken for this call, again and again: ask for this one alone.
        return (yield from self.store._hit_all(base, cost, tell))  # noqa: SLF001


class _Lease:
    """What a process holds of one key's limit."""

    __slots__ = (
        "expires",
        "fetching",
        "left",
        "refusal",
        "refused_at",
        "refused_until",
        "size",
        "stamp",
        "wanted",
    )

    def __init__(self) -> None:
        self.left = 0
        self.size = 0
        self.expires = 0
        self.stamp = b""
        self.wanted = 1
        self.fetching = False
        self.refused_at = 0
        self.refused_until = 0
        self.refusal: Refusal = (0, 0.0)

    def holds(self, cost: int, now: int) -> bool:
        return cost <= self.left and now < self.expires


class LeasedCounter:
    """The leases of one quota."""

    def __init__(self, quota: Quota, store: LeasedStore) -> None:
        self.quota = quota
        shortest = min(rate.seconds for rate in quota.rates)
        self.lease_seconds = min(store.lease_seconds, shortest * _LONGEST_SHARE_OF_PERIOD)
        self.base: RedisCounter = store.store.counter(quota, longer_seconds=self.lease_seconds)
        self.leases: dict[Subject, _Lease] = {}
        self._store = store
        self._nanoseconds = int(self.lease_seconds * NANO)
        self._most = max(1, min(_MOST_AT_ONCE, int(quota.largest_cost * store.share)))

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from the lease, or from one that is taken now, or nothing and say why."""
        store = self._store
        with store.lock:
            now = store.now()
            lease = self.leases.get(subject)
            if lease is not None and cost <= lease.left and now < lease.expires:
                lease.left -= cost
                return None
        return drive(self._ask(subject, cost))

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, in a coroutine."""
        store = self._store
        with store.lock:
            now = store.now()
            lease = self.leases.get(subject)
            if lease is not None and cost <= lease.left and now < lease.expires:
                lease.left -= cost
                return None
        return await adrive(self._ask(subject, cost))

    def ensure(self, subject: Subject, cost: int) -> Flow[Refusal | None]:
        """Take a lease unless one holds the cost; spend nothing. Return why there is none."""
        subject = canonical(subject)
        with self._store.lock:
            lease, now = self._lease(subject), self._store.now()
            if lease.holds(cost, now):
                return None
            if now < lease.refused_until:
                return _later(lease, now)
        return (yield from self._take(subject, lease, cost))

    def give_back(self) -> Flow[None]:
        """Return to Redis what is left of every live lease."""
        with self._store.lock:
            held = [(subject, lease) for subject, lease in self.leases.items() if lease.left]
            self.leases.clear()
        for subject, lease in held:
            try:
                yield from self._store.store.refund(Ask(self.base, subject), Receipt(lease.left, lease.stamp))
            except Exception:  # noqa: BLE001  (what cannot be given back is lost until its window has passed)
                return

    def drop(self, subject: Subject) -> None:
        """Forget a lease; under the lock."""
        self.leases.pop(subject, None)

    def standings(self, lease: _Lease, now: int) -> list[Standing]:
        """Return at least how much is left of each limit."""
        seconds = max(0, lease.expires - now) / NANO
        return [
            Standing(
                self.quota.name, rate.amount, rate.seconds, lease.left, seconds, used=rate.amount - lease.left
            )
            for rate in self.quota.rates
        ]

    def _ask(self, subject: Subject, cost: int) -> Flow[Refusal | None]:
        subject = canonical(subject)
        with self._store.lock:
            lease, now = self._lease(subject), self._store.now()
            if lease.holds(cost, now):
                lease.left -= cost
                return None
            if now < lease.refused_until:
                return _later(lease, now)
            busy, lease.fetching = lease.fetching, True
        if busy:
            # Somebody else is taking the next lease: waiting for it would be a lock across the network.
            _, refusal = yield from self.base.take(subject, cost, partial=False)
            return refusal
        return (yield from self._take(subject, lease, cost, spend=cost))

    def _take(self, subject: Subject, lease: _Lease, cost: int, *, spend: int = 0) -> Flow[Refusal | None]:
        """Take the next lease, of at least a cost, and spend from it at once; what is left of the last one goes back."""
        store = self._store
        with store.lock:
            lease.fetching = True
            unspent, stamp, lease.left = lease.left, lease.stamp, 0
            if lease.size and not unspent:
                lease.wanted = min(self._most, 2 * lease.wanted)
            elif 2 * unspent >= max(1, lease.size):
                lease.wanted = max(1, lease.wanted // 2)
            lease.size, wanted = 0, max(cost, lease.wanted)
        try:
            if unspent:
                yield from store.store.refund(Ask(self.base, subject), Receipt(unspent, stamp))
            sent = (
                store.now()
            )  # before the server's stamp, so that the lease ends before it counts for another window
            receipt, refusal = yield from self.base.take(subject, wanted)
            if refusal is not None:
                # Leases that others give back may make room earlier, so this is believed for a lease's time only.
                lease.refusal, lease.refused_at = refusal, sent
                lease.refused_until = sent + min(round(refusal[1] * NANO), self._nanoseconds)
                return refusal
            if receipt.granted < cost:
                # Some, but not enough for a call that spends several at once.
                yield from store.store.refund(Ask(self.base, subject), receipt)
                receipt, refusal = yield from self.base.take(subject, cost, partial=False)
                if refusal is not None:
                    return refusal
        finally:
            lease.fetching = False
        with store.lock:
            lease.size = receipt.granted
            lease.left = receipt.granted - spend
            lease.stamp = receipt.stamp
            lease.expires = sent + self._nanoseconds
        return None

    def _lease(self, subject: Subject) -> _Lease:
        lease = self.leases.get(subject)
        if lease is None:
            if len(self.leases) >= self._store.max_keys:
                self.leases.pop(next(iter(self.leases)))
            lease = self.leases[subject] = _Lease()
        return lease


def _leased(ask: Ask) -> LeasedCounter:
    assert isinstance(ask.counter, LeasedCounter)  # noqa: S101  (a store is asked for its own counters)
    return ask.counter


def _later(lease: _Lease, now: int) -> Refusal:
    which, seconds = lease.refusal
    return which, max(0.001, seconds - max(0, now - lease.refused_at) / NANO)


def _nanoseconds(clock: Clock | None) -> Callable[[], int]:
    if clock is None or type(clock) is SystemClock:
        # The clock that goes on while the machine sleeps: a lease must not outlive the sleep.
        boot = getattr(time, "CLOCK_BOOTTIME", None)
        return time.monotonic_ns if boot is None else partial(time.clock_gettime_ns, boot)
    return lambda: round(clock.monotonic() * NANO)


_STORES: weakref.WeakSet[LeasedStore] = weakref.WeakSet()


def _after_fork() -> None:
    for store in _STORES:
        store.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
