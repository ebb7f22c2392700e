"""The rules of a policy as rows of a table."""

from __future__ import annotations

import os
from typing import Any, Final

from aisecure.errors import Misconfigured

try:
    import sqlalchemy as _  # noqa: F401
except ImportError as err:
    raise Misconfigured(
        "a policy in SQL needs the package sqlalchemy; run: pip install 'aisecure[sql]'", code="config.extra"
    ) from err

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    String,
    Table,
    and_,
    create_engine,
    delete,
    insert,
    select,
)
from sqlalchemy.exc import ArgumentError

from aisecure._sql_database import Database, metadata
from aisecure.access._changes import PolicyChange
from aisecure.access._sources import PolicyRows, PolicyText, model_text
from aisecure.access._sql_counting import Counting, Stamp

__all__ = ["SqlPolicy"]

_VERSION: Final = 1
#: Fields of a line that the table has room for, as with Casbin's own adapters.
_WIDTH: Final = 6
_CHARS: Final = 255
#: Seconds that a decision waits at most for a connection, and milliseconds for a server that fell silent (libpq).
_TIMEOUTS: Final = {"connect_timeout": 2, "tcp_user_timeout": 5000}


class _Behind(Exception):
    """Somebody else changed the table first; ends the transaction without a trace."""


class SqlPolicy:
    """A policy in a table, for `aisecure.access.Authorizer`; give it to several, in several processes.

    Changes made through an authorizer are one transaction each and come one after the other. An authorizer elsewhere
    sees them at its next look, and so it does whatever other programs insert, update or delete.

    A database that hangs holds up the one decision that looks; set the timeouts of the engine, or use `at`.

    Args:
        engine: As `sqlalchemy.create_engine` returns it; its timeouts hold.
        model: A Casbin model: its text when it has several lines, or a file's path; None is the built-in one.
        table: Name of the table; made when absent.
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
        self._model, self._model_name = model_text(model)
        self._shared_tenant = shared_tenant
        data = metadata(schema)
        self._rows = Table(
            table,
            data,
            Column("id", Integer, primary_key=True),
            # Null is allowed everywhere, as in the tables of Casbin's adapters; `read` refuses what is no rule.
            Column("ptype", String(_CHARS)),
            *[Column(f"v{number}", String(_CHARS)) for number in range(_WIDTH)],
            # Rules to be removed are looked for; of the fields no more fit into a key of PostgreSQL.
            Index(None, "ptype", "v0"),
        )
        self._values = [self._rows.c[f"v{number}"] for number in range(_WIDTH)]
        self._counting = Counting(data, self._rows)
        self._database.prepare("policies", data, _VERSION)
        self._counting.begin(self._database, engine)

    @classmethod
    def at(
        cls,
        url: str,
        *,
        model: str | os.PathLike[str] | None = None,
        table: str = "casbin_rule",
        shared_tenant: str | None = None,
    ) -> SqlPolicy:
        """Return the policy in the database at a URL, with short timeouts for PostgreSQL.

        Raises:
            Misconfigured: The URL is none, or its driver is not installed; and as for the class.
            Unavailable: As for the class.
        """
        is_libpq = url.startswith(("postgresql://", "postgresql+psycopg://", "postgresql+psycopg2://"))
        try:
            engine = create_engine(url, pool_pre_ping=True, connect_args=dict(_TIMEOUTS) if is_libpq else {})
        except (ArgumentError, ImportError, ValueError):
            # ``from None``: the text of the parser may quote the password.
            raise Misconfigured(
                "database: write a URL such as postgresql+psycopg://user@host/name or sqlite:////path/to/file, and "
                "install its driver",
                code="config.policy",
            ) from None
        return cls(engine, model=model, table=table, shared_tenant=shared_tenant)

    def __repr__(self) -> str:
        return f"SqlPolicy({self._database!r}, table={self._rows.name!r})"

    def stamp(self) -> Stamp:
        """Return what shows that the table changed.

        Raises:
            Unavailable: The database does not answer.
        """
        return self._database.run(self._counting.stamp)

    def read(self) -> tuple[PolicyRows, Stamp]:
        """Return all rules and links, and the stamp of what was read.

        Raises:
            Unavailable: The database does not answer.
            Misconfigured: A row has no kind, a gap between its values, or a value that is no text.
        """
        return self._database.run(self._read_all)

    def write(self, after: PolicyText | PolicyRows, change: PolicyChange, stamp: Any) -> Stamp | None:
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

    # -- inside of one transaction

    def _read_all(self, connection: Connection) -> tuple[PolicyRows, Stamp]:
        # The stamp first: what changes between shows as a change at the next look, and is read again.
        stamp = self._counting.stamp(connection)
        found: dict[str, list[tuple[str, ...]]] = {}
        statement = select(self._rows.c.id, self._rows.c.ptype, *self._values).order_by(self._rows.c.id)
        for number, kind, *values in connection.execute(statement):
            while values and not values[-1]:
                values.pop()
            if not kind or not all(values) or not all(type(value) is str for value in (kind, *values)):
                raise Misconfigured(
                    f"the table {self._rows.name}: row {number} has no kind, an empty value before another, or a value "
                    "that is no text",
                    code="config.policy",
                )
            found.setdefault(kind, []).append(tuple(values))
        name = f"the table {self._rows.name}"
        return PolicyRows(self._model, found, self._model_name, name, self._shared_tenant), stamp

    def _stored(self, connection: Connection, change: PolicyChange, stamp: Stamp) -> Stamp:
        if not self._counting.is_turn(connection, stamp):
            raise _Behind
        for kind, row in change.remove:
            values = [*row, *[None] * (_WIDTH - len(row))]
            same = [
                column.is_(None) | (column == "") if value is None else column == value
                for column, value in zip(self._values, values, strict=True)
            ]
            connection.execute(delete(self._rows).where(and_(self._rows.c.ptype == kind, *same)))
        if change.add:
            # One statement for all of them, so each row names every field.
            rows = [[kind, *row, *[None] * (_WIDTH - len(row))] for kind, row in change.add]
            names = ["ptype", *(column.name for column in self._values)]
            connection.execute(insert(self._rows), [dict(zip(names, row, strict=True)) for row in rows])
        return self._counting.stamp(connection)
