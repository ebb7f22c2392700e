"""Counting in this process.

Memory stays bounded: a key that was idle for its longest period is forgotten (it would answer as a new one), a
key's log grows only as far as it is used, and beyond the caps of `MemoryStore` new keys are counted in a table of
fixed size (`aisecure.quotas.approximate`).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from typing import Any, cast

from aisecure.events import SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.quotas._memory_counter import MemoryCounter
from aisecure.quotas._sliding_log import SlidingLog
from aisecure.quotas._steady import FixedWindow, Gcra
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.store import Ask, Counter, Refusal, standing
from aisecure.standing import Standing

__all__ = ["MemoryStore"]

_STRATEGIES: dict[str, type[MemoryCounter]] = {
    "sliding_log": SlidingLog,
    "gcra": Gcra,
    "fixed_window": FixedWindow,
}


class MemoryStore:
    """Counts in this process, exactly; several workers each allow the whole limit.

    Any number of threads and tasks may share it. No thread or timer runs.

    Args:
        max_keys: Keys with an exact count. Beyond, new keys are counted approximately: never more than their
            limit in any window, but they may be refused when half of it is used.
        max_admissions: Places for admissions, of all keys together (8 bytes each). Beyond, a key keeps the room
            that it has used so far, and new keys are counted approximately.
        clock: Time; its ``monotonic`` is used, so that setting the wall clock changes nothing.
        events: Where ``quota.approximate`` is recorded when the caps begin to matter.

    Raises:
        ValueError: A cap below 1.
    """

    over_network = False

    def __init__(
        self,
        *,
        max_keys: int = 100_000,
        max_admissions: int = 8_000_000,
        clock: Clock | None = None,
        events: EventSink = discard,
    ) -> None:
        if max_keys < 1 or max_admissions < 1:
            raise ValueError("max_keys and max_admissions are at least 1")
        self.max_keys = max_keys
        self.max_admissions = max_admissions
        self.lock = threading.Lock()
        self.now: Callable[[], int] = _nanoseconds(clock)
        self.keys = 0
        self.places = 0
        self.untold = False
        self._events = events
        self._counters: dict[str, MemoryCounter] = {}
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"MemoryStore(max_keys={self.max_keys}, max_admissions={self.max_admissions})"

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota; the same ones for equal quotas."""
        with self.lock:
            counter = self._counters.get(quota.id)
            if counter is None:
                counter = self._counters[quota.id] = _STRATEGIES[quota.strategy](quota, self)
            return counter

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from every limit of several quotas, or from none and say which refused and why."""
        counters = [cast("MemoryCounter", ask.counter) for ask in asks]
        refused: tuple[int, Refusal] | None = None
        with self.lock:
            now = self.now()
            places = [counter.place(ask.subject, now) for counter, ask in zip(counters, asks, strict=True)]
            if cost:
                for index, (counter, place) in enumerate(zip(counters, places, strict=True)):
                    refusal = counter.wait_at(place, now, cost)
                    if refusal is not None and (refused is None or refusal[1] > refused[1][1]):
                        refused = index, refusal
            for counter, place in zip(counters, places, strict=True):
                if refused is None and cost:
                    counter.spend_at(place, now, cost)
                else:
                    counter.leave(place)
                if tell is not None:
                    told = counter.used_at(place, now)
                    tell += [standing(counter.quota, i, used, reset) for i, (used, reset) in enumerate(told)]
        if self.untold:
            self.tell()
        return refused

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, which waits for nothing."""
        return self.hit_all(asks, cost, tell)

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent."""
        with self.lock:
            for ask in asks:
                cast("MemoryCounter", ask.counter).forget(ask.subject)

    def health(self) -> dict[str, Any]:
        """Return how full the store is."""
        return {
            "ok": True,
            "store": "memory",
            "keys": self.keys,
            "places": self.places,
            "approximate": any(counter.beyond is not None for counter in self._counters.values()),
        }

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""

    def has_room(self, now: int) -> bool:
        """Whether one more key may be counted exactly; under the lock."""
        if self.keys < self.max_keys and self.places < self.max_admissions:
            return True
        for counter in self._counters.values():
            counter.sweep(now)
        return self.keys < self.max_keys and self.places < self.max_admissions

    def tell(self) -> None:
        """Record that counts became approximate; outside the lock, since a sink may be slow or limited itself."""
        with self.lock:
            untold, self.untold = self.untold, False
        if untold:
            self._events.record(SecurityEvent("quota.approximate", detail={"keys": self.keys}))


def _nanoseconds(clock: Clock | None) -> Callable[[], int]:
    if clock is None or type(clock) is SystemClock:
        return time.monotonic_ns
    # Rounded, so that a test which waits a retry_after to the end is not one nanosecond short of it.
    return lambda: round(clock.monotonic() * NANO)


_STORES: weakref.WeakSet[MemoryStore] = weakref.WeakSet()
_FORKING = threading.Lock()
_HELD: list[MemoryStore] = []


def _before_fork() -> None:
    # A child made while another thread holds a lock would wait for it for ever, or find half of a change.
    _FORKING.acquire()
    _HELD[:] = _STORES
    for store in _HELD:
        store.lock.acquire()


def _after_fork() -> None:
    for store in _HELD:
        store.lock.release()
    _HELD.clear()
    _FORKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
