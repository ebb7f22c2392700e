"""Laws of field tokens."""

from __future__ import annotations

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aisecure.encryption import FieldCipher, Keyring
from aisecure.encryption.context import encode_context
from aisecure.errors import DecryptionError

CIPHER = FieldCipher(Keyring.generate().rotate())

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
# Few letters, those of the encoding among them, so that neighbours meet often.
words = st.text("as12:;i", max_size=5)
contexts = st.lists(words | st.integers(-20, 20) | st.integers(), max_size=4).map(tuple)


@given(texts, contexts)
def test_decrypt_inverts_encrypt(text, context):
    assert CIPHER.decrypt(CIPHER.encrypt(text, context=context), context=context) == text


@given(st.binary(max_size=200), contexts)
def test_decrypt_bytes_inverts_encrypt_bytes(data, context):
    assert CIPHER.decrypt_bytes(CIPHER.encrypt_bytes(data, context=context), context=context) == data


@given(contexts, contexts)
def test_contexts_are_equal_exactly_when_their_encodings_are(one, two):
    assert (encode_context(one) == encode_context(two)) == (one == two)


@given(contexts, contexts)
def test_the_encoding_of_a_whole_is_that_of_its_parts_in_a_row(one, two):
    assert encode_context(one + two) == encode_context(one) + encode_context(two)


@given(texts, contexts, contexts)
def test_a_token_opens_in_its_own_place_only(text, here, there):
    assume(here != there)
    token = CIPHER.encrypt(text, context=here)
    with pytest.raises(DecryptionError):
        CIPHER.decrypt(token, context=there)


@given(texts, st.data())
def test_a_changed_token_never_opens(text, data):
    token = base64.b64decode(CIPHER.encrypt(text, context=("t",)))
    changed = bytearray(token)
    how = data.draw(st.sampled_from(["flip", "cut", "extend", "swap"]))
    if how == "flip":
        changed[data.draw(st.integers(0, len(token) - 1))] ^= data.draw(st.integers(1, 255))
    elif how == "cut":
        del changed[data.draw(st.integers(0, len(token) - 1)) :]
    elif how == "extend":
        changed += data.draw(st.binary(min_size=1, max_size=20))
    else:
        start = data.draw(st.integers(0, len(token) - 2))
        changed[start], changed[start + 1] = changed[start + 1], changed[start]
        assume(changed != token)
    with pytest.raises(DecryptionError):
        CIPHER.decrypt(base64.b64encode(changed).decode(), context=("t",))


@given(st.text(max_size=80))
def test_any_text_is_a_token_or_one_error(text):
    with pytest.raises(DecryptionError):
        CIPHER.decrypt(text, context=("t",))
    assert CIPHER.recognises(text) is False
