"""Budgets in the embedded database: a month's money survives a restart, and the processes of one machine share it."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from aisecure.errors import Unavailable
from aisecure.ports import Clock, SystemClock
from aisecure.quotas.budgets import _accounts
from aisecure.quotas.budgets.account import MICRO, Account, place_of
from aisecure.quotas.budgets.ledger import Line, Reservation, Shortage, State
from aisecure.quotas.budgets.notation import Amount
from aisecure.quotas.store import canonical
from aisecure.storage import Storage

__all__ = ["SqliteLedger"]

#: Keys are digests: the file names no person.
_STEPS = (
    """
    CREATE TABLE quotas_budget (
        key BLOB PRIMARY KEY,
        data TEXT NOT NULL,
        ends INTEGER NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX quotas_budget_ends ON quotas_budget (ends);
    """,
)

#: Rows that are over and are removed with each new reservation.
_SWEEP = 4


class SqliteLedger:
    """Keeps budgets in the embedded database, by the wall clock; any number of threads and processes may share it.

    A reservation and a settlement are a transaction each; the disk is not waited for (WAL, ``synchronous=NORMAL``), so
    a machine that loses power may forget the last ones, and a process that is killed forgets none.

    Args:
        storage: The embedded database.
        clock: Time; its ``time`` is used.
    """

    over_network = False
    is_shared = True

    def __init__(self, storage: Storage, *, clock: Clock | None = None) -> None:
        self._storage = storage
        self._clock = clock or SystemClock()
        storage.migrate("quotas", _STEPS)

    def __repr__(self) -> str:
        return "SqliteLedger()"

    def reserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Hold an amount of every line; or of none and say why."""
        with self._opened(lines) as accounts:
            return _accounts.reserve(accounts, lines, amounts, ttl_seconds, self._now)

    async def areserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Do as `reserve`; the database is a local file and answers at once."""
        return self.reserve(lines, amounts, ttl_seconds)

    def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[State, ...]:
        """Put what was really used in the place of what was held."""
        with self._opened(reservation.lines) as accounts:
            return _accounts.settle(accounts, reservation, amounts, self._now)

    def look(self, lines: Sequence[Line]) -> tuple[State, ...]:
        """Return the state of each line; nothing is spent."""
        rows = [
            self._storage.query("SELECT data FROM quotas_budget WHERE key = ?", (_key(line),))
            for line in lines
        ]
        return _accounts.look([_account(found[0][0] if found else None) for found in rows], lines, self._now)

    def reset(self, lines: Sequence[Line]) -> None:
        """Forget what was spent and reserved."""
        with self._storage.transaction() as connection:
            for line in lines:
                connection.execute("DELETE FROM quotas_budget WHERE key = ?", (_key(line),))

    def health(self) -> dict[str, Any]:
        """Ask the database whether it is there."""
        try:
            ((count,),) = self._storage.query("SELECT count(*) FROM quotas_budget")
        except Unavailable as err:
            return {"ok": False, "ledger": "sqlite", "error_type": type(err).__name__}
        return {"ok": True, "ledger": "sqlite", "accounts": count}

    def close(self) -> None:
        """Do nothing: the database is its owner's to close."""

    def _now(self, limit: Amount) -> int:
        return round(self._clock.time() * MICRO)

    @contextmanager
    def _opened(self, lines: Sequence[Line]) -> Iterator[list[Account]]:
        """Lend accounts, and store what became of them, in one transaction."""
        with self._storage.transaction() as connection:
            accounts = [_load(connection, line) for line in lines]
            yield accounts
            for line, account in zip(lines, accounts, strict=True):
                self._store(connection, line, account)
            connection.execute(
                "DELETE FROM quotas_budget WHERE key IN (SELECT key FROM quotas_budget WHERE ends <= ? LIMIT ?)",
                (self._now(lines[0].limit), _SWEEP),
            )

    def _store(self, connection: sqlite3.Connection, line: Line, account: Account) -> None:
        now = self._now(line.limit)
        ends = max(
            (
                now + account.reset_in(place_of(line.limit, now), now),
                *(until for _, _, until in account.held.values()),
                *account.settled.values(),
            )
        )
        data = json.dumps(account.to_data(), separators=(",", ":"))
        connection.execute(
            "INSERT INTO quotas_budget VALUES (?, ?, ?)"
            " ON CONFLICT (key) DO UPDATE SET data = excluded.data, ends = excluded.ends",
            (_key(line), data, ends),
        )


def _load(connection: sqlite3.Connection, line: Line) -> Account:
    row = connection.execute("SELECT data FROM quotas_budget WHERE key = ?", (_key(line),)).fetchone()
    return _account(row[0] if row else None)


def _account(data: str | None) -> Account:
    if data is None:
        return Account()
    try:
        return Account.from_data(json.loads(data))
    except (ValueError, TypeError, KeyError) as err:
        raise Unavailable(
            f"a stored budget cannot be read ({type(err).__name__})", code="unavailable.quota"
        ) from err


def _key(line: Line) -> bytes:
    digest = hashlib.sha256()
    for part in (line.name, line.limit.id, *canonical(line.subject)):
        raw = (
            b"=" + part.encode("utf-8", "surrogatepass")
            if isinstance(part, str)
            else b"#" + part[0].encode() + part[1]
        )
        digest.update(len(raw).to_bytes(4, "big") + raw)
    return digest.digest()
