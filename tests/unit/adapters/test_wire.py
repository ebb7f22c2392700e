"""Server-sent events, JSON lines and text through the gate: the same however the bytes are cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.adapters.world import Redact

from aisecure import Shield
from aisecure._flow import drive
from aisecure._stream import Gate
from aisecure.adapters._problems import find, frame, headers_of, status_of
from aisecure.adapters._wire import codec_for
from aisecure.call import Call
from aisecure.errors import AccessDenied, InputRejected, OutputBlocked, QuotaExceeded
from aisecure.principal import Principal


def codec(kind):
    passage = Shield(Redact()).passage(Call(Principal("a"), "invoke", "model:m"))
    drive(passage.enter())
    return codec_for(kind, Gate(passage))


def through(kind, pieces):
    it = codec(kind)
    return b"".join([it.feed(piece) for piece in pieces]) + it.finish()


def cut(data, places):
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(edges)]


OPENAI = b"".join(
    b'data: {"choices":[{"index":0,"delta":{"content":%s}}]}\n\n' % json.dumps(text).encode()
    for text in ("I am ad", "a@exam", "ple.org, ad", "a \xe9", " ada@ex")
)
STREAMS = {
    "openai": ("text/event-stream", OPENAI + b"data: [DONE]\n\n"),
    "texts": ("text/event-stream", b": ping\n\nid: 1\ndata: ad\n\ndata: a@example.org\ndata: x\n\nevent: e\r\ndata: ada@\r\n\r\n"),
    "returns": ("text/event-stream", b"data: ada@\r\rdata: example.org\r\rdata: y\n\r\n"),
    "strings": ("text/event-stream", b'data: "ada@"\n\ndata: "example.org\\n!"\n\ndata: "ada"\n\n'),
    "lines": ("application/x-ndjson", b'{"t":"I am ada@"}\n{"t":"example.org"}\n\nnot json\n{"t":"ada@"}'),
    "text": ("text/plain", b"I am ada@example.org and \xff ada@"),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
@settings(max_examples=60)
@given(places=st.lists(st.integers(0, 1000), max_size=8))
def test_a_stream_leaves_the_same_however_it_is_cut(name, places):
    kind, data = STREAMS[name]
    whole = through(kind, [data])
    assert through(kind, cut(data, places)) == whole
    assert b"ada@example.org" not in whole
    assert b"<EMAIL>" in whole


def test_what_openai_held_back_leaves_before_its_end():
    out = through("text/event-stream", [STREAMS["openai"][1]])
    events = out.decode().split("\n\n")
    assert events[-2] == "data: [DONE]"
    texts = [json.loads(e.removeprefix("data: "))["choices"][0]["delta"]["content"] for e in events[:-2]]
    assert "".join(texts) == "I am <EMAIL>, ada \xe9 ada@ex"


def test_what_no_guard_changes_leaves_byte_for_byte():
    data = b': c\nretry: 5\n\nevent: x\ndata:{ "a" :1.0,  "b":"q" }\nid: 7\n\ndata: 5\n\ndata\n\n'
    assert through("text/event-stream", [data]) == data


def test_text_after_the_end_is_refused():
    with pytest.raises(OutputBlocked) as caught:
        through("text/event-stream", [b"data: [DONE]\n\ndata: more\n\n"])
    assert caught.value.code == "output.protocol"


def test_an_endless_event_is_refused():
    with pytest.raises(OutputBlocked) as caught:
        through("text/event-stream", [b"data: " + b"x" * 100_000] * 12)
    assert caught.value.code == "output.too_large"


def test_a_megabyte_of_line_ends_and_one_of_single_bytes_pass():
    assert through("text/event-stream", [b"\n" * 1_000_000]) == b"\n" * 1_000_000
    data = b"data: abc\n\n" * 3_000
    assert through("text/event-stream", [data[i : i + 1] for i in range(len(data))]) == data


@pytest.mark.parametrize(
    ("kind", "tail", "start"),
    [
        ("text/event-stream", b"", b"event: error\ndata: {"),
        ("text/event-stream", b"x\n\n", b"event: error\ndata: {"),
        ("text/event-stream", b"data: half", b"\n\nevent: error\ndata: {"),
        ("application/jsonl", b"{}\n", b'{"error":{'),
        ("application/x-ndjson", b'{"half', b'\n{"error":{'),
        ("text/html", b"<p>", b"\n[aisecure: access.denied]\n"),
    ],
)
def test_a_frame_begins_after_whatever_was_unfinished(kind, tail, start):
    assert frame(AccessDenied(), "r", kind, tail).startswith(start)


@pytest.mark.parametrize("kind", ["image/png", "application/json", "application/octet-stream", ""])
def test_other_content_has_no_frame(kind):
    assert frame(AccessDenied(), "r", kind, b"") is None


def test_an_error_of_ours_is_found_in_what_frameworks_wrap_it_in():
    ours = AccessDenied()
    wrapped = RuntimeError("Caught handled exception, but response already started.")
    wrapped.__cause__ = ours
    assert find(ours) is find(wrapped) is find(ExceptionGroup("g", [ExceptionGroup("h", [wrapped])])) is ours
    assert find(ExceptionGroup("g", [ours, KeyError()])) is None
    assert find(RuntimeError()) is None
    other = ValueError()
    other.__cause__ = ours
    assert find(other) is None


@pytest.mark.parametrize(
    ("seconds", "header"), [(0.0, "0"), (0.2, "1"), (59.0, "59"), (-3.0, "0"), (float("inf"), None)]
)
def test_the_time_to_wait_is_sent_in_whole_seconds(seconds, header):
    assert dict(headers_of(QuotaExceeded(retry_after=seconds))).get("retry-after") == header


def test_the_table_of_statuses():
    assert [
        status_of(InputRejected(code=code)) for code in ("input.x", "input.too_large", "input.media_type")
    ] == [422, 413, 415]
