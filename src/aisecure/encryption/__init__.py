"""Sensitive fields encrypted where they are stored, each bound to its place.

`Keyring` holds the keys, `FieldCipher` turns a text into a token and back, `Encrypted` does it for the fields
of pydantic models. What a token reveals: the length of its plaintext, the id of its key, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.encryption.cipher import BoundCipher, FieldCipher
from aisecure.encryption.keyfile import KeyFile
from aisecure.encryption.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.encryption.blind_index import BlindIndex as BlindIndex
    from aisecure.encryption.blind_index import caseless as caseless
    from aisecure.encryption.fields import Encrypted as Encrypted
    from aisecure.encryption.files import EncryptedFile as EncryptedFile
    from aisecure.encryption.files import decrypt_file as decrypt_file
    from aisecure.encryption.files import encrypt_file as encrypt_file
    from aisecure.encryption.files import inspect_file as inspect_file
    from aisecure.encryption.files import reencrypt_file as reencrypt_file
    from aisecure.encryption.opened import EncryptedWriter as EncryptedWriter
    from aisecure.encryption.opened import open_encrypted as open_encrypted
    from aisecure.encryption.parts import build as build
    from aisecure.encryption.parts import key_file as key_file
    from aisecure.encryption.parts import open_cipher as open_cipher
    from aisecure.encryption.parts import open_parts as open_parts
    from aisecure.encryption.paths import FieldPaths as FieldPaths
    from aisecure.encryption.paths import decrypt_paths as decrypt_paths
    from aisecure.encryption.paths import encrypt_paths as encrypt_paths
    from aisecure.encryption.places import Place as Place
    from aisecure.encryption.places import using_cipher as using_cipher
    from aisecure.encryption.providers.ring import RingProvider as RingProvider
    from aisecure.encryption.reencryption import ReencryptionProgress as ReencryptionProgress
    from aisecure.encryption.reencryption import ReencryptionReport as ReencryptionReport
    from aisecure.encryption.reencryption import StoredToken as StoredToken
    from aisecure.encryption.reencryption import TokenChange as TokenChange
    from aisecure.encryption.reencryption import TokenStore as TokenStore
    from aisecure.encryption.reencryption import count_tokens as count_tokens
    from aisecure.encryption.reencryption import reencrypt as reencrypt
    from aisecure.encryption.sealed import SealedModel as SealedModel
    from aisecure.encryption.settings import Settings as Settings
    from aisecure.encryption.streams import DecryptingStream as DecryptingStream
    from aisecure.encryption.streams import EncryptingStream as EncryptingStream
    from aisecure.encryption.streams import decrypt_chunks as decrypt_chunks
    from aisecure.encryption.streams import encrypt_chunks as encrypt_chunks
    from aisecure.encryption.subject_cipher import SubjectCipher as SubjectCipher
    from aisecure.encryption.subjects import SubjectKeys as SubjectKeys
    from aisecure.encryption.subjects import open_subjects as open_subjects

# Loaded on first use: pydantic costs more than everything else here together.
_HOME = {
    "BlindIndex": "blind_index",
    "DecryptingStream": "streams",
    "Encrypted": "fields",
    "EncryptedFile": "files",
    "EncryptedWriter": "opened",
    "EncryptingStream": "streams",
    "FieldPaths": "paths",
    "Place": "places",
    "ReencryptionProgress": "reencryption",
    "ReencryptionReport": "reencryption",
    "RingProvider": "providers.ring",
    "SealedModel": "sealed",
    "Settings": "settings",
    "StoredToken": "reencryption",
    "SubjectCipher": "subject_cipher",
    "SubjectKeys": "subjects",
    "TokenChange": "reencryption",
    "TokenStore": "reencryption",
    "build": "parts",
    "caseless": "blind_index",
    "count_tokens": "reencryption",
    "decrypt_chunks": "streams",
    "decrypt_file": "files",
    "decrypt_paths": "paths",
    "encrypt_chunks": "streams",
    "encrypt_file": "files",
    "encrypt_paths": "paths",
    "inspect_file": "files",
    "key_file": "parts",
    "open_cipher": "parts",
    "open_encrypted": "opened",
    "open_parts": "parts",
    "open_subjects": "subjects",
    "reencrypt": "reencryption",
    "reencrypt_file": "files",
    "using_cipher": "places",
}

__all__ = [
    "BlindIndex",
    "BoundCipher",
    "DecryptingStream",
    "Encrypted",
    "EncryptedFile",
    "EncryptedWriter",
    "EncryptingStream",
    "FieldCipher",
    "FieldPaths",
    "KeyFile",
    "Keyring",
    "Place",
    "ReencryptionProgress",
    "ReencryptionReport",
    "RingProvider",
    "SealedModel",
    "Settings",
    "StoredToken",
    "SubjectCipher",
    "SubjectKeys",
    "TokenChange",
    "TokenStore",
    "build",
    "caseless",
    "count_tokens",
    "decrypt_chunks",
    "decrypt_file",
    "decrypt_paths",
    "encrypt_chunks",
    "encrypt_file",
    "encrypt_paths",
    "inspect_file",
    "key_file",
    "open_cipher",
    "open_encrypted",
    "open_parts",
    "open_subjects",
    "reencrypt",
    "reencrypt_file",
    "self_tests",
    "using_cipher",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.encryption' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.encryption.{home}"), name)
    return value


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.encryption._self_tests import self_tests

    return self_tests()
