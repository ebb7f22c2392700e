"""When spent budget comes back: sliding windows in sixty steps, and periods of the calendar.

What is spent is booked in a bucket, and stays until all of the bucket has left the window. So no window ever holds more
than the limit, and what was spent comes back at most a sixtieth of the period late. All times are whole microseconds.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from aisecure.quotas.budgets.notation import BudgetLimit
from aisecure.quotas.rates import UNITS

__all__ = ["STEPS", "Window"]

#: Buckets of a period.
STEPS = 60

_MICRO = 1_000_000
_DAY = 86_400 * _MICRO
#: The first of January 1970, as `date` counts days.
_EPOCH = date(1970, 1, 1).toordinal()


@dataclass(frozen=True, slots=True)
class Window:
    """Which bucket a moment is in, and when a bucket leaves.

    Attributes:
        period: Microseconds.
        step: Microseconds of a bucket; 0 for the calendar, where a period is one bucket.
    """

    period: int
    step: int

    @classmethod
    def of(cls, limit: BudgetLimit) -> Window:
        """Return the window of a limit."""
        period = limit.seconds * _MICRO
        return cls(period, 0 if limit.window == "calendar" else -(-period // STEPS))

    def bucket(self, moment: int) -> int:
        """Return the number of the bucket that a moment is in; later moments have no smaller one."""
        if self.step:
            return moment // self.step
        if self.period < 30 * _DAY:
            return moment // self.period
        day = date.fromordinal(moment // _DAY + _EPOCH)
        return day.year if self.is_year else day.year * 12 + day.month - 1

    def leaves(self, bucket: int) -> int:
        """Return the moment from which a bucket counts no more."""
        if self.step:
            return (bucket + 1) * self.step + self.period
        if self.period < 30 * _DAY:
            return (bucket + 1) * self.period
        year, month = (bucket + 1, 0) if self.is_year else divmod(bucket + 1, 12)
        return (date(year, month + 1, 1).toordinal() - _EPOCH) * _DAY

    @property
    def is_year(self) -> bool:
        """Whether the period is a year of the calendar, when it is longer than days are."""
        return self.period == UNITS["year"] * _MICRO
