"""A column of tokens as a store that can be re-encrypted while it is used."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    Column,
    Engine,
    LargeBinary,
    Table,
    Text,
    and_,
    bindparam,
    func,
    inspect,
    select,
    tuple_,
    type_coerce,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import InstrumentedAttribute

from aisecure.adapters._sql_attribute import EncryptedColumns, context_part
from aisecure.adapters._sql_types import EncryptedType, TokenType
from aisecure.encryption.context import Part
from aisecure.encryption.reencryption import StoredToken, TokenChange
from aisecure.errors import Misconfigured, Unavailable

__all__ = ["TableTokens"]


class TableTokens:
    """The tokens of one column, as a store for `aisecure.encryption.reencrypt`.

    Rows are walked by their key (never by OFFSET) and changed by compare-and-swap, one transaction a batch. NULLs are
    passed over. The engine is a synchronous one; an application with an async engine makes a second for this.

    Args:
        engine: The database.
        column: A column of `EncryptedType`, an `EncryptedAttribute` as it is on its class, or any other column
            that holds tokens.
        key: The columns that name a row, unique together and not NULL; None for the primary key.
        context: Place of the tokens; a column stands for its value in the row. None for what the column's type
            or attribute says.

    Raises:
        Misconfigured: Key or context are needed and not given.

    >>> from sqlalchemy import Column, Integer, MetaData, Table, create_engine
    >>> from aisecure.adapters.sqlalchemy import EncryptedType
    >>> from aisecure.encryption import FieldCipher, Keyring, reencrypt
    >>> old = FieldCipher(Keyring.generate())
    >>> patients = Table(
    ...     "patients", MetaData(), Column("id", Integer, primary_key=True),
    ...     Column("notes", EncryptedType(old, context=("patients", "notes"))),
    ... )
    >>> engine = create_engine("sqlite://")
    >>> patients.metadata.create_all(engine)
    >>> with engine.begin() as connection:
    ...     done = connection.execute(patients.insert(), [{"notes": "well"}, {"notes": None}])
    >>> report = reencrypt(TableTokens(engine, patients.c.notes), FieldCipher(old.keyring.rotate()))
    >>> report.changed, report.ok, report.retirable == (old.keyring.primary,)
    (1, True, True)
    """

    def __init__(
        self,
        engine: Engine,
        column: Any,
        *,
        key: Sequence[Any] | None = None,
        context: Sequence[Part | Column[Any]] | None = None,
    ) -> None:
        if not isinstance(engine, Engine):
            raise TypeError(f"TableTokens takes an Engine of create_engine, not {type(engine).__name__}")
        if isinstance(column, EncryptedColumns):
            own = _context_of_attribute(column) if context is None else context
            column = _column(column.token)
        else:
            column = _column(column)
            own = _context_of_type(column) if context is None else context
        table = column.table
        if not isinstance(table, Table):
            raise TypeError("column belongs to a table")
        self._engine = engine
        self._column = column
        self._table = table
        self._keys: list[Column[Any]] = (
            list(table.primary_key.columns) if key is None else [_column(part) for part in key]
        )
        if not self._keys:
            raise Misconfigured(f"{self.name}: the table has no primary key; name a unique key")
        if not own:
            raise Misconfigured(f"{self.name}: say where its tokens are bound to: context=(...)")
        self._context = [_column(part) if isinstance(part, InstrumentedAttribute) else part for part in own]
        # What is stored, as it is: the column's own type would decrypt it.
        raw = LargeBinary() if _is_binary(column) else Text()
        self._raw = type_coerce(column, raw)
        # Parameters have names that no column has.
        same_key = [
            part == bindparam(f"aisecure_key_{n}", type_=part.type) for n, part in enumerate(self._keys)
        ]
        self._swap = (
            update(table)
            .where(and_(*same_key), self._raw == bindparam("aisecure_old", type_=raw))
            .values({column: bindparam("aisecure_new", type_=raw)})
        )

    @property
    def name(self) -> str:
        """Table and column."""
        return f"{self._table.fullname}.{self._column.name}"

    def count(self) -> int:
        """Return how many tokens there are."""
        with _Reported(self.name), self._engine.connect() as connection:
            return int(connection.scalar(select(func.count()).where(self._raw.is_not(None))) or 0)

    def read(self, after: tuple[Any, ...] | None, limit: int) -> list[StoredToken]:
        """Return the next tokens in the order of their keys."""
        parts = [part for part in self._context if isinstance(part, Column)]
        query = (
            select(*self._keys, self._raw, *parts)
            .where(self._raw.is_not(None))
            .order_by(*self._keys)
            .limit(limit)
        )
        if after is not None:
            query = query.where(self._later_than(after))
        with _Reported(self.name), self._engine.connect() as connection:
            rows = connection.execute(query).all()
        size = len(self._keys)
        return [StoredToken(tuple(row[:size]), row[size], self._place(iter(row[size + 1 :]))) for row in rows]

    def swap(self, changes: Sequence[TokenChange]) -> int:
        """Replace each old token that is still in its place, in one transaction; return how many were."""
        values = [
            {f"aisecure_key_{n}": part for n, part in enumerate(change.key)}
            | {"aisecure_old": change.old, "aisecure_new": change.new}
            for change in changes
        ]
        with _Reported(self.name), self._engine.begin() as connection:
            if connection.dialect.supports_sane_multi_rowcount:
                return connection.execute(self._swap, values).rowcount
            return sum(connection.execute(self._swap, one).rowcount for one in values)

    def _later_than(self, after: tuple[Any, ...]) -> Any:
        if len(self._keys) == 1:
            return self._keys[0] > after[0]
        # One comparison of rows, which a database answers from the index of the key.
        bound = [
            bindparam(None, value, type_=part.type) for part, value in zip(self._keys, after, strict=True)
        ]
        return tuple_(*self._keys) > tuple_(*bound)

    def _place(self, values: Any) -> tuple[Part, ...]:
        return tuple(
            _part_of_row(next(values), part) if isinstance(part, Column) else part for part in self._context
        )

    def __repr__(self) -> str:
        return f"TableTokens({self.name!r})"


class _Reported:
    """Turns errors of the database into one that says what to do and quotes nothing."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, err: BaseException | None, trace: object) -> None:
        if isinstance(err, SQLAlchemyError):
            # The driver's text may name users and hosts; its class says whether it is gone, locked or full.
            reason = type(getattr(err, "orig", None) or err).__name__
            raise Unavailable(
                f"{self._name}: the database could not be used ({reason}); what was re-encrypted stays so, start again",
                code="unavailable.storage",
            ) from err


def _column(source: Any) -> Column[Any]:
    if isinstance(source, InstrumentedAttribute):
        source = source.property.columns[0]
    if not isinstance(source, Column):
        raise TypeError(f"column is a column of a table, not {type(source).__name__}")
    return source


def _is_binary(column: Column[Any]) -> bool:
    if isinstance(column.type, EncryptedType | TokenType):
        return column.type.binary
    return isinstance(column.type, LargeBinary)


def _context_of_type(column: Column[Any]) -> tuple[Part, ...]:
    if not isinstance(column.type, EncryptedType):
        return ()
    if column.type.tenant is not None:
        raise Misconfigured(
            f"{column}: its tokens are bound to a tenant, which only the row can tell: "
            "give context=(*names, table.c.tenant)"
        )
    return column.type.context


def _context_of_attribute(columns: EncryptedColumns) -> tuple[Part | Column[Any], ...]:
    attribute, mapper = columns.attribute, inspect(columns.owner).mapper
    if callable(attribute.tenant):
        raise Misconfigured(
            f"{attribute.sealer.place}: its tokens are bound to a tenant, which only the row can tell: "
            "give context=(*names, table.c.tenant, *key)"
        )
    names = (*(() if attribute.tenant is None else (attribute.tenant,)), *attribute.row_of(mapper))
    return (*attribute.sealer.context, *(_column(getattr(columns.owner, name)) for name in names))


def _part_of_row(value: Any, column: Column[Any]) -> Part:
    # NULL names no row: such a token cannot have been made, and will be counted as one that does not open.
    return "" if value is None else context_part(value, column.name)
