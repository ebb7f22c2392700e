"""Settling without waiting: a ledger over a network is told behind the call, and told again when it was away.

`Guard.settle` is plain code that may run inside an event loop, which must not stand still for a network. A settlement that
could not be delivered is kept and sent again with the next ones: it counts once, however often it arrives.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
import weakref
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

from aisecure.errors import Unavailable

__all__ = ["Settler"]

#: Settlements kept for a ledger that is away; beyond, the oldest is lost, and told.
_MOST_KEPT = 10_000

Task = Callable[[], None]


class Settler:
    """Runs settlements in order, here or in a thread of its own where an event loop is running.

    Args:
        always_behind: Use the thread for every settlement. A network's connection pools have locks, and the garbage
            collector, which ends a stream that was dropped, may run in a thread that holds one.
        lost: Called with the number of settlements that could not be delivered now (they are kept), and whether the
            oldest had to be dropped for them.
    """

    def __init__(self, lost: Callable[[int, bool], None], *, always_behind: bool = False) -> None:
        self._lost = lost
        self._always_behind = always_behind
        self._kept: deque[Task] = deque()
        self._lock = threading.RLock()
        self._queue: SimpleQueue[Task | None] = SimpleQueue()
        self._worker: threading.Thread | None = None
        self._owner = os.getpid()
        _SETTLERS.add(self)

    @property
    def waiting(self) -> int:
        """How many settlements are not delivered yet."""
        return len(self._kept) + self._queue.qsize()

    def submit(self, task: Task) -> None:
        """Run a settlement: at once, or in the background where this thread runs an event loop."""
        if not self._always_behind and not _in_event_loop():
            self._run(task)
            return
        with self._lock:
            self._forget_parent()
            if self._worker is None:
                self._worker = threading.Thread(target=self._work, name="aisecure-settle", daemon=True)
                self._worker.start()
        self._queue.put(task)

    def flush(self) -> None:
        """Wait until everything that was submitted has been tried once more; called at close and at exit."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None and self._owner == os.getpid():
            self._queue.put(None)
            worker.join()
        self._again()

    def _work(self) -> None:
        while (task := self._queue.get()) is not None:
            self._run(task)

    def _run(self, task: Task) -> None:
        self._again()
        if self._kept:  # in order, behind those that could not be delivered
            self._keep(task)
            return
        try:
            task()
        except Unavailable:
            self._keep(task)

    def _again(self) -> None:
        while True:
            try:
                task = self._kept.popleft()
            except IndexError:
                return
            try:
                task()
            except Unavailable:
                self._kept.appendleft(task)
                return

    def _keep(self, task: Task) -> None:
        dropped = len(self._kept) >= _MOST_KEPT
        if dropped:
            self._kept.popleft()
        self._kept.append(task)
        self._lost(len(self._kept), dropped)

    def _forget_parent(self) -> None:
        # A forked child has neither its parent's thread nor a part in what that had to settle.
        if self._owner != os.getpid():
            self._owner, self._worker = os.getpid(), None
            self._queue = SimpleQueue()
            self._kept.clear()


def _in_event_loop() -> bool:
    # Where asyncio was never imported no loop of it runs; other loops settle in place.
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return False
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


_SETTLERS: weakref.WeakSet[Settler] = weakref.WeakSet()


@atexit.register
def _flush_all() -> None:
    for settler in tuple(_SETTLERS):
        settler.flush()
