"""Budgets on Redis: any number of processes share exact sums, one round trip to reserve and one to settle."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aisecure._flow import Effect, Flow, adrive, drive
from aisecure.errors import Unavailable
from aisecure.quotas._redis_connections import RedisConnections, unavailable
from aisecure.quotas._redis_wire import Script
from aisecure.quotas.budgets.account import MICRO, PARTS, REMEMBERED_SECONDS
from aisecure.quotas.budgets.ledger import Line, Reservation, Shortage, State
from aisecure.quotas.budgets.notation import Amount
from aisecure.quotas.rates import UNITS
from aisecure.quotas.redis_store import RedisStore, digest_of, framed, tag_of
from aisecure.quotas.store import canonical

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisLedger"]

#: First words of every key; the number is the version of what is stored under it.
_PREFIX = "aisecure:b1"

#: A name that a line has in no trip.
_NOBODY = "-"


class RedisLedger:
    """Keeps budgets on Redis (6.2 or later), by that server's clock; needs ``aisecure[redis]``.

    Keys carry the tenant as hash tag and a digest of the rest. On a Cluster budgets that all tenants share are a second
    round trip, and what the first reserved is given back when the second refuses. Run Redis with ``maxmemory-policy
    noeviction`` and with ``appendonly yes``: a month's money should survive a restart.

    Args:
        url: As for `RedisStore`; or a `RedisStore`, whose connections are shared.
        timeout_seconds, max_connections: As for `RedisStore`.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    over_network = True
    is_shared = True

    def __init__(
        self, url: str | SecretStr | RedisStore, *, timeout_seconds: float = 0.5, max_connections: int = 50
    ) -> None:
        self.connections = (
            url.connections
            if isinstance(url, RedisStore)
            else RedisConnections(url, timeout_seconds=timeout_seconds, max_connections=max_connections)
        )
        self.script = _script()

    def __repr__(self) -> str:
        return "RedisLedger()"

    def reserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Hold an amount of every line; or of none and say why."""
        return drive(self._reserve(lines, amounts, ttl_seconds))

    async def areserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Reservation | Shortage:
        """Do as `reserve`, in a coroutine."""
        return await adrive(self._reserve(lines, amounts, ttl_seconds))

    def settle(self, reservation: Reservation, amounts: Sequence[int]) -> tuple[State, ...]:
        """Put what was really used in the place of what was held."""
        return drive(self._settle(reservation, amounts))

    def look(self, lines: Sequence[Line]) -> tuple[State, ...]:
        """Return the state of each line; nothing is spent."""
        return drive(self._look(lines))

    def reset(self, lines: Sequence[Line]) -> None:
        """Forget what was spent and reserved."""
        for group in self._groups(lines):
            self.connections.run(_FORGET, [key for index in group for key in _keys(lines[index])], ())

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        facts = self.connections.health()
        return {"ok": facts["ok"], "ledger": "redis", **{k: v for k, v in facts.items() if k == "error_type"}}

    def close(self) -> None:
        """Close all connections; those of a running event loop are closed by it, a moment later."""
        self.connections.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        await self.connections.aclose()

    def _reserve(
        self, lines: Sequence[Line], amounts: Sequence[int], ttl_seconds: float
    ) -> Flow[Reservation | Shortage]:
        name = secrets.token_hex(12)
        places, states, expired = [0] * len(lines), [State(0, 0, 0.0)] * len(lines), 0
        booked: list[int] = []
        for group in self._groups(lines):
            words = [_words(lines[i], ttl_seconds, amounts[i]) for i in group]
            try:
                answer = yield self._trip("reserve", name, ttl_seconds, [lines[i] for i in group], words)
                told = _Told(answer, len(group))
            except BaseException:
                yield from self._take_back(name, lines, amounts, places, booked)
                raise
            if told.short:
                yield from self._take_back(name, lines, amounts, places, booked)
                return Shortage(group[told.short - 1], told.number / MICRO)
            expired += told.number
            for index, place, state in zip(group, told.places, told.states, strict=True):
                places[index], states[index] = place, state
            booked += group
        return Reservation(name, tuple(lines), tuple(amounts), tuple(places), tuple(states), expired)

    def _take_back(
        self,
        name: str,
        lines: Sequence[Line],
        amounts: Sequence[int],
        places: Sequence[int],
        booked: Sequence[int],
    ) -> Flow[None]:
        for index in booked:
            words = _words(lines[index], 0, 0, places[index], amounts[index])
            # What cannot be given back expires; the refusal stands.
            with suppress(Unavailable):
                yield self._trip("settle", name, REMEMBERED_SECONDS, [lines[index]], [words])

    def _settle(self, reservation: Reservation, amounts: Sequence[int]) -> Flow[tuple[State, ...]]:
        lines = reservation.lines
        states = list(reservation.states)
        for group in self._groups(lines):
            words = [
                _words(
                    lines[i], REMEMBERED_SECONDS, amounts[i], reservation.places[i], reservation.amounts[i]
                )
                for i in group
            ]
            answer = yield self._trip(
                "settle", reservation.id, REMEMBERED_SECONDS, [lines[i] for i in group], words
            )
            for index, state in zip(group, _Told(answer, len(group)).states, strict=True):
                states[index] = state
        return tuple(states)

    def _look(self, lines: Sequence[Line]) -> Flow[tuple[State, ...]]:
        states = [State(0, 0, 0.0)] * len(lines)
        for group in self._groups(lines):
            words = [_words(lines[i], 0, 0) for i in group]
            answer = yield self._trip("look", _NOBODY, 0, [lines[i] for i in group], words)
            for index, state in zip(group, _Told(answer, len(group)).states, strict=True):
                states[index] = state
        return tuple(states)

    def _trip(
        self, what: str, name: str, ttl_seconds: float, lines: Sequence[Line], words: Sequence[list[bytes]]
    ) -> Effect:
        keys = [key for line in lines for key in _keys(line)]
        args = [what.encode(), name.encode(), b"%d" % round(ttl_seconds * MICRO)]
        return Effect(
            self.connections.run,
            self.connections.arun,
            (self.script, keys, [*args, *(word for line in words for word in line)]),
        )

    def _groups(self, lines: Sequence[Line]) -> list[list[int]]:
        """Return positions of lines that can go in one trip, a tenant's own before those of everybody."""
        if not self.connections.is_cluster:
            return [list(range(len(lines)))]
        groups: dict[str, list[int]] = {}
        for index, line in enumerate(lines):
            groups.setdefault(line.subject[0], []).append(index)
        return list(groups.values())


class _Told:
    """An answer of the script, taken apart."""

    def __init__(self, answer: Any, count: int) -> None:
        try:
            short, number, *told = answer
            self.short, self.number = int(short), int(number)
            rows = [told[4 * index : 4 * index + 4] for index in range(0 if self.short else count)]
            self.places = [int(row[0]) for row in rows]
            self.states = [State(int(row[1]), int(row[2]), int(row[3]) / MICRO) for row in rows]
        except (TypeError, ValueError, IndexError) as err:
            raise unavailable(err) from err


@cache
def _script() -> Script:
    return Script(files(__package__).joinpath("budget.lua").read_bytes())


_FORGET = Script(b"return redis.call('DEL', unpack(KEYS))")


def _keys(line: Line) -> list[bytes]:
    subject = canonical(line.subject)
    digest = hashlib.sha256(
        framed(line.name.encode("utf-8", "surrogatepass")) + framed(line.limit.id.encode())
    )
    key = f"{_PREFIX}:{{{tag_of(subject[0])}}}:{digest_of(digest, subject)}".encode()
    return [key, key + b":held"]


def _words(line: Line, ttl_seconds: float, amount: int, place: int = 0, reserved: int = 0) -> list[bytes]:
    """Return what the script is told of one account."""
    limit: Amount = line.limit
    period = limit.seconds * MICRO
    if limit.window == "sliding":
        width = max(1, period // PARTS)
        window, span = b"s", -(-period // width) + 1
    else:
        window = {UNITS["month"]: b"m", UNITS["year"]: b"y"}.get(limit.seconds, b"u")
        width, span = (period if window == b"u" else 0), 1
    # A bucket more than a period may count, and months and years of the calendar are longer than 30 and 360 days.
    alive = limit.seconds * 1_000 * 62 // 60 + 6 * 86_400_000 * (window in b"my") + round(ttl_seconds * 1_000)
    numbers = (width, span, -1 if line.soft else limit.units, amount, place, reserved, alive + 1_000)
    return [window, *(b"%d" % number for number in numbers)]
