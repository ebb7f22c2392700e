"""Counting on Redis: several processes share one exact count, in one round trip for all limits of a call."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from aisecure._flow import Effect, Flow, adrive, drive
from aisecure.errors import Unavailable
from aisecure.quotas._redis_connections import RedisConnections, unavailable
from aisecure.quotas._redis_wire import Request, Script, Wired, request
from aisecure.quotas.rates import Quota
from aisecure.quotas.store import Ask, Refusal, Subject, canonical, digest_of, framed, standing, tag_of
from aisecure.standing import Standing

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisCounter", "RedisStore"]

#: First words of every key; the number is the version of what is stored under it.
_PREFIX = "aisecure:q1"

#: How many combinations of quotas have their words packed ahead; a guard has one for each kind of resource.
_COMBINATIONS = 256

#: How many hits of a quota are kept as they go over the wire: some 500 bytes each.
_REMEMBERED = 4096


class Receipt(NamedTuple):
    """What was admitted, and the server's stamp on it, to give it back by."""

    granted: int
    stamp: bytes


class RedisStore:
    """Counts on Redis (6.2 or later), by that server's clock; needs ``aisecure[redis]``.

    A call is one EVALSHA, whatever the number of its limits. Keys carry the tenant as hash tag and a digest of the rest,
    so that all keys of a tenant lie on one node of a Cluster; the digest is not secret, it keeps names short. On a
    Cluster limits that all tenants share are a second round trip, and what the first spent is given back when the second
    refuses. Keys expire by themselves. Run Redis with ``maxmemory-policy noeviction``: a server that evicts keys forgets
    limits, and so does one that loses writes in a failover.

    Any number of threads may share a store, and any number of event loops. After a fork the child opens connections
    of its own. Nothing is tried twice: a call whose answer was lost may have been counted, and is refused. Asynchronous
    code awaits `aclose` before its event loop ends.

    Args:
        url: As for `RedisConnections`: ``redis://``, ``rediss://``, ``unix://``, ``redis+cluster://host:port,host:port`` or
            ``redis+sentinel://host:port,host:port/service``, with user and password if there are any. Never shown.
        timeout_seconds: For connecting, for an answer, and for a free connection, each.
        max_connections: For plain code; and as many for each event loop.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    over_network = True

    def __init__(
        self, url: str | SecretStr, *, timeout_seconds: float = 0.5, max_connections: int = 50
    ) -> None:
        self.connections = RedisConnections(
            url, timeout_seconds=timeout_seconds, max_connections=max_connections
        )
        self.script = script("limits.lua")
        self.refund_script = script("refund.lua")
        self._combined: dict[tuple[Quota, ...], Wired] = {}

    def __repr__(self) -> str:
        return "RedisStore()"

    def counter(self, quota: Quota, *, longer_seconds: float = 0.0) -> RedisCounter:
        """Return the counts of a quota; processes with the same server and an equal quota share them.

        Args:
            quota: What is limited.
            longer_seconds: How much longer than said every window is; counts of different lengths are apart.
        """
        return RedisCounter(quota, self, longer_seconds)

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from every limit of several quotas, or from none and say which refused and why."""
        return drive(self._hit_all(asks, cost, tell))

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, in a coroutine."""
        return await adrive(self._hit_all(asks, cost, tell))

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent."""
        for group in self._groups(asks):
            keys = [key for index in group for key in _counter(asks[index]).keys(asks[index].subject)]
            self.connections.run(_FORGET, request(keys, ()))

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        return self.connections.health()

    def close(self) -> None:
        """Close all connections; those of a running event loop are closed by it, a moment later."""
        self.connections.close()

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        await self.connections.aclose()

    def refund(self, ask: Ask, receipt: Receipt) -> Flow[None]:
        """Give back what was admitted for an ask."""
        counter = _counter(ask)
        args = (b"%d" % receipt.granted, receipt.stamp)
        yield self._trip(self.refund_script, request(counter.keys(ask.subject), args, counter.words))

    def _hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None
    ) -> Flow[tuple[int, Refusal] | None]:
        groups = self._groups(asks)
        spent: list[tuple[list[int], Receipt]] = []
        for group in groups:
            part = [asks[index] for index in group]
            # A plain answer is the cheapest; a receipt is needed only where a later group may refuse.
            mode = b"t" if tell is not None else b"r" if len(groups) > 1 else b"0"
            try:
                answer = yield self._spending(part, cost, mode)
                refused, receipt = _read(answer, part, tell)
            except BaseException:
                yield from self._take_back(asks, spent)
                raise
            if refused is not None:
                yield from self._take_back(asks, spent)
                return group[refused[0]], refused[1]
            if receipt is not None:
                spent.append((group, receipt))
        return None

    def _take_back(self, asks: Sequence[Ask], spent: list[tuple[list[int], Receipt]]) -> Flow[None]:
        for group, receipt in spent:
            for index in group:
                if receipt.granted:
                    # What cannot be given back stays spent: the refusal stands, also where unavailable would pass.
                    with suppress(Unavailable):
                        yield from self.refund(asks[index], receipt)

    def _spending(self, asks: Sequence[Ask], cost: int, mode: bytes) -> Effect:
        keys = [key for ask in asks for key in _counter(ask).keys(ask.subject)]
        return self._trip(self.script, request(keys, (b"%d" % cost, mode), self._words(asks)))

    def _trip(self, what: Script, asked: Request) -> Effect:
        return Effect(self.connections.run, self.connections.arun, (what, asked))

    def _groups(self, asks: Sequence[Ask]) -> list[list[int]]:
        """Return positions of asks that can go in one trip, a tenant's own before those of everybody."""
        if not self.connections.is_cluster or len(asks) == 1:
            return [list(range(len(asks)))]
        groups: dict[str, list[int]] = {}
        for index, ask in enumerate(asks):
            groups.setdefault(ask.subject[0], []).append(index)
        return list(groups.values())

    def _words(self, asks: Sequence[Ask]) -> Wired:
        if len(asks) == 1:
            return _counter(asks[0]).words
        quotas = tuple(ask.counter.quota for ask in asks)
        words = self._combined.get(quotas)
        if words is None:
            if len(self._combined) >= _COMBINATIONS:
                self._combined.clear()
            parts = [part for ask in asks for part in _counter(ask).words.parts]
            words = self._combined[quotas] = Wired(*parts)
        return words


class RedisCounter:
    """The counts of one quota. A hit is put together as it goes over the wire; all but key and cost is ready."""

    def __init__(self, quota: Quota, store: RedisStore, longer_seconds: float = 0.0) -> None:
        self.quota = quota
        self._store = store
        self._run, self._arun = store.connections.run, store.connections.arun
        longer = round(longer_seconds * 1e6)
        name = f"{longer} longer:{quota.id}" if longer else quota.id
        self._digest = hashlib.sha256(framed(name.encode("utf-8", "surrogatepass")))
        self._suffixes = tuple(b":%d" % index for index in range(len(quota.rates)))
        self.words = Wired(*_words_of(quota, longer))
        # Whoever calls often need not be digested each time.
        self._remembered = lru_cache(_REMEMBERED)(self._hit)

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from every rate in one round trip, or from none and say why."""
        return _plain(self._run(self._store.script, self._asked(subject, cost)))

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, in a coroutine."""
        return _plain(await self._arun(self._store.script, self._asked(subject, cost)))

    def take(
        self, subject: Subject, most: int, *, partial: bool = True
    ) -> Flow[tuple[Receipt, Refusal | None]]:
        """Spend as much of ``most`` as there is room for, or all of it; nothing, and why, when there is no room."""
        args = (b"%d" % most, b"k" if partial else b"r")
        answer = yield Effect(
            self._run, self._arun, (self._store.script, request(self.keys(subject), args, self.words))
        )
        refused, receipt = _read(answer, (Ask(self, subject),), None)
        if receipt is None:
            raise unavailable(TypeError("no receipt"))
        return receipt, None if refused is None else refused[1]

    def keys(self, subject: Subject) -> list[bytes]:
        """Return the keys of a subject, one for each rate."""
        digest = digest_of(self._digest.copy(), canonical(subject))
        key = f"{_PREFIX}:{{{tag_of(subject[0])}}}:{digest}".encode()
        return [key + suffix for suffix in self._suffixes]

    def _asked(self, subject: Subject, cost: int) -> Request:
        # Only of short texts: of others what is kept would be as large as what a caller sends.
        return (self._remembered if canonical(subject) is subject else self._hit)(subject, cost)

    def _hit(self, subject: Subject, cost: int) -> Request:
        return request(self.keys(subject), (b"%d" % cost, b"0"), self.words)


@cache
def script(name: str) -> Script:
    """Return a script of this package."""
    return Script(files(__package__).joinpath(name).read_bytes())


_FORGET = Script(b"return redis.call('DEL', unpack(KEYS))")


def _counter(ask: Ask) -> RedisCounter:
    return cast("RedisCounter", ask.counter)


def _words_of(quota: Quota, longer: int) -> list[bytes]:
    """Return what the scripts are told of a quota: five words for each rate."""
    words: list[bytes] = []
    for rate in quota.rates:
        period = rate.seconds * 1_000_000 + longer
        if quota.strategy == "gcra":
            numbers = (rate.amount, -(-period // rate.amount), 0, quota.burst or 1)
        else:
            # Expiry is reckoned in whole milliseconds, and may not come early for a log.
            late = 1 if quota.strategy == "sliding_log" else 0
            numbers = (rate.amount, period, -(-period // 1_000) + late, 0)
        kind = {"sliding_log": b"l", "gcra": b"g", "fixed_window": b"f"}[quota.strategy]
        words += [kind, *(b"%d" % number for number in numbers)]
    return words


def _plain(answer: Any) -> Refusal | None:
    if answer == 0:
        return None
    try:
        which, microseconds = answer
        return which - 1, microseconds / 1e6
    except (TypeError, ValueError) as err:
        raise unavailable(err) from err


def _read(
    answer: Any, asks: Sequence[Ask], tell: list[Standing] | None
) -> tuple[tuple[int, Refusal] | None, Receipt | None]:
    """Return who refused and why, or None; and the receipt, where one was asked for."""
    if answer == 0:
        return None, None
    places = [(index, rate) for index, ask in enumerate(asks) for rate in range(len(ask.counter.quota.rates))]
    try:
        which, microseconds, *more = answer
        receipt = Receipt(int(more[0]), bytes(more[1])) if more else None
        if tell is not None:
            for (index, rate), used, reset in zip(places, more[2::2], more[3::2], strict=True):
                tell.append(standing(asks[index].counter.quota, rate, used, reset / 1e6))
        if not which:
            return None, receipt
        index, rate = places[which - 1]
    except (TypeError, ValueError, IndexError) as err:
        raise unavailable(err) from err
    return (index, (rate, microseconds / 1e6)), receipt
