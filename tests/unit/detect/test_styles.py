"""Replacements that can be joined, or decrypted."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import Redactor, encrypted, keyed_hash
from aisecure.encryption import FieldCipher, Keyring
from aisecure.errors import DecryptionError

KEY = bytes(range(32))


def test_equal_values_have_equal_hashes_also_in_streams() -> None:
    redactor = Redactor(style=keyed_hash(KEY))
    text = "ada@example.org, bob@example.org, ada@example.org"
    first, second, third = redactor.redact(text).text.split(", ")
    assert first == third != second
    assert re.fullmatch(r"\[EMAIL:[0-9a-f]{12}\]", first)
    stream = redactor.stream()
    assert "".join(map(stream.feed, text)) + stream.finish() == f"{first}, {second}, {third}"


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=5), st.text(max_size=5))
def test_hashes_differ_by_value_kind_scope_and_key(one: str, other: str, scope: str, another: str) -> None:
    style = keyed_hash(KEY, scope=scope, length=64)
    assert (style("pii.x", one) == style("pii.x", other)) == (one == other)
    assert (style("pii.x", one) == keyed_hash(KEY, scope=another, length=64)("pii.x", one)) == (
        scope == another
    )
    assert style("pii.x", one)[-64:] != style("other.x", one)[-64:]
    assert style("pii.x", one) != keyed_hash(bytes(32), scope=scope, length=64)("pii.x", one)


@pytest.mark.parametrize(
    ("key", "options", "error"),
    [
        (b"short", {}, ValueError),
        ("x" * 32, {}, TypeError),
        (KEY, {"length": 7}, ValueError),
        (KEY, {"length": 65}, ValueError),
    ],
)
def test_nonsense_is_refused(key: bytes, options: dict[str, int], error: type[Exception]) -> None:
    with pytest.raises(error):
        keyed_hash(key, **options)  # type: ignore[arg-type]


def test_encrypted_values_open_in_their_place_alone() -> None:
    cipher = FieldCipher(Keyring.generate())
    text = Redactor(style=encrypted(cipher, context=("notes", 1))).redact("to ada@example.org!").text
    token = text.removeprefix("to [EMAIL:").removesuffix("]!")
    assert cipher.decrypt(token, context=("notes", 1, "pii.email")) == "ada@example.org"
    for context in (("notes", 2, "pii.email"), ("notes", 1, "pii.phone"), ()):
        with pytest.raises(DecryptionError):
            cipher.decrypt(token, context=context)
