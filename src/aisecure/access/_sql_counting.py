"""What shows that a table of rules changed, whoever changed it."""

from __future__ import annotations

from typing import Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    String,
    Table,
    cast,
    func,
    insert,
    literal_column,
    select,
    update,
)

from aisecure._sql_database import Database
from aisecure.errors import Unavailable

__all__ = ["Counting", "Stamp"]

_ACTIONS: Final = ("insert", "update", "delete")


class Stamp(NamedTuple):
    """Another one whenever the table is another.

    Attributes:
        version: Counted by changes made through this library, and on SQLite by every change.
        rows: How many there are.
        last: The greatest id.
        writers: On PostgreSQL, the sum of the transactions that wrote the rows: an update in place shows in it.
    """

    version: int
    rows: int
    last: int
    writers: int


class Counting:
    """Stamps of one table, with a row of our own in the table ``aisecure_policies``.

    Other programs need not know of it. PostgreSQL tells which transaction wrote a row. SQLite does not, and gives the
    id of a deleted row to the next one: there, three triggers on the table count up.

    Args:
        data: What both tables belong to.
        rows: The rules; has an ``id``.
    """

    def __init__(self, data: MetaData, rows: Table) -> None:
        self._rows = rows
        self._name = rows.name
        self._versions = Table(
            "aisecure_policies",
            data,
            Column("name", String(255), primary_key=True),
            Column("version", BigInteger, nullable=False),
        )
        self._mine = self._versions.c.name == self._name

    def begin(self, database: Database, engine: Engine) -> None:
        """Make the row and the triggers, where they are absent.

        Raises:
            Unavailable: They could not be made.
        """
        if not database.run(self._is_begun):
            try:
                database.run(self._begin)
            except Unavailable:
                # Another process may have written it in this moment, and then all is well.
                if not database.run(self._is_begun):
                    raise
        if engine.dialect.name == "sqlite":
            database.run(self._make_triggers)

    def stamp(self, connection: Connection) -> Stamp:
        """Return the stamp of the table as it is."""
        version = connection.scalar(select(self._versions.c.version).where(self._mine))
        counts = [func.count(), func.max(self._rows.c.id)]
        if connection.dialect.name == "postgresql":
            # There is no cast of a transaction to a number but by its text.
            counts.append(func.sum(cast(cast(literal_column("xmin"), String), BigInteger)))
        rows, last, *writers = connection.execute(select(*counts).select_from(self._rows)).one()
        return Stamp(version or 0, rows, last or 0, int(writers[0] or 0) if writers else 0)

    def is_turn(self, connection: Connection, stamp: Stamp) -> bool:
        """Keep all other writers out until the transaction ends; return whether the table still has the stamp."""
        if connection.dialect.name == "postgresql":
            # Other programs too: what they wrote after this and before the stamp of the end would never be seen.
            table = connection.dialect.identifier_preparer.format_table(self._rows)
            connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        connection.execute(
            update(self._versions).where(self._mine).values(version=self._versions.c.version + 1)
        )
        now = self.stamp(connection)
        return now._replace(version=now.version - 1) == stamp

    def _is_begun(self, connection: Connection) -> bool:
        return connection.scalar(select(self._versions.c.version).where(self._mine)) is not None

    def _begin(self, connection: Connection) -> None:
        connection.execute(insert(self._versions).values(name=self._name, version=0))

    def _make_triggers(self, connection: Connection) -> None:
        quote = connection.dialect.identifier_preparer.quote_identifier
        home = "" if self._rows.schema is None else f"{quote(self._rows.schema)}."
        known = connection.exec_driver_sql(f"SELECT name FROM {home}sqlite_master WHERE type = 'trigger'")  # noqa: S608
        there = set(known.scalars())
        mine = self._name.replace("'", "''")
        for action in _ACTIONS:
            trigger = f"aisecure_{self._name}_{action}"
            if trigger not in there:
                connection.exec_driver_sql(
                    f"CREATE TRIGGER IF NOT EXISTS {home}{quote(trigger)} AFTER {action} ON {quote(self._name)} "  # noqa: S608  (names, quoted)
                    f"BEGIN UPDATE aisecure_policies SET version = version + 1 WHERE name = '{mine}'; END"
                )
