"""Where master keys are kept: a provider wraps data keys under a key that never leaves it.

A key ring in a file (`aisecure.encryption.KeyFile`), and the keys of data subjects, are stored wrapped by one
of these. Each is one small class with three members, `KeyProvider`; a user may write another.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["KeyProvider"]


@runtime_checkable
class KeyProvider(Protocol):
    """Wraps data keys, so that what is stored is useless without it."""

    @property
    def key_id(self) -> str:
        """Name of the wrapping key, not secret, at most 2,048 characters, stored beside what it wrapped."""

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped; ``associated_data`` is authenticated with it and not stored.

        Args:
            key: 1 to 4,096 bytes.
            associated_data: At most 1,024 bytes.

        Raises:
            Unavailable: The provider cannot be reached (``unavailable.key_provider``); nothing was wrapped.
            Misconfigured: It refuses this caller or has no such key; the text names the remedy.
        """

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given.

        Raises:
            DecryptionError: Damaged, wrapped by another key, or bound to other associated data; one error for all.
            Unavailable, Misconfigured: As for `wrap`.
        """
