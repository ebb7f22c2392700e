"""The example over a real TLS socket: keys, tokens of a real issuer, and certificates, under one policy."""

from __future__ import annotations

import importlib.util
import json
import ssl
import time
import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme
from flask import Flask, jsonify
from joserfc.jwk import ECKey
from tests.adapters.servers import serve_asgi, serve_wsgi

from aisecure import Shield
from aisecure.authn import ApiKeys

with warnings.catch_warnings():
    # authlib's own server still signs with its older module, and says so.
    warnings.simplefilter("ignore")
    from authlib.integrations.flask_oauth2 import AuthorizationServer
    from authlib.oauth2.rfc6749 import grants
    from authlib.oauth2.rfc9068 import JWTBearerTokenGenerator

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:authlib", "ignore:authlib.jose")


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("identity_api", ROOT / "examples" / "identity_api.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Client:
    """A program that the issuer knows."""

    def __init__(self, name: str, groups: list[str]) -> None:
        self.client_id = name
        self.groups = groups

    def check_client_secret(self, secret: str) -> bool:
        return secret == f"secret of {self.client_id}"

    def check_endpoint_auth_method(self, method: str, endpoint: str) -> bool:
        return method == "client_secret_post"

    def check_grant_type(self, grant_type: str) -> bool:
        return grant_type == "client_credentials"

    def get_allowed_scope(self, scope: str) -> str:
        return scope

    def get_client_id(self) -> str:
        return self.client_id


class Issuer:
    """An OAuth authorization server of authlib's, with discovery and a key that it can exchange."""

    def __init__(self) -> None:
        self.url = ""
        self.key = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"})
        self.published = [self.key]
        self.fetched = 0
        clients = {name: Client(name, groups) for name, groups in (("ann", ["editor"]), ("bob", []))}
        self.app = app = Flask("issuer")
        server = AuthorizationServer(app, query_client=clients.get, save_token=lambda token, req: None)

        class Grant(grants.ClientCredentialsGrant):
            TOKEN_ENDPOINT_AUTH_METHODS = ("client_secret_post",)

        server.register_grant(Grant)
        issuer = self

        class Generator(JWTBearerTokenGenerator):
            def get_jwks(self) -> Any:
                return {"keys": [issuer.key.as_dict(private=True)]}

            def get_audiences(self, client: Client, user: Any, scope: str) -> str:
                return "https://api.example.com"

            def get_extra_claims(
                self, client: Client, grant_type: str, user: Any, scope: str
            ) -> dict[str, Any]:
                return {"groups": client.groups}

        self._generator = Generator

        @app.post("/token")
        def token() -> Any:
            server.register_token_generator("default", Generator(issuer.url, alg="ES256"))
            return server.create_token_response()

        @app.get("/.well-known/openid-configuration")
        def discovery() -> Any:
            return jsonify({"issuer": issuer.url, "jwks_uri": f"{issuer.url}/keys"})

        @app.get("/keys")
        def keys() -> Any:
            issuer.fetched += 1
            return jsonify({"keys": [key.as_dict(private=False) for key in issuer.published]})

    def token(self, name: str) -> str:
        answer = httpx.post(
            f"{self.url}/token",
            data={
                "grant_type": "client_credentials",
                "client_id": name,
                "client_secret": f"secret of {name}",
                "scope": "reports",
            },
        )
        assert answer.status_code == 200, answer.text
        return str(answer.json()["access_token"])


@pytest.fixture(scope="module")
def issuer():
    issuer = Issuer()
    with serve_wsgi(issuer.app) as url:
        issuer.url = url
        yield issuer


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def service(example, issuer, authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("identity")
    config = example.write_settings(folder, issuer=issuer.url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    with (
        Shield.from_config(config) as shield,
        serve_asgi(
            example.create_app(shield), ssl_context=context, http="aisecure.adapters.uvicorn:HttpProtocol"
        ) as url,
    ):
        yield url, shield


@pytest.fixture
def client(service, authority):
    made = []

    def make(certificate=None, **headers: str) -> httpx.Client:
        context = ssl.create_default_context()
        authority.configure_trust(context)
        if certificate is not None:
            certificate.configure_cert(context)
        made.append(httpx.Client(base_url=service[0], verify=context, headers=headers))
        return made[-1]

    yield make
    for one in made:
        one.close()


def _me(client: httpx.Client) -> dict[str, Any]:
    answer = client.get("/me")
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_a_program_is_known_by_its_key_and_may_what_its_role_may(client, service):
    key = service[1].part(ApiKeys).create("reports", roles=["reader"]).secret
    with_key = client(**{"X-API-Key": key})
    assert _me(with_key) == {"id": "reports", "method": "api_key", "roles": ["reader"]}
    assert with_key.get("/reports/q1").json() == {"text": "All is well."}
    refused = with_key.put("/reports/q1", json={"text": "No."})
    assert (refused.status_code, refused.json()["code"]) == (403, "access.denied")


def test_a_person_is_known_by_a_token_of_the_issuer(client, issuer):
    with_token = client(Authorization=f"Bearer {issuer.token('ann')}")
    assert _me(with_token) == {"id": "ann", "method": "jwt", "roles": ["editor"]}
    assert with_token.put("/reports/q2", json={"text": "Better."}).status_code == 200
    nobody = client(Authorization=f"Bearer {issuer.token('bob')}")
    assert nobody.get("/reports/q1").status_code == 403


def test_a_machine_is_known_by_its_certificate(client, authority):
    with_certificate = client(authority.issue_cert("batch.example.com"))
    assert _me(with_certificate) == {"id": "batch", "method": "mtls", "roles": ["writer"]}
    assert with_certificate.put("/reports/q3", json={"text": "Done."}).status_code == 200
    other = client(authority.issue_cert("other.example.com"))
    assert other.get("/me").status_code == 401


def test_a_rule_that_denies_holds_for_all_of_them(client, service, issuer, authority):
    key = service[1].part(ApiKeys).create("reports", roles=["reader"]).secret
    for one in (
        client(**{"X-API-Key": key}),
        client(Authorization=f"Bearer {issuer.token('bob')}"),
        client(authority.issue_cert("other.example.com")),
    ):
        assert one.get("/reports/secret-1").status_code in (401, 403)


def test_nobody_and_what_is_not_right_is_refused(client, issuer):
    token = issuer.token("ann")
    head, payload, signature = token.split(".")
    for headers in (
        {},
        {"X-API-Key": "ais_live_000000000000_0000000000000000000000000000000Vqxs1"},
        {"Authorization": f"Bearer {head}.{payload}.{signature[:-4]}AAAA"},
        {"Authorization": f"Bearer {head}.{payload}."},
        {"Authorization": f"Bearer {token}", "X-API-Key": "x"},
    ):
        answer = client(**headers).get("/me")
        assert answer.status_code == 401, headers
        assert "www-authenticate" in answer.headers
        assert token not in answer.text


def test_a_new_key_of_the_issuer_is_found_and_asked_for_once(client, issuer):
    assert _me(client(Authorization=f"Bearer {issuer.token('ann')}"))
    before = issuer.fetched
    issuer.key = ECKey.generate_key("P-256", {"kid": "k2", "alg": "ES256", "use": "sig"})
    issuer.published = [*issuer.published, issuer.key]
    assert _me(client(Authorization=f"Bearer {issuer.token('ann')}"))["id"] == "ann"
    stranger = ECKey.generate_key("P-256", {"kid": "k3", "alg": "ES256", "use": "sig"})
    for number in range(5):
        stranger_token = _signed(stranger, issuer.url, f"k{number + 10}")
        assert client(Authorization=f"Bearer {stranger_token}").get("/me").status_code == 401
    assert issuer.fetched == before + 1


def _signed(key: ECKey, issuer: str, kid: str) -> str:
    from joserfc import jwt

    now = int(time.time())
    claims = {"iss": issuer, "aud": "https://api.example.com", "sub": "eve", "iat": now, "exp": now + 60}
    return jwt.encode({"alg": "ES256", "kid": kid}, claims, key)


def test_the_settings_are_those_that_the_example_prints(example, tmp_path):
    key = ECKey.generate_key("P-256", {"kid": "k1", "alg": "ES256", "use": "sig"})
    config = example.write_settings(tmp_path, issuer="https://login.example.com/", jwks_file="issuer.json")
    (tmp_path / "issuer.json").write_text(json.dumps({"keys": [key.as_dict(private=False)]}))
    with Shield.from_config(config) as shield:
        assert example.create_app(shield).title
