"""API keys in memory."""

from __future__ import annotations

import threading

from aisecure.authn.store import StoredKey
from aisecure.notices import LocalNotices

__all__ = ["MemoryKeyStore"]


class MemoryKeyStore:
    """Keeps keys as long as this object lives: for tests, and for keys made at start.

    >>> from aisecure.authn import ApiKeys
    >>> keys = ApiKeys(MemoryKeyStore(), pepper=bytes(32))
    >>> keys.verify(keys.create("batch-job").secret).id
    'batch-job'
    """

    over_network = False

    def __init__(self) -> None:
        self._notices = LocalNotices()
        self._keys: dict[str, StoredKey] = {}
        self._lock = threading.Lock()

    def __repr__(self) -> str:
        return f"MemoryKeyStore({len(self._keys)} keys)"

    def notices(self) -> LocalNotices:
        """Return change notices among the users of this object."""
        return self._notices

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        with self._lock:
            self._keys[key.key_id] = key

    def find(self, key_id: str) -> StoredKey | None:
        """Return a key by its id."""
        return self._keys.get(key_id)

    def select(self, *, tenant: str | None, principal: str | None) -> list[StoredKey]:
        """Return the keys of a tenant and a principal (of all, where None), oldest first."""
        with self._lock:
            keys = list(self._keys.values())
        found = [
            key
            for key in keys
            if (tenant is None or key.tenant == tenant) and (principal is None or key.principal == principal)
        ]
        return sorted(found, key=lambda key: (key.created_at, key.key_id))

    def revoke(self, key_id: str, at: float) -> bool:
        """Mark a key as revoked; return whether it is there and was not."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None or key.revoked_at is not None:
                return False
            self._keys[key_id] = key._replace(revoked_at=at)
        return True

    def replace(self, key_id: str, successor: StoredKey, until: float) -> bool:
        """Keep a successor, and let a key end at ``until``, both or neither."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is None or key.revoked_at is not None or key.replaced_by is not None:
                return False
            self._keys[key_id] = key._replace(expires_at=until, replaced_by=successor.key_id)
            self._keys[successor.key_id] = successor
        return True

    def note_use(self, key_id: str, at: float, *, unless_since: float) -> None:
        """Note that a key was accepted, unless a use after ``unless_since`` is noted already."""
        with self._lock:
            key = self._keys.get(key_id)
            if key is not None and (key.last_used_at is None or key.last_used_at <= unless_since):
                self._keys[key_id] = key._replace(last_used_at=at)

    def erase(self, tenant: str, principal: str) -> int:
        """Delete the keys of a principal; return how many there were."""
        with self._lock:
            before = len(self._keys)
            self._keys = {
                key_id: key
                for key_id, key in self._keys.items()
                if (key.tenant, key.principal) != (tenant, principal)
            }
            return before - len(self._keys)

    def peppers(self, now: float) -> set[bytes]:
        """Return which peppers those keys were made with that are neither revoked nor expired."""
        with self._lock:
            return {
                key.pepper
                for key in self._keys.values()
                if key.revoked_at is None and (key.expires_at is None or key.expires_at > now)
            }
