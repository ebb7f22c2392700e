"""An issuer with keys of every kind, and tokens of it: right ones, and whatever a test asks for."""

from __future__ import annotations

import json
import warnings
from functools import cache
from typing import Any

from joserfc import jws
from joserfc.errors import SecurityWarning
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey
from tests.unit.authn.senders import b64

from aisecure.authn import JwtVerifier
from aisecure.errors import AuthenticationError
from aisecure.testing import CapturedEvents, FrozenClock, capture_events

ISSUER, AUDIENCE = "https://login.example.com/", "https://api.example.com"
ALGORITHMS = (
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512",
    "ES256", "ES384", "ES512", "EdDSA", "Ed25519",
)  # fmt: skip
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@cache
def key_of(kind: str, number: int = 0) -> Any:
    """A private key; ``number`` tells several of one kind apart. ``RSA-1024`` is a weak one."""
    if kind in _CURVES.values():
        return ECKey.generate_key(kind)
    if kind == "oct":
        return OctKey.import_key({"kty": "oct", "k": b64(bytes([number + 1]) * 64)})
    if kind.startswith("RSA"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SecurityWarning)  # weak on purpose
            return RSAKey.generate_key(int(kind[4:] or 2048))
    return OKPKey.generate_key(kind)


def kind_of(algorithm: str) -> str:
    if algorithm in _CURVES:
        return _CURVES[algorithm]
    return {"HS": "oct", "RS": "RSA", "PS": "RSA", "Ed": "Ed25519"}[algorithm[:2]]


def jwk_of(algorithm: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """The key as an issuer publishes it (a secret as a service keeps it); ``...`` leaves a member out."""
    key = key_of(kind_of(algorithm), number)
    jwk = {
        "kid": f"{algorithm}-{number}", "alg": algorithm, "use": "sig",
        **key.as_dict(private=algorithm.startswith("HS")), **changes,
    }  # fmt: skip
    return {name: value for name, value in jwk.items() if value is not ...}


def sign(header: Any, payload: Any, *, algorithm: str = "ES256", number: int = 0, key: Any = None) -> str:
    """Sign any two parts: objects become JSON, bytes base64url, texts stay as they are."""
    ready = (
        part if isinstance(part, str | bytes) else json.dumps(part).encode() for part in (header, payload)
    )
    signed = ".".join(b64(part) if isinstance(part, bytes) else part for part in ready).encode()
    name = "Ed25519" if algorithm == "EdDSA" else algorithm
    primitive = jws.JWSRegistry(algorithms=[name]).get_alg(name)
    return f"{signed.decode()}.{b64(primitive.sign(signed, key or key_of(kind_of(algorithm), number)))}"


def claims_at(now: float, **changes: Any) -> dict[str, Any]:
    """Right claims, with some changed; ``...`` leaves one out."""
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u-17",
        "iat": int(now),
        "exp": int(now) + 300,
        **changes,
    }
    return {name: value for name, value in claims.items() if value is not ...}


def header_of(algorithm: str = "ES256", number: int = 0, **changes: Any) -> dict[str, Any]:
    header = {"alg": algorithm, "kid": f"{algorithm}-{number}", **changes}
    return {name: value for name, value in header.items() if value is not ...}


class World:
    """A service that trusts the issuer, and a clock that stands still."""

    def __init__(self, *algorithms: str, jwks: Any = None, **options: Any) -> None:
        self.clock = FrozenClock()
        self.events: CapturedEvents = capture_events()
        names = algorithms or ("ES256",)
        if jwks is None:
            jwks = {"keys": [jwk_of(name) for name in names]}
        settings = {
            "issuer": ISSUER,
            "audience": AUDIENCE,
            "algorithms": names,
            "jwks": jwks,
            "leeway": 0,
            **options,
        }
        self.verifier = JwtVerifier(clock=self.clock, events=self.events, **settings)

    def token(self, algorithm: str = "ES256", *, header: dict[str, Any] | None = None, **changes: Any) -> str:
        return sign(
            header_of(algorithm, **(header or {})),
            claims_at(self.clock.time(), **changes),
            algorithm=algorithm,
        )

    def refusal(self, token: Any) -> str:
        """Why a token is refused; empty if it is taken."""
        self.events.clear()
        try:
            self.verifier.verify(token)
        except AuthenticationError as err:
            assert (err.code, err.detail) == ("authn.invalid", err.default_detail)  # noqa: PT017
            return self.events.only("authn.failed").reasons[0]
        assert not self.events
        return ""
