"""`require` of Flask and FastAPI: one more call through the shield before a view runs, asked over real HTTP."""

from __future__ import annotations

import httpx
import pytest
from fastapi import Depends, FastAPI
from flask import Flask
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi

from aisecure import Shield
from aisecure.access import AccessGuard, Authorizer, Scopes
from aisecure.adapters import fastapi, flask
from aisecure.authn import ApiKeys, AuthenticationGuard, MemoryKeyStore
from aisecure.testing import CapturedEvents

POLICY = "p, member, *, document:*, read, allow\np, member, *, document:secret, read, deny"


class World:
    def __init__(self) -> None:
        self.events = CapturedEvents()
        self.keys = ApiKeys(MemoryKeyStore(), pepper=bytes(32))
        scopes = Scopes({"notes": ["read document:*"], "chat": ["invoke model:*"]})
        may = Authorizer.from_text(policy=POLICY, scopes=scopes)
        self.shield = Shield(AuthenticationGuard(self.keys), AccessGuard(may), sinks=[self.events])

    def key(self, *scopes: str, role: str = "member") -> dict[str, str]:
        return {"X-API-Key": self.keys.create("u-17", roles=[role], scopes=scopes).secret}


def fastapi_app(world: World) -> FastAPI:
    app = FastAPI()
    fastapi.secure(app, world.shield, public=["/open/*"])
    needs = [Depends(fastapi.require("read", "document:{name}"))]

    @app.get("/documents/{name}", dependencies=needs)
    @app.get("/open/{name}", dependencies=needs)
    def document(name: str) -> dict[str, str]:
        return {"name": name}

    @app.get("/wrong/{other}", dependencies=needs)
    def wrong(other: str) -> dict[str, str]:
        return {"name": other}

    return app


def flask_app(world: World) -> Flask:
    app = Flask(__name__)
    flask.AISecure(app, world.shield, public=["/open/*"])

    @app.get("/documents/<name>")
    @app.get("/open/<name>")
    @flask.require("read", "document:{name}")
    def document(name: str) -> dict[str, str]:
        """Show a document."""
        return {"name": name}

    @app.get("/wrong/<other>")
    @flask.require("read", "document:{name}")
    def wrong(other: str) -> dict[str, str]:
        return {"name": other}

    assert (document.__name__, document.__doc__) == ("document", "Show a document.")
    return app


@pytest.fixture(scope="module")
def servers():
    one, two = Switch(), Switch()
    with serve_asgi(one.asgi) as first, serve_wsgi(two.wsgi) as second:
        yield {"fastapi": (one, first, fastapi_app), "flask": (two, second, flask_app)}


@pytest.fixture
def world():
    return World()


@pytest.fixture(params=["fastapi", "flask"])
def client(request, servers, world):
    switch, url, make = servers[request.param]
    switch.app = make(world)
    with httpx.Client(base_url=url) as client:
        yield client


def test_who_may_reaches_the_view_and_the_call_is_recorded(client, world):
    answer = client.get("/documents/plan", headers=world.key())
    assert (answer.status_code, answer.json()) == (200, {"name": "plan"})
    recorded = [
        (event.type, event.action, event.resource) for event in world.events if event.action == "read"
    ]
    assert recorded == [("call.allowed", "read", "document:plan")]


def test_who_may_not_does_not(client, world):
    answer = client.get("/documents/secret", headers=world.key())
    assert (answer.status_code, answer.json()["code"]) == (403, "access.rule")
    assert client.get("/documents/plan", headers=world.key(role="guest")).status_code == 403


def test_a_key_for_something_else_is_told_the_scope(client, world):
    assert client.get("/documents/plan", headers=world.key("notes")).status_code == 200
    answer = client.get("/documents/plan", headers=world.key("chat"))
    assert (answer.status_code, answer.json()["code"]) == (403, "access.scope")
    assert answer.headers["www-authenticate"] == 'Bearer error="insufficient_scope", scope="notes"'


def test_nobody_is_refused_also_where_the_path_is_public(client, world):
    assert client.get("/open/plan").status_code == 401


def test_a_name_that_the_route_lacks_is_a_mistake_and_opens_nothing(client, world):
    answer = client.get("/wrong/plan", headers=world.key())
    assert answer.status_code == 500
    assert "name" not in answer.json()


def test_a_view_of_an_app_without_a_shield_is_not_served():
    app = Flask(__name__)
    app.add_url_rule("/<name>", view_func=flask.require("read", "document:{name}")(lambda name: name))
    app.testing = True
    with pytest.raises(Exception, match="AISecure"):
        app.test_client().get("/x")


def test_an_asynchronous_view_is_served(servers, world):
    switch, url, _ = servers["flask"]
    switch.app = app = Flask(__name__)
    flask.AISecure(app, world.shield)

    @app.get("/documents/<name>")
    @flask.require("read", "document:{name}")
    async def document(name: str) -> str:
        return name

    with httpx.Client(base_url=url, headers=world.key()) as client:
        assert client.get("/documents/plan").text == "plan"
        assert client.get("/documents/secret").status_code == 403
