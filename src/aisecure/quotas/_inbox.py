"""A lock for state that is also changed where nothing may wait: where a call is settled."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Inbox"]

T = TypeVar("T")


class Inbox(Generic[T]):
    """A lock, and the messages that came while somebody held it.

    A call can end anywhere: the garbage collector closes a stream that was dropped, between any two instructions of
    any thread, also of one that holds the lock just then. Whoever ends a call therefore puts down a message and waits
    for nobody; who holds the lock takes the messages once more after letting go.

    Args:
        take: Handles one message, under the lock.
    """

    __slots__ = ("_take", "lock", "messages")

    def __init__(self, take: Callable[[T], None]) -> None:
        self._take = take
        self.lock = threading.Lock()
        self.messages: deque[T] = deque()

    def put(self, message: T) -> None:
        """Leave a message; it is taken now, or by whoever holds the lock."""
        self.messages.append(message)
        self.empty()

    def empty(self) -> None:
        """Take all messages, unless somebody else is about to; call it after every use of the lock."""
        # A message that is put after the inner loop saw none finds the lock held, and is seen by the outer one.
        while self.messages and self.lock.acquire(False):
            try:
                while self.messages:
                    self._take(self.messages.popleft())
            finally:
                self.lock.release()
