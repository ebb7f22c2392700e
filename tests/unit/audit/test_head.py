"""The state file: what is written is read, and no damaged byte is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.audit.head import HEAD_BYTES, Head
from aisecure.audit.merkle import CompactRange


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=32, max_size=32),
)
def test_reading_inverts_writing(segment, length, size, leaf):
    tree = CompactRange(size, [bytes([number]) * 32 for number in range(size.bit_count())])
    data = Head(segment, length, leaf, tree).encode()
    again = Head.decode(data)
    assert len(data) == HEAD_BYTES
    assert again is not None
    assert (again.segment, again.length, again.next, again.leaf) == (segment, length, size, leaf)
    assert again.tree.hashes == tree.hashes


@pytest.mark.parametrize("flip", [0x01, 0x80, 0xFF])
def test_every_damaged_byte_is_seen(flip):
    data = Head(7, 4000, b"l" * 32, CompactRange(13, [b"a" * 32, b"b" * 32, b"c" * 32])).encode()
    for position in range(HEAD_BYTES):
        damaged = bytearray(data)
        damaged[position] ^= flip
        assert Head.decode(bytes(damaged)) is None, position


@pytest.mark.parametrize(
    "data", [b"", b"\0" * HEAD_BYTES, b"AISHEAD1", b"AISHEAD1" + b"\xff" * (HEAD_BYTES - 8)]
)
def test_what_is_no_head_is_no_head(data):
    assert Head.decode(data) is None


def test_a_head_of_another_length_is_damaged():
    data = Head(0, 0, b"l" * 32, CompactRange(1, [b"a" * 32])).encode()
    assert Head.decode(data[:-1]) is None
    assert Head.decode(data + b"\0") is None
