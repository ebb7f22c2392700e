"""Content types of bodies, and files of forms, over real servers: FastAPI and Flask behave alike."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import flask
import httpx
import pytest
from fastapi import Depends, FastAPI, Request
from tests.adapters.servers import Switch, serve_asgi, serve_wsgi
from tests.unit.sanitize import upload_files as files

from aisecure import Misconfigured, Shield
from aisecure.adapters import fastapi as fast
from aisecure.adapters import flask as flasks
from aisecure.adapters.asgi import AISecureMiddleware
from aisecure.sanitize import SchemaGuard, UploadPolicy
from aisecure.testing import CapturedEvents

TYPES = {"/files": ["multipart/form-data"], "/api/*": ["application/json", "text/*"]}
POLICY = UploadPolicy(max_bytes=2_000_000)


@dataclass
class Stage:
    """What the views were given."""

    files: list[Any] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    events: CapturedEvents = field(default_factory=CapturedEvents)

    def keep(self, file: Any) -> dict[str, Any]:
        self.files.append(file.read())
        return {"type": file.upload.type, "name": file.upload.name, "size": file.upload.size}


def fastapi_app(stage: Stage, shield: Shield) -> FastAPI:
    app = FastAPI()
    fast.secure(app, shield, max_body_bytes=3_000_000, content_types=TYPES)

    @app.post("/files")
    def keep(file: Annotated[fast.CheckedFile, Depends(fast.upload(POLICY))]) -> dict[str, Any]:
        return stage.keep(file)

    @app.post("/several")
    def several(
        files: Annotated[list[fast.CheckedFile], Depends(fast.uploads(POLICY, max_files=2))],
    ) -> list[dict[str, Any]]:
        return [stage.keep(file) for file in files]

    @app.api_route("/api/say", methods=["GET", "POST"])
    async def say(request: Request) -> dict[str, Any]:
        stage.bodies.append(await request.body())
        return {}

    return app


def flask_app(stage: Stage, shield: Shield) -> flask.Flask:
    app = flask.Flask(__name__)
    flasks.AISecure(app, shield, max_body_bytes=3_000_000, content_types=TYPES)

    @app.post("/files")
    @flasks.upload(POLICY)
    def keep(file: flasks.CheckedFile) -> dict[str, Any]:
        return stage.keep(file)

    @app.route("/api/say", methods=["GET", "POST"])
    def say() -> dict[str, Any]:
        stage.bodies.append(flask.request.get_data())
        return {}

    return app


@pytest.fixture(scope="module")
def servers():
    asgi, wsgi = Switch(), Switch()
    with serve_asgi(asgi.asgi) as asgi_url, serve_wsgi(wsgi.wsgi) as wsgi_url:
        yield {"fastapi": (asgi, asgi_url, fastapi_app), "flask": (wsgi, wsgi_url, flask_app)}


@pytest.fixture
def stage():
    return Stage()


@pytest.fixture(params=["fastapi", "flask"])
def client(request, servers, stage) -> Iterator[httpx.Client]:
    switch, url, make = servers[request.param]
    switch.app = make(stage, Shield(sinks=[stage.events]))
    with httpx.Client(base_url=url) as client:
        yield client


def problem(response: httpx.Response) -> tuple[int, str]:
    assert response.headers["content-type"] == "application/problem+json"
    assert response.json()["status"] == response.status_code
    return response.status_code, response.json()["code"]


def test_a_file_that_fits_reaches_the_view_whole(client, stage):
    data = files.png() + b"\0" * 1_500_000
    answer = client.post("/files", files={"file": ("a.png", data, "image/png")})
    assert answer.json() == {"type": "image/png", "name": "a.png", "size": len(data)}
    assert stage.files == [data]


@pytest.mark.parametrize(
    ("file", "status", "code"),
    [
        (("a.png", files.elf(), "image/png"), 415, "input.upload_type"),
        (("a.pdf", files.png(), "application/pdf"), 415, "input.upload_type"),
        (("a.png", files.png(), "text/html"), 415, "input.upload_type"),
        (("a.png", files.png(99_999, 99_999), "image/png"), 422, "input.image"),
        (("a.pdf", files.pdf(b"/JavaScript"), "application/pdf"), 422, "input.active_content"),
        (("..png", files.png(), "image/png"), 422, "input.upload_name"),
        (("a.txt", b"a" * 2_000_001, "text/plain"), 413, "input.upload_size"),
    ],
)
def test_a_file_that_does_not_is_a_problem_and_an_event(client, stage, file, status, code):
    assert problem(client.post("/files", files={"file": file})) == (status, code)
    assert stage.files == []
    event = stage.events[-1]
    assert (event.type, event.code, event.resource) == ("call.denied", code, "route:POST /files")


def test_a_body_over_the_limit_of_the_app_is_refused(client, stage):
    answer = client.post("/files", files={"file": ("a.txt", b"a" * 4_000_000, "text/plain")})
    assert answer.status_code == 413
    assert stage.files == []


def test_a_form_without_the_file_is_refused(client, stage):
    assert client.post("/files", files={"other": ("a.png", files.png())}).status_code == 422
    assert client.post("/files", files={"other": ("a.png", b"")}).status_code == 422
    assert stage.files == []


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "TEXT/Plain", "text/csv"]
)
def test_listed_content_types_are_taken(client, stage, kind):
    assert client.post("/api/say", content=b"{}", headers={"content-type": kind}).status_code == 200
    assert stage.bodies == [b"{}"]


@pytest.mark.parametrize(
    "kind",
    ["application/xml", "multipart/form-data; boundary=x", "json", "", "application/json, text/plain", None],
)
@pytest.mark.parametrize("body", [b"{}", [b"{", b"}"]], ids=["sized", "chunked"])
def test_bodies_of_other_types_are_refused_before_the_app_sees_them(client, stage, kind, body):
    headers = {} if kind is None else {"content-type": kind}
    content = iter(body) if isinstance(body, list) else body
    assert problem(client.post("/api/say", content=content, headers=headers)) == (415, "input.content_type")
    assert stage.bodies == []
    assert stage.events[-1].code == "input.content_type"


def test_two_content_types_are_none(servers, stage):
    """A WSGI server hands on one of them, or both in one field with a comma, which is refused above."""
    switch, url, make = servers["fastapi"]
    switch.app = make(stage, Shield(sinks=[stage.events]))
    headers = [("content-type", "application/json"), ("content-type", "text/plain")]
    with httpx.Client(base_url=url) as client:
        answer = client.post("/api/say", content=b"{}", headers=headers)
    assert problem(answer) == (415, "input.content_type")


def test_a_request_without_a_body_needs_no_type(client, stage):
    assert client.get("/api/say").status_code == 200
    assert client.get("/api/say", headers={"content-type": "image/png"}).status_code == 200
    assert client.post("/api/say").status_code == 200


def test_paths_that_no_rule_names_take_any_type(client):
    assert client.post("/nowhere", content=b"x", headers={"content-type": "a/b"}).status_code == 404


def test_several_files_are_each_checked_and_counted(servers, stage):
    switch, url, make = servers["fastapi"]
    switch.app = make(stage, Shield(sinks=[stage.events]))
    good = ("files", ("a.png", files.png(), "image/png"))
    with httpx.Client(base_url=url) as client:
        assert len(client.post("/several", files=[good] * 2).json()) == 2
        assert problem(client.post("/several", files=[good] * 3)) == (422, "input.upload_count")
        bad = ("files", ("a.png", files.elf(), "image/png"))
        assert problem(client.post("/several", files=[good, bad])) == (415, "input.upload_type")


def test_files_are_checked_in_an_app_without_a_shield(servers, stage):
    app = FastAPI()
    fast.add_exception_handlers(app)

    @app.post("/files")
    def keep(file: Annotated[fast.CheckedFile, Depends(fast.upload())]) -> dict[str, Any]:
        return stage.keep(file)

    switch, url, _ = servers["fastapi"]
    switch.app = app
    with httpx.Client(base_url=url) as client:
        assert client.post("/files", files={"file": ("a.png", files.png())}).status_code == 200
        assert problem(client.post("/files", files={"file": ("a", files.elf())})) == (
            415,
            "input.upload_type",
        )


def test_a_body_that_nobody_announced_is_refused_as_it_comes():
    """HTTP/2 sends bodies without a length and without a transfer encoding."""
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        raise AssertionError

    async def receive() -> Any:
        return {"type": "http.request", "body": b"x", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/",
        "headers": [(b"content-type", b"a/b")],
        "client": None,
    }
    wrapped = AISecureMiddleware(app, Shield(), content_types=["application/json"])
    asyncio.run(wrapped(scope, receive, send))
    assert sent[0]["status"] == 415


def test_a_guarded_path_answers_a_broken_schema_with_its_places(servers, stage):
    from pydantic import BaseModel

    class Question(BaseModel):
        text: str

    app = FastAPI()
    shield = Shield(SchemaGuard(input=Question, on="model:*"))
    fast.secure(app, shield, resources={"/ask": "model:bot"})

    @app.post("/ask")
    async def ask(request: Request) -> Any:
        return await request.json()

    switch, url, _ = servers["fastapi"]
    switch.app = app
    with httpx.Client(base_url=url) as client:
        assert client.post("/ask", json={"text": "hi"}).json() == {"text": "hi"}
        answer = client.post("/ask", json={"txt": "s3cr3t"})
    assert problem(answer) == (422, "input.schema")
    assert answer.json()["errors"] == [
        {"pointer": "/text", "rule": "missing"},
        {"pointer": "/*", "rule": "extra_forbidden"},
    ]
    assert "s3cr3t" not in answer.text


@pytest.mark.parametrize("types", ["application/json", [], ["json"], {"api": ["a/b"]}, {"/": "a/b"}])
def test_content_types_that_make_no_sense_are_a_misconfiguration(types):
    with pytest.raises(Misconfigured):
        AISecureMiddleware(lambda *_: None, Shield(), content_types=types)
    with pytest.raises(Misconfigured):
        flasks.AISecure(Shield(), content_types=types)


def test_a_field_of_flask_is_the_name_of_an_argument():
    with pytest.raises(Misconfigured):
        flasks.upload(field="my file")


def test_a_policy_for_several_files_takes_at_least_one():
    with pytest.raises(ValueError):
        fast.uploads(max_files=0)
