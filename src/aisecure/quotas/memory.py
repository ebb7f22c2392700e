"""Counting in this process: a ring of admissions for each key, exact in every window.

A sliding log that is kept as a ring needs one look for an answer: N admissions ago must be a whole period ago.
Memory stays bounded: a key that was idle for its longest period is forgotten (it would answer as a new one), a
key's log grows only as far as it is used, and beyond the caps of `MemoryStore` new keys are counted in a table of
fixed size (`aisecure.quotas.approximate`).
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from array import array
from collections import deque
from collections.abc import Callable
from typing import Any

from aisecure.events import SecurityEvent
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.quotas.approximate import SharedTable
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.store import Counter, Refusal, Subject, canonical

__all__ = ["MemoryStore"]

#: Keys looked at by one sweep. Two would keep up with one new key a sweep; more catch up.
_SWEEP = 4

#: Stamps that a new log has room for; it doubles from there, up to its limit.
_FIRST_SIZE = 4

#: The stamp of a place in a log that was never written: before any window of any clock.
_NEVER = -(1 << 62)

#: One key under one rate: where the next admission goes, how many places there are, the stamps, and how many
#: places there may be. A log that can still grow has unwritten places from the next one on; in one that cannot,
#: the next place is that of the oldest admission. A list, because each hit unpacks it.
_Log = list[Any]


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
        self._counters: dict[str, _MemoryCounter] = {}
        _STORES.add(self)

    def __repr__(self) -> str:
        return f"MemoryStore(max_keys={self.max_keys}, max_admissions={self.max_admissions})"

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota; the same ones for equal quotas."""
        with self.lock:
            return self._counters.setdefault(quota.id, _MemoryCounter(quota, self))

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


class _MemoryCounter:
    """The counts of one quota."""

    def __init__(self, quota: Quota, store: MemoryStore) -> None:
        self._store = store
        self._rates = quota.rates
        self._periods = tuple(rate.seconds * NANO for rate in quota.rates)
        self._longest = max(self._periods)
        only = self._periods[0] if len(self._periods) == 1 else 0
        self._logs: dict[Subject, tuple[_Log, ...]] = {}
        # Every key of _logs once; those that the next sweeps look at come first.
        self._queue: deque[Subject] = deque()
        self.beyond: SharedTable | None = None
        self._bound = store.lock.acquire, store.lock.release, store.now, only

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        # Written out flat, with acquire and release for ``with``: this is the path that has to be fast.
        acquire, release, clock, only = self._bound
        acquire()
        try:
            now = clock()  # inside the lock, so that stamps are written in order
            logs = self._logs.get(subject)
            if logs is None:
                refusal = self._miss(canonical(subject), now, cost)
            elif cost == 1 and only:
                log = logs[0]
                place, size, stamps, _ = log
                wait = stamps[place] + only - now
                if wait > 0:
                    return 0, wait / NANO
                stamps[place] = now
                place += 1
                if place < size:
                    log[0] = place
                    return None
                self._advance(log, place)
                self.sweep(now)
                refusal = None
            elif cost == 1:
                refusal = self._one_of_each(logs, now)
            else:
                refusal = self._several(logs, now, cost)
        finally:
            release()
        if self._store.untold:
            self._store.tell()
        return refusal

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        return self.hit(subject, cost)

    def sweep(self, now: int) -> None:
        """Look at a few keys, and forget those whose admissions have all left the longest window."""
        for _ in range(min(_SWEEP, len(self._queue))):
            subject = self._queue.popleft()
            place, _, stamps, _ = self._logs[subject][0]
            if now - stamps[place - 1] < self._longest:
                self._queue.append(subject)
            else:
                self._store.places -= sum(log[1] for log in self._logs.pop(subject))
                self._store.keys -= 1
        if self.beyond is not None and self.beyond.is_idle(now):
            self.beyond = None

    def _miss(self, subject: Subject, now: int, cost: int) -> Refusal | None:
        """Count a key that has no log under the name it was given; its canonical name may have one."""
        logs = self._logs.get(subject)
        if logs is not None:
            return self._several(logs, now, cost)
        self.sweep(now)
        room = self._store.has_room(now)
        if not room and self.beyond is None:
            self.beyond = SharedTable(self._rates, self._store.max_keys)
            self._store.untold = True
        # A key that was counted approximately until now stays so, or it would get its whole limit anew.
        if self.beyond is not None and not (room and self.beyond.is_clear(subject, now)):
            return self.beyond.hit(subject, now, cost)
        logs = tuple([0, 0, array("q"), rate.amount] for rate in self._rates)
        refusal = self._several(logs, now, cost)
        if refusal is None:
            self._logs[subject] = logs
            self._queue.append(subject)
            self._store.keys += 1
        else:  # the last places went to others
            self._store.places -= sum(log[1] for log in logs)
        return refusal

    def _one_of_each(self, logs: tuple[_Log, ...], now: int) -> Refusal | None:
        """Do as `_several` for a cost of 1, which never needs to grow a log first."""
        longest = which = 0
        for index, (place, _, stamps, _) in enumerate(logs):
            wait = stamps[place] + self._periods[index] - now
            if wait > longest:
                longest, which = wait, index
        if longest:
            return which, longest / NANO
        for log in logs:
            place, size, stamps, _ = log
            stamps[place] = now
            place += 1
            if place < size:
                log[0] = place
            else:
                self._advance(log, place)
                self.sweep(now)
        return None

    def _several(self, logs: tuple[_Log, ...], now: int, cost: int) -> Refusal | None:
        """Ask all logs, then write to all or to none."""
        longest = which = 0
        for index, (log, period) in enumerate(zip(logs, self._periods, strict=True)):
            self._grow(log, log[0] + cost)
            place, size, stamps, _ = log
            # The youngest of the admissions that would be overwritten has to be a whole period ago. A log that
            # was stopped from growing may be too small for the cost.
            last = (place + cost - 1) % size if cost <= size else -1
            wait = period if last < 0 else stamps[last] + period - now
            if wait > longest:
                longest, which = wait, index
        if longest:
            return which, longest / NANO
        for log in logs:
            place, size, stamps, _ = log
            run = min(cost, size - place)
            stamps[place : place + run] = array("q", (now,)) * run
            stamps[: cost - run] = array("q", (now,)) * (cost - run)
            self._advance(log, place + cost)
        return None

    def _advance(self, log: _Log, place: int) -> None:
        if place >= log[1]:
            self._grow(log, place + 1)
            if place >= log[1]:
                place -= log[1]
        log[0] = place

    def _grow(self, log: _Log, needed: int) -> None:
        """Give a log the places it needs, as far as its limit and the store's cap allow."""
        _, size, stamps, limit = log
        if needed <= size or size == limit:
            return
        wanted = min(limit, max(needed, 2 * size, _FIRST_SIZE))
        granted = min(wanted, size + max(0, self._store.max_admissions - self._store.places))
        if granted < wanted:
            # From here on this key keeps what it has: its ring may close below the limit, never above.
            log[3] = granted
            self._store.untold = True
        stamps.extend(array("q", (_NEVER,)) * (granted - size))
        log[1] = granted
        self._store.places += granted - size


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
