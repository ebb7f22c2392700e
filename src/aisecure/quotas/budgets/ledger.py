"""What a place that keeps budgets has to offer, and the records that go in and out.

A reservation holds an amount of each of its accounts: of all of them, or of none. While it is open the amount is held;
what was really used is booked when it is settled. So whatever moment of a call its tokens flowed at, no window holds
more than the limit.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from aisecure.quotas.budgets.notation import MAX_AMOUNT, BudgetLimit
from aisecure.quotas.store import Subject

__all__ = [
    "LATE_SECONDS",
    "MAX_TTL_SECONDS",
    "Account",
    "Answer",
    "Balance",
    "Bill",
    "Done",
    "Entry",
    "Expiry",
    "Ledger",
    "Line",
    "Reservation",
    "Settled",
]

Expiry = Literal["release", "charge"]

#: How long after it expired a reservation can still be settled. Later settlements change nothing, and are told.
LATE_SECONDS = 86_400

#: The longest that a reservation may be held.
MAX_TTL_SECONDS = 7 * 86_400


class Account(NamedTuple):
    """What one limit counts for one subject.

    Attributes:
        name: Of the budget; the same in every process.
        subject: The tenant, then the parts of the key.
        limit: What is allowed. Another limit is another account.
    """

    name: str
    subject: Subject
    limit: BudgetLimit


class Line(NamedTuple):
    """What a call may spend from one account at most.

    Attributes:
        account: From which.
        amount: Held until the call is settled.
        soft: Held also where there is no room.
        marks: Amounts of which it is to be told when the account has spent them; each is told once a window.
    """

    account: Account
    amount: int
    soft: bool = False
    marks: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is held for one call.

    Its id is made before anything is sent, so that it can be given back when the answer of the ledger was lost.

    Attributes:
        lines: Each account at most once.
        ttl_seconds: After this long it expires.
        on_expiry: Whether the hold is then released, or charged.
        id: 128 random bits.
    """

    lines: tuple[Line, ...]
    ttl_seconds: float
    on_expiry: Expiry
    id: str

    @classmethod
    def of(
        cls, lines: Sequence[Line], *, ttl_seconds: float = 600.0, on_expiry: Expiry = "release"
    ) -> Reservation:
        """Return a reservation to ask for.

        Raises:
            ValueError: No line, an account twice, or a number out of range.
            TypeError: An amount is no whole number.
        """
        lines = tuple(lines)
        check_amounts([line.amount for line in lines])
        if not lines or len({line.account for line in lines}) != len(lines):
            raise ValueError("a reservation has at least one line, and each account at most once")
        return cls(lines, ttl_seconds, on_expiry, os.urandom(16).hex())


class Balance(NamedTuple):
    """How an account stands.

    Attributes:
        used: What is spent and still counts.
        held: What is held for calls on their way.
        reset_seconds: When all that is spent has come back, if nothing else is spent.
    """

    used: int
    held: int
    reset_seconds: float


class Answer(NamedTuple):
    """What a ledger says to a reservation.

    Attributes:
        short: Position of the line without room that takes longest to have it; None when the reservation is held.
        retry_after: Seconds until there is room in all lines, if nothing else is spent and what is held is given back.
        balances: Of the accounts of all lines, as they are now; None for those that were not asked any more.
    """

    short: int | None
    retry_after: float
    balances: tuple[Balance | None, ...]

    @property
    def held(self) -> bool:
        """Whether the reservation is held."""
        return self.short is None


class Bill(NamedTuple):
    """What a reservation really used.

    Attributes:
        reservation: Which.
        amounts: For each line.
        unheld: Charge it also if the ledger knows nothing of the reservation, since it was never confirmed.
    """

    reservation: Reservation
    amounts: tuple[int, ...]
    unheld: bool = False


class Entry(NamedTuple):
    """What became of one line of a bill.

    Attributes:
        known: Whether the amount was booked. A repeated bill is not known, nor one that comes more than
            `LATE_SECONDS` after the reservation expired.
        balance: Of the account, after it.
        marks: Which of the line's marks are reached and were not told yet in this window.
    """

    known: bool
    balance: Balance
    marks: tuple[int, ...]


#: What became of a bill: an entry for each line.
Settled = tuple[Entry, ...]


#: Is told what became of a bill; or why not yet, with an error, and then again.
Done = Callable[[Settled | Exception], None]


@runtime_checkable
class Ledger(Protocol):
    """A place that keeps budgets."""

    #: Whether asking it waits for a network, so that asynchronous code must await it.
    over_network: bool
    #: Whether it may wait for others (a network, a disk), so that calls are settled by a thread of its own.
    waits: bool

    def reserve(self, reservation: Reservation) -> Answer:
        """Hold the amounts of all lines; or hold nothing.

        Raises:
            Unavailable: The ledger could not answer; nothing may be let through on its account.
        """

    async def areserve(self, reservation: Reservation) -> Answer:
        """Do as `reserve`, without blocking the event loop."""

    def settle(self, bills: Sequence[Bill]) -> list[Settled]:
        """Book what was really used, and end the hold; each reservation once, whatever the number of bills for it.

        Raises:
            Unavailable: The ledger could not answer; it may have booked all the same, and asking again is safe.
        """

    def post(self, bill: Bill, done: Done) -> None:
        """Settle soon, and wait for nothing: neither for a network nor for a lock.

        Calls end anywhere: in an event loop, or where the garbage collector closes a stream that was dropped.

        Args:
            bill: What was used.
            done: Called once it is booked, from any thread; with an error when it could not be, yet.
        """

    @property
    def pending(self) -> bool:
        """Whether posted bills are not booked yet."""

    def flush(self, seconds: float = 5.0) -> bool:
        """Wait until posted bills are booked; return whether all are."""

    def balances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Return how accounts stand.

        Raises:
            Unavailable: The ledger could not answer.
        """

    async def abalances(self, accounts: Sequence[Account]) -> list[Balance]:
        """Do as `balances`, without blocking the event loop."""

    def reset(self, accounts: Sequence[Account]) -> None:
        """Forget what was spent; what is held stays held.

        Raises:
            Unavailable: The ledger could not answer.
        """

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts, at least ``{"ok": bool}``."""

    def close(self) -> None:
        """Release connections; later use opens them again."""

    async def aclose(self) -> None:
        """Release the connections of this event loop, before it ends."""


def check_amounts(amounts: Sequence[int]) -> None:
    """Check what is to be held or booked.

    Raises:
        ValueError: Below 0, or above `MAX_AMOUNT`.
        TypeError: No whole number.
    """
    for amount in amounts:
        if type(amount) is not int:
            raise TypeError(f"an amount is a whole number, not {type(amount).__name__}")
        if not 0 <= amount <= MAX_AMOUNT:
            raise ValueError(f"an amount is from 0 to {MAX_AMOUNT}")
