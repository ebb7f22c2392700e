"""An ORM attribute whose token is bound to the row, with an index that is written with it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Generic, NoReturn, Self, TypeVar, overload
from uuid import UUID

from sqlalchemy import CHAR, Integer, String, Uuid, event
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Mapper, mapped_column, object_mapper
from sqlalchemy.orm.attributes import get_history
from sqlalchemy.orm.base import PASSIVE_NO_INITIALIZE
from sqlalchemy.sql.elements import ColumnElement

from aisecure.adapters._sql_ciphers import CipherSource, cipher_of
from aisecure.adapters._sql_types import BlindIndexType, Sealer, TokenType
from aisecure.encryption.blind_index import BlindIndex
from aisecure.encryption.context import Part
from aisecure.errors import Misconfigured

__all__ = ["EncryptedAttribute", "EncryptedColumns", "context_part"]

T = TypeVar("T")


class _Pending:
    """A plaintext that waits in the place of its token until the flush, which knows the row."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "<to be encrypted>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an object with unflushed encrypted attributes is not pickled: it holds plaintext")


class EncryptedAttribute(Generic[T]):
    """An attribute of a mapped class that is plain in Python and, in the database, a token bound to its row.

    It adds a column of its own name (mapped as ``<name>_token``) and, with ``index``, a second one, ``<name>_index``,
    which is written with it and can be unique. On the class it compares: ``Patient.email == "ada@example.org"``
    becomes a look-up in the index. Tokens that were moved to another row, or between tables or columns, do not open.
    Set to None, both columns are NULL.

    Tokens are made when the session flushes an object. Statements that write past objects (bulk inserts,
    ``update()``, Core) cannot know the row: the columns refuse all but tokens, so they fail and store no plaintext.
    The row's key has to be known before the INSERT: give it a default that Python computes, such as ``uuid4``, or
    name other attributes that have one as ``row``; it cannot change later. Each reading of the attribute decrypts, so
    changes inside a dict or list are lost: assign a new one.

    Args:
        cipher: A cipher; a function that returns one; or None for that of `using_cipher`.
        context: Table and column, or other names that stay when those are renamed.
        of: The type of values, as for `EncryptedType`.
        binary: Keep tokens as bytes; always so for ``bytes``.
        row: Names of the attributes that name the row; None for the primary key. Texts, whole numbers or UUIDs.
        tenant: Name of the attribute that holds the tenant; or a function that returns the present one, such as
            `current_tenant`; or None.
        index: Makes equality look-ups possible, with what it reveals.
        unique: Let the database refuse a second row with the same value. Give the index all its bits, and one key.
        nullable: Whether None may be stored.
        deferred: Load the token when it is first asked for.

    >>> from uuid import uuid4
    >>> from sqlalchemy import Uuid, create_engine, select
    >>> from sqlalchemy.orm import DeclarativeBase, Session, mapped_column
    >>> from aisecure.encryption import BlindIndex, FieldCipher, Keyring
    >>> class Base(DeclarativeBase): pass
    >>> class Patient(Base):
    ...     __tablename__ = "patients"
    ...     id = mapped_column(Uuid, primary_key=True, default=uuid4)
    ...     email = EncryptedAttribute(
    ...         FieldCipher(Keyring.generate()), context=("patients", "email"),
    ...         index=BlindIndex(Keyring.generate(), field=("patients", "email")),
    ...     )
    >>> engine = create_engine("sqlite://")
    >>> Base.metadata.create_all(engine)
    >>> with Session(engine) as session:
    ...     session.add(Patient(email="ada@example.org"))
    ...     session.commit()
    ...     session.scalars(select(Patient).where(Patient.email == "ada@example.org")).one().email
    'ada@example.org'
    """

    @overload
    def __init__(
        self: EncryptedAttribute[str | None],
        cipher: CipherSource = None,
        *,
        context: tuple[Part, ...],
        binary: bool | None = None,
        row: tuple[str, ...] | None = None,
        tenant: str | Callable[[], str] | None = None,
        index: BlindIndex | None = None,
        unique: bool = False,
        nullable: bool = True,
        deferred: bool = False,
    ) -> None: ...
    @overload
    def __init__(
        self: EncryptedAttribute[T | None],
        cipher: CipherSource = None,
        *,
        context: tuple[Part, ...],
        of: type[T],
        binary: bool | None = None,
        row: tuple[str, ...] | None = None,
        tenant: str | Callable[[], str] | None = None,
        index: BlindIndex | None = None,
        unique: bool = False,
        nullable: bool = True,
        deferred: bool = False,
    ) -> None: ...
    def __init__(
        self,
        cipher: CipherSource = None,
        *,
        context: tuple[Part, ...],
        of: Any = str,
        binary: bool | None = None,
        row: tuple[str, ...] | None = None,
        tenant: str | Callable[[], str] | None = None,
        index: BlindIndex | None = None,
        unique: bool = False,
        nullable: bool = True,
        deferred: bool = False,
    ) -> None:
        if row is not None and (type(row) is not tuple or not row):
            raise TypeError("row is a tuple of names of attributes, or None for the primary key")
        if unique and index is None:
            raise ValueError("unique needs an index: tokens of equal values differ")
        self.cipher = cipher
        self.sealer = Sealer(cipher, context, of, binary=of is bytes if binary is None else binary)
        self.tenant = tenant
        self.index = index
        self._row = row
        self._unique = unique
        self._nullable = nullable
        self._deferred = deferred
        self.name = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        self.name = name
        # Before SQLAlchemy looks at the class, which finds these as if they had been written there.
        token: Any = mapped_column(
            name,
            # None is written as NULL, and not taken for "left out", which is the mark of a bulk insert.
            TokenType(self.sealer.binary).evaluates_none(),
            default=self._left_out,
            nullable=self._nullable,
            deferred=self._deferred,
        )
        setattr(owner, self.token_name, token)
        if self.index is not None:
            index: Any = mapped_column(
                self.index_name,
                BlindIndexType(),
                nullable=self._nullable,
                index=not self._unique,
                unique=self._unique or None,
            )
            setattr(owner, self.index_name, index)
        event.listen(owner, "before_insert", self._before_insert, propagate=True)
        event.listen(owner, "before_update", self._before_update, propagate=True)

    @property
    def token_name(self) -> str:
        """Name of the attribute of the token's column."""
        return f"{self.name}_token"

    @property
    def index_name(self) -> str:
        """Name of the attribute, and the column, of the index."""
        return f"{self.name}_index"

    @overload
    def __get__(self, target: None, owner: type[Any]) -> EncryptedColumns: ...
    @overload
    def __get__(self, target: object, owner: type[Any]) -> T: ...
    def __get__(self, target: object | None, owner: type[Any]) -> EncryptedColumns | T | Self:
        if target is None:
            return EncryptedColumns(self, owner)
        held = getattr(target, self.token_name)
        if held is None or isinstance(held, _Pending):
            return None if held is None else held.value  # type: ignore[return-value]  # T has None
        opened: T = self.sealer.open(held, cipher_of(self.cipher), *self._place(target))
        return opened

    def __set__(self, target: object, value: T) -> None:
        setattr(target, self.token_name, None if value is None else _Pending(value))

    def row_of(self, mapper: Mapper[Any]) -> tuple[str, ...]:
        """Return the names of the attributes that name a row."""
        if self._row is not None:
            return self._row
        return tuple(mapper.get_property_by_column(column).key for column in mapper.primary_key)

    def _place(self, target: object) -> tuple[Part, ...]:
        """Return what comes after the constant part of the context of a row."""
        row = (self._part(target, name) for name in self.row_of(object_mapper(target)))
        return (*self._tenant(target), *row)

    def _tenant(self, target: object) -> tuple[str, ...]:
        if self.tenant is None:
            return ()
        tenant = getattr(target, self.tenant) if isinstance(self.tenant, str) else self.tenant()
        if not isinstance(tenant, str):
            raise TypeError(f"{self.sealer.place}: the tenant is a text, not {type(tenant).__name__}")
        return (tenant,)

    def _part(self, target: object, name: str) -> Part:
        return context_part(getattr(target, name), f"{self.sealer.place}: {name}")

    def _before_insert(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        held = getattr(target, self.token_name)
        if isinstance(held, _Pending):
            for name in self.row_of(mapper):
                self._make_key(mapper, target, name)
                self._check_key(mapper, target, name)
        elif held is None:
            setattr(target, self.token_name, None)
        self._seal(target)

    def _left_out(self, context: Any) -> None:
        """Stand in for what an INSERT left out: NULL, where nothing can have been meant for this attribute.

        A bulk insert of the ORM drops keys that name no column without a word, and this attribute's is one.
        """
        subject = context.compiled.statement._propagate_attrs.get("plugin_subject")  # noqa: SLF001
        if subject is not None and self.token_name in subject.mapper.attrs:
            raise TypeError(
                f"{self.sealer.place}: a bulk insert cannot bind a token to its row; add objects to a session, "
                f"or give {self.token_name}=None for NULL"
            )

    def _before_update(self, mapper: Mapper[Any], connection: Connection, target: object) -> None:
        bound = (*self.row_of(mapper), *((self.tenant,) if isinstance(self.tenant, str) else ()))
        # Without loading what was not touched: a flush is no time for more SELECTs.
        if any(get_history(target, name, PASSIVE_NO_INITIALIZE).added for name in bound):
            raise ValueError(
                f"{self.sealer.place}: its tokens are bound to {', '.join(bound)}, which therefore cannot change; "
                "make a new record"
            )
        if get_history(target, self.token_name, PASSIVE_NO_INITIALIZE).added:
            self._seal(target)

    def _seal(self, target: object) -> None:
        """Put token and index in the place of the plaintext."""
        held = getattr(target, self.token_name)
        value = held.value if isinstance(held, _Pending) else None
        if isinstance(held, _Pending):
            token = self.sealer.seal(value, cipher_of(self.cipher), *self._place(target))
            setattr(target, self.token_name, token)
        elif held is not None:
            return  # a token from a backup or a merge; it opens here or nowhere
        if self.index is not None:
            found = None if value is None else self.index.of(value, tenant=self._index_tenant(target))
            setattr(target, self.index_name, found)

    def _index_tenant(self, target: object) -> str:
        return next(iter(self._tenant(target)), "default")

    def _make_key(self, mapper: Mapper[Any], target: object, name: str) -> None:
        """Take the default of a part of the row's key now; SQLAlchemy would do so after this."""
        if getattr(target, name) is not None:
            return
        for column in mapper.get_property(name).columns:
            default = column.default
            if default is not None and (default.is_callable or default.is_scalar):
                setattr(target, name, default.arg(None) if default.is_callable else default.arg)
                return
        raise Misconfigured(
            f"{self.sealer.place}: {name} is not known before the INSERT, so no token can be bound to it; "
            "give it a default that Python computes (default=uuid4), or name another attribute as row"
        )

    def _check_key(self, mapper: Mapper[Any], target: object, name: str) -> None:
        """Refuse a key that the database would give back as another value: the token would not open for it."""
        kind = mapper.get_property(name).columns[0].type
        value = getattr(target, name)
        if isinstance(kind, CHAR):
            raise Misconfigured(
                f"{self.sealer.place}: {name} is a CHAR, which databases pad; make it a String"
            )
        if isinstance(kind, Uuid) and isinstance(value, str):
            if value != str(UUID(value)):
                raise ValueError(f"{self.sealer.place}: {name} is written as str(UUID(...)) writes it")
        elif isinstance(kind, Integer | String) and not isinstance(value, kind.python_type):
            raise TypeError(
                f"{self.sealer.place}: {name} is of type {kind.python_type.__name__}, not {type(value).__name__}"
            )


class EncryptedColumns:
    """What an `EncryptedAttribute` is on its class: the columns, and the comparisons that have an answer.

    Attributes:
        attribute: The attribute.
        owner: The class it was read from, or an alias of it.
    """

    __hash__ = None  # type: ignore[assignment]  # it compares by SQL

    def __init__(self, attribute: EncryptedAttribute[Any], owner: Any) -> None:
        self.attribute = attribute
        self.owner = owner

    def adapt_to_entity(self, entity: Any) -> EncryptedColumns:
        """Return the same of an alias of the class; `sqlalchemy.orm.aliased` asks for it."""
        return EncryptedColumns(self.attribute, entity.entity)

    @property
    def token(self) -> Any:
        """The column of tokens, for IS NULL, ``undefer`` and re-encryption."""
        return getattr(self.owner, self.attribute.token_name)

    @property
    def index(self) -> Any:
        """The column of index tokens.

        Raises:
            TypeError: There is none.
        """
        self._blind_index()
        return getattr(self.owner, self.attribute.index_name)

    def equals(self, value: Any, *, tenant: str | None = None) -> ColumnElement[bool]:
        """Return the condition that the value is this one, for a tenant.

        A truncated index also finds rows of other values: compare the attribute after loading.

        Args:
            value: What to look for.
            tenant: Needed where the tenant is an attribute of rows; None for the present one otherwise.
        """
        return self.is_in((value,), tenant=tenant)

    def is_in(self, values: Iterable[Any], *, tenant: str | None = None) -> ColumnElement[bool]:
        """Return the condition that the value is one of these, for a tenant; see `equals`."""
        index = self._blind_index()
        if tenant is None:
            tenant = self._present_tenant()
        found: ColumnElement[bool] = self.index.in_(
            [token for value in values for token in index.candidates(value, tenant=tenant)]
        )
        return found

    def in_(self, values: Iterable[Any]) -> ColumnElement[bool]:
        """Return the condition that the value is one of these."""
        return self.is_in(values)

    def is_(self, other: None) -> ColumnElement[bool]:
        """Return the condition that there is no value."""
        null: ColumnElement[bool] = self.token.is_(other)
        return null

    def is_not(self, other: None) -> ColumnElement[bool]:
        """Return the condition that there is a value."""
        some: ColumnElement[bool] = self.token.is_not(other)
        return some

    def __eq__(self, other: object) -> ColumnElement[bool]:  # type: ignore[override]  # SQL
        return self.is_(None) if other is None else self.equals(other)

    def __ne__(self, other: object) -> ColumnElement[bool]:  # type: ignore[override]  # SQL
        if other is None:
            return self.is_not(None)
        raise TypeError(f"{self.attribute.sealer.place}: an index finds equal values only; filter the rest")

    def _blind_index(self) -> BlindIndex:
        index = self.attribute.index
        if index is None:
            raise TypeError(
                f"{self.attribute.sealer.place} cannot be compared; give it index=BlindIndex(...)"
            )
        return index

    def _present_tenant(self) -> str:
        tenant = self.attribute.tenant
        if isinstance(tenant, str):
            raise TypeError(
                f"{self.attribute.sealer.place}: which tenant? use equals(value, tenant=...) or is_in(...)"
            )
        return "default" if tenant is None else tenant()

    def __repr__(self) -> str:
        return f"<encrypted {self.attribute.sealer.place}>"


def context_part(value: object, name: str) -> Part:
    """Return a value of a key as part of a context.

    Raises:
        TypeError: It is of a kind that would not be read back as it was written.
    """
    if isinstance(value, str | int) and not isinstance(value, bool):
        return value
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{name} is a text, a whole number or a UUID, not {type(value).__name__}")
