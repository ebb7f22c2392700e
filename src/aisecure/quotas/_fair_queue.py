"""Who waits for a slot, and whose turn is next: a data structure that knows neither threads nor tasks nor time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from enum import Enum
from typing import Any

__all__ = ["FairQueue", "State", "Waiter"]


class State(Enum):
    """How it stands with a waiter; the last three are final."""

    WAITING = "waiting"
    GRANTED = "granted"
    REFUSED = "refused"
    OVERDUE = "overdue"


class Waiter:
    """One that wants a slot.

    Attributes:
        party: Waiters of one party take turns with those of others.
        deadline: When it is no longer worth a slot, in seconds of the owner's clock.
        wake: Tells it that its state is final; returns False when there is nobody to be told.
        line: What it waits for; the owner's own affair.
        state: See `State`.
    """

    __slots__ = ("deadline", "line", "party", "state", "wake")

    def __init__(self, party: Hashable, deadline: float, wake: Callable[[], bool], line: Any = None) -> None:
        self.party = party
        self.deadline = deadline
        self.wake = wake
        self.line = line
        self.state = State.WAITING


class FairQueue:
    """A bounded queue in which parties take turns, and each party's waiters are served in order of arrival.

    When it is full, the party that holds most of it makes room: the newcomer is refused, unless some party would
    still hold more places than the newcomer's; then the latest waiter of the longest party is. So nobody can fill
    the queue for others (longest queue drop: Suter et al., "Design considerations for supporting TCP with per-flow
    queueing", IEEE INFOCOM 1998). Every operation takes constant time.

    Deadlines have to come in the order of arrival, as they do when everybody may wait equally long.

    Args:
        places: Most waiters at a time.
    """

    # Only ordered dictionaries: finding the first key of a plain one takes longer the more were deleted before it.
    __slots__ = ("_arrivals", "_by_length", "_longest", "_parties", "_places")

    def __init__(self, places: int) -> None:
        self._places = places
        self._arrivals: OrderedDict[Waiter, None] = OrderedDict()
        #: The party whose turn is next comes first.
        self._parties: OrderedDict[Hashable, OrderedDict[Waiter, None]] = OrderedDict()
        self._by_length: dict[int, OrderedDict[Hashable, None]] = {}
        self._longest = 0

    def __len__(self) -> int:
        return len(self._arrivals)

    def join(self, waiter: Waiter, now: float) -> Waiter | None:
        """Let a waiter in; return the one that is refused for it, possibly itself."""
        displaced = None
        if len(self._arrivals) >= self._places:
            self._drop_overdue(now)
        if len(self._arrivals) >= self._places:
            if self._longest <= len(self._parties.get(waiter.party, ())) + 1:
                waiter.state = State.REFUSED
                return waiter
            longest = next(reversed(self._by_length[self._longest]))
            displaced = next(reversed(self._parties[longest]))
            self._remove(displaced, State.REFUSED)
        line = self._parties.setdefault(waiter.party, OrderedDict())
        line[waiter] = self._arrivals[waiter] = None
        self._resized(waiter.party, len(line) - 1, len(line))
        return displaced

    def leave(self, waiter: Waiter) -> None:
        """Take out one that does not want to wait any more."""
        self._remove(waiter, State.OVERDUE)

    def next(self, now: float) -> Waiter | None:
        """Grant the slot to whose turn it is, and return them; None when nobody waits any more."""
        self._drop_overdue(now)
        if not self._parties:
            return None
        party, line = next(iter(self._parties.items()))
        waiter = next(iter(line))
        self._remove(waiter, State.GRANTED)
        if party in self._parties:
            self._parties.move_to_end(party)
        return waiter

    def _drop_overdue(self, now: float) -> None:
        """Take out those whose time is over, so that one whose event loop has ended keeps nobody's place."""
        while self._arrivals:
            first = next(iter(self._arrivals))
            if first.deadline > now:
                return
            self._remove(first, State.OVERDUE)

    def _remove(self, waiter: Waiter, state: State) -> None:
        waiter.state = state
        del self._arrivals[waiter]
        line = self._parties[waiter.party]
        del line[waiter]
        self._resized(waiter.party, len(line) + 1, len(line))
        if not line:
            del self._parties[waiter.party]

    def _resized(self, party: Hashable, before: int, after: int) -> None:
        if before:
            same = self._by_length[before]
            del same[party]
            if not same:
                del self._by_length[before]
        if after:
            self._by_length.setdefault(after, OrderedDict())[party] = None
        if after > self._longest or (before == self._longest and before not in self._by_length):
            self._longest = after
