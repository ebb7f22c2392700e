"""Ends tokens before they expire: one by its ``jti``, or all that a subject was given before some time.

A token says by itself until when it is good, so who ends one has to keep a note until then.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from aisecure.authn._given import NO_END
from aisecure.notices import StoredNotices
from aisecure.ports import Clock, SystemClock

if TYPE_CHECKING:
    from aisecure.notices import Notices
    from aisecure.storage import Storage

__all__ = ["TOPIC", "Revocations", "TokenRevocations"]

#: Change notices about revoked tokens.
TOPIC = "authn.tokens"

# ``what`` is a hash, so that the table names nobody. Tokens issued before ``before`` are refused until ``until``.
_MIGRATIONS = (
    """
    CREATE TABLE authn_revoked_tokens (what BLOB PRIMARY KEY, before REAL NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
    CREATE INDEX authn_revoked_tokens_until ON authn_revoked_tokens (until);
    """,
)
_REVOKE = """
    INSERT INTO authn_revoked_tokens VALUES (?, ?, ?) ON CONFLICT (what) DO UPDATE
    SET before = max(before, excluded.before), until = max(until, excluded.until)
"""
_FIND = "SELECT max(before) FROM authn_revoked_tokens WHERE what IN (?, ?)"


@runtime_checkable
class Revocations(Protocol):
    """Where revoked tokens are known. Give one of your own to a `JwtVerifier` to ask a session store, for example."""

    def version(self) -> int:
        """Return a number that changes with every revocation; asked for each token, so it has to be quick.

        Raises:
            Unavailable: A revocation could be missed, so no token is taken.
        """

    def is_revoked(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token with these verified claims was revoked; asked once for each token and version.

        Raises:
            Unavailable: It cannot be known.
        """


class TokenRevocations:
    """Keeps revocations in the embedded database, for all processes that share it; others hear within a second.

    Args:
        storage: The database.
        notices: Tells other objects and processes; by default where the revocations are.
        clock: Time.

    Raises:
        Misconfigured: The database is of a newer version of the library.
        Unavailable: It is locked, full or gone.

    >>> from aisecure.storage import Storage
    >>> revocations = TokenRevocations(Storage(":memory:"))
    >>> claims = {"iss": "https://login.example.com/", "sub": "u-17", "jti": "t-1", "iat": 1_700_000_000}
    >>> revocations.is_revoked(claims)
    False
    >>> revocations.revoke_subject("u-17", issuer="https://login.example.com/")
    >>> revocations.is_revoked(claims)
    True
    """

    def __init__(
        self, storage: Storage, *, notices: Notices | None = None, clock: Clock | None = None
    ) -> None:
        storage.migrate("authn_revoked_tokens", _MIGRATIONS)
        self._storage = storage
        self._notices = StoredNotices(storage) if notices is None else notices
        self._clock = clock or SystemClock()
        self.over_network: bool = getattr(self._notices, "over_network", False)

    def __repr__(self) -> str:
        return f"TokenRevocations({self._storage!r})"

    def revoke(self, jti: str, *, issuer: str, until: float) -> None:
        """Refuse one token from now on.

        Args:
            jti: Its ``jti``.
            issuer: Its ``iss``.
            until: Its ``exp``; the note is dropped a minute later.

        Raises:
            Unavailable: It could not be stored, or others not be told; do it again.
            ValueError: An argument makes no sense.
        """
        self._revoke("jti", issuer, jti, NO_END, until, kept_seconds=60.0)

    def revoke_subject(
        self, subject: str, *, issuer: str, before: float | None = None, until: float | None = None
    ) -> None:
        """Refuse every token that a subject was given before a time; also those that do not say when they were made.

        Args:
            subject: The ``sub``.
            issuer: The ``iss``.
            before: Seconds since the epoch; now when None. A token made in the very second is refused too.
            until: When the last of these tokens will have expired, so that the note may be dropped; None to keep it.

        Raises:
            Unavailable: It could not be stored, or others not be told; do it again.
            ValueError: An argument makes no sense.
        """
        now = self._clock.time()
        self._revoke(
            "sub", issuer, subject, now if before is None else before, NO_END if until is None else until
        )

    def version(self) -> int:
        """Return the number of changes, at most a second old."""
        return self._notices.version(TOPIC)

    def recent(self) -> int | None:
        """Return the version where nothing has to be asked over a network for it; else None."""
        if not self.over_network:
            return self._notices.version(TOPIC)
        recent = getattr(self._notices, "recent", None)
        return None if recent is None else recent(TOPIC)

    def is_revoked(self, claims: Mapping[str, Any]) -> bool:
        """Whether the token with these claims was revoked."""
        issuer = claims.get("iss", "")
        places = (_place("jti", issuer, claims.get("jti")), _place("sub", issuer, claims.get("sub")))
        before = self._storage.query(_FIND, places)[0][0]
        return before is not None and claims.get("iat", float("-inf")) <= before

    def _revoke(
        self, kind: str, issuer: str, name: str, before: float, until: float, *, kept_seconds: float = 0.0
    ) -> None:
        for value in (issuer, name):
            if not isinstance(value, str) or not value:
                raise ValueError(f"{kind}, issuer: give texts that are not empty")
        for number in (before, until):
            if type(number) not in (int, float) or math.isnan(number):
                raise ValueError("before, until: give seconds since the epoch")
        with self._storage.transaction() as connection:
            connection.execute("DELETE FROM authn_revoked_tokens WHERE until <= ?", (self._clock.time(),))
            connection.execute(
                _REVOKE, (_place(kind, issuer, name), before, min(until + kept_seconds, NO_END))
            )
        self._notices.publish(TOPIC)


def _place(kind: str, issuer: Any, name: Any) -> bytes:
    """Return the hash that stands for a token or a subject; a NUL ends the part that could run into the next."""
    text = f"{kind}\0{issuer}\0{name}" if isinstance(name, str) else ""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
