"""Budgets in this process: gone when it ends, and each of several workers has its own."""

from __future__ import annotations

import os
import threading
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aisecure.errors import Unavailable
from aisecure.ports import Clock, SystemClock
from aisecure.quotas.budgets import _accounts
from aisecure.quotas.budgets.account import MICRO, Account, place_of
from aisecure.quotas.budgets.ledger import Line, Reservation, Shortage, State
from aisecure.quotas.budgets.notation import Amount
from aisecure.quotas.store import Subject, canonical

__all__ = ["MemoryLedger"]

#: Accounts looked at for each new one.
_SWEEP = 4

_Key = tuple[str, str, Subject]


class MemoryLedger:
    """Keeps budgets in this process; any number of threads and tasks may share it.

    Args:
        max_accounts: Limits of keys that are known at once. One more is refused as unavailable: a budget that nobody
            keeps is none.
        clock: Time. Sliding windows use ``monotonic``, calendar windows ``time``.

    Raises:
        ValueError: ``max_accounts`` is below 1.
    """

    over_network = False
    is_shared = False

    def __init__(self, *, max_accounts: int = 100_000, clock: Clock | None = None) -> None:
        if max_accounts < 1:
            raise ValueError("max_accounts is at least 1")
        self.max_accounts = max_accounts
        self.lock = threading.Lock()
        self._holder = 0
        self._late: deque[tuple[Reservation, tuple[int, ...]]] = deque()
        self._clock = clock or SystemClock()
        self._accounts: dict[_Key, Account] = {}
        self._limits: dict[_Key, Amount] = {}
        # Every key of _accounts once; those that the next sweeps look at come first.
        self._queue: deque[_Key] = deque()
        _LEDGERS.add(self)

    def __repr__(self) -> str:
        return f"MemoryLedger(max_accounts={self.max_accounts})"

    def reserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Hold an amount of every line; or of none and say why."""
        with self._turn():
            return _accounts.reserve(self._find(lines), lines, amounts, ttl_seconds, self._now)

    async def areserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Do as `reserve`, which waits for nothing."""
        return self.reserve(lines, amounts, ttl_seconds)

    def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[State, ...]:
        """Put what was really used in the place of what was held."""
        if self._holder == threading.get_ident():
            # The garbage collector closed a dropped stream while this very thread has its turn: that settles it.
            self._late.append((reservation, tuple(amounts)))
            return reservation.states
        with self._turn():
            return self._settle(reservation, amounts)

    def look(self, lines: Sequence[Line]) -> tuple[State, ...]:
        """Return the state of each line; nothing is spent."""
        with self._turn():
            accounts = [self._accounts.get(_key(line)) or Account() for line in lines]
            return _accounts.look(accounts, lines, self._now)

    def reset(self, lines: Sequence[Line]) -> None:
        """Forget what was spent and reserved."""
        with self._turn():
            for line in lines:
                if _key(line) in self._accounts:
                    self._accounts[_key(line)] = Account()

    def health(self) -> dict[str, Any]:
        """Return how full the ledger is."""
        return {"ok": True, "ledger": "memory", "accounts": len(self._accounts)}

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self.lock:
            self._holder = threading.get_ident()
            try:
                yield
                while self._late:
                    self._settle(*self._late.popleft())
            finally:
                self._holder = 0

    def _settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[State, ...]:
        accounts = self._find(reservation.lines)
        return _accounts.settle(accounts, reservation, amounts, self._now)

    def _now(self, limit: Amount) -> int:
        return round((self._clock.time() if limit.window == "calendar" else self._clock.monotonic()) * MICRO)

    def _find(self, lines: Sequence[Line]) -> list[Account]:
        limits = {_key(line): line.limit for line in lines}
        for most in (_SWEEP * len(limits), len(self._queue)):
            if all(key in self._accounts for key in limits):
                break
            # Before the missing ones are made: what is swept may be asked for too.
            self._sweep(min(most, len(self._queue)))
            new = [key for key in limits if key not in self._accounts]
            if len(self._accounts) + len(new) <= self.max_accounts:
                for key in new:
                    self._accounts[key] = Account()
                    self._limits[key] = limits[key]
                    self._queue.append(key)
        else:
            if not all(key in self._accounts for key in limits):
                raise Unavailable("there is no room for another budget", code="unavailable.quota")
        return [self._accounts[_key(line)] for line in lines]

    def _sweep(self, most: int) -> None:
        """Forget accounts that would answer as new ones."""
        for _ in range(most):
            key = self._queue.popleft()
            account, limit = self._accounts[key], self._limits[key]
            moment = self._now(limit)
            account.tidy(place_of(limit, moment), moment)
            if account.is_empty:
                del self._accounts[key], self._limits[key]
            else:
                self._queue.append(key)


def _key(line: Line) -> _Key:
    return line.name, line.limit.id, canonical(line.subject)


_LEDGERS: weakref.WeakSet[MemoryLedger] = weakref.WeakSet()
_FORKING = threading.Lock()
_HELD: list[MemoryLedger] = []


def _before_fork() -> None:
    # A child made while another thread holds a lock would wait for it for ever, or find half of a change.
    _FORKING.acquire()
    _HELD[:] = _LEDGERS
    for ledger in _HELD:
        ledger.lock.acquire()


def _after_fork() -> None:
    for ledger in _HELD:
        ledger.lock.release()
    _HELD.clear()
    _FORKING.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
