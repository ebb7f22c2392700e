"""Tokens bound to their sender, step-up and metadata, over real HTTP with FastAPI, bare ASGI and Flask."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from flask import Flask
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi
from tests.unit.authn.senders import ClientAuthority, Holder, b64
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as ws_connect

from aisecure import Principal, Shield
from aisecure.access import require_scope
from aisecure.adapters.asgi import AISecureMiddleware
from aisecure.adapters.fastapi import CurrentPrincipal, secure
from aisecure.adapters.flask import AISecure, current_principal
from aisecure.authn import (
    AuthenticationGuard,
    DpopNonces,
    DpopProofs,
    JwtVerifier,
    ProtectedResource,
    TokenBinding,
    certificate_thumbprint,
    refused,
    require_recent_auth,
)
from aisecure.call import current_context
from aisecure.errors import AccessDenied
from aisecure.testing import CapturedEvents

ANA, EVE = Holder(), Holder()
CERTIFICATE = ClientAuthority().issue(subject="ana").der
PLAIN, BY_KEY, BY_CERTIFICATE = "token-plain-1f3e", "token-by-key-88aa", "token-by-certificate-d0d0"
CLAIMS: dict[str, dict[str, Any]] = {
    PLAIN: {"sub": "pia"},
    BY_KEY: {"sub": "ana", "cnf": {"jkt": ANA.thumbprint}},
    BY_CERTIFICATE: {"sub": "ana", "cnf": {"x5t#S256": certificate_thumbprint(CERTIFICATE)}},
}
RESOURCE = ProtectedResource(
    "https://mcp.example.com/mcp", ["https://login.example.com"], scopes_supported=["chat"]
)
METADATA = f'resource_metadata="{RESOURCE.url}"'
ALGORITHMS = 'algs="ES256"'


class Tokens:
    """Opaque tokens whose claims are known: what a verifier of JWTs hands to the binding."""

    name = "jwt"
    aauthenticate = None

    def __init__(self, binding):
        self.binding = binding

    def takes(self, credential):
        return credential.scheme in ("bearer", "dpop")

    def authenticate(self, credential):
        claims = CLAIMS.get(credential.value)
        if claims is None:
            return refused("There is no such token.")
        return self.binding(claims, credential) or Principal(claims["sub"], method="jwt", claims=claims)


class World:
    def __init__(self, nonces=None):
        self.events = CapturedEvents()
        self.nonces = nonces
        binding = TokenBinding(dpop=DpopProofs(algorithms=["ES256"], nonces=nonces))
        fresh = require_recent_auth(300, on="tool:refund")
        self.shield = Shield(
            AuthenticationGuard(Tokens(binding)),
            fresh,
            require_scope("chat", on="tool:scoped"),
            sinks=[self.events],
        )

        @self.shield.protect("{resource}", prompt="text")
        def run(resource, text):
            return current_context().principal.id

        self.run = run


def asgi_app(world, **options):
    async def app(scope, receive, send):
        if scope["type"] == "websocket":
            await send({"type": "websocket.accept"})
            await send({"type": "websocket.send", "text": current_context().principal.id})
            await send({"type": "websocket.close"})
            return
        body = world.run(f"tool:{scope['path'].rpartition('/')[2]}", "x").encode()
        await send(
            {"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]}
        )
        await send({"type": "http.response.body", "body": body})

    return AISecureMiddleware(app, world.shield, **options)


def fastapi_app(world, **options):
    app = FastAPI()
    secure(app, world.shield, **options)

    @app.get("/notes/{name}")
    @app.post("/notes/{name}")
    def notes(name: str, principal: CurrentPrincipal):
        from fastapi.responses import PlainTextResponse

        return PlainTextResponse(world.run(f"tool:{name}", "x"))

    return app


def flask_app(world, **options):
    app = Flask(__name__)
    AISecure(app, world.shield, **options)

    @app.route("/notes/<name>", methods=["GET", "POST"])
    def notes(name):
        assert current_principal.id
        return world.run(f"tool:{name}", "x")

    return app


@pytest.fixture(scope="module")
def servers():
    asgi, wsgi = Switch(), Switch()
    with serve_asgi(asgi.asgi) as asgi_url, serve_wsgi(wsgi.wsgi) as wsgi_url, Door.client:
        yield {"asgi": (asgi, asgi_url), "wsgi": (wsgi, wsgi_url)}


APPS = {"asgi": ("asgi", asgi_app), "fastapi": ("asgi", fastapi_app), "flask": ("wsgi", flask_app)}


class Door:
    """A running application and a client in front of it."""

    #: One for all: making one loads the system's authorities each time.
    client = httpx.Client(trust_env=False, timeout=10, verify=False)  # there is no TLS here

    def __init__(self, servers, name):
        kind, self._make = APPS[name]
        self._switch, self.url = servers[kind]

    def open(self, world, **options):
        self._switch.app = self._make(world, **options)

    def get(self, path="/notes/read", token=None, scheme="Bearer", proof=None, method="GET", **headers):
        lines = [(name.replace("_", "-"), value) for name, value in headers.items()]
        if token is not None:
            lines.append(("Authorization", f"{scheme} {token}"))
        lines += [("DPoP", one) for one in ([proof] if isinstance(proof, str) else proof or [])]
        return self.client.request(method, self.url + path, headers=lines)

    def proof(self, path="/notes/read", holder=ANA, token=BY_KEY, **changes):
        ath = b64(hashlib.sha256(token.encode()).digest())
        return holder.proof(time.time(), **{"htu": self.url + path, "ath": ath, **changes})


@pytest.fixture(params=APPS)
def door(request, servers):
    return Door(servers, request.param)


class TestDpop:
    @pytest.fixture
    def world(self, door):
        world = World()
        door.open(world)
        return world

    def test_a_bound_token_with_its_proof_is_let_in_once(self, world, door):
        proof = door.proof()
        assert door.get(token=BY_KEY, scheme="DPoP", proof=proof).text == "ana"
        again = door.get(token=BY_KEY, scheme="DPoP", proof=proof)
        assert again.status_code == 401
        assert again.headers["www-authenticate"] == f'Bearer, DPoP error="invalid_dpop_proof", {ALGORITHMS}'
        assert door.get(token=BY_KEY, scheme="dpop", proof=door.proof()).text == "ana"

    def test_the_query_is_no_part_of_the_address_and_the_method_is_of_the_proof(self, world, door):
        assert door.get("/notes/read?page=2", BY_KEY, "DPoP", door.proof()).text == "ana"
        assert door.get(token=BY_KEY, scheme="DPoP", proof=door.proof(htm="POST")).status_code == 401
        posted = door.get(token=BY_KEY, scheme="DPoP", proof=door.proof(htm="POST"), method="POST")
        assert posted.text == "ana"

    def test_an_encoded_path_is_compared_as_it_was_sent(self, world, door):
        assert door.get("/notes/re%61d", BY_KEY, "DPoP", door.proof()).text == "ana"
        assert door.get("/notes/a%20b", BY_KEY, "DPoP", door.proof("/notes/a%20b")).text == "ana"
        assert door.get("/notes/a%2Db", BY_KEY, "DPoP", door.proof("/notes/a-b")).text == "ana"
        assert door.get("/notes/a%3Fb", BY_KEY, "DPoP", door.proof("/notes/a")).status_code == 401

    @pytest.mark.parametrize(
        "attempt",
        [
            lambda door: {"token": BY_KEY},
            lambda door: {"token": BY_KEY, "proof": door.proof()},
            lambda door: {"token": BY_KEY, "scheme": "DPoP"},
            lambda door: {"token": BY_KEY, "scheme": "DPoP", "proof": door.proof(holder=EVE)},
            lambda door: {"token": BY_KEY, "scheme": "DPoP", "proof": door.proof("/notes/other")},
            lambda door: {
                "token": BY_KEY,
                "scheme": "DPoP",
                "proof": door.proof(htu="https://api.example.com/notes/read"),
            },
            lambda door: {"token": BY_KEY, "scheme": "DPoP", "proof": door.proof(token=PLAIN)},
            lambda door: {"token": BY_KEY, "scheme": "DPoP", "proof": [door.proof(), door.proof()]},
            lambda door: {"token": BY_KEY, "scheme": "DPoP", "proof": "junk"},
            lambda door: {"token": PLAIN, "scheme": "DPoP", "proof": door.proof(token=PLAIN)},
            lambda door: {"proof": door.proof()},
            lambda door: {"token": "unknown", "scheme": "DPoP", "proof": door.proof(token="unknown")},
        ],
    )
    def test_everything_else_is_refused_with_one_public_text(self, world, door, attempt):
        response = door.get(**attempt(door))
        assert (response.status_code, response.json()["detail"]) == (
            401,
            "Authentication failed: send a valid credential.",
        )
        event = world.events.only("authn.failed")
        recorded = json.dumps(event.to_dict()) + str(response.headers) + response.text
        assert BY_KEY not in recorded
        assert PLAIN not in recorded

    def test_a_token_that_is_not_bound_still_comes_as_it_did(self, world, door):
        assert door.get(token=PLAIN).text == "pia"
        assert door.get(token=PLAIN, proof="junk").text == "pia"

    def test_a_refused_token_is_told_so_in_its_own_scheme(self, world, door):
        told = door.get(token=BY_KEY).headers["www-authenticate"]
        assert told == f'Bearer error="invalid_token", DPoP {ALGORITHMS}'
        assert door.get().headers["www-authenticate"] == f"Bearer, DPoP {ALGORITHMS}"


class TestAddress:
    def test_a_set_address_counts_and_the_host_header_does_not(self, door):
        door.open(World(), external_url="https://api.example.com")
        outside = door.proof(htu="https://api.example.com/notes/read")
        assert door.get(token=BY_KEY, scheme="DPoP", proof=outside, Host="evil.example").text == "ana"
        assert door.get(token=BY_KEY, scheme="DPoP", proof=door.proof()).status_code == 401

    @pytest.mark.parametrize(
        "told",
        [
            {"X_Forwarded_Proto": "https", "X_Forwarded_Host": "api.example.com"},
            {"Forwarded": "for=192.0.2.1;host=api.example.com;proto=https"},
        ],
        ids=["x-forwarded", "forwarded"],
    )
    def test_a_trusted_proxy_tells_it_and_a_stranger_does_not(self, door, told):
        for proxies, status in ((["127.0.0.1"], 200), (["10.0.0.7"], 401), ([], 401)):
            door.open(World(), trusted_proxies=proxies)
            proof = door.proof(htu="https://api.example.com/notes/read")
            assert door.get(token=BY_KEY, scheme="DPoP", proof=proof, **told).status_code == status


class TestNonces:
    def test_a_client_without_a_nonce_is_given_one_and_let_in_with_it(self, door):
        world = World(DpopNonces())
        door.open(world)
        first = door.get(token=BY_KEY, scheme="DPoP", proof=door.proof())
        assert (first.status_code, first.json()["code"]) == (401, "authn.nonce")
        assert first.headers["www-authenticate"] == f'Bearer, DPoP error="use_dpop_nonce", {ALGORITHMS}'
        nonce = first.headers["dpop-nonce"]
        assert door.get(token=BY_KEY, scheme="DPoP", proof=door.proof(nonce=nonce)).text == "ana"
        assert "dpop-nonce" not in door.get().headers


class TestCertificates:
    def test_a_token_bound_to_a_certificate_needs_it(self, door):
        door.open(World(), trusted_proxies=["127.0.0.1"], certificate_header="Client-Cert")
        right = f":{base64.b64encode(CERTIFICATE).decode()}:"
        wrong = f":{base64.b64encode(ClientAuthority().issue().der).decode()}:"
        assert door.get(token=BY_CERTIFICATE, Client_Cert=right).text == "ana"
        for headers in ({}, {"Client_Cert": wrong}, {"Client_Cert": ""}):
            response = door.get(token=BY_CERTIFICATE, **headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"].startswith('Bearer error="invalid_token"')
        door.open(World(), trusted_proxies=["10.0.0.7"], certificate_header="Client-Cert")
        assert door.get(token=BY_CERTIFICATE, Client_Cert=right).status_code == 401


class TestMore:
    def test_a_call_that_needs_a_fresh_login_says_so(self, door):
        door.open(World(), protected_resource=RESOURCE)
        response = door.get("/notes/refund", PLAIN)
        assert (response.status_code, response.json()["code"]) == (401, "step_up.required")
        assert response.headers["www-authenticate"] == (
            f'Bearer error="insufficient_user_authentication", max_age="300", {METADATA}, DPoP {ALGORITHMS}, {METADATA}'
        )

    def test_a_call_that_needs_a_scope_says_so(self, door):
        door.open(World(), protected_resource=RESOURCE)
        response = door.get("/notes/scoped", PLAIN)
        assert (response.status_code, response.json()["code"]) == (403, "access.scope")
        told = response.headers["www-authenticate"]
        assert told.startswith(f'Bearer error="insufficient_scope", scope="chat", {METADATA}')

    def test_the_metadata_is_served_to_everybody_and_pointed_to(self, door):
        world = World()
        door.open(world, protected_resource=RESOURCE)
        response = door.get("/.well-known/oauth-protected-resource/mcp")
        assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
        assert response.headers["access-control-allow-origin"] == "*"
        assert response.json() == RESOURCE.document()
        head = door.get("/.well-known/oauth-protected-resource/mcp", method="HEAD")
        assert (head.status_code, head.content) == (200, b"")
        assert not world.events
        assert METADATA in door.get().headers["www-authenticate"]

    def test_only_that_path_and_only_reading_is_open(self, door):
        door.open(World(), protected_resource=RESOURCE)
        for path in (
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource/mcp/",
            "/mcp",
        ):
            assert door.get(path).status_code == 401
        assert door.get("/.well-known/oauth-protected-resource/mcp", method="POST").status_code == 401
        door.open(World())
        assert door.get("/.well-known/oauth-protected-resource/mcp").status_code == 401


class TestWebSocket:
    @pytest.fixture
    def door(self, servers):
        return Door(servers, "asgi")

    def connect(self, door, *proofs, scheme="DPoP"):
        lines = [("Authorization", f"{scheme} {BY_KEY}"), *(("DPoP", proof) for proof in proofs)]
        return ws_connect(door.url.replace("http", "ws") + "/ws", additional_headers=lines, proxy=None)

    def test_a_handshake_needs_its_proof(self, door):
        door.open(World())
        for htu in (door.url + "/ws", door.url.replace("http", "ws") + "/ws"):
            with self.connect(door, door.proof(htu=htu)) as socket:
                assert socket.recv(timeout=10) == "ana"
        proof = door.proof("/ws")
        with self.connect(door, proof):
            pass
        for proofs in ((proof,), (), (door.proof("/other"),), (door.proof("/ws"), door.proof("/ws"))):
            with pytest.raises(InvalidStatus) as caught:
                self.connect(door, *proofs)
            assert caught.value.response.status_code == 401
            assert 'DPoP error="invalid_dpop_proof"' in caught.value.response.headers["WWW-Authenticate"]

    def test_a_handshake_without_a_nonce_is_given_one(self, door):
        door.open(World(DpopNonces()))
        with pytest.raises(InvalidStatus) as caught:
            self.connect(door, door.proof("/ws"))
        nonce = caught.value.response.headers["DPoP-Nonce"]
        with self.connect(door, door.proof("/ws", nonce=nonce)) as socket:
            assert socket.recv(timeout=10) == "ana"


def test_a_scope_refusal_that_was_raised_bare_is_answered_too(servers):
    door = Door(servers, "fastapi")
    world = World()

    def run(resource, text):
        raise AccessDenied(code="access.scope")

    world.run = run
    door.open(world)
    response = door.get(token=PLAIN)
    assert response.status_code == 403
    assert response.headers["www-authenticate"].startswith('Bearer error="insufficient_scope"')


class TestJwt:
    """The same with tokens of a real issuer: verified, mapped, remembered, and bound."""

    KEY = ECKey.generate_key("P-256", {"kid": "k1"})

    @pytest.fixture
    def opened(self, door):
        def opened(**claims):
            verifier = JwtVerifier(
                issuer="https://login.example.com",
                audience=RESOURCE.resource,
                algorithms=["ES256"],
                jwks={"keys": [self.KEY.as_dict(private=False)]},
                binding=TokenBinding(dpop=DpopProofs(algorithms=["ES256"])),
            )
            world = World()
            world.shield = Shield(
                AuthenticationGuard(verifier),
                require_recent_auth(300, on="tool:refund"),
                sinks=[world.events],
            )
            world.run = world.shield.protect("{resource}", prompt="text")(
                lambda resource, text: current_context().principal.id
            )
            door.open(
                world,
                protected_resource=RESOURCE,
                trusted_proxies=["127.0.0.1"],
                certificate_header="Client-Cert",
            )
            return self.token(**claims)

        return opened

    def token(self, **claims):
        now = int(time.time())
        made = {
            "iss": "https://login.example.com",
            "aud": RESOURCE.resource,
            "sub": "ana",
            "iat": now,
            "exp": now + 300,
            **claims,
        }
        return jwt.encode({"alg": "ES256", "kid": "k1", "typ": "at+jwt"}, made, self.KEY)

    def test_a_token_bound_to_a_key_needs_a_new_proof_each_time_also_when_it_is_remembered(
        self, opened, door
    ):
        token = opened(cnf={"jkt": ANA.thumbprint})
        for _ in range(3):
            assert door.get(token=token, scheme="DPoP", proof=door.proof(token=token)).text == "ana"
        proof = door.proof(token=token)
        assert door.get(token=token, scheme="DPoP", proof=proof).text == "ana"
        for stolen in (
            {"scheme": "DPoP", "proof": proof},
            {"scheme": "DPoP", "proof": door.proof(token=token, holder=EVE)},
            {"scheme": "DPoP"},
            {"scheme": "Bearer"},
            {"scheme": "Bearer", "proof": door.proof(token=token)},
        ):
            assert door.get(token=token, **stolen).status_code == 401
        assert door.get(token=token, scheme="DPoP", proof=door.proof(token=token)).text == "ana"

    def test_a_token_bound_to_a_certificate_needs_it_each_time_also_when_it_is_remembered(self, opened, door):
        token = opened(cnf={"x5t#S256": certificate_thumbprint(CERTIFICATE)})
        right = f":{base64.b64encode(CERTIFICATE).decode()}:"
        for _ in range(2):
            assert door.get(token=token, Client_Cert=right).text == "ana"
            assert door.get(token=token).status_code == 401

    def test_the_challenge_names_what_the_verifier_takes(self, opened, door):
        opened()
        told = door.get().headers["www-authenticate"]
        assert told == f"Bearer {METADATA}, DPoP {ALGORITHMS}, {METADATA}"

    def test_a_token_for_another_server_is_refused(self, opened, door):
        assert door.get(token=opened(aud="https://other.example.com/mcp")).status_code == 401

    def test_a_login_is_as_old_as_the_token_says_and_unknown_when_it_says_nothing(self, opened, door):
        now = int(time.time())
        assert door.get("/notes/refund", opened(auth_time=now - 10)).text == "ana"
        assert door.get("/notes/refund", self.token(auth_time=now - 600)).json()["code"] == "step_up.required"
        assert door.get("/notes/refund", self.token()).json()["code"] == "step_up.required"
