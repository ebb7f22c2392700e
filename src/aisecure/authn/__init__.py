"""Who is calling: API keys that are shown once, stored as a keyed hash only, and revoked everywhere at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.authn.keys import ApiKeyRecord, ApiKeys, IssuedKey
from aisecure.authn.method import Answer, Method, refused
from aisecure.authn.text import KEY_PATTERN, is_well_formed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.authn.guard import AuthenticationGuard as AuthenticationGuard
    from aisecure.authn.guard import build as build
    from aisecure.authn.settings import Settings as Settings

# Loaded on first use: pydantic for the settings costs more than the rest together.
_HOME = {"AuthenticationGuard": "guard", "Settings": "settings", "build": "guard"}

__all__ = [
    "KEY_PATTERN",
    "Answer",
    "ApiKeyRecord",
    "ApiKeys",
    "AuthenticationGuard",
    "IssuedKey",
    "Method",
    "Settings",
    "build",
    "is_well_formed",
    "refused",
    "self_tests",
]


def __getattr__(name: str) -> Any:
    home = _HOME.get(name)
    if home is None:
        raise AttributeError(f"module 'aisecure.authn' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"aisecure.authn.{home}"), name)
    return value


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one known-answer check a capability."""
    from aisecure.authn._self_tests import self_tests

    return self_tests()
