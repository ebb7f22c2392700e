"""Counting more keys than there is room for: one table of fixed size, never over a limit, sometimes under it.

GCRA (the generic cell rate algorithm) keeps one stamp a key: when everything admitted so far will have been
paid off at a steady rate. Keys that fall on the same place of the table share it, so the table needs no names.
"""

from __future__ import annotations

from array import array

from aisecure.quotas.rates import NANO, Rate
from aisecure.quotas.store import Refusal, Subject

__all__ = ["SharedTable"]

#: Places for each key that has an exact count. Keys that meet in a place share one allowance, so there are many.
_PLACES_PER_KEY = 8

#: But no more than this: 32 MiB for each rate.
_MOST_PLACES = 1 << 22

_NEVER = -(1 << 62)


class SharedTable:
    """Counts by GCRA for any number of keys in constant memory.

    After a burst of B at once, R more a period are admitted one by one; a window of the period then holds at most
    B + R - 1. Half of the limit N is R and N + 1 - R is B, so no window holds more than N.

    Args:
        rates: The limits, which hold all at once.
        keys: How many keys have an exact count elsewhere; the table is a multiple of that.
        burst: At most so many at once; by default as many as the limits allow.
    """

    def __init__(self, rates: tuple[Rate, ...], keys: int, burst: int | None = None) -> None:
        size = min(_MOST_PLACES, 1 << (keys * _PLACES_PER_KEY - 1).bit_length())
        self._mask = size - 1
        self._used = 0
        self._longest = max(rate.seconds for rate in rates) * NANO
        # By rate: period, interval of the steady rate (rounded up), how far ahead a burst may run, stamps.
        self._lanes: list[tuple[int, int, int, array[int]]] = []
        for rate in rates:
            period, steady = rate.seconds * NANO, max(1, rate.amount // 2)
            interval = -(-period // steady)
            at_once = min(rate.amount - steady, rate.amount if burst is None else max(0, burst - 1))
            self._lanes.append((period, interval, at_once * interval, array("q", (_NEVER,)) * size))

    def wait(self, subject: Subject, now: int, cost: int) -> Refusal | None:
        """Return why a cost has to wait, or None."""
        place = self._place(subject)
        longest = which = 0
        for index, (period, interval, ahead, stamps) in enumerate(self._lanes):
            wait = max(stamps[place], now) + (cost - 1) * interval - ahead - now
            if (cost - 1) * interval > ahead:
                wait = period  # more than a burst; room for an exact count may be there later
            if wait > longest:
                longest, which = wait, index
        return (which, longest / NANO) if longest else None

    def spend(self, subject: Subject, now: int, cost: int) -> None:
        """Spend what `wait` found room for."""
        place = self._place(subject)
        for _, interval, _, stamps in self._lanes:
            stamps[place] = max(stamps[place], now) + cost * interval
        self._used = now

    def clear(self, subject: Subject) -> None:
        """Forget what was spent under a key, and under all that share its place."""
        place = self._place(subject)
        for _, _, _, stamps in self._lanes:
            stamps[place] = _NEVER

    def used(self, subject: Subject, now: int) -> list[tuple[int, float]]:
        """Return for each rate how much counts as spent, and the seconds until nothing does."""
        place = self._place(subject)
        out = []
        for _, interval, _, stamps in self._lanes:
            owed = max(0, stamps[place] - now)
            out.append((-(-owed // interval), owed / NANO))
        return out

    def is_clear(self, subject: Subject, now: int) -> bool:
        """Whether everything admitted under the key's place is a whole period ago, for every rate."""
        place = self._place(subject)
        # An admission leaves the stamp at least one interval ahead of itself.
        return all(now - stamps[place] >= period - interval for period, interval, _, stamps in self._lanes)

    def is_idle(self, now: int) -> bool:
        """Whether nothing that was admitted here is in any window any more."""
        return now - self._used >= self._longest

    def _place(self, subject: Subject) -> int:
        # Python keys its hash of texts anew for each process, so nobody can aim at another caller's place.
        return hash(subject) & self._mask
