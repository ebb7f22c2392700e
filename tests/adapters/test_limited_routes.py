"""What `limit` of FastAPI and Flask counts as one route, and how a request ends that it let in."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
import pytest
from fastapi import APIRouter, Depends, FastAPI, HTTPException, WebSocket
from fastapi.responses import StreamingResponse
from flask import Blueprint, Flask, abort, send_file
from flask import Response as FlaskResponse
from pydantic import BaseModel
from starlette.testclient import TestClient
from tests.adapters.servers import serve_asgi
from tests.unit.quotas.conftest import redis_client, redis_server
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from aisecure import Principal, Shield
from aisecure.adapters import fastapi as for_fastapi
from aisecure.adapters import flask as for_flask
from aisecure.quotas import (
    CircuitBreaker,
    Concurrency,
    Limit,
    MemoryStore,
    RedisStore,
    TokenBudget,
    rate_limit,
)
from aisecure.testing import CapturedEvents

__all__ = ["redis_client", "redis_server"]


class Chat(BaseModel):
    text: str


def nothing() -> dict[str, str]:
    return {}


@pytest.fixture
def events():
    return CapturedEvents()


@pytest.fixture
def api(events):
    app = FastAPI()
    for_fastapi.secure(app, Shield(sinks=[events]), public=["/*"], ratelimit_headers=True)
    return app


@pytest.fixture
def web(events):
    app = Flask(__name__)
    for_flask.AISecure(app, Shield(sinks=[events]), public=["/*"], ratelimit_headers=True)
    return app


def asked(events):
    return {event.resource for event in events.of_type("call.allowed")}


# -- what is one route


def test_routes_of_included_routers_are_named_with_their_prefixes_and_count_each_for_itself(api, events):
    shared = APIRouter(prefix="/deep", dependencies=[Depends(for_fastapi.limit("1/hour"))])

    @shared.get("/{number}")
    async def show(number: int) -> dict[str, int]:
        return {}

    @shared.get("/{number}/more")
    def more(number: int) -> dict[str, int]:
        return {}

    outer = APIRouter(prefix="/v1")
    outer.include_router(shared)
    api.include_router(outer, prefix="/api")
    api.include_router(shared, prefix="/users/{user}")
    client = TestClient(api)
    paths = ["/api/v1/deep/1", "/users/7/deep/1", "/api/v1/deep/1/more"]
    assert [client.get(path).status_code for path in paths] == [200, 200, 200]
    assert asked(events) == {
        "route:GET /api/v1/deep/{number}",
        "route:GET /users/{user}/deep/{number}",
        "route:GET /api/v1/deep/{number}/more",
    }
    assert [client.get(path).status_code for path in ["/api/v1/deep/2", "/users/8/deep/2"]] == [429, 429]


def test_a_mounted_app_counts_all_paths_of_a_route_together(api, events):
    inner = FastAPI()

    @inner.get("/x/{number}", dependencies=[Depends(for_fastapi.limit("1/hour"))])
    async def show(number: int) -> dict[str, int]:
        return {}

    for_fastapi.add_exception_handlers(inner)
    api.mount("/inner", inner)
    client = TestClient(api)
    assert [client.get(f"/inner/x/{number}").status_code for number in range(2)] == [200, 429]


@pytest.mark.parametrize("by", ["principal", "tenant", "source", ("principal", "tenant"), lambda call: "one"])
def test_equal_limits_of_two_routes_in_one_store_count_apart_unless_they_have_a_name(api, web, by):
    def serve(of, store):
        return {
            "/a": of.limit("1/hour", by=by, store=store),
            "/b": of.limit("1/hour", by=by, store=store),
            "/c": of.limit("1/hour", by=by, store=store, name="shared"),
            "/d": of.limit(Limit("1/hour", by=by, name="shared"), store=store),
        }

    for path, limited in serve(for_fastapi, MemoryStore()).items():
        api.get(path, dependencies=[Depends(limited)])(nothing)
    for path, limited in serve(for_flask, MemoryStore()).items():
        web.get(path, endpoint=path)(limited(nothing))
    for client in (TestClient(api), web.test_client()):
        assert [client.get(path).status_code for path in ("/a", "/b", "/a", "/b")] == [200, 200, 429, 429]
        assert [client.get(path).status_code for path in ("/c", "/d", "/c")] == [200, 429, 429]


def test_head_is_counted_with_get(web, events):
    @web.get("/x")
    @for_flask.limit("2/hour", by="route")
    def show():
        return {}

    client = web.test_client()
    assert [client.open("/x", method=verb).status_code for verb in ("HEAD", "GET", "HEAD", "GET")] == [
        200, 200, 429, 429,
    ]  # fmt: skip
    assert asked(events) == {"route:GET /x"}


def test_a_blueprint_is_limited_before_its_views_each_for_itself(web, events):
    blueprint = Blueprint("b", __name__, url_prefix="/b")

    @blueprint.before_request
    @for_flask.limit("1/hour")
    def limited():
        return None

    @blueprint.get("/x/<number>")
    def x(number):
        return {}

    @blueprint.get("/y")
    async def y():
        return {}

    web.register_blueprint(blueprint)
    client = web.test_client()
    assert [client.get(path).status_code for path in ("/b/x/1", "/b/y", "/b/x/2", "/b/y")] == [
        200,
        200,
        429,
        429,
    ]
    assert asked(events) == {"route:GET /b/x/<number>", "route:GET /b/y"}


def test_paths_without_a_route_are_one(web, events):
    web.before_request(for_flask.limit("2/hour")(lambda: None))
    client = web.test_client()
    assert [client.get(f"/nowhere/{number}").status_code for number in range(3)] == [404, 404, 429]
    assert asked(events) == {"route:GET *"}


def test_what_holds_a_slot_does_not_stand_before_a_view(web):
    slots = Concurrency(1)
    web.before_request(for_flask.limit(slots)(lambda: None))
    web.testing = True
    with pytest.raises(TypeError, match="stands round a view"):
        web.test_client().get("/nowhere")


@pytest.mark.parametrize("of", [for_fastapi, for_flask])
@pytest.mark.parametrize("by", ["model", "tool", ("principal", "model")])
def test_a_limit_that_would_never_concern_a_route_is_told_at_once(of, by):
    with pytest.raises(ValueError, match="concerns no route"):
        of.limit("1/hour", by=by)
    with pytest.raises(ValueError, match="concerns no route"):
        of.limit(Limit("1/hour", by=by))
    with pytest.raises(ValueError, match="name"):
        of.limit("1/hour", name="")


def test_a_budget_reads_the_input_and_is_not_for_a_route():
    with pytest.raises(TypeError, match="reads a call's input"):
        for_fastapi.limit(TokenBudget("5 tokens/day"))


# -- who counts


def test_without_a_shield_the_address_of_the_connection_counts():
    app = Flask(__name__)

    @app.get("/x")
    @for_flask.limit("1/hour")
    def show():
        return {}

    @app.errorhandler(Exception)
    def refused(err):
        return {"code": err.code}, err.status

    client = app.test_client()
    addresses = ["203.0.113.1", "203.0.113.1", "203.0.113.2"]
    answers = [client.get("/x", environ_base={"REMOTE_ADDR": address}).status_code for address in addresses]
    assert answers == [200, 429, 200]


def test_the_caller_of_the_surrounding_block_counts_in_an_app_of_another_adapter():
    app = Flask(__name__)

    @app.get("/x")
    @for_flask.limit("1/hour", by=("principal", "tenant"))
    def show():
        return {}

    app.register_error_handler(Exception, lambda err: ({}, err.status))
    shield, client = Shield(), app.test_client()
    answers = []
    for name in ("ann", "ann", "bob"):
        with shield.acting_as(Principal(name)):
            answers.append(client.get("/x").status_code)
    assert answers == [200, 429, 200]


def test_events_go_to_sinks_that_are_no_keys_of_a_dictionary(web):
    @dataclass
    class Sink:
        seen: list[str] = field(default_factory=list)

        def record(self, event):
            self.seen.append(event.type)

    sink = Sink()
    app = FastAPI()
    for_fastapi.secure(app, Shield(sinks=[sink]), public=["/*"])
    app.get("/x", dependencies=[Depends(for_fastapi.limit("1/hour"))])(nothing)
    client = TestClient(app)
    assert [client.get("/x").status_code for _ in range(2)] == [200, 429]
    assert sink.seen == ["call.allowed", "call.denied"]


# -- how it ends


def test_answers_of_the_routes_own_open_no_circuit_and_exceptions_do(api, web, events):
    breaker = CircuitBreaker(by="resource", failures=2)

    @api.post("/x/{number}", dependencies=[Depends(for_fastapi.limit(breaker))])
    def fast(number: int, chat: Chat) -> dict[str, str]:
        if number == 4:
            raise HTTPException(404)
        if number == 5:
            raise HTTPException(502)
        raise ConnectionError

    @web.post("/x/<int:number>")
    @for_flask.limit(breaker)
    def flask(number):
        if number == 4:
            abort(404)
        if number == 5:
            abort(FlaskResponse(status=502))
        raise ConnectionError

    for client, kind in (
        (TestClient(api, raise_server_exceptions=False), "fastapi"),
        (web.test_client(), "flask"),
    ):
        post = lambda number, body: client.post(f"/x/{number}", json=body).status_code  # noqa: B023, E731
        assert {post(4, {"text": "a"}) for _ in range(4)} == {404}
        if kind == "fastapi":
            assert {post(6, {}) for _ in range(4)} == {422}
        assert [post(number, {"text": "a"}) for number in (6, 5, 4)] == [500, 502, 503]


def test_a_stream_of_flask_that_fails_or_is_left_is_recorded_as_that(web, events):
    slots = Concurrency(1)

    def chunks(fails):
        yield "one"
        if fails:
            raise ConnectionError
        yield "two"

    @web.get("/stream/<what>")
    @for_flask.limit(slots)
    def stream(what):
        return FlaskResponse(chunks(what == "fails"), mimetype="application/octet-stream")

    client = web.test_client()
    assert client.get("/stream/whole").data == b"onetwo"
    with pytest.raises(ConnectionError):
        _ = client.get("/stream/fails").data
    left = client.get("/stream/left", buffered=False)
    left.close()
    assert [event.type for event in events if event.action == "request"] == [
        "call.allowed", "call.failed", "call.cancelled",
    ]  # fmt: skip
    assert client.get("/stream/whole").status_code == 200


def test_a_stream_that_a_hook_of_the_app_replaces_leaves_no_slot_behind(web):
    slots = Concurrency(1)

    @web.get("/stream")
    @for_flask.limit(slots)
    def stream():
        return FlaskResponse(iter(["one", "two"]), mimetype="text/plain")

    @web.after_request
    def replaced(response):
        return FlaskResponse("instead")

    client = web.test_client()
    assert [client.get("/stream").data for _ in range(3)] == [b"instead"] * 3


def test_a_file_holds_its_slot_until_it_is_sent(web, tmp_path):
    slots = Concurrency(1)
    (tmp_path / "f").write_bytes(b"x" * 100_000)

    @web.get("/file")
    @for_flask.limit(slots)
    def file():
        return send_file(tmp_path / "f")

    client = web.test_client()
    first = client.get("/file", buffered=False)
    assert client.get("/file").status_code == 429
    first.close()
    with client.get("/file") as again:
        assert len(again.data) == 100_000


def test_a_stream_of_fastapi_that_fails_is_recorded_as_that(api, events):
    slots = Concurrency(1)

    @api.get("/stream/{what}", dependencies=[Depends(for_fastapi.limit(slots))])
    async def stream(what: str) -> StreamingResponse:
        def chunks():
            yield "one"
            if what == "fails":
                raise ConnectionError
            yield "two"

        return StreamingResponse(chunks(), media_type="text/plain")

    client = TestClient(api, raise_server_exceptions=False)
    assert client.get("/stream/whole").text == "onetwo"
    client.get("/stream/fails")
    assert [event.type for event in events if event.action == "request"] == ["call.allowed", "call.failed"]
    assert client.get("/stream/whole").status_code == 200


def test_a_reader_who_goes_away_gives_the_slot_back(api):
    slots = Concurrency(1, by=lambda call: "all")

    @api.get("/stream", dependencies=[Depends(for_fastapi.limit(slots))])
    async def stream() -> StreamingResponse:
        async def chunks():
            while True:
                yield "x" * 65536
                await asyncio.sleep(0)

        return StreamingResponse(chunks(), media_type="text/plain")

    api.get("/other", dependencies=[Depends(for_fastapi.limit(slots))])(nothing)
    with serve_asgi(api) as url:
        with httpx.stream("GET", url + "/stream") as response:
            chunks = response.iter_raw()  # a name holds it: dropped, it would close the connection
            assert next(chunks)
            assert httpx.get(url + "/other").status_code == 429
        end = time.monotonic() + 20
        while httpx.get(url + "/other").status_code != 200:
            assert time.monotonic() < end


@pytest.mark.parametrize("shielded", [True, False])
def test_a_websocket_is_counted_when_it_connects_and_refused_before_it_is_accepted(shielded):
    app = FastAPI()
    if shielded:
        for_fastapi.secure(app, Shield(), public=["/*"])
    else:
        for_fastapi.add_exception_handlers(app)

    @app.websocket("/ws/{room}", dependencies=[Depends(for_fastapi.limit("1/hour"))])
    async def talk(socket: WebSocket, room: str) -> None:
        await socket.accept()
        await socket.send_text("hello")
        await socket.close()

    with serve_asgi(app) as url:
        address = url.replace("http", "ws", 1) + "/ws/"
        with connect(address + "1") as socket:
            assert socket.recv() == "hello"
        with pytest.raises(InvalidStatus) as error:
            connect(address + "2")
    assert error.value.response.status_code == 429
    assert int(error.value.response.headers["retry-after"]) <= 3600


# -- stores over the network


def test_the_event_loop_is_free_while_redis_does_not_answer(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=20)

    @asynccontextmanager
    async def lifespan(app):
        yield
        await store.aclose()

    app = FastAPI(lifespan=lifespan)
    for_fastapi.secure(app, Shield(), public=["/*"])
    app.get("/limited", dependencies=[Depends(for_fastapi.limit("9/hour", store=store))])(nothing)

    @app.get("/free")
    async def free() -> dict[str, str]:
        return {}

    with serve_asgi(app) as url, ThreadPoolExecutor() as pool:
        assert httpx.get(url + "/limited").status_code == 200
        redis_client.client_pause(60_000, all=False)
        try:
            waiting = pool.submit(httpx.get, url + "/limited", timeout=30)
            for _ in range(20):
                assert httpx.get(url + "/free").status_code == 200
            assert not waiting.done()
        finally:
            redis_client.client_unpause()
        assert waiting.result().status_code == 200


@pytest.mark.parametrize("of", ["fastapi", "flask"])
def test_a_store_that_is_away_is_told_as_that_or_lets_pass_where_that_was_chosen(api, web, of):
    def limited(module, **options):
        return module.limit("9/hour", store=RedisStore("redis://127.0.0.1:1"), **options)

    api.get("/shut", dependencies=[Depends(limited(for_fastapi))])(nothing)
    api.get("/open", dependencies=[Depends(limited(for_fastapi, on_unavailable="allow"))])(nothing)
    web.get("/shut", endpoint="shut")(limited(for_flask)(nothing))
    web.get("/open", endpoint="open")(limited(for_flask, on_unavailable="allow")(nothing))
    client = TestClient(api) if of == "fastapi" else web.test_client()
    refused = client.get("/shut")
    assert refused.status_code == 503
    assert "ratelimit" not in refused.headers
    assert client.get("/open").status_code == 200


def test_a_limit_in_shadow_refuses_nothing_and_tells(api, events):
    api.get("/x", dependencies=[Depends(for_fastapi.limit(rate_limit("1/hour", shadow=True)))])(nothing)
    client = TestClient(api)
    assert [client.get("/x").status_code for _ in range(2)] == [200, 200]
    assert len(events.of_type("guard.would_deny")) == 1
