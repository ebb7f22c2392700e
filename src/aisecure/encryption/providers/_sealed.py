"""The form in which a local key wraps: a header, then AES-256-GCM over it and the associated data."""

from __future__ import annotations

from os import urandom

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.errors import DecryptionError

__all__ = ["open_sealed", "seal"]

_NONCE_BYTES = 12
_TAG_BYTES = 16


def seal(aead: AESGCM, header: bytes, key: bytes, associated_data: bytes) -> bytes:
    """Return ``header | nonce, 12 bytes | ciphertext | tag, 16 bytes``.

    The header has a fixed length, so that header and associated data need no separator. Nonces are random:
    one wrapping key is good for 2**32 wraps (NIST SP 800-38D section 8.3).
    """
    nonce = urandom(_NONCE_BYTES)
    return header + nonce + aead.encrypt(nonce, key, header + associated_data)


def open_sealed(aead: AESGCM, header_bytes: int, wrapped: bytes, associated_data: bytes) -> bytes:
    """Return what `seal` was given.

    Raises:
        DecryptionError: For every reason alike.
    """
    header, rest = wrapped[:header_bytes], wrapped[header_bytes:]
    # Longer, not as long: no provider wraps an empty key.
    if len(rest) > _NONCE_BYTES + _TAG_BYTES:
        try:
            return aead.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], header + associated_data)
        except InvalidTag:
            pass
    raise DecryptionError
