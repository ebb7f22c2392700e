"""The signature algorithms there are, and the kind of key that each goes with (RFC 7518 section 3.1, RFC 9864)."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["ALGORITHMS", "Algorithm", "check_algorithms"]


class Algorithm(NamedTuple):
    """What an ``alg`` means.

    Attributes:
        name: Its one name: ``EdDSA`` is read as ``Ed25519``, the only curve of it that is taken (RFC 9864 section 2.2).
        key_type: ``kty`` of its keys.
        curve: ``crv`` of its keys; empty where they have none.
        hash_bytes: Length of its hash, which is the least length of an HMAC key (RFC 7518 section 3.2).
    """

    name: str
    key_type: str
    curve: str
    hash_bytes: int


#: ``none`` and everything else that is not here cannot be configured.
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({
    "HS256": Algorithm("HS256", "oct", "", 32),
    "HS384": Algorithm("HS384", "oct", "", 48),
    "HS512": Algorithm("HS512", "oct", "", 64),
    "RS256": Algorithm("RS256", "RSA", "", 32),
    "RS384": Algorithm("RS384", "RSA", "", 48),
    "RS512": Algorithm("RS512", "RSA", "", 64),
    "PS256": Algorithm("PS256", "RSA", "", 32),
    "PS384": Algorithm("PS384", "RSA", "", 48),
    "PS512": Algorithm("PS512", "RSA", "", 64),
    "ES256": Algorithm("ES256", "EC", "P-256", 32),
    "ES384": Algorithm("ES384", "EC", "P-384", 48),
    "ES512": Algorithm("ES512", "EC", "P-521", 64),
    "EdDSA": Algorithm("Ed25519", "OKP", "Ed25519", 64),
    "Ed25519": Algorithm("Ed25519", "OKP", "Ed25519", 64),
})  # fmt: skip


def check_algorithms(names: Collection[str]) -> tuple[str, ...]:
    """Return the names of algorithms, in their order.

    Raises:
        ValueError: There is none, or one is not in `ALGORITHMS`.
    """
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError(f"algorithms: give a list of names, of {', '.join(ALGORITHMS)}")
    if not set(names) <= ALGORITHMS.keys():
        raise ValueError(f"algorithms: choose from {', '.join(ALGORITHMS)}")
    return tuple(names)
