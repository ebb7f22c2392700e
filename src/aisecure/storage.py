"""The data folder: its one SQLite file, with numbered migrations per concern, and its private files.

Layout of a data folder: ``aisecure.db`` here, ``audit/`` and ``keys/`` beside it, all 0700.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sqlite3
import stat
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from aisecure.errors import AISecureError, Misconfigured, Unavailable

__all__ = [
    "Storage", "check_name", "file_error", "private_folder", "read_private", "replace_file", "turn", "update_private",
]  # fmt: skip

#: Seconds that a writer waits for another process's write to end before it gives up.
BUSY_TIMEOUT_SECONDS = 5.0
#: Private files hold keys; one of 10,000 keys has about 1.2 MB. A larger file is something else.
MAX_PRIVATE_BYTES = 16 << 20

#: Errors of a disk that may have room, or be whole, tomorrow; everything else is a matter of set-up.
_PASSING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EMFILE, errno.ENFILE})


def private_folder(path: Path) -> Path:
    """Return the folder, created with mode 0700 if it was absent.

    Raises:
        Misconfigured: It cannot be created, or is no folder.
    """
    check_name(path)
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as err:
        raise Misconfigured(
            f"data folder {path}: {err.strerror or type(err).__name__}; choose a folder that this process may write"
        ) from err
    return path


def read_private(path: Path) -> bytes:
    """Return the bytes of a file that only its owner can read.

    Symbolic links are followed, because that is how orchestrators mount secrets.

    Raises:
        Misconfigured: The file is missing (code ``config.missing``), is no ordinary file, is larger than
            `MAX_PRIVATE_BYTES`, or group or others may read or write it (CWE-732).
        Unavailable: The disk failed.
    """
    check_name(path)
    try:
        with open(path, "rb", opener=_open_quietly) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise Misconfigured(f"{path}: is no ordinary file; name the file that holds the key")
            if status.st_mode & 0o077:
                raise Misconfigured(
                    f"{path}: group or others have access (mode {stat.S_IMODE(status.st_mode):04o}); "
                    f"run: chmod 600 {path}",
                    code="config.mode",
                )
            data = file.read(MAX_PRIVATE_BYTES + 1)
    except FileNotFoundError as err:
        raise Misconfigured(
            f"{path}: no such file; restore it from a backup, or create it", code="config.missing"
        ) from err
    except OSError as err:
        raise file_error(path, err) from err
    if len(data) > MAX_PRIVATE_BYTES:
        raise Misconfigured(
            f"{path}: larger than {MAX_PRIVATE_BYTES} bytes; name the file that holds the key"
        )
    return data


def _open_quietly(path: str, flags: int) -> int:
    # O_NONBLOCK: a FIFO in the file's place must not hang the program; ordinary files ignore it.
    return os.open(path, flags | os.O_NONBLOCK)


def update_private(path: Path, change: Callable[[bytes | None], bytes]) -> bytes:
    """Change a private file in one step: a reader, or a crash, sees the old bytes or the new, nothing between.

    Processes that update files of one folder take turns, so that none works on bytes that another is
    about to replace.

    Args:
        path: The file; its folder is created with mode 0700, the file has mode 0600.
        change: Takes the present bytes, None when there is no file, and returns those to keep. Returning
            the very object it was given leaves the file untouched.

    Returns:
        The bytes that the file holds now.

    Raises:
        Misconfigured: The file cannot be read (see `read_private`) or its folder not be written.
        Unavailable: The disk is full or failed; the old file is as it was.
    """
    private_folder(path.parent)
    with turn(path):
        try:
            before: bytes | None = read_private(path)
        except Misconfigured as err:
            if err.code != "config.missing":
                raise
            before = None
        after = change(before)
        if after is not before:
            # A link is followed, so that the file it names changes and the link stays.
            replace_file(Path(os.path.realpath(path)), after)
    return after


@contextmanager
def turn(path: Path) -> Iterator[None]:
    """Hold the lock of the file's folder, which the kernel releases also when the process is killed."""
    try:
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)
    except OSError as err:
        raise file_error(path, err) from err


def replace_file(target: Path, data: bytes, mode: int = 0o600) -> None:
    """Put a finished file in the place of another, while its folder's `turn` is held; a reader, or a crash, sees one or the other."""
    new = target.with_name(f".{target.name}.new")
    # Whoever left one was killed while it had its turn.
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with open(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        new.replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)  # the rename itself survives a power cut
    finally:
        os.close(folder)


def check_name(path: Path) -> None:
    """Raise `Misconfigured` for a path that no file can have."""
    try:
        plain = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        plain = False
    if not plain:
        raise Misconfigured(
            f"{str(path)!r}: a file name has no NUL and no lone surrogate; write a plain path"
        )


def file_error(path: Path, err: OSError) -> AISecureError:
    """Return the error to raise for a file that could not be used: `Unavailable` when tomorrow it may, else `Misconfigured`."""
    if err.errno in _PASSING:
        return Unavailable(f"{path}: {err.strerror}", code="unavailable.storage")
    return Misconfigured(f"{path}: {err.strerror or type(err).__name__}; check the path and its permissions")


#: Connections that came through a fork. Closing one in the child, or freeing it, can harm the parent's
#: database (https://sqlite.org/howtocorrupt.html, section 2.6), so they are kept.
_INHERITED: list[sqlite3.Connection] = []


_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


class _Held:
    """A connection as its thread holds it: the thread that ends closes it."""

    __slots__ = ("__weakref__", "connection", "owner")

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.connection = connection
        self.owner = os.getpid()

    def __del__(self) -> None:
        if os.getpid() == self.owner:
            self.connection.close()
        else:
            _INHERITED.append(self.connection)


class Storage:
    """An embedded database that many threads and processes may use at once.

    Each thread has its own connection (WAL mode: readers never wait for a writer). After a fork the
    child opens connections of its own, since SQLite's must not cross.

    Args:
        path: The database file, or ``":memory:"`` for one that lives as long as this object (tests).

    Raises:
        Misconfigured: The file cannot be opened or is not a database.
        Unavailable: It is locked, or the disk is full or failed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = str(path)
        self._memory = self.path == ":memory:"
        self._local = threading.local()
        self._shared: sqlite3.Connection | None = None
        self._lock = threading.RLock()
        self._held: weakref.WeakSet[_Held] = weakref.WeakSet()
        self._migrated: set[str] = set()
        self._owner = os.getpid()
        if not self._memory:
            check_name(Path(self.path))
            private_folder(Path(self.path).parent)
        self._connection()

    def __repr__(self) -> str:
        return f"Storage({self.path!r})"

    def _open(self) -> sqlite3.Connection:
        if self._memory:
            return self._connect()
        # In turn: SQLite does not wait while another process turns a new file into one with a write-ahead log.
        with turn(Path(self.path)):
            with contextlib.suppress(FileExistsError):
                # Before SQLite does, so that the file never exists with a wider mode. Only when it is absent:
                # closing a file drops all locks that this process holds on it (howtocorrupt.html, section 2.2).
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = None
        try:
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
        except sqlite3.Error as err:
            if connection is not None:
                connection.close()
            if getattr(err, "sqlite_errorcode", 0) & 0xFF in _BUSY:
                raise _unavailable(err) from err
            raise Misconfigured(
                f"database {self.path}: {err}; restore it from a backup, or move it away to start empty"
            ) from err
        return connection

    def _connection(self) -> sqlite3.Connection:
        if os.getpid() != self._owner:
            self._forked()
        if self._memory:
            if self._shared is None:
                self._shared = self._open()
            return self._shared
        held: _Held | None = getattr(self._local, "held", None)
        if held is None:
            with self._lock:
                held = self._local.held = _Held(self._open())
                self._held.add(held)
        return held.connection

    def _forked(self) -> None:
        self._owner = os.getpid()
        self._lock = threading.RLock()
        self._local = threading.local()
        self._held = weakref.WeakSet()

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

    def truncate_wal(self, *, wait_seconds: float | None = None) -> None:
        """Fold the write-ahead log into the database and empty it, so that what rows were before is nowhere in it.

        Args:
            wait_seconds: How long to wait for readers and writers that still need the log; as for every write when None.

        Raises:
            Unavailable: One of them still does, or the disk is full or failed; try again.
        """
        ordinary = self.query("PRAGMA busy_timeout")[0][0]
        patience = ordinary if wait_seconds is None else int(wait_seconds * 1000)
        self.query(f"PRAGMA busy_timeout={patience}")
        try:
            rows = self.query("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            self.query(f"PRAGMA busy_timeout={ordinary}")
        if rows and rows[0][0]:
            raise Unavailable(
                "the database is busy; the write-ahead log was not truncated", code="unavailable.storage"
            )

    def close(self) -> None:
        """Close every connection of this process; later use opens them again."""
        with self._lock:
            for held in tuple(self._held):
                held.connection.close()
            self._local = threading.local()
            if self._shared is not None:
                self._shared.close()
                self._shared = None
                self._migrated.clear()


def _statements(script: str) -> list[str]:
    """Split a script; `sqlite3.executescript` would commit the surrounding transaction."""
    out, pending = [], ""
    for piece in script.split(";"):
        pending += piece + ";"
        # A semicolon inside a text or a trigger does not complete a statement.
        if sqlite3.complete_statement(pending):
            out.append(pending.strip())
            pending = ""
    return [*out, pending] if pending.strip("; \n") else out


def _unavailable(err: sqlite3.Error) -> Unavailable:
    # SQLite's texts name tables and columns, never values, except for constraint texts of our own columns.
    return Unavailable(f"the database could not be used ({type(err).__name__})", code="unavailable.storage")
