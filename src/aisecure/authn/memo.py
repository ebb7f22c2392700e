"""Remembers which keys were verified a moment ago, without remembering any key."""

from __future__ import annotations

import threading
from typing import ClassVar, NamedTuple

from aisecure.ports import Clock
from aisecure.principal import Principal

__all__ = ["Memo"]


class _Entry(NamedTuple):
    principal: Principal
    version: int
    until: float  # of the clock that never goes back
    expires_at: float | None  # of the wall clock, as the key has it


class Memo:
    """Principals by the hash of their credential; bounded, the oldest leaves first.

    An entry counts only while the version of the change notices is the one it was made under.
    """

    #: Longest time an answer is reused. Notices end it earlier; this is for the notice that a killed process
    #: never sent.
    SECONDS: ClassVar[float] = 30.0
    #: Entries; about 1 KB each.
    MAX_ENTRIES: ClassVar[int] = 10_000

    __slots__ = ("_entries", "_lock", "_version")

    def __init__(self) -> None:
        self._entries: dict[bytes, _Entry] = {}
        self._lock = threading.Lock()
        self._version = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"Memo({len(self)} entries)"

    def get(self, digest: bytes, version: int, clock: Clock) -> Principal | None:
        """Return the principal, or None when it is unknown, too old, expired or of an older version."""
        if version != self._version:
            self._forget(version)
        entry = self._entries.get(digest)
        if entry is None or entry.version != version or clock.monotonic() >= entry.until:
            return None
        if entry.expires_at is not None and clock.time() >= entry.expires_at:
            return None
        return entry.principal

    def put(
        self, digest: bytes, version: int, clock: Clock, principal: Principal, expires_at: float | None
    ) -> None:
        """Remember a principal."""
        entry = _Entry(principal, version, clock.monotonic() + self.SECONDS, expires_at)
        with self._lock:
            self._entries.pop(digest, None)
            if len(self._entries) >= self.MAX_ENTRIES:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = entry

    def _forget(self, version: int) -> None:
        # What no version will accept any more holds personal data, so it does not wait for its turn.
        with self._lock:
            self._entries = {}
            self._version = version
