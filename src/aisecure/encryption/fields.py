"""`Encrypted` fields of pydantic models: a secret in memory, a token in JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, get_args

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationError
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, core_schema

from aisecure.errors import Misconfigured
from aisecure.ports import Cipher

__all__ = ["Encrypted", "using_cipher"]

T = TypeVar("T")

_MASK = "**********"
_CIPHER: ContextVar[Cipher | None] = ContextVar("aisecure_cipher", default=None)


@contextmanager
def using_cipher(cipher: Cipher) -> Iterator[None]:
    """Encrypt and decrypt the `Encrypted` fields of models inside the block with a cipher."""
    token = _CIPHER.set(cipher)
    try:
        yield
    finally:
        _CIPHER.reset(token)


class Encrypted(Generic[T]):
    """A value that is plain in memory, hidden when printed, and a token in JSON; for fields of models.

    The Python form of a field is plaintext, its JSON form a token bound to the names of model (its ``title``
    where one is set) and field: a token of another field does not open. The cipher is that of the surrounding
    `using_cipher`, or ``context={"cipher": cipher}`` of the pydantic call. Rows that hold tokens and come as Python
    data are read with ``model_validate(row, context={"cipher": cipher, "stored": True})``; without ``stored`` a
    token in place of a plaintext is refused, so that nobody decrypts a stolen token by sending it as input.

    Renaming a model orphans its tokens: set ``title`` to the old name. A model is read by the class that wrote
    it, not by a base class. Records of one model can trade tokens; where that matters use `FieldCipher` with the
    record in its context. pydantic quotes the whole input when *another* field is missing:
    set ``hide_input_in_errors=True`` on models that take plaintext.

    >>> from pydantic import BaseModel
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> class Patient(BaseModel):
    ...     notes: Encrypted[str]
    >>> patient = Patient(notes="allergic to penicillin")
    >>> patient
    Patient(notes=Encrypted('**********'))
    >>> with using_cipher(FieldCipher(Keyring.generate())):
    ...     again = Patient.model_validate_json(patient.model_dump_json())
    >>> again.notes.get_secret_value()
    'allergic to penicillin'
    """

    __slots__ = ("_value",)

    def __init__(self, value: T) -> None:
        self._value = value

    def get_secret_value(self) -> T:
        """Return the plaintext."""
        return self._value

    def __repr__(self) -> str:
        return f"Encrypted({_MASK!r})"

    def __str__(self) -> str:
        return _MASK

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
        if get_args(source) != (str,):
            raise TypeError("Encrypted[str] is the form there is; other types are not supported yet")
        if handler.field_name is None:
            raise TypeError(
                "Encrypted[str] belongs in a field of a model, whose name its tokens are bound to"
            )
        return core_schema.with_info_plain_validator_function(
            partial(_validate, handler.field_name),
            serialization=core_schema.plain_serializer_function_ser_schema(
                _serialise,
                is_field_serializer=True,  # the function is given the model too
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


def _validate(field: str, value: Any, info: core_schema.ValidationInfo) -> Encrypted[str]:
    if isinstance(value, Encrypted):
        value, stored = value.get_secret_value(), False
    else:
        stored = info.mode == "json" or _option(info.context, "stored") is True
    if not isinstance(value, str):
        raise _refused("encrypted_type", "Input should be a text")
    if stored:
        # Pydantic tells the name at run time only since 2.12; the one of the schema is the first of an alias's fields.
        place = (str((info.config or {}).get("title")), info.field_name or field)
        return Encrypted(_cipher(info.context).decrypt(value, context=place))
    if not _has_utf8(value):
        raise _refused("encrypted_unicode", "Input should have no lone surrogate")
    if _is_token(value, _option(info.context, "cipher") or _CIPHER.get()):
        raise _refused(
            "encrypted_token",
            "Input is a token where plaintext belongs; read stored rows with context stored=True",
        )
    return Encrypted(value)


def _serialise(model: Any, value: Any, info: core_schema.FieldSerializationInfo) -> str:
    # A plain text gets here by assignment without validation; it is plaintext all the same.
    plaintext = value.get_secret_value() if isinstance(value, Encrypted) else value
    if not isinstance(plaintext, str):
        raise TypeError(f"{info.field_name}: is a text, not {type(plaintext).__name__}")
    cipher = _cipher(info.context)
    if _is_token(plaintext, cipher):
        raise Misconfigured(
            f"{info.field_name}: the value is a token already; it was read without stored=True"
        )
    return cipher.encrypt(plaintext, context=(_name(type(model)), info.field_name))


def _cipher(context: Any) -> Cipher:
    cipher: Cipher | None = _option(context, "cipher") or _CIPHER.get()
    if cipher is None:
        raise Misconfigured(
            "no cipher is active: wrap the call in using_cipher(cipher), or pass context={'cipher': cipher}",
            code="config.no_cipher",
        )
    return cipher


def _option(context: Any, name: str) -> Any:
    return context.get(name) if isinstance(context, Mapping) else None


def _has_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_token(text: str, cipher: Any) -> bool:
    recognises = getattr(cipher, "recognises", None)  # a user's own cipher may have no such method
    return recognises is not None and bool(recognises(text))


def _name(model: Any) -> str:
    """Return what the validator sees as title: the configured one, or the class's name."""
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}
    return str(config.get("title") or model.__name__)


def _refused(kind: str, message: str) -> ValidationError:
    """Return an error that does not quote the value; pydantic would."""
    # Pydantic merges the lines of a ValidationError raised by a validator into its own, inputs included.
    line: InitErrorDetails = {"type": PydanticCustomError(kind, message), "input": _MASK}
    return ValidationError.from_exception_data("Encrypted", [line])
