"""Records whose encrypted fields travel in one envelope."""

from __future__ import annotations

import copy
import json
import pickle
import uuid
from typing import Annotated, Any, Generic, TypeVar

import pytest
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError
from typing_extensions import TypeAliasType

from aisecure.encryption import Encrypted, FieldCipher, Keyring, Place, SealedModel, using_cipher
from aisecure.errors import DecryptionError, Misconfigured

T = TypeVar("T")
SECRET = "canary-78051120"
ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


class Patient(SealedModel, place="patients", record=("tenant", "id")):
    tenant: str
    id: uuid.UUID
    notes: Encrypted[str]
    doses: Encrypted[list[float]] = Field(default_factory=lambda: Encrypted([]))
    allergy: Encrypted[str] | None = None
    name: str = "n"


class Ward(BaseModel):
    patients: list[Patient]


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


@pytest.fixture
def ada():
    return Patient(tenant="t", id=ONE, notes=SECRET, doses=[0.5], name="Ada")


def test_the_encrypted_fields_are_one_token_bound_to_the_record(cipher, ada):
    with using_cipher(cipher):
        text = ada.model_dump_json()
        assert Patient.model_validate_json(text) == ada
    row = json.loads(text)
    assert list(row) == ["tenant", "id", "name", "sealed"]
    context = ("patients", "sealed", "sealed", "t", str(ONE))
    assert json.loads(cipher.decrypt(row["sealed"], context=context)) == {
        "notes": SECRET, "doses": [0.5], "allergy": None,
    }  # fmt: skip


def test_an_envelope_of_another_record_tenant_or_model_does_not_open(cipher, ada):
    class Doctor(Patient, place="doctors"):
        pass

    with using_cipher(cipher):
        row = json.loads(ada.model_dump_json())
        other = json.loads(ada.model_copy(update={"id": TWO}).model_dump_json())
        for changed in (row | {"sealed": other["sealed"]}, row | {"tenant": "u"}, row | {"id": str(TWO)}):
            with pytest.raises(DecryptionError):
                Patient.model_validate_json(json.dumps(changed))
        with pytest.raises(DecryptionError):
            Doctor.model_validate_json(json.dumps(row))


def test_rows_are_read_when_said_so_and_the_record_may_be_spelt_otherwise(cipher, ada):
    row = ada.model_dump(mode="json", context={"cipher": cipher})
    row["id"] = ONE
    assert Patient.model_validate(row, context={"cipher": cipher, "stored": True}) == ada


def test_the_python_form_holds_the_values_by_name_and_makes_the_model_again(ada):
    data = ada.model_dump()
    assert data["sealed"] == {"notes": Encrypted(SECRET), "doses": Encrypted([0.5]), "allergy": None}
    assert SECRET not in repr(data)
    assert "notes" not in data
    assert Patient(**data) == ada == Patient.model_validate(data) == copy.deepcopy(ada) == ada.model_copy()
    assert Patient.model_validate(ada) is ada


def test_a_nested_model_is_sealed_for_itself(cipher, ada):
    with using_cipher(cipher):
        ward = Ward(patients=[ada, ada.model_copy(update={"id": TWO})])
        text = ward.model_dump_json()
        assert SECRET not in text
        assert Ward.model_validate_json(text) == ward


@pytest.mark.parametrize(
    ("change", "says"),
    [({"sealed": 5}, "sealed should be a token"), ({"sealed": None}, "sealed should be a token"),
     ({"notes": SECRET}, "Input has notes outside of sealed"), ({"id": "x"}, "bound to id")],
    ids=["number", "none", "in clear too", "record refused"],
)  # fmt: skip
def test_stored_rows_that_are_not_sealed_right_are_refused(cipher, ada, change, says):
    with using_cipher(cipher):
        row = json.loads(ada.model_dump_json()) | change
        with pytest.raises(ValidationError, match=says) as caught:
            Patient.model_validate_json(json.dumps(row))
    assert SECRET not in str(caught.value)


def test_a_stored_row_without_its_envelope_is_refused(cipher, ada):
    with using_cipher(cipher):
        row = json.loads(ada.model_dump_json())
        del row["sealed"]
        with pytest.raises(ValidationError, match="sealed should be a token"):
            Patient.model_validate_json(json.dumps(row))


@pytest.mark.parametrize("sealed", [5, {"notes": SECRET}, {"name": Encrypted(SECRET)}, "token"], ids=str)
def test_an_envelope_in_place_of_plaintext_is_refused(sealed):
    with pytest.raises(ValidationError, match="read stored rows with context stored=True") as caught:
        Patient.model_validate({"tenant": "t", "id": ONE, "sealed": sealed})
    assert SECRET not in str(caught.value)


def test_errors_of_other_fields_do_not_quote_the_input():
    with pytest.raises(ValidationError) as caught:
        Patient.model_validate({"tenant": "t", "notes": SECRET})
    assert SECRET not in str(caught.value)


def test_a_token_that_slipped_in_is_not_sealed_twice(cipher, ada):
    ada.notes = cipher.encrypt("x")
    with using_cipher(cipher), pytest.raises(PydanticSerializationError, match="notes: the value is a token"):
        ada.model_dump_json()


def test_a_value_assigned_without_validation_is_sealed_or_told(cipher, ada):
    with using_cipher(cipher):
        ada.notes = "assigned"
        assert Patient.model_validate_json(ada.model_dump_json()).notes == Encrypted("assigned")
        ada.doses = SECRET
        with pytest.raises(PydanticSerializationError) as caught:
            ada.model_dump_json()
    assert SECRET not in str(caught.value)


def test_without_a_cipher_reading_and_writing_say_what_to_do(ada):
    with pytest.raises(PydanticSerializationError, match="no cipher is active"):
        ada.model_dump_json()
    with pytest.raises(Misconfigured, match="no cipher is active"):
        Patient.model_validate_json(json.dumps({"tenant": "t", "id": str(ONE), "sealed": "x"}))


def test_fields_that_came_later_take_their_default_and_dropped_ones_are_passed_over(cipher):
    class Before(SealedModel, place="rows"):
        a: Encrypted[int]
        gone: Encrypted[int]

    class After(SealedModel, place="rows"):
        a: Encrypted[int]
        new: Encrypted[list[int]] = Field(default_factory=lambda: Encrypted([7]))

    class Needs(SealedModel, place="rows"):
        a: Encrypted[int]
        new: Encrypted[int]

    with using_cipher(cipher):
        text = Before(a=1, gone=2).model_dump_json()
        assert After.model_validate_json(text) == After(a=1, new=[7])
        with pytest.raises(ValidationError, match="sealed without this field") as caught:
            Needs.model_validate_json(text)
    assert caught.value.errors()[0]["loc"] == ("new",)


def test_what_was_sealed_and_fits_no_longer_is_told_without_the_value(cipher):
    class Before(SealedModel, place="rows"):
        a: Encrypted[str]

    class After(SealedModel, place="rows"):
        a: Encrypted[int]

    with using_cipher(cipher), pytest.raises(ValidationError, match="does not fit the type") as caught:
        After.model_validate_json(Before(a=SECRET).model_dump_json())
    assert SECRET not in f"{caught.value} {caught.value.errors()}"


def test_a_title_names_the_records_where_no_place_is_given(cipher):
    class Row(SealedModel):
        model_config = ConfigDict(title="rows", extra="forbid", frozen=True, validate_assignment=True)
        a: Encrypted[int]

    with using_cipher(cipher):
        row = json.loads(Row(a=1).model_dump_json())
        assert Row.model_validate_json(json.dumps(row)) == Row(a=1)
    assert cipher.decrypt(row["sealed"], context=("rows", "sealed", "sealed")) == '{"a":1}'


def test_infinite_numbers_and_bytes_come_back(cipher):
    class Row(SealedModel):
        any: Encrypted[Any]
        number: Encrypted[float]
        data: Encrypted[list[bytes]]

    row = Row(any=[float("inf")], number=float("-inf"), data=[b"\xff"])
    with using_cipher(cipher):
        assert Row.model_validate_json(row.model_dump_json()) == row


def test_validated_assignment_goes_on(cipher):
    class Row(SealedModel):
        model_config = ConfigDict(validate_assignment=True)
        a: Encrypted[int]

    row = Row(a=1)
    row.a = 2
    assert row.a == Encrypted(2)
    with pytest.raises(ValidationError):
        row.a = SECRET


def test_a_common_base_names_the_record_for_all(cipher):
    class Base(SealedModel, record="id"):
        id: int

    class Note(Base):
        text: Encrypted[str]

    class Box(Base, Generic[T]):
        value: Encrypted[T]

    with using_cipher(cipher):
        row = json.loads(Note(id=1, text="x").model_dump_json())
        assert Note.model_validate_json(json.dumps(row)).text == Encrypted("x")
        with pytest.raises(DecryptionError):
            Note.model_validate_json(json.dumps(row | {"id": 2}))
        assert Box[int].model_validate_json(Box[int](id=1, value=5).model_dump_json()).value == Encrypted(5)
        with pytest.raises(PydanticSerializationError, match="has no encrypted field"):
            Base(id=1).model_dump_json()


def test_models_that_contain_themselves_are_sealed_all_the_way(cipher):
    tree = Tree(name="a", part=Tree(name="b", parts=[Tree(name="c")]))
    with using_cipher(cipher):
        text = tree.model_dump_json()
        assert '"b"' not in text
        assert Tree.model_validate_json(text) == tree


class Tree(SealedModel):
    name: Encrypted[str]
    part: Encrypted[Tree] | None = None
    parts: Encrypted[list[Tree]] = Encrypted([])


@pytest.mark.parametrize(
    ("annotations", "says"),
    [({"notes": list[Encrypted[str]]}, "lists go inside"), ({"notes": TypeAliasType("Note", Encrypted[str])}, "lists go"), ({"notes": Encrypted[str] | int}, "lists go inside"),
     ({"notes": Annotated[Encrypted[str], Place("a", "b")]}, "keyword of the class"),
     ({"notes": Annotated[Encrypted[str], Field(alias="n")]}, "no alias"),
     ({"notes": Encrypted[str], "id": int}, "declare it before notes"), ({"notes": Encrypted[str]}, "declare it")],
    ids=["list", "alias of the type", "union", "place", "alias", "late record", "no record"],
)  # fmt: skip
def test_forms_that_an_envelope_has_no_place_for_are_refused_at_definition(annotations, says):
    with pytest.raises(TypeError, match=says):
        type(SealedModel)(
            "Bad", (SealedModel,), {"__annotations__": annotations, "__module__": __name__}, record="id"
        )


def test_the_json_schema_shows_the_envelope_and_not_what_is_in_it():
    for mode in ("validation", "serialization"):
        schema = Patient.model_json_schema(mode=mode)
        assert schema["properties"]["sealed"] == {"title": "Sealed", "type": "string", "format": "password"}
        assert not {"notes", "doses", "allergy"} & set(schema["properties"])
        assert "sealed" in schema["required"]
        assert "notes" not in schema["required"]
        assert "sealed" in Ward.model_json_schema(mode=mode)["$defs"]["Patient"]["required"]


def test_a_sealed_model_is_not_pickled_and_prints_nothing(ada):
    assert SECRET not in f"{ada!r} {ada} {ada.sealed!r}"
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(ada)


def test_the_length_tells_the_sum_of_the_fields_only(cipher):
    def size(**values):
        with using_cipher(cipher):
            return len(json.loads(Patient(tenant="t", id=ONE, **values).model_dump_json())["sealed"])

    assert size(notes="xxxx", allergy="y" * 20) == size(notes="x" * 20, allergy="yyyy")
