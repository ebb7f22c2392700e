"""Types of columns: encrypted values, bare tokens, index tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from sqlalchemy import LargeBinary, String, Text
from sqlalchemy.engine import Dialect
from sqlalchemy.sql import operators
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from aisecure.adapters._sql_ciphers import CipherSource, check_source, cipher_of
from aisecure.adapters._sql_errors import withhold_plaintext
from aisecure.adapters._sql_values import JsonValues, text_of
from aisecure.encryption.binding import SHORTEST_TOKEN
from aisecure.encryption.blind_index import BlindIndex
from aisecure.encryption.cipher import key_id_of
from aisecure.encryption.context import Part, encode_context
from aisecure.errors import DecryptionError
from aisecure.ports import Cipher

__all__ = ["BlindIndexType", "EncryptedType", "Sealer", "TokenType"]

#: Longest index token: version, an id of 16 bytes and 256 bits in hexadecimal, two dots.
_INDEX_LENGTH = 2 + 32 + 64 + 2


class _NullOnly(TypeEngine.Comparator[Any]):
    """Refuses every operator but IS NULL: equal plaintexts have different tokens, so no other has an answer."""

    def operate(self, op: Any, *other: Any, **kwargs: Any) -> ColumnElement[Any]:
        # Dicts of SQLAlchemy ask whether a column equals itself, and the answer is made of an expression.
        itself = (
            op is operators.eq and isinstance(other[0], ColumnElement) and hash(other[0]) == hash(self.expr)
        )
        if not itself:
            _check_operator(op, other)
        return super().operate(op, *other, **kwargs)

    def reverse_operate(self, op: Any, other: Any, **kwargs: Any) -> NoReturn:
        _check_operator(op, ("",))
        raise AssertionError  # no operator has NULL on its left


def _check_operator(op: Any, other: tuple[Any, ...]) -> None:
    if op in {operators.is_, operators.is_not, operators.eq, operators.ne} and _is_null(other):
        return
    name = getattr(op, "__name__", "this operator")
    raise TypeError(
        f"an encrypted column has no answer to {name}: only IS NULL and IS NOT NULL; "
        "for equality use a BlindIndex, for all else decrypt first"
    )


def _is_null(other: tuple[Any, ...]) -> bool:
    return len(other) == 1 and (other[0] is None or getattr(other[0], "__visit_name__", "") == "null")


class Sealer:
    """Turns values of one type, at one place, into tokens and back.

    Args:
        cipher: See `CipherSource`.
        context: The place.
        of: The type of values.
        binary: Whether tokens are bytes.
    """

    def __init__(self, cipher: CipherSource, context: tuple[Part, ...], of: Any, *, binary: bool) -> None:
        check_source(cipher)
        if type(context) is not tuple or not context:
            raise TypeError("context is a tuple of texts and whole numbers, such as ('patients', 'notes')")
        encode_context(context)
        if of is bytes and not binary:
            raise ValueError("bytes are kept in a binary column; leave binary out, or make them a text")
        self.cipher = cipher
        self.context = context
        self.binary = binary
        self.place = ".".join(map(str, context))
        self._of = of
        self._json = None if of is str or of is bytes else JsonValues(of, self.place)

    def seal(self, value: Any, cipher: Cipher, *rest: Part) -> str | bytes:
        """Return a token that is bound to the place and the rest.

        Raises:
            TypeError, ValueError: The value is of another type, or is a token already.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        context = (*self.context, *rest)
        if self._of is bytes:
            if not isinstance(value, bytes):
                raise TypeError(f"{self.place}: a value of type {type(value).__name__} is no bytes")
            self._check_plain(value, cipher)
            return cipher.encrypt_bytes(value, context=context)
        text = text_of(value, self.place) if self._json is None else self._json.to_text(value)
        self._check_plain(text, cipher)
        if self.binary:
            return cipher.encrypt_bytes(_utf8(text, self.place), context=context)
        return cipher.encrypt(text, context=context)

    def open(self, token: str | bytes, cipher: Cipher, *rest: Part) -> Any:
        """Return the value of a token.

        Raises:
            DecryptionError: For every reason alike.
            Misconfigured: The value is of another type, or the keys cannot be had.
        """
        context = (*self.context, *rest)
        if self.binary:
            data = cipher.decrypt_bytes(bytes(token), context=context)  # type: ignore[arg-type]  # drivers: memoryview
            if self._of is bytes:
                return data
            text = data.decode()
        else:
            text = cipher.decrypt(token, context=context)  # type: ignore[arg-type]  # a text column's
        return text if self._json is None else self._json.from_text(text)

    def _check_plain(self, value: str | bytes, cipher: Cipher) -> None:
        # Rows copied as they lie in the database would be encrypted twice, and found so when it is too late.
        # Text tokens are base64 with padding; asking the cipher about each short text costs as much as encrypting it.
        if isinstance(value, str) and (len(value) < SHORTEST_TOKEN or len(value) % 4):
            return
        recognises = getattr(cipher, "recognises", None)  # a user's own cipher may have no such method
        if recognises is not None and recognises(value):
            raise ValueError(f"{self.place}: the value is a token already; write the plaintext")


def _utf8(text: str, place: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    # Outside the handler: the encoder's error carries the whole text.
    raise ValueError(f"{place}: the value has a lone surrogate, which has no UTF-8; clean it first")


class EncryptedType(TypeDecorator[Any]):
    """A column that is plain in Python and a token in the database.

    Works everywhere that column types work: ORM, Core, RETURNING, upserts, bulk inserts, both kinds of engine. Tokens
    are bound to ``context``, so those of another column or table do not open here; a type sees one value and no row, so
    tokens of *one* column can be swapped between rows. Where that matters use `EncryptedAttribute`. NULL stays NULL.
    No operator but IS NULL has an answer; any other is refused with `TypeError`.

    Statements are logged (``echo``) with tokens, and errors quote tokens or nothing; `Row` lines of
    ``echo="debug"`` show what was read, so leave that off where the rows are not to be seen.

    Args:
        cipher: A cipher; a function that returns one, for applications that make it later; or None for that
            of the surrounding `aisecure.encryption.using_cipher`.
        context: Table and column, or other names that stay when those are renamed.
        of: The type of values: ``str``, ``bytes``, or any type that pydantic can write as JSON (``dict``,
            ``list[int]``, a date, a model). Changes inside a mutable value are seen only through `sqlalchemy.ext.mutable`.
        binary: Keep tokens as bytes, three quarters as long; always so for ``bytes``.
        tenant: Returns the tenant that tokens are bound to besides, such as `current_tenant`.

    Raises:
        DecryptionError: When a row is read whose token does not open.
        Unavailable, Misconfigured: When the keys cannot be had.

    >>> from sqlalchemy import Column, Integer, MetaData, Table
    >>> from aisecure.encryption import FieldCipher, Keyring
    >>> cipher = FieldCipher(Keyring.generate())
    >>> patients = Table(
    ...     "patients", MetaData(),
    ...     Column("id", Integer, primary_key=True),
    ...     Column("notes", EncryptedType(cipher, context=("patients", "notes"))),
    ... )
    """

    impl = Text
    #: Statements with this type can be kept compiled.
    cache_ok = True
    #: Knows IS NULL and nothing else.
    comparator_factory = _NullOnly

    def __init__(
        self,
        cipher: CipherSource = None,
        context: tuple[Part, ...] = (),
        of: Any = str,
        binary: bool | None = None,  # noqa: FBT001  (see below)
        tenant: Callable[[], str] | None = None,
    ) -> None:
        super().__init__()
        # SQLAlchemy keeps compiled statements, and tells types apart by those attributes that are named as arguments;
        # keyword-only ones it passes over, and then a column would encrypt for the place of another.
        self.cipher = cipher
        self.context = context
        self.of = of
        self.binary = of is bytes if binary is None else binary
        self.tenant = tenant
        self._sealer = Sealer(cipher, context, of, binary=self.binary)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        withhold_plaintext(dialect)
        return dialect.type_descriptor(LargeBinary() if self.binary else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what is stored for a value."""
        if value is None:
            return None
        return self._sealer.seal(value, cipher_of(self.cipher), *self._rest())

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of what is stored."""
        if value is None:
            return None
        return self._sealer.open(value, cipher_of(self.cipher), *self._rest())

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of what is compared with such a column: the same."""
        return self

    @property
    def python_type(self) -> type[Any]:
        """The type of values."""
        return self.of if isinstance(self.of, type) else object

    def _rest(self) -> tuple[str, ...]:
        return () if self.tenant is None else (self.tenant(),)

    def __repr__(self) -> str:
        # What migration tools write down; a table is made without keys.
        return f"EncryptedType(context={self.context!r}{', binary=True' if self.binary else ''})"


class TokenType(TypeDecorator[Any]):
    """The column under an `EncryptedAttribute`: it takes tokens, and refuses whatever is none.

    So a bulk insert, or a statement of Core, that goes past the attribute fails, and stores no plaintext.
    """

    impl = Text
    #: Statements with this type can be kept compiled.
    cache_ok = True
    #: Knows IS NULL and nothing else.
    comparator_factory = _NullOnly

    def __init__(self, binary: bool = False) -> None:  # noqa: FBT001, FBT002  (as in EncryptedType)
        super().__init__()
        self.binary = binary

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        withhold_plaintext(dialect)
        return dialect.type_descriptor(LargeBinary() if self.binary else Text())

    def process_bind_param(self, value: Any, dialect: Dialect) -> Any:
        """Return what is stored for a value."""
        if value is None or (isinstance(value, bytes if self.binary else str) and _is_token(value)):
            return value
        raise TypeError(
            "this column takes tokens only: write the attribute of an object, and flush it with a session; "
            "bulk and Core statements cannot bind a token to its row"
        )

    def process_result_value(self, value: Any, dialect: Dialect) -> Any:
        """Return the value of what is stored."""
        return bytes(value) if self.binary and value is not None else value

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of what is compared with such a column: the same."""
        return self


class BlindIndexType(TypeDecorator[str]):
    """A column of index tokens: it takes what `BlindIndex.of` returns and refuses whatever is none."""

    impl = String
    #: Statements with this type can be kept compiled.
    cache_ok = True

    def __init__(self) -> None:
        super().__init__(_INDEX_LENGTH)

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return the type of the database."""
        withhold_plaintext(dialect)
        return dialect.type_descriptor(String(_INDEX_LENGTH))

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        """Return what is stored for a value."""
        if value is None or BlindIndex.recognises(value):
            return value
        raise TypeError("this column takes index tokens only: write and look up index.of(value)")

    def coerce_compared_value(self, op: Any, value: Any) -> TypeEngine[Any]:
        """Return the type of what is compared with such a column: the same."""
        return self


def _is_token(value: str | bytes) -> bool:
    try:
        key_id_of(value)
    except DecryptionError:
        return False
    return True
