"""Keyed hashes of API keys, under a secret that the store does not hold, or under several while it changes."""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from aisecure.authn.text import KeyText

__all__ = ["PEPPER_BYTES", "Peppers"]

#: A pepper is as long as the hash it keys.
PEPPER_BYTES = 32


class Peppers:
    """One pepper or several, the newest first.

    Attributes:
        newest: Id of the pepper that new hashes are made with.

    Raises:
        TypeError, ValueError: A pepper is no bytes, or too short; or there is none.
    """

    __slots__ = ("_by_id", "newest")

    def __init__(self, pepper: bytes | Sequence[bytes]) -> None:
        peppers = [pepper] if isinstance(pepper, bytes) else pepper
        if not all(isinstance(one, bytes) for one in peppers):
            raise TypeError(f"pepper: give bytes, or a list of them, not {type(pepper).__name__}")
        if not peppers or any(len(one) < PEPPER_BYTES for one in peppers):
            raise ValueError(f"pepper: give at least {PEPPER_BYTES} random bytes")
        # Hashes that were given their key already: to copy one takes less than to begin anew.
        self._by_id = {
            hmac.digest(one, b"aisecure authn pepper id", "sha256")[:4]: hmac.new(one, None, "sha256")
            for one in peppers
        }
        self.newest = next(iter(self._by_id))

    def __repr__(self) -> str:
        return f"Peppers({len(self._by_id)})"

    def know(self, ids: set[bytes]) -> bool:
        """Whether all the ids are of these peppers."""
        return ids <= self._by_id.keys()

    def mac(self, parts: KeyText, pepper_id: bytes) -> bytes:
        """Return the hash of a key under the pepper of an id, or under the newest where the id is unknown."""
        mac = (self._by_id.get(pepper_id) or self._by_id[self.newest]).copy()
        mac.update(f"{parts.key_id}_{parts.secret}".encode())
        return mac.digest()
