"""AES-256-GCM for single fields: a text token that names its key and opens only in its own place.

A token of version 1 is standard base64 (RFC 4648 section 4, padded, canonical) of

    version 0x01 | key id, 4 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes

and the associated data is the first five bytes followed by the context (`aisecure.encryption.context`), so
neither version, key id nor place can be changed.

Why random nonces, and how many. A nonce that repeats under one key ends both secrecy and authenticity of GCM.
With 96 random bits NIST SP 800-38D section 8.3 allows 2**32 messages a key, which keeps the chance of a repeat
below 2**-32. Counters would allow more and need a memory that survives crashes, forks and restored snapshots;
random nonces need none. So messages are counted here, and the cipher refuses at `MAX_MESSAGES`. The count is of
one process since its start: where P processes share a ring for a long time, set ``max_messages`` to
``MAX_MESSAGES // P`` and rotate by date as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import count
from os import urandom
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pybase64 import b64decode, b64encode_as_string

from aisecure.encryption.context import Part, encode_context
from aisecure.encryption.keyring import Keyring
from aisecure.errors import DecryptionError, Misconfigured

__all__ = ["MAX_BYTES", "MAX_MESSAGES", "BoundCipher", "FieldCipher"]

VERSION = b"\x01"
_HEAD = 5
_BODY = _HEAD + 12
_LEAST = _BODY + 16

#: Largest plaintext, in bytes of UTF-8: OpenSSL takes 2**31 - 1 bytes at once, tag included.
MAX_BYTES = 2**31 - 1 - 16
#: Messages under one key with random nonces: NIST SP 800-38D section 8.3.
MAX_MESSAGES = 2**32

#: What a token that is none of ours makes its decoders and its key raise; no base64 and no UTF-8 are ValueErrors.
_FAILURES = (InvalidTag, KeyError, ValueError, OverflowError)

#: Messages so far of each key that this process encrypts with, by digest: two rings may hold one key.
_USES: dict[bytes, Iterator[int]] = {}


class FieldCipher:
    """Encrypts fields with the primary key of a ring, and decrypts what any of its keys encrypted.

    Against whoever reads or changes the store: tokens cannot be read, altered, or moved to another place
    (CWE-311, CWE-353). Not against whoever holds the ring, and not against replay of an older token of the
    same place. Cost does not depend on the number of keys. Safe to share between threads.

    Args:
        keyring: The keys.
        max_messages: Messages to encrypt before the primary key counts as used up in this process.

    >>> cipher = FieldCipher(Keyring.generate())
    >>> token = cipher.encrypt("allergic to penicillin", context=("patients", "notes", 42))
    >>> cipher.decrypt(token, context=("patients", "notes", 42))
    'allergic to penicillin'
    """

    __slots__ = ("_aead", "_head", "_keys", "_limit", "_uses", "_whole", "keyring")

    def __init__(self, keyring: Keyring, *, max_messages: int = MAX_MESSAGES) -> None:
        if not isinstance(keyring, Keyring):
            raise TypeError(f"FieldCipher takes a Keyring, not {type(keyring).__name__}")
        if type(max_messages) is not int or not 0 < max_messages <= MAX_MESSAGES:
            raise ValueError(f"max_messages is a whole number from 1 to {MAX_MESSAGES}")
        self.keyring = keyring
        self._keys = {VERSION + key.id: AESGCM(key.secret) for key in keyring.keys}
        self._head = VERSION + bytes.fromhex(keyring.primary)
        self._aead = self._keys[self._head]
        self._limit = max_messages
        primary = next(key for key in keyring.keys if key.id == self._head[1:])
        # setdefault and next() are single steps of the interpreter, so threads need no lock.
        self._uses = _USES.setdefault(hashlib.sha256(primary.secret).digest(), count())
        self._whole = BoundCipher(self, b"")

    def encrypt(self, plaintext: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return a token for a text of at most `MAX_BYTES` bytes of UTF-8.

        Args:
            plaintext: The text.
            context: The place it belongs to, such as table, column, tenant and record. The same tuple opens it.

        Raises:
            TypeError, ValueError: Plaintext or context are no text, have a lone surrogate, or are too long.
            Misconfigured: The key is used up (``config.key_used_up``): rotate the ring.
        """
        return self._whole.encrypt(plaintext, *_tuple(context))

    def decrypt(self, token: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return the text of a token.

        Raises:
            DecryptionError: For every reason alike: key, context, damage, forgery.
            TypeError, ValueError: Token or context are of a wrong type; mistakes in the program.
        """
        return self._whole.decrypt(token, *_tuple(context))

    def encrypt_bytes(self, data: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return a binary token for BLOB columns; as `encrypt`, without the base64.

        >>> cipher = FieldCipher(Keyring.generate())
        >>> len(cipher.encrypt_bytes(b"", context=("scans", "image", 7)))
        33
        """
        if not isinstance(data, bytes):
            raise TypeError(f"encrypt_bytes takes bytes, not {type(data).__name__}")
        if next(self._uses) >= self._limit or len(data) > MAX_BYTES:
            raise self._refusal(data)
        nonce = urandom(12)
        place = self._head + encode_context(_tuple(context))
        return self._head + nonce + self._aead.encrypt(nonce, data, place)

    def decrypt_bytes(self, token: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return the bytes of a binary token; errors as for `decrypt`."""
        if not isinstance(token, bytes):
            raise TypeError(f"decrypt_bytes takes bytes, not {type(token).__name__}")
        place = token[:_HEAD] + encode_context(_tuple(context))
        try:
            return self._keys[token[:_HEAD]].decrypt(token[_HEAD:_BODY], token[_BODY:], place)
        except _FAILURES:
            pass
        # Outside the handler, so that not even the chain of exceptions says which it was.
        raise DecryptionError

    def bind(self, *parts: Part) -> BoundCipher:
        """Return a cipher for one column: these parts are encoded once and stand before those of each record.

        >>> notes = FieldCipher(Keyring.generate()).bind("patients", "notes")
        >>> notes.decrypt(notes.encrypt("well", 42), 42)
        'well'
        """
        return BoundCipher(self, encode_context(parts))

    def recognises(self, text: str) -> bool:
        """Whether a text has the outer form of a token under a key of this ring; it proves nothing more."""
        try:
            token = b64decode(text, validate=True)
        except ValueError:
            return False
        return len(token) >= _LEAST and token[:_HEAD] in self._keys

    def __repr__(self) -> str:
        return f"FieldCipher({self.keyring!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FieldCipher is not pickled: it holds keys")

    def _refusal(self, data: bytes) -> Misconfigured | ValueError:
        if len(data) > MAX_BYTES:
            return ValueError(f"a plaintext has at most {MAX_BYTES} bytes; split it")
        return Misconfigured(
            f"key {self.keyring.primary} has encrypted {self._limit} messages in this process; rotate the key ring",
            code="config.key_used_up",
        )


class BoundCipher:
    """A `FieldCipher` for one place, such as a column; made by `FieldCipher.bind`."""

    # The two methods are the hot path and written out flat: a call costs a twentieth of what AES does here.
    __slots__ = ("_aead", "_cipher", "_head", "_keys", "_limit", "_place", "_prefix", "_uses")

    def __init__(self, cipher: FieldCipher, prefix: bytes) -> None:
        self._cipher = cipher
        self._aead, self._head, self._keys = cipher._aead, cipher._head, cipher._keys  # noqa: SLF001  (one idea in two classes)
        self._uses, self._limit = cipher._uses, cipher._limit  # noqa: SLF001
        self._prefix = prefix
        self._place = cipher._head + prefix  # noqa: SLF001

    def encrypt(self, plaintext: str, *record: Part) -> str:
        """Return a token; the same as `FieldCipher.encrypt` with the bound parts and these as context."""
        if len(record) == 1 and type(record[0]) is int:  # what most records are named by
            place = self._place + b"i%d;" % record[0]
        else:
            place = self._place + encode_context(record)
        try:
            data = plaintext.encode()
        except (AttributeError, UnicodeEncodeError):
            pass
        else:
            if next(self._uses) >= self._limit or len(data) > MAX_BYTES:
                raise self._cipher._refusal(data)  # noqa: SLF001
            nonce = urandom(12)
            return b64encode_as_string(self._head + nonce + self._aead.encrypt(nonce, data, place))
        # Outside the handler: the encoder's error carries the whole text.
        raise _no_text(plaintext)

    def decrypt(self, token: str, *record: Part) -> str:
        """Return the text of a token; errors as for `FieldCipher.decrypt`."""
        if len(record) == 1 and type(record[0]) is int:
            place = self._prefix + b"i%d;" % record[0]
        else:
            place = self._prefix + encode_context(record)
        if not isinstance(token, str):
            raise TypeError(f"decrypt takes a text token, not {type(token).__name__}")
        try:
            data = b64decode(token, None, True)
            if _is_canonical(token, len(data) % 3):
                head = data[:_HEAD]
                return self._keys[head].decrypt(data[_HEAD:_BODY], data[_BODY:], head + place).decode()
        except _FAILURES:
            pass
        raise DecryptionError

    def __repr__(self) -> str:
        return f"BoundCipher({self._cipher!r})"


def _is_canonical(token: str, spare: int) -> bool:
    """Whether the last character before the padding leaves no bit set that decoders drop; set, they make another token."""
    return not spare or (token[-3] in "AQgw" if spare == 1 else token[-2] in "AEIMQUYcgkosw048")


def _tuple(context: tuple[Part, ...]) -> tuple[Part, ...]:
    if type(context) is not tuple:
        raise TypeError(f"context is a tuple of texts and whole numbers, not {type(context).__name__}")
    return context


def _no_text(value: object) -> TypeError | ValueError:
    if not isinstance(value, str):
        return TypeError(f"encrypt takes a text, not {type(value).__name__}")
    where = next(index for index, letter in enumerate(value) if "\ud800" <= letter <= "\udfff")
    return ValueError(
        f"the plaintext has a lone surrogate at code point {where}, which has no UTF-8; clean it, or use encrypt_bytes"
    )
