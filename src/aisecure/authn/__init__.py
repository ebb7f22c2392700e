"""Who is calling: API keys that are shown once, stored as a keyed hash only, and revoked everywhere at once."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from aisecure.authn._store_sqlite import SqliteKeyStore
from aisecure.authn.keys import ApiKeys
from aisecure.authn.method import Answer, Method, refused
from aisecure.authn.records import ApiKeyRecord, IssuedKey, KeyState
from aisecure.authn.store import ApiKeyStore, StoredKey
from aisecure.authn.text import KEY_PATTERN, is_well_formed

if TYPE_CHECKING:
    from collections.abc import Callable

    from aisecure.authn._build import build as build
    from aisecure.authn._store_memory import MemoryKeyStore as MemoryKeyStore
    from aisecure.authn.binding import TokenBinding as TokenBinding
    from aisecure.authn.binding import certificate_thumbprint as certificate_thumbprint
    from aisecure.authn.dpop import DpopProofs as DpopProofs
    from aisecure.authn.guard import AuthenticationGuard as AuthenticationGuard
    from aisecure.authn.jwt.principals import ClaimMapping as ClaimMapping
    from aisecure.authn.jwt.revocations import Revocations as Revocations
    from aisecure.authn.jwt.revocations import TokenRevocations as TokenRevocations
    from aisecure.authn.jwt.verifier import JwtVerifier as JwtVerifier
    from aisecure.authn.mutual_tls import MutualTls as MutualTls
    from aisecure.authn.nonces import DpopNonces as DpopNonces
    from aisecure.authn.protected_resource import ProtectedResource as ProtectedResource
    from aisecure.authn.replays import MemoryReplays as MemoryReplays
    from aisecure.authn.replays import RedisReplays as RedisReplays
    from aisecure.authn.replays import Replays as Replays
    from aisecure.authn.replays import StoredReplays as StoredReplays
    from aisecure.authn.settings import Settings as Settings
    from aisecure.authn.step_up import StepUp as StepUp
    from aisecure.authn.step_up import require_acr as require_acr
    from aisecure.authn.step_up import require_amr as require_amr
    from aisecure.authn.step_up import require_method as require_method
    from aisecure.authn.step_up import require_recent_auth as require_recent_auth
    from aisecure.authn.throttle import Throttle as Throttle

# Loaded on first use: pydantic for the settings costs more than the rest together.
_HOME = {
    "AuthenticationGuard": "guard",
    "ClaimMapping": "jwt.principals",
    "DpopNonces": "nonces",
    "DpopProofs": "dpop",
    "JwtVerifier": "jwt.verifier",
    "MemoryKeyStore": "_store_memory",
    "MemoryReplays": "replays",
    "MutualTls": "mutual_tls",
    "ProtectedResource": "protected_resource",
    "RedisReplays": "replays",
    "Replays": "replays",
    "Revocations": "jwt.revocations",
    "Settings": "settings",
    "StepUp": "step_up",
    "StoredReplays": "replays",
    "Throttle": "throttle",
    "TokenBinding": "binding",
    "TokenRevocations": "jwt.revocations",
    "build": "_build",
    "certificate_thumbprint": "binding",
    "require_acr": "step_up",
    "require_amr": "step_up",
    "require_method": "step_up",
    "require_recent_auth": "step_up",
}

__all__ = [
    "KEY_PATTERN",
    "Answer",
    "ApiKeyRecord",
    "ApiKeyStore",
    "ApiKeys",
    "AuthenticationGuard",
    "ClaimMapping",
    "DpopNonces",
    "DpopProofs",
    "IssuedKey",
    "JwtVerifier",
    "KeyState",
    "MemoryKeyStore",
    "MemoryReplays",
    "Method",
    "MutualTls",
    "ProtectedResource",
    "RedisReplays",
    "Replays",
    "Revocations",
    "Settings",
    "SqliteKeyStore",
    "StepUp",
    "StoredKey",
    "StoredReplays",
    "Throttle",
    "TokenBinding",
    "TokenRevocations",
    "build",
    "certificate_thumbprint",
    "is_well_formed",
    "refused",
    "require_acr",
    "require_amr",
    "require_method",
    "require_recent_auth",
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
