"""The bound on tokens holds for any input, and no input makes it slow or fail in another way than by its errors."""

from __future__ import annotations

import base64
import json
from collections import deque
from dataclasses import dataclass
from enum import Enum

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.errors import InputRejected
from aisecure.quotas import at_most, input_tokens, output_limit

CALL, MESSAGE, FILE, TOOLS = 64, 8, 4096, 640


@given(st.text(st.characters()))
def test_the_bound_is_the_length_in_utf_8(text):
    assert at_most(text) == len(text.encode("utf-8", "surrogatepass"))


@given(st.text(), st.text())
def test_the_bound_of_two_texts_is_the_sum(one, other):
    assert at_most(one + other) == at_most(one) + at_most(other)


def test_lone_surrogates_are_counted():
    assert at_most("a\ud800") == 4


@pytest.mark.parametrize(
    ("value", "least"),
    [
        ("", CALL),
        ("hello", CALL + 5),
        (None, CALL),
        (b"hello", CALL + 5),
        (["hello", "you"], CALL + 8 + 2 * MESSAGE),
        ([("human", "hello")], CALL + MESSAGE + 10),
        ({"question": "hello"}, CALL + 13),
        ({"args": ("hello",), "kwargs": {}}, CALL + 5),
        ([{"role": "user", "content": "hello"}], CALL + MESSAGE + 5),
        ([{"role": "user", "content": [{"type": "text", "text": "hello"}]}], CALL + 2 * MESSAGE + 5),
        ([{"role": "user", "parts": [{"text": "hello"}]}], CALL + MESSAGE + 5),
        ([{"role": "user", "name": "ada", "content": "hello"}], CALL + MESSAGE + 8),
        ({"system": "be brief", "messages": [{"role": "user", "content": "hello"}]}, CALL + MESSAGE + 13),
    ],
)
def test_every_text_is_counted(value, least):
    assert least <= input_tokens(value) <= least + 100


def test_all_that_is_set_aside_can_be_set():
    assert input_tokens("ab", per_call=0, per_message=0) == 2
    assert input_tokens(b"\xff", per_call=0, per_message=0, per_attachment=7) == 7
    assert input_tokens("ab cd", per_call=0, per_message=0, count=lambda text: len(text.split())) == 2


BASE64 = base64.b64encode(bytes(range(256)) * 400).decode()
PICTURE = f"data:image/png;base64,{BASE64}"
ATTACHMENTS = {
    "openai-image": {"type": "image_url", "image_url": {"url": PICTURE, "detail": "high"}},
    "openai-image-text": {"type": "image_url", "image_url": PICTURE},
    "openai-responses": {"type": "input_image", "image_url": PICTURE},
    "openai-audio": {"type": "input_audio", "input_audio": {"data": BASE64, "format": "wav"}},
    "openai-file": {"type": "file", "file": {"filename": "a.pdf", "file_data": f"data:application/pdf;base64,{BASE64}"}},
    "anthropic-image": {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": BASE64}},
    "anthropic-pdf": {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": BASE64}},
    "anthropic-url": {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
    "langchain-image": {"type": "image", "base64": BASE64, "mime_type": "image/png"},
    "langchain-bytes": {"type": "image", "data": bytes(range(256)) * 400},
    "google": {"inline_data": {"mime_type": "image/png", "data": BASE64}},
    "google-rest": {"inlineData": {"mimeType": "audio/mp3", "data": BASE64}},
    "google-file": {"fileData": {"mimeType": "video/mp4", "fileUri": "https://example.org/v"}},
    "bedrock": {"image": {"format": "png", "source": {"bytes": bytes(range(256)) * 400}}},
    "bedrock-pdf": {"document": {"format": "pdf", "name": "a", "source": {"bytes": bytes(range(256)) * 400}}},
}  # fmt: skip


@pytest.mark.parametrize("part", ATTACHMENTS.values(), ids=ATTACHMENTS.keys())
def test_an_attachment_counts_once_and_not_by_its_bytes(part):
    message = {"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}
    assert CALL + FILE <= input_tokens([message]) <= CALL + FILE + 200
    assert input_tokens([message], per_attachment=10) <= CALL + 200


def test_several_attachments_count_each():
    message = {"role": "user", "content": "what?", "images": [BASE64, BASE64, BASE64]}  # Ollama
    assert CALL + 3 * FILE <= input_tokens([message]) <= CALL + 3 * FILE + 100
    assert input_tokens(b"\xff\xfe") >= CALL + FILE


@pytest.mark.parametrize(
    "part",
    [
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x" * 50_000}},
        {
            "type": "document",
            "source": {"type": "content", "content": [{"type": "text", "text": "x" * 50_000}]},
        },
        {"type": "document", "source": {"type": "base64", "media_type": "text/plain", "data": "x" * 70_000}},
        {
            "type": "file",
            "file": {"filename": "a.txt", "file_data": "data:text/plain;base64," + "x" * 70_000},
        },
        {"document": {"format": "txt", "name": "a", "source": {"bytes": b"x" * 50_000}}},
        {"type": "text", "text": "data:image/png;base64," + "x" * 50_000},
        {"inline_data": {"mime_type": "text/csv", "data": "x" * 70_000}},
    ],
    ids="text content base64 data-url bedrock text-that-looks-like-an-image google".split(),
)
def test_text_in_a_file_is_no_way_round_the_bound(part):
    assert input_tokens([{"role": "user", "content": [part]}]) >= 50_000


TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": 'Says "how" it is\nin a place',
        "parameters": {"type": "object", "properties": {"place": {"type": "string", "enum": ["Köln", "x"]}}, "required": ["place"]},
    },
}  # fmt: skip


@pytest.mark.parametrize("key", ["tools", "functions"])
def test_schemas_of_tools_count_as_their_json_text(key):
    bare = {"messages": [{"role": "user", "content": "hi"}]}
    more = input_tokens({**bare, key: [TOOL]}) - input_tokens(bare)
    text = len(json.dumps([TOOL], ensure_ascii=False).encode())
    assert text + TOOLS <= more <= text + TOOLS + 60


def test_no_tools_cost_nothing():
    assert input_tokens({"tools": []}) < CALL + 20


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=20,
    )
)
def test_inside_tools_nothing_is_cheaper_than_its_json(value):
    text = json.dumps(value, ensure_ascii=False)
    assert input_tokens({"tools": value}, per_toolset=0) - CALL >= len(text.encode("utf-8", "surrogatepass"))


@given(
    st.recursive(
        st.text() | st.binary(), lambda inner: st.lists(inner) | st.tuples(inner, inner), max_leaves=20
    )
)
def test_more_input_never_costs_less(value):
    assert input_tokens([value, "more"]) > input_tokens([value])


@dataclass(frozen=True, slots=True)
class Question:
    text: str
    history: tuple[str, ...] = ()


class Color(str, Enum):  # noqa: UP042  (the kind whose str() is its name)
    RED = "x" * 500


def test_objects_are_counted_by_their_fields():
    assert input_tokens(Color.RED) >= CALL + 500
    assert input_tokens(Question("x" * 500, ("y" * 500,))) >= CALL + 1000
    assert input_tokens(deque(["x" * 500])) >= CALL + 500
    assert input_tokens({frozenset({"x" * 500})}) >= CALL + 500
    assert input_tokens(object()) == CALL + FILE


def test_messages_of_langchain_are_counted():
    messages = pytest.importorskip("langchain_core.messages")
    prompts = pytest.importorskip("langchain_core.prompt_values")
    history = [
        messages.SystemMessage("x" * 100),
        messages.HumanMessage([{"type": "text", "text": "y" * 100}, ATTACHMENTS["langchain-image"]]),
        messages.AIMessage("", tool_calls=[{"name": "weather", "args": {"place": "z" * 100}, "id": "1"}]),
        messages.ToolMessage("w" * 100, tool_call_id="1"),
    ]
    least = CALL + 400 + FILE + 5 * MESSAGE
    assert least <= input_tokens(history) <= least + 300
    assert input_tokens(prompts.ChatPromptValue(messages=history)) >= least
    assert input_tokens(prompts.StringPromptValue(text="x" * 100)) >= CALL + 100


def test_what_the_provider_said_about_an_old_answer_is_not_sent_again():
    messages = pytest.importorskip("langchain_core.messages")
    said = messages.AIMessage("hi", response_metadata={"long": "x" * 5000})
    assert input_tokens([said]) < CALL + 200


def _nested(depth):
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


def _cyclic():
    value: list = []
    value += [value, value]
    return value


def _cyclic_mapping():
    value: dict = {}
    value["self"] = value
    return value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (_nested(100_000), "input.nested"),
        (_cyclic(), "input.nested"),
        (_cyclic_mapping(), "input.nested"),
        ({"tools": _cyclic()}, "input.nested"),
        ([0] * 1_000_001, "input.items"),
        ([[0] * 10_000] * 200, "input.items"),
    ],
    ids="deep cyclic cyclic-mapping cyclic-tools long wide".split(),
)
def test_hostile_shapes_are_refused_in_bounded_time(value, code):
    with pytest.raises(InputRejected) as caught:
        input_tokens(value)
    assert caught.value.code == code


def test_huge_inputs_are_counted():
    assert input_tokens("x" * 5_000_000) == CALL + MESSAGE + 5_000_000
    assert input_tokens(10**100_000) > 100_000
    assert input_tokens("\ud800\x00" * 10) == CALL + MESSAGE + 40


@pytest.mark.parametrize("wrong", [-1, 1.5, None, True, "5"])
def test_a_counter_that_counts_nonsense_is_a_mistake_in_the_program(wrong):
    with pytest.raises(TypeError, match="whole number"):
        input_tokens("hello", count=lambda text: wrong)


@pytest.mark.parametrize(
    ("request_", "limit"),
    [
        ({"max_tokens": 7}, 7),
        ({"max_completion_tokens": 7}, 7),
        ({"max_output_tokens": 7}, 7),
        ({"generationConfig": {"maxOutputTokens": 7, "candidateCount": 3}}, 21),
        ({"inferenceConfig": {"maxTokens": 7}}, 7),
        ({"options": {"num_predict": 7}}, 7),
        ({"n_predict": 7}, 7),
        ({"args": (), "kwargs": {"max_tokens": 7, "n": 2}}, 14),
        ({"max_tokens": 7, "n": 3}, 21),
        ({"max_tokens": 7, "n": 3, "best_of": 5}, 35),
        ({"n": 3}, 300),
        ({"max_tokens": 7, "max_completion_tokens": 9}, 9),
        ({"max_tokens": 6.5}, 7),
        ({"max_tokens": 10**30}, 10**30),
        ({}, 100),
        ("hello", 100),
        (None, 100),
        ({"max_tokens": -1, "n": -3}, 100),
        ({"max_tokens": 0, "n": 0}, 100),
        ({"max_tokens": True, "n": False}, 100),
        ({"max_tokens": "7", "n": "2"}, 100),
        ({"max_tokens": float("nan"), "n": float("inf")}, 100),
        ({"max_tokens": None, "options": "x", "kwargs": {"kwargs": {"n": 9}}}, 100),
    ],
)
def test_the_stated_limit_of_an_answer_is_read(request_, limit):
    assert output_limit(request_, 100) == limit
