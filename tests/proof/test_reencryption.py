"""Re-encryption of 100,000 rows: killed at random moments, and beside four writing processes."""

from __future__ import annotations

import random
import subprocess
import sys
import time

import pytest
from sqlalchemy import insert, select
from tests.adapters import reencrypting

from aisecure.adapters.sqlalchemy import TableTokens
from aisecure.encryption import FieldCipher, KeyFile, reencrypt

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

ROWS = 100_000


@pytest.fixture
def world(tmp_path):
    url, keys = f"sqlite:///{tmp_path / 'app.db'}", KeyFile(tmp_path / "fields.json")
    keys.open()
    engine = reencrypting.connect(url)
    table = reencrypting.patients(FieldCipher(keys))
    table.metadata.create_all(engine)
    with engine.begin() as connection:
        connection.execute(insert(table), [{"id": n, "notes": f"value {n}"} for n in range(1, ROWS + 1)])
    keys.rotate()
    yield url, keys, engine, table
    engine.dispose()


def start(url, keys, *words):
    return subprocess.Popen(
        [sys.executable, reencrypting.__file__, url, str(keys.path), *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
    )


def values(engine, table):
    with engine.connect() as connection:
        return dict(connection.execute(select(table.c.id, table.c.notes)).all())


def test_a_run_killed_at_random_moments_loses_nothing(world):
    url, keys, engine, table = world
    cipher = FieldCipher(keys)
    store = TableTokens(engine, table.c.notes)
    done = 0
    for _ in range(20):
        with start(url, keys, "walk", 200) as process:
            process.stdout.readline()
            time.sleep(random.uniform(0, 0.25))
            process.kill()
        now = sum(cipher.is_current(row.token) for row in store.read(None, ROWS))
        assert now >= done
        done = now
    assert 0 < done < ROWS
    report = reencrypt(store, cipher)
    assert report.ok
    assert (report.skipped, report.changed) == (done, ROWS - done)
    assert values(engine, table) == {n: f"value {n}" for n in range(1, ROWS + 1)}


def test_four_writers_lose_no_update(world):
    url, keys, engine, table = world
    writers = [start(url, keys, "write", first, 4, ROWS) for first in (1, 2, 3, 4)]
    begun = [writer.stdout.readline() for writer in writers]
    cipher = FieldCipher(keys)
    report = reencrypt(TableTokens(engine, table.c.notes), cipher)
    last: dict[int, str] = {}
    for first, writer in zip(begun, writers, strict=True):
        writer.kill()
        # The last line may be cut, and the write before it committed untold: that row is left out.
        with writer:
            lines = (first + writer.stdout.read()).split("\n")[:-1]
        for line in lines:
            row, value = line.split(" ")
            last[int(row)] = value
    report = reencrypt(TableTokens(engine, table.c.notes), cipher)
    assert report.ok
    found = values(engine, table)
    untold = 0
    for n in range(1, ROWS + 1):
        wanted = last.get(n, f"value {n}")
        if found[n] != wanted:
            # Written a moment before the kill: newer than what was told, and by the same writer.
            first, _, count = found[n].partition(":")
            assert int(first) == (n - 1) % 4 + 1, (n, found[n], wanted)
            assert int(count) > int(wanted.partition(":")[2] or 0), (n, found[n], wanted)
            untold += 1
    assert untold <= 4
    assert len(last) > 100
