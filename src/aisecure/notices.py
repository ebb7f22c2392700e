"""Something changed: version counters that tell other objects and other processes.

The counter is the truth, a message only a hint. Whoever caches something remembers the version of its
topic and asks `Notices.version` before use; a lost message then costs a little time, never a wrong answer.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from aisecure.storage import Storage

__all__ = ["LocalNotices", "Notices", "StoredNotices"]


class Notices(Protocol):
    """Change notices by topic, such as ``authn.keys`` or ``access.policy``."""

    def publish(self, topic: str) -> int:
        """Say that something under the topic changed; return its new version.

        Raises:
            Unavailable: The counter could not be stored.
        """

    def version(self, topic: str) -> int:
        """Return the topic's version; it grows with every change. May lag by the poll interval."""

    def subscribe(self, topic: str, callback: Callable[[int], None]) -> Callable[[], None]:
        """Call ``callback(version)`` after a change was seen in this process; return an unsubscriber."""


class LocalNotices:
    """Notices inside one process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._versions: dict[str, int] = {}
        self._callbacks: dict[str, list[Callable[[int], None]]] = {}

    def publish(self, topic: str) -> int:
        """Count the change and call the subscribers, in this thread."""
        with self._lock:
            version = self._versions[topic] = self._versions.get(topic, 0) + 1
        self._tell(topic, version)
        return version

    def version(self, topic: str) -> int:
        """Return the number of changes so far."""
        return self._versions.get(topic, 0)

    def subscribe(self, topic: str, callback: Callable[[int], None]) -> Callable[[], None]:
        """Register a callback; it runs in the thread that publishes."""
        with self._lock:
            self._callbacks.setdefault(topic, []).append(callback)

        def unsubscribe() -> None:
            with self._lock:
                if callback in self._callbacks.get(topic, ()):
                    self._callbacks[topic].remove(callback)

        return unsubscribe

    def _tell(self, topic: str, version: int) -> None:
        with self._lock:
            callbacks = tuple(self._callbacks.get(topic, ()))
        for callback in callbacks:
            callback(version)


class StoredNotices(LocalNotices):
    """Notices between processes that share one database.

    The version is read from SQLite at most once in ``poll_seconds`` and topic, so that a change reaches
    every process within that time of its next question. No thread runs.

    Args:
        storage: The shared database.
        poll_seconds: How old an answer may be.
        monotonic: Clock for the poll interval.
    """

    _MIGRATIONS = ("CREATE TABLE notices (topic TEXT PRIMARY KEY, version INTEGER NOT NULL);",)

    def __init__(
        self, storage: Storage, *, poll_seconds: float = 1.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        storage.migrate("notices", self._MIGRATIONS)
        self._storage = storage
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._asked: dict[str, float] = {}

    def publish(self, topic: str) -> int:
        """Count the change in the database, so that every process sees it, and call the subscribers here."""
        with self._storage.transaction() as connection:
            connection.execute(
                "INSERT INTO notices VALUES (?, 1) ON CONFLICT (topic) DO UPDATE SET version = version + 1",
                (topic,),
            )
            version = int(
                connection.execute("SELECT version FROM notices WHERE topic = ?", (topic,)).fetchone()[0]
            )
        self._seen(topic, version)
        return version

    def version(self, topic: str) -> int:
        """Return the stored version, at most ``poll_seconds`` old.

        Raises:
            Unavailable: The database cannot be read, so a change could be missed.
        """
        now = self._monotonic()
        if now - self._asked.get(topic, float("-inf")) >= self._poll_seconds:
            rows = self._storage.query("SELECT version FROM notices WHERE topic = ?", (topic,))
            self._asked[topic] = now
            if rows:
                self._seen(topic, int(rows[0][0]))
        return self._versions.get(topic, 0)

    def _seen(self, topic: str, version: int) -> None:
        with self._lock:
            if version <= self._versions.get(topic, 0):
                return
            self._versions[topic] = version
        self._tell(topic, version)
