"""Records whose encrypted fields travel in one envelope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    SerializationInfo,
    ValidationInfo,
    computed_field,
    model_validator,
)
from pydantic_core import CoreSchema

from aisecure.encryption._envelope import SEALED, Envelope
from aisecure.encryption.places import Place

__all__ = ["SealedModel"]


class _Secrets:
    """The encrypted fields of a model, on their way to where mode and context of the call are known."""

    __slots__ = ("model",)

    def __init__(self, model: SealedModel) -> None:
        self.model = model

    def __repr__(self) -> str:
        return f"<{type(self.model).__name__}: encrypted fields>"


def _seal(secrets: _Secrets, info: SerializationInfo) -> Any:
    model = secrets.model
    envelope = model._envelope  # noqa: SLF001  (of this module)
    if info.mode_is_json():
        return envelope.seal(model, info.context)
    values = model.__dict__
    return {name: values[name] for name in envelope.names}


class SealedModel(BaseModel):
    """A model whose `Encrypted` fields are one token in JSON, under the key ``sealed``.

    One token for all costs one encryption instead of many, does not tell which of the fields are long, short or
    absent, and keeps the fields of one record together: those of another cannot be mixed in. It holds the JSON of
    the fields and is bound to the model and, with ``record=``, to the record. Take plain models with `Encrypted`
    fields where every field is a column of its own.

    Keywords of the class:

    - ``place``: The stable name of the record's kind; by default the title or name of the model.
    - ``record``: The field, or fields, whose values name the record, declared before the first encrypted one.

    The Python form (``model_dump()``) has under ``sealed`` the `Encrypted` values by name, and both it and the
    plain keyword arguments make a model again. ``include`` and ``exclude`` take the envelope as a whole. Cipher,
    ``stored`` and the meaning of JSON are those of `Encrypted`.

    >>> import json
    >>> from aisecure.encryption import Encrypted, FieldCipher, Keyring, using_cipher
    >>> class Patient(SealedModel, place="patients", record="id"):
    ...     id: int
    ...     notes: Encrypted[str]
    ...     weight: Encrypted[float | None] = Encrypted(None)
    >>> with using_cipher(FieldCipher(Keyring.generate())):
    ...     text = Patient(id=7, notes="allergic to penicillin").model_dump_json()
    ...     Patient.model_validate_json(text).notes.get_secret_value()
    'allergic to penicillin'
    >>> list(json.loads(text))
    ['id', 'sealed']
    """

    model_config = ConfigDict(hide_input_in_errors=True)

    _envelope: ClassVar[Envelope]
    _keywords: ClassVar[tuple[str | None, tuple[str, ...]]] = (None, ())

    def __init_subclass__(
        cls, *, place: str | None = None, record: str | tuple[str, ...] | None = None, **config: Any
    ) -> None:
        super().__init_subclass__(**config)
        given = Place(place, record=() if record is None else record)
        inherited_place, inherited_record = cls._keywords
        cls._keywords = (
            given.owner or inherited_place,
            inherited_record if record is None else given.record,
        )

    # Pydantic's own way to a value that is written and not read; what it returns is turned into the form wanted there.
    @computed_field(json_schema_extra={"format": "password"})  # type: ignore[prop-decorator]
    @property
    def sealed(self) -> Annotated[Any, PlainSerializer(_seal)]:
        """The encrypted fields by name; in JSON their token."""
        return _Secrets(self)

    @model_validator(mode="before")
    @classmethod
    def _unpack(cls, data: Any, info: ValidationInfo) -> Any:
        return cls._envelope.unpack(data, info) if isinstance(data, Mapping) else data

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        fields: Any = handler.resolve_ref_schema(schema)
        while fields["type"] != "model-fields":
            fields = fields["schema"]
        cls._envelope = Envelope(cls, *cls._keywords)
        for name in cls._envelope.names:
            fields["fields"][name]["serialization_exclude"] = True
        return schema

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        written = handler(schema)
        json_schema = handler.resolve_ref_schema(written)
        properties = json_schema["properties"]
        for name in cls._envelope.names:
            properties.pop(name, None)
        properties[SEALED] = {"title": "Sealed", "type": "string", "format": "password"}
        required = json_schema.get("required", [])
        json_schema["required"] = [
            name for name in required if name not in cls._envelope.names and name != SEALED
        ] + [SEALED]
        return written
