"""Counting on Redis: several processes share one exact count, in one round trip for all limits of a call."""

from __future__ import annotations

import asyncio
import hashlib
import re
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas.rates import Quota
from aisecure.quotas.store import Counter, Refusal, Subject, canonical

if TYPE_CHECKING:
    from pydantic import SecretStr
    from redis import Redis

__all__ = ["RedisStore"]

#: A pool of `redis.asyncio`, and a semaphore of as many permits as it may open.
_LoopConnections = tuple[Any, asyncio.Semaphore]

#: First words of every key; the number is the version of what is stored under it.
_PREFIX = "aisecure:q1"

#: Tenants that may stand in a key as they are; others are digested, so that no tenant can write into a hash tag.
_PLAIN_TENANT = re.compile(r"[A-Za-z0-9_.-]{1,64}", re.ASCII)


class RedisStore:
    """Counts on a Redis server (6.2 or later), by that server's clock; needs ``aisecure[redis]``.

    A hit is one EVALSHA, whatever the number of limits. Keys carry the tenant as hash tag and a digest of the rest,
    so that all keys of a call lie on one node of a cluster; the digest is not secret, it keeps names short. They
    expire by themselves. Run Redis with ``maxmemory-policy noeviction``: a server that evicts keys forgets limits.

    Any number of threads may share a store, and any number of event loops. After a fork the child opens connections
    of its own. Nothing is tried twice: a call whose answer was lost may have been counted, and is refused. Asynchronous
    code awaits `aclose` before its event loop ends.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with password if there is one. Never shown.
        timeout_seconds: For connecting, for an answer, and for a free connection, each.
        max_connections: For plain code; and as many for each event loop.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    over_network = True

    def __init__(
        self, url: str | SecretStr, *, timeout_seconds: float = 0.5, max_connections: int = 50
    ) -> None:
        if timeout_seconds <= 0 or max_connections < 1:
            raise ValueError("timeout_seconds is above 0 and max_connections at least 1")
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as err:
            raise Misconfigured(
                "counting on Redis needs the redis package: pip install 'aisecure[redis]'",
                code="config.extra",
            ) from err
        self._redis = redis
        self._url = url if isinstance(url, str) else url.get_secret_value()
        self._timeout_seconds = timeout_seconds
        self._max_connections = max_connections
        self._options: dict[str, Any] = {
            "socket_timeout": timeout_seconds,
            "socket_connect_timeout": timeout_seconds,
            # The protocol of every server, and without the push messages that later ones add to it.
            "protocol": 2,
        }
        self.script = files(__package__).joinpath("window.lua").read_bytes()
        # The name that Redis gives a script, no protection of anything.
        self.script_digest = hashlib.sha1(self.script, usedforsecurity=False).hexdigest().encode()
        try:
            pool = redis.BlockingConnectionPool.from_url(
                self._url,
                retry=Retry(NoBackoff(), 0),
                max_connections=max_connections,
                timeout=timeout_seconds,
                **self._options,
            )
        except (ValueError, TypeError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "redis_url: write redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket",
                code="config.redis",
            ) from None
        self._client: Redis = redis.Redis(connection_pool=pool)
        # Connections of asyncio belong to the loop that opened them.
        self._loops: dict[asyncio.AbstractEventLoop, _LoopConnections] = {}

    def __repr__(self) -> str:
        return "RedisStore()"

    def counter(self, quota: Quota) -> Counter:
        """Return the counts of a quota; processes with the same server and an equal quota share them."""
        return _RedisCounter(quota, self)

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        try:
            self._client.ping()
        except (self._redis.RedisError, OSError) as err:
            return {"ok": False, "store": "redis", "error_type": type(err).__name__}
        return {"ok": True, "store": "redis"}

    def run(self, heads: tuple[bytes, bytes], rest: bytes) -> Any:
        """Run the script by its digest, or as a whole when the server does not know it (any more).

        Args:
            heads: Beginnings of the two commands.
            rest: What both go on with.

        Raises:
            Unavailable: No answer, or an error: the server is down, slow, full, read-only, or keeps something else
                under the key.
        """
        try:
            # The pool's own connections, without the client on top: that costs as much as the server's work.
            pool: Any = self._client.connection_pool
            connection = pool.get_connection()
            try:
                connection.send_packed_command([heads[0] + rest], check_health=False)
                try:
                    return connection.read_response()
                except self._redis.exceptions.NoScriptError:
                    connection.send_packed_command([heads[1] + rest], check_health=False)
                    return connection.read_response()
            finally:
                pool.release(connection)
        except (self._redis.RedisError, OSError) as err:
            raise _unavailable(err) from err

    async def arun(self, heads: tuple[bytes, bytes], rest: bytes) -> Any:
        """Do as `run`, in a coroutine."""
        try:
            pool, free = self._of_this_loop()
            if free.locked():
                async with asyncio.timeout(self._timeout_seconds):
                    await free.acquire()
            else:
                await free.acquire()
            try:
                connection = await pool.get_connection()
                try:
                    await connection.send_packed_command([heads[0] + rest], check_health=False)
                    try:
                        return await connection.read_response()
                    except self._redis.exceptions.NoScriptError:
                        await connection.send_packed_command([heads[1] + rest], check_health=False)
                        return await connection.read_response()
                finally:
                    await pool.release(connection)
            finally:
                free.release()
        except (self._redis.RedisError, OSError) as err:
            raise _unavailable(err) from err

    def close(self) -> None:
        """Close all connections; those of a running event loop are closed by it, a moment later."""
        self._client.close()
        while self._loops:
            loop, (pool, _) = self._loops.popitem()
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(pool.aclose(), loop)

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        pool, _ = self._loops.pop(asyncio.get_running_loop(), (None, None))
        if pool is not None:
            await pool.aclose()

    def _of_this_loop(self) -> _LoopConnections:
        loop = asyncio.get_running_loop()
        connections = self._loops.get(loop)
        if connections is None:
            from redis.asyncio import ConnectionPool
            from redis.asyncio.retry import Retry
            from redis.backoff import NoBackoff

            for ended in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(ended, None)
            pool = ConnectionPool.from_url(
                self._url, retry=Retry(NoBackoff(), 0), max_connections=self._max_connections, **self._options
            )
            # Not redis' own blocking pool, whose lock and timer would cost each hit a third of its time.
            connections = self._loops[loop] = pool, asyncio.Semaphore(self._max_connections)
        return connections


class _RedisCounter:
    """The counts of one quota. A hit is put together as it goes over the wire; all but key and cost is ready."""

    def __init__(self, quota: Quota, store: RedisStore) -> None:
        self._store = store
        self._digest = hashlib.sha256(_framed(quota.id.encode("utf-8", "surrogatepass")))
        self._suffixes = tuple(b":%d" % index for index in range(len(quota.rates)))
        count = b"%d" % len(quota.rates)
        limits = [
            b"%d" % number
            for rate in quota.rates
            for number in (rate.amount, rate.seconds * 1_000_000, rate.seconds * 1_000 + 1)
        ]
        size = b"*%d\r\n" % (3 + len(quota.rates) + 1 + len(limits))
        self._heads = (
            size + _wired(b"EVALSHA", store.script_digest, count),
            size + _wired(b"EVAL", store.script, count),
        )
        self._limits = _wired(*limits)

    def hit(self, subject: Subject, cost: int) -> Refusal | None:
        return _read(self._store.run(self._heads, self._rest(subject, cost)))

    async def ahit(self, subject: Subject, cost: int) -> Refusal | None:
        return _read(await self._store.arun(self._heads, self._rest(subject, cost)))

    def _rest(self, subject: Subject, cost: int) -> bytes:
        digest = self._digest.copy()
        for part in canonical(subject):
            # A text, or a pair of type and digest; the first byte says which.
            plain = isinstance(part, str)
            raw = b"=" + part.encode("utf-8", "surrogatepass") if plain else b"#" + part[0].encode() + part[1]
            digest.update(_framed(raw))
        key = f"{_PREFIX}:{{{_tag(subject[0])}}}:{digest.hexdigest()[:40]}".encode()
        return _wired(*[key + suffix for suffix in self._suffixes], b"%d" % cost) + self._limits


def _wired(*arguments: bytes) -> bytes:
    """Return arguments of a command as Redis reads them (RESP)."""
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


def _framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4, "big") + raw


def _tag(tenant: str) -> str:
    if _PLAIN_TENANT.fullmatch(tenant):
        return tenant
    return "~" + hashlib.sha256(tenant.encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _read(answer: Any) -> Refusal | None:
    if answer == 0:
        return None
    try:
        which, microseconds = answer
        return which - 1, microseconds / 1e6
    except (TypeError, ValueError) as err:
        raise _unavailable(err) from err


def _unavailable(err: Exception) -> Unavailable:
    # Redis' own text may name host, key or user; the type is enough for a caller.
    return Unavailable(
        f"the limit could not be checked on Redis ({type(err).__name__})", code="unavailable.quota"
    )
