"""Leaving a failing model alone for a while, so that callers hear so at once and it can recover."""

from __future__ import annotations

import math
import random
from collections import OrderedDict, deque
from collections.abc import Callable, Collection
from enum import StrEnum
from typing import Any, Literal, NamedTuple

from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.events import Result, SecurityEvent
from aisecure.guard import Ending, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock, discard
from aisecure.quotas._failure_window import FailureWindow
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas._inbox import Inbox
from aisecure.quotas.keys import By, key_function, resources_of
from aisecure.quotas.store import Subject, canonical

__all__ = ["CircuitBreaker", "CircuitState", "is_dependency_failure"]

#: Part of the time that a circuit stays open which chance takes off, so that many processes do not probe at once.
_JITTER = 0.25

#: How long callers are told to wait while a probe is on its way: nobody knows how long it takes.
_PROBING_SECONDS = 1.0

#: Names of errors that speak of the request and not of the model: our own refusals, and what the clients of
#: OpenAI and Anthropic raise for statuses 400 and 422. Otherwise one caller could open the circuit for all.
_OF_THE_REQUEST = frozenset({
    "AccessDenied",
    "ApprovalRequired",
    "BadRequestError",
    "ErasureRefused",
    "InputRejected",
    "ModelNotPinned",
    "OutputBlocked",
    "QuotaExceeded",
    "StepUpRequired",
    "UnprocessableEntityError",
})  # fmt: skip


def is_dependency_failure(error_type: str) -> bool:
    """Whether an error speaks against the model, and not against the request.

    Args:
        error_type: Name of the class of what the protected function raised.

    >>> is_dependency_failure("TimeoutError"), is_dependency_failure("BadRequestError")
    (True, False)
    """
    return error_type not in _OF_THE_REQUEST


class CircuitState(StrEnum):
    """Whether calls go through."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


class _Circuit:
    """What is known of one dependency."""

    __slots__ = ("failures", "generation", "open_seconds", "probes", "state", "successes", "until", "window")

    def __init__(self, open_seconds: float, window: FailureWindow | None) -> None:
        self.state = CircuitState.CLOSED
        self.failures = 0  # in a row
        self.window = window
        self.open_seconds = open_seconds  # of the next time it opens
        self.until = 0.0  # when it is next tried, if it is open
        self.probes: dict[str, float] = {}  # call -> when its place is free for another
        self.successes = 0  # of probes
        #: Grows with every change of state: what began in another one says nothing about this.
        self.generation = 0

    def seen_at(self, now: float) -> CircuitState:
        is_over = self.state is CircuitState.OPEN and now >= self.until
        return CircuitState.HALF_OPEN if is_over else self.state


class _Outcome(NamedTuple):
    call: Call
    subject: Subject
    generation: int
    failed: bool | None  # None: it says nothing


class CircuitBreaker(Guard):
    """Refuses calls to a model that keeps failing, and tries it again after a while.

    *Closed*, calls go through. After ``failures`` in a row, or when the share ``failure_rate`` of at least
    ``min_calls`` in the window failed, the circuit *opens*: calls are refused at once, with the exact time of the
    next try. Then it is *half open*: ``probes`` calls are let through, the others refused. When as many succeed it
    closes; when one fails it opens again, for twice as long as before up to ``max_open_seconds``. A quarter of each
    of these times is left to chance. A probe that has not ended after ``open_seconds`` leaves its place to another.

    A call counts as failed when the protected function raised (so put a timeout inside of it), and ``counts`` agrees.
    Whatever was answered is a success, also when a guard withheld it. Calls that were refused before they began or
    cancelled say nothing. Known in this process only; a restarted one learns anew.

    Args:
        by: What is one dependency: names of `aisecure.quotas.keys.BY`, or a function from the call to a key.
        failures: How many in a row open the circuit.
        failure_rate: Share of the window's calls, above 0 and up to 1; not looked at when None.
        min_calls: Calls in the window, below which no share is taken.
        window_seconds: Length of the window, which moves in tenths.
        open_seconds: How long the circuit stays open the first time.
        max_open_seconds: How long it stays open at most.
        probes: How many have to succeed, and may be on their way at the same time.
        counts: Whether an error speaks against the model, by the name of its class; see `is_dependency_failure`,
            the default.
        across_tenants: All tenants share one circuit. By default each has its own, so that no caller of one tenant
            can close another's way.
        max_keys: Circuits that are remembered; beyond, the one that was not asked for longest is forgotten.
        on: Resources that are in question, as shell patterns; all of the kind that ``by`` names by default.
        clock: Time.
        random: Returns a number from 0 to 1, for the part that is left to chance.
        events: Where ``circuit.opened``, ``circuit.half_open`` and ``circuit.closed`` are recorded.
        name, shadow, on_unavailable: As for every `Guard`.

    Raises:
        ValueError: A number out of range, or an unknown name.

    >>> breaker = CircuitBreaker(failures=2)
    >>> @breaker.decorate("model:chat")
    ... def ask(prompt: str) -> str:
    ...     raise TimeoutError
    >>> for attempt in range(3):
    ...     try:
    ...         ask("hello")
    ...     except Exception as err:
    ...         print(type(err).__name__)
    TimeoutError
    TimeoutError
    QuotaExceeded
    """

    name = "circuit_breaker"

    def __init__(
        self,
        *,
        by: By = "model",
        failures: int = 5,
        failure_rate: float | None = None,
        min_calls: int = 20,
        window_seconds: float = 60.0,
        open_seconds: float = 30.0,
        max_open_seconds: float = 300.0,
        probes: int = 1,
        counts: Callable[[str], bool] | None = None,
        across_tenants: bool = False,
        max_keys: int = 10_000,
        on: str | Collection[str] = "*",
        clock: Clock | None = None,
        random: Callable[[], float] = random.random,
        events: EventSink = discard,
        name: str | None = None,
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=resources_of(by, on), shadow=shadow, on_unavailable=on_unavailable)
        for what, number in (
            ("failures", failures),
            ("min_calls", min_calls),
            ("probes", probes),
            ("max_keys", max_keys),
        ):
            if type(number) is not int:
                raise TypeError(f"{what} is a whole number, not {type(number).__name__}")
            if number < 1:
                raise ValueError(f"{what} is at least 1")
        for what, seconds in (("window_seconds", window_seconds), ("open_seconds", open_seconds)):
            if not (math.isfinite(seconds) and seconds > 0):
                raise ValueError(f"{what} is a finite number above 0")
        if not (math.isfinite(max_open_seconds) and max_open_seconds >= open_seconds):
            raise ValueError("max_open_seconds is finite and not below open_seconds")
        if failure_rate is not None and not 0 < failure_rate <= 1:
            raise ValueError("failure_rate is a share above 0 and up to 1")
        self.failures = failures
        self.failure_rate = failure_rate
        self.min_calls = min_calls
        self.window_seconds = float(window_seconds)
        self.open_seconds = float(open_seconds)
        self.max_open_seconds = float(max_open_seconds)
        self.probes = probes
        self.across_tenants = across_tenants
        self.max_keys = max_keys
        self.reads_input = callable(by)
        self._key = key_function(by)
        self._counts = is_dependency_failure if counts is None else counts
        self._clock = clock or SystemClock()
        self._random = random
        self._events = events
        self.start_empty()
        start_empty_in_children(self)

    def __repr__(self) -> str:
        return f"CircuitBreaker(failures={self.failures}, failure_rate={self.failure_rate}, on={self.on})"

    def start_empty(self) -> None:
        """Forget all circuits and calls, as a forked child does: no lock of the parent's may be waited for."""
        self._circuits: OrderedDict[Subject, _Circuit] = OrderedDict()
        self._begun: dict[str, tuple[Subject, int]] = {}
        self._untold: deque[SecurityEvent] = deque()
        self._inbox: Inbox[_Outcome] = Inbox(self._learn)

    def before(self, call: Call) -> Verdict:
        """Let the call through, or refuse it while its circuit is open."""
        if call.id in self._begun:  # the guard stands twice in one shield
            return None
        subject = canonical(("" if self.across_tenants else call.principal.tenant, *self._key(call)))
        if subject not in self._circuits:  # nearly always: nothing bad is known
            self._begun[call.id] = subject, 0
            return None
        generation, wait = 0, 0.0
        try:
            with self._inbox.lock:
                circuit = self._circuits.get(subject)
                if circuit is not None:
                    self._circuits.move_to_end(subject)
                    wait = self._admit(circuit, call)
                    generation = circuit.generation
                if not wait:
                    self._begun[call.id] = subject, generation
        finally:
            self._inbox.empty()
        try:
            self._tell()
        except BaseException:
            # A call that is not let in is never settled.
            if self._begun.pop(call.id, None) is not None:
                self._inbox.put(_Outcome(call, subject, generation, None))
            raise
        if not wait:
            return None
        return Decision.deny(
            "quota.circuit_open",
            "The model failed repeatedly and is left alone for a while.",
            retry_after=wait,
        )

    def settle(self, call: Call, ending: Ending) -> None:
        """Learn from how the call ended."""
        begun = self._begun.pop(call.id, None)
        if begun is None:
            return
        failed: bool | None = None
        try:
            if ending.entered and ending.type == "call.failed":
                failed = True if self._counts(ending.error_type) else None
            elif ending.entered and ending.type in ("call.allowed", "call.blocked"):
                failed = False
        finally:
            subject, generation = begun
            if failed or self.failure_rate is not None or subject in self._circuits:
                self._inbox.put(_Outcome(call, subject, generation, failed))
        if self._untold:
            self._tell()

    def state(self, *key: str | bytes | int, tenant: str = "default") -> CircuitState:
        """Return how it stands with one dependency; a key begins with what it is, as in ``("resource", "model:chat")``.

        A circuit whose time is over is half open, though the next call is the first to notice.
        """
        circuit = self._circuits.get(canonical(("" if self.across_tenants else tenant, *key)))
        return CircuitState.CLOSED if circuit is None else circuit.seen_at(self._clock.monotonic())

    def health(self) -> dict[str, Any]:
        """Return how many circuits are in which state; an open one does not make this process unwell."""
        now = self._clock.monotonic()
        states = [circuit.seen_at(now) for circuit in list(self._circuits.values())]
        return {
            "ok": True,
            "open": states.count(CircuitState.OPEN),
            "half_open": states.count(CircuitState.HALF_OPEN),
            "circuits": len(states),
        }

    # -- under the lock

    def _admit(self, circuit: _Circuit, call: Call) -> float:
        """Return 0 to let the call through, or the seconds until another try."""
        if circuit.state is CircuitState.CLOSED:
            return 0.0
        now = self._clock.monotonic()
        if circuit.state is CircuitState.OPEN:
            if now < circuit.until:
                return circuit.until - now
            self._become(circuit, CircuitState.HALF_OPEN, call)
        if len(circuit.probes) + circuit.successes >= self.probes:
            stuck = min(circuit.probes, key=circuit.probes.__getitem__)
            if circuit.probes[stuck] > now:
                return min(_PROBING_SECONDS, circuit.probes[stuck] - now)
            del circuit.probes[stuck]
        circuit.probes[call.id] = now + self.open_seconds
        return 0.0

    def _learn(self, outcome: _Outcome) -> None:
        circuit = self._circuits.get(outcome.subject)
        if circuit is None:
            if outcome.failed is None or (not outcome.failed and self.failure_rate is None):
                return  # nothing that would be worth a place
            circuit = self._remember(outcome.subject)
        if outcome.generation != circuit.generation:
            return
        if circuit.state is CircuitState.HALF_OPEN:
            if circuit.probes.pop(outcome.call.id, None) is not None:
                self._learn_from_probe(circuit, outcome)
        elif outcome.failed is not None:
            self._learn_when_closed(circuit, outcome, outcome.failed)

    def _learn_from_probe(self, circuit: _Circuit, outcome: _Outcome) -> None:
        if outcome.failed:
            self._become(circuit, CircuitState.OPEN, outcome.call)
        elif outcome.failed is False:
            circuit.successes += 1
            if circuit.successes >= self.probes:
                self._become(circuit, CircuitState.CLOSED, outcome.call)

    def _learn_when_closed(self, circuit: _Circuit, outcome: _Outcome, failed: bool) -> None:  # noqa: FBT001
        circuit.failures = circuit.failures + 1 if failed else 0
        too_many = circuit.failures >= self.failures
        if circuit.window is not None:
            circuit.window.add(self._clock.monotonic(), failed=failed)
            calls, failures = circuit.window.totals
            too_many |= calls >= self.min_calls and failures >= (self.failure_rate or 1) * calls
        if too_many and failed:
            self._become(circuit, CircuitState.OPEN, outcome.call)
        elif not circuit.failures and not circuit.generation and circuit.window is None:
            del self._circuits[outcome.subject]  # it is as if it had never failed

    def _remember(self, subject: Subject) -> _Circuit:
        if len(self._circuits) >= self.max_keys:
            self._circuits.popitem(last=False)
        window = None if self.failure_rate is None else FailureWindow(self.window_seconds)
        circuit = self._circuits[subject] = _Circuit(self.open_seconds, window)
        return circuit

    def _become(self, circuit: _Circuit, state: CircuitState, call: Call) -> None:
        failures = circuit.failures or 1
        circuit.state = state
        circuit.generation += 1
        circuit.probes = {}
        circuit.successes = circuit.failures = 0
        if circuit.window is not None:
            circuit.window = FailureWindow(self.window_seconds)
        if state is CircuitState.OPEN:
            seconds = circuit.open_seconds * (1 - _JITTER * self._random())
            circuit.until = self._clock.monotonic() + seconds
            circuit.open_seconds = min(self.max_open_seconds, 2 * circuit.open_seconds)
            self._note("circuit.opened", Result.FAILURE, call, failures=failures, seconds=seconds)
        elif state is CircuitState.HALF_OPEN:
            self._note("circuit.half_open", Result.UNKNOWN, call)
        else:
            circuit.open_seconds = self.open_seconds
            self._note("circuit.closed", Result.SUCCESS, call)

    def _note(self, type_: str, result: Result, call: Call, **detail: Any) -> None:
        event = SecurityEvent.about(
            call, type_, time=self._clock.time(), result=result, detail={"guard": self.name, **detail}
        )
        self._untold.append(event)

    # -- outside the lock

    def _tell(self) -> None:
        """Record what changed; a sink may be slow, or guarded by this very circuit."""
        while self._untold:
            try:
                event = self._untold.popleft()
            except IndexError:  # somebody else tells it
                return
            self._events.record(event)
