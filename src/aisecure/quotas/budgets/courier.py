"""A thread that books what calls have used, where booking may have to wait for a network or a disk."""

from __future__ import annotations

import atexit
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

from aisecure.errors import Unavailable
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas.budgets.ledger import Bill, Done, Settled

__all__ = ["Courier"]

#: Bills that may wait for a ledger that does not answer. More are dropped, the oldest first, and that is told.
_MOST = 10_000
#: Bills that go together.
_BATCH = 64
#: Seconds between attempts, from the first to the longest.
_PAUSES = 1.0, 30.0
#: How long the end of the program waits for a ledger that does not answer.
_AT_EXIT_SECONDS = 2.0


class Courier:
    """Books bills in order, from one daemon thread that is started when first needed; bills that could not be booked stay.

    Booking twice is harmless, so what may have arrived is sent again. The end of the program, and `flush`, book what
    is left. A forked child begins without bills: its parent books its own.

    Args:
        settle: Books several bills, or raises `Unavailable`.
        most: Bills that may wait.
    """

    def __init__(self, settle: Callable[[Sequence[Bill]], list[Settled]], *, most: int = _MOST) -> None:
        self._settle = settle
        self._most = most
        self.start_empty()
        start_empty_in_children(self)
        atexit.register(_at_exit, weakref.ref(self))

    def start_empty(self) -> None:
        """Forget all bills, with fresh locks and no thread, as a forked child has to."""
        # Its ``put`` may be called by the garbage collector in the midst of another: the documentation promises that.
        self._wake: SimpleQueue[Courier | None] = SimpleQueue()
        self._waiting: deque[tuple[Bill, Done]] = deque()
        self._dropped: deque[Done] = deque()
        self._sending = threading.Lock()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._size = _BATCH
        self._under_way = False

    @property
    def pending(self) -> bool:
        """Whether bills are not booked yet."""
        return bool(self._waiting or self._under_way)

    def start(self) -> None:
        """Have a thread; called before there is something to book, where starting one is safe."""
        if self._thread is not None and self._thread.is_alive():
            return
        with self._starting:
            if self._thread is None or not self._thread.is_alive():
                wake = self._wake
                weakref.finalize(self, wake.put, None)
                self._thread = threading.Thread(
                    target=_work, args=(wake,), name="aisecure-budgets", daemon=True
                )
                with suppress(RuntimeError):  # the program is ending: `flush` books what is left
                    self._thread.start()

    def post(self, bill: Bill, done: Done) -> None:
        """Take a bill; wait for nothing."""
        self._waiting.append((bill, done))
        if len(self._waiting) > self._most:
            with suppress(IndexError):
                self._dropped.append(self._waiting.popleft()[1])
        self._wake.put(self)

    def flush(self, seconds: float = 5.0) -> bool:
        """Book what is waiting, and wait for what is under way; return whether nothing is left."""
        until = time.monotonic() + seconds
        if not self._sending.acquire(timeout=seconds):
            return False
        try:
            while self._waiting and time.monotonic() < until:
                if not self._send():
                    break
        finally:
            self._sending.release()
        return not self.pending

    def close(self) -> None:
        """Book what is waiting, and end the thread; later use starts one again."""
        self.flush()
        thread, self._thread = self._thread, None
        if thread is not None:
            self._wake.put(None)
            if thread is not threading.current_thread():
                thread.join(5.0)

    def work(self) -> bool:
        """Book what is waiting; return whether all of it was."""
        with self._sending:
            while self._waiting:
                if not self._send():
                    return False
        return True

    def _send(self) -> bool:
        """Book one batch, under the lock."""
        while self._dropped:
            _call(self._dropped.popleft(), DroppedError())
        batch: list[tuple[Bill, Done]] = []
        self._under_way = True  # before they are taken: `pending` may be asked at any moment
        while self._waiting and len(batch) < self._size:
            try:
                batch.append(self._waiting.popleft())
            except IndexError:  # pragma: no cover  (`post` dropped it between the two)
                break
        try:
            settled = self._settle([bill for bill, _ in batch])
        except Unavailable as err:
            for _, done in batch:
                _call(done, err)
            # Behind the others, and one by one from here on, so that one that can never be booked stops no other.
            self._waiting.extend(batch)
            self._size = 1
            return False
        finally:
            self._under_way = False
        self._size = min(_BATCH, 2 * self._size)
        for (_, done), entries in zip(batch, settled, strict=True):
            _call(done, entries)
        return True


class DroppedError(Exception):
    """Too many bills were waiting, and this one was let go."""


def _call(done: Done, what: Any) -> None:
    # Whoever is told may fail to write that down; the bills of others must be booked all the same.
    with suppress(Exception):
        done(what)


def _work(wake: SimpleQueue[Courier | None]) -> None:
    # Holds a courier only while it has bills, so that one that nobody uses any more can go, and its thread with it.
    pause: float | None = None
    unsent: Courier | None = None
    while True:
        try:
            courier = wake.get(timeout=pause)
            if courier is None:
                return
        except Empty:
            courier = unsent
        if courier is not None and courier.work():
            pause = unsent = None
        else:
            unsent = courier
            pause = min(_PAUSES[1], 2 * pause) if pause else _PAUSES[0]
        courier = None


def _at_exit(courier: weakref.ref[Courier]) -> None:
    alive = courier()
    if alive is not None and alive.pending:
        alive.flush(_AT_EXIT_SECONDS)
