"""Refusing at once what the process cannot do in time, the less important first."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.events import Result, SecurityEvent
from aisecure.guard import Ending, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas._inbox import Inbox

__all__ = ["LoadShedder"]

#: What a slow call leaves of the limit: the factor of CUBIC (RFC 9438 section 4.6).
_SHRINK = 0.7

#: Shedding is over when nobody was refused for so long; so a load that swings round the limit makes few events.
_CALM_SECONDS = 10.0


class _Lesson(NamedTuple):
    seconds: float
    round: int
    in_flight: int
    grows: bool


class LoadShedder(Guard):
    """Refuses calls at once while as many as the process can bear are on their way.

    A call is let in while fewer than ``priority x limit`` calls are in flight. So with a limit of 100 a call of
    priority 0.5 is refused from the 50th on, and one of priority 1 from the 100th on; one of priority 0 is refused
    always. A stream is in flight until it ends. Counted in this process, over all tenants: put it before guards that
    do work.

    With ``target_seconds`` the limit follows what the process can do (additive increase, multiplicative decrease): a
    call that took longer, also one that failed, takes the limit down to seven tenths, once for each round of calls:
    those that had begun by then do so no more. A call that was quicker raises the limit by 1/limit, if at least half
    of the limit was in flight (or it would grow untried, as RFC 7661 says of congestion windows). Calls that were
    cancelled or refused teach nothing, and those that failed quickly raise nothing.

    Args:
        max_in_flight: The limit, or with ``target_seconds`` the most it can be.
        priority: Importance of a call, above 0 and up to 1; 1 for every call by default.
        target_seconds: How long a whole call should take at most, streams to their end.
        min_in_flight: The least that the limit can be.
        retry_after: Seconds after which a refused caller is told to come back.
        on: Resources that are in question, as shell patterns; the others are neither refused nor counted.
        clock: Time.
        events: Where ``shedding.began`` and ``shedding.ended`` are recorded; a refused call has its own event anyway.
        name, shadow, on_unavailable: As for every `Guard`. In shadow mode all calls are counted.

    Raises:
        ValueError: A number out of range.

    >>> shedder = LoadShedder(100)
    >>> @shedder
    ... def ask(prompt: str) -> int:
    ...     return shedder.health()["in_flight"]
    >>> ask("hello")
    1
    """

    name = "load_shedder"

    def __init__(
        self,
        max_in_flight: int,
        *,
        priority: Callable[[Call], float] | None = None,
        target_seconds: float | None = None,
        min_in_flight: int = 1,
        retry_after: float = 1.0,
        on: str | Collection[str] = "*",
        clock: Clock | None = None,
        events: EventSink = discard,
        name: str | None = None,
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        for what, number in (("max_in_flight", max_in_flight), ("min_in_flight", min_in_flight)):
            if type(number) is not int:
                raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
        if not 1 <= min_in_flight <= max_in_flight:
            raise ValueError("min_in_flight is at least 1, and max_in_flight at least as much")
        for what, seconds in (("target_seconds", target_seconds), ("retry_after", retry_after)):
            if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{what} is a finite number above 0")
        self.max_in_flight = max_in_flight
        self.min_in_flight = min_in_flight
        self.target_seconds = target_seconds
        self.reads_input = priority is not None
        self._priority = priority
        self._clock = clock or SystemClock()
        self._events = events
        self._overloaded = Decision.deny(
            "quota.overloaded", "The service is overloaded; try again soon.", retry_after=retry_after
        )
        self.start_empty()
        start_empty_in_children(self)

    def __repr__(self) -> str:
        return f"LoadShedder(max_in_flight={self.max_in_flight}, on={self.on})"

    def start_empty(self) -> None:
        """Forget all calls and what they taught, as a forked child has to: none of them is its own."""
        self._in_flight: dict[str, tuple[float, int]] = {}  # call -> when it began, in which round
        self._limit = float(self.max_in_flight)
        self._round = 0
        self._last_refusal = -math.inf
        self._shedding = False
        self._untold: deque[SecurityEvent] = deque()
        self._inbox: Inbox[_Lesson] = Inbox(self._learn)

    @property
    def limit(self) -> float:
        """How many calls may be in flight now."""
        return self._limit

    def before(self, call: Call) -> Verdict:
        """Let the call in, or refuse it at once."""
        if call.id in self._in_flight:  # the guard stands twice in one shield
            return None
        share = 1.0 if self._priority is None else _share(self._priority(call))
        now = self._clock.monotonic()
        try:
            with self._inbox.lock:
                refused = len(self._in_flight) >= share * self._limit
                if refused:
                    self._last_refusal = now
                    if not self._shedding:
                        self._shedding = True
                        self._note_change("shedding.began")
                else:
                    self._note_calm(now)
                if not refused or self.shadow:
                    self._in_flight[call.id] = (now, self._round)
        finally:
            if self._inbox.messages:
                self._inbox.empty()
        if self._untold:
            try:
                self._tell()
            except BaseException:
                # A call that is not let in is never settled.
                self._in_flight.pop(call.id, None)
                raise
        return self._overloaded if refused else None

    def settle(self, call: Call, ending: Ending) -> None:
        """Count the call out, and learn from how long it took."""
        in_flight = len(self._in_flight)
        begun = self._in_flight.pop(call.id, None)
        learns = ending.type in ("call.allowed", "call.blocked", "call.failed")
        if begun is None or self.target_seconds is None or not ending.entered or not learns:
            return
        at, round_ = begun
        self._inbox.put(
            _Lesson(self._clock.monotonic() - at, round_, in_flight, ending.type != "call.failed")
        )

    def health(self) -> dict[str, Any]:
        """Return how many calls are in flight, the limit, and whether calls are being refused."""
        return {
            "ok": True,
            "in_flight": len(self._in_flight),
            "limit": int(self._limit),
            "shedding": self._shedding and self._clock.monotonic() - self._last_refusal < _CALM_SECONDS,
        }

    def _learn(self, lesson: _Lesson) -> None:
        """Move the limit; under the lock."""
        if self.target_seconds is None:
            return
        if lesson.seconds > self.target_seconds:
            if lesson.round == self._round:
                self._limit = max(float(self.min_in_flight), self._limit * _SHRINK)
                self._round += 1
        elif lesson.grows and lesson.in_flight * 2 >= self._limit:
            self._limit = min(float(self.max_in_flight), self._limit + 1 / self._limit)

    def _note_calm(self, now: float) -> None:
        if self._shedding and now - self._last_refusal >= _CALM_SECONDS:
            self._shedding = False
            self._note_change("shedding.ended")

    def _note_change(self, change: Literal["shedding.began", "shedding.ended"]) -> None:
        detail = {"guard": self.name, "in_flight": len(self._in_flight), "limit": int(self._limit)}
        result = Result.FAILURE if change == "shedding.began" else Result.SUCCESS
        self._untold.append(SecurityEvent(change, time=self._clock.time(), result=result, detail=detail))

    def _tell(self) -> None:
        """Record what changed; outside the lock, since a sink may be slow or limited itself."""
        while self._untold:
            try:
                event = self._untold.popleft()
            except IndexError:  # somebody else tells it
                return
            self._events.record(event)


def _share(priority: object) -> float:
    if isinstance(priority, bool) or not isinstance(priority, int | float):
        raise TypeError(f"a priority is a number, not {type(priority).__name__}")
    if not 0 <= priority <= 1:
        raise ValueError("a priority is a number from 0 to 1")
    return float(priority)
