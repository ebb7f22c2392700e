"""The stored keys of data subjects: wrapped, found by a pseudonym, overwritten where they lie.

A row is a slot that is filled once, at the end of its table, and emptied in place by zeros of the same length. It is
never deleted and never grows, and that is no thrift: when rows come and go SQLite moves their neighbours between
pages, and ``secure_delete`` zeroes what is deleted but not the copy that a move leaves behind in unallocated space.
(Seen with SQLite 3.40: after 3,000 deletions in a table WITHOUT ROWID, 4 deleted keys still stood in the file.)
"""

from __future__ import annotations

import hashlib
import hmac
import sqlite3
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aisecure.encryption.context import encode_context
from aisecure.encryption.keyring import KEY_BYTES, Key
from aisecure.encryption.providers import KeyProvider
from aisecure.errors import DecryptionError, IntegrityError, Misconfigured
from aisecure.ports import Clock
from aisecure.storage import Storage

__all__ = ["MIGRATIONS", "SubjectRows"]

#: Ids are found without knowing the subject, and never drawn twice: 2**64 keys would make one repeat likely.
KEY_ID_BYTES = 16
#: Rows that are wrapped anew between two commits, so between two points that a killed run goes on from.
_BATCH = 100

MIGRATIONS = (
    """
    CREATE TABLE subjects_keys (
        slot INTEGER PRIMARY KEY AUTOINCREMENT, live INTEGER NOT NULL, tenant TEXT NOT NULL, subject BLOB NOT NULL,
        key_id BLOB NOT NULL, created REAL NOT NULL, provider TEXT NOT NULL, wrapped BLOB NOT NULL
    );
    CREATE UNIQUE INDEX subjects_keys_subject ON subjects_keys (tenant, subject) WHERE live = 1;
    CREATE UNIQUE INDEX subjects_keys_id ON subjects_keys (key_id) WHERE live = 1;
    CREATE TABLE subjects_index (
        id INTEGER PRIMARY KEY CHECK (id = 1), provider TEXT NOT NULL, wrapped BLOB NOT NULL
    );
    CREATE TABLE subjects_erasures (
        seq INTEGER PRIMARY KEY AUTOINCREMENT, key_id BLOB NOT NULL UNIQUE, tenant TEXT NOT NULL,
        erased_at REAL NOT NULL, receipt TEXT NOT NULL, request_id TEXT NOT NULL, actor TEXT NOT NULL,
        complete INTEGER NOT NULL
    );
    """,
)

_FIND = "SELECT tenant, subject, key_id, created, wrapped FROM subjects_keys WHERE live = 1 AND tenant = ?"
_INSERT = (
    "INSERT INTO subjects_keys (live, tenant, subject, key_id, created, provider, wrapped)"
    " VALUES (1, ?, ?, ?, ?, ?, ?)"
)
# Every column keeps its length, so that SQLite overwrites the row where it is.
_EMPTY = (
    "UPDATE subjects_keys SET live = 0, subject = zeroblob(length(subject)), wrapped = zeroblob(length(wrapped))"
    " WHERE live = 1 AND "
)


class SubjectRows:
    """Makes, finds, empties and rewraps the keys of data subjects.

    Subjects stand in the table as HMAC-SHA-256 of tenant and id, under a key that comes by HKDF from a secret which
    the provider wrapped: whoever steals the database can neither read nor guess who is in it.

    Args:
        storage: Where the rows are.
        provider: Wraps them; the associated data binds each to its tenant, subject and key id.
        clock: When keys were made.
        random: Source of cryptographic randomness; takes a number of bytes.
    """

    def __init__(
        self, storage: Storage, provider: KeyProvider, *, clock: Clock, random: Callable[[int], bytes]
    ) -> None:
        storage.migrate("subjects", MIGRATIONS)
        self._storage = storage
        self._provider = provider
        self._clock = clock
        self._random = random
        self._index_key: bytes | None = None

    def pseudonym(self, tenant: str, subject: str) -> bytes:
        """Return what stands in the table for a subject.

        Raises:
            Misconfigured: The provider is not the one that wrapped the secret.
            Unavailable: Database or provider cannot be reached.
        """
        if self._index_key is None:
            self._index_key = self._open_index()
        return hmac.digest(self._index_key, encode_context((tenant, subject)), "sha256")

    def find(self, tenant: str, pseudonym: bytes) -> Key | None:
        """Return the key of a subject, None when there is none.

        Raises:
            DecryptionError: The provider cannot unwrap it: the row is damaged, or the provider's key is gone.
            Unavailable, Misconfigured: Database or provider cannot be reached.
        """
        return self._opened(self._storage.query(f"{_FIND} AND subject = ?", (tenant, pseudonym)))

    def find_id(self, tenant: str, key_id: bytes) -> Key | None:
        """Return the key of an id in a tenant, None when there is none; errors as for `find`."""
        return self._opened(self._storage.query(f"{_FIND} AND key_id = ?", (tenant, key_id)))

    def about(self, tenant: str, pseudonym: bytes) -> tuple[bytes, float] | None:
        """Return id and time of making of a subject's key, without unwrapping it."""
        rows = self._storage.query(f"{_FIND} AND subject = ?", (tenant, pseudonym))
        return (rows[0][2], rows[0][3]) if rows else None

    def knows(self, key_id: bytes) -> bool:
        """Whether an id is that of a key of any tenant."""
        return bool(
            self._storage.query("SELECT 1 FROM subjects_keys WHERE live = 1 AND key_id = ?", (key_id,))
        )

    def make(self, tenant: str, pseudonym: bytes) -> Key:
        """Return the key of a subject, made now unless another process was first; errors as for `find`."""
        key_id, secret = self._random(KEY_ID_BYTES), self._random(KEY_BYTES)
        # Asked before it wraps, here and below: a provider that rotates in between makes a row look older than it is,
        # which costs a rewrapping. The other way round, rewrapping would pass over it, and its key be destroyed.
        provider = self._provider.key_id
        wrapped = self._provider.wrap(secret, associated_data=_bound(tenant, pseudonym, key_id))
        created = float(int(self._clock.time()))
        with self._storage.transaction() as connection:
            rows = connection.execute(f"{_FIND} AND subject = ?", (tenant, pseudonym)).fetchall()
            if not rows:
                connection.execute(_INSERT, (tenant, pseudonym, key_id, created, provider, wrapped))
                return Key(key_id, secret, int(created))
        found = self._opened(rows)
        assert found is not None  # noqa: S101  (there is a row)
        return found

    @staticmethod
    def empty(connection: sqlite3.Connection, tenant: str, pseudonym: bytes) -> bytes | None:
        """Overwrite the key of a subject inside a transaction; return its id, None when there was none."""
        row = connection.execute(f"{_FIND} AND subject = ?", (tenant, pseudonym)).fetchone()
        if row is None:
            return None
        connection.execute(f"{_EMPTY} key_id = ?", (row[2],))
        return bytes(row[2])

    @staticmethod
    def empty_id(connection: sqlite3.Connection, key_id: bytes) -> str | None:
        """Overwrite the key of an id inside a transaction; return its tenant, None when there was none."""
        row = connection.execute(
            "SELECT tenant FROM subjects_keys WHERE live = 1 AND key_id = ?", (key_id,)
        ).fetchone()
        if row is None:
            return None
        connection.execute(f"{_EMPTY} key_id = ?", (key_id,))
        return str(row[0])

    def rewrap(
        self,
        *,
        source: KeyProvider | None,
        everything: bool,
        progress: Callable[[int, int], None] | None,
    ) -> int:
        """Wrap again what was wrapped under another key than the provider's present one; return how many.

        Raises:
            IntegrityError: Some could not be unwrapped; all others were rewrapped.
            Unavailable, Misconfigured: As for `find`; what was done stays, and another run goes on from there.
        """
        present = self._provider.key_id

        def reader(wrapped_by: str) -> KeyProvider:
            # After a run that was killed some are wrapped by the new provider already.
            return self._provider if source is None or wrapped_by == present else source

        self._rewrap_index(reader, present, everything=everything)
        # The new slots come after the last one of now, so that rewrapping everything comes to an end.
        newest = self._storage.query("SELECT max(slot) FROM subjects_keys")[0][0] or 0
        # One of two constants, never a value.
        todo, bound = ("slot <= ?", newest) if everything else ("provider <> ?", present)
        count = f"SELECT count(*) FROM subjects_keys WHERE live = 1 AND {todo}"  # noqa: S608
        total = self._storage.query(count, (bound,))[0][0]
        batch = (
            "SELECT slot, tenant, subject, key_id, created, provider, wrapped FROM subjects_keys"  # noqa: S608
            f" WHERE live = 1 AND slot > ? AND {todo} ORDER BY slot LIMIT {_BATCH}"
        )
        after = done = damaged = 0
        while rows := self._storage.query(batch, (after, bound)):
            after = rows[-1][0]
            again = []
            for slot, tenant, subject, key_id, created, wrapped_by, wrapped in rows:
                bound_to = _bound(tenant, subject, key_id)
                try:
                    secret = reader(wrapped_by).unwrap(wrapped, associated_data=bound_to)
                except DecryptionError:
                    damaged += 1
                    continue
                fresh = self._provider.wrap(secret, associated_data=bound_to)
                again.append((slot, (tenant, subject, key_id, created, present, fresh)))
            with self._storage.transaction() as connection:
                for slot, row in again:
                    # One that was erased meanwhile stays erased.
                    if connection.execute(f"{_EMPTY} slot = ?", (slot,)).rowcount:
                        connection.execute(_INSERT, row)
                        done += 1
            if progress is not None:
                progress(done, max(total, done))
        if damaged:
            raise IntegrityError(
                f"{damaged} keys of data subjects could not be unwrapped, {done} were rewrapped; "
                "keep the old key of the provider, and restore those rows from a backup or erase their subjects",
                code="integrity.subject_keys",
            )
        return done

    def _opened(self, rows: list[tuple[Any, ...]]) -> Key | None:
        if not rows:
            return None
        tenant, subject, key_id, created, wrapped = rows[0]
        secret = self._provider.unwrap(wrapped, associated_data=_bound(tenant, subject, key_id))
        if len(secret) != KEY_BYTES:
            raise DecryptionError
        return Key(bytes(key_id), secret, int(created))

    def _open_index(self) -> bytes:
        rows = self._storage.query("SELECT provider, wrapped FROM subjects_index")
        if not rows:
            present = self._provider.key_id
            fresh = self._provider.wrap(self._random(KEY_BYTES), associated_data=_INDEX)
            self._storage.execute(
                "INSERT INTO subjects_index VALUES (1, ?, ?) ON CONFLICT (id) DO NOTHING", (present, fresh)
            )
            # Read, since another process may have been first.
            rows = self._storage.query("SELECT provider, wrapped FROM subjects_index")
        return _index_key(_unwrap_index(self._provider, *rows[0]))

    def _rewrap_index(self, reader: Callable[[str], KeyProvider], present: str, *, everything: bool) -> None:
        for wrapped_by, wrapped in self._storage.query("SELECT provider, wrapped FROM subjects_index"):
            if everything or wrapped_by != present:
                secret = _unwrap_index(reader(wrapped_by), wrapped_by, wrapped)
                fresh = self._provider.wrap(secret, associated_data=_INDEX)
                self._storage.execute(
                    "UPDATE subjects_index SET provider = ?, wrapped = ? WHERE wrapped = ?",
                    (present, fresh, wrapped),
                )


_INDEX = b"aisecure subject index 1"


def _index_key(secret: bytes) -> bytes:
    return HKDFExpand(SHA256(), 32, _INDEX).derive(secret)


def _unwrap_index(provider: KeyProvider, wrapped_by: str, wrapped: bytes) -> bytes:
    try:
        return provider.unwrap(wrapped, associated_data=_INDEX)
    except DecryptionError:
        pass
    raise Misconfigured(
        f"the keys of data subjects were wrapped by {wrapped_by}, which {provider.key_id} cannot unwrap; "
        "configure the provider that wrapped them, or rewrap them from it",
        code="config.key_provider",
    )


def _bound(tenant: str, pseudonym: bytes, key_id: bytes) -> bytes:
    """Return what a wrapped key is bound to, in a length that every provider takes."""
    place = encode_context((tenant, pseudonym.hex(), key_id.hex()))
    return b"aisecure subject key 1 " + hashlib.sha256(place).digest()
