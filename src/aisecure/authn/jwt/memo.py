"""Remembers who the tokens verified a moment ago speak of, without remembering any token."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from aisecure.authn.jwt.key_set import KeySet
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.ports import Clock

__all__ = ["TokenMemo"]


class _Entry(NamedTuple):
    principal: Principal
    keys: KeySet
    revocations: int
    until: float  # of the clock that never goes back
    begins: float  # of the wall clock, as the token has it, less the leeway
    ends: float  # as well, plus the leeway


class TokenMemo:
    """Principals by the SHA-256 of their token; bounded, the oldest leaves first.

    An entry counts only for the very key set and the version of the revocations that it was made under.

    Args:
        seconds: Longest time an answer is reused; none is when 0.
    """

    #: Entries; about 3 KB each.
    MAX_ENTRIES: ClassVar[int] = 10_000

    __slots__ = ("_entries", "_lock", "_seconds", "_state")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._entries: dict[bytes, _Entry] = {}
        self._lock = threading.Lock()
        self._state: tuple[KeySet | None, int] = (None, 0)

    def __len__(self) -> int:
        return len(self._entries)

    def __repr__(self) -> str:
        return f"TokenMemo({len(self)} entries)"

    def get(self, digest: bytes, keys: KeySet, revocations: int, clock: Clock) -> Principal | None:
        """Return the principal of a token, or None when it has to be verified."""
        known_keys, known_revocations = self._state
        if known_keys is not keys or known_revocations != revocations:
            self._forget(keys, revocations)
        entry = self._entries.get(digest)
        if entry is None or entry.keys is not keys or entry.revocations != revocations:
            return None
        if clock.monotonic() >= entry.until or not entry.begins <= clock.time() < entry.ends:
            return None
        return entry.principal

    def put(
        self,
        digest: bytes,
        principal: Principal,
        *,
        keys: KeySet,
        revocations: int,
        clock: Clock,
        leeway: float,
    ) -> None:
        """Remember a principal, as long as its token is valid."""
        if not self._seconds:
            return
        claims = principal.claims
        until = clock.monotonic() + self._seconds
        begins = max(claims.get(name, 0.0) for name in ("nbf", "iat", "auth_time")) - leeway
        entry = _Entry(principal, keys, revocations, until, begins, claims["exp"] + leeway)
        with self._lock:
            self._entries.pop(digest, None)
            if len(self._entries) >= self.MAX_ENTRIES:
                del self._entries[next(iter(self._entries))]
            self._entries[digest] = entry

    def _forget(self, keys: KeySet, revocations: int) -> None:
        # What no state will accept any more holds personal data, so it does not wait for its turn.
        with self._lock:
            self._entries = {}
            self._state = (keys, revocations)
