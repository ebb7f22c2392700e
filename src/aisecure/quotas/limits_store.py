"""Counting in the storages of the `limits` package (memcached, MongoDB, Valkey ...), with what they can promise."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, cast

from aisecure.errors import Misconfigured, Unavailable
from aisecure.ports import Clock, SystemClock
from aisecure.quotas.rates import Quota, Rate
from aisecure.quotas.store import Ask, Refusal, Subject, canonical, digest_of, framed, standing, tag_of
from aisecure.standing import Standing

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["LimitsCounter", "LimitsStore"]

#: First words of every key; the number is the version of how the rest is made.
_PREFIX = "aisecure:l1"


class LimitsStore:
    """Counts in a storage of the `limits` package: weaker promises than a `MemoryStore` or a `RedisStore` gives.

    - One limit holds as well as the storage keeps it. ``sliding_log`` needs one with moving windows (memory, Redis,
      Valkey, MongoDB); with others (memcached) it is refused, and ``strategy="fixed_window"`` has to be written.
      ``gcra`` is refused.
    - Several limits of one call are asked one after the other, up to the first that refuses: what was spent from
      those before it stays spent.
    - A fixed window may count a call that it refused. For a cost above 1 it is asked first, so that happens only
      when several calls compete.
    - ``retry_after`` is what the storage tells: when the oldest admission leaves a moving window (for a cost above 1
      that may not be enough), or when a fixed window ends, which Redis knows to the second.
    - How much is used is asked after the hit, in further round trips; other calls may come in between.
    - Moving windows go by the clock of the machine that asks.

    Asynchronous code asks in a thread. Keys carry the tenant and a digest of the rest.

    Args:
        storage: An address as `limits` writes it, such as ``memcached://host:11211``, ``mongodb://host:27017`` or
            ``valkey://host:6379``, never shown; or a storage of yours, with the options that you gave it.
        timeout_seconds: For connecting and for an answer, each; of addresses of Redis, Valkey, memcached and
            MongoDB. A storage of yours has its own.
        clock: Wall clock, to make a wait from the moment that a storage names.

    Raises:
        Misconfigured: The address is none, an asynchronous storage was named, or a package is missing.
        Unavailable: A Cluster did not answer; other storages connect when they are used.

    >>> from aisecure.quotas import LimitsStore, RateLimiter
    >>> with LimitsStore("memory://") as store:
    ...     limiter = RateLimiter("2/minute", store=store)
    ...     [limiter.decide("u-17").allowed for _ in range(3)]
    [True, True, False]
    """

    def __init__(
        self, storage: str | SecretStr | Any, *, timeout_seconds: float = 0.5, clock: Clock | None = None
    ) -> None:
        if not timeout_seconds > 0:
            raise ValueError("timeout_seconds is above 0")
        limits = _package()
        uri = storage.get_secret_value() if hasattr(storage, "get_secret_value") else storage
        self._is_ours = isinstance(uri, str)
        self.storage: Any = _opened(limits, uri, timeout_seconds) if self._is_ours else storage
        if not isinstance(self.storage, limits.storage.Storage):
            raise Misconfigured(
                "a LimitsStore takes an address or a synchronous storage of limits, not "
                f"{type(self.storage).__module__}.{type(self.storage).__name__}"
            )
        self.over_network = not isinstance(self.storage, limits.storage.MemoryStorage)
        self.has_moving_window = isinstance(self.storage, limits.storage.MovingWindowSupport)
        self.clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"LimitsStore({type(self.storage).__name__})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def counter(self, quota: Quota) -> LimitsCounter:
        """Return the counts of a quota; equal quotas in the same storage share them.

        Raises:
            Misconfigured: The storage cannot keep what the quota's strategy promises.
        """
        if quota.strategy == "gcra":
            raise Misconfigured(
                'storages of limits know no gcra; write strategy="fixed_window", or count in a MemoryStore or RedisStore'
            )
        if quota.strategy == "sliding_log" and not self.has_moving_window:
            raise Misconfigured(
                f"a {type(self.storage).__name__} cannot hold a limit in every window; write "
                'strategy="fixed_window" if twice the limit round the edge of two windows will do, or count in a '
                "MemoryStore or RedisStore"
            )
        return LimitsCounter(quota, self)

    def hit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Spend from the limits in order; the first that refuses ends it, and takes nothing back."""
        counted = [(cast("LimitsCounter", ask.counter), ask.subject) for ask in asks]
        keys = [counter.keys(subject) for counter, subject in counted]
        refused: tuple[int, Refusal] | None = None
        with _answers():
            if cost:
                for index, (counter, _) in enumerate(counted):
                    refusal = counter.spend(keys[index], cost)
                    if refusal is not None:
                        refused = index, refusal
                        break
            if tell is not None:
                for index, (counter, _) in enumerate(counted):
                    tell += counter.standings(keys[index])
        return refused

    async def ahit_all(
        self, asks: Sequence[Ask], cost: int, tell: list[Standing] | None = None
    ) -> tuple[int, Refusal] | None:
        """Do as `hit_all`, in a thread if it waits for a network."""
        if not self.over_network:
            return self.hit_all(asks, cost, tell)
        return await asyncio.to_thread(self.hit_all, asks, cost, tell)

    def reset(self, asks: Sequence[Ask]) -> None:
        """Forget what was spent."""
        keys = [key for ask in asks for key in cast("LimitsCounter", ask.counter).keys(ask.subject)]
        with _answers():
            for key in keys:
                self.storage.clear(key)

    def health(self) -> dict[str, Any]:
        """Ask the storage whether it is there."""
        facts = {"ok": True, "store": "limits", "storage": type(self.storage).__name__}
        try:
            facts["ok"] = bool(self.storage.check())
        except Exception as err:  # noqa: BLE001  (drivers of several databases, with nothing in common)
            facts |= {"ok": False, "error_type": type(err).__name__}
        return facts

    def close(self) -> None:
        """Close the connections of a storage that was made here from an address, as far as it shows them.

        A memory storage's sweeping thread is stopped; the next hit starts another.
        """
        if not self.over_network:
            self.storage.timer.cancel()
            self.storage.timer.join()
        elif self._is_ours:
            # No storage has a way to close it; those of Redis and Valkey keep their client here.
            client = vars(self.storage).get("storage")
            if client is not None:
                with _answers():
                    client.close()

    async def aclose(self) -> None:
        """Do as `close`: the connections belong to no event loop."""
        self.close()


class LimitsCounter:
    """The counts of one quota."""

    def __init__(self, quota: Quota, store: LimitsStore) -> None:
        self.quota = quota
        self._store = store
        self._moving = quota.strategy == "sliding_log"
        self._digest = hashlib.sha256(framed(quota.id.encode("utf-8", "surrogatepass")))

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        """Spend from each rate in order; the first that refuses ends it, and takes nothing back."""
        keys = self.keys(subject)
        with _answers():
            return self.spend(keys, cost)

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        """Do as `hit`, in a thread if it waits for a network."""
        if not self._store.over_network:
            return self.hit(subject, cost)
        return await asyncio.to_thread(self.hit, subject, cost)

    def keys(self, subject: Subject) -> list[str]:
        """Return the keys of a subject, one for each rate: short, and of plain characters, as memcached wants them."""
        digest = digest_of(self._digest.copy(), canonical(subject))
        key = f"{_PREFIX}:{tag_of(subject[0])}:{digest}"
        return [f"{key}:{index}" for index in range(len(self.quota.rates))]

    def spend(self, keys: Sequence[str], cost: int) -> Refusal | None:
        """Spend from the limits behind some keys; what the storage raises goes through."""
        for index, (key, rate) in enumerate(zip(keys, self.quota.rates, strict=True)):
            if not self._spent(key, rate, cost):
                # Never nothing: what refused a moment ago may have ended by now.
                return index, max(0.001, self._used(key, rate)[1])
        return None

    def standings(self, keys: Sequence[str]) -> list[Standing]:
        """Return how the limits behind some keys stand; what the storage raises goes through."""
        found = []
        for index, (key, rate) in enumerate(zip(keys, self.quota.rates, strict=True)):
            used, seconds = self._used(key, rate)
            if self._moving and used > 1:
                # The storage tells of the oldest admission alone; the newest may have been made just now.
                seconds = rate.seconds
            found.append(standing(self.quota, index, min(used, rate.amount), seconds if used else 0.0))
        return found

    def _spent(self, key: str, rate: Rate, cost: int) -> bool:
        storage = self._store.storage
        if self._moving:
            return bool(storage.acquire_entry(key, rate.amount, rate.seconds, amount=cost))
        # What is refused stays counted. With a cost of 1 the window is full then, and nobody loses by it.
        if cost > 1 and storage.get(key) + cost > rate.amount:
            return False
        return bool(storage.incr(key, rate.seconds, amount=cost) <= rate.amount)

    def _used(self, key: str, rate: Rate) -> tuple[int, float]:
        """Return what counts, and the seconds until some of it (moving) or all of it (fixed) does not any more."""
        storage = self._store.storage
        if self._moving:
            start, used = storage.get_moving_window(key, rate.amount, rate.seconds)
            # That of MongoDB names no start when everything has left.
            ends = start + rate.seconds if used else 0.0
        else:
            used = storage.get(key)
            ends = storage.get_expiry(key)
        return int(used), min(max(0.0, ends - self._store.clock.time()), float(rate.seconds))


def _package() -> Any:
    try:
        import limits
        import limits.storage
    except ImportError as err:
        raise Misconfigured(
            "counting in a storage of limits needs that package: pip install limits", code="config.extra"
        ) from err
    return limits


def _opened(limits: Any, uri: str, timeout_seconds: float) -> Any:
    if uri.lower().startswith("async+"):
        raise Misconfigured("leave out async+: asynchronous code uses a LimitsStore in a thread")
    try:
        return limits.storage.storage_from_string(uri, **_waiting(uri, timeout_seconds))
    except limits.errors.ConfigurationError as err:
        # ``from None`` throughout: texts of the parsers quote the address, and with it the password.
        driver = next((name for start, name in _DRIVERS.items() if uri.lower().startswith(start)), "")
        if driver and "prerequisite" in str(err):
            raise Misconfigured(
                f"this storage of limits needs a driver: pip install 'limits[{driver}]'", code="config.extra"
            ) from None
        raise _unreadable() from None
    except (ValueError, TypeError, AssertionError):
        raise _unreadable() from None
    except Exception as err:  # noqa: BLE001  (drivers of several databases, with nothing in common)
        raise _unavailable(err) from None


#: Extras of `limits` by how an address begins.
_DRIVERS = {
    "redis+cluster": "rediscluster",
    "redis": "redis",
    "valkey": "valkey",
    "memcached": "memcached",
    "mongodb": "mongodb",
}


def _waiting(uri: str, seconds: float) -> dict[str, Any]:
    """Return the options by which a storage does not wait for ever; each driver has its own words for it."""
    scheme = uri.partition("://")[0].lower()
    if scheme.startswith(("redis", "valkey")):
        waits = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
        return {**waits, "sentinel_kwargs": waits} if scheme.endswith("sentinel") else waits
    if scheme == "memcached":
        return {"timeout": seconds, "connect_timeout": seconds}
    if scheme.startswith("mongodb"):
        names = ("serverSelectionTimeoutMS", "connectTimeoutMS", "socketTimeoutMS")
        return dict.fromkeys(names, max(1, round(seconds * 1000)))
    return {}


def _unreadable() -> Misconfigured:
    return Misconfigured(
        "the address of a storage of limits: write memcached://host:11211, mongodb://host:27017, "
        "valkey://host:6379, redis://host:6379 or memory://"
    )


@contextmanager
def _answers() -> Iterator[None]:
    """Whatever a storage raises means that it could not answer."""
    try:
        yield
    except Exception as err:
        raise _unavailable(err) from err


def _unavailable(err: Exception) -> Unavailable:
    # The driver's own text may name host, key or user; the type is enough for a caller.
    return Unavailable(
        f"the limit could not be checked in a storage of limits ({type(err).__name__})",
        code="unavailable.quota",
    )
