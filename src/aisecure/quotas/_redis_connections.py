"""Scripts on a Redis server, a server behind Sentinel, or a Cluster: one round trip each, from plain code or a coroutine.

What runs here counts things for security, so nothing is tried twice (an answer that was lost may have been counted),
nothing waits longer than it was told to, and whatever goes wrong is `Unavailable`.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from aisecure.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisConnections", "Script", "Wired"]

#: A pool of `redis.asyncio` or a client of a cluster, and a semaphore of as many permits as it may open.
_LoopConnections = tuple[Any, asyncio.Semaphore]


def _wired(arguments: Sequence[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(argument), argument) for argument in arguments])


class Wired:
    """Arguments of a command, and the same as Redis reads them (RESP), for those that every call repeats."""

    __slots__ = ("packed", "parts")

    def __init__(self, *parts: bytes) -> None:
        self.parts = parts
        self.packed = _wired(parts)


_NOTHING = Wired()


class Script:
    """A Lua script, known to the server by its digest once it ran."""

    __slots__ = ("digest", "source", "whole", "wired")

    def __init__(self, source: bytes) -> None:
        self.source = source
        # The name that Redis gives a script, no protection of anything.
        self.digest = hashlib.sha1(source, usedforsecurity=False).hexdigest().encode()
        self.wired = _wired((b"EVALSHA", self.digest))
        self.whole = _wired((b"EVAL", source))


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
        if timeout_seconds <= 0 or max_connections < 1:
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
        self._plain: Any = None
        # Connections of asyncio belong to the loop that opened them.
        self._loops: dict[asyncio.AbstractEventLoop, _LoopConnections] = {}
        text = url if isinstance(url, str) else url.get_secret_value()
        try:
            self._address = _Address.read(text)
            self.is_cluster = self._address.kind == "cluster"
            if not self.is_cluster:
                self._plain = self._new_pool()
        except (ValueError, TypeError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "redis_url: write redis://host:6379/0, rediss://host:6379/0, unix:///path/to/socket, "
                "redis+cluster://host:6379,host:6380 or redis+sentinel://host:26379,host:26380/service",
                code="config.redis",
            ) from None

    def __repr__(self) -> str:
        return f"RedisConnections({self._address.kind})"

    def run(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], more: Wired = _NOTHING
    ) -> Any:
        """Run a script by its digest, or as a whole when the server does not know it (any more).

        Args:
            script: What to run.
            keys: Its KEYS; on a Cluster all in one slot.
            args: Its ARGV.
            more: Further ARGV, packed once.

        Raises:
            Unavailable: No answer, or an error: the server is down, slow, full, read-only, or keeps something else
                under the key.
        """
        try:
            if self.is_cluster:
                return self._on_cluster(script, keys, args, more)
            tail = _tail(keys, args, more)
            count = b"*%d\r\n" % (3 + len(keys) + len(args) + len(more.parts))
            # The pool's own connections, without the client on top: that costs as much as the server's work.
            pool = self._plain
            connection = pool.get_connection()
            try:
                connection.send_packed_command([count + script.wired + tail], check_health=False)
                try:
                    return connection.read_response()
                except self._redis.exceptions.NoScriptError:
                    connection.send_packed_command([count + script.whole + tail], check_health=False)
                    return connection.read_response()
            finally:
                pool.release(connection)
        except (self._redis.RedisError, OSError) as err:
            raise unavailable(err) from err

    async def arun(
        self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], more: Wired = _NOTHING
    ) -> Any:
        """Do as `run`, in a coroutine."""
        try:
            client, free = self._of_this_loop()
            if free.locked():
                async with asyncio.timeout(self._timeout_seconds):
                    await free.acquire()
            else:
                await free.acquire()
            try:
                if self.is_cluster:
                    return await self._aon_cluster(client, script, keys, args, more)
                tail = _tail(keys, args, more)
                count = b"*%d\r\n" % (3 + len(keys) + len(args) + len(more.parts))
                connection = await client.get_connection()
                try:
                    await connection.send_packed_command([count + script.wired + tail], check_health=False)
                    try:
                        return await connection.read_response()
                    except self._redis.exceptions.NoScriptError:
                        await connection.send_packed_command(
                            [count + script.whole + tail], check_health=False
                        )
                        return await connection.read_response()
                finally:
                    await client.release(connection)
            finally:
                free.release()
        except (self._redis.RedisError, OSError) as err:
            raise unavailable(err) from err

    def health(self) -> dict[str, Any]:
        """Ask the server whether it is there."""
        try:
            if self.is_cluster:
                self._cluster().ping()
            else:
                self._redis.Redis(connection_pool=self._plain).ping()
        except (self._redis.RedisError, OSError) as err:
            return {"ok": False, "store": "redis", "error_type": type(err).__name__}
        return {"ok": True, "store": "redis"}

    def close(self) -> None:
        """Close all connections; those of a running event loop are closed by it, a moment later. Later use opens again."""
        if self.is_cluster:
            with self._lock:
                cluster, self._plain = self._plain, None
            if cluster is not None:
                cluster.close()
        else:
            self._plain.disconnect()
        while self._loops:
            loop, (client, _) = self._loops.popitem()
            if not loop.is_closed():
                asyncio.run_coroutine_threadsafe(client.aclose(), loop)

    async def aclose(self) -> None:
        """Close the connections of this event loop, before it ends."""
        client, _ = self._loops.pop(asyncio.get_running_loop(), (None, None))
        if client is not None:
            await client.aclose()

    # -- one server

    def _options(self) -> dict[str, Any]:
        return {
            "socket_timeout": self._timeout_seconds,
            "socket_connect_timeout": self._timeout_seconds,
            # The protocol of every server, and without the push messages that later ones add to it.
            "protocol": 2,
        }

    def _new_pool(self) -> Any:
        from redis.backoff import NoBackoff
        from redis.retry import Retry

        address, options = self._address, self._options()
        if address.kind == "sentinel":
            watchers = self._redis.Sentinel(address.hosts, sentinel_kwargs=address.credentials | options)
            return self._redis.sentinel.SentinelConnectionPool(
                address.service,
                watchers,
                db=address.db,
                ssl=address.tls,
                max_connections=self._max_connections,
                retry=Retry(NoBackoff(), 0),
                **address.credentials,
                **options,
            )
        return self._redis.BlockingConnectionPool.from_url(
            address.url,
            retry=Retry(NoBackoff(), 0),
            max_connections=self._max_connections,
            timeout=self._timeout_seconds,
            **options,
        )

    def _of_this_loop(self) -> _LoopConnections:
        loop = asyncio.get_running_loop()
        connections = self._loops.get(loop)
        if connections is None:
            for ended in [other for other in self._loops if other.is_closed()]:
                self._loops.pop(ended, None)
            # Not redis' own blocking pool, whose lock and timer would cost each hit a third of its time.
            connections = self._loops[loop] = self._new_async(), asyncio.Semaphore(self._max_connections)
        return connections

    def _new_async(self) -> Any:
        from redis import asyncio as redis
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        library: Any = redis  # parts of it have no types

        address, options = self._address, self._options()
        if address.kind == "cluster":
            return library.RedisCluster(
                startup_nodes=[library.cluster.ClusterNode(host, port) for host, port in address.hosts],
                ssl=address.tls,
                max_connections=self._max_connections,
                retry=Retry(NoBackoff(), 0),
                **address.credentials,
                **options,
            )
        if address.kind == "sentinel":
            watchers = library.Sentinel(address.hosts, sentinel_kwargs=address.credentials | options)
            return library.sentinel.SentinelConnectionPool(
                address.service,
                watchers,
                db=address.db,
                ssl=address.tls,
                max_connections=self._max_connections,
                retry=Retry(NoBackoff(), 0),
                **address.credentials,
                **options,
            )
        return library.ConnectionPool.from_url(
            address.url, retry=Retry(NoBackoff(), 0), max_connections=self._max_connections, **options
        )

    # -- a cluster: the client knows which node has a slot, and follows slots that move

    def _cluster(self) -> Any:
        with self._lock:
            if self._plain is None:
                from redis.backoff import NoBackoff
                from redis.retry import Retry

                address = self._address
                # Made when it is first needed: it asks the nodes for their slots.
                self._plain = self._redis.RedisCluster(
                    startup_nodes=[
                        self._redis.cluster.ClusterNode(host, port) for host, port in address.hosts
                    ],
                    ssl=address.tls,
                    max_connections=self._max_connections,
                    connection_pool_class=self._redis.BlockingConnectionPool,
                    timeout=self._timeout_seconds,
                    retry=Retry(NoBackoff(), 0),
                    **address.credentials,
                    **self._options(),
                )
            return self._plain

    def _on_cluster(self, script: Script, keys: Sequence[bytes], args: Sequence[bytes], more: Wired) -> Any:
        cluster = self._cluster()
        rest = (len(keys), *keys, *args, *more.parts)
        try:
            return cluster.execute_command("EVALSHA", script.digest, *rest)
        except self._redis.exceptions.NoScriptError:
            return cluster.execute_command("EVAL", script.source, *rest)

    async def _aon_cluster(
        self, cluster: Any, script: Script, keys: Sequence[bytes], args: Sequence[bytes], more: Wired
    ) -> Any:
        rest = (len(keys), *keys, *args, *more.parts)
        try:
            return await cluster.execute_command("EVALSHA", script.digest, *rest)
        except self._redis.exceptions.NoScriptError:
            return await cluster.execute_command("EVAL", script.source, *rest)


class _Address:
    """A URL, taken apart where redis itself does not know the scheme."""

    __slots__ = ("credentials", "db", "hosts", "kind", "service", "tls", "url")

    def __init__(self, kind: str, url: str) -> None:
        self.kind = kind
        self.url = url
        self.hosts: list[tuple[str, int]] = []
        self.credentials: dict[str, Any] = {}
        self.service = ""
        self.db = 0
        self.tls = False

    @classmethod
    def read(cls, url: str) -> _Address:
        """Return what a URL says.

        Raises:
            ValueError: It is none.
        """
        scheme, _, rest = url.partition("://")
        base, plus, kind = scheme.partition("+")
        if not plus:
            return cls("server", url)
        if kind not in ("cluster", "sentinel") or base not in ("redis", "rediss"):
            raise ValueError("an unknown scheme")
        address = cls(kind, "")
        address.tls = base == "rediss"
        places, _, path = rest.partition("/")
        login, _, hosts = places.rpartition("@")
        if login:
            user, _, password = login.partition(":")
            given = {"username": unquote(user), "password": unquote(password)}
            address.credentials = {name: value for name, value in given.items() if value}
        for place in hosts.split(","):
            one = urlsplit(f"//{place}")
            if not one.hostname:
                raise ValueError("a host without a name")
            address.hosts.append((one.hostname, one.port or (26379 if kind == "sentinel" else 6379)))
        if kind == "sentinel":
            address.service, _, db = path.partition("/")
            address.db = int(db or 0)
            if not address.service:
                raise ValueError("no service")
        elif path:
            raise ValueError("a Cluster has one database")
        return address


def unavailable(err: Exception) -> Unavailable:
    """Return the error for an answer that did not come, or is none."""
    # Redis' own text may name host, key or user; the type is enough for a caller.
    return Unavailable(
        f"the limit could not be checked on Redis ({type(err).__name__})", code="unavailable.quota"
    )


def _tail(keys: Sequence[bytes], args: Sequence[bytes], more: Wired) -> bytes:
    count = b"%d" % len(keys)
    return b"$%d\r\n%b\r\n" % (len(count), count) + _wired([*keys, *args]) + more.packed
