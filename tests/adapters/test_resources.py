"""Requests and WebSocket messages that are calls themselves: bodies and answers through the guards, on real sockets."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest
from fastapi import FastAPI, Request, WebSocket
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from tests.adapters.servers import Switch, serve_asgi
from tests.adapters.world import ANA, GUS, TYPES, World, framed
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from aisecure.adapters.asgi import AISecureMiddleware

RESOURCES = dict.fromkeys(
    ("/json", "/text", "/stream", "/binary", "/zip", "/bad", "/slow", "/ws"), "model:echo"
) | {"/down": "model:down", "/limited": "model:limited", "/ws-down": "model:down", "/push": "model:public"}


def build(world: World) -> FastAPI:
    app = FastAPI()
    world.bodies = []

    async def echo(request: Request):
        world.bodies.append(await request.body())
        return JSONResponse({"answer": "write to ada@example.org", "n": 12})

    for path in ("/json", "/down", "/limited"):
        app.post(path)(echo)

    @app.post("/text")
    async def text(request: Request):
        world.bodies.append(await request.body())
        return PlainTextResponse("write to ada@example.org")

    @app.post("/stream")
    async def stream(request: Request):
        form = request.headers["x-form"]
        said = (await request.body()).decode()
        pieces = [said[start : start + 3] for start in range(0, len(said), 3)]

        async def body():
            for piece in pieces:
                yield framed(piece, form)
                await asyncio.sleep(0)
            if form == "sse":
                yield "data: [DONE]\n\n"
            while said == "endless":
                await asyncio.sleep(0.01)
                yield framed("more ", form)

        return StreamingResponse(body(), media_type=TYPES[form])

    @app.post("/binary")
    async def binary():
        return Response(b"\x89PNG ada@example.org \xff", media_type="image/png")

    @app.post("/zip")
    async def zipped(request: Request):
        world.bodies.append(request.headers.get("accept-encoding"))
        return Response(b"x", headers={"content-encoding": "gzip"}, media_type="text/plain")

    @app.post("/bad")
    async def bad():
        return Response(b'{"cut": ', media_type="application/json")

    async def talk(socket: WebSocket):
        await socket.accept()
        async for message in socket.iter_text():
            world.heard.append(message)
            await socket.send_text(f"heard {message}")
            if "twice" in message:
                await socket.send_text(json.dumps({"to": "ada@example.org"}))

    for path in ("/ws", "/free", "/ws-down"):
        app.websocket(path)(talk)

    @app.websocket("/push")
    async def push(socket: WebSocket):
        await socket.accept()
        await socket.send_text("welcome ada@example.org")
        await socket.receive_text()

    return app


@pytest.fixture(scope="module")
def server():
    switch = Switch()
    with serve_asgi(switch.asgi) as url:
        yield switch, url


@pytest.fixture
def world():
    return World()


@pytest.fixture
def url(server, world):
    switch, url = server
    switch.app = AISecureMiddleware(build(world), world.shield, resources=RESOURCES, max_body_bytes=2000)
    return url


@pytest.fixture
def client(url):
    with httpx.Client(base_url=url, headers={"X-API-Key": ANA}, trust_env=False, timeout=10) as client:
        yield client


def test_a_json_body_is_redacted_before_the_app_and_its_answer_before_the_caller(client, world):
    response = client.post("/json", json={"messages": [{"role": "user", "content": "I am ada@example.org"}]})
    assert response.json() == {"answer": "write to <EMAIL>", "n": 12}
    assert response.headers["content-length"] == str(len(response.content))
    assert json.loads(world.bodies[0])["messages"][0]["content"] == "I am <EMAIL>"
    assert [f.kind for f in world.events.only("call.allowed").findings] == ["pii.email"] * 2


def test_an_unchanged_body_reaches_the_app_byte_for_byte(client, world):
    raw = b'{ "n" : 12345678901234567890123 ,"a":1, "a":2}'
    client.post("/json", content=raw, headers={"Content-Type": "application/json"})
    assert world.bodies == [raw]


def test_a_text_body_is_guarded_whole(client, world):
    response = client.post("/text", content=b"I am ada@example.org", headers={"Content-Type": "text/plain"})
    assert (response.text, world.bodies) == ("write to <EMAIL>", [b"I am <EMAIL>"])


@pytest.mark.parametrize("form", ["sse", "ndjson", "text"])
def test_a_streamed_answer_is_filtered_piece_by_piece(client, world, form):
    said = "I am ada at example, xada@exax"
    with client.stream("POST", "/stream", content=said, headers={"x-form": form}) as response:
        raw = "".join(response.iter_text())
    if form == "sse":
        assert raw.endswith("data: [DONE]\n\n")
        datas = [e.removeprefix("data: ") for e in raw.split("\n\n") if "{" in e]
        assert "".join(json.loads(d)["delta"]["content"] for d in datas) == said
    elif form == "ndjson":
        assert "".join(json.loads(line)["text"] for line in raw.splitlines()) == said
    else:
        assert raw == said
    assert world.events.only("call.allowed").detail["chunks"] > 3


def test_a_streamed_answer_that_is_refused_ends_with_the_frame(client, world):
    # The input is checked too, so the word is put together only in the answer.
    with client.stream("POST", "/stream", content="FORBIDDE", headers={"x-form": "text"}) as response:
        assert "".join(response.iter_text()) == "FORBIDDE"
    refused = client.post("/stream", content="FORBIDDEN", headers={"x-form": "text"})
    assert refused.json()["code"] == "output.word"


def test_a_refusal_and_a_limit_are_answers_and_the_app_hears_nothing(client, world):
    assert client.post("/json", json=1, headers={"X-API-Key": GUS}).status_code == 403
    assert client.post("/down", json=1).status_code == 503
    statuses = [client.post("/limited", json=1).status_code for _ in range(3)]
    assert statuses == [200, 200, 429]
    assert len(world.bodies) == 2
    assert world.events.types == [
        "call.denied",
        "call.unavailable",
        "call.allowed",
        "call.allowed",
        "call.denied",
    ]


@pytest.mark.parametrize(
    ("body", "kind", "status", "code"),
    [
        (b"\xff", "application/json", 422, "input.encoding"),
        (b"\xff", "text/plain", 422, "input.encoding"),
        (b"{", "application/json", 422, "input.json"),
        (b'"\\ud800"', "application/json", 422, "input.json"),
        (b"[" * 1500, "application/json", 422, "input.json"),
        (b"NaN", "application/json", 422, "input.json"),
        (b"[" * 100 + b"]" * 100, "application/json", 422, "input.nested"),
        (b"x" * 2001, "text/plain", 413, "input.too_large"),
        (b"a=b", "application/x-www-form-urlencoded", 415, "input.media_type"),
    ],
)
def test_a_body_that_cannot_be_checked_is_refused_and_recorded(client, world, body, kind, status, code):
    response = client.post("/json", content=body, headers={"Content-Type": kind})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert world.bodies == []
    assert world.events[-1].code == code
    assert world.events[-1].type in ("call.denied", "call.unavailable")


def test_answers_that_cannot_be_checked_are_withheld(client, world):
    assert client.post("/bad", json=1).json()["code"] == "output.json"
    assert client.post("/zip", json=1).json()["code"] == "output.encoding"
    assert world.bodies == [None]  # the app was not told what the client could decompress
    assert world.events.types == ["call.blocked"] * 2
    assert client.post("/binary", json=1).content == b"\x89PNG ada@example.org \xff"


def test_other_paths_are_only_authenticated(client, world):
    assert client.post("/other", json=1).status_code == 404
    assert world.events.types == []


def ws(url, path, key=ANA, **options):
    headers = {"X-API-Key": key} if key else {}
    return connect(url.replace("http", "ws") + path, additional_headers=headers, proxy=None, **options)


def test_a_socket_without_a_key_is_refused_before_it_opens(url, world):
    for key in (None, "wrong-key-5e5e"):
        with pytest.raises(InvalidStatus) as caught:
            ws(url, "/ws", key)
        assert caught.value.response.status_code == 401
        assert json.loads(caught.value.response.body)["code"] == "authn.invalid"
    assert world.events.types == ["authn.failed"] * 2


def test_each_message_is_a_call_both_ways(url, world):
    with ws(url, "/ws") as socket:
        socket.send("I am ada@example.org, twice")
        assert socket.recv(5) == "heard I am <EMAIL>, twice"
        assert socket.recv(5) == '{"to":"<EMAIL>"}'
        socket.send('{"q": "ada@example.org"}')
        assert socket.recv(5) == 'heard {"q":"<EMAIL>"}'
    assert world.heard == ["I am <EMAIL>, twice", '{"q":"<EMAIL>"}']
    assert world.go.wait(0) is False
    for _ in range(200):
        if len(world.events) == 2:
            break
        world.go.wait(0.01)
    assert world.events.types == ["call.allowed"] * 2
    assert world.settled.endings == ["call.allowed"] * 2


@pytest.mark.parametrize(
    ("path", "key", "said", "code", "close"),
    [
        ("/ws", GUS, "hi", "access.denied", 1008),
        ("/ws-down", ANA, "hi", "unavailable.guard", 1013),
        ("/ws", ANA, "FORBIDDEN", "output.word", 1008),
        ("/ws", ANA, "x" * 2001, "input.too_large", 1009),
    ],
)
def test_a_refused_message_is_told_and_closes(url, world, path, key, said, code, close):
    with ws(url, path, key) as socket:
        socket.send(said)
        assert json.loads(socket.recv(5))["error"]["code"] == code
        with pytest.raises(ConnectionClosed) as caught:
            socket.recv(5)
        assert caught.value.rcvd.code == close
    assert world.heard == []


def test_what_the_app_says_first_is_guarded_too(url, world):
    with ws(url, "/push") as socket:
        assert socket.recv(5) == "welcome <EMAIL>"


def test_a_socket_on_another_path_is_only_authenticated(url, world):
    with ws(url, "/free", GUS) as socket:
        socket.send("ada@example.org")
        assert socket.recv(5) == "heard ada@example.org"
    assert world.events.types == []


def asgi(app, scope, *messages):
    sent, queue = [], list(messages)

    async def receive():
        return queue.pop(0)

    async def send(message):
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent


def test_unknown_protocols_are_refused_and_lifespan_passes():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope["type"])

    guarded = AISecureMiddleware(app, World().shield)
    asgi(guarded, {"type": "lifespan"})
    with pytest.raises(RuntimeError, match="webtransport"):
        asgi(guarded, {"type": "webtransport"})
    assert seen == ["lifespan"]


def test_a_server_that_cannot_answer_a_socket_closes_it():
    async def app(scope, receive, send):
        raise AssertionError

    scope = {"type": "websocket", "path": "/", "headers": [], "client": None}
    sent = asgi(AISecureMiddleware(app, World().shield), scope)
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    ("root", "path", "status"),
    [("", "/open", 200), ("/api", "/api/open", 200), ("/api", "/apiopen", 401), ("", "/open/x/../y", 401)],
)
def test_paths_are_those_below_the_mount_point(root, path, status):
    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    scope = {
        "type": "http",
        "method": "GET",
        "path": path,
        "root_path": root,
        "headers": [],
        "client": ("::1", 1),
    }
    guarded = AISecureMiddleware(app, World().shield, public=["/open", "/open/x/*"])
    assert asgi(guarded, scope)[0]["status"] == status
