"""What a refused caller is told to bring."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.adapters.world import Keys

from aisecure import Principal, Shield
from aisecure.adapters._challenges import Challenges
from aisecure.authn import (
    ApiKeys,
    AuthenticationGuard,
    DpopNonces,
    DpopProofs,
    MutualTls,
    ProtectedResource,
    TokenBinding,
    refused,
    require_recent_auth,
)
from aisecure.decisions import Decision
from aisecure.errors import AccessDenied, AuthenticationError, QuotaExceeded, Unavailable, denied
from aisecure.testing import memory_storage

MCP = ProtectedResource("https://mcp.example.com/mcp", ["https://login.example.com"])
METADATA = 'resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"'


class Tokens:
    """A method that takes tokens, bound ones too."""

    name = "jwt"
    aauthenticate = None

    def __init__(self, binding=None):
        self.binding = binding

    def takes(self, credential):
        return credential.scheme in ("bearer", "dpop")

    def authenticate(self, credential):
        return Principal("ana")


def shield(*methods):
    return Shield(AuthenticationGuard(*methods))


def said(err, authorization=(), *, by=None, resource=None):
    return dict(Challenges(by, resource).headers(err, authorization))


TLS = MutualTls({"CN=bot": Principal("bot")}, name="subject")
BOUND = shield(Tokens(TokenBinding(dpop=DpopProofs(algorithms=["ES256", "PS256"]))))


class TestSchemes:
    @pytest.mark.parametrize(
        ("by", "challenge"),
        [
            (None, "Bearer"),
            (Shield(), "Bearer"),
            (Shield(Keys()), "Bearer"),
            (shield(Tokens()), "Bearer"),
            (shield(TLS, Tokens()), "Bearer"),
            (shield(TLS), "MutualTLS"),
            (BOUND, 'Bearer, DPoP algs="ES256 PS256"'),
        ],
    )
    def test_those_that_the_shield_takes_are_named(self, by, challenge):
        assert said(AuthenticationError(), by=by) == {"www-authenticate": challenge}

    def test_keys_are_asked_for_with_bearer(self):
        keys = ApiKeys(memory_storage(), pepper=bytes(32))
        assert said(AuthenticationError(), by=shield(keys))["www-authenticate"] == "Bearer"

    def test_clients_are_pointed_to_the_metadata(self):
        told = said(AuthenticationError(), by=BOUND, resource=MCP)["www-authenticate"]
        assert told == f'Bearer {METADATA}, DPoP algs="ES256 PS256", {METADATA}'


class TestErrors:
    @pytest.mark.parametrize(
        ("authorization", "challenge"),
        [
            ([], 'Bearer, DPoP algs="ES256 PS256"'),
            (["Basic x"], 'Bearer, DPoP algs="ES256 PS256"'),
            (["Bearer x", "Bearer y"], 'Bearer, DPoP algs="ES256 PS256"'),
            (["Bearer x"], 'Bearer error="invalid_token", DPoP algs="ES256 PS256"'),
            (["DPoP x"], 'Bearer, DPoP error="invalid_token", algs="ES256 PS256"'),
        ],
        ids=str,
    )
    def test_an_error_is_said_of_the_scheme_that_was_used(self, authorization, challenge):
        assert said(AuthenticationError(), authorization, by=BOUND)["www-authenticate"] == challenge

    def test_a_bad_proof_is_said_to_be_one(self):
        err = denied(replace(refused("Why."), challenge={"error": "invalid_dpop_proof"}))
        assert said(err, ["DPoP x"], by=BOUND) == {
            "www-authenticate": 'Bearer, DPoP error="invalid_dpop_proof", algs="ES256 PS256"'
        }

    def test_a_missing_nonce_comes_with_a_fresh_one(self):
        nonces = DpopNonces()
        by = shield(Tokens(TokenBinding(dpop=DpopProofs(algorithms=["ES256"], nonces=nonces))))
        err = denied(replace(refused("Why.", code="authn.nonce"), challenge={"error": "use_dpop_nonce"}))
        told = said(err, ["DPoP x"], by=by)
        assert told["www-authenticate"] == 'Bearer, DPoP error="use_dpop_nonce", algs="ES256"'
        assert nonces.accepts(told["dpop-nonce"])

    def test_a_step_up_says_what_to_bring(self):
        err = denied(require_recent_auth(300).decide(Principal("ana")))
        told = 'Bearer error="insufficient_user_authentication", max_age="300"'
        assert said(err, ["Bearer x"])["www-authenticate"] == told
        assert said(err, [])["www-authenticate"] == told

    def test_a_missing_scope_is_a_challenge_too(self):
        err = denied(replace(Decision.deny("access.scope", "No."), challenge={"scope": "chat tools"}))
        assert said(err, ["Bearer x"], resource=MCP) == {
            "www-authenticate": f'Bearer error="insufficient_scope", scope="chat tools", {METADATA}'
        }
        assert (
            said(AccessDenied(code="access.scope"))["www-authenticate"] == 'Bearer error="insufficient_scope"'
        )

    @pytest.mark.parametrize("err", [AccessDenied(), QuotaExceeded(), Unavailable()])
    def test_other_refusals_ask_for_nothing(self, err):
        assert said(err, ["Bearer x"], by=BOUND, resource=MCP) == {}

    @pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "é", "\0", "\x7f", "\ud800", ""])
    def test_a_value_that_a_header_cannot_hold_is_left_out(self, value):
        err = denied(replace(refused("Why."), challenge={"scope": value, value: "x"}))
        assert said(err)["www-authenticate"] == "Bearer"

    def test_a_quote_stays_inside_its_quotes(self):
        err = denied(replace(refused("Why."), challenge={"scope": 'a", error="none\\'}))
        assert said(err)["www-authenticate"] == 'Bearer scope="a\\", error=\\"none\\\\"'


def test_metadata_are_not_an_address():
    with pytest.raises(TypeError):
        Challenges(BOUND, "https://mcp.example.com/mcp")
