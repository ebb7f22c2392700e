"""Tokens: round trips, places, damage, limits."""

from __future__ import annotations

import base64
import itertools
import json
import os
import threading
from collections import Counter
from enum import Enum, IntEnum, StrEnum
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.encryption import FieldCipher, KeyFile, Keyring, datakeys
from aisecure.encryption.cipher import MAX_BYTES, key_id_of
from aisecure.encryption.context import encode_context
from aisecure.encryption.datakeys import LARGE_BYTES, MAX_MESSAGES
from aisecure.encryption.keyring import Key
from aisecure.errors import DecryptionError, Misconfigured

FOLDER = Path(__file__).parents[2] / "vectors"
VECTORS = json.loads((FOLDER / "field_tokens_v1.json").read_text())
VECTORS_2 = json.loads((FOLDER / "field_tokens_v2.json").read_text())
CONTEXT = ("patients", "notes", 42)


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate().rotate())


def _ring(data):
    keys = tuple(Key(bytes.fromhex(key["id"]), bytes.fromhex(key["key_hex"]), 0) for key in data["keys"])
    return Keyring(keys, bytes.fromhex(data["primary"]))


@pytest.fixture(scope="module")
def published():
    return FieldCipher(_ring(VECTORS))


@pytest.fixture(scope="module")
def published_2():
    return {name: FieldCipher(_ring(data)) for name, data in VECTORS_2["rings"].items()}


@pytest.fixture(scope="module")
def subject():
    key = Key(os.urandom(16), os.urandom(32), 0)
    return FieldCipher(Keyring((key,), key.id))


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

    @pytest.mark.parametrize(
        "case", VECTORS_2["tests"], ids=lambda case: f"{case['id']}-{case['ring']}-{case['comment']}"
    )
    def test_versions_2_and_3(self, published_2, case):
        cipher, context = published_2[case["ring"]], tuple(case["context"])
        if case["result"] == "valid":
            plaintext = bytes.fromhex(case["plaintext_hex"])
            assert cipher.decrypt(case["token"], context=context) == plaintext.decode()
            assert cipher.decrypt_bytes(base64.b64decode(case["token"]), context=context) == plaintext
            assert cipher.recognises(case["token"])
        else:
            with pytest.raises(DecryptionError):
                cipher.decrypt(case["token"], context=context)


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
        assert {base64.b64decode(token)[:5].hex() for token in tokens} == {"02" + cipher.keyring.primary}

    @pytest.mark.parametrize("kind", ["cipher", "subject"])
    def test_every_flipped_bit_is_found(self, kind, request):
        cipher = request.getfixturevalue(kind)
        token = base64.b64decode(cipher.encrypt("ssn 078-05-1120", context=CONTEXT))
        for index, bit in itertools.product(range(len(token)), range(8)):
            bad = bytearray(token)
            bad[index] ^= 1 << bit
            with pytest.raises(DecryptionError):
                cipher.decrypt(base64.b64encode(bad).decode(), context=CONTEXT)
            with pytest.raises(DecryptionError):
                cipher.decrypt_bytes(bytes(bad), context=CONTEXT)

    def test_every_changed_character_every_cut_and_extension_is_found(self, cipher):
        token = cipher.encrypt("12345", context=CONTEXT)
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
        with pytest.raises(TypeError, match="takes a Keyring or a KeyFile, not bytes"):
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


def _salt(token):
    return base64.b64decode(token)[5:13]


class TestDataKeys:
    def test_ciphers_of_one_ring_work_under_different_data_keys_and_read_each_other(self):
        ring = Keyring.generate()
        one, two = FieldCipher(ring), FieldCipher(ring)
        token = one.encrypt("x", context=CONTEXT)
        assert _salt(token) != _salt(two.encrypt("x", context=CONTEXT))
        assert _salt(token) == _salt(one.encrypt("y", context=("other",)))
        assert two.decrypt(token, context=CONTEXT) == "x"

    def test_a_key_of_the_ring_never_encrypts_itself(self):
        ring = Keyring.generate()
        data = base64.b64decode(FieldCipher(ring).encrypt("x", context=CONTEXT))
        for place in (encode_context(CONTEXT), data[:5] + encode_context(CONTEXT)):
            with pytest.raises(InvalidTag):
                AESGCM(ring.primary_key.secret).decrypt(data[13:25], data[25:], place)

    def test_a_data_key_takes_so_many_messages_and_the_next_follows(self):
        cipher = FieldCipher(Keyring.generate(), max_messages=3)
        tokens = [cipher.encrypt(str(number), context=CONTEXT) for number in range(8)]
        assert [len([*group]) for _, group in itertools.groupby(map(_salt, tokens))] == [3, 3, 2]
        assert [cipher.decrypt(token, context=CONTEXT) for token in tokens] == [*"01234567"]

    def test_the_default_bound_is_far_below_the_one_of_nist(self, monkeypatch):
        assert MAX_MESSAGES == 2**24 <= 2**32 / 256
        cipher = FieldCipher(Keyring.generate())
        monkeypatch.setattr(cipher._keys.sealing, "use", iter(range(2**24 - 1, cipher._keys.limit)).__next__)
        last, first = (cipher.encrypt("x", context=CONTEXT) for _ in range(2))
        assert _salt(last) != _salt(first)

    def test_both_forms_and_every_bound_cipher_count_together(self):
        cipher = FieldCipher(Keyring.generate(), max_messages=3)
        salts = [_salt(cipher.encrypt("1", context=CONTEXT)), cipher.encrypt_bytes(b"2", context=CONTEXT)[5:13],
                 _salt(cipher.bind("a").encrypt("3", 1)), cipher.bind("b").encrypt_bytes(b"4")[5:13]]  # fmt: skip
        assert salts[0] == salts[1] == salts[2] != salts[3]

    def test_threads_never_pass_the_bound(self):
        cipher = FieldCipher(Keyring.generate(), max_messages=50)
        made = []

        def work():
            made.extend([cipher.encrypt("x", context=CONTEXT) for _ in range(100)])

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 800
        assert max(Counter(map(_salt, made)).values()) <= 50
        assert {cipher.decrypt(token, context=CONTEXT) for token in made} == {"x"}

    def test_a_large_message_has_a_data_key_for_itself(self, cipher):
        large = [cipher.encrypt("x" * (LARGE_BYTES + 1), context=CONTEXT) for _ in range(2)]
        small = cipher.encrypt("x" * LARGE_BYTES, context=CONTEXT)
        assert len({_salt(token) for token in (*large, small)}) == 3
        assert _salt(small) == _salt(cipher.encrypt("x", context=CONTEXT))
        assert all(len(cipher.decrypt(token, context=CONTEXT)) > LARGE_BYTES for token in large)

    def test_data_keys_of_many_processes_are_kept_within_a_bound(self, monkeypatch):
        monkeypatch.setattr(datakeys, "_KEPT", 10)
        ring = Keyring.generate()
        tokens = [FieldCipher(ring).encrypt(str(number), context=CONTEXT) for number in range(50)]
        cipher = FieldCipher(ring)
        for _ in range(2):
            assert [cipher.decrypt(token, context=CONTEXT) for token in tokens] == [*map(str, range(50))]
        assert len(cipher._keys.opening) == 10
        with pytest.raises(DecryptionError):
            cipher.decrypt(tokens[0], context=("elsewhere",))

    def test_a_forged_token_takes_no_room_among_the_kept_keys(self, cipher):
        before = len(cipher._keys.opening)
        for _ in range(20):
            forged = b"\x02" + cipher.keyring.primary_key.id + os.urandom(60)
            with pytest.raises(DecryptionError):
                cipher.decrypt_bytes(forged, context=CONTEXT)
        assert len(cipher._keys.opening) == before

    def test_a_forked_child_works_under_a_data_key_of_its_own(self):
        cipher = FieldCipher(Keyring.generate())
        bound = cipher.bind("patients", "notes")
        before = cipher.encrypt("x", context=CONTEXT)
        read, write = os.pipe()
        child = os.fork()
        if not child:
            os.write(
                write, "\n".join([cipher.encrypt("x", context=CONTEXT), bound.encrypt("x", 42)]).encode()
            )
            os._exit(0)
        os.close(write)
        with open(read) as pipe:
            tokens = pipe.read().split("\n")
        os.waitpid(child, 0)
        assert (
            _salt(tokens[0])
            == _salt(tokens[1])
            != _salt(before)
            == _salt(cipher.encrypt("x", context=CONTEXT))
        )
        assert [cipher.decrypt(token, context=CONTEXT) for token in tokens] == ["x", "x"]


class TestRings:
    def test_old_and_version_1_tokens_are_not_current_and_are_brought_up_to_date(self, published):
        ring = Keyring.generate()
        old, new = FieldCipher(ring), FieldCipher(ring.rotate())
        token, data = old.encrypt("x", context=CONTEXT), old.encrypt_bytes(b"x", context=CONTEXT)
        assert old.is_current(token)
        assert old.is_current(data)
        for stale in (token, data):
            assert not new.is_current(stale)
            fresh = new.reencrypt(stale, context=CONTEXT)
            assert new.is_current(fresh)
            with pytest.raises(DecryptionError):
                new.reencrypt(stale, context=("elsewhere",))
        version_1 = next(case["token"] for case in VECTORS["tests"] if case["result"] == "valid")
        assert not published.is_current(version_1)
        assert published.is_current(published.reencrypt(version_1, context=CONTEXT))

    def test_a_retired_key_opens_nothing_until_it_is_reinstated(self):
        ring = Keyring.generate()
        token = FieldCipher(ring).encrypt("x", context=CONTEXT)
        retired = ring.rotate().retire(ring.primary)
        with pytest.raises(DecryptionError):
            FieldCipher(retired).decrypt(token, context=CONTEXT)
        assert FieldCipher(retired).recognises(token)
        assert FieldCipher(retired.reinstate(ring.primary)).decrypt(token, context=CONTEXT) == "x"
        destroyed = FieldCipher(retired.destroy(ring.primary))
        with pytest.raises(DecryptionError):
            destroyed.decrypt(token, context=CONTEXT)
        assert destroyed.recognises(token)

    def test_a_token_tells_the_id_of_its_key(self, cipher, subject):
        for one in (cipher, subject):
            key_id = one.keyring.primary_key.id
            assert key_id_of(one.encrypt("x")) == key_id_of(one.encrypt_bytes(b"x")) == key_id
        assert len(key_id_of(subject.encrypt("x"))) == 16

    @pytest.mark.parametrize("junk", ["", "junk", "AAAA", b"", b"\x02short", b"\x09" + bytes(60), "é" * 60])
    def test_what_has_not_the_form_of_a_token_names_no_key(self, cipher, junk):
        with pytest.raises(DecryptionError):
            key_id_of(junk)
        assert not cipher.recognises(junk)
        assert not cipher.is_current(junk)

    def test_no_key_opens_the_other_kind_of_token(self, cipher, subject):
        for one, two in ((cipher, subject), (subject, cipher)):
            with pytest.raises(DecryptionError):
                two.decrypt(one.encrypt("x", context=CONTEXT), context=CONTEXT)

    def test_contexts_that_are_equal_for_python_are_not_mixed_up(self, cipher):
        token = cipher.encrypt("x", context=("t", 1, "r"))
        assert cipher.encrypt("x", context=("t", "1", "r"))
        for context in (("t", True, "r"), ("t", 1.0, "r")):
            with pytest.raises(TypeError):
                cipher.decrypt(token, context=context)

    def test_remembered_places_are_bounded(self):
        cipher = FieldCipher(Keyring.generate())
        tokens = [cipher.encrypt(str(n), context=("t", str(n), n)) for n in range(3000)]
        assert len(cipher._columns) <= 1024
        assert all(cipher.decrypt(t, context=("t", str(n), n)) == str(n) for n, t in enumerate(tokens))


class TestKeyFiles:
    def test_a_running_cipher_takes_over_what_another_object_changed(self, tmp_path):
        file = KeyFile(tmp_path / "ring.json", poll_seconds=1e-9)
        file.open()
        cipher = FieldCipher(file)
        token = cipher.encrypt("x", context=CONTEXT)
        old = cipher.keyring.primary
        other = KeyFile(tmp_path / "ring.json")
        other.rotate()
        assert not cipher.is_current(token)
        assert cipher.decrypt(token, context=CONTEXT) == "x"
        other.retire(old)
        with pytest.raises(DecryptionError):
            cipher.decrypt(token, context=CONTEXT)
        other.reinstate(old)
        assert cipher.decrypt(token, context=CONTEXT) == "x"

    def test_a_change_through_its_own_key_file_takes_effect_at_once(self, tmp_path):
        file = KeyFile(tmp_path / "ring.json", poll_seconds=3600)
        file.open()
        cipher = FieldCipher(file)
        bound = cipher.bind("patients", "notes")
        token = cipher.encrypt("x", context=CONTEXT)
        old = cipher.keyring.primary
        file.rotate()
        assert not cipher.is_current(token)
        assert cipher.is_current(bound.encrypt("x", 42))
        file.retire(old)
        for use in (lambda: cipher.decrypt(token, context=CONTEXT), lambda: bound.decrypt(token, 42)):
            with pytest.raises(DecryptionError):
                use()

    def test_a_ring_that_cannot_be_had_stops_all_work(self, tmp_path):
        file = KeyFile(tmp_path / "ring.json", poll_seconds=1e-9)
        file.open()
        cipher = FieldCipher(file)
        token, data = cipher.encrypt("x", context=CONTEXT), cipher.encrypt_bytes(b"x", context=CONTEXT)
        good = file.path.read_bytes()
        file.path.write_bytes(b"junk")
        for use in (
            lambda: cipher.encrypt("x", context=CONTEXT), lambda: cipher.decrypt(token, context=CONTEXT),
            lambda: cipher.encrypt_bytes(b"x", context=CONTEXT), lambda: cipher.decrypt_bytes(data, context=CONTEXT),
            lambda: cipher.keyring, lambda: cipher.is_current(token),
        ):  # fmt: skip
            with pytest.raises(Misconfigured, match=r"ring\.json"):
                use()
        file.path.write_bytes(good)
        assert cipher.decrypt(token, context=CONTEXT) == "x"
