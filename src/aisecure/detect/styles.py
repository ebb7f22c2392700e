"""Further ways to replace a value, as functions for ``Redactor(style=...)``."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable

from aisecure.ports import Cipher

__all__ = ["encrypted", "keyed_hash"]

_LEAST_KEY = 32


def keyed_hash(key: bytes, *, scope: str = "", length: int = 12) -> Callable[[str, str], str]:
    """Return a style that writes ``[EMAIL:ccac69689cc7]``: equal for equal values, so that records can still be joined.

    The digest is HMAC-SHA-256 (RFC 2104) of kind, scope and value. Without a key a digest of a phone number is the phone number: all of
    them can be tried (45 CFR 164.514(c) asks for codes that are not derived from the data alone).

    Args:
        key: 32 random bytes or more, kept apart from the data.
        scope: Values of different scopes are not equal, such as the tenant.
        length: Hexadecimal digits, 8 to 64: 12 are 48 bits.

    Raises:
        TypeError: The key is not bytes.
        ValueError: The key is shorter, or the length is out of range.

    >>> from aisecure.detect import Redactor
    >>> redactor = Redactor(style=keyed_hash(bytes(32)))
    >>> redactor.redact("ada@example.org, ada@example.org").text
    '[EMAIL:ccac69689cc7], [EMAIL:ccac69689cc7]'
    """
    if not isinstance(key, bytes):
        raise TypeError("the key of a hash is bytes")
    if len(key) < _LEAST_KEY or not 8 <= length <= 64:
        raise ValueError(f"the key of a hash has {_LEAST_KEY} bytes or more, and 8 to 64 digits are written")

    def style(kind: str, value: str) -> str:
        parts = (
            kind.encode(),
            scope.encode("utf-8", "surrogatepass"),
            value.encode("utf-8", "surrogatepass"),
        )
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in parts)
        return f"[{_label(kind)}:{hmac.new(key, framed, hashlib.sha256).hexdigest()[:length]}]"

    return style


def encrypted(cipher: Cipher, *, context: tuple[str | int, ...] = ()) -> Callable[[str, str], str]:
    """Return a style that writes ``[EMAIL:token]``: whoever may decrypt can read the value in its place.

    Args:
        cipher: Such as a `FieldCipher` or a `SubjectCipher`.
        context: What the tokens are bound to; the kind is added to it. Decrypt with ``context=(*context, kind)``.

    >>> from aisecure.detect import Redactor
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> cipher = FieldCipher(Keyring.generate())
    >>> text = Redactor(style=encrypted(cipher, context=("notes", 42))).redact("mail ada@example.org").text
    >>> cipher.decrypt(text.removeprefix("mail [EMAIL:").removesuffix("]"), context=("notes", 42, "pii.email"))
    'ada@example.org'
    """

    def style(kind: str, value: str) -> str:
        return f"[{_label(kind)}:{cipher.encrypt(value, context=(*context, kind))}]"

    return style


def _label(kind: str) -> str:
    return kind.rpartition(".")[2].upper()
