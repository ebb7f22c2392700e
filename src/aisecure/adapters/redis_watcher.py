"""A Casbin watcher over Redis, for pycasbin's enforcers and for `aisecure.access.Authorizer` alike.

::

    watcher = RedisWatcher("redis://localhost")
    enforcer.set_watcher(watcher)
    watcher.set_update_callback(enforcer.load_policy)

An authorizer needs no thread for it: ``Authorizer(..., notices=RedisNotices(url))`` looks at the same counter.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from aisecure.errors import Unavailable
from aisecure.notices import Mark
from aisecure.notices_redis import RedisNotices

if TYPE_CHECKING:
    from pydantic import SecretStr

__all__ = ["RedisWatcher"]

#: After an error; short, since a server that is back may have news.
_PAUSE_SECONDS: Final = 0.2


class RedisWatcher:
    """Tells other processes that the policy changed, and calls back when they do.

    It counts in the hash that `aisecure.notices_redis.RedisNotices` keeps for the topic, so that both understand each
    other. The count is the truth: a message only wakes whoever listens, and one that is lost costs `poll_seconds`.
    After a time without Redis the count is compared, and what was missed is told.

    ``set_update_callback`` starts one thread, in which the callback runs; start it after forking. With an enforcer
    whose threads decide meanwhile, take pycasbin's ``SyncedEnforcer``.

    The server's user needs the hash ``aisecure:n1:access.policy`` and the channel of the same name.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``, with password if there is one. Never shown.
        topic: Name of the policy, for several on one server.
        poll_seconds: At most this long a change stays unseen when its message was lost.
        timeout_seconds: For connecting, and for an answer.
        prefix: First word of every key, for several applications on one server.

    Raises:
        Misconfigured: The URL is none, or the `redis` package is missing.
        ValueError: ``poll_seconds`` is not above 0.
    """

    def __init__(
        self,
        url: str | SecretStr,
        *,
        topic: str = "access.policy",
        poll_seconds: float = 1.0,
        timeout_seconds: float = 0.5,
        prefix: str = "aisecure",
    ) -> None:
        if not 0 < poll_seconds <= threading.TIMEOUT_MAX:
            raise ValueError("poll_seconds: write more than 0 seconds")
        self._line = _Line(url, timeout_seconds=timeout_seconds, prefix=prefix)
        self._topic = topic
        self._poll_seconds = poll_seconds
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._callback: Callable[[], object] | None = None
        self._thread: threading.Thread | None = None
        # Unknown: whoever loaded the policy before watching may have missed something.
        self._seen: Mark | None = None
        self._trouble = ""
        self._good_at = time.monotonic()

    def __repr__(self) -> str:
        return f"RedisWatcher(topic={self._topic!r}, poll_seconds={self._poll_seconds})"

    def set_update_callback(self, callback: Callable[[], object]) -> None:
        """Call ``callback()`` when others changed the policy, and once at the beginning.

        One that raises is called again soon, until it succeeds.

        Raises:
            TypeError: It cannot be called.
        """
        if not callable(callback):
            raise TypeError("set_update_callback takes a function without arguments")
        with self._lock:
            self._callback = callback
            self._seen = None
            if self._thread is None and not self._closed.is_set():
                self._thread = threading.Thread(
                    target=self._listen, name="aisecure-redis-watcher", daemon=True
                )
                self._thread.start()

    def update(self) -> None:
        """Tell the others that the policy changed; the callback here is not called for it.

        Raises:
            Unavailable: They could not be told. The change itself is made; call again to tell of it.
        """
        with self._lock:
            before, now = self._line.tell(self._topic)
            if self._seen is not None and before == self._seen.stamp:
                self._seen = now  # nobody else changed anything in between

    def health(self) -> dict[str, Any]:
        """Return whether all changes are seen here, and for how many seconds they may not have been."""
        trouble = self._trouble
        seconds = time.monotonic() - self._good_at if trouble else 0.0
        return {"ok": not trouble, "unseen_seconds": seconds, "trouble": trouble}

    def close(self) -> None:
        """Call nothing back any more, and close the connections."""
        self._closed.set()
        with self._lock:
            thread, self._callback = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            self._line.wake(self._topic)
            thread.join(self._poll_seconds)
        self._line.close()

    # -- in the thread

    def _listen(self) -> None:
        channel = None
        try:
            while not self._closed.is_set():
                try:
                    if channel is None:
                        channel = self._line.channel(self._topic)
                    # After subscribing: what is told from here on ends the waiting.
                    self._look()
                    self._trouble, self._good_at = "", time.monotonic()
                    self._line.wait(channel, self._poll_seconds)
                except Exception as err:  # noqa: BLE001  (the callback's, too; it loads from anywhere)
                    self._trouble = type(err).__name__
                    _close(channel)
                    channel = None
                    self._closed.wait(_PAUSE_SECONDS)
        finally:
            _close(channel)

    def _look(self) -> None:
        with self._lock:
            now = self._line.ask(self._topic)
            callback = self._callback
            if now == self._seen or callback is None:
                return
        # Without the lock: the callback may wait for a thread that is in `update`.
        callback()
        with self._lock:
            if callback is self._callback:
                self._seen = now


class _Line(RedisNotices):
    """The hash of a topic, and a channel of the same name."""

    def tell(self, topic: str) -> tuple[str, Mark]:
        """Count a change and wake the others; return the stamp before and the mark after.

        Raises:
            Unavailable: It may not be counted.
        """
        key, stamp = self._key(topic), secrets.token_hex(8)
        try:
            with self._client.pipeline(transaction=True) as pipeline:
                pipeline.hget(key, "stamp")
                pipeline.hincrby(key, "version", 1)
                pipeline.hset(key, "stamp", stamp)
                pipeline.publish(key, b"")
                before, version, *_ = pipeline.execute()
        except self._errors as err:
            raise _silent(err) from err
        return (before or b"").decode("ascii", "replace"), Mark(version, stamp)

    def wake(self, topic: str) -> None:
        """Have everybody look who listens, if the server answers."""
        with suppress(*self._errors):
            self._client.publish(self._key(topic), b"")

    def channel(self, topic: str) -> Any:
        """Return a channel on which everything that is told from now on arrives.

        Raises:
            Unavailable: The server does not answer.
        """
        channel = self._client.pubsub(ignore_subscribe_messages=True)
        try:
            channel.subscribe(self._key(topic))
        except self._errors as err:
            _close(channel)
            raise _silent(err) from err
        return channel

    def wait(self, channel: Any, seconds: float) -> None:
        """Wait for a message.

        Raises:
            Unavailable: The connection broke.
        """
        try:
            channel.get_message(timeout=seconds)
        except self._errors as err:
            raise _silent(err) from err


def _silent(err: Exception) -> Unavailable:
    # Redis' own text may name host, key or user; the type is enough for a caller.
    return Unavailable(f"Redis does not answer ({type(err).__name__})", code="unavailable.notices")


def _close(channel: Any) -> None:
    if channel is not None:
        channel.close()
