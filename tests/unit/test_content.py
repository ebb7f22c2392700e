"""The walk over any value: every text is offered once, nothing else is touched, and its work is bounded."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict, UserDict, deque
from enum import Enum
from types import MappingProxyType
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, RootModel

from aisecure.content import MAX_DEPTH, Part, rewrite, texts
from aisecure.errors import InputRejected


def upper(value, **options):
    return rewrite(value, lambda part: part.text.upper(), **options)


def paths(value, **options):
    return [(part.path, part.text) for part in texts(value, **options)]


@dataclasses.dataclass(frozen=True)
class Record:
    name: str
    size: int = 1
    made: str = dataclasses.field(init=False, default="made")


class Model(BaseModel):
    name: str
    id: str = "an id of the user's own"
    tags: list[str] = []


class Pair(NamedTuple):
    left: str
    right: int


class Colour(str, Enum):  # noqa: UP042  (a text that is an enumeration is the case)
    RED = "red"


class Markup(str):
    __slots__ = ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_a_walk_that_changes_nothing_returns_the_value_itself(value):
    assert rewrite(value, lambda part: part.text) is value


@given(JSON)
def test_a_walk_leaves_its_input_alone_and_offers_no_text_twice(value):
    before = repr(value)
    seen = [part.path for part in texts(value)]
    upper(value)
    assert repr(value) == before
    assert len(seen) == len(set(seen))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a", "A"),
        ("", ""),
        (b"a", b"A"),
        (bytearray(b"a"), bytearray(b"A")),
        (b"\xff\x00", b"\xff\x00"),
        (["a", 1, None, ["b"]], ["A", 1, None, ["B"]]),
        (("a", 1), ("A", 1)),
        ({"a"}, {"A"}),
        (frozenset({"a"}), frozenset({"A"})),
        (deque(["a"], maxlen=3), deque(["A"], maxlen=3)),
        ({"k": "a", 1: "b"}, {"k": "A", 1: "B"}),
        (OrderedDict(k="a"), {"k": "A"}),
        (MappingProxyType({"k": "a"}), {"k": "A"}),
        (UserDict({"k": "a"}), {"k": "A"}),
        (Pair("a", 1), Pair("A", 1)),
        (Record("a"), Record("A")),
        (Model(name="a", tags=["b"]), Model(name="A", id="AN ID OF THE USER'S OWN", tags=["B"])),
        (RootModel[list[str]](["a"]), RootModel[list[str]](["A"])),
        (Markup("a"), "A"),
        (Colour.RED, Colour.RED),
        (5, 5),
        (None, None),
        ("nul\0 \ud800", "NUL\0 \ud800"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_shape_is_walked_and_keeps_its_class(value, expected):
    changed = upper(value)
    assert changed == expected
    assert type(changed) is type(expected)


def test_an_unchanged_text_of_another_class_keeps_it():
    value = Markup("A")
    assert upper([value])[0] is value


def test_paths_are_json_pointers():
    assert paths({"a/b": {"~": ["x", "y"]}}) == [("/a~1b/~0/0", "x"), ("/a~1b/~0/1", "y")]
    assert paths("x") == [("", "x")]


def test_roles_say_who_wrote_a_text():
    messages = [
        {"role": role, "content": role}
        for role in ("user", "system", "developer", "assistant", "tool", "stranger")
    ]
    origins = [part.origin for part in texts(messages)]
    assert origins == ["user", "system", "system", "model", "tool", "user"]


def test_structure_of_messages_is_not_offered_but_the_same_keys_of_a_users_json_are():
    message = {"role": "user", "id": "m1", "content": [{"type": "text", "text": "hi"}]}
    assert paths(message) == [("/content/0/text", "hi")]
    assert paths({"id": "ada@example.org", "model": "x"}) == [("/id", "ada@example.org"), ("/model", "x")]


def test_tool_arguments_are_offered_as_json_text():
    message = {
        "role": "assistant",
        "tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }
    parts = list(texts({"choices": [{"message": message}], "id": "1"}))
    # The innermost object has neither role nor type, so its arguments are a text like others.
    assert [(part.path.rpartition("/")[2], part.text) for part in parts] == [
        ("name", "f"),
        ("arguments", "{}"),
    ]
    call = {"type": "function_call", "name": "f", "arguments": "{}"}
    assert [part.labels for part in texts(call)] == [frozenset(), frozenset({"json"})]


def test_pictures_and_files_are_left_alone():
    picture = {"type": "image_url", "image_url": {"url": "data:image/png;base64,QUJD"}}
    assert paths([{"role": "user", "content": [picture, {"type": "text", "text": "what?"}]}]) == [
        ("/0/content/1/text", "what?")
    ]


def test_langchain_values_of_every_kind_are_walked():
    core = pytest.importorskip("langchain_core")
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
    from langchain_core.prompt_values import ChatPromptValue, StringPromptValue

    assert core
    assert upper(HumanMessage("a")).content == "A"
    assert upper(StringPromptValue(text="a")).text == "A"
    assert upper(AIMessage("a").text) == "A"
    prompt = ChatPromptValue(messages=[SystemMessage("s"), HumanMessage("a", id="m1")])
    assert [m.content for m in upper(prompt).messages] == ["S", "A"]
    assert upper(prompt).messages[1].id == "m1"
    assert [part.origin for part in texts(prompt)] == ["system", "user"]
    assert next(texts(ToolMessage("t", tool_call_id="1"))).origin == "tool"
    call = AIMessage("", tool_calls=[{"name": "f", "args": {"to": "ada"}, "id": "1"}])
    assert upper(call).tool_calls[0]["args"] == {"to": "ADA"}


def test_openai_responses_are_walked_and_keep_their_class():
    types = pytest.importorskip("openai.types.chat")
    response = types.ChatCompletion.model_validate(
        {
            "id": "1", "created": 1, "model": "m", "object": "chat.completion",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "a"}}],
        }
    )  # fmt: skip
    changed = upper(response)
    assert (type(changed), changed.choices[0].message.content, changed.model) == (
        types.ChatCompletion,
        "A",
        "m",
    )
    assert response.choices[0].message.content == "a"


def test_in_chunks_the_stated_index_is_the_path():
    chunk = {"choices": [{"index": 3, "delta": {"content": "a", "role": "assistant"}}]}
    seen = []
    rewrite(chunk, lambda part: seen.append(part.path) or part.text, chunk=True)
    assert seen == ["/choices/3/delta/content"]


def test_objects_of_other_classes_pass_unread():
    opaque = object()
    assert upper([opaque, "a"]) == [opaque, "A"]


def nested(depth, kind):
    value = "end"
    for _ in range(depth):
        value = [value] if kind is list else {"k": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_depth_is_bounded(kind):
    assert upper(nested(MAX_DEPTH - 1, kind))
    with pytest.raises(InputRejected) as caught:
        upper(nested(MAX_DEPTH + 1, kind))
    assert caught.value.code == "input.nested"
    with pytest.raises(InputRejected):
        upper(nested(100_000, kind))


def test_cyclic_values_are_refused():
    cycle = []
    cycle.append(cycle)
    loop = {}
    loop["self"] = loop
    for value in (cycle, loop):
        with pytest.raises(InputRejected):
            upper(value)


def test_values_that_unfold_without_end_are_refused(monkeypatch):
    monkeypatch.setattr("aisecure.content.MAX_NODES", 10_000)
    value = ["a"]
    for _ in range(40):
        value = [value, value]
    with pytest.raises(InputRejected) as caught:
        upper(value)
    assert caught.value.code == "input.items"


@pytest.mark.parametrize("size", [1_000_000, 50_000_000])
def test_a_huge_text_is_one_part(size):
    text = "x" * size
    assert [len(part.text) for part in texts({"t": text})] == [size]


def test_a_part_is_a_plain_record():
    assert Part("t") == Part("t", "", "user", frozenset())
