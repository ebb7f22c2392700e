"""At most so many calls at the same time, for each caller, model or whatever a key names: bulkheads with a fair queue."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.guard import Ending, Guard, Verdict
from aisecure.ports import Clock
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas._slots import Line, Slots
from aisecure.quotas.keys import By, key_function, resources_of
from aisecure.quotas.store import Subject, canonical

__all__ = ["Concurrency", "Occupancy", "Slot"]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """How busy one key is.

    Attributes:
        in_use: Calls that hold a slot.
        waiting: Calls that wait for one.
    """

    in_use: int
    waiting: int


class Concurrency(Guard):
    """Lets at most so many calls of one key run at the same time; a stream runs until it ends or is dropped.

    Counted in this process: several workers each allow all slots. With a queue, calls beyond the slots wait for
    their turn. Threads and tasks of any event loop wait in the same queue. Within a queue the parties of ``fair_by``
    take turns, and a full queue refuses the latest waiter of the party that holds most of it, so that a heavy caller
    cannot fill it for the others.

    A call that waits for another slot of its own key can wait only for itself; ``wait_seconds`` ends that. Plain code
    that runs in the thread of an event loop is never made to wait, since it would stop the loop: it is refused where
    it had to. In shadow mode nobody waits; what is told is who would have found all slots and the queue full.

    Args:
        slots: Calls of one key at the same time.
        by: What has slots of its own, inside the principal's tenant: names of `aisecure.quotas.keys.BY`, such as
            ``principal`` or ``model``, several for each combination, or a function from the call to a key.
        queue: Calls of one key that may wait.
        wait_seconds: How long each may wait; needed when there is a queue.
        fair_by: Whose calls take turns in the queue, as for ``by``.
        on: Resources that are limited, as shell patterns such as ``model:*``.
        max_keys: Keys that may be busy at the same time. Idle ones cost nothing and do not count.
        name, shadow, on_unavailable: As for every `Guard`.
        clock: Time, by which waiters become overdue.

    Raises:
        ValueError: A number out of range, a queue without ``wait_seconds`` or the reverse, or an unknown name.

    >>> @Concurrency(2)
    ... def ask(prompt: str) -> str:
    ...     return prompt.upper()
    >>> ask("hello")
    'HELLO'
    """

    name = "concurrency"

    def __init__(
        self,
        slots: int,
        by: By = "principal",
        *,
        queue: int = 0,
        wait_seconds: float | None = None,
        fair_by: By = "principal",
        on: str | Collection[str] = "*",
        max_keys: int = 100_000,
        name: str | None = None,
        clock: Clock | None = None,
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=resources_of(by, on), shadow=shadow, on_unavailable=on_unavailable)
        for what, number, least in (("slots", slots, 1), ("queue", queue, 0), ("max_keys", max_keys, 1)):
            if type(number) is not int:
                raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
            if number < least:
                raise ValueError(f"{what} is at least {least}")
        self.slots = slots
        self.queue = queue
        self.wait_seconds = _waiting_time(queue, wait_seconds)
        self.max_keys = max_keys
        self.reads_input = callable(by) or callable(fair_by)
        self._key = key_function(by)
        self._party = key_function(fair_by)
        self._slots = Slots(slots, queue, self.wait_seconds, max_keys, clock=clock, unlimited=shadow)
        self._take, self._give_back = self._slots.take, self._slots.give_back
        if queue:
            self.abefore = self._abefore
        self.start_empty()
        start_empty_in_children(self)

    def __repr__(self) -> str:
        return f"Concurrency(slots={self.slots}, queue={self.queue}, on={self.on})"

    def start_empty(self) -> None:
        """Forget which calls hold a slot, as a forked child has to: none of them is its own."""
        self._held: dict[str, Line] = {}

    # -- as a guard

    def before(self, call: Call) -> Verdict:
        """Take a slot, in plain code by blocking the thread; refuse the call when there is none."""
        held = self._held
        if call.id in held:  # the guard stands twice in one shield
            return None
        subject = (call.principal.tenant, *self._key(call))
        line = self._take(subject)
        if line is not None and not self.shadow:
            held[call.id] = line
            return None
        return self._hold(call, line or self._slots.wait(subject, self._party_of(call)))

    async def _abefore(self, call: Call) -> Decision | None:
        if call.id in self._held:
            return None
        subject = (call.principal.tenant, *self._key(call))
        return self._hold(
            call, self._take(subject) or await self._slots.await_(subject, self._party_of(call))
        )

    def settle(self, call: Call, ending: Ending) -> None:
        """Give the call's slot to whose turn it is."""
        line = self._held.pop(call.id, None)
        if line is not None:
            self._give_back(line)

    def _hold(self, call: Call, got: Line | Decision) -> Decision | None:
        if isinstance(got, Decision):
            return got
        self._held[call.id] = got
        return self._slots.busy if self.shadow and got.used > self.slots + self.queue else None

    def _party_of(self, call: Call) -> Subject:
        return canonical((call.principal.tenant, *self._party(call)))

    def health(self) -> dict[str, Any]:
        """Return how many keys are busy, how many calls run, and how many wait."""
        lines = [line for line in list(self._slots.lines.values()) if line.used]
        return {
            "ok": True,
            "keys": len(lines),
            "in_use": sum(line.used for line in lines),
            "waiting": sum(line.waiting for line in lines),
        }

    # -- without a guard

    def slot(
        self,
        *key: str | bytes | int,
        tenant: str = "default",
        party: str | bytes | int | tuple[str | bytes | int, ...] = (),
    ) -> Slot:
        """Return a slot of a key of your own, to be held in a ``with`` or ``async with`` block.

        Args:
            key: What has slots of its own.
            tenant: Whose key it is; equal keys of different tenants have nothing in common.
            party: Whose turn it is in the queue; without one, all who wait for the key are served in order of arrival.

        Raises:
            TypeError, ValueError: The key has no part, or one that is neither text, bytes nor a whole number.

        >>> pool = Concurrency(1)
        >>> with pool.slot("gpu-0"):
        ...     pool.standing("gpu-0").in_use
        1
        """
        parts = party if isinstance(party, tuple) else (party,)
        return Slot(self._slots, canonical((tenant, *key)), canonical((tenant, *parts)) if parts else ())

    def standing(self, *key: str | bytes | int, tenant: str = "default") -> Occupancy:
        """Return how busy a key is now; a guard's keys begin with what they are, as in ``("principal", "u-17")``."""
        line = self._slots.lines.get(canonical((tenant, *key)))
        return Occupancy(0, 0) if line is None else Occupancy(line.used, line.waiting)


class Slot:
    """One slot, held in a ``with`` or ``async with`` block; see `Concurrency.slot`.

    Entering raises `aisecure.errors.QuotaExceeded` when there is none, and RuntimeError when it is held already.
    """

    __slots__ = ("_line", "_party", "_slots", "_subject")

    def __init__(self, slots: Slots, subject: Subject, party: Subject) -> None:
        self._slots = slots
        self._subject = subject
        self._party = party
        self._line: Line | None = None

    def __enter__(self) -> None:
        self._hold(self._take() or self._slots.wait(self._subject, self._party))

    async def __aenter__(self) -> None:
        self._hold(self._take() or await self._slots.await_(self._subject, self._party))

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        line, self._line = self._line, None
        if line is not None:
            self._slots.give_back(line)

    async def __aexit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, err, trace)

    def _take(self) -> Line | None:
        if self._line is not None:
            raise RuntimeError("this slot is held already; ask for another")
        return self._slots.take(self._subject)

    def _hold(self, got: Line | Decision) -> None:
        if isinstance(got, Decision):
            got.require()
        else:
            self._line = got


def _waiting_time(queue: int, wait_seconds: float | None) -> float:
    if wait_seconds is None:
        if queue:
            raise ValueError("a queue needs wait_seconds: nobody should wait for ever")
        return 0.0
    if isinstance(wait_seconds, bool) or not isinstance(wait_seconds, int | float):
        raise TypeError(f"wait_seconds is a number, not {type(wait_seconds).__name__}")
    if not (math.isfinite(wait_seconds) and 0 < wait_seconds <= threading.TIMEOUT_MAX):
        raise ValueError("wait_seconds is a finite number above 0")
    if not queue:
        raise ValueError("wait_seconds without a queue: nobody waits; say how many may, as in queue=10")
    return float(wait_seconds)
