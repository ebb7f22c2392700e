"""Change notices in a table of SQLAlchemy."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable

from sqlalchemy import BigInteger, Column, Connection, Engine, String, Table, insert, select, update

from aisecure._sql_database import Database, metadata
from aisecure.errors import Unavailable
from aisecure.notices import Mark, PolledNotices

__all__ = ["SqlNotices"]

_VERSION = 1


class SqlNotices(PolledNotices):
    """Notices between processes that share a SQL database, in a row a topic of the table ``aisecure_notices``.

    Args:
        engine: As `sqlalchemy.create_engine` returns it.
        schema: Schema of the tables; the connection's own when None.
        poll_seconds: How old an answer may be: a change reaches every process within this time.
        monotonic: Clock for the poll interval.

    Raises:
        TypeError: It is another kind of engine.
        Misconfigured: It is of a database that this is not tested on, or the tables are of a newer library.
        Unavailable: The tables are absent and cannot be made.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        schema: str | None = None,
        poll_seconds: float = 1.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(poll_seconds=poll_seconds, monotonic=monotonic)
        data = metadata(schema)
        self._table = Table(
            "aisecure_notices",
            data,
            Column("topic", String(256), primary_key=True),
            Column("version", BigInteger, nullable=False),
            Column("stamp", String(32), nullable=False),
        )
        self._database = Database(engine)
        self._database.prepare("notices", data, _VERSION)

    def __repr__(self) -> str:
        return f"SqlNotices({self._database!r})"

    def ask(self, topic: str) -> Mark:
        """Return the row of the topic."""
        statement = select(self._table.c.version, self._table.c.stamp).where(self._table.c.topic == topic)
        row = self._database.run(lambda connection: connection.execute(statement).one_or_none())
        return Mark() if row is None else Mark(*row)

    def count(self, topic: str) -> None:
        """Count up in the row of the topic, and change its stamp."""
        stamp = secrets.token_hex(8)
        up = (
            update(self._table)
            .where(self._table.c.topic == topic)
            .values(version=self._table.c.version + 1, stamp=stamp)
        )
        first = insert(self._table).values(topic=topic, version=1, stamp=stamp)

        def work(connection: Connection) -> None:
            if not connection.execute(up).rowcount:
                connection.execute(first)

        try:
            self._database.run(work)
        except Unavailable:
            # Somebody else's change may have been the first; then there is a row now.
            self._database.run(work)
