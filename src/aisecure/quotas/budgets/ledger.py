"""What a place that keeps budgets has to offer, and the records that pass between it and `TokenBudget`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

from aisecure.quotas.budgets.notation import Amount
from aisecure.quotas.store import Subject

__all__ = ["Ledger", "Line", "Reservation", "Shortage", "State"]


class Line(NamedTuple):
    """One limit that a call has to pass.

    Attributes:
        name: Of the budget; separates its sums from those of others.
        limit: What it allows.
        subject: Tenant and parts of the key.
        soft: Never refuses; it only counts.
    """

    name: str
    limit: Amount
    subject: Subject
    soft: bool = False


class State(NamedTuple):
    """How much of one limit counts at this moment.

    Attributes:
        used: Tokens or billionths, reservations included.
        reserved: The part held for calls on their way; 0 where the ledger was not asked for it.
        reset_seconds: Until everything is free again, if nothing else is spent.
    """

    used: int
    reserved: int
    reset_seconds: float


class Shortage(NamedTuple):
    """Why a reservation was not made.

    Attributes:
        line: Position of the line that takes longest to have room.
        retry_after: Seconds until it has, if nothing is given back before.
    """

    line: int
    retry_after: float


@dataclass(frozen=True, slots=True)
class Reservation:
    """What is held for a call.

    Attributes:
        id: Unique; a settlement under it counts once.
        lines: What was reserved from.
        amounts: How much, for each line.
        places: Where each was booked; the ledger's own affair.
        states: Of each line, after it.
        expired: How many reservations of others were found unsettled after their time.
    """

    id: str
    lines: tuple[Line, ...]
    amounts: tuple[int, ...]
    places: tuple[int, ...]
    states: tuple[State, ...]
    expired: int = 0


@runtime_checkable
class Ledger(Protocol):
    """A place that keeps budgets."""

    #: Whether it is asked over a network, so that asynchronous code must await it.
    over_network: bool
    #: Whether other processes see the same sums.
    is_shared: bool

    def reserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Hold an amount of every line; or of none and say why.

        Args:
            lines: What to reserve from, each limit of a subject once.
            amounts: How much of each, at most what its limit allows.
            ttl_seconds: How long an unsettled reservation holds.

        Raises:
            Unavailable: The ledger could not answer, or has no room for another account.
        """

    async def areserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Do as `reserve`, without blocking the event loop."""

    def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[State, ...]:
        """Put what was really used in the place of what was held; return the state of each line.

        A second time it changes nothing. After the reservation expired what was used is charged all the same.

        Raises:
            Unavailable: The ledger could not answer; it may be tried again.
        """

    def look(self, lines: Sequence[Line]) -> tuple[State, ...]:
        """Return the state of each line; nothing is spent.

        Raises:
            Unavailable: The ledger could not answer.
        """

    def reset(self, lines: Sequence[Line]) -> None:
        """Forget what was spent and reserved.

        Raises:
            Unavailable: The ledger could not answer.
        """

    def health(self) -> dict[str, Any]:
        """Return JSON-ready facts, at least ``{"ok": bool}``."""

    def close(self) -> None:
        """Release connections; later use opens them again."""
