"""Where master keys are kept: a provider wraps data keys under a key that never leaves it.

A key ring in a file (`aisecure.encryption.KeyFile`), and the keys of data subjects, are stored wrapped by one
of these. Each is one small class with three members, `KeyProvider`; a user may write another.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from aisecure.encryption.providers._costs import ARGON2ID as ARGON2ID
    from aisecure.encryption.providers._costs import SCRYPT as SCRYPT
    from aisecure.encryption.providers._costs import Argon2idCost as Argon2idCost
    from aisecure.encryption.providers._costs import ScryptCost as ScryptCost
    from aisecure.encryption.providers.aws_kms import AwsKms as AwsKms
    from aisecure.encryption.providers.hsm import Pkcs11 as Pkcs11
    from aisecure.encryption.providers.master_key import EnvironmentKey as EnvironmentKey
    from aisecure.encryption.providers.master_key import MasterKeyFile as MasterKeyFile
    from aisecure.encryption.providers.master_key import generate_master_key as generate_master_key
    from aisecure.encryption.providers.passphrase import Passphrase as Passphrase
    from aisecure.encryption.providers.vault import VaultTransit as VaultTransit

# Loaded on first use, so that each needs its own extra alone.
_HOME = {
    "ARGON2ID": "_costs",
    "Argon2idCost": "_costs",
    "AwsKms": "aws_kms",
    "EnvironmentKey": "master_key",
    "MasterKeyFile": "master_key",
    "Passphrase": "passphrase",
    "Pkcs11": "hsm",
    "SCRYPT": "_costs",
    "ScryptCost": "_costs",
    "VaultTransit": "vault",
    "generate_master_key": "master_key",
}

__all__ = [
    "ARGON2ID",
    "SCRYPT",
    "Argon2idCost",
    "AwsKms",
    "EnvironmentKey",
    "KeyProvider",
    "MasterKeyFile",
    "Passphrase",
    "Pkcs11",
    "ScryptCost",
    "VaultTransit",
    "generate_master_key",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.encryption.providers' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.encryption.providers.{home}"), name)
    return value


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
