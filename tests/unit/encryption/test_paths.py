"""Encrypted values inside of dictionaries, lists and dataclasses."""

from __future__ import annotations

import copy
import datetime as dt
import json
import subprocess
import sys
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

import pytest

from aisecure.encryption import FieldCipher, FieldPaths, Keyring, decrypt_paths, encrypt_paths, paths
from aisecure.errors import DecryptionError

CONTEXT = ("records", 42)
SECRET = "canary-78051120"


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture
def record():
    return {
        "id": 42,
        "patient": {"ssn": SECRET, "name": "Ada"},
        "visits": [{"day": 1, "notes": "a"}, {"day": 2, "notes": {"x": [1, None, 0.5, True]}}],
        "contacts": {"ada@example.org": {"phone": "+1"}, "b": {"phone": 5}},
        "pair": ("x", "y"),
    }


ALL = ["patient.ssn", "visits[*].notes", "contacts.*.phone", "pair[1]"]


def test_decrypting_gives_back_what_was_encrypted_and_the_input_stays_as_it_was(cipher, record):
    before = copy.deepcopy(record)
    stored = encrypt_paths(record, cipher, paths=ALL, context=CONTEXT)
    assert record == before
    kept = copy.deepcopy(stored)
    assert decrypt_paths(stored, cipher, paths=ALL, context=CONTEXT) == record
    assert stored == kept
    assert stored["patient"]["name"] == "Ada"
    assert type(stored["pair"]) is tuple
    tokens = [
        stored["patient"]["ssn"], *(visit["notes"] for visit in stored["visits"]),
        *(contact["phone"] for contact in stored["contacts"].values()), stored["pair"][1],
    ]  # fmt: skip
    assert all(map(cipher.recognises, tokens))
    assert json.loads(json.dumps(stored))["patient"] == stored["patient"]


@pytest.mark.parametrize(
    "value", ["", "text", "\x00", 0, -1, 2**100, 0.1, float("inf"), True, None, [], {}, [[]], {"": {"a": [None]}}],
    ids=repr,
)  # fmt: skip
def test_any_json_value_comes_back_with_its_type(cipher, value):
    stored = encrypt_paths({"a": value}, cipher, paths=["a"])
    (again,) = decrypt_paths(stored, cipher, paths=["a"]).values()
    assert again == value
    assert type(again) is type(value)


def test_a_token_opens_at_its_own_place_in_its_own_record_only(cipher):
    both = FieldPaths(["a", "b[*]"])
    stored = both.encrypt({"a": 1, "b": [1, 2]}, cipher, context=CONTEXT)
    for changed in ({"a": stored["b"][0]}, {"b": stored["b"][::-1]}, {"b": [stored["a"], stored["b"][1]]}):
        with pytest.raises(DecryptionError):
            both.decrypt(stored | changed, cipher, context=CONTEXT)
    with pytest.raises(DecryptionError):
        both.decrypt(stored, cipher, context=("records", 43))


def test_a_word_may_not_move_from_the_context_into_the_path(cipher):
    stored = encrypt_paths({"path": {"a": 1}}, cipher, paths=["path.a"], context=("r",))
    with pytest.raises(DecryptionError):
        decrypt_paths({"a": stored["path"]["a"]}, cipher, paths=["a"], context=("r", "path"))


def test_a_key_and_an_index_of_one_spelling_are_two_places(cipher):
    stored = encrypt_paths({"a": ["x"]}, cipher, paths=["a[0]"])
    with pytest.raises(DecryptionError):
        decrypt_paths({"a": {"0": stored["a"][0]}}, cipher, paths=["a.0"])


def test_a_token_of_a_text_field_is_not_read_as_json(cipher):
    token = cipher.encrypt("42", context=("records", "a"))
    with pytest.raises(DecryptionError):
        decrypt_paths({"a": token}, cipher, paths=["a"], context=("records",))


@pytest.mark.parametrize("value", ["plain", "", 5, None, ["x"], "AgAA"])
def test_plaintext_where_a_token_belongs_is_not_taken(cipher, value):
    with pytest.raises(DecryptionError):
        decrypt_paths({"a": value}, cipher, paths=["a"])


def test_encrypting_twice_is_refused(cipher, record):
    stored = encrypt_paths(record, cipher, paths=ALL)
    with pytest.raises(ValueError, match=r"'patient\.ssn': the value is a token already"):
        encrypt_paths(stored, cipher, paths=ALL)


# Missing paths


@pytest.mark.parametrize("path", ["patient.snn", "x", "visits[7].notes", "visits[*].note", "pair[2]"])
def test_a_path_that_leads_nowhere_is_an_error_unless_said_otherwise(cipher, record, path):
    with pytest.raises(ValueError, match="leads nowhere, so nothing was done"):
        encrypt_paths(record, cipher, paths=[path])
    with pytest.raises(ValueError, match="leads nowhere"):
        decrypt_paths(record, cipher, paths=[path])
    assert encrypt_paths(record, cipher, paths=[path], missing_ok=True) == record


@pytest.mark.parametrize("data", [{"a": []}, {"a": None}, {"a": ()}, {"a": {}}], ids=str)
def test_where_nothing_is_there_is_nothing_to_miss(cipher, data):
    path = ("a", ...)
    assert encrypt_paths(data, cipher, paths=[path]) == data


def test_some_elements_may_lack_a_field(cipher):
    data = {"a": [{"n": 1}, {}, None]}
    stored = encrypt_paths(data, cipher, paths=["a[*].n"])
    assert stored["a"][1:] == [{}, None]
    assert decrypt_paths(stored, cipher, paths=["a[*].n"]) == data


@pytest.mark.parametrize(
    ("data", "path"),
    [({"patient": SECRET}, "patient.ssn"), ({"patient": 5}, "patient.ssn"), ([SECRET], "patient"), ({"a": 1}, "[*]"),
     (SECRET, "a"), (b"x", "[0]"), ({SECRET, "b"}, "[*]"), ({"a": {SECRET}}, "a[0]")],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("missing_ok", [False, True])
def test_data_of_another_shape_is_refused_even_where_paths_may_be_missing(cipher, data, path, missing_ok):
    with pytest.raises(TypeError) as caught:
        encrypt_paths(data, cipher, paths=[path], missing_ok=missing_ok)
    assert SECRET not in str(caught.value)


# The syntax of paths


@pytest.mark.parametrize(
    ("path", "data"),
    [(r"a\.b", {"a.b": 1}), (("a.b",), {"a.b": 1}), (r"\*", {"*": 1}), (("*",), {"*": 1}), (r"a\[0\]", {"a[0]": 1}),
     (r"a\\b", {"a\\b": 1}), ("[0]", [1]), ("[*][1]", [[0, 1]]), ("*.*", {"a": {"b": 1}}), (("a", 0, "b"), {"a": [{"b": 1}]}),
     ((..., ...), {"a": [1]}), ("é ü", {"é ü": 1}), ("a[0].b[0]", {"a": [{"b": [1]}]}), (("",), {"": 1})],
    ids=str,
)  # fmt: skip
def test_paths_are_names_indexes_and_wildcards(cipher, path, data):
    compiled = FieldPaths([path])
    stored = compiled.encrypt(data, cipher)
    assert stored != data
    assert compiled.decrypt(stored, cipher) == data


@pytest.mark.parametrize(
    "path", ["", ".", "a.", ".a", "a..b", "a[", "a[]", "a[-1]", "a[x]", "a]", "a\\", "a[0]b", "[*]a", "a.[0]"]
)
def test_a_path_that_cannot_be_read_is_told(path):
    with pytest.raises(ValueError, match="cannot be read at character"):
        FieldPaths([path])


@pytest.mark.parametrize(
    ("given", "error"),
    [("patient.ssn", TypeError), ([], ValueError), ([5], TypeError), ([()], TypeError), ([("a", True)], TypeError),
     ([("a", -1)], ValueError), ([None], TypeError), (["a"] * 2, ValueError), (["a", "a.b"], ValueError),
     (["a.b", "*"], ValueError), (["a[*].x", "a[0].x"], ValueError), ([("a", ...), "a.b"], ValueError),
     ([".".join("a" * 500)], ValueError)],
    ids=lambda part: str(part)[:30],
)  # fmt: skip
def test_paths_that_mean_nothing_or_overlap_are_refused(given, error):
    with pytest.raises(error):
        FieldPaths(given)


def test_paths_that_share_a_beginning_go_along_together(cipher):
    data = {"a": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
    both = FieldPaths(["a[*].x", "a[1].y"])
    stored = both.encrypt(data, cipher)
    assert stored["a"][0]["y"] == 2
    assert both.decrypt(stored, cipher) == data
    assert repr(both) == "FieldPaths(['a[*].x', 'a[1].y'], missing_ok=False)"


def test_a_path_of_a_megabyte_is_read_or_refused_in_linear_time():
    for path in ("[" * 1_000_000, "a" * 1_000_000 + "[", "\\" * 1_000_001):
        with pytest.raises(ValueError, match="cannot be read"):
            FieldPaths([path])


# Dataclasses and other containers


@dataclass(frozen=True, slots=True)
class Visit:
    day: int
    notes: str


@dataclass
class Patient:
    name: str
    visits: list[Visit]
    other: Visit | None = None
    seen: dict[str, Visit] = field(default_factory=dict)


def test_a_dataclass_becomes_a_dictionary_with_all_dataclasses_in_it(cipher):
    patient = Patient("Ada", [Visit(1, "a")], Visit(2, "b"), {"x": Visit(3, "c")})
    sensitive = FieldPaths(["visits[*].notes", "other.notes"])
    stored = sensitive.encrypt(patient, cipher)
    assert stored["seen"] == {"x": {"day": 3, "notes": "c"}}
    assert patient == Patient("Ada", [Visit(1, "a")], Visit(2, "b"), {"x": Visit(3, "c")})
    assert sensitive.decrypt(stored, cipher) == {
        "name": "Ada", "visits": [{"day": 1, "notes": "a"}], "other": {"day": 2, "notes": "b"},
        "seen": {"x": {"day": 3, "notes": "c"}},
    }  # fmt: skip


def test_a_dataclass_inside_of_data_becomes_a_dictionary_too(cipher):
    stored = encrypt_paths({"v": (Visit(1, "a"),)}, cipher, paths=["v[0].notes"])
    assert decrypt_paths(stored, cipher, paths=["v[0].notes"]) == {"v": ({"day": 1, "notes": "a"},)}


def test_a_dataclass_that_contains_itself_is_refused(cipher):
    patient = Patient("Ada", [])
    patient.visits.append(patient)
    with pytest.raises(ValueError, match="cyclic"):
        encrypt_paths(patient, cipher, paths=["name"])


def test_a_named_tuple_becomes_a_tuple(cipher):
    pair = NamedTuple("Pair", [("a", int), ("b", int)])(1, 2)
    assert decrypt_paths(encrypt_paths(pair, cipher, paths=["[0]"]), cipher, paths=["[0]"]) == (1, 2)


# Values that are no JSON


class Level(IntEnum):
    HIGH = 3


@pytest.mark.parametrize(
    "value",
    [b"x", {1, 2}, dt.date(2026, 1, 2), {1: 2}, {None: 1}, {"a": {True: 1}}, Level.HIGH, Visit(1, SECRET), object(), [1j]],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_what_would_not_come_back_the_same_is_refused(cipher, value):
    with pytest.raises(TypeError, match="path 'a'") as caught:
        encrypt_paths({"a": value}, cipher, paths=["a"])
    assert SECRET not in str(caught.value)


def test_cyclic_deep_and_endless_values_are_refused(cipher, monkeypatch):
    ring: list = []
    ring.append(ring)
    deep: list = []
    for _ in range(100_000):
        deep = [deep]
    wide: list = [1]
    for _ in range(60):
        wide = [wide, wide]
    monkeypatch.setattr(paths, "MAX_VALUES", 10_000)
    for value in (ring, deep, wide):
        with pytest.raises(ValueError, match="cyclic, nested deeper"):
            encrypt_paths({"a": value}, cipher, paths=["a"])
    while deep:
        deep = deep.pop()


def test_a_lone_surrogate_is_refused_in_value_and_key(cipher):
    with pytest.raises(ValueError, match="lone surrogate"):
        encrypt_paths({"a": "x\ud800"}, cipher, paths=["a"])
    with pytest.raises(ValueError, match="lone surrogate"):
        encrypt_paths({"\ud800": "x"}, cipher, paths=["*"])


def test_a_key_that_is_no_text_is_refused_on_the_way_and_left_alone_beside_it(cipher):
    with pytest.raises(TypeError, match="keys of JSON are texts"):
        encrypt_paths({"a": {1: "x"}}, cipher, paths=["a.*"])
    assert encrypt_paths({"a": "x", 1: 2}, cipher, paths=["a"])[1] == 2


def test_a_megabyte_comes_back(cipher):
    data = {"a": "x" * 1_000_000, "b": list(range(50_000))}
    assert decrypt_paths(encrypt_paths(data, cipher, paths=["a", "b"]), cipher, paths=["a", "b"]) == data


def test_a_cipher_of_the_users_own_will_do():
    class Reversed:
        def encrypt(self, plaintext, *, context=()):
            return plaintext[::-1]

        def decrypt(self, token, *, context=()):
            return token[::-1]

    stored = encrypt_paths({"a": [1, 2]}, Reversed(), paths=["a"])
    assert stored == {"a": "]2,1["}
    assert decrypt_paths(stored, Reversed(), paths=["a"]) == {"a": [1, 2]}


def test_paths_load_no_pydantic():
    code = "import sys; from aisecure.encryption import FieldPaths; print('pydantic' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
