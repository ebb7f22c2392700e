"""Inputs keep within limits of bytes, tokens, elements and nesting, and none of any size costs more than bounded time."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.call import Call
from aisecure.errors import InputRejected
from aisecure.principal import Principal
from aisecure.quotas import InputLimits
from aisecure.shield import Shield
from aisecure.testing import capture_events

OPEN = {"max_bytes": None, "max_tokens": None, "max_items": None, "max_depth": None}


def code_of(value, **limits):
    decision = InputLimits(**{**OPEN, **limits}).decide(value)
    return None if decision is None else decision.code


@dataclass
class Question:
    text: str
    history: list


def nested(depth):
    value: object = "x"
    for _ in range(depth):
        value = [value]
    return value


CYCLIC: list = []
CYCLIC += [CYCLIC, CYCLIC]


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("abc", 3), ("äö", 4), ("\ud800", 3), (b"abc\xff", 4), (bytearray(7), 7), (memoryview(bytes(9)), 9),
        (["abc", "de"], 5), ({"key": "abc"}, 6), (7, 8), (1.5, 8), (True, 8), (1 << 800, 100), (None, 0), (object(), 0),
        (Question("abc", ["d"]), 4 + 11), ({"a": {"b": ("c",)}}, 3), (frozenset({"abc"}), 3),
    ],
)  # fmt: skip
def test_bytes_are_counted_wherever_they_are(value, size):
    assert code_of(value, max_bytes=max(size, 1)) is None
    if size > 1:
        assert code_of(value, max_bytes=size - 1) == "input.too_large"


@pytest.mark.parametrize(
    ("value", "items", "depth"),
    [
        ("x", 1, 0),
        ([], 1, 0),
        (["x"] * 9, 10, 1),
        ({"a": ["x"], "b": {}}, 4, 2),
        (nested(50), 51, 50),
        (None, 1, 0),
    ],
)
def test_elements_and_levels_are_counted(value, items, depth):
    assert code_of(value, max_items=items) is None
    assert code_of(value, max_depth=depth) is None
    if items > 1:
        assert code_of(value, max_items=items - 1) == "input.too_many"
    if depth:
        assert code_of(value, max_depth=depth - 1) == "input.too_deep"


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=30,
    ),
    st.integers(1, 200),
)
def test_a_wider_limit_never_refuses_more(value, limit):
    for name in ("max_bytes", "max_items", "max_depth"):
        if code_of(value, **{name: limit}) is None:
            assert code_of(value, **{name: limit + 1}) is None


@given(
    st.recursive(st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)
)
def test_no_more_bytes_are_counted_than_json_has(value):
    encoded = json.dumps(value, ensure_ascii=False).encode("utf-8", "surrogatepass")
    assert code_of(value, max_bytes=len(encoded)) is None


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("x" * 100_000_000, "input.too_large"),
        (["x" * 1000] * 50_000, "input.too_large"),
        ([0] * 50_000_000, "input.too_many"),
        (nested(500_000), "input.too_deep"),
        (CYCLIC, "input.too_deep"),
        ({"a": CYCLIC}, "input.too_deep"),
    ],
    ids="huge-text same-text-often huge-list deep cyclic cyclic-inside".split(),
)
def test_hostile_inputs_meet_the_default_limits(value, code):
    decision = InputLimits().decide(value)
    assert decision is not None
    assert decision.code == code


def test_an_input_that_contains_itself_ends_without_a_limit_of_depth():
    assert code_of(CYCLIC, max_items=1000) == "input.too_many"
    assert code_of(CYCLIC, max_bytes=1000) == "input.too_many"


def test_tokens_are_bounded_and_counted_last():
    seen = []

    def count(text):
        seen.append(text)
        return len(text.split())

    limits = InputLimits(max_bytes=100, max_tokens=80, count=count)
    assert limits.decide("one two three") is None
    assert limits.decide("a " * 49).code == "input.too_many_tokens"
    seen.clear()
    assert limits.decide("a " * 5000).code == "input.too_large"
    assert seen == []
    assert code_of("x" * 1000, max_tokens=1000) == "input.too_many_tokens"


def test_an_input_that_cannot_be_counted_is_refused_too():
    with pytest.raises(InputRejected) as caught:
        InputLimits(**{**OPEN, "max_tokens": 5}).decide(nested(1000))
    assert caught.value.code == "input.nested"


def test_a_counter_that_fails_refuses_the_call():
    guard = InputLimits(max_tokens=1000, count=lambda text: -1)
    shield = Shield(guard)
    with pytest.raises(Exception, match="could not run"):
        shield.protect("model:m")(lambda prompt: prompt)("hello")


@pytest.mark.parametrize("name", ["max_bytes", "max_tokens", "max_items", "max_depth"])
@pytest.mark.parametrize("wrong", [-1, 1.5, "5", True, float("inf")])
def test_nonsense_limits_are_a_mistake_in_the_program(name, wrong):
    with pytest.raises(ValueError, match=name):
        InputLimits(**{name: wrong})


def test_no_limit_at_all_is_a_mistake_in_the_program():
    with pytest.raises(ValueError, match="at least one"):
        InputLimits(**OPEN)
    with pytest.raises(TypeError, match="count"):
        InputLimits(count=5)  # type: ignore[arg-type]


# -- as a decorator, on all four kinds

LIMIT = InputLimits(max_bytes=5)


@LIMIT
def plain(prompt):
    return prompt


@LIMIT
async def coroutine(prompt):
    return prompt


@LIMIT
def generator(prompt):
    yield prompt


@LIMIT
async def async_generator(prompt):
    yield prompt


async def _first(chunks):
    async for chunk in chunks:
        return chunk
    return None


CALLS = {
    "def": plain,
    "async def": lambda prompt: asyncio.run(coroutine(prompt)),
    "generator": lambda prompt: next(generator(prompt)),
    "async generator": lambda prompt: asyncio.run(_first(async_generator(prompt))),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
def test_every_kind_of_callable_can_be_limited(call):
    assert call("short") == "short"
    with pytest.raises(InputRejected) as caught:
        call("longer")
    assert caught.value.code == "input.too_large"


def test_a_refusal_never_quotes_the_input():
    with capture_events() as events:
        shield = Shield(InputLimits(max_bytes=5), sinks=[events])
        with pytest.raises(InputRejected) as caught:
            shield.protect("model:m")(lambda prompt: prompt)("my secret")
    assert "secret" not in str(caught.value)
    assert "secret" not in json.dumps(events.only("call.denied").to_dict())


def test_shadow_mode_lets_everything_pass():
    with capture_events() as events:
        shield = Shield(InputLimits(max_bytes=5, shadow=True), sinks=[events])
        assert shield.protect("model:m")(lambda prompt: prompt)("longer") == "longer"
    assert events.only("guard.would_deny").code == "input.too_large"


def test_only_named_resources_are_limited():
    guard = InputLimits(max_bytes=5, on="model:*")
    assert Shield(guard).protect("tool:t")(lambda prompt: prompt)("longer") == "longer"
    assert guard.decide(Call(Principal("a"), "invoke", "model:m", "longer").input) is not None
