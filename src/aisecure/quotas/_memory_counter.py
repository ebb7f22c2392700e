"""What every way of counting in this process shares: keys come, are looked at now and then, and are forgotten."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

from aisecure.quotas.approximate import SharedTable
from aisecure.quotas.rates import NANO, Quota
from aisecure.quotas.store import Refusal, Subject, canonical

if TYPE_CHECKING:
    from aisecure.quotas.memory import MemoryStore

__all__ = ["MemoryCounter", "Place"]

#: Keys looked at by one sweep. Two would keep up with one new key a sweep; more catch up.
_SWEEP = 4


class Place(NamedTuple):
    """Where one key is counted: in a state of its own, which may not be stored yet, or in the shared table."""

    subject: Subject
    state: Any
    shared: SharedTable | None
    fresh: bool


class MemoryCounter(ABC):
    """The counts of one quota. Everything but `hit` and `ahit` is called under the store's lock."""

    def __init__(self, quota: Quota, store: MemoryStore) -> None:
        self.quota = quota
        self.beyond: SharedTable | None = None
        self._store = store
        self._periods = tuple(rate.seconds * NANO for rate in quota.rates)
        self._longest = max(self._periods)
        self._states: dict[Subject, Any] = {}
        # Every key of _states once; those that the next sweeps look at come first.
        self._queue: deque[Subject] = deque()

    # -- what a strategy has to say

    @abstractmethod
    def new(self) -> Any:
        """Return the state of a key of which nothing is known."""

    @abstractmethod
    def wait(self, state: Any, now: int, cost: int) -> Refusal | None:
        """Return why a cost has to wait, or None when it may be spent."""

    @abstractmethod
    def spend(self, state: Any, now: int, cost: int) -> None:
        """Write down what `wait` found room for."""

    @abstractmethod
    def is_idle(self, state: Any, now: int) -> bool:
        """Whether the state answers as a new one would."""

    @abstractmethod
    def used(self, state: Any, now: int) -> list[tuple[int, float]]:
        """Return for each rate how much counts as spent, and the seconds until nothing does."""

    def places(self, state: Any) -> int:
        """Return how many places for admissions a state holds."""
        return 0

    # -- a call

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from every rate, or from none and say why."""
        store = self._store
        with store.lock:
            now = store.now()  # inside the lock, so that stamps are written in order
            refusal = self._hit(subject, now, cost)
        if store.untold:
            store.tell()
        return refusal

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, which waits for nothing."""
        return self.hit(subject, cost)

    def _hit(self, subject: Subject, now: int, cost: int) -> Refusal | None:
        place = self.place(subject, now)
        refusal = self.wait_at(place, now, cost)
        if refusal is None:
            self.spend_at(place, now, cost)
        else:
            self.leave(place)
        return refusal

    # -- the same in steps, for calls that have to pass several quotas

    def place(self, subject: Subject, now: int) -> Place:
        """Return where a key is counted; it is stored only when something is spent."""
        state = self._states.get(subject)
        if state is not None:
            return Place(subject, state, None, fresh=False)
        subject = canonical(subject)
        state = self._states.get(subject)
        if state is not None:
            return Place(subject, state, None, fresh=False)
        self.sweep(now)
        room = self._store.has_room(now)
        if not room and self.beyond is None:
            self.beyond = SharedTable(self.quota.rates, self._store.max_keys, self.quota.burst)
            self._store.untold = True
        # A key that was counted approximately until now stays so, or it would get its whole limit anew.
        if self.beyond is not None and not (room and self.beyond.is_clear(subject, now)):
            return Place(subject, None, self.beyond, fresh=False)
        return Place(subject, self.new(), None, fresh=True)

    def wait_at(self, place: Place, now: int, cost: int) -> Refusal | None:
        """Return why a cost has to wait, or None."""
        if place.shared is not None:
            return place.shared.wait(place.subject, now, cost)
        return self.wait(place.state, now, cost)

    def spend_at(self, place: Place, now: int, cost: int) -> None:
        """Spend what `wait_at` found room for."""
        if place.shared is not None:
            place.shared.spend(place.subject, now, cost)
            return
        self.spend(place.state, now, cost)
        if place.fresh:
            self._states[place.subject] = place.state
            self._queue.append(place.subject)
            self._store.keys += 1

    def leave(self, place: Place) -> None:
        """Give back what a place that was not spent from had been granted."""
        if place.fresh:
            self._store.places -= self.places(place.state)

    def used_at(self, place: Place, now: int) -> list[tuple[int, float]]:
        """Return for each rate how much counts as spent, and the seconds until nothing does."""
        if place.shared is not None:
            return place.shared.used(place.subject, now)
        return self.used(place.state, now)

    # -- upkeep

    def sweep(self, now: int) -> None:
        """Look at a few keys, and forget those whose admissions have all left the longest window."""
        for _ in range(min(_SWEEP, len(self._queue))):
            subject = self._queue.popleft()
            if not self.is_idle(self._states[subject], now):
                self._queue.append(subject)
            else:
                self._forget(subject)
        if self.beyond is not None and self.beyond.is_idle(now):
            self.beyond = None

    def forget(self, subject: Subject) -> None:
        """Forget what was spent under a key."""
        subject = canonical(subject)
        if subject in self._states:
            self._queue.remove(subject)
            self._forget(subject)
        elif self.beyond is not None:
            self.beyond.clear(subject)

    def _forget(self, subject: Subject) -> None:
        self._store.places -= self.places(self._states.pop(subject))
        self._store.keys -= 1
