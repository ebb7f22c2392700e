"""Laws of encrypted fields, sealed records and encrypted paths."""

from __future__ import annotations

import copy
import json
from typing import Annotated, Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from pydantic import BaseModel

from aisecure.encryption import Encrypted, FieldCipher, FieldPaths, Keyring, Place, SealedModel, using_cipher
from aisecure.errors import DecryptionError

CIPHER = FieldCipher(Keyring.generate())

words = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=8,
)
#: Few keys, those of the syntax of paths among them, so that neighbours meet often.
keys = st.text("ab.*[0]\\", min_size=1, max_size=3)
data = st.recursive(
    values, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3), max_leaves=8
)


class Row(BaseModel):
    id: int | str
    value: Annotated[Encrypted[Any], Place(record="id")]


class Sealed(SealedModel, record="id"):
    id: int | str
    one: Encrypted[Any]
    two: Encrypted[dict[str, Any]]


@given(st.integers() | words, values, st.dictionaries(words, values, max_size=3))
def test_reading_inverts_writing(record, one, two):
    with using_cipher(CIPHER):
        row = Row(id=record, value=one)
        assert Row.model_validate_json(row.model_dump_json()) == row
        sealed = Sealed(id=record, one=one, two=two)
        assert Sealed.model_validate_json(sealed.model_dump_json()) == sealed


@given(st.integers() | words, st.integers() | words)
def test_a_token_opens_in_its_own_record_only(here, there):
    assume((type(here), here) != (type(there), there))
    with using_cipher(CIPHER):
        for row in (Row(id=here, value=1), Sealed(id=here, one=1, two={})):
            stored = json.loads(row.model_dump_json()) | {"id": there}
            with pytest.raises(DecryptionError):
                type(row).model_validate_json(json.dumps(stored))


def _leaves(value: Any, place: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of everything that has no parts, or has none at the moment."""
    parts = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    inner = [leaf for key, part in parts for leaf in _leaves(part, (*place, key))]
    return inner or ([place] if place else [])


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for step in place:
        value = value[step]
    return value


@given(data, st.data())
def test_decrypting_along_paths_inverts_encrypting_and_changes_nothing_else(value, choose):
    leaves = _leaves(value)
    assume(leaves)
    chosen = choose.draw(st.lists(st.sampled_from(leaves), min_size=1, unique=True))
    sensitive, before = FieldPaths(chosen), copy.deepcopy(value)
    stored = sensitive.encrypt(value, CIPHER, context=("t",))
    assert value == before
    assert all((CIPHER.recognises(str(_at(stored, leaf)))) == (leaf in chosen) for leaf in leaves)
    assert sensitive.decrypt(json.loads(json.dumps(stored)), CIPHER, context=("t",)) == value


@given(data, st.data())
def test_a_token_moved_along_the_data_opens_nowhere_else(value, choose):
    leaves = _leaves(value)
    assume(len(leaves) > 1)
    one, two = choose.draw(st.permutations(leaves))[:2]
    stored = FieldPaths([one, two]).encrypt(value, CIPHER)
    moved = _at(stored, one)
    _at(stored, two[:-1])[two[-1]] = moved
    with pytest.raises(DecryptionError):
        FieldPaths([two]).decrypt(stored, CIPHER)


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_one_error(text):
    try:
        FieldPaths([text])
    except ValueError as err:
        assert "cannot be read at character" in str(err)  # noqa: PT017  (both ends are right)


@given(st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=4))
def test_every_key_has_a_spelling(names):
    escaped = ".".join(
        "".join("\\" + letter if letter in ".*[]\\" else letter for letter in name) for name in names
    )
    value: Any = 1
    for name in reversed(names):
        value = {name: value}
    assert repr(FieldPaths([escaped])._compiled) == repr(FieldPaths([tuple(names)])._compiled)
