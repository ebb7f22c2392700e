"""Reads a DPoP proof strictly: one spelling of everything, a public key in the header, and a signature by that key.

This is the only token whose key is taken from its own header (RFC 9449 section 4.2), so nothing here says who signed;
that the thumbprint of the key is the one in the access token does.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from functools import lru_cache
from typing import Any, NamedTuple

__all__ = ["ALGORITHMS", "MAX_PROOF_CHARS", "BadProof", "Proof", "read_proof"]

#: A proof with an RSA-4096 key has about 1,900 characters.
MAX_PROOF_CHARS = 8192

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
#: Algorithms a proof may be signed with: type and curve of the key each goes with. RS256 and its like are left out, as in
#: the FAPI 2.0 security profile, section 5.4.1.
ALGORITHMS = {
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
    "PS256": ("RSA", ""),
    "PS384": ("RSA", ""),
    "PS512": ("RSA", ""),
}
#: What makes a key the key it is, in the order of RFC 7638 section 3.2.
_MEMBERS = {"EC": ("crv", "kty", "x", "y"), "OKP": ("crv", "kty", "x"), "RSA": ("e", "kty", "n")}
#: Members of a private or symmetric key, RFC 7518 section 6.
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_MIN_RSA_BITS, _MAX_RSA_BITS, _MAX_EXPONENT_BITS = 2048, 8192, 32


class BadProof(Exception):
    """Why a proof is none; the text is for the log and quotes nothing of it."""


class Proof(NamedTuple):
    """A proof that was read, and whose signature is still to be checked.

    Attributes:
        algorithm: One of `ALGORITHMS`.
        key: The public key, as the JSON text that its thumbprint is over (RFC 7638 section 3).
        thumbprint: Its thumbprint with SHA-256.
        claims: The payload.
        signed: What the signature is over.
        signature: Its bytes.
    """

    algorithm: str
    key: str
    thumbprint: str
    claims: dict[str, Any]
    signed: bytes
    signature: bytes

    def is_signed(self) -> bool:
        """Whether the signature is that of the key in the header."""
        from joserfc.errors import JoseError
        from joserfc.jws import JWSRegistry

        # RFC 9864 gave the algorithm its own name; under the old one joserfc warns.
        name = "Ed25519" if self.algorithm == "EdDSA" else self.algorithm
        try:
            algorithm = JWSRegistry(algorithms=[name]).get_alg(name)
            key = _loaded(self.key)
            algorithm.check_key(key)
            return bool(algorithm.verify(self.signed, self.signature, key))
        except (JoseError, ValueError, TypeError):
            # ValueError: a point that is not on its curve, or a number that is no RSA key.
            return False


def read_proof(text: str, algorithms: frozenset[str]) -> Proof:
    """Return a proof.

    Raises:
        BadProof: It is none, or is signed with an algorithm that is not allowed.
    """
    match = _COMPACT.fullmatch(text) if len(text) <= MAX_PROOF_CHARS else None
    if match is None:
        raise BadProof("is no compact JWS, or too long")
    header, claims = _json(match[1]), _json(match[2])
    if header.get("typ") != "dpop+jwt":
        raise BadProof("has another typ than dpop+jwt")
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise BadProof("is signed with an algorithm that is not allowed")
    if "crit" in header or "b64" in header:
        raise BadProof("has a header that changes how it is to be read")
    key = _public_key(header.get("jwk"), *ALGORITHMS[algorithm])
    return Proof(
        algorithm,
        key,
        base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()).rstrip(b"=").decode(),
        claims,
        text[: match.end(2)].encode(),
        _bytes(match[3]),
    )


@lru_cache(maxsize=1024)
def _loaded(key: str) -> Any:
    """Return a key ready for use; a client signs with the same one again and again."""
    from joserfc.jwk import import_key

    return import_key(json.loads(key))


def _public_key(jwk: object, kind: str, curve: str) -> str:
    """Return the members that make the key what it is, as canonical JSON."""
    if not isinstance(jwk, dict) or jwk.get("kty") != kind or (curve and jwk.get("crv") != curve):
        raise BadProof("has no key, or one of another kind than its algorithm needs")
    if _PRIVATE & jwk.keys():
        raise BadProof("has a private key in its header, which is one no longer")
    key: dict[str, str] = {}
    for name in _MEMBERS[kind]:
        value = jwk.get(name)
        if not isinstance(value, str):
            raise BadProof("has an incomplete key")
        key[name] = value
    if kind == "RSA" and not (
        _MIN_RSA_BITS <= _bits(key["n"]) <= _MAX_RSA_BITS and _bits(key["e"]) <= _MAX_EXPONENT_BITS
    ):
        raise BadProof("has an RSA key of an unusable size")
    return json.dumps(key, separators=(",", ":"))


def _bits(number: str) -> int:
    return int.from_bytes(_bytes(number), "big").bit_length()


def _json(segment: str) -> dict[str, Any]:
    # Here and in `_bytes` and not at the top: the package of tokens imports the binding, which imports this.
    from aisecure.authn.jwt.errors import NotStrictJson
    from aisecure.authn.jwt.strict_json import read_object

    try:
        return read_object(_bytes(segment))
    except NotStrictJson as err:
        raise BadProof(str(err)) from None


def _bytes(text: str) -> bytes:
    from aisecure.authn.jwt.base64url import decode

    try:
        return decode(text.encode())
    except ValueError:  # also a lone surrogate
        raise BadProof("is no canonical base64url") from None
