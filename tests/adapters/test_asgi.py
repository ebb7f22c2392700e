"""The contract over a bare ASGI app, and what only this adapter does."""

from __future__ import annotations

import asyncio
import json

import pytest
from tests.adapters.contract import HttpContract
from tests.adapters.servers import Switch, serve_asgi
from tests.adapters.world import TYPES, Bot, World, framed

from aisecure.adapters.asgi import AISecureMiddleware
from aisecure.call import current_context


def bare_app(world: World):
    """An app as short as the protocol allows."""
    bot = Bot(world)

    async def read(receive):
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                return body

    async def respond(send, status, body, kind=b"text/plain"):
        headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def app(scope, receive, send):
        path = scope["path"]
        if path == "/me":
            return await respond(send, 200, current_context().principal.id.encode())
        if path == "/open":
            return await respond(send, 200, f"open:{current_context().principal.id}".encode())
        if path not in ("/ask", "/stream"):
            return await respond(send, 404, b"")
        try:
            asked = json.loads(await read(receive))
        except (ValueError, RecursionError):
            return await respond(send, 400, b"")
        if path == "/ask":
            answer = await bot.aask(asked["resource"], asked["text"])
            return await respond(send, 200, json.dumps({"answer": answer}).encode(), b"application/json")
        form = asked.get("form", "sse")
        headers = [(b"content-type", TYPES[form].encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        chunks = bot.astream(asked["resource"], asked["text"])
        gone = False

        async def watch():
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True

        watcher = asyncio.ensure_future(watch())
        try:
            async for chunk in chunks:
                if gone:
                    break
                await send(
                    {"type": "http.response.body", "body": framed(chunk, form).encode(), "more_body": True}
                )
        finally:
            watcher.cancel()
            await chunks.aclose()
        return await send({"type": "http.response.body", "body": b""})

    return app


@pytest.fixture(scope="module")
def server():
    switch = Switch()
    with serve_asgi(switch.asgi) as url:
        yield switch, url


class TestAsgi(HttpContract):
    @pytest.fixture
    def base_url(self, server, world):
        switch, url = server
        switch.app = AISecureMiddleware(bare_app(world), world.shield, public=["/open"])
        return url
