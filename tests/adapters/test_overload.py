"""What clients of a real server see of slots, shedding and open circuits."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from tests.adapters.servers import serve_asgi

from aisecure import Shield
from aisecure.adapters.fastapi import secure
from aisecure.quotas import CircuitBreaker, Concurrency, LoadShedder

PATIENCE = 10.0


class Bot:
    """An app whose model answers when it is told to."""

    def __init__(self, *guards):
        self.shield = Shield(*guards)
        self.begun = threading.Event()
        self.ended = threading.Event()
        self.fails = False
        self.app = FastAPI()
        secure(self.app, self.shield)

        @self.shield.protect("model:chat")
        async def words(prompt):
            try:
                if self.fails:
                    raise ConnectionError
                yield "data: a\n\n"
                self.begun.set()
                await asyncio.Event().wait()
            finally:
                self.ended.set()

        @self.app.get("/stream")
        async def stream():
            return StreamingResponse(words("x"), media_type="text/event-stream")

        @self.shield.protect("model:chat")
        async def answer(prompt):
            if self.fails:
                raise ConnectionError
            return prompt

        @self.app.get("/ask")
        async def ask():
            try:
                return await answer("x")
            except ConnectionError:
                return "failed"


def abandoned_stream(bot, client, while_open):
    with client.stream("GET", "/stream") as response:
        assert response.status_code == 200
        assert bot.begun.wait(PATIENCE)
        while_open()
    assert bot.ended.wait(PATIENCE)


@pytest.mark.parametrize(
    ("guard", "status", "code", "after"),
    [
        (Concurrency(1, by="model"), 429, "quota.concurrency", None),
        (LoadShedder(1, retry_after=2.0, on="model:*"), 503, "quota.overloaded", "2"),
    ],
    ids=["slots", "shedding"],
)
def test_a_stream_is_on_its_way_until_its_client_goes_away(guard, status, code, after):
    bot = Bot(guard)
    with serve_asgi(bot.app) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:

        def while_open():
            refused = client.get("/ask")
            assert (refused.status_code, refused.json()["code"]) == (status, code)
            assert refused.headers.get("retry-after") == after

        abandoned_stream(bot, client, while_open)
        for _ in range(1000):  # the guard settles just after the stream's own end
            response = client.get("/ask")
            if response.status_code == 200:
                break
        assert response.json() == "x"
    facts = guard.health()
    assert facts.get("in_use", facts.get("in_flight")) == 0


def test_an_open_circuit_is_answered_with_503_and_retry_after():
    bot = Bot(CircuitBreaker(failures=2, random=lambda: 0.0))
    bot.fails = True
    with serve_asgi(bot.app) as url, httpx.Client(base_url=url, timeout=PATIENCE) as client:
        assert [client.get("/ask").text for _ in range(2)] == ['"failed"', '"failed"']
        refused = client.get("/ask")
    assert (refused.status_code, refused.json()["code"]) == (503, "quota.circuit_open")
    assert refused.headers["retry-after"] in {"29", "30"}
    assert refused.headers["content-type"] == "application/problem+json"
