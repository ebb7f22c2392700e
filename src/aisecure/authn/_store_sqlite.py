"""API keys in the embedded database."""

from __future__ import annotations

from aisecure.authn.store import NO_SUCH_KEY, StoredKey
from aisecure.notices import StoredNotices
from aisecure.storage import Storage

__all__ = ["SqliteKeyStore"]

# ``scheme`` says how ``mac`` was made, ``pepper`` with which pepper.
_MIGRATIONS = (
    """
    CREATE TABLE authn_api_keys (
        tenant TEXT NOT NULL, key_id TEXT NOT NULL, principal TEXT NOT NULL, roles TEXT NOT NULL, scopes TEXT NOT NULL,
        scheme INTEGER NOT NULL, pepper BLOB NOT NULL, mac BLOB NOT NULL,
        created_at REAL NOT NULL, expires_at REAL, revoked_at REAL,
        PRIMARY KEY (tenant, key_id)
    );
    CREATE UNIQUE INDEX authn_api_keys_id ON authn_api_keys (key_id);
    CREATE INDEX authn_api_keys_principal ON authn_api_keys (tenant, principal);
    """,
    """
    ALTER TABLE authn_api_keys ADD COLUMN name TEXT NOT NULL DEFAULT '';
    ALTER TABLE authn_api_keys ADD COLUMN last_used_at REAL;
    ALTER TABLE authn_api_keys ADD COLUMN replaced_by TEXT;
    """,
)
_COLUMNS = ", ".join(StoredKey._fields)
_FIND = f"SELECT {_COLUMNS} FROM authn_api_keys WHERE key_id = ?"  # noqa: S608  (constants, as below)
_SELECT = (
    f"SELECT {_COLUMNS} FROM authn_api_keys WHERE tenant = coalesce(?, tenant)"  # noqa: S608
    " AND principal = coalesce(?, principal) ORDER BY created_at, key_id"
)
_ADD = f"INSERT INTO authn_api_keys ({_COLUMNS}) VALUES ({', '.join('?' * len(StoredKey._fields))})"  # noqa: S608


class SqliteKeyStore:
    """Keeps keys in a `Storage`, which the processes of one machine may share.

    Args:
        storage: The database; its table of keys is made or brought up to date now.
    """

    over_network = False

    def __init__(self, storage: Storage) -> None:
        storage.migrate("authn", _MIGRATIONS)
        self._storage = storage

    def __repr__(self) -> str:
        return f"SqliteKeyStore({self._storage!r})"

    def notices(self) -> StoredNotices:
        """Return change notices in the same database."""
        return StoredNotices(self._storage)

    def add(self, key: StoredKey) -> None:
        """Keep a new key."""
        self._storage.execute(_ADD, key)

    def find(self, key_id: str) -> StoredKey | None:
        """Return a key by its id."""
        rows = self._storage.query(_FIND, (key_id,))
        # Made in both cases, so that nobody can measure which it was.
        key = StoredKey._make(rows[0] if rows else NO_SUCH_KEY)
        return key if rows else None

    def select(self, *, tenant: str | None, principal: str | None) -> list[StoredKey]:
        """Return the keys of a tenant and a principal (of all, where None), oldest first."""
        return [StoredKey._make(row) for row in self._storage.query(_SELECT, (tenant, principal))]

    def revoke(self, key_id: str, at: float) -> bool:
        """Mark a key as revoked; return whether it is there and was not."""
        changed = self._storage.execute(
            "UPDATE authn_api_keys SET revoked_at = ? WHERE key_id = ? AND revoked_at IS NULL", (at, key_id)
        )
        return changed > 0

    def replace(self, key_id: str, successor: StoredKey, until: float) -> bool:
        """Keep a successor, and let a key end at ``until``, both or neither."""
        with self._storage.transaction() as connection:
            changed = connection.execute(
                "UPDATE authn_api_keys SET expires_at = ?, replaced_by = ?"
                " WHERE key_id = ? AND revoked_at IS NULL AND replaced_by IS NULL",
                (until, successor.key_id, key_id),
            ).rowcount
            if changed:
                connection.execute(_ADD, successor)
        return changed > 0

    def note_use(self, key_id: str, at: float, *, unless_since: float) -> None:
        """Note that a key was accepted, unless a use after ``unless_since`` is noted already."""
        patience = self._storage.query("PRAGMA busy_timeout")[0][0]
        self._storage.query("PRAGMA busy_timeout=0")
        try:
            self._storage.execute(
                "UPDATE authn_api_keys SET last_used_at = ?"
                " WHERE key_id = ? AND coalesce(last_used_at, -1e308) <= ?",
                (at, key_id, unless_since),
            )
        finally:
            self._storage.query(f"PRAGMA busy_timeout={patience}")

    def erase(self, tenant: str, principal: str) -> int:
        """Delete the keys of a principal, also from the write-ahead log; return how many there were.

        Raises:
            Unavailable: Also when the database is read right now; erase again.
        """
        erased = self._storage.execute(
            "DELETE FROM authn_api_keys WHERE tenant = ? AND principal = ?", (tenant, principal)
        )
        self._storage.truncate_wal()
        return erased

    def peppers(self, now: float) -> set[bytes]:
        """Return which peppers those keys were made with that are neither revoked nor expired."""
        rows = self._storage.query(
            "SELECT DISTINCT pepper FROM authn_api_keys"
            " WHERE revoked_at IS NULL AND coalesce(expires_at, 1e308) > ?",
            (now,),
        )
        return {row[0] for row in rows}
