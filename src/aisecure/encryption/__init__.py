"""Sensitive fields encrypted where they are stored, each bound to its place.

`Keyring` holds the keys, `FieldCipher` turns a text into a token and back, `Encrypted` does it for the fields
of pydantic models. What a token reveals: the length of its plaintext, the id of its key, and nothing else.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.encryption.cipher import BoundCipher, FieldCipher
from aisecure.encryption.keyring import Keyring

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.encryption.fields import Encrypted as Encrypted
    from aisecure.encryption.fields import using_cipher as using_cipher
    from aisecure.encryption.parts import build as build
    from aisecure.encryption.parts import open_cipher as open_cipher
    from aisecure.encryption.parts import rotate_keyring as rotate_keyring
    from aisecure.encryption.settings import Settings as Settings

# Loaded on first use: pydantic costs more than everything else here together.
_HOME = {
    "Encrypted": "fields",
    "Settings": "settings",
    "build": "parts",
    "open_cipher": "parts",
    "rotate_keyring": "parts",
    "using_cipher": "fields",
}

__all__ = [
    "BoundCipher",
    "Encrypted",
    "FieldCipher",
    "Keyring",
    "Settings",
    "build",
    "open_cipher",
    "rotate_keyring",
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
