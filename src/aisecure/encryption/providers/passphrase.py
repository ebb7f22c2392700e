"""A passphrase as master key: Argon2id or scrypt makes the wrapping key of it.

The wrapped form is ``version 0x01 | function | three costs, 4 bytes each | salt, 16 | nonce, 12 | ciphertext |
tag, 16``, so that it opens after the presets have been raised. An object draws one salt and wraps everything
under it: a ring of a thousand keys costs one derivation, and so does reading it back.
"""

from __future__ import annotations

import os
import struct
import unicodedata
from collections import OrderedDict
from threading import Lock
from typing import Literal, NoReturn

from cryptography.exceptions import InternalError, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.encryption.providers._costs import ARGON2ID, SCRYPT, Argon2idCost, ScryptCost
from aisecure.encryption.providers._limits import check_unwrap, check_wrap
from aisecure.encryption.providers._per_process import PerProcess
from aisecure.encryption.providers._sealed import open_sealed, seal
from aisecure.errors import DecryptionError, Misconfigured, Unavailable

__all__ = ["Passphrase"]

_VERSION = b"\x01"
_SALT_BYTES = 16
_COSTS = struct.Struct(">BIII")
_HEAD = len(_VERSION) + _COSTS.size + _SALT_BYTES

#: NIST SP 800-63B-4 section 3.1.1.2 asks for 8 characters beside a second factor, and for 15 alone.
MIN_CHARACTERS = 8
MAX_BYTES = 4_096
#: Derived keys that an object remembers, the least used forgotten first.
_REMEMBERED = 8


_PRESETS = {"argon2id": ARGON2ID, "scrypt": SCRYPT}
_BY_FUNCTION: dict[int, type[Argon2idCost | ScryptCost]] = {1: Argon2idCost, 2: ScryptCost}


class Passphrase:
    """Wraps under a key derived from a passphrase, for machines where a person types it or a vault injects it.

    Against whoever copies the wrapped keys: every guess costs one derivation. Not against a weak passphrase;
    choose several random words. The text is normalised to NFC, as RFC 8265 section 4.2 does for passwords, because
    keyboards of different systems type one accented letter as one code point or as two, and the loss would be final.

    Args:
        passphrase: A text of `MIN_CHARACTERS` characters or more and at most `MAX_BYTES` bytes.
        kdf: ``"argon2id"`` or ``"scrypt"`` for the presets `ARGON2ID` and `SCRYPT`, or costs of your own. What
            was wrapped with others opens all the same.

    Raises:
        TypeError, ValueError: The passphrase is no such text, or the function is unknown.

    >>> provider = Passphrase("several random words are better")
    >>> provider.unwrap(provider.wrap(b"a data key", associated_data=b"ring"), associated_data=b"ring")
    b'a data key'
    """

    __slots__ = ("_cost", "_derived", "_lock", "_passphrase", "_salt")

    def __init__(
        self,
        passphrase: str,
        *,
        kdf: Literal["argon2id", "scrypt"] | Argon2idCost | ScryptCost = "argon2id",
    ) -> None:
        cost = _PRESETS.get(kdf) if isinstance(kdf, str) else kdf
        if not isinstance(cost, Argon2idCost | ScryptCost):
            raise ValueError(f"kdf is one of {', '.join(_PRESETS)}, or an Argon2idCost or ScryptCost")
        self._passphrase = _encode(passphrase)
        self._cost: Argon2idCost | ScryptCost = cost
        self._salt = os.urandom(_SALT_BYTES)
        self._derived: OrderedDict[bytes, AESGCM] = OrderedDict()
        # One derivation at a time, so that eight threads do not take eight times the memory.
        self._lock = PerProcess(Lock)

    @property
    def key_id(self) -> str:
        """``passphrase``; a fingerprint would be something to guess against."""
        return "passphrase"

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped; see `KeyProvider.wrap`. The first call of an object derives, the others do not.

        Raises:
            Unavailable: There is not enough memory.
            Misconfigured: The installed OpenSSL has no such function.
        """
        check_wrap(key, associated_data)
        header = _VERSION + _COSTS.pack(self._cost.function, *self._cost.numbers()) + self._salt
        return seal(self._aead(header), header, key, associated_data)

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given; see `KeyProvider.unwrap`."""
        check_unwrap(wrapped, associated_data)
        if len(wrapped) < _HEAD or wrapped[:1] != _VERSION:
            raise DecryptionError
        return open_sealed(self._aead(wrapped[:_HEAD]), _HEAD, wrapped, associated_data)

    def _aead(self, header: bytes) -> AESGCM:
        """Return the cipher for a header, remembered or derived.

        Raises:
            DecryptionError: The header asks for what no preset asks for.
        """
        cost = _read_cost(header)
        if cost is None:
            raise DecryptionError
        with self._lock.get():
            aead = self._derived.get(header)
            if aead is None:
                aead = AESGCM(self._derive(cost, header[-_SALT_BYTES:]))
                self._derived[header] = aead
                if len(self._derived) > _REMEMBERED:
                    self._derived.popitem(last=False)
            self._derived.move_to_end(header)
        return aead

    def _derive(self, cost: Argon2idCost | ScryptCost, salt: bytes) -> bytes:
        try:
            return cost.derive(self._passphrase, salt)
        except (MemoryError, InternalError):  # the second from Argon2id of cryptography up to 47
            missing = None
        except UnsupportedAlgorithm:
            missing = type(cost).__name__.removesuffix("Cost")
        if missing is None:
            raise Unavailable(
                "there is not enough memory to derive a key from the passphrase",
                code="unavailable.key_provider",
            )
        raise Misconfigured(
            f"the installed OpenSSL has no {missing}; use another kdf, or a newer cryptography"
        )

    def __repr__(self) -> str:
        return f"Passphrase(kdf={self._cost!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Passphrase is not pickled: it holds a secret")


def _encode(passphrase: str) -> bytes:
    if not isinstance(passphrase, str):
        raise TypeError(f"a passphrase is a text, not {type(passphrase).__name__}")
    # Measured before the work: normalising makes a text at most three times as long.
    if not MIN_CHARACTERS <= len(passphrase) <= MAX_BYTES:
        raise ValueError(
            f"a passphrase has {MIN_CHARACTERS} characters or more, and at most {MAX_BYTES} bytes"
        )
    try:
        encoded = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:
        encoded = b""
    # Outside the handler: the encoder's error carries the whole text.
    if not encoded:
        raise ValueError("a passphrase has no lone surrogates")
    if len(encoded) > MAX_BYTES:
        raise ValueError(f"a passphrase has at most {MAX_BYTES} bytes of UTF-8")
    return encoded


def _read_cost(header: bytes) -> Argon2idCost | ScryptCost | None:
    function, *numbers = _COSTS.unpack_from(header, len(_VERSION))
    try:
        return _BY_FUNCTION[function](*numbers)
    except (KeyError, ValueError):
        return None
