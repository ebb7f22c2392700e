"""Encrypted fields of every type that JSON can carry, and the places they are bound to."""

from __future__ import annotations

import base64
import dataclasses
import datetime as dt
import json
import threading
import uuid
import warnings
from decimal import Decimal
from enum import Enum, IntEnum
from typing import Annotated, Any, Generic, Literal, TypeVar

import pytest
from pydantic import BaseModel, Field, RootModel, StringConstraints, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass
from pydantic_core import PydanticSerializationError
from typing_extensions import TypedDict

from aisecure.encryption import Encrypted, FieldCipher, Keyring, Place, using_cipher
from aisecure.encryption.binding import Binding
from aisecure.errors import DecryptionError, Misconfigured

T = TypeVar("T")
SECRET = "canary-78051120"


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    HIGH = 3


class Address(BaseModel):
    street: str
    zip: int


@dataclasses.dataclass
class Point:
    x: int
    y: int


class Visit(TypedDict):
    day: dt.date


class Tree(BaseModel):
    name: str
    parts: Encrypted[list[Tree]] = Encrypted([])


@pytest.fixture(scope="module")
def cipher():
    return FieldCipher(Keyring.generate())


def model_of(type_: Any, **config: Any) -> Any:
    return type("Row", (BaseModel,), {"__annotations__": {"value": type_}, "model_config": config})


def encrypting(type_: Any) -> Any:
    return model_of(Encrypted.__class_getitem__(type_))


VALUES = [
    (str, "text"), (str, ""), (str, "\x00 \U0001f600"), (str, "x" * 1_000_000),
    (int, 42), (int, -(2**70)), (float, 0.5), (float, float("inf")), (bool, True), (type(None), None),
    (Decimal, Decimal("1.10")), (dt.datetime, dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC)),
    (dt.date, dt.date(2026, 1, 2)), (dt.timedelta, dt.timedelta(days=1, microseconds=5)),
    (uuid.UUID, uuid.UUID(int=7)), (Colour, Colour.RED), (Level, Level.HIGH),
    (bytes, b"\x00\xff"), (bytes, b""), (list[bytes], [b"\xff"]),
    (list[int], [1, 2]), (dict[str, float], {"a": 1.5}), (set[int], {1, 2}), (tuple[int, str], (1, "a")),
    (Address, Address(street="s", zip=1)), (list[Address], [Address(street="s", zip=1)]), (Point, Point(1, 2)),
    (Visit, {"day": dt.date(2026, 1, 2)}), (Literal["a", 1], 1), (int | str, "42"), (int | str, 42),
    (str | None, None), (str | None, "null"), (Any, {"a": [1, None, "x"]}),
    (Annotated[str, StringConstraints(min_length=2)], "ab"), (Annotated[int, Field(gt=1)], 5),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value"), VALUES, ids=lambda part: str(part)[:40])
def test_a_value_of_any_json_type_comes_back_as_it_was(cipher, type_, value):
    model = encrypting(type_)
    with using_cipher(cipher):
        row = model(value=value).model_dump_json()
        again = model.model_validate_json(row)
        assert model.model_validate(json.loads(row), context={"stored": True}) == again
    assert again.value.get_secret_value() == value
    assert type(again.value.get_secret_value()) is type(value)


def test_a_number_that_is_none_comes_back(cipher):
    model = model_of(Encrypted[float])
    with using_cipher(cipher):
        value = model.model_validate_json(model(value=float("nan")).model_dump_json()).value
    assert value.get_secret_value() != value.get_secret_value()


@pytest.mark.parametrize(
    "type_", [str, Annotated[str, StringConstraints(min_length=1)]], ids=["str", "annotated"]
)
def test_a_text_is_sealed_as_itself_and_all_else_as_json_in_a_place_of_its_own(cipher, type_):
    with using_cipher(cipher):
        text = json.loads(encrypting(type_)(value="42").model_dump_json())["value"]
        number = json.loads(model_of(Encrypted[int])(value=42).model_dump_json())["value"]
    assert cipher.decrypt(text, context=("Row", "value")) == "42"
    assert cipher.decrypt(number, context=("Row", "value", "json")) == "42"


@pytest.mark.parametrize(("written", "read"), [(str, int), (int, str), (str, str | None), (str | None, str)])
def test_a_token_of_text_is_not_read_as_json_nor_the_other_way(cipher, written, read):
    with using_cipher(cipher):
        row = encrypting(written)(value=42 if written is int else "42").model_dump_json()
        with pytest.raises(DecryptionError):
            encrypting(read).model_validate_json(row)


def test_an_optional_field_keeps_the_tokens_of_a_required_one(cipher):
    with using_cipher(cipher):
        row = model_of(Encrypted[str])(value="x").model_dump_json()
        assert model_of(Encrypted[str] | None).model_validate_json(row).value == Encrypted("x")


@pytest.mark.parametrize(
    ("type_", "value"),
    [(int, SECRET), (dict[str, int], {SECRET: "x"}), (Address, {"street": SECRET, "zip": SECRET}),
     (Literal["a"], SECRET), (Annotated[str, StringConstraints(pattern="^a$")], SECRET), (dt.date, SECRET),
     (list[Colour], [SECRET]), (str | int, [SECRET]), (str | None, SECRET + "\ud800"), (Decimal, SECRET),
     (Annotated[str, StringConstraints(max_length=3)], SECRET), (Any, object())],
    ids=str,
)  # fmt: skip
def test_a_value_that_does_not_fit_is_refused_and_not_quoted(cipher, type_, value):
    model = encrypting(type_)
    with using_cipher(cipher), pytest.raises((ValidationError, PydanticSerializationError)) as caught:
        model(value=value).model_dump_json()
    error = caught.value
    told = f"{error} {error!r} {getattr(error, 'errors', str)()} {error.__cause__!r} {error.__context__!r}"
    assert SECRET not in told


def test_a_plaintext_that_fits_no_longer_names_the_field_and_not_the_value(cipher):
    with using_cipher(cipher):
        texts = model_of(Encrypted[list[str]])(value=[SECRET]).model_dump_json()
        short = model_of(Encrypted[str])(value=SECRET).model_dump_json()
        for type_, row in (
            (list[int], texts),
            (Annotated[str, StringConstraints(max_length=3)], short),
        ):
            with pytest.raises(ValidationError, match="value: what was encrypted does not fit") as caught:
                encrypting(type_).model_validate_json(row)
            assert SECRET not in f"{caught.value} {caught.value.errors()}"


def test_a_value_of_another_type_assigned_without_validation_is_told_without_the_value(cipher):
    row = model_of(Encrypted[int])(value=1)
    row.value = SECRET
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with (
            using_cipher(cipher),
            pytest.raises(PydanticSerializationError, match="value: a str that is not") as caught,
        ):
            row.model_dump_json()
    assert SECRET not in str(caught.value)
    row.value = 7
    with using_cipher(cipher):
        assert type(row).model_validate_json(row.model_dump_json()).value == Encrypted(7)


def test_json_that_is_no_token_says_where_plaintext_goes(cipher):
    with (
        using_cipher(cipher),
        pytest.raises(ValidationError, match="plaintext comes in by a model of plain types"),
    ):
        model_of(Encrypted[int]).model_validate_json('{"value": 42}')


def test_a_very_deep_value_is_refused(cipher):
    deep: Any = []
    for _ in range(100_000):
        deep = [deep]
    with using_cipher(cipher), pytest.raises((ValidationError, PydanticSerializationError)):
        model_of(Encrypted[Any])(value=deep).model_dump_json()
    while deep:
        deep = deep.pop()


def test_a_cyclic_value_is_refused(cipher):
    ring: list[Any] = []
    ring.append(ring)
    with using_cipher(cipher), pytest.raises((ValidationError, PydanticSerializationError)):
        model_of(Encrypted[list[Any]])(value=ring).model_dump_json()


def test_models_that_contain_themselves_nest_envelopes(cipher):
    tree = Tree(name="a", parts=[Tree(name="b", parts=[Tree(name="c")])])
    with using_cipher(cipher):
        text = tree.model_dump_json()
        assert Tree.model_validate_json(text) == tree
    assert (
        Tree.model_validate_json(tree.model_dump_json(context={"cipher": cipher}), context={"cipher": cipher})
        == tree
    )


def test_generic_models_encrypt_the_type_they_are_given(cipher):
    class Box(BaseModel, Generic[T]):
        value: Encrypted[T]

    with using_cipher(cipher):
        text = Box[int](value=1).model_dump_json()
        assert Box[int].model_validate_json(text).value == Encrypted(1)
        with pytest.raises(ValidationError):
            Box[int](value="x")


def test_lists_of_tokens_are_bound_to_the_field_and_not_to_positions(cipher):
    model = model_of(list[Encrypted[int]])
    with using_cipher(cipher):
        row = json.loads(model(value=[1, 2]).model_dump_json())
        row["value"].reverse()
        assert model.model_validate_json(json.dumps(row)).value == [Encrypted(2), Encrypted(1)]


# Places


class Named(BaseModel):
    id: uuid.UUID
    tenant: str
    notes: Annotated[Encrypted[str], Place("patients", "notes", record=("tenant", "id"))]
    visits: Annotated[list[Encrypted[int]] | None, Place(record="id")] = None


ONE, TWO = uuid.UUID(int=1), uuid.UUID(int=2)


def test_a_place_with_a_record_keeps_tokens_in_their_record(cipher):
    with using_cipher(cipher):
        one = json.loads(Named(id=ONE, tenant="t", notes="1", visits=[1]).model_dump_json())
        two = json.loads(Named(id=TWO, tenant="t", notes="2", visits=[2]).model_dump_json())
        assert Named.model_validate_json(json.dumps(one)).visits == [Encrypted(1)]
        for changed in ({"notes": two["notes"]}, {"visits": two["visits"]}, {"tenant": "u"}):
            with pytest.raises(DecryptionError):
                Named.model_validate_json(json.dumps(one | changed))
    assert cipher.decrypt(one["notes"], context=("patients", "notes", "text", "t", str(ONE))) == "1"
    assert cipher.decrypt(one["visits"][0], context=("Named", "visits", "json", str(ONE))) == "1"


def test_a_place_outlives_the_names_of_class_and_field_and_is_read_by_a_base_class(cipher):
    class Base(BaseModel):
        remarks: Annotated[Encrypted[str], Place("patients", "notes")]

    class Child(Base):
        pass

    class Other(BaseModel):
        text: Annotated[Encrypted[str], Place("patients", "notes")]

    with using_cipher(cipher):
        row = json.loads(Child(remarks="x").model_dump_json())
        assert Base.model_validate_json(json.dumps(row)).remarks == Encrypted("x")
        assert Other.model_validate_json(json.dumps({"text": row["remarks"]})).text == Encrypted("x")


def test_a_record_that_is_missing_late_or_without_a_name_is_told(cipher):
    class Late(BaseModel):
        notes: Annotated[Encrypted[str], Place(record="id")]
        id: int | None

    with using_cipher(cipher):
        row = Late(notes="x", id=1).model_dump_json()
        with pytest.raises(ValidationError, match="bound to id: missing, refused, or declared after"):
            Late.model_validate_json(row)
        with pytest.raises(
            PydanticSerializationError, match="id: tokens are bound to this field, which is NoneType"
        ):
            Late(notes="x", id=None).model_dump_json()


def test_typed_dictionaries_roots_and_bare_types_have_places(cipher):
    class Row(TypedDict):
        id: int
        notes: Annotated[Encrypted[str], Place("visits", "notes", record="id")]

    class Unnamed(TypedDict):
        notes: Encrypted[str]

    root = RootModel[Annotated[Encrypted[int], Place("roots", "value")]]
    bare: TypeAdapter[Any] = TypeAdapter(Annotated[Encrypted[int], Place("bare", "value")])
    rows: TypeAdapter[Any] = TypeAdapter(Row)
    with using_cipher(cipher):
        row = {"id": 1, "notes": Encrypted("x")}
        assert rows.validate_json(rows.dump_json(row)) == row
        assert root.model_validate_json(root(5).model_dump_json()).root == Encrypted(5)
        assert bare.validate_json(bare.dump_json(Encrypted(5))) == Encrypted(5)
        with pytest.raises(PydanticSerializationError, match="a TypedDict needs names for its tokens"):
            TypeAdapter(Unnamed).dump_json({"notes": Encrypted("x")})


def test_dataclasses_with_slots_are_bound_to_their_record(cipher):
    @dataclass(slots=True, frozen=True)
    class Visit:
        id: int
        notes: Annotated[Encrypted[dict[str, int]], Place(record="id")]

    adapter = TypeAdapter(Visit)
    with using_cipher(cipher):
        visit = Visit(1, {"a": 1})
        row = json.loads(adapter.dump_json(visit))
        assert adapter.validate_python(row, context={"stored": True}) == visit
        with pytest.raises(DecryptionError):
            adapter.validate_python(row | {"id": 2}, context={"stored": True})


@pytest.mark.parametrize(
    ("make", "says"),
    [(lambda: Place(""), "not empty"), (lambda: Place(1), "not empty"), (lambda: Place(record=1), "name of a field"),
     (lambda: Place(record=("",)), "name of a field"), (lambda: Place(record=["a"]), "name of a field"),
     (lambda: model_of(Annotated[str, Place("a")]), "belongs to a field with an Encrypted type")],
    ids=["empty", "number", "record a number", "record empty", "record a list", "no encrypted type"],
)  # fmt: skip
def test_a_place_that_binds_nothing_is_refused(make, says):
    with pytest.raises(TypeError, match=says):
        make()


def test_a_place_shows_its_names():
    assert repr(Place("a", "b", record="id")) == "Place('a', 'b', record=('id',))"


# Ciphers


def test_a_class_keeps_no_cipher_alive():
    model = model_of(Encrypted[int])
    gone = threading.Event()

    class Watched(FieldCipher):
        def __del__(self):
            gone.set()

    watched = Watched(Keyring.generate())
    model(value=1).model_dump_json(context={"cipher": watched})
    del watched
    assert gone.is_set()


def test_a_binding_forgets_a_cipher_that_is_gone():
    binding = Binding("json", record=False)
    old, new = FieldCipher(Keyring.generate()), FieldCipher(Keyring.generate())
    first = binding.to(old, "a", "b")
    assert binding.to(old, "a", "b") is first
    assert binding.to(old, "a", "c") is not first
    kept = binding.to(new, "a", "b")
    del old
    assert binding.to(new, "a", "b") is kept
    del new
    assert binding._last is None


def test_a_cipher_that_cannot_be_referred_to_weakly_is_bound_each_time(cipher):
    class Slotted:
        __slots__ = ()

        def bind(self, *parts):
            return cipher.bind(*parts)

    binding, slotted = Binding("json", record=False), Slotted()
    token = binding.to(slotted, "a", "b").encrypt("x")
    assert binding.to(slotted, "a", "b").decrypt(token) == "x"
    assert binding._last is None


def test_threads_with_ciphers_of_their_own_do_not_meet():
    model = model_of(Encrypted[int])
    failed = []

    def work(number):
        mine = FieldCipher(Keyring.generate())
        with using_cipher(mine):
            for count in range(100):
                value = number * 1000 + count
                if model.model_validate_json(model(value=value).model_dump_json()).value != Encrypted(value):
                    failed.append(value)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed


def test_bytes_travel_as_base64(cipher):
    with using_cipher(cipher):
        row = json.loads(model_of(Encrypted[bytes])(value=b"\xff").model_dump_json())
    text = json.loads(cipher.decrypt(row["value"], context=("Row", "value", "json")))
    assert base64.urlsafe_b64decode(text) == b"\xff"


def test_without_a_cipher_the_code_is_stable(cipher):
    with pytest.raises(Misconfigured) as caught:
        model_of(Encrypted[int]).model_validate_json('{"value": "x"}')
    assert caught.value.code == "config.no_cipher"
