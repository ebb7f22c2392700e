"""The slots of every key, and the threads and tasks that wait for them in one queue."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from aisecure.decisions import Decision
from aisecure.ports import Clock, SystemClock
from aisecure.quotas._fair_queue import FairQueue, State, Waiter
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas._inbox import Inbox
from aisecure.quotas.store import Subject, canonical

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future

__all__ = ["Line", "Slots"]


#: Lines of idle keys that are kept, beside as many as there are busy ones.
_SPARE = 64

#: More slots than anybody gives back.
_NOBODYS = 1 << 62


class Line:
    """The slots of one key. A slot passes from call to call, so while somebody waits none is free."""

    __slots__ = ("queue", "used")

    def __init__(self) -> None:
        self.used = 0
        self.queue: FairQueue | None = None

    @property
    def waiting(self) -> int:
        """How many wait."""
        return 0 if self.queue is None else len(self.queue)


class Slots:
    """Slots by key. Keys that are idle are forgotten, a few of them later than at once.

    Args:
        each: Slots of one key.
        queue: How many may wait for those of one key.
        wait_seconds: How long each may wait.
        max_keys: Keys that may be busy at the same time.
        clock: Time, by which waiters become overdue.
        unlimited: Refuse nobody, and count only.
    """

    def __init__(
        self,
        each: int,
        queue: int,
        wait_seconds: float,
        max_keys: int,
        *,
        clock: Clock | None = None,
        unlimited: bool = False,
    ) -> None:
        self._each = sys.maxsize if unlimited else each
        self._queue = queue
        self._wait_seconds = wait_seconds
        self._max_keys = max_keys
        self._now = (clock or SystemClock()).monotonic
        self.busy = Decision.deny(
            "quota.concurrency", f"As many calls as may run at once ({each}) are running."
        )
        self._late = Decision.deny("quota.concurrency", f"No call ended within {wait_seconds:g} seconds.")
        self._crowded = Decision.deny("quota.queue_full", f"As many calls as may wait ({queue}) are waiting.")
        self.lines: dict[Subject, Line] = {}
        self.start_empty()
        start_empty_in_children(self)

    def start_empty(self) -> None:
        """Forget all calls, as a forked child has to: none of them is its own."""
        for line in self.lines.values():
            # Code that holds one of the parent's slots will still give it back here; it must never become idle.
            line.used += _NOBODYS
            line.queue = None
        self.lines = {}
        self._busy = 0
        self._inbox: Inbox[Line | Waiter] = Inbox(self._take_back)
        self._lock = self._inbox.lock
        self._bound = self._lock.acquire, self._lock.release, self.lines, self._inbox.messages

    def take(self, subject: Subject) -> Line | None:
        """Take a free slot of a tenant and key, or return None.

        Raises:
            QuotaExceeded: Too many keys are busy.
            TypeError, ValueError: The subject is none.
        """
        # Written out flat, here and in give_back: nearly every call finds a slot, and has to pay little for it.
        acquire, release, lines, messages = self._bound
        acquire()
        try:
            line = lines.get(subject)
            if line is None:
                line = self._line(canonical(subject))
            used = line.used
            if used >= self._each:
                return None
            if not used:
                busy = self._busy
                if busy >= self._max_keys:
                    self._refuse_too_many()
                self._busy = busy + 1
            line.used = used + 1
            return line
        finally:
            release()
            if messages:
                self._inbox.empty()

    def give_back(self, line: Line) -> None:
        """Give a slot to whose turn it is, or free it. It waits for nothing, and may be called anywhere."""
        acquire, release, lines, messages = self._bound
        if not acquire(False):
            self._inbox.put(line)
            return
        try:
            if line.queue:
                self._take_back(line)
            else:
                line.used = used = line.used - 1
                if not used:
                    self._busy = busy = self._busy - 1
                    if len(lines) > 2 * busy + _SPARE:
                        self._forget_idle()
        finally:
            release()
            if messages:
                self._inbox.empty()

    def wait(self, subject: Subject, party: Subject) -> Line | Decision:
        """Return a slot, or why there is none; blocks the thread until then.

        Where the thread runs an event loop nobody waits, since the loop would stand still.

        Args:
            subject: Tenant and key.
            party: Whose turn it is.
        """
        if not self._queue or _running_loop() is not None:
            return self.busy
        gate = threading.Lock()
        gate.acquire()
        waiter = self._join(subject, party, partial(_open, gate))
        try:
            if waiter.state is State.WAITING:
                gate.acquire(timeout=self._wait_seconds)
            return self._outcome(waiter)
        except BaseException:
            self._inbox.put(waiter)
            raise

    async def await_(self, subject: Subject, party: Subject) -> Line | Decision:
        """Do as `wait`, and let the event loop run meanwhile."""
        loop = _running_loop()
        if not self._queue or loop is None:  # or another kind of loop than asyncio's
            return self.busy
        future = loop.create_future()
        waiter = self._join(subject, party, partial(_resolve_soon, loop, future))
        timer = loop.call_later(self._wait_seconds, _resolve, future)
        try:
            if waiter.state is State.WAITING:
                await future
            return self._outcome(waiter)
        except BaseException:
            # Cancelled, perhaps in the moment in which the slot was granted: then it goes to the next.
            self._inbox.put(waiter)
            raise
        finally:
            timer.cancel()

    def _line(self, subject: Subject) -> Line:
        """Return the line of a key under its canonical name; under the lock.

        Raises:
            QuotaExceeded: There would be too many.
        """
        line = self.lines.get(subject)
        if line is None:
            if len(self.lines) >= self._max_keys:
                self._refuse_too_many()
                self._forget_idle()
            line = self.lines[subject] = Line()
        return line

    def _refuse_too_many(self) -> None:
        if self._busy >= self._max_keys:
            Decision.deny("quota.concurrency", "More callers are busy than are kept count of.").require()

    def _forget_idle(self) -> None:
        """Drop the lines of idle keys; rarely, so that one which comes and goes need not be made each time."""
        for subject in [subject for subject, line in self.lines.items() if not line.used]:
            del self.lines[subject]

    def _join(self, subject: Subject, party: Subject, wake: Callable[[], bool]) -> Waiter:
        """Return a waiter in the queue of a key, or one that was granted or refused a place at once."""
        refused = None
        try:
            with self._lock:
                line = self._line(canonical(subject))
                now = self._now()
                waiter = Waiter(party, now + self._wait_seconds, wake, line)
                if line.used < self._each:  # one became free since
                    if not line.used:
                        self._refuse_too_many()
                        self._busy += 1
                    line.used += 1
                    waiter.state = State.GRANTED
                else:
                    if line.queue is None:
                        line.queue = FairQueue(self._queue)
                    refused = line.queue.join(waiter, now)
        finally:
            self._inbox.empty()
        if refused is not None and refused is not waiter:
            refused.wake()
        return waiter

    def _outcome(self, waiter: Waiter) -> Line | Decision:
        """Return the slot that a waiter got, or why it got none; ends its waiting."""
        if waiter.state is State.WAITING:
            try:
                with self._lock:
                    # A queue of the process that this one was forked from is gone.
                    if waiter.state is State.WAITING and waiter.line.queue is not None:
                        waiter.line.queue.leave(waiter)
            finally:
                self._inbox.empty()
        if waiter.state is State.GRANTED:
            line: Line = waiter.line
            return line
        return self._crowded if waiter.state is State.REFUSED else self._late

    def _take_back(self, what: Line | Waiter) -> None:
        """Pass a slot on, or free it; under the lock. A waiter that gave up brings the slot it may have got."""
        if isinstance(what, Waiter):
            line: Line = what.line
            if what.state is State.WAITING and line.queue is not None:
                line.queue.leave(what)
            if what.state is not State.GRANTED:
                return
            what.state = State.OVERDUE
        else:
            line = what
        waiter = line.queue.next(self._now()) if line.queue else None
        if waiter is None:
            line.used -= 1
            if not line.used:
                self._busy -= 1
        elif not waiter.wake():
            self._inbox.put(waiter)


def _running_loop() -> AbstractEventLoop | None:
    events = sys.modules.get("asyncio.events")  # nobody runs a loop before somebody imported it
    return None if events is None else events._get_running_loop()  # noqa: SLF001  (documented for loop implementers)


def _open(gate: threading.Lock) -> bool:
    gate.release()
    return True


def _resolve(future: Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _resolve_soon(loop: AbstractEventLoop, future: Future[None]) -> bool:
    try:
        loop.call_soon_threadsafe(_resolve, future)
    except RuntimeError:  # the loop is closed
        return False
    return True
