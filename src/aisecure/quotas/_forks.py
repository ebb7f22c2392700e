"""State that a forked child must not inherit: locks that a lost thread holds, slots of calls that are not its own."""

from __future__ import annotations

import os
import weakref
from typing import Protocol

__all__ = ["start_empty_in_children"]


class _Renewable(Protocol):
    def start_empty(self) -> None:
        """Forget all calls, with fresh locks."""


_ALL: weakref.WeakSet[_Renewable] = weakref.WeakSet()


def start_empty_in_children(thing: _Renewable) -> None:
    """Have ``thing.start_empty()`` called in every child that this process forks."""
    _ALL.add(thing)


def _in_child() -> None:
    for thing in tuple(_ALL):
        thing.start_empty()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
