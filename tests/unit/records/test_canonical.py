"""`canonical`: one text for one value, as RFC 8785 writes it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from aisecure._canonical import MAX_CANONICAL, canonical
from aisecure.errors import InputRejected

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(PLAIN)
def test_another_implementation_writes_the_same(value) -> None:
    assert canonical(value) == rfc8785.dumps(value)


def test_records_are_written_as_their_fields() -> None:
    @dataclass
    class Mail:
        to: str
        copies: tuple[str, ...] = ()

    class Order(BaseModel):
        item: str
        count: int

    assert canonical(Mail("bob")) == b'{"copies":[],"to":"bob"}'
    assert canonical(Order(count=2, item="tea")) == b'{"count":2,"item":"tea"}'
    assert canonical(2**70) == str(2**70).encode()


@pytest.mark.parametrize(
    "value",
    [
        b"x",
        math.nan,
        math.inf,
        "\ud800",
        {1: "a"},
        object(),
        "x" * (MAX_CANONICAL + 1),
        10**5_000,
        {"a": {1, 2}},
    ],
    ids=["bytes", "nan", "inf", "surrogate", "key", "object", "huge", "digits", "set"],
)
def test_what_json_cannot_hold_is_refused_without_its_value(value) -> None:
    with pytest.raises(InputRejected) as caught:
        canonical({"argument": value})
    assert caught.value.code == "input.canonical"
    assert len(str(caught.value)) < 200


def test_what_is_nested_without_end_is_refused() -> None:
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(InputRejected, match="nested"):
        canonical(endless)
