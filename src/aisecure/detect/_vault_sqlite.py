"""Pseudonyms in the embedded database."""

from __future__ import annotations

from collections.abc import Callable

from aisecure.detect.pseudonym_store import ValueDigest
from aisecure.storage import Storage

__all__ = ["SqlitePseudonyms"]

_STEPS = (
    """
    CREATE TABLE detect_pseudonyms (
        scope BLOB NOT NULL,
        label TEXT NOT NULL,
        number INTEGER NOT NULL,
        digest BLOB NOT NULL,
        token TEXT NOT NULL,
        tenant BLOB NOT NULL,
        expires INTEGER NOT NULL,
        PRIMARY KEY (scope, label, number)
    ) WITHOUT ROWID;
    CREATE UNIQUE INDEX detect_pseudonyms_digest ON detect_pseudonyms (scope, label, digest);
    CREATE INDEX detect_pseudonyms_expires ON detect_pseudonyms (expires);
    CREATE INDEX detect_pseudonyms_tenant ON detect_pseudonyms (tenant);
    """,
)
#: Rows that are past their time and are deleted when one is added.
_SWEEP = 16


class SqlitePseudonyms:
    """Keeps pseudonyms in a `Storage`, which the processes of one machine may share.

    Args:
        storage: The database; its table of pseudonyms is made or brought up to date now.
    """

    over_network = False

    def __init__(self, storage: Storage) -> None:
        storage.migrate("detect", _STEPS)
        self._storage = storage

    def __repr__(self) -> str:
        return f"SqlitePseudonyms({self._storage!r})"

    def number_of(
        self, value: ValueDigest, *, now: int, expires: int, is_reserved: Callable[[int], bool]
    ) -> tuple[int, bool]:
        """Return the number of a value, a new one if it has none, and whether its token is stored already."""
        owner, scope, label, digest = value
        with self._storage.transaction() as connection:
            row = connection.execute(
                "SELECT number, token FROM detect_pseudonyms WHERE scope = ? AND label = ? AND digest = ? AND expires > ?",
                (scope, label, digest, now),
            ).fetchone()
            if row is not None:
                connection.execute(
                    "UPDATE detect_pseudonyms SET expires = ? WHERE scope = ? AND label = ? AND number = ?",
                    (expires, scope, label, row[0]),
                )
                return row[0], bool(row[1])
            # One that is past its time and was not swept yet must not keep its digest.
            connection.execute(
                "DELETE FROM detect_pseudonyms WHERE scope = ? AND label = ? AND digest = ?",
                (scope, label, digest),
            )
            row = connection.execute(
                "SELECT max(number) FROM detect_pseudonyms WHERE scope = ? AND label = ?", (scope, label)
            ).fetchone()
            number: int = (row[0] or 0) + 1
            while is_reserved(number):
                number += 1
            connection.execute(
                "INSERT INTO detect_pseudonyms VALUES (?, ?, ?, ?, '', ?, ?)",
                (scope, label, number, digest, owner, expires),
            )
            connection.execute(
                "DELETE FROM detect_pseudonyms WHERE (scope, label, number) IN "
                "(SELECT scope, label, number FROM detect_pseudonyms WHERE expires <= ? LIMIT ?)",
                (now, _SWEEP),
            )
            return number, False

    def keep(self, value: ValueDigest, number: int, token: str) -> None:
        """Store the token of a number, unless it has one, or the number is another value's by now."""
        self._storage.execute(
            "UPDATE detect_pseudonyms SET token = ?"
            " WHERE scope = ? AND label = ? AND number = ? AND digest = ? AND token = ''",
            (token, value.scope, value.label, number, value.digest),
        )

    def rows(self, scope: bytes, now: int) -> list[tuple[str, int, str]]:
        """Return label, number and token of everything in a scope that has a token."""
        rows = self._storage.query(
            "SELECT label, number, token FROM detect_pseudonyms WHERE scope = ? AND expires > ? AND token <> ''",
            (scope, now),
        )
        return [(label, number, token) for label, number, token in rows]

    def erase(self, scope: bytes) -> int:
        """Delete a scope; return how many pseudonyms it had."""
        return self._storage.execute("DELETE FROM detect_pseudonyms WHERE scope = ?", (scope,))

    def erase_tenant(self, tenant: bytes) -> int:
        """Delete what a tenant has; return how many pseudonyms."""
        return self._storage.execute("DELETE FROM detect_pseudonyms WHERE tenant = ?", (tenant,))

    def purge(self, now: int) -> int:
        """Delete what is past its time; return how many pseudonyms."""
        return self._storage.execute("DELETE FROM detect_pseudonyms WHERE expires <= ?", (now,))
