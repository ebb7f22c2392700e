"""Values that must not cross a fork: locks that another thread held, sockets, sessions of an HSM."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["PerProcess"]

T = TypeVar("T")


class PerProcess(Generic[T]):
    """A value that each process makes for itself when it first asks.

    What a child inherited is kept, unused: to free it could close what the parent still works with.
    Two threads that ask first at the same time may both make one; all get the same.

    >>> once = PerProcess(list)
    >>> once.get() is once.get()
    True
    """

    __slots__ = ("_made", "_make")

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._made: dict[int, T] = {}

    def get(self) -> T:
        """Return this process's value; what ``make`` raises comes through, and the next call tries again."""
        pid = os.getpid()
        if pid not in self._made:
            self._made.setdefault(pid, self._make())  # a single step of the interpreter
        return self._made[pid]

    def drop(self) -> None:
        """Forget this process's value; the next `get` makes another."""
        self._made.pop(os.getpid(), None)
