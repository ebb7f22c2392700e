"""The data folder and its one SQLite file, with numbered migrations per concern.

Layout of a data folder: ``aisecure.db`` here, ``audit/`` and ``keys/`` beside it, all 0700.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aisecure.errors import Misconfigured, Unavailable

__all__ = ["Storage", "private_folder"]

#: Seconds that a writer waits for another process's write to end before it gives up.
BUSY_TIMEOUT_SECONDS = 5.0


def private_folder(path: Path) -> Path:
    """Return the folder, created with mode 0700 if it was absent.

    Raises:
        Misconfigured: It cannot be created, or is no folder.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise Misconfigured(
            f"data folder {path}: {err.strerror or type(err).__name__}; choose a folder that this process may write"
        ) from err
    return path


class Storage:
    """An embedded database that many threads and processes may use at once.

    Each thread has its own connection (WAL mode: readers never wait for a writer). After a fork the
    child opens connections of its own, since SQLite's must not cross.

    Args:
        path: The database file, or ``":memory:"`` for one that lives as long as this object (tests).

    Raises:
        Misconfigured: The file cannot be opened or is not a database.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._memory = self.path == ":memory:"
        self._local = threading.local()
        self._shared: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._opened: list[sqlite3.Connection] = []
        self._migrated: set[str] = set()
        self._owner = os.getpid()
        if not self._memory:
            private_folder(Path(self.path).parent)
        self._connection()

    def __repr__(self) -> str:
        return f"Storage({self.path!r})"

    def _open(self) -> sqlite3.Connection:
        try:
            if not self._memory:
                # Created before SQLite does, so that the file never exists with a wider mode.
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            connection = sqlite3.connect(
                self.path, timeout=BUSY_TIMEOUT_SECONDS, isolation_level=None, check_same_thread=False
            )
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")
            connection.execute("PRAGMA foreign_keys=ON")
            # Overwrites deleted rows with zeros, so that erased personal data does not stay in free pages.
            connection.execute("PRAGMA secure_delete=ON")
            connection.execute(
                "CREATE TABLE IF NOT EXISTS aisecure_schema (concern TEXT PRIMARY KEY, version INTEGER NOT NULL)"
            )
        except (sqlite3.Error, OSError) as err:
            raise Misconfigured(
                f"database {self.path}: {err}; restore it from a backup, or move it away to start empty"
            ) from err
        self._opened.append(connection)
        return connection

    def _connection(self) -> sqlite3.Connection:
        if os.getpid() != self._owner:
            self._forked()
        if self._memory:
            if self._shared is None:
                self._shared = self._open()
            return self._shared
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._lock:
                connection = self._local.connection = self._open()
        return connection

    def _forked(self) -> None:
        # The parent's connections are dropped unclosed: closing would release locks the parent holds.
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._local = threading.local()
        self._opened = []

    def migrate(self, concern: str, steps: Sequence[str]) -> None:
        """Bring a concern's tables up to date; step N runs once, in order, each in a transaction.

        Args:
            concern: Name of the concern; its tables start with it.
            steps: SQL scripts, oldest first. Never change or remove a published step: append.

        Raises:
            Misconfigured: The database was written by a newer version of the library.
            Unavailable: The database is locked or full.
        """
        if concern in self._migrated:
            return
        with self.transaction() as connection:
            row = connection.execute(
                "SELECT version FROM aisecure_schema WHERE concern = ?", (concern,)
            ).fetchone()
            done = row[0] if row else 0
            if done > len(steps):
                raise Misconfigured(
                    f"database {self.path}: {concern} is at version {done}, this library knows {len(steps)}; upgrade aisecure"
                )
            for step in steps[done:]:
                for statement in _statements(step):
                    connection.execute(statement)
            connection.execute(
                "INSERT INTO aisecure_schema VALUES (?, ?) ON CONFLICT (concern) DO UPDATE SET version = excluded.version",
                (concern, len(steps)),
            )
        self._migrated.add(concern)

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a SELECT.

        Raises:
            Unavailable: The database is locked, damaged, full or gone.
        """
        try:
            if self._memory:
                with self._lock:
                    return self._connection().execute(sql, parameters).fetchall()
            return self._connection().execute(sql, parameters).fetchall()
        except sqlite3.Error as err:
            raise _unavailable(err) from err

    def execute(self, sql: str, parameters: Sequence[Any] = ()) -> int:
        """Run one statement in a transaction of its own; return the number of rows it changed.

        Raises:
            Unavailable: The database is locked, damaged, full or gone.
        """
        with self.transaction() as connection:
            return connection.execute(sql, parameters).rowcount

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """Run a block as one write transaction: all of it or none.

        Raises:
            Unavailable: The database is locked, damaged, full or gone.
        """
        if self._memory:
            with self._lock:
                yield from self._transact()
        else:
            yield from self._transact()

    def _transact(self) -> Iterator[sqlite3.Connection]:
        try:
            connection = self._connection()
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as err:
            raise _unavailable(err) from err
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException as err:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(err, sqlite3.Error):
                raise _unavailable(err) from err
            raise

    def truncate_wal(self) -> None:
        """Fold the write-ahead log into the database and empty it, so that deleted rows are nowhere on disk.

        Raises:
            Unavailable: A reader holds the log open; try again.
        """
        rows = self.query("PRAGMA wal_checkpoint(TRUNCATE)")
        if rows and rows[0][0]:
            raise Unavailable(
                "the database is busy; the write-ahead log was not truncated", code="unavailable.storage"
            )

    def close(self) -> None:
        """Close every connection of this process; later use opens them again."""
        with self._lock:
            for connection in self._opened:
                connection.close()
            self._opened = []
            self._local = threading.local()
            self._shared = None
            if self._memory:
                self._migrated.clear()


def _statements(script: str) -> list[str]:
    """Split a script; `sqlite3.executescript` would commit the surrounding transaction."""
    out, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            out.append(pending.strip())
            pending = ""
    if pending.strip():
        out.append(pending.strip())
    return out


def _unavailable(err: sqlite3.Error) -> Unavailable:
    # SQLite's texts name tables and columns, never values, except for constraint texts of our own columns.
    return Unavailable(f"the database could not be used ({type(err).__name__})", code="unavailable.storage")
