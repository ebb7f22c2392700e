"""Tables of ours in a database of somebody else's: made once, with a version, and every failure is `Unavailable`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy import Column, Connection, Engine, Integer, MetaData, String, Table, insert, select
from sqlalchemy import inspect as inspected
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError, StatementError

from aisecure.errors import Misconfigured, Unavailable

__all__ = ["Database", "metadata"]

T = TypeVar("T")

#: Databases that compare texts letter by letter, as ids need it; others may take Ana for ana.
_DIALECTS = ("postgresql", "sqlite")
#: How often tables are tried to be made beside other processes that make them.
_TRIES = 8


def metadata(schema: str | None) -> MetaData:
    """Return what tables of ours begin with: the table of their versions."""
    data = MetaData(schema=schema)
    Table(
        "aisecure_schema",
        data,
        Column("concern", String(64), primary_key=True),
        Column("version", Integer, nullable=False),
    )
    return data


class Database:
    """Runs pieces of work as one transaction each.

    Args:
        engine: As `sqlalchemy.create_engine` returns it; its timeouts hold.

    Raises:
        TypeError: It is no engine of SQLAlchemy, or one for coroutines.
        Misconfigured: Its dialect is none of those that this is tested on.
    """

    def __init__(self, engine: Engine) -> None:
        if not isinstance(engine, Engine):
            raise TypeError(f"engine: give what create_engine returns, not {type(engine).__name__}")
        if engine.dialect.name not in _DIALECTS:
            raise Misconfigured(
                f"a database of {engine.dialect.name} may take two ids for one; use one of {', '.join(_DIALECTS)}"
            )
        self.engine = engine

    def __repr__(self) -> str:
        # Not the engine's, which names host and user.
        return f"Database({self.engine.dialect.name})"

    def run(self, work: Callable[[Connection], T], *, tries: int = 1) -> T:
        """Return what the work returns; all that it did is done, or nothing.

        Args:
            work: What is done in one transaction.
            tries: How often it is begun in all, when the work of others came between.

        Raises:
            Unavailable: The database is locked, damaged, full, read-only or gone.
        """
        for left in reversed(range(tries)):
            try:
                with self.engine.begin() as connection:
                    return work(connection)
            except SQLAlchemyError as err:
                if left and _came_between(err):
                    continue
                cause = err.orig if isinstance(err, StatementError) and err.orig is not None else err
                name = type(cause).__name__
                break
        # Here, so that the error is nobody's context: SQLAlchemy quotes the parameters of a failed statement.
        raise Unavailable(f"the database could not be used ({name})", code="unavailable.storage")

    def prepare(self, concern: str, data: MetaData, version: int) -> None:
        """Make the tables that are absent, and check that their version is known.

        Raises:
            Misconfigured: The tables were made by a newer version of the library.
            Unavailable: They could not be made.
        """
        names = [table.name for table in data.sorted_tables]
        schema = data.tables[_full("aisecure_schema", data.schema)]

        def absent(connection: Connection) -> bool:
            there = inspected(connection)
            return not all(there.has_table(name, schema=data.schema) for name in names)

        def found(connection: Connection) -> int | None:
            return connection.scalar(select(schema.c.version).where(schema.c.concern == concern))

        for left in reversed(range(_TRIES)):
            if not self.run(absent):
                break
            try:
                self.run(data.create_all)
            except Unavailable:
                # Another process may be making them in this moment, one after the other.
                if not left and self.run(absent):
                    raise
        done = self.run(found)
        if done is None:
            done = self._written(concern, version, schema, found)
        if done > version:
            raise Misconfigured(
                f"the database's tables of {concern} are at version {done}, this library knows {version}; upgrade aisecure"
            )

    def _written(
        self, concern: str, version: int, schema: Table, found: Callable[[Connection], int | None]
    ) -> int:
        try:
            self.run(
                lambda connection: connection.execute(insert(schema).values(concern=concern, version=version))
            )
        except Unavailable:
            done = self.run(found)
            if done is None:
                raise
            return done
        return version


def _came_between(err: SQLAlchemyError) -> bool:
    """Whether a transaction was undone because of another one, so that it may succeed when it is begun anew."""
    if isinstance(err, IntegrityError):
        return True
    # Class 40 of SQL: deadlocks, and what cannot be put in an order. psycopg says sqlstate, psycopg2 pgcode.
    cause = err.orig if isinstance(err, DBAPIError) else None
    state = getattr(cause, "sqlstate", None) or getattr(cause, "pgcode", None) or ""
    return str(state).startswith("40")


def _full(name: str, schema: str | None) -> str:
    return name if schema is None else f"{schema}.{name}"
