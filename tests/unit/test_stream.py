"""Streams through the gate: every shape of chunk, every way of cutting, every way of ending."""

from __future__ import annotations

import asyncio
import gc
import io
import itertools
import sys
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Shield
from aisecure._flow import drive
from aisecure._stream import Gate, is_stream
from aisecure.call import Call
from aisecure.decisions import Decision, Finding
from aisecure.errors import ModelNotPinned, OutputBlocked, Unavailable
from aisecure.guard import Guard
from aisecure.principal import Principal
from aisecure.testing import CapturedEvents


class Secret:
    """Replaces SECRET, holding back what may become it."""

    def __init__(self):
        self._held = ""
        self.findings = ()

    def feed(self, chunk):
        self._held += chunk
        if "SECRET" in self._held:
            self.findings = (*self.findings, Finding("secret.x", 0, 6))
        self._held = self._held.replace("SECRET", "***")
        keep = max(n for n in range(6) if self._held.endswith("SECRET"[:n]))
        cut = len(self._held) - keep
        out, self._held = self._held[:cut], self._held[cut:]
        return out

    def finish(self):
        out, self._held = self._held, ""
        return out


class Redact(Guard):
    def __init__(self, make=Secret, **options):
        super().__init__(**options)
        self._make = make
        self.endings = []

    def stream(self, call):
        return self._make()

    def settle(self, call, ending):
        self.endings.append((ending.type, ending.model, ending.usage))


@pytest.fixture
def events():
    return CapturedEvents()


def gate(*guards):
    passage = Shield(*(guards or [Redact()])).passage(Call(Principal("a"), "invoke", "model:m"))
    drive(passage.enter())
    return Gate(passage)


def through(chunks, *guards):
    it = gate(*guards)
    return [out for chunk in chunks for out in it.feed(chunk)] + list(it.finish())


def cut(text, places):
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[a:b] for a, b in itertools.pairwise(edges)]


TEXT = "a SECRET b SECSECRET c SECRE"
SHOWN = "a *** b SEC*** c SECRE"


@given(st.lists(st.integers(0, 100)))
def test_texts_leave_the_same_however_they_are_cut(places):
    assert "".join(through(cut(TEXT, places))) == SHOWN


@given(st.lists(st.integers(0, 100)))
def test_bytes_leave_the_same_however_they_are_cut_and_bytes_that_are_no_text_survive(places):
    raw = b"\xc3\xa9 SECRET \xff\xfe \xf0\x9f\x98\x80 SECRET \xc3"
    assert b"".join(through(cut(raw, places))) == raw.replace(b"SECRET", b"***")


@given(st.lists(st.integers(0, 100)))
def test_chunk_objects_leave_the_same_however_they_are_cut(places):
    chunks = [{"choices": [{"index": 0, "delta": {"content": part}}]} for part in cut(TEXT, places)]
    assert "".join(c["choices"][0]["delta"]["content"] for c in through(chunks)) == SHOWN


def test_interleaved_choices_have_filters_of_their_own():
    def chunk(index, text):
        return {"choices": [{"index": index, "delta": {"content": text}}]}

    out = through([chunk(0, "x SEC"), chunk(1, "y SEC"), chunk(0, "RET"), chunk(1, "OND")])
    texts = {0: "", 1: ""}
    for piece in out:
        for choice in piece["choices"]:
            texts[choice["index"]] += choice["delta"]["content"]
    assert texts == {0: "x ***", 1: "y SECOND"}


def test_what_was_held_back_leaves_without_repeating_totals():
    last = {"choices": [{"index": 0, "delta": {"content": "SECR"}}], "usage": {"prompt_tokens": 1}}
    end = {"choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "stop"}]}
    out = through([last, end])
    assert [c["choices"][0]["delta"]["content"] for c in out] == ["", "", "SECR"]
    assert [("usage" in c, c["choices"][0].get("finish_reason")) for c in out] == [
        (True, None), (False, "stop"), (False, None),
    ]  # fmt: skip


def test_langchain_chunks_add_up_to_the_filtered_message_with_usage_told_once():
    messages = pytest.importorskip("langchain_core.messages")
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    chunks = [
        messages.AIMessageChunk(content="a SEC", id="1"),
        messages.AIMessageChunk(content="RET b SEC", id="1", usage_metadata=usage),
        messages.AIMessageChunk(content="", id="1", chunk_position="last"),
    ]
    whole = None
    for chunk in through(chunks):
        whole = chunk if whole is None else whole + chunk
    assert whole.content == "a *** b SEC"
    assert whole.usage_metadata["total_tokens"] == 3


def test_openai_chunks_keep_their_class():
    types = pytest.importorskip("openai.types.chat")

    def chunk(text):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
        return types.ChatCompletionChunk.model_validate(
            {"id": "1", "created": 1, "model": "m", "object": "chat.completion.chunk", "choices": [choice]}
        )

    out = through([chunk("a SEC"), chunk("RET"), chunk("SEC")])
    assert {type(c) for c in out} == {types.ChatCompletionChunk}
    assert "".join(c.choices[0].delta.content for c in out) == "a ***SEC"
    assert {c.model for c in out} == {"m"}


@pytest.mark.parametrize("wrap", [bytearray, memoryview, bytes])
def test_every_kind_of_bytes_is_read(wrap):
    assert b"".join(through([wrap(b"SEC"), wrap(b"RET!")])) == b"***!"


def test_a_text_of_another_class_is_read():
    class Markup(str):
        __slots__ = ()

    assert through([Markup("a SECRET")]) == ["a ***"]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (iter([]), True), ((x for x in ()), True), (map(str, []), True), ([], False), ("text", False),
        ({}, False), (io.BytesIO(), False), (None, False), (range(3), False),
    ],
)  # fmt: skip
def test_iterators_are_streams_and_files_and_containers_are_not(value, expected):
    assert is_stream(value) is expected


def guarded(guard, events, chunks=("a ", "b ", "c"), error=None):
    shield = Shield(guard, sinks=[events])

    @shield.protect("model:m")
    def plain(prompt):
        yield from chunks
        if error:
            raise error

    @shield.protect("model:m")
    async def asynchronous(prompt):
        for chunk in chunks:
            yield chunk
        if error:
            raise error

    return plain, asynchronous


async def gather(source, out):
    async for chunk in source:
        out.append(chunk)


def both(guard, events, **options):
    """Run the stream both ways; return what came out of each and the error."""
    results = []
    for index, function in enumerate(guarded(guard, events, **options)):
        out, error = [], None
        try:
            if index:
                asyncio.run(gather(function("x"), out))
            else:
                for chunk in function("x"):
                    out.append(chunk)  # noqa: PERF402  (what came before an error is the claim)
        except Exception as err:  # noqa: BLE001
            error = err
        results.append((out, error))
    assert results[0][0] == results[1][0]
    assert type(results[0][1]) is type(results[1][1])
    return results[0]


def test_an_error_of_the_source_ends_the_stream_and_settles(events):
    guard = Redact()
    out, error = both(guard, events, error=KeyError("k"))
    assert (out, type(error)) == (["a ", "b ", "c"], KeyError)
    assert events.types == ["call.failed"] * 2
    assert [ending[0] for ending in guard.endings] == ["call.failed"] * 2
    assert events[0].detail["chunks"] == 3


class Refusing(Secret):
    def feed(self, chunk):
        if chunk.startswith("b"):
            raise OutputBlocked(code="output.word")
        return chunk


class Broken(Secret):
    def feed(self, chunk):
        raise OSError("/secret")


class Unfinished(Secret):
    def finish(self):
        raise OutputBlocked


@pytest.mark.parametrize(
    ("make", "shown", "error", "event"),
    [
        (Refusing, ["a "], OutputBlocked, "call.blocked"),
        (Broken, [], Unavailable, "call.unavailable"),
        (Unfinished, ["a ", "b ", "c"], OutputBlocked, "call.blocked"),
    ],
)
def test_a_filter_that_refuses_or_breaks_cuts_the_stream(events, make, shown, error, event):
    out, raised = both(Redact(make), events)
    assert (out, type(raised)) == (shown, error)
    assert events.types == [event] * 2
    assert "/secret" not in str(raised)


@pytest.mark.parametrize("options", [{}, {"on_unavailable": "allow"}])
def test_a_filter_that_broke_blocks_whatever_was_said_about_unavailability(events, options):
    assert isinstance(both(Redact(Broken, **options), events)[1], Unavailable)


@pytest.mark.parametrize("make", [Refusing, Broken, Unfinished])
def test_a_filter_in_shadow_mode_changes_nothing(events, make):
    assert both(Redact(make, shadow=True), events) == (["a ", "b ", "c"], None)
    assert events.types[-1] == "call.allowed"


def test_a_guard_that_cannot_make_its_filter_is_unavailable(events):
    def fails():
        raise OSError

    assert isinstance(both(Redact(fails), events)[1], Unavailable)
    assert set(events.types) == {"call.unavailable"}
    assert both(Redact(fails, on_unavailable="allow"), events) == (["a ", "b ", "c"], None)


def test_an_observer_sees_the_chunks_that_are_more_than_text_and_may_refuse(events):
    class Watch(Guard):
        def observe(self, call, chunk):
            assert not isinstance(chunk, str)
            return Decision.deny("model.drift") if chunk["model"] == "other" else None

    @Shield(Watch(), sinks=[events]).protect("model:bot")
    def answer(prompt):
        yield "a"
        yield {"model": "bot"}
        yield {"model": "other"}

    chunks = answer("x")
    assert [next(chunks), next(chunks)] == ["a", {"model": "bot"}]
    with pytest.raises(ModelNotPinned):
        next(chunks)
    assert set(events.types) == {"call.blocked"}
    assert events[-1].detail["chunks"] == 3


def test_a_reader_that_stops_early_settles_at_once(events):
    guard = Redact()
    plain, asynchronous = guarded(guard, events)
    chunks = plain("x")
    assert next(chunks) == "a "
    chunks.close()

    async def main():
        chunks = asynchronous("x")
        assert await anext(chunks) == "a "
        await chunks.aclose()

    asyncio.run(main())
    assert events.types == ["call.cancelled"] * 2
    assert [e.detail["chunks"] for e in events] == [1, 1]
    assert len(guard.endings) == 2


def test_a_dropped_reader_settles_when_it_is_collected(events):
    plain, _ = guarded(Redact(), events)
    next(plain("x"))
    gc.collect()
    assert events.types == ["call.cancelled"]


def test_a_task_cancelled_in_mid_stream_settles(events):
    guard = Redact()
    closed = []

    @Shield(guard, sinks=[events]).protect()
    async def endless(prompt):
        try:
            yield "a"
            await asyncio.Event().wait()
        finally:
            closed.append(1)

    async def main():
        out = []
        task = asyncio.create_task(gather(endless("x"), out))
        while not out:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert (events.types, closed, len(guard.endings)) == (["call.cancelled"], [1], 1)


def test_a_stream_object_with_an_awaited_close_is_closed(events):
    closed = []

    class Stream:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return "a"

        async def close(self):
            closed.append(1)

    @Shield(sinks=[events]).protect()
    async def ask(prompt):
        return Stream()

    async def main():
        chunks = await ask("x")
        assert await anext(chunks) == "a"
        await chunks.aclose()

    asyncio.run(main())
    assert (closed, events.types) == ([1], ["call.cancelled"])


def test_a_stream_that_cannot_be_recorded_ends_in_an_error(events):
    class Full:
        def record(self, event):
            raise OSError

    chunks = Shield(sinks=[Full()]).protect()(lambda prompt: iter("ab"))("x")
    assert [next(chunks), next(chunks)] == ["a", "b"]
    with pytest.raises(Unavailable):
        next(chunks)


def test_model_usage_and_findings_of_a_stream_reach_the_event(events):
    guard = Redact()
    chunks = [
        {"model": "m-1", "choices": [{"index": 0, "delta": {"content": "SECRET"}}]},
        {"model": "m-1", "choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 6}},
    ]
    both(guard, events, chunks=chunks)
    event = events[0]
    assert (event.model, event.usage.output_tokens) == ("m-1", 6)
    assert [(f.kind, f.path) for f in event.findings] == [("secret.x", "/choices/0/delta/content")]
    assert guard.endings[0][1] == "m-1"


def test_a_large_chunk_of_an_object_passes_unread_and_unchanged():
    opaque = SimpleNamespace(blob="SECRET" * 10)
    assert through([opaque, 5, None]) == [opaque, 5, None]
    assert sys.getsizeof(through(["x" * 1_000_000])[0]) > 1_000_000
