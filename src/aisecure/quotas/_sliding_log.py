"""A sliding log in this process: exact in every window.

The log is kept as a ring, so that one look gives the answer: N admissions ago must be a whole period ago. It grows only
as far as it is used.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from aisecure.quotas._memory_counter import MemoryCounter
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.store import Refusal, Subject

if TYPE_CHECKING:
    from aisecure.quotas.memory import MemoryStore

__all__ = ["SlidingLog"]

#: Stamps that a new log has room for; it doubles from there, up to its limit.
_FIRST_SIZE = 4

#: The stamp of a place in a log that was never written: before any window of any clock.
_NEVER = -(1 << 62)

#: One key under one rate: where the next admission goes, how many places there are, the stamps, and how many
#: places there may be. A log that can still grow has unwritten places from the next one on; in one that cannot,
#: the next place is that of the oldest admission. A list, because each hit unpacks it.
_Log = list[Any]


class SlidingLog(MemoryCounter):
    """Counts every admission. The state of a key is a log for each rate."""

    def __init__(self, quota: Quota, store: MemoryStore) -> None:
        super().__init__(quota, store)
        only = self._periods[0] if len(self._periods) == 1 else 0
        self._bound = store.lock.acquire, store.lock.release, store.now, only, self._states.get

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from every rate, or from none and say why."""
        # Written out flat, with acquire and release for ``with``: this is the path that has to be fast.
        acquire, release, clock, only, find = self._bound
        acquire()
        try:
            now = clock()
            logs = find(subject)
            if logs is None or cost != 1:
                refusal = self._hit(subject, now, cost)
            elif only:
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
            else:
                refusal = self._one_of_each(logs, now)
        finally:
            release()
        if self._store.untold:
            self._store.tell()
        return refusal

    def new(self) -> Any:
        """Return logs without places."""
        return tuple([0, 0, array("q"), rate.amount] for rate in self.quota.rates)

    def is_idle(self, state: tuple[_Log, ...], now: int) -> bool:
        """Whether the last admission has left the longest window."""
        place, _, stamps, _ = state[0]
        return bool(now - stamps[place - 1] >= self._longest)

    def places(self, state: tuple[_Log, ...]) -> int:
        """Return how many stamps the logs have room for."""
        return sum(log[1] for log in state)

    def used(self, state: tuple[_Log, ...], now: int) -> list[tuple[int, float]]:
        """Return how many admissions are in each window, and when the last of them leaves."""
        out = []
        for (place, size, stamps, _), period in zip(state, self._periods, strict=True):
            since = now - period
            # The ring from its next place on is in order of time; unwritten places come first.
            low, high = 0, size
            while low < high:
                middle = (low + high) // 2
                if stamps[(place + middle) % size] <= since:
                    low = middle + 1
                else:
                    high = middle
            last = stamps[place - 1] + period - now if size else 0
            out.append((size - low, max(0, last) / NANO))
        return out

    def wait(self, state: tuple[_Log, ...], now: int, cost: int) -> Refusal | None:
        """Ask all logs."""
        longest = which = 0
        for index, (log, period) in enumerate(zip(state, self._periods, strict=True)):
            self._grow(log, log[0] + cost)
            place, size, stamps, _ = log
            # The youngest of the admissions that would be overwritten has to be a whole period ago. A log that
            # was stopped from growing may be too small for the cost.
            last = (place + cost - 1) % size if cost <= size else -1
            wait = period if last < 0 else stamps[last] + period - now
            if wait > longest:
                longest, which = wait, index
        return (which, longest / NANO) if longest else None

    def spend(self, state: tuple[_Log, ...], now: int, cost: int) -> None:
        """Write to all logs."""
        for log in state:
            place, size, stamps, _ = log
            run = min(cost, size - place)
            stamps[place : place + run] = array("q", (now,)) * run
            stamps[: cost - run] = array("q", (now,)) * (cost - run)
            self._advance(log, place + cost)

    def _one_of_each(self, logs: tuple[_Log, ...], now: int) -> Refusal | None:
        """Do both for a cost of 1, which never needs to grow a log first."""
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
        store = self._store
        wanted = min(limit, max(needed, 2 * size, _FIRST_SIZE))
        granted = min(wanted, size + max(0, store.max_admissions - store.places))
        if granted < wanted:
            # From here on this key keeps what it has: its ring may close below the limit, never above.
            log[3] = granted
            store.untold = True
        stamps.extend(array("q", (_NEVER,)) * (granted - size))
        log[1] = granted
        store.places += granted - size
