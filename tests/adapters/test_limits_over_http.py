"""Limits of routes, over real servers: the same meaning in FastAPI and Flask."""

from __future__ import annotations

import threading
import time
from contextlib import asynccontextmanager

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import StreamingResponse
from flask import Flask
from flask import Response as FlaskResponse
from tests.adapters.servers import serve_asgi, serve_wsgi
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure import Shield
from aisecure.adapters import fastapi as for_fastapi
from aisecure.adapters import flask as for_flask
from aisecure.authn import ApiKeys, AuthenticationGuard, MemoryKeyStore
from aisecure.quotas import Concurrency, InputLimits, Limit, RedisStore, rate_limit
from aisecure.testing import CapturedEvents

__all__ = ["redis_client", "redis_server"]


class World:
    """One app, written twice."""

    def __init__(self, **options):
        self.events = CapturedEvents()
        self.keys = ApiKeys(MemoryKeyStore(), pepper=bytes(32))
        self.ann, self.bob = (
            self.keys.create(name, tenant="acme", roles=["member"]).secret for name in ("ann", "bob")
        )
        self.shield = Shield(AuthenticationGuard(self.keys), sinks=[self.events])
        self.options = {"public": ["/open"], **options}
        self.slots = Concurrency(1)
        self.gate = threading.Event()

    def limits(self, of):
        return {
            "/items/{number}": of.limit("3/hour", Limit("4/hour", by="tenant")),
            "/open": of.limit("2/hour"),
            "/slow": of.limit(self.slots),
        }

    def fastapi(self):
        app, limits = FastAPI(), self.limits(for_fastapi)
        for_fastapi.secure(app, self.shield, **self.options)

        @app.get("/items/{number}", dependencies=[Depends(limits["/items/{number}"])])
        def show(number: str) -> dict[str, str]:
            return {"number": number}

        @app.get("/open", dependencies=[Depends(limits["/open"])])
        async def everybody() -> dict[str, str]:
            return {}

        @app.get("/slow", dependencies=[Depends(limits["/slow"])])
        async def slow() -> StreamingResponse:
            def chunks():
                yield "one"
                self.gate.wait(30)
                yield "two"

            return StreamingResponse(chunks(), media_type="text/plain")

        return serve_asgi(app)

    def flask(self):
        app, limits = Flask(__name__), self.limits(for_flask)
        for_flask.AISecure(app, self.shield, **self.options)

        @app.get("/items/<number>")
        @limits["/items/{number}"]
        def show(number):
            return {"number": number}

        @app.get("/open")
        @limits["/open"]
        async def everybody():
            return {}

        @app.get("/slow")
        @limits["/slow"]
        def slow():
            def chunks():
                yield "one"
                self.gate.wait(30)
                yield "two"

            return FlaskResponse(chunks(), mimetype="text/plain")

        return serve_wsgi(app)


@pytest.fixture(params=["fastapi", "flask"])
def serve(request):
    """Returns a function that runs a world's app."""
    return lambda world: getattr(world, request.param)()


def get(url, path, key="", **headers):
    with httpx.Client(base_url=url) as client:
        return client.get(path, headers={"Authorization": f"Bearer {key}"} if key else headers)


def test_all_paths_of_a_route_count_together_for_each_caller_and_a_refusal_says_when(serve):
    world = World()
    with serve(world) as url:
        answers = [get(url, f"/items/{number}", world.ann) for number in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        refused = answers[-1]
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.json()["code"] == "quota.exceeded"
        assert refused.json()["retry_after"] <= int(refused.headers["retry-after"]) <= 3600
        # The tenant has one left, which the refused call did not spend.
        assert [get(url, "/items/9", world.bob).status_code for _ in range(2)] == [200, 429]
    denied = world.events.of_type("call.denied")
    assert {event.resource for event in denied} <= {"route:GET /items/{number}", "route:GET /items/<number>"}
    assert [event.principal for event in denied] == ["ann", "bob"]


def test_callers_who_are_not_known_count_by_their_address(serve):
    world = World(trusted_proxies=["127.0.0.1"])
    with serve(world) as url:
        addresses = ["203.0.113.1"] * 3 + ["203.0.113.2"]
        answers = [get(url, "/open", **{"X-Forwarded-For": address}).status_code for address in addresses]
    assert answers == [200, 200, 429, 200]


def test_what_is_left_is_told_where_it_was_asked_for(serve):
    world = World(ratelimit_headers=True)
    with serve(world) as url:
        first = get(url, "/items/1", world.ann)
        assert first.headers["ratelimit-policy"] == (
            '"rate_limit:principal+resource/3600";q=3;w=3600, "rate_limit:tenant+resource/3600";q=4;w=3600'
        )
        assert first.headers["ratelimit"].startswith('"rate_limit:principal+resource/3600";r=2;t=3600')
        for _ in range(2):
            get(url, "/items/1", world.ann)
        refused = get(url, "/items/1", world.ann)
        assert refused.status_code == 429
        assert (
            f'principal+resource/3600";r=0;t={refused.headers["retry-after"]},'
            in refused.headers["ratelimit"]
        )
        assert '"rate_limit:tenant+resource/3600";r=1' in refused.headers["ratelimit"]
        assert "ann" not in str(refused.headers)
        assert "ratelimit" not in get(url, "/nowhere", world.ann).headers
    quiet = World()
    with serve(quiet) as url:
        assert "ratelimit" not in get(url, "/items/1", quiet.ann).headers


def test_a_slot_is_held_until_the_last_chunk_was_sent_or_the_reader_went_away(serve):
    world = World()
    with serve(world) as url, httpx.Client(base_url=url, timeout=30) as client:
        headers = {"Authorization": f"Bearer {world.ann}"}
        with client.stream("GET", "/slow", headers=headers) as response:
            assert response.status_code == 200
            assert next(response.iter_text()) == "one"
            assert get(url, "/slow", world.ann).status_code == 429
            world.gate.set()
            response.read() if not response.is_stream_consumed else None
        end = time.monotonic() + 20
        while get(url, "/slow", world.ann).status_code != 200:
            assert time.monotonic() < end


def test_with_headers_a_request_is_still_one_round_trip_to_redis(redis_server, redis_client):
    store = RedisStore(redis_server.url)

    @asynccontextmanager
    async def lifespan(app):
        yield
        await store.aclose()

    app = FastAPI(lifespan=lifespan)
    for_fastapi.secure(app, Shield(), public=["/*"], ratelimit_headers=True)

    @app.get(
        "/x",
        dependencies=[
            Depends(for_fastapi.limit("100/hour; 500/day", Limit("400/hour", by="tenant"), store=store))
        ],
    )
    async def route() -> dict[str, str]:
        return {}

    with serve_asgi(app) as url:
        get(url, "/x")
        redis_client.config_resetstat()
        answers = [get(url, "/x") for _ in range(5)]
    assert [answer.headers["ratelimit"].split(";")[1] for answer in answers] == [
        f"r={n}" for n in (98, 97, 96, 95, 94)
    ]
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] == 5
    store.close()


def test_an_app_without_a_shield_can_be_limited_too():
    app = FastAPI()
    for_fastapi.add_exception_handlers(app)

    @app.get("/x", dependencies=[Depends(for_fastapi.limit("1/hour"))])
    def route() -> dict[str, str]:
        return {}

    with serve_asgi(app) as url:
        assert [get(url, "/x").status_code for _ in range(2)] == [200, 429]


@pytest.mark.parametrize("module", [for_fastapi, for_flask])
def test_what_a_route_cannot_be_limited_by_is_told_at_once(module):
    with pytest.raises(ValueError, match="no limit was given"):
        module.limit()
    with pytest.raises(ValueError, match="is no limit"):
        module.limit("many")
    with pytest.raises(TypeError, match="ready guards alone"):
        module.limit(rate_limit("1/hour"), "2/hour")
    with pytest.raises(TypeError, match="ready guards alone"):
        module.limit(rate_limit("1/hour"), by="tenant")
    with pytest.raises(TypeError, match="reads a call's input"):
        module.limit(InputLimits(max_bytes=5))
