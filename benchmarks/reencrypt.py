"""Re-encryption of 100,000 rows of a database, in rows a second, beside the work that is inevitable.

A run is long and writes, so it is timed once and not in turns; read the ratios, not the seconds.
"""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROWS = 100_000


def run() -> bool:
    print(f"\nRe-encrypt {ROWS:,} rows of 64 bytes")
    with tempfile.TemporaryDirectory() as folder:
        _measure(f"sqlite:///{folder}/app.db", "SQLite")
    try:
        with _postgres() as url:
            _measure(url, "PostgreSQL")
    except ImportError as err:
        print(f"  PostgreSQL: {err.name} is not installed")
    return True  # there is no goal but to know


def _measure(url: str, name: str) -> None:
    from sqlalchemy import Column, Integer, MetaData, Table, create_engine, insert

    from aisecure.adapters.sqlalchemy import EncryptedType, TableTokens
    from aisecure.encryption import FieldCipher, Keyring, reencrypt

    old = FieldCipher(Keyring.generate())
    new = FieldCipher(old.keyring.rotate())
    engine = create_engine(url)
    kind = EncryptedType(old, context=("patients", "notes"))
    table = Table("patients", MetaData(), Column("id", Integer, primary_key=True), Column("notes", kind))
    table.metadata.create_all(engine)
    rows = [{"notes": "x" * 64}] * ROWS

    def fill() -> None:
        with engine.begin() as connection:
            connection.execute(insert(table), rows)

    tokens = [old.encrypt("x" * 64, context=("patients", "notes")) for _ in range(ROWS)]

    def ciphers_only() -> None:
        for token in tokens:
            new.encrypt(old.decrypt(token, context=("patients", "notes")), context=("patients", "notes"))

    store = TableTokens(engine, table.c.notes)

    def walk() -> None:
        assert reencrypt(store, new).ok

    _line(f"{name}: insert, encrypting", fill)
    _line(f"{name}: decrypt and encrypt in memory (the limit)", ciphers_only)
    _line(f"{name}: reencrypt, with the pass that proves it", walk)
    _line(f"{name}: reencrypt again, nothing to do", walk)
    engine.dispose()


def _line(name: str, work: Callable[[], None]) -> None:
    begun = time.perf_counter()
    work()
    seconds = time.perf_counter() - begun
    print(f"  {name:<60} {ROWS / seconds:>10,.0f} rows/s  {seconds:6.2f} s")


@contextmanager
def _postgres() -> Iterator[str]:
    """Run a PostgreSQL of this process's own."""
    import psycopg  # noqa: F401

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # platformdirs, where no XDG_RUNTIME_DIR is set
        import pgserver
    with tempfile.TemporaryDirectory() as folder:
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="stop")
        try:
            yield server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        finally:
            server.cleanup()
