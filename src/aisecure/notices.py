"""Something changed: version counters that tell other objects and other processes.

The counter is the truth, a message only a hint. Whoever caches something remembers the version of its
topic and asks `Notices.version` before use; a lost message then costs a little time, never a wrong answer.
"""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Protocol

from aisecure.errors import Unavailable

if TYPE_CHECKING:
    from aisecure.storage import Storage

__all__ = ["LocalNotices", "Mark", "Notices", "PolledNotices", "StoredNotices"]


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

    def recent(self, topic: str) -> int | None:
        """Return the version where nothing has to be asked over a network for it, which is here always; else None."""
        return self.version(topic)

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


class Mark(NamedTuple):
    """What a server keeps of a topic.

    Attributes:
        version: Number of changes, as far as the server remembers.
        stamp: Another one with each change, and never the same again: a server that lost its memory, or a copy of
            it that missed the last change, counts through numbers that were there before.
    """

    version: int = 0
    stamp: str = ""


class PolledNotices(LocalNotices, ABC):
    """Notices of processes that share a server; what kind of server, a subclass says.

    The server is asked at most once in ``poll_seconds`` and topic, by one thread while others wait for its answer.
    When it does not answer, every question is refused at once for `PAUSE_SECONDS`, and then it is asked again: callers
    of a dead server are turned away without waiting for it one after another. No thread runs.

    Versions are of this object: they grow with every change of the mark, also when the server begins to
    count anew, and after a time without answer. So they may run ahead of the server's.

    Args:
        poll_seconds: How old an answer may be.
        monotonic: Clock for the poll interval.

    Raises:
        ValueError: ``poll_seconds`` is below 0.
    """

    #: Coroutines ask in a thread, unless `recent` knows.
    over_network: ClassVar[bool] = True
    #: Pause after a question without answer.
    PAUSE_SECONDS: ClassVar[float] = 0.2

    def __init__(self, *, poll_seconds: float = 1.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        if not poll_seconds >= 0:
            raise ValueError("poll_seconds: write 0 or more seconds")
        super().__init__()
        self._poll_seconds = poll_seconds
        self._monotonic = monotonic
        self._turn = threading.Lock()
        self._marks: dict[str, Mark] = {}
        self._asked: dict[str, float] = {}
        self._failed = _NEVER

    @abstractmethod
    def ask(self, topic: str) -> Mark:
        """Return what the server keeps; ``Mark()`` when it keeps nothing.

        Raises:
            Unavailable: It does not say.
        """

    @abstractmethod
    def count(self, topic: str) -> None:
        """Make the server count a change, under a new stamp.

        Raises:
            Unavailable: It may not have.
        """

    def recent(self, topic: str) -> int | None:
        """Return the version when it is young enough to be used, without asking; else None."""
        young = self._monotonic() - self._asked.get(topic, _NEVER) < self._poll_seconds
        return self._versions.get(topic, 0) if young else None

    def publish(self, topic: str) -> int:
        """Count the change on the server, so that every process sees it, and call the subscribers here."""
        try:
            self.count(topic)
        except Unavailable:
            with self._turn:
                self._doubt(topic)
            raise
        return self._brought_up_to_date(topic, at_once=True)

    def version(self, topic: str) -> int:
        """Return the version, at most ``poll_seconds`` old.

        Raises:
            Unavailable: The server does not answer, so a change could be missed.
        """
        version = self.recent(topic)
        return self._brought_up_to_date(topic) if version is None else version

    def _brought_up_to_date(self, topic: str, *, at_once: bool = False) -> int:
        with self._turn:
            version = None if at_once else self.recent(topic)
            if version is not None:
                return version  # somebody else's question was answered meanwhile
            now = self._monotonic()
            if not at_once and now - self._failed < min(self._poll_seconds, self.PAUSE_SECONDS):
                raise Unavailable("change notices could not be asked for", code="unavailable.notices")
            try:
                mark = self.ask(topic)
            except Unavailable:
                self._failed = self._monotonic()
                self._doubt(*self._asked)
                raise
            version = self._versions.get(topic, 0)
            changed = mark != self._marks.get(topic, _NOTHING)
            if changed:
                self._marks[topic] = mark
                version = self._versions[topic] = max(version + 1, mark.version)
            # As old as the question: what changed while the answer was on its way is not in it.
            self._asked[topic] = now
        if changed:
            self._tell(topic, version)
        return version

    def _doubt(self, *topics: str) -> None:
        # Somebody may have changed something and found no way to say so: the next answer counts as a change.
        for topic in topics:
            self._asked[topic] = _NEVER
            self._marks[topic] = _DOUBTFUL


_NEVER = float("-inf")
_NOTHING, _DOUBTFUL = Mark(), Mark(-1)
