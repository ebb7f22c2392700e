"""Remembers which proofs were used, for as long as each could be used again (RFC 9449 section 11.1)."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from aisecure.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from aisecure.storage import Storage

__all__ = ["MemoryReplays", "RedisReplays", "Replays", "StoredReplays"]

_MIGRATIONS = (
    """
    CREATE TABLE authn_replays (proof BLOB PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX authn_replays_until ON authn_replays (until);
    """,
)


@runtime_checkable
class Replays(Protocol):
    """Where used proofs are remembered. All processes that serve one address need the same."""

    def is_first(self, proof: bytes, *, now: float, until: float) -> bool:
        """Take note of a proof; return whether it was not seen before.

        Of several that ask at once about one proof, exactly one is told True.

        Args:
            proof: A hash that stands for it.
            now: Seconds since the epoch.
            until: When it may be forgotten, since it is too old by then.

        Raises:
            Unavailable: It could not be remembered, so it must not be taken.
        """


class MemoryReplays:
    """Remembers in this process; right for one process, not for several.

    Args:
        max_entries: About 200 bytes each. When so many are remembered none is forgotten early: further proofs are
            `Unavailable` until the oldest are too old.

    >>> replays = MemoryReplays()
    >>> [replays.is_first(b"a", now=0.0, until=60.0) for _ in range(2)]
    [True, False]
    """

    def __init__(self, max_entries: int = 100_000) -> None:
        if max_entries < 1:
            raise ValueError("max_entries is at least 1")
        self._max_entries = max_entries
        self._until: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._until)

    def __repr__(self) -> str:
        return f"MemoryReplays({len(self)} of {self._max_entries})"

    def is_first(self, proof: bytes, *, now: float, until: float) -> bool:
        """Take note of a proof; return whether it was not seen before."""
        with self._lock:
            # They come nearly in the order in which they end, so the front is where the old ones are.
            while self._until and next(iter(self._until.values())) <= now:
                del self._until[next(iter(self._until))]
            if self._until.get(proof, now) > now:
                return False
            if len(self._until) >= self._max_entries:
                raise Unavailable("Too many proofs are remembered at once.", code="unavailable.storage")
            self._until.pop(proof, None)
            self._until[proof] = until
            return True


class StoredReplays:
    """Remembers in the embedded database, for several processes of one machine.

    Args:
        storage: The database.

    Raises:
        Misconfigured: The database is of a newer version of the library.
        Unavailable: It is locked, full or gone.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        storage.migrate("authn_replays", _MIGRATIONS)

    def is_first(self, proof: bytes, *, now: float, until: float) -> bool:
        """Take note of a proof; return whether it was not seen before."""
        with self._storage.transaction() as connection:
            connection.execute("DELETE FROM authn_replays WHERE until <= ?", (now,))
            added = connection.execute("INSERT OR IGNORE INTO authn_replays VALUES (?, ?)", (proof, until))
            return added.rowcount == 1


class RedisReplays:
    """Remembers on a Redis server, for several machines; needs ``aisecure[redis]``.

    The server must not evict keys (``maxmemory-policy noeviction``): what it forgets early can be used again.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with password if there is one. Never shown.
        prefix: First part of every key.
        timeout_seconds: How long to wait for the server; an asynchronous application waits with it.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    def __init__(self, url: str, *, prefix: str = "aisecure:proof:", timeout_seconds: float = 1.0) -> None:
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as err:
            raise Misconfigured(
                "remembering proofs on Redis needs the redis package: pip install 'aisecure[redis]'",
                code="config.extra",
            ) from err
        try:
            self._client = redis.Redis.from_url(
                url,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                # Asked twice, the server would call the first use of a proof its second.
                retry=Retry(NoBackoff(), 0),
            )
        except (ValueError, TypeError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "RedisReplays: write redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket",
                code="config.redis",
            ) from None
        self._failures: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._prefix = prefix

    def __repr__(self) -> str:
        return "RedisReplays()"

    def is_first(self, proof: bytes, *, now: float, until: float) -> bool:
        """Take note of a proof; return whether it was not seen before."""
        milliseconds = max(1, int((until - now) * 1000))
        try:
            return bool(self._client.set(self._prefix.encode() + proof, b"1", nx=True, px=milliseconds))
        except self._failures as err:
            raise Unavailable(
                f"Redis could not be asked ({type(err).__name__}).", code="unavailable.storage"
            ) from err

    def close(self) -> None:
        """Close the connections."""
        self._client.close()
