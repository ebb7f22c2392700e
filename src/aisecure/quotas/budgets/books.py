"""The books of one account: what was spent, by bucket, and what is held. Pure; `MemoryLedger` and `SqliteLedger` keep them."""

from __future__ import annotations

from collections.abc import Iterable

from aisecure.quotas.budgets.windows import Window

__all__ = ["Books"]


class Books:
    """What one account spent and holds.

    Call `turn_to` before anything else. Moments are microseconds of whatever clock the ledger has.

    Attributes:
        buckets: What was spent, by bucket, oldest first.
        used: Their sum.
        held: What is held for calls on their way.
        told: When each mark was told last.
    """

    __slots__ = ("buckets", "held", "told", "used", "window")

    def __init__(self, window: Window) -> None:
        self.window = window
        self.buckets: dict[int, int] = {}
        self.used = 0
        self.held = 0
        self.told: dict[int, int] = {}

    def turn_to(self, now: int) -> None:
        """Let go what has left the window.

        What stands in the future was spent before the clock was set back. How long ago is unknown; taking it for now
        frees nothing early, and locks nobody out for as long as the clock was wrong.
        """
        buckets = self.buckets
        current = self.window.bucket(now)
        ahead = [bucket for bucket in buckets if bucket > current]
        if ahead:
            buckets[current] = buckets.pop(current, 0) + sum(buckets.pop(bucket) for bucket in ahead)
        while buckets:
            oldest = next(iter(buckets))
            if self.window.leaves(oldest) > now:
                break
            self.used -= buckets.pop(oldest)

    def spend(self, moment: int, amount: int) -> int:
        """Book an amount; return the bucket."""
        # Never before what stands there: a hold that expired long ago may be found late.
        bucket = max(self.window.bucket(moment), next(reversed(self.buckets), 0))
        if amount:
            self.buckets[bucket] = self.buckets.get(bucket, 0) + amount
            self.used += amount
        return bucket

    def give_back(self, bucket: int, amount: int) -> None:
        """Take back what was booked too much, if it still counts there."""
        taken = min(amount, self.buckets.get(bucket, 0))
        if taken:
            self.used -= taken
            self.buckets[bucket] -= taken

    def wait(self, now: int, limit: int, amount: int) -> int:
        """Return microseconds until there is room for an amount, if nothing else is spent and all holds are given back."""
        over = self.used + amount - limit
        if over <= 0:
            return 0
        for bucket, spent in self.buckets.items():
            over -= spent
            if over <= 0:
                return self.window.leaves(bucket) - now
        return self.window.period  # more than the limit; the caller refuses that before

    def reset(self, now: int) -> int:
        """Return microseconds until all that is spent has come back."""
        return self.window.leaves(next(reversed(self.buckets))) - now if self.buckets else 0

    def tell(self, now: int, marks: Iterable[int]) -> tuple[int, ...]:
        """Return the marks that are reached and were not told yet in this window."""
        reached = []
        for mark in marks:
            if self.used >= mark:
                last = self.told.get(mark)
                if last is None or self._is_over(last, now):
                    self.told[mark] = now
                    reached.append(mark)
        return tuple(reached)

    def _is_over(self, last: int, now: int) -> bool:
        if self.window.step:
            return not 0 <= now - last < self.window.period
        return self.window.bucket(last) != self.window.bucket(now)
