"""Bodies of requests and responses without personal data, over real servers: FastAPI and Flask behave alike."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import flask
import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.responses import FileResponse, Response, StreamingResponse
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi

from aisecure import Call, Guard, Misconfigured, Shield
from aisecure.adapters.asgi import AISecureMiddleware
from aisecure.adapters.fastapi import RedactBodies, secure
from aisecure.adapters.flask import AISecure
from aisecure.detect import Redactor
from aisecure.testing import CapturedEvents

MAIL, PHONE, CARD, SSN = "ada@example.org", "+44 20 7946 0958", "4111111111111111", "536904399"
TOKEN = "ghp_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3fG5"
MARKERS = (MAIL, PHONE, CARD, SSN, TOKEN)
LIMIT = 2_000_000


@dataclass
class Stage:
    """What the app answers, and what it heard."""

    kind: str = "application/json"
    #: One piece is answered at once, several are streamed.
    pieces: list[bytes] = field(default_factory=lambda: [b"{}"])
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 200
    #: A file is answered with, where there is one.
    file: str = ""
    #: A stream waits for it after its first piece.
    go: threading.Event | None = None
    bodies: list[bytes] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    events: CapturedEvents = field(default_factory=CapturedEvents)

    def heard(self, body: bytes, headers: Any) -> None:
        self.bodies.append(body)
        self.heads.append({name.lower(): value for name, value in headers.items()})

    def redacted(self, body: str) -> list[Any]:
        return [event for event in self.events.of_type("content.redacted") if event.detail["body"] == body]


def fastapi_app(stage: Stage, shield: Shield, **options: Any) -> FastAPI:
    app = FastAPI()
    secure(app, shield, **{"max_body_bytes": LIMIT, **options})

    async def say(request: Request) -> Any:
        stage.heard(await request.body(), request.headers)
        if stage.file:
            return FileResponse(stage.file, media_type=stage.kind)
        headers = stage.headers | ({"content-type": stage.kind} if stage.kind else {})
        if len(stage.pieces) == 1:
            return Response(stage.pieces[0], stage.status, headers)

        async def pieces():
            for number, piece in enumerate(stage.pieces):
                if number and stage.go is not None:
                    await asyncio.to_thread(stage.go.wait, 10)
                yield piece

        return StreamingResponse(pieces(), stage.status, headers)

    for path in ("/say", "/api/say", "/other/a..b"):
        app.api_route(path, methods=["GET", "POST", "HEAD"])(say)
    return app


def flask_app(stage: Stage, shield: Shield, **options: Any) -> flask.Flask:
    app = flask.Flask(__name__)
    AISecure(app, shield, **{"max_body_bytes": LIMIT, **options})

    def say() -> Any:
        stage.heard(flask.request.get_data(), flask.request.headers)
        if stage.file:
            return flask.send_file(stage.file, mimetype=stage.kind, conditional=True)
        if len(stage.pieces) == 1:
            return flask.Response(
                stage.pieces[0], stage.status, stage.headers, content_type=stage.kind or None
            )

        def pieces():
            for number, piece in enumerate(stage.pieces):
                if number and stage.go is not None:
                    stage.go.wait(10)
                yield piece

        return flask.Response(pieces(), stage.status, stage.headers, content_type=stage.kind)

    for number, path in enumerate(("/say", "/api/say", "/other/a..b")):
        app.add_url_rule(path, str(number), say, methods=["GET", "POST", "HEAD"])
    return app


@pytest.fixture(scope="module")
def servers():
    asgi, wsgi = Switch(), Switch()
    with serve_asgi(asgi.asgi) as asgi_url, serve_wsgi(wsgi.wsgi) as wsgi_url:
        yield {"fastapi": (asgi, asgi_url, fastapi_app), "flask": (wsgi, wsgi_url, flask_app)}


@pytest.fixture
def stage(caplog):
    caplog.set_level(logging.DEBUG)
    stage = Stage()
    yield stage
    told = json.dumps([event.to_dict() for event in stage.events]) + caplog.text
    assert not [marker for marker in MARKERS if marker in told]


@pytest.fixture(params=["fastapi", "flask"])
def door(request, servers, stage):
    """Puts an app behind a shield; returns a client."""
    switch, url, make = servers[request.param]
    clients = []

    def opened(rule: Any = None, shield: Shield | None = None, **options: Any) -> httpx.Client:
        shield = shield or Shield(sinks=[stage.events])
        switch.app = make(stage, shield, redact=rule or RedactBodies(), **options)
        clients.append(httpx.Client(base_url=url, timeout=20, trust_env=False))
        return clients[-1]

    yield opened
    for client in clients:
        client.close()


def post(
    client: httpx.Client, kind: str, body: bytes | Iterator[bytes], path: str = "/say"
) -> httpx.Response:
    return client.post(path, content=body, headers={"Content-Type": kind})


# -- requests


def test_nested_json_is_redacted_before_the_app_and_keys_are_labels(door, stage):
    asked = {
        "user": {"mail": MAIL, "ids": [{"ssn": SSN}, int(CARD)]},
        MAIL: None,
        "n": 12,
        "say": 'a "b" \\ é',
    }
    response = post(door(), "application/json", json.dumps(asked).encode())
    assert response.status_code == 200
    assert json.loads(stage.bodies[0]) == {
        "user": {"mail": "[EMAIL]", "ids": [{"ssn": "[US_SSN]"}, "[CREDIT_CARD]"]},
        "[EMAIL]": None, "n": 12, "say": 'a "b" \\ é',
    }  # fmt: skip
    assert stage.heads[0]["content-length"] == str(len(stage.bodies[0]))
    (event,) = stage.redacted("request")
    assert (event.action, event.resource) == ("redact", "http:POST /say")
    assert event.request_id == response.headers["x-request-id"]
    assert [(f.kind, f.path) for f in event.findings] == [
        ("pii.email", "/user/mail"), ("pii.us_ssn", "/user/ids/0/ssn"), ("pii.credit_card", "/user/ids/1"), ("pii.email", ""),
    ]  # fmt: skip
    assert event.detail == {"body": "request", "found": 4}


def test_a_pointer_in_an_event_names_no_personal_data(door, stage):
    post(door(), "application/json", json.dumps({MAIL: {"to": PHONE}}).encode())
    assert [f.path for f in stage.redacted("request")[0].findings] == ["", "/[EMAIL]/to"]


def test_a_body_in_which_nothing_is_found_arrives_byte_for_byte_and_leaves_no_event(door, stage):
    raw = rb'{ "n" : 12345678901234567890123, "a\/b": "\u00e9", "a":1, "a":2 }'
    post(door(), "application/json", raw)
    assert stage.bodies == [raw]
    assert stage.events.types == []


def test_a_chunked_body_is_redacted(door, stage):
    post(door(), "application/json", iter([b'{"to": "ada@', b'example.org"}']))
    assert json.loads(stage.bodies[0]) == {"to": "[EMAIL]"}


def test_json_lines_are_redacted_each_by_itself(door, stage):
    lines = f'{{"to": "{MAIL}"}}\r\nnot json {MAIL}\n{{"ssn": {SSN}}}\n'
    post(door(), "application/x-ndjson", lines.encode())
    assert stage.bodies[0] == b'{"to": "[EMAIL]"}\r\nnot json [EMAIL]\n{"ssn": "[US_SSN]"}\n'
    first, second, third = stage.redacted("request")[0].findings
    assert lines[first.start : first.end] == lines[second.start : second.end] == MAIL
    assert lines[third.start : third.end] == SSN


def test_a_form_is_redacted_with_names_as_labels(door, stage):
    form = b"mail=ada%40example.org&ssn=536904399&note=a+b%2Fc&empty=&alone&x=%FFada%40example.org"
    post(door(), "application/x-www-form-urlencoded; charset=UTF-8", form)
    assert stage.bodies[0] == (
        b"mail=%5BEMAIL%5D&ssn=%5BUS_SSN%5D&note=a+b%2Fc&empty=&alone&x=%FF%5BEMAIL%5D"
    )
    assert stage.heads[0]["content-length"] == str(len(stage.bodies[0]))
    assert [f.path for f in stage.redacted("request")[0].findings] == ["/mail", "/ssn", "/x"]


def test_a_text_that_is_no_utf8_is_redacted_and_its_bytes_stay(door, stage):
    client = door()
    post(client, "text/plain", b"\xff\xfe caf\xe9 ada@example.org \xc3")
    post(client, "application/json", b'{"a\xff": "\xe9 ada@example.org \xc3"}')
    assert stage.bodies == [b"\xff\xfe caf\xe9 [EMAIL] \xc3", b'{"a\xff": "\xe9 [EMAIL] \xc3"}']


def test_invalid_json_is_redacted_and_stays_invalid(door, stage):
    client = door()
    for raw in (b'{"to": "ada@example.org', b'{"to": ada@example.org}', b"ada@example.org"):
        post(client, "application/json", raw)
    assert stage.bodies == [b'{"to": "[EMAIL]', b'{"to": [EMAIL]}', b"[EMAIL]"]


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/x-www-form-urlencoded"])
def test_an_empty_body_is_left_alone(door, stage, kind):
    assert post(door(), kind, b"").json() == {}
    assert stage.bodies == [b""]


def test_binary_and_multipart_bodies_pass_unlooked_at(door, stage):
    client = door()
    multipart = b'--x\r\ncontent-disposition: form-data; name="m"\r\n\r\nada@example.org\r\n--x--\r\n'
    post(client, "image/png", b"\x89PNG ada@example.org")
    post(client, "multipart/form-data; boundary=x", multipart)
    assert stage.bodies == [b"\x89PNG ada@example.org", multipart]
    assert stage.events.types == []


def test_a_body_of_a_megabyte_is_redacted(door, stage):
    rows = [{"id": number, "mail": f"user{number}@example.org", "note": "x" * 150} for number in range(5500)]
    raw = json.dumps(rows).encode()
    assert len(raw) > 1_000_000
    stage.pieces = [raw]
    response = post(door(), "application/json", raw)
    wanted = [row | {"mail": "[EMAIL]"} for row in rows]
    assert json.loads(stage.bodies[0]) == wanted
    assert response.json() == wanted
    for event in stage.events:
        assert (event.type, event.detail["found"], len(event.findings)) == ("content.redacted", 5500, 100)


@pytest.mark.parametrize("stated", [True, False], ids=["stated", "chunked"])
def test_a_body_over_the_limit_is_413(door, stage, stated):
    body = b'"' + b"x" * LIMIT + b'"'
    response = post(
        door(), "application/json", body if stated else iter([body[:1_000_000], body[1_000_000:]])
    )
    assert (response.status_code, response.json()["code"]) == (413, "input.too_large")
    assert stage.bodies == []
    assert stage.events.only("call.denied").detail["guard"] == "form"


def test_a_body_may_grow_over_the_limit_by_its_labels(door, stage):
    body = json.dumps(["a@b.uk"] * 10).encode()
    assert post(door(max_body_bytes=len(body)), "application/json", body).status_code == 200
    assert json.loads(stage.bodies[0]) == ["[EMAIL]"] * 10


@pytest.mark.parametrize(
    ("kind", "headers", "body", "status", "code"),
    [
        ("application/json", {"Content-Encoding": "gzip"}, gzip.compress(b"{}"), 415, "input.media_type"),
        ("application/json", {}, '{"to": "ada@example.org"}'.encode("utf-16"), 422, "input.encoding"),
        ("application/json", {}, '{"to": "ada@example.org"}'.encode("utf-32-be"), 422, "input.encoding"),
        ("text/plain; charset=utf-16le", {}, MAIL.encode("utf-16le"), 422, "input.encoding"),
    ],
    ids="gzip utf16 utf32 charset".split(),
)
def test_a_body_that_cannot_be_read_is_refused(door, stage, kind, headers, body, status, code):
    response = door().post("/say", content=body, headers={"Content-Type": kind, **headers})
    assert (response.status_code, response.json()["code"]) == (status, code)
    assert stage.bodies == []
    event = stage.events.only("call.denied")
    assert (event.code, event.detail["guard"]) == (code, "redact")


# -- responses


def test_an_answer_in_json_is_redacted_and_its_length_is_right(door, stage):
    stage.pieces = [json.dumps({"people": [{"mail": MAIL, "ssn": int(SSN)}], "token": TOKEN}).encode()]
    stage.headers = {"content-md5": "x"}
    response = door().get("/say")
    assert response.json()["people"] == [{"mail": "[EMAIL]", "ssn": "[US_SSN]"}]
    assert TOKEN not in response.text
    assert response.headers["content-length"] == str(len(response.content))
    assert "content-md5" not in response.headers
    (event,) = stage.redacted("response")
    assert [f.path for f in event.findings] == ["/people/0/mail", "/people/0/ssn", "/token"]
    assert stage.redacted("request") == []


ESCAPED = (
    b'{"to":"ad\\u0061@example.org","\\u00e9":["\\ud83d\\ude00 \\"+44 20 7946 0958\\"", {"ssn":536904399}]}'
)
EVENTS = (
    b"\xef\xbb\xbfdata: I am ada@exa\n\n: wait\n\nid: 7\ndata: mple.org, yes \n\n"
    b'event: user\r\ndata: {"ssn": 536904399,\r\ndata: "status": "open"}\r\n\r\ndata: ad'
)
CHUNKS = (
    b'data: {"choices":[{"index":0,"delta":{"content":"I am ada@"}}]}\n\n'
    b'data: {"choices":[{"index":0,"delta":{"content":"example.org \\u00e9"}}]}\n\ndata: [DONE]\n\n'
)
STREAMS = {
    "chunks": ("text/event-stream", CHUNKS),
    "json": ("application/json", ESCAPED),
    "events": ("text/event-stream", EVENTS),
    "lines": ("application/x-ndjson", b'{"to":"ad\\u0061@example.org"}\n{"ssn":536904399}\r\n"caf\xc3\xa9"'),
    "text": ("text/plain", b"caf\xc3\xa9 \xff ada@example.org, +44 20 7946 0958"),
    "form": ("application/x-www-form-urlencoded", b"a=ada%40example.org&ssn=536904399"),
}


@pytest.mark.parametrize("name", STREAMS)
def test_a_stream_is_redacted_the_same_wherever_it_is_cut(door, stage, name):
    stage.kind, whole = STREAMS[name]
    client = door()
    stage.pieces = [whole, b""]
    wanted = client.get("/say").content
    assert b"[EMAIL]" in wanted or b"%5BEMAIL%5D" in wanted
    for at in range(1, len(whole)):
        stage.pieces = [whole[:at], whole[at:]]
        response = client.get("/say")
        assert response.content == wanted, at
        assert "content-length" not in response.headers
    if name == "json":
        assert json.loads(wanted) == {"to": "[EMAIL]", "é": ['😀 "[PHONE]"', {"ssn": "[US_SSN]"}]}
    numbers = {event.detail["found"] for event in stage.redacted("response")}
    assert len(stage.events) == len(whole)
    assert len(numbers) == 1


def test_events_are_redacted_across_their_edges_and_records_by_themselves(door, stage):
    stage.kind, stage.pieces = "text/event-stream", [EVENTS, b"a@example.org\n\n"]
    assert door().get("/say").text == (
        "data: I am \n\n: wait\n\nid: 7\ndata: [EMAIL], yes \n\n"
        'event: user\ndata: {"ssn": "[US_SSN]",\ndata: "status": "open"}\n\ndata: [EMAIL]\n\n'
    )


def chunk(text: str, **more: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"index": 0, "delta": {"content": text}}], **more}).encode()


def deltas(raw: bytes) -> list[Any]:
    lines = [line.removeprefix(b"data: ") for line in raw.splitlines() if line.startswith(b"data: ")]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def test_pieces_of_a_models_answer_are_read_as_one_text(door, stage):
    said = ["I am ad", "a@exam", "ple.org, call +44 20", " 7946 0958", " now"]
    events = [chunk(text, id="chatcmpl-1", system_fingerprint="fp") for text in said]
    stage.kind = "text/event-stream"
    stage.pieces = [b"\n\n".join([*events, b"data: [DONE]", b""])]
    *answers, done = deltas(door().get("/say").content)
    assert done == "[DONE]"
    text = "".join(answer["choices"][0]["delta"]["content"] for answer in answers)
    assert text == "I am [EMAIL], call [PHONE] now"
    assert {answer["id"] for answer in answers} == {"chatcmpl-1"}
    assert [f.kind for f in stage.redacted("response")[0].findings] == ["pii.email", "pii.phone"]


def test_what_was_held_back_leaves_before_the_event_that_ends_its_text(door, stage):
    events: list[Any] = [
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "to ada@"}},
        {"type": "ping"},
        {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "example.org"}},
        {"type": "content_block_stop", "index": 0},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": '{"ssn": 5369'}},
        {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "04399}"}},
        {"type": "message_stop"},
    ]  # fmt: skip
    raw = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    stage.kind, stage.pieces = "text/event-stream", [raw.encode()]
    answer = door().get("/say").text
    told = deltas(answer.encode())
    assert [line.removeprefix("event: ") for line in answer.splitlines() if line.startswith("event: ")] == [
        event["type"] for event in told
    ]
    text = "".join(event["delta"].get("text", "") for event in told if "delta" in event)
    inside = "".join(event["delta"].get("partial_json", "") for event in told if "delta" in event)
    assert (text, json.loads(inside)) == ("to [EMAIL]", {"ssn": "[US_SSN]"})
    assert [event["type"] for event in told][-1] == "message_stop"
    stops = [event["type"] for event in told].index("content_block_stop")
    assert "[EMAIL]" in json.dumps(told[:stops])


def test_events_with_records_leave_at_once_and_whole(door, stage):
    raw = b'id: 1\ndata: {"status": "running", "by": "bob"}\n\ndata: {"status": "done"}\n\n'
    stage.kind, stage.pieces = "text/event-stream", [raw, b""]
    assert door().get("/say").content == raw


@pytest.mark.parametrize(
    ("kind", "first", "rest", "wanted"),
    [
        ("text/plain", b"to ada@example.org, and ", b"bye ada@example.org", b"to [EMAIL], and bye [EMAIL]"),
        (
            "text/event-stream",
            b'data: {"to": "ada@example.org"}\n\n',
            b"data: bye\n\n",
            b'data: {"to": "[EMAIL]"}\n\ndata: bye\n\n',
        ),
        ("application/x-ndjson", b'{"to": "ada@example.org"}\n', b"{}\n", b'{"to": "[EMAIL]"}\n{}\n'),
        ("application/json", b'{"to": "ada@example.org", ', b'"n": 1}', b'{"to": "[EMAIL]", "n": 1}'),
    ],
    ids="text events lines json".split(),
)
def test_a_stream_stays_one(door, stage, kind, first, rest, wanted):
    stage.kind, stage.pieces, stage.go = kind, [first, rest], threading.Event()
    with door().stream("GET", "/say") as response:
        got = b""
        for piece in response.iter_raw():
            got += piece
            assert stage.go.is_set() or b"[EMAIL]" in got
            stage.go.set()
    assert got == wanted
    assert stage.redacted("response")[0].detail["found"] == wanted.count(b"[EMAIL]")


def test_a_stream_that_was_not_read_to_its_end_leaves_its_event(door, stage):
    stage.kind, stage.go = "text/plain", threading.Event()
    stage.pieces = [b"to ada@example.org, and ", *[b"more " * 20_000] * 200]
    recorded = threading.Event()
    keep = stage.events.record

    class Telling(CapturedEvents):
        def record(self, event):
            keep(event)
            recorded.set()

    client = door(shield=Shield(sinks=[Telling()]))
    with client.stream("GET", "/say") as response:
        next(response.iter_raw())
    client.close()
    stage.go.set()
    assert recorded.wait(10)
    assert stage.redacted("response")[0].detail["found"] == 1


def test_head_and_answers_without_a_body_are_left_alone(door, stage):
    client = door()
    stage.pieces, stage.headers = [b'{"to": "ada@example.org"}'], {}
    head = client.head("/say")
    assert (head.content, head.headers["content-length"]) == (b"", "25")
    for status in (204, 304):
        stage.status, stage.pieces, stage.headers = status, [b""], {"etag": '"1"'}
        response = client.get("/say")
        assert (response.status_code, response.content, response.headers["etag"]) == (status, b"", '"1"')
    assert stage.events.types == []


def test_an_empty_answer_and_a_binary_one_are_left_alone(door, stage):
    client = door()
    stage.pieces = [b""]
    assert client.get("/say").content == b""
    stage.kind, stage.pieces = "image/png", [b"\x89PNG ada@example.org \xff"]
    assert client.get("/say").content == stage.pieces[0]


def test_an_answer_of_an_app_that_compresses_is_refused(door, stage):
    stage.headers, stage.pieces = {"content-encoding": "gzip"}, [gzip.compress(b'"ada@example.org"')]
    response = door().get("/say")
    assert (response.status_code, response.json()["code"]) == (502, "output.encoding")
    assert stage.events.only("call.blocked").detail["guard"] == "redact"


@pytest.mark.parametrize("body", ['"ada@example.org"'.encode("utf-16"), b"\0\0\0\x22"])
def test_an_answer_in_another_encoding_is_refused(door, stage, body):
    stage.pieces = [body]
    assert door().get("/say").json()["code"] == "output.encoding"


def test_the_app_is_not_told_to_compress_or_to_answer_in_part(door, stage, tmp_path):
    file = tmp_path / "list.txt"
    file.write_bytes(b"to ada@example.org and others")
    stage.file, stage.kind = str(file), "text/plain"
    response = door().get("/say", headers={"Range": "bytes=0-6", "Accept-Encoding": "gzip"})
    assert (response.status_code, response.content) == (200, b"to [EMAIL] and others")
    assert not {"range", "accept-encoding"} & set(stage.heads[0])


# -- the setting


def test_only_paths_that_match_are_redacted(door, stage):
    body = b'{"to": "ada@example.org"}'
    stage.pieces = [body]
    client = door(RedactBodies(paths=["/api/*", "/exact"]))
    assert post(client, "application/json", body).content == body
    assert post(client, "application/json", body, "/api/say").json() == {"to": "[EMAIL]"}
    # A path that climbs may be any.
    assert post(client, "application/json", body, "/other/a..b").json() == {"to": "[EMAIL]"}
    assert [json.loads(body)["to"] for body in stage.bodies] == [MAIL, "[EMAIL]", "[EMAIL]"]


def test_requests_and_responses_can_be_chosen(door, stage):
    body = b'{"to": "ada@example.org"}'
    stage.pieces = [body]
    assert post(door(RedactBodies(responses=False)), "application/json", body).content == body
    assert post(door(RedactBodies(requests=False)), "application/json", body).json() == {"to": "[EMAIL]"}
    assert [json.loads(body)["to"] for body in stage.bodies] == ["[EMAIL]", MAIL]


def test_another_redactor_may_do_it_and_a_reversible_one_writes_labels(door, stage):
    body = b'{"to": "ada@example.org"}'
    post(door(RedactBodies(Redactor(style="mask"))), "application/json", body)
    post(door(RedactBodies(Redactor(reversible=True))), "application/json", body)
    assert [json.loads(body)["to"] for body in stage.bodies] == ["***@*******.***", "[EMAIL]"]


@pytest.mark.parametrize("wrong", ["/api", [], ["api/*"]])
def test_paths_are_a_list_of_paths(wrong):
    with pytest.raises(Misconfigured):
        RedactBodies(paths=wrong)


def test_a_setting_of_another_type_or_without_effect_is_refused():
    with pytest.raises(Misconfigured):
        RedactBodies(requests=False, responses=False)
    with pytest.raises(TypeError):
        RedactBodies("pii")
    with pytest.raises(TypeError):
        AISecureMiddleware(FastAPI(), Shield(), redact=Redactor())
    with pytest.raises(TypeError):
        AISecure(Shield(), redact=True)


# -- what goes wrong


def broken(kind: str, value: str) -> str:
    raise ValueError(f"cannot replace {value}")


def test_a_redactor_that_breaks_refuses_the_request(door, stage):
    response = post(door(RedactBodies(Redactor(style=broken))), "application/json", b'["ada@example.org"]')
    assert (response.status_code, response.json()["code"]) == (503, "unavailable.guard")
    assert stage.bodies == []
    event = stage.events.only("call.unavailable")
    assert event.detail == {"guard": "redact", "error_type": "ValueError"}


def test_a_redactor_that_breaks_withholds_the_answer(door, stage):
    stage.pieces = [b'["ada@example.org"]']
    response = door(RedactBodies(Redactor(style=broken))).get("/say")
    assert (response.status_code, response.json()["code"]) == (503, "unavailable.guard")
    assert stage.events.only("call.unavailable").detail["guard"] == "redact"


@pytest.mark.parametrize(
    ("kind", "first", "second", "last"),
    [
        ("text/plain", b"hello you ", b"ada@example.org ", b"[aisecure: unavailable.guard]"),
        ("application/x-ndjson", b'{"a": 1}\n', b'{"a": "ada@example.org"}\n', b'{"error":'),
        ("text/event-stream", b'data: {"a": 1}\n\n', b'data: {"a": "ada@example.org"}\n\n', b"event: error"),
    ],
    ids="text lines events".split(),
)
def test_a_redactor_that_breaks_ends_a_stream_with_its_frame(door, stage, kind, first, second, last):
    stage.kind, stage.pieces = kind, [first, second, b"never"]
    raw = door(RedactBodies(Redactor(style=broken))).get("/say").content
    assert raw.startswith(first[:5])
    assert last in raw
    assert b"never" not in raw
    assert b"unavailable.guard" in raw


def test_a_stream_of_json_that_breaks_is_visibly_incomplete(door, stage):
    stage.pieces = [b'{"a": 1, ', b'"b": "ada@example.org"}']
    with pytest.raises(httpx.RemoteProtocolError):
        door(RedactBodies(Redactor(style=broken))).get("/say")


def test_an_event_that_is_too_long_to_be_read_ends_the_stream(door, stage):
    stage.kind, stage.pieces = "text/event-stream", [b"data: x\n\n", b"data: " + b"x" * 1_100_000]
    assert b"output.too_large" in door().get("/say").content
    assert stage.events.only("call.blocked").code == "output.too_large"


class Full:
    """A sink whose disk is full."""

    def record(self, event):
        raise OSError("disk full")


def test_what_cannot_be_recorded_is_not_let_through(door, stage):
    client = door(shield=Shield(sinks=[Full(), stage.events]))
    response = post(client, "application/json", b'["ada@example.org"]')
    assert (response.status_code, response.json()["code"]) == (503, "unavailable.events")
    assert stage.bodies == []
    stage.pieces = [b'["ada@example.org"]']
    assert client.get("/say").json()["code"] == "unavailable.events"


# -- beside other parts


class Hears(Guard):
    """Keeps what it saw, and adds an address to what goes out."""

    name = "hears"

    def __init__(self):
        super().__init__(on="model:*")
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []

    def before(self, call: Call) -> None:
        self.inputs.append(call.input)

    def after(self, call: Call, output: Any) -> None:
        self.outputs.append(output)


def test_guards_of_a_mapped_path_see_the_redacted_request_and_the_answer_as_it_was(servers, stage):
    switch, url, make = servers["fastapi"]
    guard = Hears()
    shield = Shield(guard, sinks=[stage.events])
    stage.pieces = [b'{"to": "ada@example.org"}']
    switch.app = make(stage, shield, redact=RedactBodies(), resources={"/say": "model:bot"})
    with httpx.Client(base_url=url, trust_env=False) as client:
        response = post(client, "application/json", stage.pieces[0])
    assert response.json() == {"to": "[EMAIL]"}
    assert response.headers["content-length"] == str(len(response.content))
    assert guard.inputs == [{"to": "[EMAIL]"}]
    assert guard.outputs == [{"to": MAIL}]
    assert stage.events.types == ["content.redacted", "call.allowed", "content.redacted"]


def test_what_hooks_of_a_flask_app_add_is_redacted_too(servers, stage):
    switch, url, _ = servers["flask"]
    app = flask.Flask(__name__)

    @app.after_request
    def sign(response):
        response.set_data(response.get_data() + b" by ada@example.org")
        return response

    @app.get("/say")
    def say():
        return "hello"

    AISecure(app, Shield(sinks=[stage.events]), redact=RedactBodies())
    switch.app = app
    assert httpx.get(f"{url}/say", trust_env=False).text == "hello by [EMAIL]"


def test_a_flask_view_reads_json_and_forms_as_ever(servers, stage):
    switch, url, _ = servers["flask"]
    app = flask.Flask(__name__)
    seen = []

    @app.post("/say")
    def say():
        seen.append(flask.request.get_json(silent=True) or flask.request.form.to_dict())
        seen.append(flask.request.content_length)
        file = flask.request.files.get("file")
        return flask.Response(file.read() if file else b"", content_type="application/octet-stream")

    AISecure(app, Shield(sinks=[stage.events]), redact=RedactBodies())
    switch.app = app
    with httpx.Client(base_url=url, trust_env=False) as client:
        client.post("/say", json={"to": MAIL})
        client.post("/say", data={"to": MAIL})
        file = client.post("/say", files={"file": io.BytesIO(MAIL.encode())})
    assert seen[:4] == [{"to": "[EMAIL]"}, 16, {"to": "[EMAIL]"}, 14]
    assert file.text == MAIL
