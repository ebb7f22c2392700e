"""A FastAPI app in process, bare and behind a shield, driven over the ASGI interface without a socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

CONFIG = """\
data_dir = "data"

[quotas]
limits = "1000000/minute"

[detect]
enabled = {scan}

[sanitize]
enabled = false
"""

LOCK = """\
version = 1

[models.support-bot]
provider = "openai"
id = "gpt-4o-2024-08-06"
"""

CHUNK = "The refund arrives soon. "


def bare() -> Any:
    """Return the app as it is without a shield."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    app = FastAPI()

    # The functions that the other app protects, so that both do the same but for that.
    async def answer(text: str) -> str:
        return text

    async def words(prompt: str, chunks: int) -> AsyncIterator[str]:
        async for word in _words(chunks):
            yield word

    @app.post("/ask")
    async def ask(question: dict[str, str]) -> dict[str, str]:
        return {"answer": await answer(question["text"])}

    @app.get("/stream/{chunks}")
    async def stream(chunks: int) -> StreamingResponse:
        return StreamingResponse(words("hello", chunks), media_type="text/plain")

    return app


def secured(folder: Path, *, scan: bool = False) -> tuple[Any, str]:
    """Return the same app behind key, limit, permission, pin and log, and a key for it."""
    from fastapi import FastAPI
    from fastapi.responses import StreamingResponse

    from aisecure import Shield
    from aisecure.adapters.fastapi import secure
    from aisecure.authn import ApiKeys

    folder.mkdir(parents=True)
    (folder / "aisecure.toml").write_text(CONFIG.format(scan="true" if scan else "false"))
    (folder / "models.lock").write_text(LOCK)
    shield = Shield.from_config(folder / "aisecure.toml")
    key = shield.part(ApiKeys).create("u-17", tenant="acme", roles=["member"]).secret
    app = FastAPI()
    secure(app, shield)

    @shield.protect("model:support-bot")
    async def answer(text: str) -> str:
        return text

    @shield.protect("model:support-bot", prompt="prompt")
    async def words(prompt: str, chunks: int) -> AsyncIterator[str]:
        async for word in _words(chunks):
            yield word

    @app.post("/ask")
    async def ask(question: dict[str, str]) -> dict[str, str]:
        return {"answer": await answer(question["text"])}

    @app.get("/stream/{chunks}")
    async def stream(chunks: int) -> StreamingResponse:
        return StreamingResponse(words("hello", chunks), media_type="text/plain")

    return app, key


async def _words(chunks: int) -> AsyncIterator[str]:
    for _ in range(chunks):
        yield CHUNK


def requests(app: Any, method: str, path: str, *, body: Any = None, key: str = "") -> Callable[[int], object]:
    """Return a function that sends the same request N times, and insists on status 200 and an answer."""
    payload = b"" if body is None else json.dumps(body).encode()
    headers = [
        (b"host", b"testserver"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(payload)).encode()),
    ]
    if key:
        headers.append((b"authorization", b"Bearer " + key.encode()))
    loop = asyncio.new_event_loop()

    async def one() -> None:
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.4"}, "http_version": "1.1", "method": method,
            "scheme": "http", "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": list(headers), "client": ("127.0.0.1", 50_000), "server": ("testserver", 80), "state": {},
        }  # fmt: skip
        status, size, sent = 0, 0, False

        async def receive() -> dict[str, Any]:
            nonlocal sent
            if sent:
                await asyncio.Event().wait()  # the client stays; whoever listens for its leaving is cancelled
            sent = True
            return {"type": "http.request", "body": payload, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
            else:
                size += len(message.get("body", b""))

        await app(scope, receive, send)
        if status != 200 or not size:
            raise RuntimeError(f"{method} {path} answered {status} with {size} bytes")

    async def several(times: int) -> None:
        for _ in range(times):
            await one()

    return lambda times: loop.run_until_complete(several(times))
