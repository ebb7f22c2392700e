"""The application's own key ring as a provider: it wraps the keys of data subjects."""

from __future__ import annotations

from aisecure.encryption.cipher import FieldCipher

__all__ = ["RingProvider"]

_PLACE = "aisecure wrapped key"


class RingProvider:
    """A `KeyProvider` over a `FieldCipher`: what it wraps is a binary token of that cipher.

    Rotate the ring, rewrap what this provider wrapped, then retire and destroy the ring's old key: backups of what
    was wrapped before are dead from then on.

    Args:
        cipher: Its primary key wraps, any of its keys unwraps.

    >>> from aisecure.encryption import Keyring
    >>> provider = RingProvider(FieldCipher(Keyring.generate()))
    >>> wrapped = provider.wrap(bytes(32), associated_data=b"whose key this is")
    >>> provider.unwrap(wrapped, associated_data=b"whose key this is") == bytes(32)
    True
    """

    __slots__ = ("_cipher",)

    def __init__(self, cipher: FieldCipher) -> None:
        if not isinstance(cipher, FieldCipher):
            raise TypeError(f"RingProvider takes a FieldCipher, not {type(cipher).__name__}")
        self._cipher = cipher

    @property
    def key_id(self) -> str:
        """``ring:`` and the id of the ring's primary key."""
        return f"ring:{self._cipher.keyring.primary}"

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key as a binary token.

        Raises:
            Unavailable, Misconfigured: The ring cannot be had.
        """
        return self._cipher.encrypt_bytes(key, context=(_PLACE, associated_data.hex()))

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given.

        Raises:
            DecryptionError: Damaged, of another ring or a key that is retired, or bound to other data.
            Unavailable, Misconfigured: The ring cannot be had.
        """
        return self._cipher.decrypt_bytes(wrapped, context=(_PLACE, associated_data.hex()))

    def __repr__(self) -> str:
        return f"RingProvider({self._cipher!r})"
