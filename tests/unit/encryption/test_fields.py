"""Encrypted fields of pydantic models."""

from __future__ import annotations

import copy
import json
import pickle
import subprocess
import sys
import threading
from typing import Annotated, Optional

import pytest
from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic.errors import PydanticSchemaGenerationError
from pydantic_core import PydanticSerializationError

from aisecure.encryption import Encrypted, FieldCipher, Keyring, using_cipher
from aisecure.errors import DecryptionError, Misconfigured

Note = Annotated[Encrypted[str], "a note"]


class Patient(BaseModel):
    name: str
    notes: Encrypted[str]
    allergy: Optional[Encrypted[str]] = None  # noqa: UP045  (the old spelling is as common)
    visits: list[Encrypted[str]] = []
    contacts: dict[str, Encrypted[str]] = {}


class Doctor(BaseModel):
    name: str
    notes: Encrypted[str]


class Ward(BaseModel):
    patient: Patient


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture
def ada():
    return Patient(
        name="Ada", notes="secret note", allergy="secret nut", visits=["secret v"], contacts={"a": "secret c"}
    )


def test_json_holds_tokens_and_reads_back(cipher, ada):
    with using_cipher(cipher):
        text = ada.model_dump_json()
        assert "secret" not in text
        assert Patient.model_validate_json(text) == ada
    assert cipher.decrypt(json.loads(text)["notes"], context=("Patient", "notes")) == "secret note"


def test_the_cipher_may_come_with_the_call(cipher, ada):
    text = ada.model_dump_json(context={"cipher": cipher})
    assert Patient.model_validate_json(text, context={"cipher": cipher}) == ada


def test_a_nested_model_keeps_its_own_name(cipher, ada):
    with using_cipher(cipher):
        ward = Ward.model_validate_json(Ward(patient=ada).model_dump_json())
        assert ward.patient == ada
        token = json.loads(Ward(patient=ada).model_dump_json())["patient"]["notes"]
        assert Patient.model_validate_json(json.dumps({"name": "Ada", "notes": token})).notes == ada.notes


def test_in_memory_the_value_is_plain_and_every_print_hides_it(ada):
    assert ada.notes.get_secret_value() == "secret note"
    shown = f"{ada} {ada!r} {ada.notes} {ada.notes!r} {ada.notes!s:>20} {ada.model_dump()}"
    assert "secret" not in shown
    assert ada.model_dump()["notes"] is ada.notes


def test_values_compare_hash_and_copy_and_do_not_leave_by_pickle(ada):
    assert ada.notes == Encrypted("secret note") != Encrypted("other")
    assert ada.notes != "secret note"
    assert len({ada.notes, Encrypted("secret note")}) == 1
    assert copy.deepcopy(ada) == ada == ada.model_copy(deep=True) == copy.copy(ada)
    assert copy.copy(ada.notes) is ada.notes
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ada)


def test_an_absent_optional_field_stays_null(cipher):
    with using_cipher(cipher):
        text = Patient(name="Ada", notes="x").model_dump_json()
        assert json.loads(text)["allergy"] is None
        assert Patient.model_validate_json(text).allergy is None


def test_without_a_cipher_reading_and_writing_say_what_to_do(cipher, ada):
    with pytest.raises(
        PydanticSerializationError, match="no cipher is active: wrap the call in using_cipher"
    ):
        ada.model_dump_json()
    with pytest.raises(Misconfigured, match="no cipher is active") as caught:
        Patient.model_validate_json('{"name": "Ada", "notes": "x"}')
    assert caught.value.code == "config.no_cipher"


def test_using_cipher_ends_with_its_block_and_nests(cipher, ada):
    other = FieldCipher(Keyring.generate())
    with using_cipher(other):
        with using_cipher(cipher):
            text = ada.model_dump_json()
        with pytest.raises(DecryptionError):
            Patient.model_validate_json(text)
    with pytest.raises(Misconfigured):
        Patient.model_validate_json(text)


def test_a_token_of_another_field_or_model_does_not_open(cipher, ada):
    with using_cipher(cipher):
        row = json.loads(ada.model_dump_json())
        with pytest.raises(DecryptionError):
            Patient.model_validate_json(json.dumps({"name": "Ada", "notes": row["allergy"]}))
        with pytest.raises(DecryptionError):
            Doctor.model_validate_json(json.dumps({"name": "Ada", "notes": row["notes"]}))


def test_plaintext_in_json_does_not_pass_for_a_token(cipher):
    with using_cipher(cipher), pytest.raises(DecryptionError):
        Patient.model_validate_json('{"name": "Ada", "notes": "plain"}')


def test_rows_with_tokens_are_read_when_said_so(cipher, ada):
    row = ada.model_dump(mode="json", context={"cipher": cipher})
    assert Patient.model_validate(row, context={"cipher": cipher, "stored": True}) == ada


def test_a_token_sent_as_plaintext_is_refused_and_not_decrypted(cipher, ada):
    with using_cipher(cipher):
        row = json.loads(ada.model_dump_json())
        with pytest.raises(ValidationError, match="token where plaintext belongs"):
            Patient.model_validate(row)


def test_a_token_that_slipped_in_without_a_cipher_is_not_encrypted_twice(cipher, ada):
    row = ada.model_dump(mode="json", context={"cipher": cipher})
    slipped = Patient.model_validate(row)
    with using_cipher(cipher), pytest.raises(PydanticSerializationError, match="is a token already"):
        slipped.model_dump_json()


def test_a_text_assigned_without_validation_is_encrypted_all_the_same(cipher, ada):
    ada.notes = "assigned"
    with using_cipher(cipher):
        assert Patient.model_validate_json(ada.model_dump_json()).notes == Encrypted("assigned")
        ada.notes = 5
        with pytest.raises(PydanticSerializationError, match="not int"):
            ada.model_dump_json()


@pytest.mark.parametrize(
    "value", [78051120, b"secret", ["secret"], None, "secret\ud800", Encrypted(78051120)],
    ids=["number", "bytes", "list", "None", "surrogate", "wrapped number"],
)  # fmt: skip
def test_a_value_that_is_no_text_is_refused_and_not_quoted(value):
    with pytest.raises(ValidationError) as caught:
        Patient(name="Ada", notes=value)
    told = f"{caught.value} {caught.value.errors()} {caught.value.json()}"
    assert "78051120" not in told
    assert "secret" not in told
    assert [error["loc"] for error in caught.value.errors()] == [("notes",)]


def test_a_title_keeps_tokens_readable_when_the_class_is_renamed(cipher):
    class Before(BaseModel):
        model_config = ConfigDict(title="patients")
        notes: Encrypted[str]

    class After(BaseModel):
        model_config = ConfigDict(title="patients")
        notes: Encrypted[str]

    with using_cipher(cipher):
        assert After.model_validate_json(Before(notes="x").model_dump_json()).notes == Encrypted("x")


def test_inherited_fields_belong_to_the_class_that_is_used(cipher):
    class Child(Doctor):
        pass

    with using_cipher(cipher):
        text = Child(name="A", notes="x").model_dump_json()
        assert Child.model_validate_json(text).notes == Encrypted("x")
        with pytest.raises(DecryptionError):
            Doctor.model_validate_json(text)


def test_an_alias_of_the_type_keeps_the_names_of_its_fields(cipher):

    class Visit(BaseModel):
        first: Note
        second: Note

    with using_cipher(cipher):
        row = json.loads(Visit(first="1", second="2").model_dump_json())
        assert Visit.model_validate_json(json.dumps(row)).second == Encrypted("2")
        with pytest.raises(DecryptionError):
            Visit.model_validate_json(json.dumps({"first": row["second"], "second": row["first"]}))


def test_dataclasses_have_encrypted_fields_too(cipher):
    @dataclass
    class Visit:
        notes: Encrypted[str]

    adapter = TypeAdapter(Visit)
    with using_cipher(cipher):
        text = adapter.dump_json(Visit(notes="x"))
        assert adapter.validate_json(text) == Visit(notes="x")
        assert cipher.decrypt(json.loads(text)["notes"], context=("Visit", "notes")) == "x"


def test_outside_of_a_field_a_place_is_needed(cipher):
    with using_cipher(cipher):
        with pytest.raises(TypeError, match="belongs in a field of a model"):
            TypeAdapter(Encrypted[str]).validate_python("x")
        with pytest.raises(PydanticSerializationError, match="belongs in a field of a model"):
            TypeAdapter(Encrypted[str]).dump_json(Encrypted("x"))


def test_types_that_would_be_lost_are_refused_at_definition():
    with pytest.raises(TypeError, match="takes one type"):
        type("Bad", (BaseModel,), {"__annotations__": {"age": Encrypted}})
    with pytest.raises(TypeError, match="SecretStr is written to JSON as asterisks"):
        type("Bad", (BaseModel,), {"__annotations__": {"age": Encrypted[list[SecretStr]]}})
    with pytest.raises(PydanticSchemaGenerationError):
        type("Bad", (BaseModel,), {"__annotations__": {"age": Encrypted[threading.Lock().__class__]}})


def test_the_json_schema_is_a_hidden_text():
    for mode in ("validation", "serialization"):
        schema = Doctor.model_json_schema(mode=mode)["properties"]["notes"]
        assert schema == {"title": "Notes", "type": "string", "format": "password"}


def test_a_cipher_of_the_users_own_will_do(ada):
    class Reversed:
        def encrypt(self, plaintext, *, context=()):
            return plaintext[::-1]

        def decrypt(self, token, *, context=()):
            return token[::-1]

    with using_cipher(Reversed()):
        assert Patient.model_validate_json(ada.model_dump_json()) == ada


def test_cipher_and_key_ring_load_no_pydantic():
    code = (
        "import sys; from aisecure.encryption import FieldCipher, Keyring; print('pydantic' in sys.modules)"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "False\n"
