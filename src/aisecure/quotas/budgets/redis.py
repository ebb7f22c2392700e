"""Budgets on Redis: any number of processes share them, in one round trip for all accounts of a call."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aisecure._flow import Effect, Flow, adrive, drive
from aisecure.quotas._redis_connections import RedisConnections, unavailable
from aisecure.quotas._redis_wire import Script, request
from aisecure.quotas.budgets.courier import Courier
from aisecure.quotas.budgets.ledger import (
    Account,
    Answer,
    Balance,
    Bill,
    Done,
    Entry,
    Reservation,
    Settled,
    check_amounts,
)
from aisecure.quotas.budgets.names import name_of
from aisecure.quotas.budgets.notation import BudgetLimit
from aisecure.quotas.budgets.windows import Window
from aisecure.quotas.rates import UNITS
from aisecure.quotas.store import tag_of

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisLedger"]

#: First words of every key; the number is the version of what is stored under it.
_PREFIX = "aisecure:b1"


class RedisLedger:
    """Budgets on Redis (6.2 or later), by that server's clock; needs ``aisecure[redis]``.

    A reservation is one EVALSHA whatever the number of its accounts, and so is a settlement; several that come at once
    go together. Keys carry the tenant as hash tag and a digest of the rest, and expire by themselves. On a Cluster
    accounts that all tenants share are a second round trip, and what the first held is given back when the second
    refuses. Run Redis with persistence and ``maxmemory-policy noeviction``: a server that loses its data forgets what
    was spent.

    Nothing is held twice. When the answer to a reservation is lost, the call is refused as unavailable, and what may
    be held is given back. A settlement that could not be sent is kept and sent again; the server books each once.
    After a fork the child opens connections of its own. Asynchronous code awaits `aclose` before its event loop ends.

    Args:
        url: As for `RedisStore`; never shown.
        timeout_seconds: For connecting, for an answer, and for a free connection, each.
        max_connections: For plain code; and as many for each event loop.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    over_network = True
    waits = True

    def __init__(
        self, url: str | SecretStr, *, timeout_seconds: float = 0.5, max_connections: int = 50
    ) -> None:
        self.connections = RedisConnections(
            url, timeout_seconds=timeout_seconds, max_connections=max_connections
        )
        self.script = _script()
        self._courier = Courier(self.settle)

    def __repr__(self) -> str:
        return "RedisLedger()"

    def reserve(self, reservation: Reservation) -> Answer:
        """Hold the amounts of all lines, or nothing."""
        return drive(self._reserve(reservation))

    async def areserve(self, reservation: Reservation) -> Answer:
        """Do as `reserve`, in a coroutine."""
        return await adrive(self._reserve(reservation))

    def settle(self, bills: Sequence[Bill]) -> list[Settled]:
        """Book what was really used, by blocking; calls are settled through `post`."""
        for bill in bills:
            check_amounts(bill.amounts)
        entries: list[list[Entry | None]] = [[None] * len(bill.amounts) for bill in bills]
        places = [(which, index) for which, bill in enumerate(bills) for index in range(len(bill.amounts))]
        accounts = [bills[which].reservation.lines[index].account for which, index in places]
        for group in self._groups(accounts):
            words: list[bytes] = [b"settle"]
            for place in group:
                which, index = places[place]
                bill = bills[which]
                line = bill.reservation.lines[index]
                words += [
                    bill.reservation.id.encode(),
                    b"%d" % line.amount,
                    b"%d" % bill.amounts[index],
                    _kept(bill.reservation),
                    b"1" if bill.unheld else b"0",
                    *_words_of(line.account.limit),
                    b",".join([b"%d" % mark for mark in line.marks]),
                ]
            answer = self.connections.run(
                self.script, request(_keys([accounts[place] for place in group]), words)
            )
            try:
                for place, at in zip(group, range(0, len(answer), 5), strict=True):
                    which, index = places[place]
                    known, told, *balance = answer[at : at + 5]
                    marks = tuple(int(mark) for mark in told.split(b",") if mark)
                    entries[which][index] = Entry(bool(known), _balance(*balance), marks)
            except (TypeError, ValueError) as err:
                raise unavailable(err) from err
        return [tuple(entry for entry in each if entry is not None) for each in entries]

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
        return drive(self._each(b"look", accounts))

    async def abalances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Do as `balances`, in a coroutine."""
        return await adrive(self._each(b"look", accounts))

    def reset(self, accounts: Sequence[Account]) -> None:
        """Forget what was spent; what is held stays held."""
        drive(self._each(b"reset", accounts))

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        health = self.connections.health()
        return {
            "ok": health["ok"],
            "ledger": "redis",
            **{k: v for k, v in health.items() if k == "error_type"},
        }

    def close(self) -> None:
        """Book what is waiting, and close all connections."""
        self._courier.close()
        self.connections.close()

    async def aclose(self) -> None:
        """Book what is waiting, and close the connections of this event loop, before it ends."""
        import asyncio

        if self.pending:
            await asyncio.get_running_loop().run_in_executor(None, self.flush)
        await self.connections.aclose()

    def _reserve(self, reservation: Reservation) -> Flow[Answer]:
        lines = reservation.lines
        check_amounts([line.amount for line in lines])
        self._courier.start()
        balances: list[Balance | None] = [None] * len(lines)
        short, longest = None, -1.0
        start = (b"hold", reservation.id.encode(), b"%d" % math.ceil(reservation.ttl_seconds * 1_000_000))
        groups = self._groups([line.account for line in lines])
        try:
            for group in groups:
                words = list(start)
                for index in group:
                    line = lines[index]
                    words += [
                        b"%d" % line.account.limit.amount,
                        *_words_of(line.account.limit),
                        b"%d" % line.amount,
                        b"1" if line.soft else b"0",
                        _kept(reservation),
                    ]
                answer = yield self._trip([lines[index].account for index in group], words)
                try:
                    which, wait, *told = answer
                    seconds = int(wait) / 1e6
                    for index, at in zip(group, range(0, len(told), 3), strict=True):
                        balances[index] = _balance(*told[at : at + 3])
                except (TypeError, ValueError) as err:
                    raise unavailable(err) from err
                if which:
                    short, longest = group[which - 1], seconds
                    break
        except BaseException:
            # Nobody knows whether it arrived: give back what may be held. Also when the caller was cancelled.
            self._give_back(reservation)
            raise
        if short is not None and len(groups) > 1:
            self._give_back(reservation)
        return Answer(short, max(0.0, longest), tuple(balances))

    def _give_back(self, reservation: Reservation) -> None:
        self.post(Bill(reservation, (0,) * len(reservation.lines)), _ignore)

    def _each(self, what: bytes, accounts: Sequence[Account]) -> Flow[list[Balance]]:
        balances: list[Balance] = [Balance(0, 0, 0.0)] * len(accounts)
        for group in self._groups(accounts):
            part = [accounts[index] for index in group]
            words = [what] + [word for account in part for word in _words_of(account.limit)]
            answer = yield self._trip(part, words)
            try:
                for index, at in zip(group, range(0, len(answer), 3), strict=True):
                    balances[index] = _balance(*answer[at : at + 3])
            except (TypeError, ValueError) as err:
                raise unavailable(err) from err
        return balances

    def _trip(self, accounts: Sequence[Account], words: Sequence[bytes]) -> Effect:
        return Effect(
            self.connections.run, self.connections.arun, (self.script, request(_keys(accounts), words))
        )

    def _groups(self, accounts: Sequence[Account]) -> list[list[int]]:
        """Return positions of accounts that can go in one trip."""
        if not self.connections.is_cluster:
            return [list(range(len(accounts)))] if accounts else []
        groups: dict[str, list[int]] = {}
        for index, account in enumerate(accounts):
            groups.setdefault(tag_of(account.subject[0]), []).append(index)
        return list(groups.values())


@cache
def _script() -> Script:
    return Script(files(__package__).joinpath("budget.lua").read_bytes())


def _keys(accounts: Sequence[Account]) -> list[bytes]:
    """Return the two keys of each account."""
    keys = []
    for account in accounts:
        key = f"{_PREFIX}:{{{tag_of(account.subject[0])}}}:{name_of(account)}".encode()
        keys += [key, key + b":h"]
    return keys


def _words_of(limit: BudgetLimit) -> tuple[bytes, bytes, bytes]:
    window = Window.of(limit)
    calendar = {UNITS["month"]: b"m", UNITS["year"]: b"y"}
    kind = b"s" if window.step else calendar.get(limit.seconds, b"c")
    return b"%d" % window.period, b"%d" % window.step, kind


def _kept(reservation: Reservation) -> bytes:
    return b"c" if reservation.on_expiry == "charge" else b"o"


def _balance(used: bytes, held: bytes, reset: bytes) -> Balance:
    return Balance(int(used), int(held), int(reset) / 1e6)


def _ignore(_: object) -> None:
    """Be told of what nobody waits for."""
