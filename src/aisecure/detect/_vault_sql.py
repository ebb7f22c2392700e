"""Pseudonyms in a table of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    delete,
    func,
    insert,
    select,
    tuple_,
    update,
)  # fmt: skip

from aisecure._sql_database import Database, metadata
from aisecure.detect.pseudonym_store import ValueDigest

__all__ = ["SqlPseudonyms"]

_VERSION = 1
#: Rows that are past their time and are deleted when one is added.
_SWEEP = 16
#: How often a piece of work is begun anew that another process's came between.
_TRIES = 8


class SqlPseudonyms:
    """Keeps pseudonyms in two tables, ``aisecure_pseudonyms`` and ``aisecure_schema``, which any number of processes share.

    Coroutines that a `RedactGuard` protects ask in a thread, so that a slow database holds up no event loop.
    After a fork the child's connections must be its own: call ``engine.dispose(close=False)`` there, as SQLAlchemy says.
    A hanging database holds up whoever waits for it: set the timeouts of the engine (for psycopg:
    ``connect_args={"connect_timeout": 2, "options": "-c statement_timeout=2000"}, pool_timeout=2``).

    Args:
        engine: As `sqlalchemy.create_engine` returns it.
        schema: Schema of the tables; the connection's own when None.

    Raises:
        TypeError: It is another kind of engine.
        Misconfigured: It is of a database that this is not tested on, or the tables are of a newer library.
        Unavailable: The tables are absent and cannot be made.
    """

    over_network = True

    def __init__(self, engine: Engine, *, schema: str | None = None) -> None:
        data = metadata(schema)
        self._rows = Table(
            "aisecure_pseudonyms",
            data,
            Column("scope", LargeBinary(32), primary_key=True),
            Column("label", Text, primary_key=True),
            Column("number", Integer, primary_key=True, autoincrement=False),
            Column("digest", LargeBinary(32), nullable=False),
            Column("token", Text, nullable=False),
            Column("tenant", LargeBinary(32), nullable=False),
            Column("expires", BigInteger, nullable=False),
            UniqueConstraint("scope", "label", "digest", name="aisecure_pseudonyms_digest"),
            Index("aisecure_pseudonyms_expires", "expires"),
            Index("aisecure_pseudonyms_tenant", "tenant"),
        )
        self._database = Database(engine)
        self._takes_turns = engine.dialect.name == "postgresql"
        if self._takes_turns:
            # At a stricter level a transaction would not see what was committed while it waited for its turn.
            self._database = Database(engine.execution_options(isolation_level="READ COMMITTED"))
        self._database.prepare("pseudonyms", data, _VERSION)

    def __repr__(self) -> str:
        return f"SqlPseudonyms({self._database!r})"

    def number_of(
        self, value: ValueDigest, *, now: int, expires: int, is_reserved: Callable[[int], bool]
    ) -> tuple[int, bool]:
        """Return the number of a value, a new one if it has none, and whether its token is stored already."""

        def work(connection: Connection) -> tuple[int, bool]:
            found = self._renewed(connection, value, now, expires)
            if found is None and self._takes_turns:
                # Until the transaction ends, nobody else adds to this conversation. The keys below would do, but
                # each value at once would be another try.
                turn = int.from_bytes(value.scope[:8], "big", signed=True)
                connection.execute(select(func.pg_advisory_xact_lock(turn)))
                found = self._renewed(connection, value, now, expires)
            if found is None:
                found = self._added(connection, value, expires, is_reserved), False
                self._sweep(connection, now)
            return found

        return self._database.run(work, tries=_TRIES)

    def keep(self, value: ValueDigest, number: int, token: str) -> None:
        """Store the token of a number, unless it has one, or the number is another value's by now."""
        rows = self._rows.c
        statement = (
            update(self._rows)
            .where(*self._is(value), rows.number == number, rows.token == "")
            .values(token=token)
        )
        self._database.run(lambda connection: connection.execute(statement), tries=_TRIES)

    def rows(self, scope: bytes, now: int) -> list[tuple[str, int, str]]:
        """Return label, number and token of everything in a scope that has a token."""
        rows = self._rows.c
        statement = select(rows.label, rows.number, rows.token).where(
            rows.scope == scope, rows.expires > now, rows.token != ""
        )
        found = self._database.run(lambda connection: connection.execute(statement).all())
        return [(label, number, token) for label, number, token in found]

    def erase(self, scope: bytes) -> int:
        """Delete a scope; return how many pseudonyms it had."""
        return self._deleted(self._rows.c.scope == scope)

    def erase_tenant(self, tenant: bytes) -> int:
        """Delete what a tenant has; return how many pseudonyms."""
        return self._deleted(self._rows.c.tenant == tenant)

    def purge(self, now: int) -> int:
        """Delete what is past its time; return how many pseudonyms."""
        return self._deleted(self._rows.c.expires <= now)

    def _deleted(self, which: ColumnElement[bool]) -> int:
        statement = delete(self._rows).where(which)
        # Two that delete the same rows in another order may each wait for the other; the database ends one of them.
        return self._database.run(lambda connection: connection.execute(statement).rowcount, tries=_TRIES)

    # -- inside of one transaction

    def _is(self, value: ValueDigest) -> tuple[ColumnElement[bool], ...]:
        rows = self._rows.c
        return rows.scope == value.scope, rows.label == value.label, rows.digest == value.digest

    def _renewed(
        self, connection: Connection, value: ValueDigest, now: int, expires: int
    ) -> tuple[int, bool] | None:
        rows = self._rows.c
        # Written before it is read: so SQLite takes the lock for writing first, for which it waits.
        renewal = update(self._rows).where(*self._is(value), rows.expires > now).values(expires=expires)
        if not connection.execute(renewal).rowcount:
            return None
        row = connection.execute(select(rows.number, rows.token).where(*self._is(value))).one()
        return row.number, bool(row.token)

    def _added(
        self,
        connection: Connection,
        value: ValueDigest,
        expires: int,
        is_reserved: Callable[[int], bool],
    ) -> int:
        rows = self._rows.c
        # One that is past its time and was not swept yet must not keep its digest.
        connection.execute(delete(self._rows).where(*self._is(value)))
        highest = select(func.max(rows.number)).where(rows.scope == value.scope, rows.label == value.label)
        number: int = (connection.scalar(highest) or 0) + 1
        while is_reserved(number):
            number += 1
        connection.execute(
            insert(self._rows).values(
                scope=value.scope,
                label=value.label,
                number=number,
                digest=value.digest,
                token="",
                tenant=value.owner,
                expires=expires,
            )
        )
        return number

    def _sweep(self, connection: Connection, now: int) -> None:
        rows = self._rows.c
        key = tuple_(rows.scope, rows.label, rows.number)
        # Nothing waits after this, and this waits for nobody: so no two can wait for each other.
        past = (
            select(rows.scope, rows.label, rows.number)
            .where(rows.expires <= now)
            .limit(_SWEEP)
            .with_for_update(skip_locked=True)
        )
        found = connection.execute(past).all()
        if found:
            connection.execute(delete(self._rows).where(key.in_([tuple(row) for row in found])))
