"""Erasure under a storm of kills, and over a database that thousands of keys came and went through."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from aisecure.audit import AuditLog, verify
from aisecure.audit.reader import read
from aisecure.encryption import FieldCipher, KeyFile, Keyring, RingProvider, SubjectKeys
from aisecure.errors import DecryptionError
from aisecure.storage import Storage

pytestmark = pytest.mark.proof

SUBJECTS = 24

ERASER = textwrap.dedent("""
    import sys
    from aisecure.audit import AuditLog
    from aisecure.encryption import FieldCipher, KeyFile, RingProvider, SubjectKeys
    from aisecure.errors import Unavailable
    from aisecure.storage import Storage

    folder, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    log = AuditLog.open(folder + "/audit")
    subjects = SubjectKeys(
        Storage(folder + "/aisecure.db"), RingProvider(FieldCipher(KeyFile(folder + "/fields.json"))), events=log
    )
    print("ready", flush=True)
    for number in range(first, last):
        try:
            subjects.erase(f"s{number}", request_id=f"dsr-{number}")
        except Unavailable:
            pass
    print("done", flush=True)
""")


def _erased(folder: Path) -> list[str]:
    return [
        event["detail"]["key_id"]
        for entry in read(folder / "audit")
        if (event := entry["ev"])["type"] == "subject.erased" and event["detail"]["keys"]
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_storm_of_kills_leaves_no_half_erasure(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    keys = KeyFile(tmp_path / "fields.json")
    keys.open()
    storage, ring = Storage(tmp_path / "aisecure.db"), RingProvider(FieldCipher(keys))
    subjects = SubjectKeys(storage, ring)
    tokens = [subjects.cipher(f"s{number}").encrypt(str(number)) for number in range(SUBJECTS)]
    wrapped = [row[0] for row in storage.query("SELECT wrapped FROM subjects_keys ORDER BY slot")]
    ids = [subjects.export(f"s{number}")["key_id"] for number in range(SUBJECTS)]
    storage.close()
    killed = 0
    for start in range(0, SUBJECTS, 3):  # three at a time, by two processes at once, both killed somewhere
        command = [sys.executable, "-c", ERASER, str(tmp_path), str(start), str(start + 3)]
        pair = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(2)]
        for eraser in pair:
            assert eraser.stdout is not None
            assert eraser.stdout.readline() == b"ready\n"
        time.sleep(chance.uniform(0, 0.02))
        for eraser in pair:
            eraser.send_signal(signal.SIGKILL)
            killed += eraser.wait() == -signal.SIGKILL
            assert eraser.stdout is not None
            eraser.stdout.close()
        # No receipt for a key that is on the disk, whatever the moment was.
        AuditLog.open(tmp_path / "audit").close()  # repairs the line that the kill tore
        disk = b"".join(path.read_bytes() for path in tmp_path.glob("aisecure.db*"))
        for key_id in _erased(tmp_path):
            assert wrapped[ids.index(key_id)] not in disk
    assert killed
    log = AuditLog.open(tmp_path / "audit")
    after = SubjectKeys(Storage(tmp_path / "aisecure.db"), ring, events=log)
    log.close()
    assert verify(tmp_path / "audit").ok
    receipts = _erased(tmp_path)
    disk = b"".join(path.read_bytes() for path in tmp_path.glob("aisecure.db*"))
    for number, token in enumerate(tokens):
        if after.is_erased(token):
            with pytest.raises(DecryptionError):
                after.decrypt(token)
            assert ids[number] in receipts
            assert wrapped[number] not in disk
        else:
            assert after.decrypt(token) == str(number)
            assert ids[number] not in receipts
            assert wrapped[number] in disk


def test_no_erased_key_survives_in_a_database_that_thousands_went_through(tmp_path: Path) -> None:
    chance = random.Random(7)
    storage = Storage(tmp_path / "aisecure.db")
    ring, alive, wrapped, number = Keyring.generate(), [], {}, 0
    for _ in range(6):
        subjects = SubjectKeys(storage, RingProvider(FieldCipher(ring)))
        for _ in range(chance.choice((50, 300, 600))):
            number += 1
            alive.append(f"s{number}")
            subjects.cipher(f"s{number}").encrypt("x")
        chance.shuffle(alive)
        for row in storage.query("SELECT key_id, wrapped FROM subjects_keys WHERE live = 1"):
            wrapped.setdefault(row[0], set()).add(row[1])
        for _ in range(min(len(alive), chance.choice((40, 200)))):
            subjects.erase(alive.pop())
        ring = ring.rotate()
        SubjectKeys(storage, RingProvider(FieldCipher(ring))).rewrap()
        kept = {row[0] for row in storage.query("SELECT wrapped FROM subjects_keys WHERE live = 1")}
        storage.truncate_wal()
        disk = b"".join(path.read_bytes() for path in tmp_path.glob("aisecure.db*"))
        for versions in wrapped.values():
            for gone in versions - kept:
                # The ends too: what SQLite moves or frees may lose only its middle. (The first bytes are the token's head.)
                assert gone[25:49] not in disk
                assert gone[-24:] not in disk
        assert all(key in disk for key in kept)
