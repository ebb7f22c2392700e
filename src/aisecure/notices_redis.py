"""Change notices over a Redis server, for processes that share no database."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from aisecure.errors import Misconfigured, Unavailable
from aisecure.notices import Mark, PolledNotices

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisNotices"]


class RedisNotices(PolledNotices):
    """Notices between processes that share a Redis server (5 or later); needs ``aisecure[redis]``.

    A topic is one hash of two fields: a counter, and a random stamp that changes with it. A process that asks and
    finds another pair than before knows that something changed, also after a restart or a failover that lost the
    counter. The server is asked at most once in ``poll_seconds`` and topic; while it does not answer, whoever asks
    is refused, because a revoked key could be among what was remembered.

    Redis that evicts keys makes processes look up again more often, and never makes them miss a change. One that is
    asked through a replica may: name the primary.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with password if there is one. Never shown.
        poll_seconds: How old an answer may be: a change reaches every process within this time.
        timeout_seconds: For connecting, for an answer, and for a free connection, each.
        prefix: First word of every key, for several applications on one server.
        monotonic: Clock for the poll interval.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
    """

    def __init__(
        self,
        url: str | SecretStr,
        *,
        poll_seconds: float = 1.0,
        timeout_seconds: float = 0.5,
        prefix: str = "aisecure",
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(poll_seconds=poll_seconds, monotonic=monotonic)
        if not timeout_seconds > 0:
            raise ValueError("timeout_seconds: write more than 0 seconds")
        try:
            import redis
            from redis.backoff import NoBackoff
            from redis.retry import Retry
        except ImportError as err:
            raise Misconfigured(
                "notices over Redis need the redis package: pip install 'aisecure[redis]'",
                code="config.extra",
            ) from err
        self._errors = (redis.RedisError, OSError)
        self._prefix = prefix
        try:
            pool = redis.BlockingConnectionPool.from_url(
                url if isinstance(url, str) else url.get_secret_value(),
                # Asked by one thread at a time; the others publish.
                max_connections=4,
                timeout=timeout_seconds,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                # Nothing is tried twice: whoever is refused asks again, and a change may be counted twice.
                retry=Retry(NoBackoff(), 0),
                protocol=2,
            )
        except (ValueError, TypeError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "redis_url: write redis://host:6379/0, rediss://host:6379/0 or unix:///path/to/socket",
                code="config.redis",
            ) from None
        self._client: Any = redis.Redis(connection_pool=pool)

    def __repr__(self) -> str:
        return f"RedisNotices(poll_seconds={self._poll_seconds})"

    def ask(self, topic: str) -> Mark:
        """Return the pair that the server keeps."""
        try:
            version, stamp = self._client.hmget(self._key(topic), "version", "stamp")
            return Mark() if version is None or stamp is None else Mark(int(version), stamp.decode("ascii"))
        except (*self._errors, ValueError) as err:
            raise _unavailable(err) from err

    def count(self, topic: str) -> None:
        """Count up and change the stamp, both or none."""
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hincrby(self._key(topic), "version", 1)
                pipeline.hset(self._key(topic), "stamp", secrets.token_hex(8))
                pipeline.execute()
        except self._errors as err:
            raise _unavailable(err) from err

    def close(self) -> None:
        """Close the connections; later use opens them again."""
        self._client.close()

    def _key(self, topic: str) -> bytes:
        return f"{self._prefix}:n1:{topic}".encode("utf-8", "surrogatepass")


def _unavailable(err: Exception) -> Unavailable:
    # Redis' own text may name host, key or user; the type is enough for a caller.
    return Unavailable(
        f"change notices could not be asked for on Redis ({type(err).__name__})", code="unavailable.notices"
    )
