"""What tests of applications need: a clock that stands still, a memory database, and the events that happened."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Self, overload

from aisecure.events import SecurityEvent
from aisecure.notices import StoredNotices
from aisecure.ports import Ports
from aisecure.storage import Storage

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from aisecure.ports import Clock, EventSink

__all__ = ["CapturedEvents", "FrozenClock", "capture_events", "memory_ports", "memory_storage"]


class FrozenClock:
    """A clock that moves only when told to; both readings advance together.

    Args:
        time: Seconds since the epoch, UTC.
        monotonic: Seconds of the clock that limits use.

    >>> clock = FrozenClock()
    >>> before = clock.time()
    >>> clock.advance(60)
    >>> clock.time() - before
    60.0
    """

    def __init__(self, time: float = 1_767_225_600.0, monotonic: float = 1_000.0) -> None:
        # 2026-01-01T00:00:00Z; a round start that no test depends on by accident.
        self._time = float(time)
        self._monotonic = float(monotonic)

    def __repr__(self) -> str:
        return f"FrozenClock(time={self._time}, monotonic={self._monotonic})"

    def time(self) -> float:
        """Return seconds since the epoch, UTC."""
        return self._time

    def monotonic(self) -> float:
        """Return seconds of a clock that never goes back."""
        return self._monotonic

    def advance(self, seconds: float) -> None:
        """Move both readings forward.

        Raises:
            ValueError: For a negative number, which a monotonic clock cannot follow. See `set_time`.
        """
        if math.isnan(seconds) or seconds < 0:
            raise ValueError("advance takes seconds of 0 or more; set_time moves the wall clock back")
        self._time += seconds
        self._monotonic += seconds

    def set_time(self, time: float) -> None:
        """Set the wall clock alone, as an administrator or NTP does; the monotonic reading stays."""
        self._time = float(time)


class CapturedEvents(Sequence[SecurityEvent]):
    """An event sink that keeps what it was given, readable as a list in the order of arrival.

    >>> events = CapturedEvents()
    >>> events.record(SecurityEvent("call.allowed", principal="u-17"))
    >>> events.types
    ['call.allowed']
    >>> events.only("call.allowed").principal
    'u-17'
    """

    def __init__(self) -> None:
        self._events: list[SecurityEvent] = []

    def record(self, event: SecurityEvent) -> None:
        """Take the event.

        Raises:
            TypeError: It is no `SecurityEvent`; a real log could not have written it.
        """
        if not isinstance(event, SecurityEvent):
            raise TypeError(f"a sink records SecurityEvent, not {type(event).__name__}")
        self._events.append(event)

    @overload
    def __getitem__(self, index: int) -> SecurityEvent: ...
    @overload
    def __getitem__(self, index: slice) -> list[SecurityEvent]: ...
    def __getitem__(self, index: int | slice) -> SecurityEvent | list[SecurityEvent]:
        return self._events[index]

    def __len__(self) -> int:
        return len(self._events)

    def __iter__(self) -> Iterator[SecurityEvent]:
        # A copy, so that code under test may go on recording from another thread.
        return iter(tuple(self._events))

    def __repr__(self) -> str:
        return f"CapturedEvents({self.types!r})"

    @property
    def types(self) -> list[str]:
        """The types of all events, in order of arrival."""
        return [event.type for event in self]

    def of_type(self, type: str) -> list[SecurityEvent]:
        """Return the events of one type, in order of arrival."""
        return [event for event in self if event.type == type]

    def only(self, type: str) -> SecurityEvent:
        """Return the single event of a type.

        Raises:
            AssertionError: There is none, or more than one; the text lists what there was.
        """
        found = self.of_type(type)
        if len(found) != 1:
            raise AssertionError(f"expected one event {type!r}, got {len(found)} among {self.types}")
        return found[0]

    def clear(self) -> None:
        """Forget everything, so that the next step of a test starts empty."""
        self._events.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the events readable after the block."""


def capture_events() -> CapturedEvents:
    """Return a fresh sink that keeps its events; usable as an object and in a ``with`` statement.

    >>> with capture_events() as events:
    ...     events.record(SecurityEvent("call.denied", code="access.denied"))
    >>> [event.code for event in events]
    ['access.denied']
    """
    return CapturedEvents()


def memory_storage() -> Storage:
    """Return a database in memory that lives as long as the object."""
    return Storage(":memory:")


def memory_ports(folder: Path, *, clock: Clock | None = None, events: EventSink | None = None) -> Ports:
    """Return what a concern's ``build(settings, ports)`` takes, with a memory database and a frozen clock.

    Args:
        folder: Where files go: pytest's ``tmp_path``.
        clock: Time; a fresh `FrozenClock` by default.
        events: Where events go; a fresh `CapturedEvents` by default.
    """
    clock = FrozenClock() if clock is None else clock
    storage = memory_storage()
    return Ports(
        data_dir=folder,
        base_dir=folder,
        storage=lambda: storage,
        notices=StoredNotices(storage, poll_seconds=0.0, monotonic=clock.monotonic),
        clock=clock,
        events=CapturedEvents() if events is None else events,
    )
