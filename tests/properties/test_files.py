"""Laws of encrypted files."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aisecure.encryption import DecryptingStream, EncryptingStream, Keyring
from aisecure.errors import DecryptionError

RING = Keyring.generate()

contexts = st.lists(st.text("as12:;i", max_size=4) | st.integers(), max_size=3).map(tuple)
exponents = st.integers(10, 20)


@st.composite
def contents(draw):
    """A content of any size, those around whole chunks of 1 KiB often."""
    size = draw(
        st.integers(0, 5000)
        | st.integers(0, 4).map(lambda n: n * 1024)
        | st.integers(1, 4).map(lambda n: n * 1024 - 1)
    )
    return (draw(st.binary(min_size=1, max_size=8)) * size)[:size]


def pieces(data, cuts):
    """Cut data at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[begin:end] for begin, end in itertools.pairwise(places)]


cuts = st.lists(st.integers(0, 10_000), max_size=8)


def run(stream, parts):
    return b"".join([*map(stream.feed, parts), stream.finish()])


def sealed(data, context=(), exponent=10):
    return run(EncryptingStream(RING, context=context, chunk_bytes=1 << exponent), [data])


@given(contents(), contexts, exponents)
def test_decryption_inverts_encryption(data, context, exponent):
    assert run(DecryptingStream(RING, context=context), [sealed(data, context, exponent)]) == data


@given(contents(), cuts, cuts)
def test_how_a_stream_is_cut_changes_nothing(data, one, other):
    salt = bytes(32)
    whole, cut = (EncryptingStream(RING, chunk_bytes=1024, random=lambda _: salt) for _ in range(2))
    file = run(whole, [data])
    assert run(cut, pieces(data, one)) == file
    assert run(DecryptingStream(RING), pieces(file, other)) == data


@given(contents(), contexts, contexts)
def test_a_file_opens_in_its_own_place_only(data, here, there):
    assume(here != there)
    with pytest.raises(DecryptionError):
        run(DecryptingStream(RING, context=there), [sealed(data, here)])


@given(contents(), cuts, st.data())
def test_a_changed_file_never_opens_and_gives_a_prefix_at_most(data, where, drawn):
    file = sealed(data)
    changed = bytearray(file)
    how = drawn.draw(st.sampled_from(["flip", "cut", "extend", "move", "repeat"]))
    at = drawn.draw(st.integers(0, len(file) - 1))
    if how == "flip":
        changed[at] ^= drawn.draw(st.integers(1, 255))
    elif how == "cut":
        del changed[at:]
    elif how == "extend":
        changed += drawn.draw(st.binary(min_size=1, max_size=1100))
    else:
        begin, end = sorted((at, drawn.draw(st.integers(0, len(file)))))
        run_of = changed[begin:end]
        if how == "move":
            del changed[begin:end]
        to = drawn.draw(st.integers(0, len(changed)))
        changed[to:to] = run_of
    assume(changed != file)
    stream, got = DecryptingStream(RING), b""
    with pytest.raises(DecryptionError):
        for piece in pieces(bytes(changed), where):
            got += stream.feed(piece)
        stream.finish()
    assert data.startswith(got)


@given(st.binary(max_size=2000), cuts)
def test_any_bytes_are_a_file_or_one_error(junk, where):
    for begin in (b"", b"\x89aisecf\n\x01\x04" + RING.primary_key.id):
        with pytest.raises(DecryptionError):
            run(DecryptingStream(RING), pieces(begin + junk, where))
