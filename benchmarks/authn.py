"""Proving who one is: an API key and a token, remembered and asked anew, beside the libraries that only verify."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks._harness import Goal, Table, compare

ISSUER, AUDIENCE = "https://issuer.example/", "https://api.example/"
ALGORITHMS = ("HS256", "RS256", "ES256", "EdDSA")


def run() -> bool:
    good = _api_keys()
    for algorithm in ALGORITHMS:
        good &= _tokens(algorithm)
    return good


def _api_keys() -> bool:
    from aisecure.authn import ApiKeys
    from aisecure.authn.memo import Memo
    from aisecure.call import Credential
    from aisecure.notices import LocalNotices
    from aisecure.storage import Storage
    from aisecure.testing import FrozenClock

    clock = FrozenClock()
    keys = ApiKeys(Storage(":memory:"), pepper=bytes(32), notices=LocalNotices(), clock=clock)
    issued = [keys.create(f"u-{number}", roles={"member"}, tenant="acme") for number in range(1_000)]
    credential = Credential("bearer", issued[500].secret)

    def cold() -> object:
        clock.advance(Memo.SECONDS + 1)
        return keys.authenticate(credential)

    table = Table("An API key, one of 1,000")
    table.add(
        "remembered",
        partial(keys.authenticate, Credential("bearer", issued[7].secret)),
        Goal(30_000, "instructions"),
    )
    table.add("asked of the database (SQLite)", cold, Goal(150_000, "instructions"))
    return compare(table)


def _tokens(algorithm: str) -> bool:
    from aisecure.authn import JwtVerifier
    from aisecure.call import Credential

    # Made once and handed to the processes in which steps are counted: what a signature costs depends on its bits.
    made = f"BENCHMARK_{algorithm}"
    if made not in os.environ:
        os.environ[made] = json.dumps(_issued(algorithm))
    key, keys, token = json.loads(os.environ[made])
    settings: dict[str, Any] = {
        "issuer": ISSUER,
        "audience": AUDIENCE,
        "algorithms": [algorithm],
        "jwks": keys,
    }
    forgetful, verifier = JwtVerifier(**settings, memo_seconds=0), JwtVerifier(**settings)
    credential = Credential("bearer", token)
    table = Table(f"A token signed with {algorithm}")
    table.add("joserfc, decode and validate (the limit)", _joserfc(algorithm, key, token))
    table.peer("PyJWT decode", partial(_pyjwt, algorithm, keys, token))
    table.add("aisecure, verified", partial(forgetful.authenticate, credential), Goal(1.3))
    table.add(
        "aisecure, remembered", partial(verifier.authenticate, credential), Goal(30_000, "instructions")
    )
    return compare(table)


def _issued(algorithm: str) -> tuple[dict[str, Any], dict[str, Any], str]:
    """Return a key, the key set as an issuer publishes it, and a token."""
    from joserfc import jwt
    from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

    named = {"kid": "k1", "alg": algorithm, "use": "sig"}
    key: Any
    if algorithm == "HS256":
        key = OctKey.generate_key(256, named)
    elif algorithm == "RS256":
        key = RSAKey.generate_key(2048, named)
    elif algorithm == "ES256":
        key = ECKey.generate_key("P-256", named)
    else:
        key = OKPKey.generate_key("Ed25519", named)
    now = int(time.time())
    claims = {
        "iss": ISSUER,
        "aud": AUDIENCE,
        "sub": "u-17",
        "exp": now + 3600,
        "iat": now,
        "scope": "chat read",
    }
    token = jwt.encode({"alg": algorithm, "kid": "k1"}, claims, key, algorithms=[algorithm])
    public = key.as_dict(private=algorithm == "HS256")
    return public, {"keys": [public]}, token


def _joserfc(algorithm: str, jwk: dict[str, Any], token: str) -> Callable[[], object]:
    from joserfc import jwt
    from joserfc.jwk import import_key

    key = import_key(jwk)

    registry = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": ISSUER},
        aud={"essential": True, "value": AUDIENCE},
        exp={"essential": True},
        sub={"essential": True},
    )

    def check() -> object:
        decoded = jwt.decode(token, key, algorithms=[algorithm])
        registry.validate(decoded.claims)
        return decoded

    return check


def _pyjwt(algorithm: str, keys: dict[str, Any], token: str) -> Callable[[], object]:
    import jwt

    key = jwt.PyJWK.from_json(json.dumps(keys["keys"][0])).key
    return partial(jwt.decode, token, key, algorithms=[algorithm], issuer=ISSUER, audience=AUDIENCE)
