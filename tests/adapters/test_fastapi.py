"""The contract over a FastAPI app, and what only this adapter does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from tests.adapters.contract import HttpContract
from tests.adapters.servers import Switch, serve_asgi
from tests.adapters.world import ANA, GUS, TYPES, Bot, World, framed

from aisecure.adapters.fastapi import CurrentPrincipal, add_exception_handlers, require, secure
from aisecure.call import current_context


class Question(BaseModel):
    resource: str
    text: str
    form: str = "sse"


def fastapi_app(world: World) -> FastAPI:
    bot = Bot(world)
    app = FastAPI()
    secure(app, world.shield, public=["/open"])

    @app.get("/me")
    def me(principal: CurrentPrincipal) -> PlainTextResponse:
        return PlainTextResponse(principal.id)

    @app.get("/open")
    async def open_() -> PlainTextResponse:
        return PlainTextResponse(f"open:{current_context().principal.id}")

    @app.post("/ask")
    def ask(question: Question) -> dict[str, str]:
        return {"answer": bot.ask(question.resource, question.text)}

    @app.post("/stream")
    async def stream(question: Question) -> StreamingResponse:
        async def body():
            async for piece in bot.astream(question.resource, question.text):
                yield framed(piece, question.form)

        return StreamingResponse(body(), media_type=TYPES[question.form])

    @app.get("/notes/{number}", dependencies=[Depends(require("read", "document:{number}"))])
    def note(number: int, principal: CurrentPrincipal) -> dict[str, str]:
        return {"who": principal.id}

    @app.get("/items")
    @world.shield.protect("model:echo", prompt="text")
    async def items(text: str = "hi") -> AsyncIterator[str]:
        for piece in world.pieces(text):
            yield piece

    return app


@pytest.fixture(scope="module")
def server():
    switch = Switch()
    with serve_asgi(switch.asgi) as url:
        yield switch, url


class TestFastApi(HttpContract):
    @pytest.fixture
    def base_url(self, server, world):
        switch, url = server
        switch.app = fastapi_app(world)
        return url

    def test_a_dependency_lets_pass_only_who_may(self, base_url, world):
        assert self.send("/notes/7", ANA).json() == {"who": "ana"}
        refused = self.send("/notes/7", GUS)
        assert (refused.status_code, refused.json()["code"]) == (403, "access.denied")
        assert [(e.type, e.action, e.resource) for e in world.events] == [
            ("call.allowed", "read", "document:7"), ("call.denied", "read", "document:7"),
        ]  # fmt: skip

    def test_the_ways_to_authenticate_are_in_the_openapi_document(self, world):
        schemes = fastapi_app(world).openapi()["components"]["securitySchemes"]
        assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}

    def test_without_the_middleware_the_handlers_answer_and_nobody_is_known(self, server):
        app = FastAPI()
        add_exception_handlers(app)

        @app.get("/me")
        def me(principal: CurrentPrincipal) -> str:
            return principal.id

        server[0].app = app
        response = self.send("/me", ANA)
        assert (response.status_code, response.json()["code"]) == (401, "authn.invalid")
        assert response.headers["www-authenticate"] == 'Bearer error="invalid_token"'

    def test_a_route_that_is_a_generator_is_guarded_as_a_stream(self, world):
        lines = self.send("/items", ANA).text.splitlines()
        assert "".join(json.loads(line) for line in lines) == "ana: hi write to <EMAIL>"
        assert world.events.only("call.allowed").detail["chunks"] > 3
