"""Scripts on a Redis server, a server behind Sentinel, or a Cluster: one round trip each, from plain code or a coroutine.

What runs here counts things for security, so nothing is tried twice (an answer that was lost may have been counted),
nothing waits longer than it was told to, and whatever goes wrong is `Unavailable`. The connections are redis' own; its
client on top of them costs as much as the server's work, and the one of asyncio for a Cluster loses connections when
several tasks use it first (seen with 8.1), so commands are sent to its pools.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any

from aisecure._flow import Effect, adrive, drive
from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas._redis_address import Address
from aisecure.quotas._redis_slots import Node, Slots
from aisecure.quotas._redis_wire import Request, Script, packed

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisConnections", "unavailable"]

_ASKING = packed(b"ASKING")


class _Pools:
    """Connections of one event loop: a pool for each node, and a semaphore of as many permits as they may open."""

    def __init__(self, most: int) -> None:
        self.of: dict[Node | None, Any] = {}
        # Not redis' own blocking pool, whose lock and timer would cost each hit a third of its time.
        self.free = asyncio.Semaphore(most)

    async def aclose(self) -> None:
        while self.of:
            _, pool = self.of.popitem()
            await pool.aclose()
            for watcher in _watchers(pool):
                await watcher.aclose()


class RedisConnections:
    """Connections to one server or Cluster; any number of threads and event loops may share them.

    After a fork the child opens connections of its own. Asynchronous code awaits `aclose` before its loop ends.

    Args:
        url: ``redis://``, ``rediss://`` (TLS) or ``unix://`` for a server; ``redis+cluster://host:port,host:port`` for a
            Cluster; ``redis+sentinel://host:port,host:port/service`` with an optional ``/db`` for a server that Sentinels
            watch. Both with ``rediss+`` for TLS, and ``user:password@`` before the hosts. Never shown.
        timeout_seconds: For connecting, for an answer, and for a free connection, each.
        max_connections: For plain code; and as many for each event loop. On a Cluster for each node.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    def __init__(
        self, url: str | SecretStr, *, timeout_seconds: float = 0.5, max_connections: int = 50
    ) -> None:
        if not timeout_seconds > 0 or max_connections < 1:
            raise ValueError("timeout_seconds is above 0 and max_connections at least 1")
        try:
            import redis
        except ImportError as err:
            raise Misconfigured(
                "counting on Redis needs the redis package: pip install 'aisecure[redis]'",
                code="config.extra",
            ) from err
        self._redis: Any = redis  # parts of it have no types
        self._timeout_seconds = timeout_seconds
        self._max_connections = max_connections
        self._lock = threading.Lock()
        # The pool of Sentinel raises when it is empty, so those who wait are counted here.
        self._free = threading.BoundedSemaphore(max_connections)
        self._pools: dict[Node | None, Any] = {}
        # Connections of asyncio belong to the loop that opened them.
        self._loops: dict[asyncio.AbstractEventLoop, _Pools] = {}
        try:
            self._address = Address.read(url if isinstance(url, str) else url.get_secret_value())
            self.is_cluster = self._address.kind == "cluster"
            if not self.is_cluster:
                self._pool(None)
        except (ValueError, TypeError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "redis_url: write redis://host:6379/0, rediss://host:6379/0, unix:///path/to/socket, "
                "redis+cluster://host:6379,host:6380 or redis+sentinel://host:26379,host:26380/service",
                code="config.redis",
            ) from None
        send = Effect(self._send, self._asend)
        self._slots = Slots(self._address.hosts, send, redis) if self.is_cluster else None

    def __repr__(self) -> str:
        return f"RedisConnections({self._address.kind})"

    def run(self, script: Script, request: Request) -> Any:
        """Run a script by its digest, or as a whole when the server does not know it (any more).

        Raises:
            Unavailable: No answer, or an error: the server is down, slow, full, read-only, or keeps something else
                under the key.
        """
        key, head, rest = request
        commands = head + script.by_digest + rest, head + script.whole + rest
        try:
            if self._slots is None:
                return self._send(None, *commands)
            return drive(self._slots.route(key, *commands))
        except (self._redis.RedisError, OSError) as err:
            raise unavailable(err) from err

    async def arun(self, script: Script, request: Request) -> Any:
        """Do as `run`, in a coroutine."""
        key, head, rest = request
        commands = head + script.by_digest + rest, head + script.whole + rest
        try:
            if self._slots is None:
                return await self._asend(None, *commands)
            return await adrive(self._slots.route(key, *commands))
        except (self._redis.RedisError, OSError) as err:
            raise unavailable(err) from err

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        try:
            if self._slots is None:
                self._send(None, packed(b"PING"))
            else:
                drive(self._slots.learn())
        except (self._redis.RedisError, OSError) as err:
            return {"ok": False, "store": "redis", "error_type": type(err).__name__}
        return {"ok": True, "store": "redis"}

    def close(self) -> None:
        """Close all connections; those of a running event loop are closed by it, a moment later. Later use opens again."""
        for pool in tuple(self._pools.values()):
            pool.disconnect()
            for watcher in _watchers(pool):
                watcher.close()
        while self._loops:
            loop, pools = self._loops.popitem()
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(pools.aclose(), loop)

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        pools = self._loops.pop(asyncio.get_running_loop(), None)
        if pools is not None:
            await pools.aclose()

    # -- one exchange with one node; None is the only server there is

    def _send(self, node: Node | None, first: bytes, second: bytes = b"", *, asking: bool = False) -> Any:
        """Send a command, and another when the script of the first is unknown; return the answer."""
        pool = self._pools.get(node) or self._pool(node)
        waits = self._address.kind == "sentinel"
        if waits and not self._free.acquire(timeout=self._timeout_seconds):
            raise TimeoutError
        try:
            connection = pool.get_connection()
            try:
                if asking:
                    connection.send_packed_command([_ASKING], check_health=False)
                    connection.read_response()
                connection.send_packed_command([first], check_health=False)
                try:
                    return connection.read_response()
                except self._redis.exceptions.NoScriptError:
                    if asking:  # it holds for one command
                        connection.send_packed_command([_ASKING], check_health=False)
                        connection.read_response()
                    connection.send_packed_command([second], check_health=False)
                    return connection.read_response()
            finally:
                pool.release(connection)
        finally:
            if waits:
                self._free.release()

    async def _asend(
        self, node: Node | None, first: bytes, second: bytes = b"", *, asking: bool = False
    ) -> Any:
        """Do as `_send`, in a coroutine."""
        pools = self._of_this_loop()
        free = pools.free
        if free.locked():
            async with asyncio.timeout(self._timeout_seconds):
                await free.acquire()
        else:
            await free.acquire()
        try:
            pool = pools.of.get(node)
            if pool is None:
                pool = pools.of[node] = self._new_async(node)
            connection = await pool.get_connection()
            try:
                if asking:
                    await connection.send_packed_command([_ASKING], check_health=False)
                    await connection.read_response()
                await connection.send_packed_command([first], check_health=False)
                try:
                    return await connection.read_response()
                except self._redis.exceptions.NoScriptError:
                    if asking:
                        await connection.send_packed_command([_ASKING], check_health=False)
                        await connection.read_response()
                    await connection.send_packed_command([second], check_health=False)
                    return await connection.read_response()
            finally:
                await pool.release(connection)
        finally:
            free.release()

    # -- pools

    def _options(self, node: Node | None) -> dict[str, Any]:
        options: dict[str, Any] = {
            "socket_timeout": self._timeout_seconds,
            "socket_connect_timeout": self._timeout_seconds,
            # The protocol of every server, and without the push messages that later ones add to it.
            "protocol": 2,
        }
        if self._address.kind != "server":
            options |= self._address.credentials
        if node is not None:
            options |= {"host": node[0], "port": node[1]}
        return options

    def _pool(self, node: Node | None) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        redis, address = self._redis, self._address
        once = Retry(NoBackoff(), 0)
        options: dict[str, Any] = {"retry": once, "max_connections": self._max_connections}
        with self._lock:
            pool = self._pools.get(node)
            if pool is not None:
                return pool
            if address.kind == "sentinel":
                asked = self._options(None) | {"retry": once}
                watchers = redis.Sentinel(address.hosts, sentinel_kwargs=asked)
                pool = redis.sentinel.SentinelConnectionPool(
                    address.service,
                    watchers,
                    db=address.db,
                    ssl=address.tls,
                    **options,
                    **self._options(None),
                )
            elif node is None:
                pool = redis.BlockingConnectionPool.from_url(
                    address.url, timeout=self._timeout_seconds, **options, **self._options(None)
                )
            else:
                kind = redis.SSLConnection if address.tls else redis.Connection
                pool = redis.BlockingConnectionPool(
                    connection_class=kind, timeout=self._timeout_seconds, **options, **self._options(node)
                )
            self._pools[node] = pool
            return pool

    def _of_this_loop(self) -> _Pools:
        loop = asyncio.get_running_loop()
        pools = self._loops.get(loop)
        if pools is None:
            for ended in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(ended, None)
            pools = self._loops[loop] = _Pools(self._max_connections)
        return pools

    def _new_async(self, node: Node | None) -> Any:
        from redis import asyncio as library
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        redis: Any = library  # parts of it have no types
        address, once = self._address, Retry(NoBackoff(), 0)
        options: dict[str, Any] = {"retry": once, "max_connections": self._max_connections}
        if address.kind == "sentinel":
            watchers = redis.Sentinel(address.hosts, sentinel_kwargs=self._options(None) | {"retry": once})
            return redis.sentinel.SentinelConnectionPool(
                address.service, watchers, db=address.db, ssl=address.tls, **options, **self._options(None)
            )
        if node is None:
            return redis.ConnectionPool.from_url(address.url, **options, **self._options(None))
        kind = redis.SSLConnection if address.tls else redis.Connection
        return redis.ConnectionPool(connection_class=kind, **options, **self._options(node))


def _watchers(pool: Any) -> list[Any]:
    """Return the clients with which a pool asks the Sentinels."""
    return list(pool.sentinel_manager.sentinels) if hasattr(pool, "sentinel_manager") else []


def unavailable(err: Exception) -> Unavailable:
    """Return the error for an answer that did not come, or is none."""
    # Redis' own text may name host, key or user; the type is enough for a caller.
    return Unavailable(
        f"the limit could not be checked on Redis ({type(err).__name__})", code="unavailable.quota"
    )
