"""The contract over a FastAPI app, and what only this adapter does."""

from __future__ import annotations

import pytest
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse, StreamingResponse
from pydantic import BaseModel
from tests.adapters.contract import HttpContract
from tests.adapters.servers import Switch, serve_asgi
from tests.adapters.world import TYPES, Bot, World, framed

from aisecure.adapters.fastapi import CurrentPrincipal, secure
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
