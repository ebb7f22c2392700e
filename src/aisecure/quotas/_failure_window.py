"""How many of the last calls failed, in constant memory."""

from __future__ import annotations

from collections import deque

__all__ = ["FailureWindow"]

_SLICES = 10


class FailureWindow:
    """Counts calls and failures of the last seconds, in tenths of the window: between 0.9 and 1 of it is counted."""

    __slots__ = ("_seconds", "_slices")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds / _SLICES
        # Number of the tenth, calls, failures.
        self._slices: deque[list[int]] = deque(maxlen=_SLICES)

    def add(self, now: float, *, failed: bool) -> None:
        """Count a call, and forget those that left the window."""
        current = int(now / self._seconds)
        while self._slices and self._slices[0][0] <= current - _SLICES:
            self._slices.popleft()
        if not self._slices or self._slices[-1][0] != current:
            self._slices.append([current, 0, 0])
        self._slices[-1][1] += 1
        self._slices[-1][2] += failed

    @property
    def totals(self) -> tuple[int, int]:
        """Calls and failures in the window, as of the last that was added."""
        return sum(each[1] for each in self._slices), sum(each[2] for each in self._slices)
