"""The keys of an issuer, each bound to one algorithm, ready for use (RFC 7517, RFC 8725 sections 3.1 and 3.5)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from aisecure.authn.jwt import base64url
from aisecure.authn.jwt.algorithms import ALGORITHMS, Algorithm
from aisecure.authn.jwt.errors import BadKeys

if TYPE_CHECKING:
    from joserfc.jws import JWSRegistry

__all__ = ["MAX_KID_CHARS", "Key", "KeySet", "read_key_set"]

#: A name, never a document.
MAX_KID_CHARS = 256
#: Issuers publish 2 to 5 keys; each of these is loaded.
MAX_KEYS = 100
#: How many keys are tried where several fit: a token without ``kid``, or a ``kid`` given twice. All are the issuer's,
#: so trying opens no door; the bound is for the work that a made-up token causes.
MAX_TRIED = 4

MIN_RSA_BITS = 2048  # RFC 7518 section 3.3
_MAX_RSA_BITS, _MAX_EXPONENT_BITS = 8192, 32
#: What makes a key the key it is (RFC 7638 section 3.2); the rest of a JWK is about its use.
_MEMBERS = {"EC": ("crv", "x", "y"), "OKP": ("crv", "x"), "RSA": ("e", "n"), "oct": ("k",)}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth"})
_LOOKS_PUBLIC = (b"-----BEGIN", b"---- BEGIN", b"ssh-", b"ecdsa-sha2-")


class Key:
    """A key that verifies signatures of its one algorithm."""

    __slots__ = ("_joserfc_key", "_primitive", "algorithm", "identity", "kid")

    def __init__(self, algorithm: Algorithm, kid: str | None, material: Mapping[str, str]) -> None:
        from joserfc.errors import JoseError
        from joserfc.jwk import import_key

        self.algorithm = algorithm.name
        self.kid = kid
        #: Two keys are the same if this is.
        self.identity = json.dumps([algorithm.name, kid, material], sort_keys=True)
        self._primitive = _registry(algorithm.name).get_alg(algorithm.name)
        try:
            self._joserfc_key: Any = import_key({**material, "kty": algorithm.key_type})
            self._primitive.check_key(self._joserfc_key)
        except (JoseError, ValueError, TypeError):
            # ValueError: a point that is not on its curve, a public key given as a secret.
            raise BadKeys("is not a key of its kind") from None

    def __repr__(self) -> str:
        return f"Key({self.algorithm})"

    def verifies(self, signed: bytes, signature: bytes) -> bool:
        """Whether a signature over some bytes was made with the other half of this key."""
        try:
            return self._primitive.verify(signed, signature, self._joserfc_key)
        except ValueError:
            # A signature of a length, or with numbers, that no key of this size makes.
            return False


class KeySet:
    """Keys by algorithm and ``kid``; immutable. Two of the same keys are not told apart by `has_same_keys`.

    Args:
        keys: At least one.
    """

    __slots__ = ("_by_kid", "_identities", "keys")

    def __init__(self, keys: Sequence[Key]) -> None:
        self.keys = tuple(keys)
        self._identities = frozenset(key.identity for key in keys)
        self._by_kid: dict[tuple[str, str | None], tuple[Key, ...]] = {}
        for key in keys:
            for place in {(key.algorithm, key.kid), (key.algorithm, None)}:
                self._by_kid[place] = (*self._by_kid.get(place, ()), key)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        return f"KeySet({len(self)} keys)"

    def find(self, alg: str, kid: str | None) -> tuple[Key, ...]:
        """Return the keys that a token with this header may be signed with; every one of the algorithm when ``kid`` is None."""
        return self._by_kid.get((ALGORITHMS[alg].name, kid), ())

    def has_same_keys(self, other: KeySet) -> bool:
        """Whether another set would verify the same tokens."""
        return self._identities == other._identities


def read_key_set(document: Mapping[str, Any], algorithms: Sequence[str], *, secrets: bool) -> KeySet:
    """Return the keys of a JWK set that can be used, RFC 7517 section 5; others are passed over, as it demands.

    Args:
        document: With the member ``keys``.
        algorithms: Those allowed. A key that names none of its own is bound to the first that fits it.
        secrets: Whether ``oct`` keys count; never for what was fetched.

    Raises:
        BadKeys: None can be used, or it is no JWK set.
    """
    jwks = document.get("keys")
    if not isinstance(jwks, list | tuple) or not 0 < len(jwks) <= MAX_KEYS:
        raise BadKeys(f"has no list of 1 to {MAX_KEYS} keys")
    keys: list[Key] = []
    reasons: list[str] = []
    for jwk in jwks:
        try:
            keys.append(_read_key(jwk, algorithms, secrets=secrets))
        except BadKeys as err:
            reasons.append(str(err))
    if not keys:
        raise BadKeys(f"has no usable key: one {', one '.join(sorted(set(reasons)))}")
    return KeySet(keys)


def _read_key(jwk: Any, algorithms: Sequence[str], *, secrets: bool) -> Key:
    if not isinstance(jwk, Mapping):
        raise BadKeys("is no JSON object")
    kind, kid = jwk.get("kty"), jwk.get("kid")
    if not isinstance(kind, str) or kind not in _MEMBERS or (kind == "oct" and not secrets):
        raise BadKeys("is of a kind that is not taken here")
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= MAX_KID_CHARS):
        raise BadKeys("has an unusable kid")
    if "use" in jwk and jwk["use"] != "sig":
        raise BadKeys("is not for signatures (use)")
    if "key_ops" in jwk and not (isinstance(jwk["key_ops"], list | tuple) and "verify" in jwk["key_ops"]):
        raise BadKeys("is not for verifying (key_ops)")
    if _PRIVATE & jwk.keys():
        raise BadKeys("is a private key, known to others by now")
    material = {name: value for name in _MEMBERS[kind] if isinstance(value := jwk.get(name), str)}
    if len(material) != len(_MEMBERS[kind]):
        raise BadKeys("is incomplete")
    algorithm = _algorithm_of(jwk, kind, algorithms)
    if kind == "RSA":
        _check_rsa(material)
    elif kind == "oct":
        _check_secret(material, algorithm)
    return Key(algorithm, kid, material)


def _algorithm_of(jwk: Mapping[str, Any], kind: str, allowed: Sequence[str]) -> Algorithm:
    """Return the one algorithm that a key is for."""
    named = jwk.get("alg")
    for name in allowed:
        algorithm = ALGORITHMS[name]
        if (algorithm.key_type, algorithm.curve) != (kind, jwk.get("crv", "") if algorithm.curve else ""):
            continue
        if named is None or (
            isinstance(named, str) and named in ALGORITHMS and ALGORITHMS[named] == algorithm
        ):
            return algorithm
    raise BadKeys("is for an algorithm that is not allowed")


def _check_rsa(material: Mapping[str, str]) -> None:
    modulus, exponent = (_bits(material[name]) for name in ("n", "e"))
    if not MIN_RSA_BITS <= modulus <= _MAX_RSA_BITS or exponent > _MAX_EXPONENT_BITS:
        raise BadKeys(f"is an RSA key of less than {MIN_RSA_BITS} or more than {_MAX_RSA_BITS} bits")


def _bits(number: str) -> int:
    return int.from_bytes(_bytes(number), "big").bit_length()


def _check_secret(material: Mapping[str, str], algorithm: Algorithm) -> None:
    secret = _bytes(material["k"])
    if len(secret) < algorithm.hash_bytes:
        raise BadKeys(f"is a secret of less than {algorithm.hash_bytes} bytes")
    if any(mark in secret for mark in _LOOKS_PUBLIC):
        raise BadKeys("is a public key given as a secret")


def _bytes(text: str) -> bytes:
    try:
        return base64url.decode(text.encode("ascii"))
    except ValueError:
        raise BadKeys("is no canonical base64url") from None


def _registry(name: str) -> JWSRegistry:
    from joserfc.jws import JWSRegistry

    return JWSRegistry(algorithms=[name])
