"""Checkpoints and proofs of a real log: signed only while it grows, and checked without it."""

from __future__ import annotations

import multiprocessing
import shutil

import pytest

from aisecure.audit import AuditLog
from aisecure.audit.checkpoint import Checkpoint, Checkpointer, Proof, checkpoints
from aisecure.audit.merkle import EMPTY_ROOT, CompactRange, leaf_hash
from aisecure.audit.note import InvalidNote, NoteSigner
from aisecure.audit.proofs import verify_consistency
from aisecure.audit.tiles import Tiles
from aisecure.errors import IntegrityError, Misconfigured
from aisecure.events import SecurityEvent

SIGNER = NoteSigner.generate("test/log")


def grow(folder, count, **options):
    with AuditLog.open(folder, origin="test/log", **options) as log:
        for number in range(count):
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))


def lines(folder):
    return [line for path in sorted(folder.glob("audit-*.jsonl")) for line in path.read_bytes().splitlines()]


def root_of(entries):
    tree = CompactRange()
    for line in entries:
        tree.append(leaf_hash(line))
    return tree.root()


def test_a_checkpoint_is_the_root_of_the_lines(folder):
    grow(folder, 3)
    made = Checkpoint.open(Checkpointer(folder, SIGNER).make(), [SIGNER.key])
    assert made == Checkpoint("test/log", 4, root_of(lines(folder)))
    assert checkpoints(folder) == [4]
    assert Checkpointer(folder).latest() == Checkpointer(folder, SIGNER).make()


@pytest.mark.parametrize("steps", [(1, 254, 1, 1), (255,), (256, 256), (700, 3, 1)])
def test_the_stored_hashes_are_those_of_the_lines_however_it_grew(folder, steps):
    for step in steps:
        grow(folder, step, segment_bytes=20_000)
        made = Checkpoint.open(Checkpointer(folder, SIGNER).make(), [SIGNER.key])
        assert (made.size, made.root) == (len(lines(folder)), root_of(lines(folder)))
    entries, prover = lines(folder), Checkpointer(folder)
    for index in {0, 1, len(entries) // 2, len(entries) - 2, len(entries) - 1}:
        proof = Proof.parse(prover.prove(index).text())
        assert prover.entry(index) == entries[index]
        assert proof.verify(entries[index], [SIGNER.key]).size == len(entries)
        with pytest.raises(InvalidNote, match="not entry"):
            proof.verify(entries[index - 1], [SIGNER.key])
    # What is stored is made anew when it is gone.
    shutil.rmtree(folder / "tile")
    assert prover.prove(1).verify(entries[1], [SIGNER.key]).size == len(entries)


@pytest.mark.parametrize("damage", ["next.json", "0/000", "0/001.p"])
def test_stored_hashes_that_are_damaged_are_made_anew(folder, damage):
    grow(folder, 400)
    Checkpointer(folder, SIGNER).make()
    path = folder / "tile" / damage
    if path.is_dir():
        (path,) = path.iterdir()
    for content in (b"", b"\0" * path.stat().st_size, b'{"size": 3, "segment": 0, "offset": 7}', None):
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        assert Checkpointer(folder).prove(2).verify(lines(folder)[2], [SIGNER.key]).size == 401
    path.write_bytes(b"\1" * 64)
    grow(folder, 1)
    made = Checkpoint.open(Checkpointer(folder, SIGNER).make(), [SIGNER.key])
    assert made.root == root_of(lines(folder))


def test_a_large_log_has_tiles_of_tiles(folder):
    grow(folder, 1, segment_bytes=1 << 26)
    # Lines of any kind: hashes know no events.
    path = folder / "audit-00000000000000000000.jsonl"
    with path.open("ab") as file:
        file.writelines(b"%d\n" % number for number in range(70_000))
    tiles = Tiles(folder)
    tiles.extend(66_000)
    tiles.extend(66_001)
    entries = path.read_bytes().splitlines()
    from aisecure.audit.proofs import root

    for reader in (tiles, Tiles(folder)):
        for size in (1, 255, 256, 257, 65_535, 65_536, 65_537, 66_001):
            assert root(size, reader.node) == root_of(entries[:size]), size
    assert (folder / "tile" / "0" / "255").stat().st_size == 8192
    assert (folder / "tile" / "1" / "000").stat().st_size == 8192
    assert (folder / "tile" / "0" / "257.p" / str(66_001 % 256)).exists()


def test_consistency_is_proven_between_any_two_sizes(folder):
    grow(folder, 300)
    entries, prover = lines(folder), Checkpointer(folder)
    for first, second in ((1, 301), (256, 257), (300, 301), (7, 7), (255, 300)):
        proof = prover.prove_consistency(first, second)
        assert verify_consistency(first, second, root_of(entries[:first]), root_of(entries[:second]), proof)


def test_it_signs_nothing_that_contradicts_what_it_signed(folder):
    grow(folder, 5)
    Checkpointer(folder, SIGNER).make()
    kept = folder / "checkpoints"
    shutil.copytree(kept, folder.parent / "kept")
    shutil.rmtree(folder)
    grow(folder, 8)  # another history, under the same name
    shutil.copytree(folder.parent / "kept", kept)
    with pytest.raises(IntegrityError, match="not those that were signed"):
        Checkpointer(folder, SIGNER).make()
    shutil.rmtree(folder)
    grow(folder, 2)
    shutil.copytree(folder.parent / "kept", kept)
    with pytest.raises(IntegrityError, match="6 entries were signed before"):
        Checkpointer(folder, SIGNER).make()
    assert checkpoints(folder) == [6]


def test_it_signs_no_line_that_was_changed_before_it_was_seen(folder):
    grow(folder, 5)
    (path,) = folder.glob("audit-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"rules":3', b'"rules":7'))
    with pytest.raises(IntegrityError, match="not those that its writers counted"):
        Checkpointer(folder, SIGNER).make()
    assert checkpoints(folder) == []


def test_a_checkpoint_that_others_put_there_binds_nobody(folder):
    grow(folder, 1)
    impostor = NoteSigner.generate("test/log")
    (folder / "checkpoints").mkdir()
    note = impostor.sign(Checkpoint("test/log", 99, EMPTY_ROOT).text())
    (folder / "checkpoints" / f"{99:020d}").write_text(note)
    with pytest.raises(IntegrityError, match="damaged"):
        Checkpointer(folder, SIGNER).make()


def test_the_key_has_the_name_of_the_log(folder):
    grow(folder, 1)
    with pytest.raises(Misconfigured, match=r"test/log, and the key other/log"):
        Checkpointer(folder, NoteSigner.generate("other/log"))
    with pytest.raises(Misconfigured, match="signing key"):
        Checkpointer(folder).make()
    with pytest.raises(Misconfigured, match="no audit log"):
        Checkpointer(folder / "none", SIGNER)


def test_what_cannot_be_proven_is_told(folder):
    grow(folder, 2)
    with pytest.raises(LookupError, match="no such checkpoint"):
        Checkpointer(folder).prove(0)
    Checkpointer(folder, SIGNER).make()
    grow(folder, 2)
    for index in (-1, 3, 99):
        with pytest.raises(LookupError, match="not among the 3"):
            Checkpointer(folder).prove(index)
    for index in (-1, 99):
        with pytest.raises(LookupError, match="no entry"):
            Checkpointer(folder).entry(index)


@pytest.mark.parametrize(
    "text",
    ["", "a\n1\n", "a\n01\n" + "A" * 43 + "=\n", "a\n-1\n" + "A" * 43 + "=\n", "\n1\n" + "A" * 43 + "=\n", "a\n1\nAAAA\n",
     "a\n1\n" + "A" * 42 + "B=\n", "a\n1\n" + "A" * 43 + "=", "a\n\u0661\n" + "A" * 43 + "=\n"],
)  # fmt: skip
def test_what_is_no_checkpoint_is_told(text):
    with pytest.raises(ValueError, match="no checkpoint"):
        Checkpoint.parse(text)


def test_only_the_log_itself_signs_its_checkpoints(folder):
    other = NoteSigner.generate("example.net/witness")
    note = other.sign(Checkpoint("test/log", 1, EMPTY_ROOT).text())
    with pytest.raises(InvalidNote, match="the log itself"):
        Checkpoint.open(note, [other.key, SIGNER.key])


@pytest.mark.parametrize("bad", ["", "x", "c2sp.org/tlog-proof@v1\n\nnote", "c2sp.org/tlog-proof@v1\nindex -1\n\nnote",
                                 "c2sp.org/tlog-proof@v1\nindex 1\n!\n\nnote", "c2sp.org/tlog-proof@v2\nindex 1\n\nnote",
                                 "c2sp.org/tlog-proof@v1\nindex 1\n" + "AAAA\n" * 70 + "\nnote"])  # fmt: skip
def test_what_is_no_proof_is_told(bad):
    with pytest.raises(ValueError, match="no proof"):
        Proof.parse(bad)


def test_extra_data_of_a_proof_is_passed_over(folder):
    grow(folder, 1)
    Checkpointer(folder, SIGNER).make()
    text = Checkpointer(folder).prove(1).text().replace("index", "extra QUJD\nindex")
    assert Proof.parse(text).verify(lines(folder)[1], [SIGNER.key]).size == 2


def _write(folder, count):
    grow(folder, count)


def _sign(folder, count):
    for _ in range(count):
        Checkpointer(folder, SIGNER).make()


def test_writers_and_signers_work_side_by_side(folder):
    grow(folder, 1, segment_bytes=40_000)
    spawn = multiprocessing.get_context("fork")
    workers = [spawn.Process(target=_write, args=(folder, 150)) for _ in range(2)]
    workers += [spawn.Process(target=_sign, args=(folder, 15)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    made = Checkpoint.open(Checkpointer(folder, SIGNER).make(), [SIGNER.key])
    assert (made.size, made.root) == (302, root_of(lines(folder)))
    for size in checkpoints(folder):
        note = (folder / "checkpoints" / f"{size:020d}").read_text()
        assert Checkpoint.open(note, [SIGNER.key]).root == root_of(lines(folder)[:size])
