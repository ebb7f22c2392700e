"""`Encrypted` fields of pydantic models: a secret in memory, a token in JSON."""

from __future__ import annotations

from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from aisecure.encryption._json_form import MASK, JsonForm, is_text, refuse, refuse_secrets
from aisecure.encryption.binding import SHORTEST_TOKEN, Binding
from aisecure.encryption.context import Part
from aisecure.encryption.places import (
    PENDING,
    Place,
    active_cipher,
    is_token,
    option,
    owner_of,
    pending_place,
    record_parts,
)
from aisecure.errors import Misconfigured

__all__ = ["Encrypted", "Opening", "record_of"]

T = TypeVar("T")


class Encrypted(Generic[T]):
    """A value that is plain in memory, hidden when printed, and a token in JSON; for fields of models.

    ``T`` is any type that pydantic writes to JSON and reads back. The Python form of a field is plaintext, its JSON
    form a token bound to the names of model (its ``title`` where one is set) and field: a token of another field
    does not open. `Place` gives names that outlive a renaming, and binds tokens to their record.

    The cipher is that of the surrounding `using_cipher`, or ``context={"cipher": cipher}`` of the pydantic call.
    Rows that hold tokens and come as Python data are read with
    ``model_validate(row, context={"cipher": cipher, "stored": True})``; without ``stored`` a token in place of a
    plaintext is refused, so that nobody decrypts a stolen token by sending it as input.

    The tokens in a list or dictionary of encrypted values are bound to the field and not to their position. Where
    ``T`` is a text the token holds the bare text, else its JSON; so ``Encrypted[str]`` may become
    ``Encrypted[str] | None`` and keeps its tokens, and cannot become ``Encrypted[str | None]``. Options of the
    surrounding model, such as ``strict``, do not reach into ``T``. pydantic quotes the whole input when *another*
    field is missing: set ``hide_input_in_errors=True`` on models that take plaintext.

    >>> from pydantic import BaseModel
    >>> from aisecure.encryption import FieldCipher, Keyring, using_cipher
    >>> class Patient(BaseModel):
    ...     notes: Encrypted[str]
    ...     doses: Encrypted[list[float]]
    >>> patient = Patient(notes="allergic to penicillin", doses=[0.5, 1])
    >>> patient
    Patient(notes=Encrypted('**********'), doses=Encrypted('**********'))
    >>> with using_cipher(FieldCipher(Keyring.generate())):
    ...     again = Patient.model_validate_json(patient.model_dump_json())
    >>> again.doses.get_secret_value()
    [0.5, 1.0]
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def get_secret_value(self) -> T:
        """Return the plaintext."""
        return self._value

    def __repr__(self) -> str:
        return f"Encrypted({MASK!r})"

    def __str__(self) -> str:
        return MASK

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Encrypted) and self._value == other._value

    def __hash__(self) -> int:
        return hash((Encrypted, self._value))

    def __copy__(self) -> Encrypted[T]:
        return self

    def __deepcopy__(self, memo: object) -> Encrypted[T]:
        return self

    def __reduce__(self) -> NoReturn:
        # A pickle would carry the plaintext into caches and queues.
        raise TypeError("an Encrypted value is not pickled: send the model's JSON")

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        inner = get_args(source)
        if len(inner) != 1:
            raise TypeError("Encrypted takes one type, as in Encrypted[str]")
        place, name = pending_place(), handler.field_name
        refuse_secrets(inner[0])
        none = PENDING.set(None)  # the place is that of this field, not of fields inside of its type
        try:
            handler.generate_schema(inner[0])  # an unsuitable type is told where it is written
        finally:
            PENDING.reset(none)
        coder = _Coder(inner[0], place, name or "")
        validate: Any = coder.validate
        serialise: Any = coder.serialise
        if name is None:
            # Outside of a field no function is given the model.
            serialise = partial(serialise, None)
            if place.owner is None or place.field is None or place.record:
                # Not here: FastAPI makes such schemas to describe the fields of models, and never uses them.
                validate = serialise = _no_place
        return core_schema.with_info_plain_validator_function(
            validate,
            serialization=core_schema.plain_serializer_function_ser_schema(
                serialise,
                is_field_serializer=name is not None,
                info_arg=True,
                return_schema=core_schema.str_schema(),
                when_used="json",
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "format": "password"}


def _no_place(value: Any, info: Any) -> NoReturn:
    raise TypeError(
        "Encrypted belongs in a field of a model, whose name its tokens are bound to;"
        ' elsewhere write Annotated[Encrypted[T], Place("visits", "notes")]'
    )


class Opening:
    """What stands for a field until its envelope is opened; `aisecure.encryption.sealed` puts it there."""

    def take(self, field: str, info: core_schema.ValidationInfo) -> Encrypted[Any] | None:
        """Return the value of a field."""
        raise NotImplementedError


class _Coder:
    """What the schema of one field calls: plaintexts are checked, tokens opened, values sealed."""

    __slots__ = ("_any_text", "_binding", "_field", "_form", "_place", "_text")

    def __init__(self, type_: Any, place: Place, field: str) -> None:
        self._text = is_text(type_)
        self._any_text = type_ is str
        self._form = JsonForm(type_)
        self._place = place
        self._field = field
        self._binding = Binding("text" if self._text else "json", record=bool(place.record))

    def validate(self, value: Any, info: core_schema.ValidationInfo) -> Encrypted[Any] | None:
        # Pydantic tells the name at run time only since 2.12; the one of the schema is the first of an alias's fields.
        if isinstance(value, Opening):
            return value.take(info.field_name or self._field, info)
        if isinstance(value, Encrypted):
            return Encrypted(self._check(value.get_secret_value(), info.context))
        if info.mode == "json" or option(info.context, "stored") is True:
            return Encrypted(self._open(value, info))
        if is_token(value, info.context):
            refuse(
                "encrypted_token",
                "Input is a token where plaintext belongs; read stored rows with context stored=True",
            )
        return Encrypted(self._check(value, info.context))

    def serialise(self, model: Any, value: Any, info: core_schema.FieldSerializationInfo) -> str:
        # A plain value gets here by assignment without validation; it is plaintext all the same.
        plaintext = value._value if type(value) is Encrypted else value  # noqa: SLF001  (its own schema)
        context, place = info.context, self._place
        cipher = active_cipher(context)
        field = place.field or info.field_name
        if type(plaintext) is str and len(plaintext) >= SHORTEST_TOKEN and is_token(plaintext, context):
            raise Misconfigured(f"{field}: the value is a token already; it was read without stored=True")
        if not self._text:
            plaintext = self._form.write(plaintext, field, context)
        elif not isinstance(plaintext, str):
            raise TypeError(f"{field}: is a text, not {type(plaintext).__name__}")
        bound = self._binding.to(cipher, place.owner or owner_of(type(model)), field)  # type: ignore[arg-type]
        if not place.record:
            return bound.encrypt(plaintext)
        values = model if isinstance(model, dict) else {name: getattr(model, name) for name in place.record}
        return bound.encrypt(plaintext, *record_parts(place.record, values))

    def _open(self, token: Any, info: core_schema.ValidationInfo) -> Any:
        if not isinstance(token, str):
            refuse(
                "encrypted_type",
                "Input should be a token, the JSON form of an encrypted field; plaintext comes in by a model of plain types",
            )
        place = self._place
        field = place.field or info.field_name or self._field
        owner = place.owner or str((info.config or {}).get("title"))
        record = record_of(place.record, info.data) if place.record else ()
        text = self._binding.to(active_cipher(info.context), owner, field).decrypt(token, *record)
        if self._any_text:
            return text
        if self._text:
            return self._form.check(text, info.context, changed=field)
        return self._form.read(text, field, info.context)

    def _check(self, value: Any, context: Any) -> Any:
        if self._text and not isinstance(value, str):
            refuse("encrypted_type", "Input should be a text")
        if self._text and not _has_utf8(value):
            refuse("encrypted_unicode", "Input should have no lone surrogate")
        return value if self._any_text else self._form.check(value, context)


def record_of(names: tuple[str, ...], values: Any) -> tuple[Part, ...]:
    """Return the parts that name the record under validation.

    Raises:
        ValidationError: A field that they come from is not there.
    """
    absent = [name for name in names if name not in values]
    if absent:
        refuse(
            "encrypted_record",
            f"The token is bound to {', '.join(absent)}: missing, refused, or declared after the encrypted field",
        )
    return record_parts(names, values)


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
