"""Budgets in a database file: they survive a restart, and all processes of one machine share them."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Sequence
from typing import Any

from aisecure.errors import Unavailable
from aisecure.ports import Clock, SystemClock
from aisecure.quotas.budgets.books import Books
from aisecure.quotas.budgets.courier import Courier
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
from aisecure.quotas.budgets.names import name_of
from aisecure.quotas.budgets.windows import Window
from aisecure.storage import Storage

__all__ = ["SqliteLedger"]

_MICRO = 1_000_000
#: Holds that are let go, and idle accounts that are forgotten, by one reservation.
_DUE, _SWEEP = 1_000, 8
#: New accounts between two counts of all.
_COUNT_EVERY = 256

_STEPS = (
    """
    CREATE TABLE budget_accounts (
        name TEXT PRIMARY KEY,
        window TEXT NOT NULL,
        held INTEGER NOT NULL,
        buckets TEXT NOT NULL,
        told TEXT NOT NULL,
        clock INTEGER NOT NULL,
        idle_at INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX budget_accounts_idle ON budget_accounts (idle_at) WHERE held = 0;
    CREATE TABLE budget_holds (
        reservation TEXT NOT NULL,
        account TEXT NOT NULL,
        amount INTEGER NOT NULL,
        ttl INTEGER NOT NULL,
        charges INTEGER NOT NULL,
        open INTEGER NOT NULL,
        bucket INTEGER,
        until INTEGER NOT NULL,
        PRIMARY KEY (reservation, account)
    ) WITHOUT ROWID;
    CREATE INDEX budget_holds_until ON budget_holds (until);
    """,
)


class SqliteLedger:
    """Budgets in a `Storage`, in one transaction for all accounts of a call.

    Keys stand in it as digests. Time is the wall clock, since a month outlives a process: set forward it frees budget
    early; set back it frees nothing early and locks nobody out for longer than a period.

    Args:
        storage: The database.
        max_accounts: How many are kept. Idle ones are forgotten; when all are in use, calls of new ones are refused as
            unavailable. Counted now and then, so that a few more may be let in.
        clock: Time.

    Raises:
        Misconfigured: The database was written by a newer version of the library.
    """

    over_network = False
    waits = True

    def __init__(
        self, storage: Storage, *, max_accounts: int = 1_000_000, clock: Clock | None = None
    ) -> None:
        if type(max_accounts) is not int or max_accounts < 1:
            raise ValueError("max_accounts is a whole number of 1 or more")
        self.max_accounts = max_accounts
        self._storage = storage
        self._clock = clock or SystemClock()
        self._until_count = 0
        storage.migrate("budget", _STEPS)
        self._courier = Courier(self.settle)

    def __repr__(self) -> str:
        return f"SqliteLedger({self._storage!r})"

    def reserve(self, reservation: Reservation) -> Answer:
        """Hold the amounts of all lines, or nothing."""
        check_amounts([line.amount for line in reservation.lines])
        names = [name_of(line.account) for line in reservation.lines]
        self._courier.start()
        with self._storage.transaction() as connection:
            desk = _Desk(connection, self._now())
            desk.expire()
            held = [
                desk.open(name, line.account) for name, line in zip(names, reservation.lines, strict=True)
            ]
            short, longest = None, -1
            for index, (line, books) in enumerate(zip(reservation.lines, held, strict=True)):
                limit = line.account.limit
                if not line.soft and books.used + books.held + line.amount > limit.amount:
                    wait = books.wait(desk.now, limit.amount, line.amount)
                    if wait > longest:
                        short, longest = index, wait
            if short is None:
                self._make_room(desk)
                for name, line, books in zip(names, reservation.lines, held, strict=True):
                    books.held += line.amount
                    desk.hold(reservation, name, line)
            desk.close()
            return Answer(short, max(0, longest) / _MICRO, tuple(map(desk.balance, held)))

    async def areserve(self, reservation: Reservation) -> Answer:
        """Do as `reserve`: it takes a moment of the disk."""
        return self.reserve(reservation)

    def settle(self, bills: Sequence[Bill]) -> list[Settled]:
        """Book what was really used."""
        for bill in bills:
            check_amounts(bill.amounts)
        with self._storage.transaction() as connection:
            desk = _Desk(connection, self._now())
            desk.expire()
            settled = [self._settle(desk, bill) for bill in bills]
            desk.close()
        return settled

    def post(self, bill: Bill, done: Done) -> None:
        """Settle soon, from a thread of its own."""
        self._courier.post(bill, done)

    @property
    def pending(self) -> bool:
        """Whether posted bills are not booked yet."""
        return self._courier.pending

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until posted bills are booked; return whether all are."""
        return self._courier.flush(seconds)

    def balances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Return how accounts stand."""
        with self._storage.transaction() as connection:
            desk = _Desk(connection, self._now())
            desk.expire()
            balances = [desk.balance(desk.open(name_of(account), account)) for account in accounts]
            desk.close()
        return balances

    async def abalances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Do as `balances`: it takes a moment of the disk."""
        return self.balances(accounts)

    def reset(self, accounts: Sequence[Account]) -> None:
        """Forget what was spent; what is held stays held."""
        with self._storage.transaction() as connection:
            connection.executemany(
                "UPDATE budget_accounts SET buckets = '{}', told = '{}', idle_at = clock WHERE name = ?",
                [(name_of(account),) for account in accounts],
            )

    def health(self) -> dict[str, Any]:
        """Look whether the database answers."""
        try:
            self._storage.query("SELECT 1 FROM budget_accounts LIMIT 1")
        except Unavailable:
            return {"ok": False, "ledger": "sqlite"}
        return {"ok": True, "ledger": "sqlite"}

    def close(self) -> None:
        """Book what is waiting. The storage stays open: it is its owner's."""
        self._courier.close()

    async def aclose(self) -> None:
        """Do as `close`."""
        self.close()

    def _settle(self, desk: _Desk, bill: Bill) -> Settled:
        entries = []
        for line, amount in zip(bill.reservation.lines, bill.amounts, strict=True):
            name = name_of(line.account)
            books = desk.open(name, line.account)
            hold = desk.take(bill.reservation.id, name)
            known = hold is not None or bill.unheld
            rest = amount
            if hold is not None:
                held, is_open, bucket = hold
                if is_open:
                    books.held -= held
                elif bucket is not None:
                    # It was charged when it expired: the rest is booked, and what was too much is given back.
                    rest = max(0, amount - held)
                    books.give_back(bucket, max(0, held - amount))
            if known:
                books.spend(desk.now, rest)
            told = books.tell(desk.now, line.marks) if known else ()
            entries.append(Entry(known, desk.balance(books), told))
        return tuple(entries)

    def _make_room(self, desk: _Desk) -> None:
        """Forget idle accounts.

        Raises:
            Unavailable: There is no room for new ones.
        """
        new = desk.forget_idle(_SWEEP)
        self._until_count -= new
        if not new or self._until_count >= 0:
            return
        room = self.max_accounts - desk.count() - new
        if room < 0:
            raise Unavailable(
                f"the ledger keeps {self.max_accounts} accounts and all are in use; raise max_accounts",
                code="unavailable.quota",
            )
        self._until_count = min(_COUNT_EVERY, room)

    def _now(self) -> int:
        return int(self._clock.time() * _MICRO)


class _Desk:
    """The accounts that one transaction opens, and writes back when it closes."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self._connection = connection
        self.now = now
        self._opened: dict[str, Books] = {}
        self._fresh: set[str] = set()

    def open(self, name: str, account: Account) -> Books:
        """Return the books of an account, as they are now."""
        books = self._open(name, Window.of(account.limit))
        assert books is not None  # noqa: S101  (there is a window to open new ones with)
        return books

    def _open(self, name: str, window: Window | None = None) -> Books | None:
        books = self._opened.get(name)
        if books is not None:
            return books
        row = self._connection.execute(
            "SELECT window, held, buckets, told, clock FROM budget_accounts WHERE name = ?", (name,)
        ).fetchone()
        if row is None:
            if window is None:
                return None
            books = Books(window)
            self._fresh.add(name)
        else:
            books = Books(window or Window(*json.loads(row[0])))
            books.held = row[1]
            books.buckets = {int(bucket): amount for bucket, amount in json.loads(row[2]).items()}
            books.told = {int(mark): moment for mark, moment in json.loads(row[3]).items()}
            books.used = sum(books.buckets.values())
            if row[4] > self.now:
                # The clock was set back: nothing is held for longer from now on than it was meant to be.
                self._connection.execute(
                    "UPDATE budget_holds SET until = ? + ttl WHERE account = ? AND open = 1 AND until > ? + ttl",
                    (self.now, name, self.now),
                )
        books.turn_to(self.now)
        self._opened[name] = books
        return books

    def hold(self, reservation: Reservation, name: str, line: Line) -> None:
        """Write down that a line is held."""
        ttl = math.ceil(reservation.ttl_seconds * _MICRO)
        self._connection.execute(
            "INSERT INTO budget_holds VALUES (?, ?, ?, ?, ?, 1, NULL, ?)",
            (reservation.id, name, line.amount, ttl, reservation.on_expiry == "charge", self.now + ttl),
        )

    def take(self, id_: str, name: str) -> tuple[int, int, int | None] | None:
        """Strike a hold out; return its amount, whether it was open, and where it was charged when it expired."""
        row: tuple[int, int, int | None] | None = self._connection.execute(
            "SELECT amount, open, bucket FROM budget_holds WHERE reservation = ? AND account = ?", (id_, name)
        ).fetchone()
        if row is not None:
            self._connection.execute(
                "DELETE FROM budget_holds WHERE reservation = ? AND account = ?", (id_, name)
            )
        return row

    def expire(self) -> None:
        """Let go of what nobody settled in time."""
        rows = self._connection.execute(
            "SELECT reservation, account, amount, charges, open, until FROM budget_holds WHERE until <= ?"
            " ORDER BY until LIMIT ?",
            (self.now, _DUE),
        ).fetchall()
        for id_, name, amount, charges, is_open, until in rows:
            books = self._open(name) if is_open else None
            bucket = None
            if books is not None:  # else it held nothing, and the account was forgotten
                books.held -= amount
                bucket = books.spend(until, amount) if charges else None
                books.turn_to(self.now)
            late = until + LATE_SECONDS * _MICRO
            if not is_open or late <= self.now:
                self.take(id_, name)
                continue
            self._connection.execute(
                "UPDATE budget_holds SET open = 0, bucket = ?, until = ? WHERE reservation = ? AND account = ?",
                (bucket, late, id_, name),
            )

    def forget_idle(self, most: int) -> int:
        """Delete some accounts that have nothing to say; return how many new ones are about to be written."""
        self._connection.execute(
            "DELETE FROM budget_accounts WHERE name IN"
            " (SELECT name FROM budget_accounts WHERE held = 0 AND idle_at <= ? LIMIT ?)",
            (self.now, most),
        )
        return len(self._fresh)

    def count(self) -> int:
        """Return how many accounts there are."""
        return int(self._connection.execute("SELECT count(*) FROM budget_accounts").fetchone()[0])

    def balance(self, books: Books) -> Balance:
        """Return how an account stands."""
        return Balance(books.used, books.held, books.reset(self.now) / _MICRO)

    def close(self) -> None:
        """Write back what was opened."""
        for name, books in self._opened.items():
            if name in self._fresh and not books.held and not books.buckets:
                continue
            self._connection.execute(
                "INSERT OR REPLACE INTO budget_accounts VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    name,
                    json.dumps([books.window.period, books.window.step]),
                    books.held,
                    json.dumps(books.buckets),
                    json.dumps(books.told),
                    self.now,
                    self.now + books.reset(self.now),
                ),
            )
