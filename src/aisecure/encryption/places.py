"""Where an encrypted field belongs: the context that its tokens are bound to.

It is ``(owner, field)`` for a text, and ``(owner, field, form, *record)`` for everything else. The third word keeps
the forms apart: a text token that reads ``42`` is no token of a number, and none of a text of record ``42``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import Enum
from functools import lru_cache
from typing import Any
from uuid import UUID

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema

from aisecure.encryption.binding import SHORTEST_TOKEN
from aisecure.encryption.context import Part
from aisecure.errors import Misconfigured
from aisecure.ports import Cipher

__all__ = ["Place", "active_cipher", "owner_of", "using_cipher"]

_CIPHER: ContextVar[Cipher | None] = ContextVar("aisecure_cipher", default=None)


@contextmanager
def using_cipher(cipher: Cipher) -> Iterator[None]:
    """Encrypt and decrypt the `Encrypted` fields of models inside the block with a cipher."""
    token = _CIPHER.set(cipher)
    try:
        yield
    finally:
        _CIPHER.reset(token)


def option(context: Any, name: str) -> Any:
    """Return an entry of the context of a pydantic call; None where it has none."""
    if type(context) is dict or isinstance(context, Mapping):  # the first asks in a tenth of the time
        return context.get(name)
    return None


def active_cipher(context: Any) -> Cipher:
    """Return the cipher of the pydantic call, or else of the surrounding block.

    Raises:
        Misconfigured: There is none.
    """
    cipher: Cipher | None = option(context, "cipher") or _CIPHER.get()
    if cipher is None:
        raise Misconfigured(
            "no cipher is active: wrap the call in using_cipher(cipher), or pass context={'cipher': cipher}",
            code="config.no_cipher",
        )
    return cipher


def is_token(value: Any, context: Any) -> bool:
    """Whether a plaintext has the form of a token under a key of the active cipher, if any is active."""
    # Tokens are base64 with padding; asking the cipher about each short text costs as much as encrypting it.
    if not isinstance(value, str) or len(value) < SHORTEST_TOKEN or len(value) % 4:
        return False
    cipher = option(context, "cipher") or _CIPHER.get()
    recognises = getattr(cipher, "recognises", None)  # a user's own cipher may have no such method
    return recognises is not None and bool(recognises(value))


class Place:
    """What the tokens of an `Encrypted` field are bound to, in place of the names of model and field.

    With names of its own a field keeps its tokens when class or field are renamed, and a base class reads what its
    subclass wrote. With ``record`` the tokens of one record do not open in another.

    Args:
        owner: The stable name of what holds the field, such as a table; None for the title or name of the model.
        field: The stable name of the field, such as a column; None for the name of the field.
        record: Names of fields whose values name the record: its id, its tenant. They are declared before the
            encrypted field, and hold texts, whole numbers, UUIDs or enumerations of these.

    >>> from typing import Annotated
    >>> from pydantic import BaseModel
    >>> from aisecure.encryption import Encrypted, FieldCipher, Keyring, using_cipher
    >>> class Patient(BaseModel):
    ...     id: int
    ...     notes: Annotated[Encrypted[str], Place("patients", "notes", record="id")]
    >>> with using_cipher(FieldCipher(Keyring.generate())):
    ...     row = Patient(id=1, notes="allergic to penicillin").model_dump(mode="json")
    ...     Patient.model_validate_json(Patient.model_validate_json(
    ...         '{"id": 2, "notes": "%s"}' % row["notes"]).model_dump_json())
    Traceback (most recent call last):
    aisecure.errors.DecryptionError: The value could not be decrypted.
    """

    __slots__ = ("field", "owner", "record")

    def __init__(
        self, owner: str | None = None, field: str | None = None, *, record: str | tuple[str, ...] = ()
    ) -> None:
        names = (record,) if isinstance(record, str) else record
        if not isinstance(names, tuple) or not all(type(name) is str and name for name in names):
            raise TypeError("record is the name of a field, or a tuple of such names")
        if any(name is not None and (type(name) is not str or not name) for name in (owner, field)):
            raise TypeError("owner and field of a place are texts that are not empty")
        self.owner = owner
        self.field = field
        self.record = names

    def __repr__(self) -> str:
        return f"Place({self.owner!r}, {self.field!r}, record={self.record!r})"

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        opened = _Pending(self)
        token = PENDING.set(opened)
        try:
            schema = handler(source)
        finally:
            PENDING.reset(token)
        if not opened.taken:
            raise TypeError(
                "Place belongs to a field with an Encrypted type that is written out there, not behind a `type` alias"
            )
        return schema


class _Pending:
    """A place on its way to the `Encrypted` types inside of one annotation."""

    __slots__ = ("place", "taken")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.taken = False


PENDING: ContextVar[_Pending | None] = ContextVar("aisecure_place", default=None)


def pending_place() -> Place:
    """Return the place that is written at the annotation under construction."""
    pending = PENDING.get()
    if pending is None:
        return Place()
    pending.taken = True
    return pending.place


@lru_cache(maxsize=1024)
def owner_of(model: type) -> str:
    """Return what the validator sees as title of a class: the configured one, or its name.

    Raises:
        Misconfigured: It is the class of a TypedDict's values, which do not know their name.
    """
    if issubclass(model, dict):
        raise Misconfigured(
            'a TypedDict needs names for its tokens: Annotated[Encrypted[T], Place("visits", "notes")]'
        )
    config = getattr(model, "model_config", None) or getattr(model, "__pydantic_config__", None) or {}
    return str(config.get("title") or model.__name__)


def record_parts(names: tuple[str, ...], values: Mapping[str, Any]) -> tuple[Part, ...]:
    """Return the parts of a context that name the record.

    Raises:
        KeyError: A field has no value.
        Misconfigured: A value cannot name a record; None is the id of a row that is not stored yet.
    """
    parts = [values[name] for name in names]
    for index, value in enumerate(parts):
        if type(value) is not int and type(value) is not str:
            parts[index] = _part(names[index], value)
    return tuple(parts)


def _part(name: str, value: Any) -> Part:
    if type(value) in {str, int}:
        return value  # type: ignore[no-any-return]
    if isinstance(value, Enum):
        return _part(name, value.value)
    if isinstance(value, UUID):
        return str(value)
    raise Misconfigured(
        f"{name}: tokens are bound to this field, which is {type(value).__name__};"
        " a record is named by a text, a whole number, a UUID or an enumeration of these"
    )
