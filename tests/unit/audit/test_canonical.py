"""RFC 8785 JSON, beside an independent implementation of it; and what JSON cannot hold."""

from __future__ import annotations

import enum
import json
import struct

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from aisecure.audit.canonical import LARGEST_INTEGER, canonical
from aisecure.audit.entry import encode_event
from aisecure.decisions import Finding
from aisecure.events import EVENT_TYPES, SecurityEvent, Usage

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


@given(values)
def test_what_json_can_hold_is_written_as_rfc_8785_says(value):
    assert canonical(value) == rfc8785.dumps(value)


@given(st.binary(min_size=8, max_size=8))
def test_every_double_is_written_as_rfc_8785_says(raw):
    (number,) = struct.unpack("<d", raw)
    if number - number == 0:
        assert canonical(number) == rfc8785.dumps(number)
        assert float(canonical(number)) == number


@given(
    st.floats(),
    texts | st.text(),
    st.dictionaries(
        st.sampled_from(["rules", "version"]), values | st.text() | st.integers() | st.floats(), max_size=2
    ),
    st.none() | st.floats(),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_every_event_is_a_line_in_the_form_of_rfc_8785(time, principal, detail, latency, score):
    event = SecurityEvent(
        "policy.loaded",
        time=time,
        id="x",
        principal=principal,
        detail=detail,
        latency_ms=latency,
        usage=Usage(3, 2**70),
        findings=(Finding("pii.email", 0, 3, score),),
    )
    (body,) = encode_event(event, {"trace_id": principal})
    assert body == canonical({**event.to_dict(), "context": {"trace_id": principal}})
    # Integers as doubles: a double beyond 2**53 is written without an exponent, and the parser would make it an integer.
    assert rfc8785.dumps(json.loads(body, parse_int=float)) == body


class Loud:
    def __repr__(self):
        raise RuntimeError("secret")

    __str__ = __repr__


class LyingText(str):
    __slots__ = ()

    def __str__(self):
        raise RuntimeError("secret")


class BrokenMapping(dict):
    def __iter__(self):
        raise RuntimeError("secret")


class Colour(enum.StrEnum):
    RED = "red"


def cyclic():
    value = []
    value.append(value)
    return value


def shared():
    value = ["x" * 100]
    for _ in range(30):
        value = [value] * 10
    return value


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (2**53 - 1, "9007199254740991"),
        (2**53, '"9007199254740992"'),
        (-(2**53), '"-9007199254740992"'),
        (float("nan"), '"NaN"'),
        (float("-inf"), '"-Infinity"'),
        ("a\ud800b", '"a\ufffdb"'),
        ({"\udfff": 1} | {"\ufffd": 2}, '{"\ufffd":1,"\ufffd\ufffd":2}'),
        ("\x00\x1b\x7f\u2028\n", '"\\u0000\\u001b\x7f\u2028\\n"'),
        ({1: "a", None: "b", (1, 2): "c"}, '{"1":"a","[1,2]":"c","null":"b"}'),
        ({3, 1, 2}, "[1,2,3]"),
        (Colour.RED, '"red"'),
        (LyingText("text"), '"text"'),
        (Loud(), '{"unencodable":"Loud"}'),
        (BrokenMapping(a=1), '{"unencodable":"BrokenMapping"}'),
        (cyclic(), '[{"unencodable":"list"}]'),
        (lambda: 0, '{"unencodable":"function"}'),
        ({"\U0001f600": 1, "\uff00": 2}, '{"\U0001f600":1,"\uff00":2}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_json_cannot_hold_is_replaced_by_something_that_says_so(value, written):
    assert canonical(value).decode() == written


def test_bytes_are_told_by_length_and_digest():
    told = json.loads(canonical(b"secret"))
    assert told["bytes"] == 6
    assert len(told["sha256"]) == 64


def test_a_huge_integer_costs_no_quadratic_time_and_is_kept():
    assert int(json.loads(canonical(1 << 5_000_000)), 16) == 1 << 5_000_000


def test_depth_and_shared_structure_are_bounded():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    assert b"unencodable" in canonical(deep)
    assert len(canonical(shared())) < 100_000_000


def test_fifty_megabytes_of_text_are_kept():
    assert len(canonical("\u20ac" * 50_000_000)) == 150_000_002


def test_every_listed_event_type_can_be_stored():
    for type_, row in EVENT_TYPES.items():
        (body,) = encode_event(SecurityEvent(type_, detail=dict.fromkeys(row.details, "x")))
        assert json.loads(body)["type"] == type_
