"""Reserving from several accounts at once, all or none: what memory and the embedded database share."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence

from aisecure.quotas.budgets.account import MICRO, Account, Place, place_of
from aisecure.quotas.budgets.ledger import Line, Reservation, Shortage, State
from aisecure.quotas.budgets.notation import Amount

__all__ = ["look", "reserve", "settle"]

#: Microseconds now, by the clock that a limit's window is reckoned with.
Now = Callable[[Amount], int]


def reserve(
    accounts: Sequence[Account], lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float, now: Now
) -> Reservation | Shortage:
    """Hold amounts in accounts, all or none. The accounts are changed also when it is refused: they are tidied."""
    short, expired = Shortage(-1, 0.0), 0
    places: list[Place] = []
    for index, (account, line, amount) in enumerate(zip(accounts, lines, amounts, strict=True)):
        moment = now(line.limit)
        place = place_of(line.limit, moment)
        places.append(place)
        expired += account.tidy(place, moment)
        missing = account.used + amount - line.limit.units
        if missing > 0 and amount and not line.soft:
            wait = account.wait(place, moment, missing) / MICRO
            if wait > short.retry_after:
                short = Shortage(index, wait)
    if short.line >= 0:
        return short
    name = secrets.token_hex(12)
    for account, line, amount, place in zip(accounts, lines, amounts, places, strict=True):
        account.reserve(name, place, amount, now(line.limit) + round(ttl_seconds * MICRO))
    return Reservation(
        name,
        tuple(lines),
        tuple(amounts),
        tuple(place.bucket for place in places),
        _states(accounts, lines, now),
        expired,
    )


def settle(
    accounts: Sequence[Account],
    reservation: Reservation,
    amounts: Sequence[int],
    now: Now,
) -> tuple[State, ...]:
    """Put what was used in the place of what was held."""
    for account, line, amount in zip(accounts, reservation.lines, amounts, strict=True):
        moment = now(line.limit)
        place = place_of(line.limit, moment)
        account.tidy(place, moment)
        account.settle(reservation.id, place, amount, moment)
    return _states(accounts, reservation.lines, now)


def look(accounts: Sequence[Account], lines: Sequence[Line], now: Now) -> tuple[State, ...]:
    """Return the state of accounts, with what is held for calls on their way."""
    states = _states(accounts, lines, now)
    return tuple(
        state._replace(reserved=account.reserved) for state, account in zip(states, accounts, strict=True)
    )


def _states(accounts: Sequence[Account], lines: Sequence[Line], now: Now) -> tuple[State, ...]:
    states = []
    for account, line in zip(accounts, lines, strict=True):
        moment = now(line.limit)
        place = place_of(line.limit, moment)
        account.tidy(place, moment)
        states.append(State(account.used, 0, account.reset_in(place, moment) / MICRO))
    return tuple(states)
