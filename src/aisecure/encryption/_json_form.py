"""Values of one type as JSON and back, with errors that never quote them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NoReturn, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticUserError,
    SecretBytes,
    SecretStr,
    TypeAdapter,
    ValidationError,
)
from pydantic_core import InitErrorDetails, PydanticCustomError, PydanticSerializationError

__all__ = ["CONFIG", "MASK", "JsonForm", "is_text", "refuse", "refuse_secrets"]

MASK = "**********"

#: Bytes need not be UTF-8, and "null" for an infinite number would not read back.
CONFIG = ConfigDict(
    ser_json_bytes="base64",
    val_json_bytes="base64",
    ser_json_inf_nan="constants",
)


class JsonForm:
    """The JSON of a type, with the schema made on first use, when forward references can be resolved."""

    __slots__ = ("_adapter", "_to_json", "_type")

    def __init__(self, type_: Any) -> None:
        self._type = type_
        self._adapter: TypeAdapter[Any] | None = None
        self._to_json: Callable[..., bytes] | None = None

    @property
    def adapter(self) -> TypeAdapter[Any]:
        """The schema of the type."""
        if self._adapter is None:
            try:
                self._adapter = TypeAdapter(self._type, config=CONFIG)
            except PydanticUserError as err:
                # Models, dataclasses and typed dictionaries bring a configuration of their own.
                if err.code != "type-adapter-config-unused":
                    raise
                self._adapter = TypeAdapter(self._type)
        return self._adapter

    def check(self, value: Any, context: Any, *, changed: str = "") -> Any:
        """Return the value as the type.

        Args:
            value: Anything.
            context: That of the pydantic call.
            changed: The field, for a value that was encrypted and fitted then.

        Raises:
            ValidationError: It does not fit, for kinds of reasons that are told without the value.
        """
        try:
            return self.adapter.validate_python(value, context=context)
        except ValidationError as err:
            kinds = _kinds(err)
        except RecursionError:
            kinds = "recursion"
        return _refuse_value(kinds, changed)

    def write(self, value: Any, field: str, context: Any, *, exact: bool = False) -> str:
        """Return the value as JSON text.

        Args:
            value: What should be of the type.
            field: What to call it.
            context: That of the pydantic call.
            exact: The caller knows that it is of the type; pydantic takes longer to find out than to write it.

        Raises:
            TypeError: It is not of the type; it was assigned without validation.
        """
        try:
            # Not as warnings, which quote the value.
            check: Literal["error", False] = False if exact else "error"
            to_json = self._to_json
            if to_json is None:
                to_json = self._to_json = self.adapter.serializer.to_json
            return to_json(value, context=context, warnings=check).decode()
        except (PydanticSerializationError, RecursionError, ValueError, TypeError):
            pass
        raise TypeError(
            f"{field}: a {type(value).__name__} that is not of the field's type, or has no JSON form"
        )

    def read(self, text: str, field: str, context: Any) -> Any:
        """Return the value of a JSON text that was sealed.

        Raises:
            ValidationError: It is not of the type any more.
        """
        try:
            return self.adapter.validate_json(text, context=context)
        except ValidationError as err:
            kinds = _kinds(err)
        return _refuse_value(kinds, field)


def _kinds(err: ValidationError) -> str:
    # Kinds alone: messages, contexts and even locations (keys of a dictionary) hold data.
    lines = err.errors(include_url=False, include_context=False, include_input=False)
    return ", ".join(sorted({line["type"] for line in lines}))


def _refuse_value(kinds: str, changed: str) -> NoReturn:
    if changed:
        refuse(
            "encrypted_changed",
            f"{changed}: what was encrypted does not fit the type of the field any more: {kinds}",
        )
    refuse("encrypted_value", f"Input should fit the encrypted type: {kinds}")


def refuse(kind: str, message: str) -> NoReturn:
    """Raise an error that does not quote the value; pydantic would.

    Raises:
        ValidationError: Always. Pydantic merges its lines, inputs included, into those of the surrounding model.
    """
    line: InitErrorDetails = {"type": PydanticCustomError(kind, message), "input": MASK}
    raise ValidationError.from_exception_data("Encrypted", [line], hide_input=True) from None


def is_text(type_: Any) -> bool:
    """Whether this is ``str`` or ``Annotated[str, ...]``, whose tokens hold the bare text."""
    return type_ is str or (hasattr(type_, "__metadata__") and get_args(type_)[:1] == (str,))


def refuse_secrets(type_: Any) -> None:
    """Refuse pydantic's masking types, which would be encrypted as their mask and lost.

    Raises:
        TypeError: One is in the annotation.
    """
    if isinstance(type_, type) and issubclass(type_, SecretStr | SecretBytes):
        raise TypeError(
            f"{type_.__name__} is written to JSON as asterisks: use Encrypted[str] or Encrypted[bytes]"
        )
    if isinstance(type_, type) and issubclass(type_, BaseModel):
        for info in type_.model_fields.values():
            if isinstance(info.annotation, type) and issubclass(info.annotation, SecretStr | SecretBytes):
                raise TypeError(
                    f"{type_.__name__} has a {info.annotation.__name__}, which is written to JSON as asterisks"
                )
    for inner in get_args(type_):
        refuse_secrets(inner)
