"""API keys in a table of SQLAlchemy."""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    delete,
    insert,
    or_,
    select,
    update,
)  # fmt: skip

from aisecure._sql_database import Database, metadata
from aisecure._sql_notices import SqlNotices
from aisecure.authn.store import NO_SUCH_KEY, StoredKey

__all__ = ["SqlKeyStore"]

_VERSION = 1


class SqlKeyStore:
    """Keeps keys in two tables, ``aisecure_api_keys`` and ``aisecure_schema``, which any number of processes share.

    Coroutines that verify a key with it ask in a thread, so that a slow database holds up no event loop.
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
        self._schema = schema
        self._keys = Table(
            "aisecure_api_keys",
            data,
            Column("tenant", String(256), nullable=False),
            Column("key_id", String(32), primary_key=True),
            Column("principal", String(256), nullable=False),
            Column("roles", Text, nullable=False),
            Column("scopes", Text, nullable=False),
            Column("scheme", Integer, nullable=False),
            Column("pepper", LargeBinary(4), nullable=False),
            Column("mac", LargeBinary(32), nullable=False),
            Column("created_at", Float(53), nullable=False),
            Column("expires_at", Float(53)),
            Column("revoked_at", Float(53)),
            Column("name", String(256), nullable=False),
            Column("last_used_at", Float(53)),
            Column("replaced_by", String(32)),
            Index("aisecure_api_keys_principal", "tenant", "principal"),
        )
        self._columns = [self._keys.c[field] for field in StoredKey._fields]
        self._database = Database(engine)
        self._database.prepare("authn", data, _VERSION)

    def __repr__(self) -> str:
        return f"SqlKeyStore({self._database!r})"

    def notices(self) -> SqlNotices:
        """Return change notices in the same database, whose table is made when it is absent."""
        return SqlNotices(self._database.engine, schema=self._schema)

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        self._database.run(lambda connection: connection.execute(insert(self._keys).values(**key._asdict())))

    def find(self, key_id: str) -> StoredKey | None:
        """Return a key by its id."""
        statement = select(*self._columns).where(self._keys.c.key_id == key_id)
        row = self._database.run(lambda connection: connection.execute(statement).one_or_none())
        key = StoredKey._make(
            NO_SUCH_KEY if row is None else row
        )  # made in both cases: no difference to measure
        return None if row is None else key

    def select(self, *, tenant: str | None, principal: str | None) -> list[StoredKey]:
        """Return the keys of a tenant and a principal (of all, where None), oldest first."""
        keys = self._keys.c
        statement = select(*self._columns).order_by(keys.created_at, keys.key_id)
        if tenant is not None:
            statement = statement.where(keys.tenant == tenant)
        if principal is not None:
            statement = statement.where(keys.principal == principal)
        rows = self._database.run(lambda connection: connection.execute(statement).all())
        return [StoredKey._make(row) for row in rows]

    def revoke(self, key_id: str, at: float) -> bool:
        """Mark a key as revoked; return whether it is there and was not."""
        keys = self._keys.c
        statement = (
            update(self._keys).where(keys.key_id == key_id, keys.revoked_at.is_(None)).values(revoked_at=at)
        )
        return self._database.run(lambda connection: connection.execute(statement).rowcount > 0)

    def replace(self, key_id: str, successor: StoredKey, until: float) -> bool:
        """Keep a successor, and let a key end at ``until``, both or neither."""
        keys = self._keys.c
        ending = (
            update(self._keys)
            .where(keys.key_id == key_id, keys.revoked_at.is_(None), keys.replaced_by.is_(None))
            .values(expires_at=until, replaced_by=successor.key_id)
        )

        def work(connection: Connection) -> bool:
            if not connection.execute(ending).rowcount:
                return False
            connection.execute(insert(self._keys).values(**successor._asdict()))
            return True

        return self._database.run(work)

    def note_use(self, key_id: str, at: float, *, unless_since: float) -> None:
        """Note that a key was accepted, unless a use after ``unless_since`` is noted already."""
        keys = self._keys.c
        stale = or_(keys.last_used_at.is_(None), keys.last_used_at <= unless_since)
        # Whoever has the row locked writes about it now; this note can wait.
        free = select(keys.key_id).where(keys.key_id == key_id, stale).with_for_update(skip_locked=True)
        note = update(self._keys).where(keys.key_id == key_id).values(last_used_at=at)

        def work(connection: Connection) -> None:
            if connection.execute(free).first() is not None:
                connection.execute(note)

        if self._database.engine.dialect.name == "sqlite":
            self._database.run(_impatiently(work))
        else:
            self._database.run(work)

    def erase(self, tenant: str, principal: str) -> int:
        """Delete the keys of a principal; return how many there were."""
        keys = self._keys.c
        statement = delete(self._keys).where(keys.tenant == tenant, keys.principal == principal)
        return self._database.run(lambda connection: connection.execute(statement).rowcount)

    def peppers(self, now: float) -> set[bytes]:
        """Return which peppers those keys were made with that are neither revoked nor expired."""
        keys = self._keys.c
        unended = or_(keys.expires_at.is_(None), keys.expires_at > now)
        statement = select(keys.pepper).distinct().where(keys.revoked_at.is_(None), unended)
        return self._database.run(lambda connection: set(map(bytes, connection.scalars(statement))))


def _impatiently(work: Any) -> Any:
    """Return the work without SQLite's patience for other writers, which have the whole file locked."""

    def impatient(connection: Connection) -> None:
        patience = connection.exec_driver_sql("PRAGMA busy_timeout").scalar()
        connection.exec_driver_sql("PRAGMA busy_timeout=0")
        try:
            work(connection)
        finally:
            connection.exec_driver_sql(f"PRAGMA busy_timeout={patience}")

    return impatient
