"""What an answer says about its model, whatever made it."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.events import Usage
from aisecure.reply import Reply, read_reply


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"model": "m", "system_fingerprint": "fp"}, Reply("m", "fp")),
        ({"model": "m", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}, Reply("m", "", Usage(1, 2))),
        ({"usage": {"input_tokens": 1, "output_tokens": 2}}, Reply("", "", Usage(1, 2))),
        (
            {"modelVersion": "g", "usageMetadata": {"promptTokenCount": 1, "candidatesTokenCount": 2}},
            Reply("g", "", Usage(1, 2)),
        ),
        ({"type": "message_start", "message": {"model": "c", "usage": {"input_tokens": 9}}}, Reply("c", "", Usage(9, 0))),
        (SimpleNamespace(model="m", usage=SimpleNamespace(prompt_tokens=1, completion_tokens=0)), Reply("m", "", Usage(1, 0))),
        ({"model": "m", "usage": {"prompt_tokens": -5, "completion_tokens": 2}}, Reply("m", "", Usage(0, 2))),
        ({"model": "m", "usage": {"prompt_tokens": True}}, Reply("m")),
    ],
    ids="openai usage anthropic google message-start object negative not-a-number".split(),
)  # fmt: skip
def test_every_providers_form_is_read(value, expected):
    assert read_reply(value) == expected


@pytest.mark.parametrize(
    "value", [None, "text", b"", 5, [], {}, {"model": 5}, object(), {"usage": "x"}, {"message": None}]
)
def test_what_says_nothing_is_none(value):
    assert read_reply(value) is None


def test_langchain_messages_are_read():
    messages = pytest.importorskip("langchain_core.messages")
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    message = messages.AIMessage("hi", response_metadata={"model_name": "m"}, usage_metadata=usage)
    assert read_reply(message) == Reply("m", "", Usage(1, 2))


@given(
    st.dictionaries(
        st.sampled_from(["model", "usage", "message", "response_metadata"]),
        st.none() | st.text() | st.integers() | st.dictionaries(st.text(), st.integers()),
    )
)
def test_no_shape_of_an_answer_is_an_error(value):
    read_reply(value)


def test_a_message_inside_a_message_without_end_says_nothing():
    cycle: dict = {}
    cycle["message"] = cycle
    deep: dict = {"model": "m"}
    for _ in range(100_000):
        deep = {"message": deep}
    assert read_reply(cycle) is None
    assert read_reply(deep) is None
