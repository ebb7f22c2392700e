"""GCRA and fixed windows in this process: a stamp or two a key, for those who can live with what they promise."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aisecure.quotas._memory_counter import MemoryCounter
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.store import Refusal

if TYPE_CHECKING:
    from aisecure.quotas.memory import MemoryStore

__all__ = ["FixedWindow", "Gcra"]

_NEVER = -(1 << 62)


class Gcra(MemoryCounter):
    """Admits one an interval, and a burst after a rest. The state of a key is, for each rate, when all is paid off."""

    def __init__(self, quota: Quota, store: MemoryStore) -> None:
        super().__init__(quota, store)
        self._burst = quota.burst or 1
        self._intervals = tuple(-(-rate.seconds * NANO // rate.amount) for rate in quota.rates)

    def new(self) -> list[int]:
        """Return that nothing is owed."""
        return [_NEVER] * len(self._intervals)

    def wait(self, state: list[int], now: int, cost: int) -> Refusal | None:
        """Return why a cost has to wait, or None."""
        longest = which = 0
        for index, interval in enumerate(self._intervals):
            wait = max(0, state[index] - now) + (cost - self._burst) * interval
            if wait > longest:
                longest, which = wait, index
        return (which, longest / NANO) if longest else None

    def spend(self, state: list[int], now: int, cost: int) -> None:
        """Owe the cost."""
        for index, interval in enumerate(self._intervals):
            state[index] = max(state[index], now) + cost * interval

    def is_idle(self, state: list[int], now: int) -> bool:
        """Whether nothing is owed."""
        return max(state) <= now

    def used(self, state: list[int], now: int) -> list[tuple[int, float]]:
        """Return what is owed, and when it is paid off."""
        owed = [max(0, paid - now) for paid in state]
        return [
            (-(-one // interval), one / NANO) for one, interval in zip(owed, self._intervals, strict=True)
        ]


class FixedWindow(MemoryCounter):
    """Admits N in a window that begins with a key's first call. The state of a key is begin and count for each rate."""

    def new(self) -> list[list[int]]:
        """Return windows that are over."""
        return [[_NEVER, 0] for _ in self._periods]

    def wait(self, state: list[list[int]], now: int, cost: int) -> Refusal | None:
        """Return why a cost has to wait, or None."""
        longest = which = 0
        for index, (begin, count) in enumerate(state):
            rest = begin + self._periods[index] - now
            if rest > longest and count + cost > self.quota.rates[index].amount:
                longest, which = rest, index
        return (which, longest / NANO) if longest else None

    def spend(self, state: list[list[int]], now: int, cost: int) -> None:
        """Count, in a new window where the last is over."""
        for index, window in enumerate(state):
            if window[0] + self._periods[index] <= now:
                window[:] = now, 0
            window[1] += cost

    def is_idle(self, state: list[list[int]], now: int) -> bool:
        """Whether every window is over."""
        return all(begin + period <= now for (begin, _), period in zip(state, self._periods, strict=True))

    def used(self, state: list[list[int]], now: int) -> list[tuple[int, float]]:
        """Return the counts, and when their windows end."""
        out = []
        for (begin, count), period in zip(state, self._periods, strict=True):
            rest = begin + period - now
            out.append((count, rest / NANO) if rest > 0 else (0, 0.0))
        return out
