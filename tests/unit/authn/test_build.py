"""The section ``[authn]``: keys, tokens and certificates from a configuration file."""

from __future__ import annotations

import json
import time

import pytest
from joserfc import jwt
from joserfc.jwk import ECKey

from aisecure import Shield
from aisecure.authn import ApiKeys, AuthenticationGuard, JwtVerifier, MutualTls, TokenRevocations
from aisecure.call import Call, Credential
from aisecure.errors import AISecureError, AuthenticationError, Misconfigured
from aisecure.principal import Principal

ISSUER, AUDIENCE = "https://login.example.com/", "https://api.example.com"
KEY = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"})
TOKENS = f"""
[[authn.issuers]]
issuer = "{ISSUER}"
audience = "{AUDIENCE}"
algorithms = ["ES256"]
jwks_file = "keys.json"
tenant_claim = "org"
roles = "groups"
"""
FINGERPRINT = "ab" * 32
CERTIFICATES = f"""
[authn.certificates]
name = "fingerprint"
[authn.certificates.principals]
"{FINGERPRINT}" = {{ id = "batch", roles = ["member"], tenant = "acme" }}
"""


@pytest.fixture
def shield(tmp_path):
    made = []

    def make(text: str) -> Shield:
        (tmp_path / "keys.json").write_text(json.dumps({"keys": [KEY.as_dict(private=False)]}))
        (tmp_path / "aisecure.toml").write_text(text)
        made.append(Shield.from_config(tmp_path / "aisecure.toml"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _token(**claims) -> str:
    now = int(time.time())
    plain = {"iss": ISSUER, "aud": AUDIENCE, "sub": "u-17", "org": "acme", "groups": ["member"], "iat": now}
    return jwt.encode({"alg": "ES256", "kid": "k1"}, plain | {"exp": now + 300} | claims, KEY)


def _principal(shield: Shield, *credential: str) -> Principal:
    call = Call(Principal.anonymous(), "connect", "http:GET /", credential=Credential(*credential))
    return shield.authenticate(call).principal


def test_tokens_and_keys_are_accepted_side_by_side(shield):
    made = shield(TOKENS)
    principal = _principal(made, "bearer", _token())
    assert (principal.id, principal.tenant, principal.roles) == ("u-17", "acme", frozenset({"member"}))
    key = made.part(ApiKeys).create("svc", tenant="acme").secret
    assert _principal(made, "bearer", key).id == "svc"
    for wrong in (_token(aud="https://other"), _token()[:-4], key[:-1]):
        with pytest.raises(AuthenticationError):
            _principal(made, "bearer", wrong)


def test_a_revoked_token_is_refused_although_it_was_remembered(shield):
    made = shield(TOKENS)
    token = _token(jti="t-1")
    assert _principal(made, "bearer", token).id == "u-17"
    verifier = made.part(JwtVerifier)
    revocations = verifier._revocations
    assert isinstance(revocations, TokenRevocations)
    revocations.revoke("t-1", issuer=ISSUER, until=time.time() + 300)
    with pytest.raises(AuthenticationError):
        _principal(made, "bearer", token)


def test_each_way_can_be_the_only_one(shield, tmp_path):
    def methods(text):
        guard = shield(text).part(AuthenticationGuard)
        return [type(method) for method in guard.methods]

    assert methods("") == [ApiKeys]
    assert methods("[authn]\napi_keys = false\n" + TOKENS) == [JwtVerifier]
    assert methods("[authn]\napi_keys = false\n" + CERTIFICATES) == [MutualTls]
    assert methods(TOKENS + CERTIFICATES) == [ApiKeys, JwtVerifier, MutualTls]


def test_a_bound_token_needs_its_proof(shield):
    made = shield(TOKENS + "bound = 'required'\n[authn.dpop]\nnonces = true\n")
    with pytest.raises(AuthenticationError):
        _principal(made, "bearer", _token())
    verifier = made.part(JwtVerifier)
    assert verifier.binding.required
    assert verifier.binding.dpop is not None


def test_failures_are_throttled_by_default_and_not_on_demand(shield):
    for text, expected in (("", True), ("[authn]\nthrottle_failures = 0\n", False)):
        assert (shield(text).part(AuthenticationGuard).throttle is not None) is expected


def test_keys_may_lie_in_a_database_of_their_own(shield, tmp_path):
    made = shield(f"[authn]\ndatabase = 'sqlite:///{tmp_path / 'keys.db'}'\n")
    secret = made.part(ApiKeys).create("svc").secret
    again = shield(f"[authn]\ndatabase = 'sqlite:///{tmp_path / 'keys.db'}'\n")
    assert _principal(again, "api_key", secret).id == "svc"


@pytest.mark.parametrize(
    "text",
    [
        "[authn]\napi_keys = false\n",
        "[authn.dpop]\n",
        TOKENS.replace("keys.json", "nowhere.json"),
        TOKENS.replace("ES256", "none"),
        TOKENS.replace("ES256", "HS256"),
        TOKENS + "jwks_uri = 'https://login.example.com/keys'\n",
        TOKENS.replace("jwks_file", "jwks_fil"),
        TOKENS.replace('jwks_file = "keys.json"', 'jwks_uri = "http://login.example.com/keys"'),
        TOKENS + "leeway_seconds = 3600\n",
        TOKENS + "tenant = 'acme'\n",
        "[authn.certificates]\nprincipals = {}\n",
        CERTIFICATES.replace(FINGERPRINT, "no fingerprint"),
        CERTIFICATES.replace('id = "batch"', 'id = ""'),
        "[authn]\ndatabase = 'hunter2'\n",
        "[authn]\ndatabase = 'mysql://user:hunter2@db/app'\n",
        "[authn]\nredis_url = 'hunter2'\n",
    ],
)
def test_settings_that_cannot_be_used_say_so_and_show_no_secret(shield, text):
    with pytest.raises(Misconfigured) as caught:
        shield(text)
    told = f"{caught.value} {caught.value!r} {caught.value.__cause__!r} {caught.value.__context__!r}"
    assert "hunter2" not in told
    assert "authn" in str(caught.value) or "json" in str(caught.value)


def test_a_key_file_that_is_none_is_named_and_not_quoted(shield, tmp_path):
    (tmp_path / "other.json").write_text('{"k": "hunter2')
    with pytest.raises(AISecureError, match=r"other\.json") as caught:
        shield(TOKENS.replace("keys.json", "other.json"))
    assert "hunter2" not in f"{caught.value!r}{caught.value.__context__!r}{caught.value.__cause__!r}"
