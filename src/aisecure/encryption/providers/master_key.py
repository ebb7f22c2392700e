"""A master key of 32 bytes that an orchestrator hands to the program, in a variable or a file.

What wraps is not the key itself but one derived from it (HKDF-SHA256, RFC 5869), and so is the fingerprint that
names it. The wrapped form is ``version 0x01 | fingerprint, 8 bytes | nonce, 12 | ciphertext | tag, 16``.
"""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path
from typing import NoReturn

from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from aisecure.encryption.providers._limits import check_unwrap, check_wrap
from aisecure.encryption.providers._sealed import open_sealed, seal
from aisecure.errors import DecryptionError, Misconfigured
from aisecure.storage import read_private, update_private

__all__ = ["EnvironmentKey", "MasterKeyFile", "generate_master_key"]

_VERSION = b"\x01"
_KEY_BYTES = 32
_FINGERPRINT_BYTES = 8
_HEAD = 1 + _FINGERPRINT_BYTES
#: 32 random bytes have fewer different values than this with a chance below 2**-100: it is a placeholder.
_LEAST_VALUES = 10

_HEX = re.compile(r"[0-9A-Fa-f]{64}")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
_FORM = "write 32 random bytes as base64 or hexadecimal, such as generate_master_key() returns"


def generate_master_key() -> str:
    """Return a new random master key as base64, for a secret store; there is no second copy.

    >>> len(generate_master_key())
    44
    """
    return base64.b64encode(os.urandom(_KEY_BYTES)).decode()


class _MasterKey:
    """Wraps under a key of this process's memory."""

    __slots__ = ("_aead", "_fingerprint")

    def __init__(self, text: bytes | str, source: str) -> None:
        secret = _parse(text, source)
        self._fingerprint = _derive(secret, b"fingerprint", _FINGERPRINT_BYTES)
        self._aead = AESGCM(_derive(secret, b"wrapping key", _KEY_BYTES))

    @property
    def key_id(self) -> str:
        """``master:`` and the key's fingerprint, the same wherever the key is kept."""
        return f"master:{self._fingerprint.hex()}"

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        """Return the key wrapped; see `KeyProvider.wrap`."""
        check_wrap(key, associated_data)
        return seal(self._aead, _VERSION + self._fingerprint, key, associated_data)

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        """Return what `wrap` was given; see `KeyProvider.unwrap`."""
        check_unwrap(wrapped, associated_data)
        if wrapped[:_HEAD] != _VERSION + self._fingerprint:
            raise DecryptionError
        return open_sealed(self._aead, _HEAD, wrapped, associated_data)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(key_id={self.key_id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"a {type(self).__name__} is not pickled: it holds a key")


class EnvironmentKey(_MasterKey):
    """A master key from an environment variable, read once, here; the variable stays as it is.

    Helps when whoever reads the disk or a backup cannot read the process. It does not help against the same
    user on the same machine (``/proc/<pid>/environ``), and every child process inherits the variable.

    Args:
        name: The variable.

    Raises:
        Misconfigured: It is unset (``config.missing``) or holds no key of 32 bytes.

    >>> import os
    >>> os.environ["AISECURE_MASTER_KEY"] = generate_master_key()
    >>> provider = EnvironmentKey()
    >>> provider.unwrap(provider.wrap(b"a data key", associated_data=b"ring"), associated_data=b"ring")
    b'a data key'
    """

    __slots__ = ()

    def __init__(self, name: str = "AISECURE_MASTER_KEY") -> None:
        if not isinstance(name, str):
            raise TypeError(f"a variable's name is a text, not {type(name).__name__}")
        text = os.environ.get(name)
        if text is None:
            raise Misconfigured(f"environment variable {name}: is not set; {_FORM}", code="config.missing")
        super().__init__(text, f"environment variable {name}")


class MasterKeyFile(_MasterKey):
    """A master key from a file with mode 0600, as secrets are mounted; read once, here.

    Helps when the file is on another disk, or in another backup, than what it protects.

    Args:
        path: The file; symbolic links are followed.

    Raises:
        Misconfigured: It is missing (``config.missing``), readable by others (``config.mode``), or holds no key.
        Unavailable: The disk failed.

    >>> MasterKeyFile.create("master.key").key_id == MasterKeyFile("master.key").key_id
    True
    """

    __slots__ = ()

    def __init__(self, path: str | Path) -> None:
        super().__init__(read_private(Path(path)), str(path))

    @classmethod
    def create(cls, path: str | Path) -> MasterKeyFile:
        """Return the provider of a new key in a file with mode 0600; of several processes one succeeds.

        Raises:
            Misconfigured: There is a file already, or it cannot be created.
            Unavailable: The disk is full or failed; no file was left.
        """

        def change(before: bytes | None) -> bytes:
            if before is not None:
                raise Misconfigured(f"{path}: exists; a master key is not overwritten, choose another name")
            return generate_master_key().encode() + b"\n"

        update_private(Path(path), change)
        return cls(path)


def _parse(text: bytes | str, source: str) -> bytes:
    """Return the 32 bytes of a key.

    Raises:
        Misconfigured: They are none; the text never quotes them.
    """
    if isinstance(text, bytes):
        text = text.decode("ascii", "replace")
    text = text.strip()
    if _HEX.fullmatch(text):
        secret = bytes.fromhex(text)
    elif _BASE64.fullmatch(text):
        secret = base64.urlsafe_b64decode(text.rstrip("=").translate({43: "-", 47: "_"}) + "=")
    else:
        raise Misconfigured(f"{source}: holds no master key; {_FORM}")
    if len(set(secret)) < _LEAST_VALUES:
        raise Misconfigured(f"{source}: holds a placeholder, not a random key; {_FORM}")
    return secret


def _derive(secret: bytes, use: bytes, length: int) -> bytes:
    return HKDF(SHA256(), length, None, b"aisecure master key, version 1: " + use).derive(secret)
