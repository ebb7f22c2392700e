"""One limit of one key: what was spent when, what is held for calls on their way, and the arithmetic of both.

What is spent is kept in buckets of a sixtieth of the period, and each counts until all of it has left the window: so no
window ever holds more than the limit, and what was spent comes back at most a sixtieth of the period late. A calendar
period is one bucket. No clock and no lock in here: the ledgers bring both.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from aisecure.quotas.budgets.notation import Amount
from aisecure.quotas.rates import UNITS

__all__ = ["MICRO", "PARTS", "REMEMBERED_SECONDS", "Account", "Place", "place_of"]

#: Microseconds in a second, the unit of time in ledgers.
MICRO = 1_000_000

#: Buckets in a period.
PARTS = 60

#: How long a settled reservation is remembered, so that a settlement that is sent twice counts once.
REMEMBERED_SECONDS = 120

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Place(NamedTuple):
    """Where a moment falls.

    Attributes:
        bucket: Its number.
        span: How many buckets count, this one included.
        width: Microseconds of a bucket; 0 where they differ.
        ends: When this bucket ends.
    """

    bucket: int
    span: int
    width: int
    ends: int

    def frees_at(self, index: int) -> int:
        """Return the moment at which what is in a bucket no longer counts."""
        return self.ends + (index - self.bucket + self.span - 1) * self.width


def place_of(amount: Amount, now: int) -> Place:
    """Return where a moment (microseconds; since the epoch for calendar windows) falls."""
    period = amount.seconds * MICRO
    if amount.window == "sliding":
        width = max(1, period // PARTS)
        index = now // width
        # Buckets whose last moment lies within the period before now, and this one.
        return Place(index, -(-period // width) + 1, width, (index + 1) * width)
    if amount.seconds < UNITS["month"]:
        index = now // period
        return Place(index, 1, period, (index + 1) * period)
    moment = _EPOCH + timedelta(microseconds=now)
    if amount.seconds == UNITS["year"]:
        index, after = moment.year, datetime(moment.year + 1, 1, 1, tzinfo=UTC)
    else:
        index = moment.year * 12 + moment.month - 1
        after = datetime((index + 1) // 12, (index + 1) % 12 + 1, 1, tzinfo=UTC)
    return Place(index, 1, 0, round((after - _EPOCH) / timedelta(microseconds=1)))


@dataclass(slots=True)
class Account:
    """What one limit of one key knows.

    Attributes:
        buckets: Amount by index.
        held: By id of a reservation: its bucket, its amount, and the moment at which it expires.
        settled: Ids of settled reservations, and the moment until which that is remembered.
    """

    buckets: dict[int, int] = field(default_factory=dict)
    # In order of time, so that only their heads are looked at.
    held: OrderedDict[str, tuple[int, int, int]] = field(default_factory=OrderedDict)
    settled: OrderedDict[str, int] = field(default_factory=OrderedDict)

    def tidy(self, place: Place, now: int) -> int:
        """Let go of what is over; return how many reservations expired."""
        expired = 0
        while self.held and next(iter(self.held.values()))[2] <= now:
            _, (index, amount, _) = self.held.popitem(last=False)
            expired += 1
            if index in self.buckets:
                self.buckets[index] = max(0, self.buckets[index] - amount)
        while self.settled and next(iter(self.settled.values())) <= now:
            self.settled.popitem(last=False)
        for index in sorted(self.buckets):
            if index <= place.bucket - place.span:
                del self.buckets[index]
            elif index > place.bucket:
                # The clock was set back. How long ago it really was is unknown; taking it for now is never too
                # generous, and nobody waits for longer than a period.
                self.buckets[place.bucket] = self.buckets.get(place.bucket, 0) + self.buckets.pop(index)
        return expired

    @property
    def used(self) -> int:
        """What counts at this moment, reservations included; after `tidy`."""
        return sum(self.buckets.values())

    @property
    def reserved(self) -> int:
        """The part of it that is held for calls on their way."""
        return sum(amount for index, amount, _ in self.held.values() if index in self.buckets)

    def wait(self, place: Place, now: int, short: int) -> int:
        """Return the microseconds until so much is free again, if nothing is given back before."""
        for index in sorted(self.buckets):
            short -= self.buckets[index]
            if short <= 0:
                return max(1, place.frees_at(index) - now)
        return max(1, place.frees_at(place.bucket) - now)

    def reset_in(self, place: Place, now: int) -> int:
        """Return the microseconds until everything is free again."""
        last = max((index for index, amount in self.buckets.items() if amount), default=None)
        return 0 if last is None else max(0, place.frees_at(last) - now)

    def reserve(self, name: str, place: Place, amount: int, until: int) -> None:
        """Charge an amount and hold it."""
        self.buckets[place.bucket] = self.buckets.get(place.bucket, 0) + amount
        self.held[name] = (place.bucket, amount, until)

    def settle(self, name: str, place: Place, amount: int, now: int) -> None:
        """Put what was really used in the place of what was held; a second time changes nothing."""
        if name in self.settled:
            return
        self.settled[name] = now + REMEMBERED_SECONDS * MICRO
        index, reserved, _ = self.held.pop(name, (place.bucket, 0, 0))
        if index in self.buckets:
            self.buckets[index] = max(0, self.buckets[index] + amount - reserved)
        elif index == place.bucket:
            self.buckets[index] = max(0, amount - reserved)
        elif amount > reserved:
            # Its bucket has gone; only what nobody reserved is new.
            self.buckets[place.bucket] = self.buckets.get(place.bucket, 0) + amount - reserved

    @property
    def is_empty(self) -> bool:
        """Whether a new account would answer the same; after `tidy`."""
        return not self.held and not self.settled and not self.used

    def to_data(self) -> dict[str, Any]:
        """Return what is stored."""
        return {
            "v": 1,
            "buckets": [[index, amount] for index, amount in self.buckets.items() if amount],
            "held": [[name, *what] for name, what in self.held.items()],
            "settled": [[name, until] for name, until in self.settled.items()],
        }

    @classmethod
    def from_data(cls, data: dict[str, Any]) -> Account:
        """Return what was stored.

        Raises:
            ValueError, TypeError, KeyError: It is damaged, or of a version that this one does not know.
        """
        if data["v"] != 1:
            raise ValueError("an unknown version")
        return cls(
            {int(index): int(amount) for index, amount in data["buckets"]},
            OrderedDict(
                (str(name), (int(index), int(amount), int(until)))
                for name, index, amount, until in data["held"]
            ),
            OrderedDict((str(name), int(until)) for name, until in data["settled"]),
        )
