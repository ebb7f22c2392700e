"""What a place that keeps API keys has to do; memory, SQLite and SQLAlchemy are such places."""

from __future__ import annotations

from typing import NamedTuple, Protocol, runtime_checkable

from aisecure.notices import Notices

__all__ = ["NO_SUCH_KEY", "ApiKeyStore", "StoredKey"]


class StoredKey(NamedTuple):
    """A key as it is stored: plain values, in the order of the columns.

    Attributes:
        roles, scopes: JSON lists of texts.
        scheme: How ``mac`` was made; 1 is HMAC-SHA-256 over ``<key id>_<secret>``.
        pepper: Which pepper ``mac`` is keyed with: 4 bytes, not secret.
        mac: The keyed hash.

    The others are those of `ApiKeyRecord`.
    """

    tenant: str
    key_id: str
    principal: str
    roles: str
    scopes: str
    scheme: int
    pepper: bytes
    mac: bytes
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    name: str = ""
    last_used_at: float | None = None
    replaced_by: str | None = None

    def __repr__(self) -> str:
        return f"StoredKey(key_id={self.key_id!r})"


#: Stands in for a key that does not exist, so that looking for one costs what looking one up costs.
NO_SUCH_KEY = StoredKey("", "", "", "[]", "[]", 1, b"", bytes(32), 0.0)


@runtime_checkable
class ApiKeyStore(Protocol):
    """Keeps keys. Every method raises `Unavailable` when it cannot do its work, and then has changed nothing.

    Attributes:
        over_network: Whether asking may take a while, so that coroutines ask in a thread.
    """

    over_network: bool

    def notices(self) -> Notices:
        """Return change notices that reach whoever shares these keys."""

    def add(self, key: StoredKey) -> None:
        """Keep a new key; its id is not in use."""

    def find(self, key_id: str) -> StoredKey | None:
        """Return a key by its id, as it is now."""

    def select(self, *, tenant: str | None, principal: str | None) -> list[StoredKey]:
        """Return the keys of a tenant and a principal (of all, where None), oldest first."""

    def revoke(self, key_id: str, at: float) -> bool:
        """Mark a key as revoked; return whether it is there and was not."""

    def replace(self, key_id: str, successor: StoredKey, until: float) -> bool:
        """Keep a successor, and let a key end at ``until``, both or neither.

        Returns False, with nothing changed, when the key is gone, revoked, or has a successor already.
        """

    def note_use(self, key_id: str, at: float, *, unless_since: float) -> None:
        """Note that a key was accepted, unless a use after ``unless_since`` is noted already.

        Must not wait for other writers: a caller waits for this, and a lost note is harmless.
        """

    def erase(self, tenant: str, principal: str) -> int:
        """Delete the keys of a principal; return how many there were."""

    def peppers(self, now: float) -> set[bytes]:
        """Return which peppers those keys were made with that are neither revoked nor expired."""
