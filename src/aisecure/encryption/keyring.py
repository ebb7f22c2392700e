"""The keys themselves: many that decrypt, one that encrypts, and the marks of those that are gone.

A ring is plain immutable data; `aisecure.encryption.KeyFile` keeps one. A key passes through these states:

    primary --rotate--> active --retire--> retired --destroy--> gone, its id marked for ever
                          ^-----reinstate----'

Retiring is the rehearsal of destroying: what still needs the key fails now, and `Keyring.reinstate` undoes it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NoReturn, Protocol

from aisecure.ports import Clock, SystemClock

__all__ = ["ID_SIZES", "KEY_BYTES", "Key", "KeySource", "Keyring"]

KEY_BYTES = 32
#: Ids are random, so that rings that grew apart can be told apart; one that is taken is drawn again.
ID_BYTES = 4
#: Keys of data subjects are millions in one database and are found by their id alone, which therefore is longer.
ID_SIZES = (ID_BYTES, 16)


@dataclass(frozen=True, slots=True)
class Key:
    """One AES-256 key; its ``repr`` leaves the secret out.

    Attributes:
        id: 4 random bytes, or 16 for the key of a data subject; written into every token.
        secret: `KEY_BYTES` random bytes.
        created: Seconds since the epoch, UTC; for people, nothing depends on it.
        retired: It is kept and decrypts nothing.
    """

    id: bytes
    secret: bytes = field(repr=False)
    created: int
    retired: bool = False

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Key is not pickled: keep it in a key file")


class KeySource(Protocol):
    """Where a cipher finds the present ring, such as a `aisecure.encryption.KeyFile`."""

    @property
    def poll_seconds(self) -> float:
        """How long a cipher may go on with the ring it was given."""

    def ring(self) -> Keyring:
        """Return the present ring; the same object while nothing changed.

        Raises:
            Unavailable, Misconfigured: It cannot be had; the cipher refuses to work.
        """

    def subscribe(self, callback: Callable[[], None]) -> None:
        """Call a bound method whenever this object changed the ring, for as long as the method's object lives."""


class Keyring:
    """Keys that can decrypt, one of which, the primary, encrypts; immutable.

    Args:
        keys: With different ids of one size, oldest first.
        primary: Id of the key that encrypts.
        destroyed: Ids of keys that are gone.

    >>> ring = Keyring.generate()
    >>> newer = ring.rotate()
    >>> newer.key_ids[0] == ring.primary, newer.key_ids[-1] == newer.primary
    (True, True)
    >>> newer.retire(ring.primary).destroy(ring.primary).key_ids == (newer.primary,)
    True
    """

    __slots__ = ("_destroyed", "_keys", "_primary")

    _keys: Mapping[bytes, Key]
    _primary: bytes
    _destroyed: tuple[bytes, ...]

    def __init__(self, keys: Iterable[Key], primary: bytes, destroyed: Iterable[bytes] = ()) -> None:
        listed, gone = tuple(keys), tuple(destroyed)
        by_id = {key.id: key for key in listed}
        if len(by_id) != len(listed) or primary not in by_id or by_id[primary].retired:
            raise ValueError(
                "a key ring has keys with different ids, one of which is the primary, not retired"
            )
        if len({len(key_id) for key_id in by_id}) != 1 or len(primary) not in ID_SIZES:
            raise ValueError(f"the key ids of a ring have one size, of {ID_SIZES} bytes")
        if any(len(key.secret) != KEY_BYTES for key in listed):
            raise ValueError(f"a key has {KEY_BYTES} bytes")
        if not by_id.keys().isdisjoint(gone):
            raise ValueError("a destroyed key cannot be in the ring")
        object.__setattr__(self, "_keys", by_id)
        object.__setattr__(self, "_primary", primary)
        object.__setattr__(self, "_destroyed", gone)

    @classmethod
    def generate(cls, *, clock: Clock | None = None, random: Callable[[int], bytes] = os.urandom) -> Keyring:
        """Return a ring with one new key.

        Args:
            clock: When the key was made.
            random: Source of cryptographic randomness; takes a number of bytes.
        """
        key = _new_key((), clock or SystemClock(), random)
        return cls((key,), key.id)

    def rotate(self, *, clock: Clock | None = None, random: Callable[[int], bytes] = os.urandom) -> Keyring:
        """Return a ring with a new primary key; the old keys still decrypt. This ring stays as it is."""
        key = _new_key((*self._keys, *self._destroyed), clock or SystemClock(), random)
        return Keyring((*self._keys.values(), key), key.id, self._destroyed)

    def retire(self, key_id: str) -> Keyring:
        """Return a ring in which a key decrypts nothing any more, and can be reinstated.

        Raises:
            ValueError: There is no such key, or it is the primary: rotate first.
        """
        key = self._named(key_id)
        if key.id == self._primary:
            raise ValueError(f"key {key_id} is the primary; rotate the ring first")
        return self._with(replace(key, retired=True))

    def reinstate(self, key_id: str) -> Keyring:
        """Return a ring in which a retired key decrypts again.

        Raises:
            ValueError: There is no such key.
        """
        return self._with(replace(self._named(key_id), retired=False))

    def destroy(self, key_id: str) -> Keyring:
        """Return a ring without a retired key: what it encrypted is lost for ever, in backups of the data too.

        Raises:
            ValueError: There is no such key, or it was not retired first.
        """
        key = self._named(key_id)
        if not key.retired:
            raise ValueError(
                f"key {key_id} is in use; retire it first, and destroy it when nothing missed it"
            )
        rest = (other for other in self._keys.values() if other is not key)
        return Keyring(rest, self._primary, (*self._destroyed, key.id))

    def get(self, key_id: bytes) -> Key | None:
        """Return the key that may decrypt what names this id; None when it is unknown, retired or destroyed."""
        key = self._keys.get(key_id)
        return None if key is None or key.retired else key

    def knows(self, key_id: bytes) -> bool:
        """Whether the ring has, or had, a key of this id."""
        return key_id in self._keys or key_id in self._destroyed

    @property
    def primary(self) -> str:
        """Id of the key that encrypts, as hexadecimal."""
        return self._primary.hex()

    @property
    def primary_key(self) -> Key:
        """The key that encrypts."""
        return self._keys[self._primary]

    @property
    def key_ids(self) -> tuple[str, ...]:
        """Ids of all keys, oldest first, as hexadecimal; retired ones too."""
        return tuple(key_id.hex() for key_id in self._keys)

    @property
    def destroyed(self) -> tuple[str, ...]:
        """Ids of the keys that are gone, as hexadecimal."""
        return tuple(key_id.hex() for key_id in self._destroyed)

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys themselves, oldest first; retired ones too."""
        return tuple(self._keys.values())

    def _named(self, key_id: str) -> Key:
        try:
            return self._keys[bytes.fromhex(key_id)]
        except (KeyError, TypeError, ValueError):
            pass
        raise ValueError("no such key in the ring; its key_ids are those that can be named")

    def _with(self, changed: Key) -> Keyring:
        keys = (changed if key.id == changed.id else key for key in self._keys.values())
        return Keyring(keys, self._primary, self._destroyed)

    def __repr__(self) -> str:
        return f"Keyring(primary={self.primary!r}, key_ids={list(self.key_ids)!r})"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"Keyring is immutable: cannot set {name}")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"Keyring is immutable: cannot delete {name}")

    def __reduce__(self) -> NoReturn:
        # A pickle would carry the keys into caches and queues that nobody thinks of as secret.
        raise TypeError("a Keyring is not pickled: keep it in a KeyFile, and open that where it is needed")


def _new_key(taken: Iterable[bytes], clock: Clock, random: Callable[[int], bytes]) -> Key:
    ids = {*taken}
    size = len(next(iter(ids), bytes(ID_BYTES)))
    key_id = random(size)
    while key_id in ids:
        key_id = random(size)
    return Key(key_id, random(KEY_BYTES), int(clock.time()))
