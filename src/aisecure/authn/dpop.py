"""DPoP (RFC 9449): a request carries a fresh signature by the key that its access token was issued to."""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from aisecure.authn._htu import normal_address
from aisecure.authn._proof import ALGORITHMS, BadProof, Proof, read_proof
from aisecure.authn.method import refused
from aisecure.authn.replays import MemoryReplays, Replays
from aisecure.ports import Clock, SystemClock

if TYPE_CHECKING:
    from aisecure.authn.nonces import DpopNonces
    from aisecure.call import Credential
    from aisecure.decisions import Decision

__all__ = ["DpopProofs"]

#: Algorithms taken unless others are named; each is in the FAPI 2.0 security profile, section 5.4.1.
DEFAULT_ALGORITHMS = ("ES256", "EdDSA", "Ed25519", "PS256")

#: The end of the year 9999; also keeps out NaN, and integers that no float holds.
_END = 253_402_300_800


class DpopProofs:
    """Checks the proof of a request; give it to a `TokenBinding`.

    It helps against a token that leaks from a log, a proxy or another server: without the client's private key it is
    worth nothing. It does not help against code that runs in the client, which can use the key.

    Args:
        algorithms: Of ``ES256``, ``ES384``, ``ES512``, ``EdDSA``, ``Ed25519``, ``PS256``, ``PS384``, ``PS512``.
        max_age_seconds: How old a proof may be, by its ``iat``.
        leeway_seconds: How far its ``iat`` may lie ahead of this machine's clock.
        replays: Remembers used proofs. The default remembers in this process, which is right for one process; several need
            `StoredReplays` (one machine) or `RedisReplays`, or each of them takes a stolen proof once.
        nonces: When given, each proof must hold a nonce of this service.
        clock: Time.

    Raises:
        ValueError: An algorithm is unknown or symmetric, or a number is out of range.
    """

    def __init__(
        self,
        *,
        algorithms: Collection[str] = DEFAULT_ALGORITHMS,
        max_age_seconds: float = 60.0,
        leeway_seconds: float = 5.0,
        replays: Replays | None = None,
        nonces: DpopNonces | None = None,
        clock: Clock | None = None,
    ) -> None:
        if isinstance(algorithms, str) or not algorithms or not set(algorithms) <= ALGORITHMS.keys():
            raise ValueError(f"algorithms: choose from {', '.join(ALGORITHMS)}")
        if not 1 <= max_age_seconds <= 3600 or not 0 <= leeway_seconds <= 300:
            raise ValueError("max_age_seconds lies between 1 and 3600, leeway_seconds between 0 and 300")
        if replays is not None and not isinstance(replays, Replays):
            raise TypeError(f"replays: give Replays, not {type(replays).__name__}")
        #: In the order given, for the challenge.
        self.algorithms = tuple(algorithms)
        self.nonces = nonces
        self._allowed = frozenset(algorithms)
        self._max_age = max_age_seconds
        self._leeway = leeway_seconds
        self._replays = MemoryReplays() if replays is None else replays
        self._clock = clock or SystemClock()

    def __repr__(self) -> str:
        return f"DpopProofs(algorithms={self.algorithms!r}, max_age_seconds={self._max_age}, nonces={self.nonces!r})"

    def check(self, credential: Credential, thumbprint: str) -> Decision | None:
        """Return None if the request proves possession of a key, or the refusal.

        Args:
            credential: With the access token as its value, the proofs, the method and the address of the request.
            thumbprint: Of the key, as the token's ``cnf.jkt`` says.

        Raises:
            Unavailable: The proof could not be remembered, so it is not taken.
        """
        if len(credential.proofs) != 1:
            return _invalid("The request has no DPoP header, or several.")
        if not credential.method or not credential.url:
            return _invalid("The address of the request is not known: set external_url.")
        try:
            proof = read_proof(credential.proofs[0], self._allowed)
            self._compare(proof, credential, thumbprint)
        except BadProof as err:
            return _invalid(f"The DPoP proof {err}.")
        claims = proof.claims
        if self.nonces is not None and not self.nonces.accepts(claims.get("nonce")):
            return _NO_NONCE
        digest = hashlib.sha256(f"{thumbprint} {claims['jti']}".encode("utf-8", "surrogatepass")).digest()
        if not self._replays.is_first(digest, now=self._clock.time(), until=claims["iat"] + self._max_age):
            return _invalid("The DPoP proof was used before.")
        return None

    def _compare(self, proof: Proof, credential: Credential, thumbprint: str) -> None:
        """Return if a proof is for this request, this token and now; what costs most comes last."""
        claims = proof.claims
        if not hmac.compare_digest(proof.thumbprint, thumbprint):
            raise BadProof("is signed with another key than the token was issued to")
        jti, issued = claims.get("jti"), claims.get("iat")
        if not isinstance(jti, str) or not jti:
            raise BadProof("has no jti")
        if isinstance(issued, bool) or not isinstance(issued, int | float) or not 0 <= issued < _END:
            raise BadProof("has no iat")
        if not -self._leeway <= self._clock.time() - issued < self._max_age:
            raise BadProof("is too old, or from the future")
        if claims.get("htm") != credential.method:
            raise BadProof("is for another method")
        if not _same_address(claims.get("htu"), credential.url):
            raise BadProof("is for another address")
        if not _same_text(claims.get("ath"), _digest(credential.value)):
            raise BadProof("is for another token")
        if not proof.is_signed():
            raise BadProof("has a wrong signature")


def _invalid(reason: str) -> Decision:
    return replace(refused(reason), challenge={"error": "invalid_dpop_proof"})


_NO_NONCE = replace(
    refused("The DPoP proof has no nonce of this service, or an old one.", code="authn.nonce"),
    challenge={"error": "use_dpop_nonce"},
)


def _same_address(claimed: Any, real: str) -> bool:
    if not isinstance(claimed, str):
        return False
    address = normal_address(claimed)
    return address is not None and address == normal_address(real)


def _same_text(claimed: Any, real: str) -> bool:
    return isinstance(claimed, str) and claimed.isascii() and hmac.compare_digest(claimed, real)


def _digest(token: str) -> str:
    """Return ``ath``, RFC 9449 section 4.2."""
    return (
        base64.urlsafe_b64encode(hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest())
        .rstrip(b"=")
        .decode()
    )
