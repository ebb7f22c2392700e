"""A process that re-encrypts a table, or writes to it, until it is killed or told to stop; for tests.

python reencrypting.py URL KEYS walk BATCH            prints a line a batch, then "done"
python reencrypting.py URL KEYS write FIRST STEP ROWS prints "row value" for each committed write
"""

from __future__ import annotations

import os
import sys
import time

from sqlalchemy import Column, Integer, MetaData, Table, create_engine, event, update
from sqlalchemy.pool import NullPool

from aisecure.adapters.sqlalchemy import EncryptedType, TableTokens
from aisecure.encryption import FieldCipher, KeyFile, reencrypt


def patients(cipher):
    kind = EncryptedType(cipher, context=("patients", "notes"))
    return Table("patients", MetaData(), Column("id", Integer, primary_key=True), Column("notes", kind))


def connect(url):
    """Return an engine; SQLite in WAL mode and patient, as an application with several processes has it."""
    if not url.startswith("sqlite"):
        return create_engine(url, poolclass=NullPool)
    engine = create_engine(url, connect_args={"timeout": 60})

    @event.listens_for(engine, "connect")
    def prepare(connection, record):
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    return engine


def say(line):
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url, keys, role, *words):
    engine, cipher = connect(url), FieldCipher(KeyFile(keys))
    table = patients(cipher)
    if role == "walk":
        say("begin")
        reencrypt(
            TableTokens(engine, table.c.notes),
            cipher,
            batch=int(words[0]),
            progress=say,
        )
        say("done")
        return
    first, step, rows = map(int, words)
    parent = os.getppid()
    n = 0
    while os.getppid() == parent:
        row = first + step * (n % ((rows - first) // step + 1))
        n += 1
        with engine.begin() as connection:
            connection.execute(update(table).where(table.c.id == row).values(notes=f"{first}:{n}"))
        say(f"{row} {first}:{n}")
        time.sleep(0.005)  # SQLite has no queue of writers: four that never pause starve everybody else


if __name__ == "__main__":
    main(*sys.argv[1:])
