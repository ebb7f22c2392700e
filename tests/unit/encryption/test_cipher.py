"""Tokens: round trips, places, damage, limits."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from enum import Enum, IntEnum, StrEnum
from pathlib import Path

import pytest

from aisecure.encryption import FieldCipher, Keyring
from aisecure.encryption import cipher as cipher_module
from aisecure.encryption.cipher import MAX_BYTES, MAX_MESSAGES
from aisecure.encryption.context import encode_context
from aisecure.encryption.keyring import Key
from aisecure.errors import DecryptionError, Misconfigured

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "field_tokens_v1.json").read_text())
CONTEXT = ("patients", "notes", 42)


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate().rotate())


@pytest.fixture(scope="module")
def published():
    keys = tuple(Key(bytes.fromhex(key["id"]), bytes.fromhex(key["key_hex"]), 0) for key in VECTORS["keys"])
    return FieldCipher(Keyring(keys, bytes.fromhex(VECTORS["primary"])))


class TestVectors:
    @pytest.mark.parametrize("case", VECTORS["tests"], ids=lambda case: f"{case['id']}-{case['comment']}")
    def test_version_1(self, published, case):
        context = tuple(case["context"])
        if case["result"] == "valid":
            plaintext = bytes.fromhex(case["plaintext_hex"])
            assert published.decrypt(case["token"], context=context) == plaintext.decode()
            assert published.decrypt_bytes(base64.b64decode(case["token"]), context=context) == plaintext
            assert published.bind(*context[:1]).decrypt(case["token"], *context[1:]) == plaintext.decode()
            assert published.recognises(case["token"])
        else:
            with pytest.raises(DecryptionError):
                published.decrypt(case["token"], context=context)


class TestTokens:
    @pytest.mark.parametrize(
        "text",
        ["", "a", "\0", "é\U0001f511\u2028", "x" * 1_000_000],
        ids=["empty", "a", "NUL", "wide", "1 MB"],
    )
    def test_a_text_comes_back(self, cipher, text):
        token = cipher.encrypt(text, context=CONTEXT)
        assert token.isascii()
        assert cipher.decrypt(token, context=CONTEXT) == text

    def test_a_text_of_50_megabytes_comes_back(self, cipher):
        text = "x" * 50_000_000
        assert cipher.decrypt(cipher.encrypt(text, context=CONTEXT), context=CONTEXT) == text

    def test_two_tokens_of_one_text_differ_and_name_the_primary_key(self, cipher):
        tokens = {cipher.encrypt("same", context=CONTEXT) for _ in range(100)}
        assert len(tokens) == 100
        assert {base64.b64decode(token)[:5].hex() for token in tokens} == {"01" + cipher.keyring.primary}

    def test_every_flipped_bit_is_found(self, cipher):
        token = base64.b64decode(cipher.encrypt("ssn 078-05-1120", context=CONTEXT))
        for index, bit in itertools.product(range(len(token)), range(8)):
            bad = bytearray(token)
            bad[index] ^= 1 << bit
            with pytest.raises(DecryptionError):
                cipher.decrypt(base64.b64encode(bad).decode(), context=CONTEXT)
            with pytest.raises(DecryptionError):
                cipher.decrypt_bytes(bytes(bad), context=CONTEXT)

    def test_every_changed_character_every_cut_and_extension_is_found(self, cipher):
        token = cipher.encrypt("1234", context=CONTEXT)
        assert token.endswith("=")
        bad = {token[:size] for size in range(len(token))}
        bad |= {token + more for more in ("=", "A", "AAAA", "\n", " ", "\0", token)}
        bad |= {token[:i] + new + token[i + 1 :] for i in range(len(token)) for new in "AQz/=- é\ud800"}
        for text in bad - {token}:
            with pytest.raises(DecryptionError):
                cipher.decrypt(text, context=CONTEXT)

    def test_junk_of_megabytes_is_one_error(self, cipher):
        for junk in ("A" * 4_000_000, "\0" * 4_000_000, "é" * 1_000_000, "=" * 4_000_000):
            with pytest.raises(DecryptionError):
                cipher.decrypt(junk, context=CONTEXT)

    def test_another_ring_cannot_read_it(self, cipher):
        with pytest.raises(DecryptionError):
            FieldCipher(Keyring.generate()).decrypt(cipher.encrypt("x", context=CONTEXT), context=CONTEXT)

    def test_all_failures_look_the_same(self, cipher):
        token = cipher.encrypt("secret", context=CONTEXT)
        bytes_token = cipher.encrypt_bytes(b"\xff\xfe", context=CONTEXT)
        tries = [
            (token, ("patients", "notes", 43)),
            (token[:-1] + ("B" if token.endswith("A") else "A"), CONTEXT),
            ("junk", CONTEXT),
            ("", CONTEXT),
            (FieldCipher(Keyring.generate()).encrypt("x", context=CONTEXT), CONTEXT),
            (base64.b64encode(bytes_token).decode(), CONTEXT),
        ]
        seen = set()
        for text, context in tries:
            with pytest.raises(DecryptionError) as caught:
                cipher.decrypt(text, context=context)
            err = caught.value
            seen.add((str(err), err.code, repr(err.args), err.__cause__, err.__context__))
        assert seen == {
            ("The value could not be decrypted.", "encryption.failed", repr((str(err),)), None, None)
        }

    def test_any_of_a_thousand_keys_is_found(self):
        ring = Keyring.generate()
        tokens = []
        for _ in range(1000):
            ring = ring.rotate()
            if len(ring.key_ids) % 100 == 0:
                tokens.append(FieldCipher(ring).encrypt(ring.primary, context=CONTEXT))
        cipher = FieldCipher(ring)
        assert [cipher.decrypt(token, context=CONTEXT) for token in tokens] == [*ring.key_ids[99::100]]


class TestMistakes:
    @pytest.mark.parametrize("value", [None, 5, b"bytes", bytearray(b"x"), ["x"]])
    def test_a_plaintext_or_token_of_another_type_is_a_type_error_that_does_not_quote_it(self, cipher, value):
        for use in (cipher.encrypt, cipher.decrypt):
            with pytest.raises(TypeError, match=f"text.*, not {type(value).__name__}"):
                use(value, context=CONTEXT)

    def test_the_bytes_form_takes_bytes_alone(self, cipher):
        for use in (cipher.encrypt_bytes, cipher.decrypt_bytes):
            with pytest.raises(TypeError, match="takes bytes, not str"):
                use("text", context=CONTEXT)

    def test_a_lone_surrogate_is_an_error_that_does_not_carry_the_text(self, cipher):
        with pytest.raises(ValueError, match="lone surrogate at code point 6") as caught:
            cipher.encrypt("secret\ud800secret", context=CONTEXT)
        err = caught.value
        assert "secret" not in repr(err)
        assert err.__cause__ is err.__context__ is None

    @pytest.mark.parametrize(
        "context",
        [None, "notes", ["notes"], ("notes", None), ("notes", True), ("notes", 1.0), ("notes", b"x"), ("notes", ("x",))],
        ids=repr,
    )  # fmt: skip
    def test_a_context_of_another_type_is_a_type_error(self, cipher, context):
        with pytest.raises(TypeError, match="context"):
            cipher.encrypt("x", context=context)

    def test_a_lone_surrogate_in_a_context_is_a_value_error(self, cipher):
        with pytest.raises(ValueError, match="context: a part has a lone surrogate"):
            cipher.encrypt("x", context=("\udfff",))

    def test_what_is_too_large_for_the_cipher_is_said_before_any_work(self, cipher):
        with pytest.raises(ValueError, match=f"at most {MAX_BYTES} bytes"):
            cipher.encrypt_bytes(bytes(MAX_BYTES + 1), context=CONTEXT)

    def test_a_cipher_takes_a_key_ring_and_a_sound_limit(self):
        with pytest.raises(TypeError, match="takes a Keyring, not bytes"):
            FieldCipher(bytes(32))
        for limit in (0, -1, MAX_MESSAGES + 1, 1.5, True):
            with pytest.raises(ValueError, match="max_messages"):
                FieldCipher(Keyring.generate(), max_messages=limit)


class Table(StrEnum):
    NOTES = "notes"


class Old(str, Enum):  # noqa: UP042  (as code older than StrEnum has it)
    NOTES = "notes"


class Number(IntEnum):
    SEVEN = 7


class TestContext:
    def test_parts_do_not_run_together_and_types_do_not_mix(self):
        contexts = [(), ("",), ("", ""), ("a", "bc"), ("ab", "c"), ("abc",), ("42",), (42,), (4, 2), ("4", 2), (-42,),
                    ("i42;",), ("s1:a",), ("a", "s1:b"), ("a", "b"), ("\0",), ("0",), (0,), ("é",), ("e\u0301",)]  # fmt: skip
        assert len({encode_context(context) for context in contexts}) == len(contexts)

    def test_enumerations_count_as_their_values(self):
        assert encode_context((Table.NOTES, Number.SEVEN)) == encode_context(("notes", 7))
        assert encode_context((Old.NOTES,)) == encode_context(("notes",))
        assert encode_context((Number.SEVEN,)) == encode_context((7,))

    def test_a_bound_cipher_and_the_whole_context_are_the_same(self, cipher):
        notes = cipher.bind("patients", "notes")
        assert cipher.decrypt(notes.encrypt("x", 42), context=CONTEXT) == "x"
        assert notes.decrypt(cipher.encrypt("x", context=CONTEXT), 42) == "x"
        assert cipher.bind().decrypt(notes.encrypt("x", "acme", 7), *CONTEXT[:2], "acme", 7) == "x"

    def test_a_token_moved_to_another_row_column_or_tenant_does_not_open(self, cipher):
        notes = cipher.bind("acme", "patients", "notes")
        token = notes.encrypt("x", 42)
        for bound, record in (
            (notes, (43,)), (notes, ("42",)), (notes, ()), (notes, (42, 0)),
            (cipher.bind("acme", "patients", "names"), (42,)),
            (cipher.bind("other", "patients", "notes"), (42,)),
        ):  # fmt: skip
            with pytest.raises(DecryptionError):
                bound.decrypt(token, *record)


class TestUseBound:
    def test_a_key_that_is_used_up_refuses_to_encrypt_and_still_decrypts(self):
        ring = Keyring.generate()
        cipher = FieldCipher(ring, max_messages=3)
        tokens = [cipher.encrypt(str(number), context=CONTEXT) for number in range(3)]
        for _ in range(2):
            with pytest.raises(Misconfigured, match=f"key {ring.primary} .* rotate the key ring") as caught:
                cipher.encrypt("more", context=CONTEXT)
        assert caught.value.code == "config.key_used_up"
        assert [cipher.decrypt(token, context=CONTEXT) for token in tokens] == ["0", "1", "2"]
        rotated = FieldCipher(ring.rotate(), max_messages=3)
        assert rotated.decrypt(rotated.encrypt("more", context=CONTEXT), context=CONTEXT) == "more"

    def test_every_cipher_of_one_key_counts_together(self, tmp_path):
        ring = Keyring.generate()
        ring.save(tmp_path / "ring.json")
        one, two = (
            FieldCipher(ring, max_messages=3),
            FieldCipher(Keyring.load(tmp_path / "ring.json"), max_messages=3),
        )
        one.encrypt("1", context=CONTEXT)
        two.encrypt_bytes(b"2", context=CONTEXT)
        one.bind("a").encrypt("3", 1)
        with pytest.raises(Misconfigured, match="encrypted 3 messages"):
            two.encrypt("4", context=CONTEXT)

    def test_the_default_bound_is_the_one_of_nist(self, cipher, monkeypatch):
        ring = Keyring.generate()
        monkeypatch.setattr(cipher_module, "count", lambda: itertools.count(2**32 - 1))
        cipher = FieldCipher(ring)
        cipher.encrypt("the last", context=CONTEXT)
        with pytest.raises(Misconfigured, match="encrypted 4294967296 messages"):
            cipher.encrypt("one more", context=CONTEXT)

    def test_threads_never_pass_the_bound(self):
        cipher = FieldCipher(Keyring.generate(), max_messages=500)
        made, refused = [], []

        def work():
            for _ in range(100):
                try:
                    made.append(cipher.encrypt("x", context=CONTEXT))
                except Misconfigured:
                    refused.append(1)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (len(set(made)), len(refused)) == (500, 300)

    def test_a_forked_child_draws_other_nonces(self):
        cipher = FieldCipher(Keyring.generate())
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(write, cipher.encrypt("x", context=CONTEXT).encode())
            os._exit(0)
        os.waitpid(child, 0)
        token = os.read(read, 1000).decode()
        os.close(read)
        os.close(write)
        assert token != cipher.encrypt("x", context=CONTEXT)
        assert cipher.decrypt(token, context=CONTEXT) == "x"
