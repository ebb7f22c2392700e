"""Streamed responses on guarded paths: their limits, in the form that a reader understands, and their tokens."""

from __future__ import annotations

import asyncio
import json

import pytest

from aisecure.adapters.asgi import AISecureMiddleware
from aisecure.events import Usage
from aisecure.guard import Guard
from aisecure.quotas import StreamLimits
from aisecure.shield import Shield
from aisecure.testing import CapturedEvents, FrozenClock

SCOPE = {
    "type": "http", "http_version": "1.1", "method": "POST", "path": "/ask", "root_path": "", "query_string": b"",
    "scheme": "https", "headers": [(b"content-type", b"application/json")], "client": ("192.0.2.1", 5), "server": ("x", 443),
}  # fmt: skip
EVENT = b"data: hello\n\n"


class Reader:
    """The server's side of a connection: takes what is sent, and may be slow to."""

    def __init__(self, clock=None, slow=0.0):
        self.messages = []
        self._clock = clock
        self._slow = slow
        self._asked = False

    async def receive(self):
        if self._asked:
            await asyncio.Event().wait()
        self._asked = True
        return {"type": "http.request", "body": b"{}", "more_body": False}

    async def send(self, message):
        self.messages.append(message)
        if self._clock is not None:
            self._clock.advance(self._slow)

    @property
    def status(self):
        return self.messages[0]["status"]

    @property
    def body(self):
        return b"".join(message.get("body", b"") for message in self.messages)

    @property
    def complete(self):
        return not self.messages[-1].get("more_body", False)


def answer(*steps, kind=b"text/event-stream", hang=False, clock=None):
    """Return an application that streams, and what became of it."""
    seen = {"cancelled": False}

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        for seconds, data in steps:
            if clock is not None:
                clock.advance(seconds)
            await send({"type": "http.response.body", "body": data, "more_body": True})
        if hang:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                seen["cancelled"] = True
                raise
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return app, seen


def ask(app, reader, *guards, clock=None, **limits):
    events = CapturedEvents()
    guards = guards or (StreamLimits(**limits),)
    shield = Shield(*guards, sinks=[events], clock=clock or FrozenClock())
    middleware = AISecureMiddleware(app, shield, resources={"/ask": "model:m"}, public=["/ask"])
    asyncio.run(middleware(SCOPE, reader.receive, reader.send))
    return events


def frame_of(body):
    """Return the problem in the last server-sent event."""
    kind, data = body.removesuffix(b"\n\n").rsplit(b"\n\n", 1)[-1].split(b"\n")
    assert kind == b"event: error"
    return json.loads(data.removeprefix(b"data: "))


def test_an_application_that_falls_silent_is_interrupted_and_its_reader_told():
    app, seen = answer((0, EVENT), hang=True)
    reader = Reader()
    events = ask(app, reader, idle_seconds=0.01)
    assert reader.body.startswith(EVENT)
    assert frame_of(reader.body)["code"] == "quota.stream_idle"
    assert reader.complete
    assert seen["cancelled"]
    assert events.only("call.blocked").code == "quota.stream_idle"


def test_an_application_that_never_begins_to_stream_is_answered_with_a_problem():
    app, seen = answer(hang=True)
    reader = Reader()
    ask(app, reader, max_seconds=0.01)
    assert reader.status == 429
    assert json.loads(reader.body)["code"] == "quota.stream_seconds"
    assert seen["cancelled"]


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"max_seconds": 5}, "quota.stream_seconds"),
        ({"idle_seconds": 2}, "quota.stream_idle"),
        ({"max_chunks": 2}, "quota.stream_size"),
        ({"max_bytes": 2 * len(EVENT)}, "quota.stream_size"),
    ],
)
def test_each_limit_ends_the_response_with_the_error_frame(limits, code):
    clock = FrozenClock()
    app, _ = answer((2, EVENT), (2, EVENT), (3, EVENT), (0, EVENT), clock=clock)
    reader = Reader()
    events = ask(app, reader, clock=clock, **limits)
    assert reader.body.count(EVENT) == 2
    assert frame_of(reader.body)["code"] == code
    assert reader.complete
    assert events.only("call.blocked").detail["guard"] == "stream_limits"


def test_a_response_within_its_limits_passes_byte_for_byte():
    app, _ = answer((0, EVENT), (0, EVENT))
    reader = Reader()
    events = ask(app, reader, max_seconds=60, idle_seconds=60, max_chunks=9, max_bytes=999)
    assert reader.body == EVENT * 2
    assert reader.complete
    assert events.types == ["call.allowed"]


def test_a_slow_reader_is_no_silence_of_the_application():
    clock = FrozenClock()
    app, _ = answer((0, EVENT), (0, EVENT), clock=clock)
    reader = Reader(clock, slow=60)
    assert ask(app, reader, clock=clock, idle_seconds=1).types == ["call.allowed"]
    app, _ = answer((0, EVENT), (0, EVENT), (0, EVENT), clock=clock)
    assert ask(app, Reader(clock, slow=60), clock=clock, max_seconds=90).types == ["call.blocked"]


def test_whole_answers_and_shadow_mode_are_left_alone():
    clock = FrozenClock()
    app, _ = answer((99, b"{}"), kind=b"application/json", clock=clock)
    assert ask(app, Reader(), clock=clock, max_seconds=5, max_bytes=1).types == ["call.allowed"]
    app, _ = answer((99, EVENT), (99, EVENT), clock=clock)
    reader = Reader()
    assert ask(app, reader, clock=clock, max_seconds=5, shadow=True).types == [
        "guard.would_deny",
        "call.allowed",
    ]
    assert reader.body == EVENT * 2


class Bill(Guard):
    name = "bill"
    reads_usage = True

    def __init__(self, **options):
        super().__init__(**options)
        self.usages = []

    def settle(self, call, ending):
        self.usages.append(ending.usage)


RECORDS = (
    b'{"type":"message_start","message":{"usage":{"input_tokens":7}}}',
    b'{"usage":{"output_tokens":5}}',
)
FORMS = {
    b"text/event-stream": b"".join(b"data: " + record + b"\n\n" for record in RECORDS) + b"data: [DONE]\n\n",
    b"application/x-ndjson": b"".join(record + b"\n" for record in RECORDS),
}


@pytest.mark.parametrize(("kind", "body"), FORMS.items(), ids=["sse", "ndjson"])
def test_a_guard_that_bills_is_told_the_tokens_of_a_streamed_response(kind, body):
    app, _ = answer((0, body[:20]), (0, body[20:]), kind=kind)
    bill, reader = Bill(), Reader()
    events = ask(app, reader, bill)
    assert bill.usages == [Usage(7, 5)]
    assert events.only("call.allowed").usage == Usage(7, 5)
    assert reader.body == body


def test_where_nobody_bills_a_streamed_response_is_not_taken_apart():
    body = FORMS[b"application/x-ndjson"]
    app, _ = answer((0, body), kind=b"application/x-ndjson")
    bill = Bill(on="tool:*")
    assert ask(app, Reader(), bill).only("call.allowed").usage is None
    assert bill.usages == []
