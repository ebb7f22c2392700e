"""AES-256-GCM for single fields: a text token that names its key and opens only in its own place.

A token is standard base64 (RFC 4648 section 4, padded, canonical) of the bytes form, which is

    version 2 | key id, 4 bytes  | salt, 8 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes
    version 3 | key id, 16 bytes | salt, 8 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes

Version 3 is for the keys of data subjects. The data key comes from the key named and everything before the nonce
(`aisecure.encryption.datakeys`, with the reasons); the associated data is the context (`aisecure.encryption.context`).
So neither version, key nor place can be changed. Version 1, still read and no longer written, was

    version 1 | key id, 4 bytes | nonce, 12 bytes | ciphertext | tag, 16 bytes

under the ring's key itself, with the first five bytes before the context in the associated data.
"""

from __future__ import annotations

from os import urandom
from time import monotonic
from typing import NoReturn, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pybase64 import b64decode, b64encode_as_string

from aisecure.encryption.context import Part, encode_context
from aisecure.encryption.datakeys import LARGE_BYTES, MAX_MESSAGES, SALT_BYTES, DataKey, DataKeys
from aisecure.encryption.keyring import Keyring, KeySource
from aisecure.errors import DecryptionError

__all__ = ["MAX_BYTES", "BoundCipher", "FieldCipher", "key_id_of"]

#: Largest plaintext, in bytes of UTF-8: OpenSSL takes 2**31 - 1 bytes at once, tag included.
MAX_BYTES = 2**31 - 1 - 16

_ID_SIZE = {1: 4, 2: 4, 3: 16}
_NONCE, _TAG = 12, 16
#: Columns whose constant part of the context is kept encoded.
_KEPT_COLUMNS = 1024
#: All parts of a context but the last. Made once, as is `BoundCipher.width`: both are half as dear as ``-1`` here.
_HEAD = slice(None, -1)

#: What a token that is none of ours makes its decoders and its key raise; no base64 and no UTF-8 are ValueErrors.
_FAILURES = (InvalidTag, KeyError, ValueError, OverflowError)

Token = TypeVar("Token", str, bytes)


# The text methods of both classes, and the methods for bytes of the second, are the hot path, and written out flat: a
# call more costs a twentieth of what AES does here.


class FieldCipher:
    """Encrypts fields with the primary key of a ring, and decrypts what any of its keys encrypted.

    Against whoever reads or changes the store: tokens cannot be read, altered, or moved to another place
    (CWE-311, CWE-353). Not against whoever holds the ring, and not against replay of an older token of the
    same place. Cost does not depend on the number of keys. Safe to share between threads, and after a fork.

    Args:
        keys: A ring, or where to find the present one (a `aisecure.encryption.KeyFile`): then a rotation, a retired
            or a destroyed key take effect within its ``poll_seconds``, and a ring that cannot be had stops all work.
        max_messages: Messages under one derived data key before the next is derived; see
            `aisecure.encryption.datakeys` for the reason of the default.

    >>> cipher = FieldCipher(Keyring.generate())
    >>> token = cipher.encrypt("allergic to penicillin", context=("patients", "notes", 42))
    >>> cipher.decrypt(token, context=("patients", "notes", 42))
    'allergic to penicillin'
    """

    __slots__ = ("__weakref__", "_columns", "_keys")

    def __init__(self, keys: Keyring | KeySource, *, max_messages: int = MAX_MESSAGES) -> None:
        if type(max_messages) is not int or not 0 < max_messages <= MAX_MESSAGES:
            raise ValueError(f"max_messages is a whole number from 1 to {MAX_MESSAGES}")
        if not isinstance(keys, Keyring) and not callable(getattr(keys, "ring", None)):
            raise TypeError(f"FieldCipher takes a Keyring or a KeyFile, not {type(keys).__name__}")
        self._keys = DataKeys(keys, max_messages)
        self._columns: dict[tuple[Part, ...], BoundCipher] = {}

    @property
    def source(self) -> Keyring | KeySource:
        """What the cipher was made with: the place to rotate the ring, when that is a `KeyFile`."""
        return self._keys.source

    @property
    def keyring(self) -> Keyring:
        """The present ring.

        Raises:
            Unavailable, Misconfigured: It cannot be had.
        """
        keys = self._keys
        if keys.expires is not None and monotonic() >= keys.expires:
            keys.refresh()
        return keys.ring

    def encrypt(self, plaintext: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return a token for a text of at most `MAX_BYTES` bytes of UTF-8.

        Args:
            plaintext: The text.
            context: The place it belongs to, such as table, column, tenant and record. The same tuple opens it.
                All but its last part are encoded once and remembered, so let what varies come last.

        Raises:
            TypeError, ValueError: Plaintext or context are no text, have a lone surrogate, or are too long.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        try:
            column = self._columns[context[_HEAD]]
            last = context[column.width]
        except (KeyError, IndexError, TypeError):
            column = None
        if column is None:  # outside the handler: an error of what follows shall have no other before it
            return self._column(context).encrypt(plaintext, *context[-1:])
        place = column.numbered % last if type(last) is int else column.prefix + encode_context((last,))
        try:
            data = plaintext.encode()
        except (AttributeError, UnicodeEncodeError):
            pass
        else:
            keys = self._keys
            if keys.expires is not None and monotonic() >= keys.expires:
                keys.refresh()
            key = keys.sealing
            try:
                key.use()
                if len(data) > LARGE_BYTES:
                    key = _other(keys, data)
            except StopIteration:
                key = _other(keys, data)
            nonce = urandom(12)
            return b64encode_as_string(key.head + nonce + key.seal(nonce, data, place))
        # Outside the handler: the encoder's error carries the whole text.
        raise _no_text(plaintext)

    def decrypt(self, token: str, *, context: tuple[Part, ...] = ()) -> str:
        """Return the text of a token.

        Raises:
            DecryptionError: For every reason alike: key, context, damage, forgery.
            TypeError, ValueError: Token or context are of a wrong type; mistakes in the program.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        try:
            column = self._columns[context[_HEAD]]
            last = context[column.width]
        except (KeyError, IndexError, TypeError):
            column = None
        if column is None:  # outside the handler: an error of what follows shall have no other before it
            return self._column(context).decrypt(token, *context[-1:])
        place = column.numbered % last if type(last) is int else column.prefix + encode_context((last,))
        if not isinstance(token, str):
            raise TypeError(f"decrypt takes a text token, not {type(token).__name__}")
        keys = self._keys
        if keys.expires is not None and monotonic() >= keys.expires:
            keys.refresh()
        try:
            data = b64decode(token, None, True)
            spare = len(data) % 3
            # The last character before the padding has bits that decoders drop; set, they would make another token.
            if not spare or (token[-3] in "AQgw" if spare == 1 else token[-2] in "AEIMQUYcgkosw048"):
                start = keys.head_size
                aead = keys.opening.get(data[:start])
                if aead is None:
                    return _open_other(keys, data, place).decode()
                return aead.decrypt(data[start : start + 12], data[start + 12 :], place).decode()
        except _FAILURES:
            pass
        # Outside the handler, so that not even the chain of exceptions says which it was.
        raise DecryptionError

    def encrypt_bytes(self, data: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return a binary token for BLOB columns; as `encrypt`, without the base64.

        >>> cipher = FieldCipher(Keyring.generate())
        >>> len(cipher.encrypt_bytes(b"", context=("scans", "image", 7)))
        41
        """
        return self._column(context).encrypt_bytes(data, *context[-1:])

    def decrypt_bytes(self, token: bytes, *, context: tuple[Part, ...] = ()) -> bytes:
        """Return the bytes of a binary token; errors as for `decrypt`."""
        return self._column(context).decrypt_bytes(token, *context[-1:])

    def bind(self, *parts: Part) -> BoundCipher:
        """Return a cipher for one column: these parts are encoded once and stand before those of each record.

        >>> notes = FieldCipher(Keyring.generate()).bind("patients", "notes")
        >>> notes.decrypt(notes.encrypt("well", 42), 42)
        'well'
        """
        return BoundCipher(self._keys, encode_context(parts), len(parts))

    def reencrypt(self, token: Token, *, context: tuple[Part, ...] = ()) -> Token:
        """Return the same plaintext under the primary key and in the newest version; errors as for `decrypt`."""
        if isinstance(token, str):
            return self.encrypt(self.decrypt(token, context=context), context=context)
        return self.encrypt_bytes(self.decrypt_bytes(token, context=context), context=context)

    def is_current(self, token: str | bytes) -> bool:
        """Whether a token has the newest version and names the primary key; `reencrypt` the others.

        It proves nothing more: a forged one may say so too.
        """
        head = _named(token)
        return head is not None and head[0] != 1 and head[1:] == self.keyring.primary_key.id

    def recognises(self, token: str | bytes) -> bool:
        """Whether this has the outer form of a token under a key that the ring has or had; it proves nothing more."""
        head = _named(token)
        return head is not None and self.keyring.knows(head[1:])

    def _column(self, context: tuple[Part, ...]) -> BoundCipher:
        """Return the cipher of all parts but the last, and remember it."""
        try:
            return self._columns[context[:-1]]
        except (KeyError, TypeError):
            pass
        if type(context) is not tuple:
            raise TypeError(f"context is a tuple of texts and whole numbers, not {type(context).__name__}")
        column = self.bind(*context[:-1])
        # 1 and True are one key of a dict, and two contexts.
        if all(type(part) is str for part in context[:-1]):
            if len(self._columns) >= _KEPT_COLUMNS:
                self._columns.clear()
            self._columns[context[:-1]] = column
        return column

    def __repr__(self) -> str:
        return f"FieldCipher({self._keys.ring!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a FieldCipher is not pickled: it holds keys")


class BoundCipher:
    """A `FieldCipher` for one place, such as a column; made by `FieldCipher.bind`.

    Attributes:
        prefix: The bound parts, encoded.
        width: How many they are.
        numbered: The same as `prefix` with room for one number, as a format.
    """

    __slots__ = ("_keys", "numbered", "prefix", "width")

    def __init__(self, keys: DataKeys, prefix: bytes, width: int) -> None:
        self._keys = keys
        self.width = width
        self.prefix = prefix
        self.numbered = prefix.replace(b"%", b"%%") + b"i%d;"

    def encrypt(self, plaintext: str, *record: Part) -> str:
        """Return a token; the same as `FieldCipher.encrypt` with the bound parts and these as context."""
        if len(record) == 1 and type(record[0]) is int:  # what most records are named by
            place = self.numbered % record
        else:
            place = self.prefix + encode_context(record)
        try:
            data = plaintext.encode()
        except (AttributeError, UnicodeEncodeError):
            pass
        else:
            keys = self._keys
            if keys.expires is not None and monotonic() >= keys.expires:
                keys.refresh()
            key = keys.sealing
            try:
                key.use()
                if len(data) > LARGE_BYTES:
                    key = _other(keys, data)
            except StopIteration:
                key = _other(keys, data)
            nonce = urandom(12)
            return b64encode_as_string(key.head + nonce + key.seal(nonce, data, place))
        # Outside the handler: the encoder's error carries the whole text.
        raise _no_text(plaintext)

    def decrypt(self, token: str, *record: Part) -> str:
        """Return the text of a token; errors as for `FieldCipher.decrypt`."""
        if len(record) == 1 and type(record[0]) is int:
            place = self.numbered % record
        else:
            place = self.prefix + encode_context(record)
        if not isinstance(token, str):
            raise TypeError(f"decrypt takes a text token, not {type(token).__name__}")
        keys = self._keys
        if keys.expires is not None and monotonic() >= keys.expires:
            keys.refresh()
        try:
            data = b64decode(token, None, True)
            spare = len(data) % 3
            # The last character before the padding has bits that decoders drop; set, they would make another token.
            if not spare or (token[-3] in "AQgw" if spare == 1 else token[-2] in "AEIMQUYcgkosw048"):
                start = keys.head_size
                aead = keys.opening.get(data[:start])
                if aead is None:
                    return _open_other(keys, data, place).decode()
                return aead.decrypt(data[start : start + 12], data[start + 12 :], place).decode()
        except _FAILURES:
            pass
        # Outside the handler, so that not even the chain of exceptions says which it was.
        raise DecryptionError

    def encrypt_bytes(self, data: bytes, *record: Part) -> bytes:
        """Return a binary token; the same as `FieldCipher.encrypt_bytes` with the bound parts and these."""
        if len(record) == 1 and type(record[0]) is int:
            place = self.numbered % record
        else:
            place = self.prefix + encode_context(record)
        if not isinstance(data, bytes):
            raise TypeError(f"encrypt_bytes takes bytes, not {type(data).__name__}")
        keys = self._keys
        if keys.expires is not None and monotonic() >= keys.expires:
            keys.refresh()
        key = keys.sealing
        try:
            key.use()
            if len(data) > LARGE_BYTES:
                key = _other(keys, data)
        except StopIteration:
            key = _other(keys, data)
        nonce = urandom(12)
        return key.head + nonce + key.seal(nonce, data, place)

    def decrypt_bytes(self, token: bytes, *record: Part) -> bytes:
        """Return the bytes of a binary token; errors as for `FieldCipher.decrypt`."""
        if len(record) == 1 and type(record[0]) is int:
            place = self.numbered % record
        else:
            place = self.prefix + encode_context(record)
        if not isinstance(token, bytes):
            raise TypeError(f"decrypt_bytes takes bytes, not {type(token).__name__}")
        keys = self._keys
        if keys.expires is not None and monotonic() >= keys.expires:
            keys.refresh()
        try:
            start = keys.head_size
            aead = keys.opening.get(token[:start])
            if aead is None:
                return _open_other(keys, token, place)
            return aead.decrypt(token[start : start + 12], token[start + 12 :], place)
        except _FAILURES:
            pass
        raise DecryptionError

    def __repr__(self) -> str:
        return f"BoundCipher({self._keys.ring!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BoundCipher is not pickled: it holds keys")


def _other(keys: DataKeys, data: bytes) -> DataKey:
    if len(data) > MAX_BYTES:
        raise ValueError(f"a plaintext has at most {MAX_BYTES} bytes; split it, or encrypt it as a file")
    return keys.other(len(data))


def _open_other(keys: DataKeys, token: bytes, place: bytes) -> bytes:
    """Open a token of version 1, or one under a data key that was not met yet.

    Raises:
        KeyError, ValueError, InvalidTag: It does not open.
    """
    head = _named(token)
    if head is None:
        raise KeyError
    if head[0] == 1:
        key = keys.ring.get(head[1:])
        if key is None:
            raise KeyError
        return AESGCM(key.secret).decrypt(token[5:17], token[17:], head + place)
    start = len(head) + SALT_BYTES
    body = start + _NONCE
    return keys.open(token[:start], head[1:], token[start:body], token[body:], place)


def key_id_of(token: str | bytes) -> bytes:
    """Return the id of the key that a token names, without opening it.

    Raises:
        DecryptionError: It has not the form of a token.

    >>> ring = Keyring.generate()
    >>> key_id_of(FieldCipher(ring).encrypt("x")).hex() == ring.primary
    True
    """
    head = _named(token)
    if head is None:
        raise DecryptionError
    return head[1:]


def _named(token: str | bytes) -> bytes | None:
    """Return version and key id; None for what has not the form of a token."""
    if isinstance(token, str):
        if not token.startswith("A"):  # as every small first byte is written; most plaintexts need no more
            return None
        try:
            token = b64decode(token, None, True)
        except ValueError:
            return None
    if not isinstance(token, bytes):
        raise TypeError(f"a token is text or bytes, not {type(token).__name__}")
    size = _ID_SIZE.get(token[0], 0) if token else 0
    salt = 0 if token[:1] == b"\x01" else SALT_BYTES
    return token[: 1 + size] if size and len(token) >= 1 + size + salt + _NONCE + _TAG else None


def _no_text(value: object) -> TypeError | ValueError:
    if not isinstance(value, str):
        return TypeError(f"encrypt takes a text, not {type(value).__name__}")
    where = next(index for index, letter in enumerate(value) if "\ud800" <= letter <= "\udfff")
    return ValueError(
        f"the plaintext has a lone surrogate at code point {where}, which has no UTF-8; clean it, or use encrypt_bytes"
    )
