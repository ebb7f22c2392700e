"""The rules of a policy as rows of a table."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Integer,
    String,
    Table,
    and_,
    delete,
    func,
    insert,
    select,
    update,
)

from aisecure.access import PolicyChange, PolicyRows, PolicyText
from aisecure.adapters._sql_database import Database, metadata
from aisecure.errors import Misconfigured, Unavailable
from aisecure.storage import check_name

__all__ = ["SqlPolicy"]

_VERSION: Final = 1
#: Fields of a line that the table has room for, as with Casbin's own adapters.
_WIDTH: Final = 6
_CHARS: Final = 255


class _Behind(Exception):
    """Somebody else changed the table first; ends the transaction without a trace."""


class _Stamp(NamedTuple):
    """What shows that the table changed.

    Attributes:
        version: Counted by changes made here.
        rows: How many there are.
        last: The greatest id.
    """

    version: int
    rows: int
    last: int


class SqlPolicy:
    """A policy in a table, for `aisecure.access.Authorizer`; give it to several, in several processes.

    Changes made through an authorizer are one transaction each and come one after the other; an authorizer elsewhere
    sees them at its next look. What other programs insert or delete is seen too; a row that they update in
    place is not, until something else changes or the authorizer is told to `reload`.

    Args:
        engine: As `sqlalchemy.create_engine` returns it; its timeouts hold.
        model: A Casbin model: its text when it has several lines, or a file's path; None is the built-in one.
        table: Name of the table.
        schema: Schema of the tables; the connection's own when None.
        shared_tenant: Role links of this tenant hold in every tenant, with a model of your own.

    Raises:
        TypeError: It is another kind of engine.
        Misconfigured: It is of a database that this is not tested on, the model cannot be read, or the tables are of a
            newer library.
        Unavailable: The tables are absent and cannot be made.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        model: str | os.PathLike[str] | None = None,
        table: str = "casbin_rule",
        schema: str | None = None,
        shared_tenant: str | None = None,
    ) -> None:
        self._database = Database(engine)
        self._model, self._model_name = _read(model)
        self._shared_tenant = shared_tenant
        data = metadata(schema)
        self._versions = Table(
            "aisecure_policies",
            data,
            Column("name", String(_CHARS), primary_key=True),
            Column("version", BigInteger, nullable=False),
        )
        self._rows = Table(
            table,
            data,
            Column("id", Integer, primary_key=True),
            Column("ptype", String(_CHARS)),
            *[Column(f"v{number}", String(_CHARS)) for number in range(_WIDTH)],
        )
        self._values = [self._rows.c[f"v{number}"] for number in range(_WIDTH)]
        self._database.prepare("policies", data, _VERSION)
        self._begin_counting()

    def __repr__(self) -> str:
        return f"SqlPolicy({self._database!r}, table={self._rows.name!r})"

    def stamp(self) -> _Stamp:
        """Return what shows that the table changed.

        Raises:
            Unavailable: The database does not answer.
        """
        return self._database.run(self._stamped)

    def read(self) -> tuple[PolicyRows, _Stamp]:
        """Return all rules and links, and the stamp of what was read.

        Raises:
            Unavailable: The database does not answer.
            Misconfigured: A row has no kind, or a gap between its values.
        """
        return self._database.run(self._read_all)

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: Any) -> _Stamp | None:
        """Store a change in one transaction, unless the table changed meanwhile.

        Raises:
            Unavailable: The database does not take it; nothing is changed.
            Misconfigured: A line has more fields than the table, or longer ones.
        """
        for kind, row in change.add:
            if len(row) > _WIDTH or any(len(value) > _CHARS for value in (kind, *row)):
                raise Misconfigured(
                    f"the table {self._rows.name} takes {_WIDTH} fields of {_CHARS} characters a line",
                    code="config.policy",
                )
        try:
            return self._database.run(lambda connection: self._stored(connection, change, stamp))
        except _Behind:
            return None

    def _begin_counting(self) -> None:
        name = self._rows.name

        def absent(connection: Connection) -> bool:
            row = select(self._versions.c.version).where(self._versions.c.name == name)
            return connection.scalar(row) is None

        if self._database.run(absent):
            try:
                self._database.run(
                    lambda connection: connection.execute(insert(self._versions).values(name=name, version=0))
                )
            except Unavailable:
                # Another process may have written it in this moment, and then all is well.
                if self._database.run(absent):
                    raise

    # -- inside of one transaction

    def _stamped(self, connection: Connection) -> _Stamp:
        name = self._rows.name
        version = connection.scalar(select(self._versions.c.version).where(self._versions.c.name == name))
        rows, last = connection.execute(select(func.count(), func.max(self._rows.c.id))).one()
        return _Stamp(version or 0, rows, last or 0)

    def _read_all(self, connection: Connection) -> tuple[PolicyRows, _Stamp]:
        # The stamp first: what changes between shows as a change at the next look, and is read again.
        stamp = self._stamped(connection)
        found: dict[str, list[tuple[str, ...]]] = {}
        statement = select(self._rows.c.id, self._rows.c.ptype, *self._values).order_by(self._rows.c.id)
        for number, kind, *values in connection.execute(statement):
            while values and not values[-1]:
                values.pop()
            if not kind or not all(values):
                raise Misconfigured(
                    f"the table {self._rows.name}: row {number} has no kind, or an empty value before another",
                    code="config.policy",
                )
            found.setdefault(kind, []).append(tuple(values))
        name = f"the table {self._rows.name}"
        return PolicyRows(self._model, found, self._model_name, name, self._shared_tenant), stamp

    def _stored(self, connection: Connection, change: PolicyChange, stamp: _Stamp) -> _Stamp:
        name = self._rows.name
        # First a row that all writers here touch: whoever is second waits, and then sees another version.
        connection.execute(
            update(self._versions)
            .where(self._versions.c.name == name)
            .values(version=self._versions.c.version + 1)
        )
        now = self._stamped(connection)
        if now._replace(version=now.version - 1) != stamp:
            raise _Behind
        for kind, row in change.remove:
            values = [*row, *[None] * (_WIDTH - len(row))]
            same = [
                column.is_(None) | (column == "") if value is None else column == value
                for column, value in zip(self._values, values, strict=True)
            ]
            connection.execute(delete(self._rows).where(and_(self._rows.c.ptype == kind, *same)))
        if change.add:
            new = [
                {"ptype": kind, **{f"v{number}": value for number, value in enumerate(row)}}
                for kind, row in change.add
            ]
            for row_values in new:
                connection.execute(insert(self._rows).values(row_values))
        return self._stamped(connection)


def _read(model: str | os.PathLike[str] | None) -> tuple[str | None, str]:
    if model is None:
        return None, "the built-in model"
    if isinstance(model, str) and "\n" in model:
        return model, "the model"
    check_name(Path(model))
    try:
        return Path(model).read_text("utf-8-sig"), str(model)
    except (OSError, UnicodeDecodeError) as err:
        raise Misconfigured(
            f"{model}: cannot be read; name an existing model file in UTF-8", code="config.model"
        ) from err
