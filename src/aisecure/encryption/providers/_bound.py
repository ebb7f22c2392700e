"""Associated data for services that do not authenticate any: its digest travels with the key, inside.

What wraps must itself be authenticated encryption; then digest and key cannot be taken apart.
"""

from __future__ import annotations

import hashlib
import hmac

from aisecure.errors import DecryptionError

__all__ = ["bind", "unbind"]

_DIGEST_BYTES = 32


def bind(key: bytes, associated_data: bytes) -> bytes:
    """Return the SHA-256 of the associated data followed by the key.

    >>> unbind(bind(b"a data key", b"ring"), b"ring")
    b'a data key'
    """
    return hashlib.sha256(associated_data).digest() + key


def unbind(content: bytes, associated_data: bytes) -> bytes:
    """Return the key of `bind`.

    Raises:
        DecryptionError: It was bound to other associated data, or never bound.
    """
    digest, key = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
    if not key or not hmac.compare_digest(digest, hashlib.sha256(associated_data).digest()):
        raise DecryptionError
    return key
