"""Tokens of real issuers over real HTTP: an OpenID provider, and an OAuth server made of Authlib behind TLS."""

from __future__ import annotations

import logging
import secrets
import ssl
import threading
import time
from contextlib import ExitStack

import httpx
import pytest
import trustme
from fastapi import FastAPI
from flask import Flask, jsonify
from joserfc.jwk import ECKey, KeySet
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi

from aisecure import Shield
from aisecure.access import Authorizer, require_permission
from aisecure.adapters.fastapi import CurrentPrincipal, secure
from aisecure.authn import AuthenticationGuard, ClaimMapping, JwtVerifier, TokenRevocations
from aisecure.testing import CapturedEvents, FrozenClock, memory_storage

# Both parts of the issuers warn of what their next releases will drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

AUDIENCE, SECRET = "https://api.example.com", secrets.token_urlsafe(16)
POLICY = """
p, member, acme, note:*, read, allow
"""


class Application:
    """A FastAPI application behind a shield, as a user would write it."""

    def __init__(self, shield: Shield) -> None:
        self.api = FastAPI()
        secure(self.api, shield)
        authorizer = Authorizer.from_text(policy=POLICY)

        @self.api.get("/me")
        async def me(principal: CurrentPrincipal) -> dict[str, object]:
            return {
                "id": principal.id, "tenant": principal.tenant, "roles": sorted(principal.roles),
                "scopes": sorted(principal.scopes), "method": principal.method,
            }  # fmt: skip

        @self.api.get("/notes/{name}")
        @require_permission("read", "note:{name}", authorizer=authorizer)
        async def note(name: str) -> dict[str, str]:
            return {"name": name}


@pytest.fixture(scope="module")
def door():
    """What asks the application of ``door.switch``; one server for all."""
    switch = Switch()
    with (
        serve_asgi(switch.asgi) as url,
        httpx.Client(base_url=url, trust_env=False, timeout=20, verify=False) as client,  # no TLS here
    ):

        def get(path, token=None):
            headers = {} if token is None else {"Authorization": f"Bearer {token}"}
            return client.get(path, headers=headers)

        get.switch = switch
        yield get


# -- an OAuth server with tokens of RFC 9068


class Issuer:
    """An authorization server that gives machines access tokens, publishes its keys and changes them."""

    def __init__(self) -> None:
        self.keys: list[ECKey] = []
        self.origin = ""
        self.fetched = 0
        self.claims: dict[str, object] = {"org": "acme", "groups": ["member"]}
        self.rotate()

    def rotate(self, *, drop: bool = False) -> None:
        """Sign with a new key; publish the old ones too, unless they are dropped."""
        key = ECKey.generate_key("P-256", {"kid": secrets.token_hex(4), "use": "sig", "alg": "ES256"})
        self.keys = [key] if drop else [key, *self.keys]

    def app(self) -> Flask:
        from authlib.integrations.flask_oauth2 import AuthorizationServer
        from authlib.oauth2.rfc6749 import ClientMixin, grants
        from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator

        issuer = self

        class Machine(ClientMixin):
            def __init__(self, name):
                self.name = name

            def get_client_id(self):
                return self.name

            def get_allowed_scope(self, scope):
                return scope or ""

            def check_client_secret(self, secret):
                return secret == SECRET

            def check_endpoint_auth_method(self, method, endpoint):
                return method == "client_secret_basic"

            def check_grant_type(self, kind):
                return kind == "client_credentials"

        class Tokens(JWTBearerTokenGenerator):
            def get_jwks(self):
                return KeySet(issuer.keys[:1])

            def get_audiences(self, client, user, scope):
                return AUDIENCE

            def get_extra_claims(self, client, kind, user, scope):
                return issuer.claims

        app = Flask(__name__)
        server = AuthorizationServer(app, query_client=Machine, save_token=lambda token, request: None)
        server.register_grant(grants.ClientCredentialsGrant)
        tokens = Tokens(issuer.origin, alg="ES256", expires_generator=lambda client, kind: 10 * 3600)
        server.register_token_generator("default", tokens)

        @app.post("/token")
        def token():
            tokens.issuer = issuer.origin
            return server.create_token_response()

        @app.get("/.well-known/oauth-authorization-server")
        def metadata():
            return jsonify(
                issuer=issuer.origin,
                jwks_uri=f"{issuer.origin}/jwks",
                token_endpoint=f"{issuer.origin}/token",
            )

        @app.get("/jwks")
        def jwks():
            issuer.fetched += 1
            return jsonify(KeySet(issuer.keys).as_dict(private=False))

        return app


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


class World:
    """An issuer behind TLS, and an application that trusts it; the application's clock moves when told to."""

    def __init__(self, stack: ExitStack, authority: trustme.CA, door) -> None:
        server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.create_default_context()
        authority.issue_cert("127.0.0.1").configure_cert(server)
        authority.configure_trust(client)
        self.issuer, self._running = Issuer(), ExitStack()
        stack.enter_context(self._running)
        self.issuer.origin = self._running.enter_context(serve_wsgi(self.issuer.app(), server))
        self._client = stack.enter_context(httpx.Client(trust_env=False, verify=client, timeout=20))
        self.clock, self.events, self.storage = FrozenClock(time.time()), CapturedEvents(), memory_storage()
        stack.callback(self.storage.close)
        self.revocations = TokenRevocations(self.storage, clock=self.clock)
        self.verifier = JwtVerifier(
            issuer=self.issuer.origin,
            audience=AUDIENCE,
            algorithms=["ES256"],
            typ="at+jwt",
            principal=ClaimMapping(tenant_claim="org", roles="groups"),
            revocations=self.revocations,
            ssl_context=client,
            clock=self.clock,
            events=self.events,
        )
        shield = Shield(AuthenticationGuard(self.verifier), sinks=[self.events])
        door.switch.app, self.get = Application(shield).api, door

    def token(self, name: str = "billing", **form: str) -> str:
        data = {"grant_type": "client_credentials", **form}
        answer = self._client.post(f"{self.issuer.origin}/token", data=data, auth=(name, SECRET))
        assert answer.status_code == 200, answer.text
        return answer.json()["access_token"]

    def stop_issuer(self) -> None:
        self._running.close()


@pytest.fixture
def world(authority, door):
    with ExitStack() as stack:
        yield World(stack, authority, door)


def test_a_machine_gets_a_token_and_is_known_by_it(world):
    token = world.token(scope="chat notes:read")
    assert world.get("/me", token).json() == {
        "id": "billing", "tenant": "acme", "roles": ["member"], "scopes": ["chat", "notes:read"], "method": "jwt",
    }  # fmt: skip
    assert world.get("/notes/a", token).json() == {"name": "a"}
    for _ in range(5):
        assert world.get("/me", world.token("other")).json()["id"] == "other"
    assert world.issuer.fetched == 1
    assert world.events.of_type("jwks.loaded")[0].detail == {"issuer": world.issuer.origin, "keys": 1}


def test_what_the_issuer_says_decides(world):
    world.issuer.claims = {"org": "acme", "groups": []}
    assert world.get("/notes/a", world.token()).status_code == 403
    world.issuer.claims = {"org": "other", "groups": ["member"]}
    assert world.get("/notes/a", world.token()).status_code == 403
    world.issuer.claims = {"groups": ["member"]}
    answer = world.get("/me", world.token())
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert world.get("/me").status_code == 401


def test_a_token_that_was_changed_on_the_way_is_refused(world):
    head, payload, signature = world.token().split(".")
    other = world.token("other").split(".")
    for changed in (
        f"{head}.{other[1]}.{signature}", f"{head}.{payload}.{other[2]}", f"{head}.{payload}.", f"{head}.{payload}",
        f"{head}.{payload}.{signature}A", "a.b.c", "x" * 9000,
    ):  # fmt: skip
        answer = world.get("/me", changed)
        assert answer.status_code == 401
        assert answer.json()["code"] == "authn.invalid"
    assert world.get("/me", f"{head}.{payload}.{signature}").status_code == 200


def test_keys_that_change_are_followed(world):
    old = world.token()
    assert world.get("/me", old).status_code == 200
    world.issuer.rotate()
    new = world.token("other")
    assert world.get("/me", new).json()["id"] == "other"
    assert world.get("/me", old).status_code == 200  # still published
    assert world.issuer.fetched == 2
    world.clock.advance(61)
    world.issuer.rotate(drop=True)
    assert world.get("/me", world.token()).status_code == 200
    assert [world.get("/me", token).status_code for token in (old, new)] == [401, 401]
    assert world.issuer.fetched == 3


def test_requests_at_the_same_time_fetch_once(world):
    tokens = [world.token(f"m-{number}") for number in range(8)]
    answers: list[str] = []

    def ask(token):
        answers.append(world.get("/me", token).json().get("id"))

    threads = [threading.Thread(target=ask, args=(token,)) for token in tokens]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(answers) == [f"m-{number}" for number in range(8)]
    assert world.issuer.fetched == 1


def test_an_issuer_that_was_stopped_is_outlived_for_a_time(world):
    token = world.token()
    assert world.get("/me", token).status_code == 200
    world.stop_issuer()
    world.clock.advance(3601)
    assert world.get("/me", token).json()["id"] == "billing"
    assert world.events.types.count("jwks.stale") == 1
    world.clock.advance(21_600)
    answer = world.get("/me", token)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable.issuer")


def test_a_revoked_token_is_refused_at_once(world):
    token, other = world.token(), world.token("other")
    claims = world.verifier.verify(token)
    assert [world.get("/me", one).status_code for one in (token, other)] == [200, 200]
    world.revocations.revoke(claims["jti"], issuer=claims["iss"], until=claims["exp"])
    assert [world.get("/me", one).status_code for one in (token, other)] == [401, 200]
    world.revocations.revoke_subject("other", issuer=world.issuer.origin)
    assert world.get("/me", other).status_code == 401


# -- an OpenID provider, and an application that is set up by a file


@pytest.fixture
def provider(monkeypatch):
    """The address of an OpenID provider without TLS, as there is one for development."""
    monkeypatch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
    for name in ("werkzeug", "oidc_provider_mock"):
        monkeypatch.setattr(logging.getLogger(name), "level", logging.CRITICAL)
    import oidc_provider_mock

    people = [oidc_provider_mock.User(sub="ana", claims={"org": "acme", "groups": ["member"]})]
    with serve_wsgi(oidc_provider_mock.app(user_claims=people)) as origin:
        yield origin


def _log_in(origin, name, client_id):
    """Go through the code flow as a browser and a client do; return the ID token."""
    back = "http://localhost/back"
    with httpx.Client(base_url=origin, trust_env=False, timeout=20, verify=False) as client:
        metadata = client.get("/.well-known/openid-configuration").json()
        wanted = {
            "client_id": client_id, "redirect_uri": back, "response_type": "code", "scope": "openid", "nonce": "n-1",
        }  # fmt: skip
        sent = client.post(metadata["authorization_endpoint"], params=wanted, data={"sub": name})
        code = httpx.URL(sent.headers["location"]).params["code"]
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": back}
        answer = client.post(metadata["token_endpoint"], data=form, auth=(client_id, "secret"))
        return answer.json()["id_token"]


def test_somebody_who_logged_in_is_known_and_a_login_for_another_service_opens_nothing(
    provider, door, tmp_path
):
    (tmp_path / "aisecure.toml").write_text(f"""
        [authn]
        api_keys = false
        [[authn.issuers]]
        issuer = "{provider}"
        audience = "shop"
        algorithms = ["RS256"]
        tenant_claim = "org"
        roles = "groups"
        allow_http_loopback = true
        """)
    shield = Shield.from_config(tmp_path / "aisecure.toml")
    try:
        door.switch.app = Application(shield).api
        token = _log_in(provider, "ana", "shop")
        assert door("/me", token).json() == {
            "id": "ana", "tenant": "acme", "roles": ["member"], "scopes": [], "method": "jwt",
        }  # fmt: skip
        assert door("/notes/a", token).status_code == 200
        assert door("/me", _log_in(provider, "ana", "another-app")).status_code == 401
        assert door("/me", _log_in(provider, "somebody-without-org", "shop")).status_code == 401
    finally:
        shield.close()
