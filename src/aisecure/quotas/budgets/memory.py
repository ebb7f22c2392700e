"""Budgets in this process."""

from __future__ import annotations

import heapq
import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple, TypeVar

from aisecure.errors import Unavailable
from aisecure.ports import Clock, SystemClock
from aisecure.quotas._forks import start_empty_in_children
from aisecure.quotas.budgets.books import Books
from aisecure.quotas.budgets.ledger import (
    LATE_SECONDS,
    Account,
    Answer,
    Balance,
    Bill,
    Done,
    Entry,
    Line,
    Reservation,
    Settled,
    check_amounts,
)
from aisecure.quotas.budgets.windows import Window
from aisecure.quotas.store import canonical

__all__ = ["MemoryLedger"]

T = TypeVar("T")

_MICRO = 1_000_000
#: Accounts that are looked at, at each reservation, whether they are idle. One would keep up; more catch up.
_SWEEP = 4


class _Hold(NamedTuple):
    reservation: Reservation
    keys: tuple[Any, ...]
    deadline: int


class _Expired(NamedTuple):
    """A reservation that was not settled in time.

    Attributes:
        until: When it can no longer be settled.
        buckets: Where it was charged, by account; empty when it was released.
    """

    until: int
    buckets: dict[Any, int]


class MemoryLedger:
    """Budgets in this process: any number of threads and tasks, gone when it ends.

    Sliding windows go by the monotonic clock, which nobody sets; those of the calendar by the wall clock. After a fork
    the child begins with empty books.

    Args:
        max_accounts: How many are kept. Idle ones are forgotten; when all are in use, calls of new ones are refused as
            unavailable, since a budget that was forgotten would be a budget that was not kept.
        clock: Time.
    """

    over_network = False
    waits = False

    def __init__(self, *, max_accounts: int = 100_000, clock: Clock | None = None) -> None:
        if type(max_accounts) is not int or max_accounts < 1:
            raise ValueError("max_accounts is a whole number of 1 or more")
        self.max_accounts = max_accounts
        self._clock = clock or SystemClock()
        self.start_empty()
        start_empty_in_children(self)

    def __repr__(self) -> str:
        return f"MemoryLedger(max_accounts={self.max_accounts})"

    def start_empty(self) -> None:
        """Begin anew, as a forked child has to: what others hold is not its own."""
        self._lock = threading.Lock()
        self._posted: deque[tuple[Bill, Done]] = deque()
        self._books: dict[Any, Books] = {}
        self._next: deque[Any] = deque()
        self._open: dict[str, _Hold] = {}
        self._due: list[tuple[int, str]] = []
        #: Oldest first.
        self._expired: dict[str, _Expired] = {}

    # -- the ledger

    def reserve(self, reservation: Reservation) -> Answer:
        """Hold the amounts of all lines, or nothing."""
        keys = tuple(_key(line.account) for line in reservation.lines)
        check_amounts([line.amount for line in reservation.lines])
        return self._locked(lambda: self._reserve(reservation, keys))

    async def areserve(self, reservation: Reservation) -> Answer:
        """Do as `reserve`: it waits for nothing."""
        return self.reserve(reservation)

    def settle(self, bills: Sequence[Bill]) -> list[Settled]:
        """Book what was really used."""
        for bill in bills:
            check_amounts(bill.amounts)
        return self._locked(lambda: [self._settle(bill) for bill in bills])

    def post(self, bill: Bill, done: Done) -> None:
        """Settle now, or when whoever uses the books just then lets go of them: this never waits."""
        self._posted.append((bill, done))
        self._take_posted()

    def flush(self, seconds: float = 5.0) -> bool:
        """Do nothing: nothing is ever on its way for longer than a moment."""
        self._take_posted()
        return True

    @property
    def pending(self) -> bool:
        """Whether bills are on their way."""
        return bool(self._posted)

    def balances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Return how accounts stand."""

        def balances() -> list[Balance]:
            found = [self._books.get(_key(account)) for account in accounts]
            return [Balance(0, 0, 0.0) if books is None else self._balance(books) for books in found]

        return self._locked(balances)

    async def abalances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Do as `balances`: it waits for nothing."""
        return self.balances(accounts)

    def reset(self, accounts: Sequence[Account]) -> None:
        """Forget what was spent; what is held stays held."""

        def reset() -> None:
            for account in accounts:
                books = self._books.get(_key(account))
                if books is not None:
                    books.buckets.clear()
                    books.told.clear()
                    books.used = 0

        self._locked(reset)

    def health(self) -> dict[str, Any]:
        """Return how full it is."""
        return {"ok": True, "ledger": "memory", "accounts": len(self._books), "open": len(self._open)}

    def close(self) -> None:
        """Do nothing: there is nothing to release."""

    async def aclose(self) -> None:
        """Do nothing: there is nothing to release."""

    # -- under the lock

    def _locked(self, work: Callable[[], T]) -> T:
        with self._lock:
            self._expire()
            result = work()
        self._take_posted()
        return result

    def _take_posted(self) -> None:
        # A stream that was dropped is closed by the garbage collector between any two instructions of any thread, also of
        # one that holds the lock. So a bill is put down, and taken by whoever comes or lets go next.
        while self._posted and self._lock.acquire(False):
            finished = []
            try:
                self._expire()
                while self._posted:
                    bill, done = self._posted.popleft()
                    finished.append((done, self._settle(bill)))
            finally:
                self._lock.release()
            for done, settled in finished:
                # It is often somebody else's call that takes the bill, and must not fail for what is done with it.
                with suppress(Exception):
                    done(settled)

    def _reserve(self, reservation: Reservation, keys: tuple[Any, ...]) -> Answer:
        if reservation.id in self._open or reservation.id in self._expired:
            raise ValueError("a reservation is made once")
        now = self._monotonic()
        short, longest = None, -1
        found = [self._books.get(key) for key in keys]
        for index, (line, known) in enumerate(zip(reservation.lines, found, strict=True)):
            limit = line.account.limit
            books = known or Books(Window.of(limit))
            moment = self._turn(books)
            if not line.soft and books.used + books.held + line.amount > limit.amount:
                wait = books.wait(moment, limit.amount, line.amount)
                if wait > longest:
                    short, longest = index, wait
        if short is None:
            self._sweep(found.count(None))
            deadline = now + math.ceil(reservation.ttl_seconds * _MICRO)
            for key, line in zip(keys, reservation.lines, strict=True):
                self._of(key, line.account).held += line.amount
            self._open[reservation.id] = _Hold(reservation, keys, deadline)
            self._remember(deadline, reservation.id)
            found = [self._books[key] for key in keys]
        balances = tuple(Balance(0, 0, 0.0) if books is None else self._balance(books) for books in found)
        return Answer(short, max(0, longest) / _MICRO, balances)

    def _settle(self, bill: Bill) -> Settled:
        reservation = bill.reservation
        hold = self._open.pop(reservation.id, None)
        keys = hold.keys if hold else tuple(_key(line.account) for line in reservation.lines)
        known = hold is not None or bill.unheld
        expired = None if hold else self._expired.pop(reservation.id, None)
        entries = []
        for key, line, amount in zip(keys, reservation.lines, bill.amounts, strict=True):
            if hold is not None:
                self._books[key].held -= line.amount
            rest = amount
            if expired is not None:
                known = True
                rest = amount - self._given_back(key, expired, line, amount)
            books = (
                self._of(key, line.account)
                if known
                else self._books.get(key) or Books(Window.of(line.account.limit))
            )
            moment = self._turn(books)
            if known:
                books.spend(moment, rest)
            entries.append(
                Entry(known, self._balance(books), books.tell(moment, line.marks) if known else ())
            )
        return tuple(entries)

    def _given_back(self, key: Any, expired: _Expired, line: Line, amount: int) -> int:
        """Return how much of an amount was charged already when the hold expired; what was too much is given back."""
        bucket = expired.buckets.get(key)
        if bucket is None:
            return 0
        books = self._books.get(key)
        if books is not None and line.amount > amount:
            books.give_back(bucket, line.amount - amount)
        return min(line.amount, amount)

    def _expire(self) -> None:
        now = self._monotonic()
        while self._due and self._due[0][0] <= now:
            deadline, id_ = heapq.heappop(self._due)
            hold = self._open.pop(id_, None)
            if hold is None:
                continue
            buckets = {}
            for key, line in zip(hold.keys, hold.reservation.lines, strict=True):
                books = self._books[key]
                books.held -= line.amount
                if hold.reservation.on_expiry == "charge":
                    buckets[key] = books.spend(self._turn(books) - (now - deadline), line.amount)
            self._expired[id_] = _Expired(deadline + LATE_SECONDS * _MICRO, buckets)
        while self._expired:
            id_, expired = next(iter(self._expired.items()))
            if expired.until > now and len(self._expired) <= self.max_accounts:
                break
            del self._expired[id_]

    def _remember(self, deadline: int, id_: str) -> None:
        heapq.heappush(self._due, (deadline, id_))
        if len(self._due) > 2 * len(self._open) + 64:
            # Mostly reservations that were settled long before their time.
            self._due = [(hold.deadline, id_) for id_, hold in self._open.items()]
            heapq.heapify(self._due)

    def _of(self, key: Any, account: Account) -> Books:
        books = self._books.get(key)
        if books is None:
            books = self._books[key] = Books(Window.of(account.limit))
            self._next.append(key)
        return books

    def _sweep(self, new: int) -> None:
        """Forget idle accounts, a few at a time.

        Raises:
            Unavailable: There is no room for so many new ones.
        """
        full = len(self._books) + new > self.max_accounts
        for _ in range(min(len(self._next), 64 if full else _SWEEP)):
            key = self._next.popleft()
            books = self._books[key]
            self._turn(books)
            if books.buckets or books.held:
                self._next.append(key)
            else:
                del self._books[key]
        if new and len(self._books) + new > self.max_accounts:
            raise Unavailable(
                f"the ledger keeps {self.max_accounts} accounts and all are in use; raise max_accounts",
                code="unavailable.quota",
            )

    def _turn(self, books: Books) -> int:
        moment = self._monotonic() if books.window.step else int(self._clock.time() * _MICRO)
        books.turn_to(moment)
        return moment

    def _balance(self, books: Books) -> Balance:
        moment = self._turn(books)
        return Balance(books.used, books.held, books.reset(moment) / _MICRO)

    def _monotonic(self) -> int:
        return int(self._clock.monotonic() * _MICRO)


def _key(account: Account) -> Any:
    return account.name, account.limit, canonical(account.subject)
