"""Several encrypted fields of one record as one token."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ValidationInfo
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUseDefault, core_schema
from typing_extensions import TypedDict

from aisecure.encryption._json_form import CONFIG, JsonForm, refuse
from aisecure.encryption.binding import SHORTEST_TOKEN, Binding
from aisecure.encryption.fields import Encrypted, Opening, record_of
from aisecure.encryption.places import (
    Place,
    active_cipher,
    is_token,
    option,
    owner_of,
    record_parts,
)
from aisecure.errors import Misconfigured

__all__ = ["SEALED", "Envelope"]

#: What an envelope is called, among the fields of its model and in JSON.
SEALED = "sealed"


class Envelope:
    """What the fields of one class are sealed in.

    Attributes:
        names: The encrypted fields, in order.
    """

    __slots__ = ("_binding", "_fields", "_form", "_owner", "_record", "_texts", "names")

    def __init__(self, model: type[BaseModel], owner: str | None, record: tuple[str, ...]) -> None:
        types = {name: _inner(name, info) for name, info in model.__pydantic_fields__.items()}
        secret = {name: type_ for name, type_ in types.items() if type_ is not None}
        self.names = tuple(secret)
        self._owner = owner
        self._record = record
        self._binding = Binding("sealed", record=bool(self._record))
        self._texts = frozenset(
            name for name, type_ in secret.items() if type_ is str or type_ == (str | None)
        )
        self._fields = {name: model.__pydantic_fields__[name] for name in secret}
        # Not total: a field that is added later is not in the envelopes of before.
        form: Any = TypedDict("Sealed", secret, total=False)  # type: ignore[misc]  # a class made at run time
        setattr(form, "__pydantic_config__", CONFIG)  # noqa: B010  (a class that type checkers know nothing about)
        # Optional, though never None: only what is no class may be given a configuration that reaches into `Any`.
        self._form = JsonForm(form | None)
        before = list(types)[: list(types).index(self.names[0])] if self.names else list(types)
        late = [name for name in self._record if self.names and name not in before]
        if late:
            raise TypeError(
                f"{model.__name__}: {', '.join(late)} names the record: declare it before {self.names[0]}"
            )

    def seal(self, model: BaseModel, context: Any) -> str:
        """Return the token of the fields."""
        if not self.names:
            raise TypeError(f"{type(model).__name__} has no encrypted field")
        cipher = active_cipher(context)
        fields, texts, values, exact = model.__dict__, self._texts, {}, True
        for name in self.names:
            value = fields[name]
            # Without validation a plain value may have been assigned.
            value = value._value if type(value) is Encrypted else value  # noqa: SLF001  (five calls a record)
            if type(value) is str:
                if len(value) >= SHORTEST_TOKEN and is_token(value, context):
                    raise Misconfigured(
                        f"{name}: the value is a token already; it was read without stored=True"
                    )
                exact &= name in texts
            else:
                exact = False
            values[name] = value
        text = self._form.write(values, SEALED, context, exact=exact)
        bound = self._binding.to(cipher, self._owner or owner_of(type(model)), SEALED)
        return (
            bound.encrypt(text, *record_parts(self._record, fields)) if self._record else bound.encrypt(text)
        )

    def unpack(self, data: Mapping[str, Any], info: ValidationInfo) -> Mapping[str, Any]:
        """Return the input with each encrypted field in its place, opened or still to be opened."""
        stored = info.mode == "json" or option(info.context, "stored") is True
        if not self.names or (not stored and SEALED not in data):
            return data
        clear = [name for name in self.names if name in data]
        if clear:
            refuse("encrypted_clear", f"Input has {', '.join(clear)} outside of sealed")
        rest = {name: value for name, value in data.items() if name != SEALED}
        sealed = data.get(SEALED)
        if stored:
            if not isinstance(sealed, str):
                refuse("encrypted_type", "sealed should be a token, the JSON form of the encrypted fields")
            return rest | dict.fromkeys(self.names, _Opened(self, sealed))
        if not isinstance(sealed, Mapping) or not all(
            name in self.names and (value is None or isinstance(value, Encrypted))
            for name, value in sealed.items()
        ):
            refuse(
                "encrypted_token",
                "sealed should hold the encrypted fields by name; read stored rows with context stored=True",
            )
        return {**rest, **sealed}

    def open(self, token: str, info: core_schema.ValidationInfo) -> dict[str, Any]:
        """Return the values of a token."""
        record = record_of(self._record, info.data) if self._record else ()
        owner = self._owner or str((info.config or {}).get("title"))
        bound = self._binding.to(active_cipher(info.context), owner, SEALED)
        values: dict[str, Any] = self._form.read(bound.decrypt(token, *record), SEALED, info.context)
        return values

    def absent(self, name: str) -> None:
        """Take the default of a field that the envelope has not."""
        if self._fields[name].is_required():
            refuse("encrypted_missing", "The envelope was sealed without this field: give it a default")
        raise PydanticUseDefault

    def optional(self, name: str) -> bool:
        """Whether the field may be None itself."""
        return get_origin(self._fields[name].annotation) in {Union, UnionType}


class _Opened(Opening):
    """A token that stands for each of its fields, and is opened when the first is validated."""

    __slots__ = ("_envelope", "_token", "_values")

    def __init__(self, envelope: Envelope, token: str) -> None:
        self._envelope = envelope
        self._token = token
        # Not earlier: only then are the fields that name the record validated.
        self._values: dict[str, Any] | None = None

    def take(self, field: str, info: core_schema.ValidationInfo) -> Encrypted[Any] | None:
        """Return the value of a field."""
        if self._values is None:
            self._values = self._envelope.open(self._token, info)
        if field not in self._values:
            self._envelope.absent(field)
        value = self._values[field]
        return None if value is None and self._envelope.optional(field) else Encrypted(value)


def _inner(name: str, info: FieldInfo) -> Any:
    """Return the type inside of an encrypted field, or None for a field in clear.

    Raises:
        TypeError: A form that an envelope has no place for.
    """
    encrypted = [type_ for type_ in _flat(info.annotation) if get_origin(type_) is Encrypted]
    if not encrypted:
        return None
    if name == SEALED or any(isinstance(part, Place) for part in info.metadata):
        raise TypeError(f"{name}: the envelope is called {SEALED}, and its place is a keyword of the class")
    if info.alias is not None or info.validation_alias is not None:
        raise TypeError(f"{name}: a field in an envelope has no alias")
    alternatives = (
        get_args(info.annotation) if get_origin(info.annotation) in {Union, UnionType} else (info.annotation,)
    )
    if len(encrypted) > 1 or not {*alternatives} <= {encrypted[0], NoneType}:
        raise TypeError(
            f"{name}: is Encrypted[T] or Encrypted[T] | None in an envelope; lists go inside, as in Encrypted[list[T]]"
        )
    (type_,) = get_args(encrypted[0])
    return type_ if len(alternatives) == 1 else Union[type_, None]  # noqa: UP007  (a forward reference has no `|`)


def _flat(annotation: Any) -> list[Any]:
    """Return an annotation and everything inside of it, as far as the next encrypted type."""
    if get_origin(annotation) is Encrypted:
        return [annotation]
    inside = (*get_args(annotation), getattr(annotation, "__value__", None))  # the latter of a `type` alias
    return [annotation, *(inner for part in inside if part is not None for inner in _flat(part))]
