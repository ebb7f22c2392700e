"""What a crash, a careless hand or an attacker leaves: repaired and told, or refused; never silently begun anew."""

from __future__ import annotations

import os
import shutil
from hashlib import sha256

import pytest

from aisecure.audit import AuditLog, Verdict, read, verify
from aisecure.audit.head import HEAD_BYTES
from aisecure.errors import IntegrityError, Unavailable
from aisecure.events import SecurityEvent


def rules(number):
    return SecurityEvent("policy.loaded", detail={"rules": number})


def events(folder, type_):
    return [entry["ev"] for entry in read(folder) if entry["ev"]["type"] == type_]


def torn_files(folder):
    return sorted(folder.glob("audit.torn-*"))


@pytest.fixture
def snapshot(small_log, tmp_path):
    """Return a function that gives a fresh copy of the log."""

    def fresh():
        target = tmp_path / "copy"
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(small_log, target)
        return target

    return fresh


def test_a_last_line_torn_at_every_byte_is_healed_kept_and_told(snapshot, clock, monkeypatch):
    # Hundreds of disk writes would be most of the time of this test, and are not what it is about.
    monkeypatch.setattr("os.fsync", lambda descriptor: None)
    # The state of a crash: the line was written in part, the head not yet.
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    before = path.stat().st_size
    head = (copy / "audit.head").read_bytes()
    with AuditLog.open(copy, clock=clock) as log:
        log.record(rules(99))
    whole = path.read_bytes()
    for length in range(before + 1, len(whole)):
        for stale in torn_files(copy):
            stale.unlink()
        path.write_bytes(whole[:length])
        (copy / "audit.head").write_bytes(head)
        assert verify(copy).verdict is Verdict.TORN
        with AuditLog.open(copy, clock=clock) as log:
            assert log.record(rules(1)) == 5
        assert verify(copy).verdict is Verdict.OK
        (told,) = events(copy, "log.recovered")
        (torn,) = torn_files(copy)
        assert torn.read_bytes() == whole[before:length]
        assert told["detail"] == {
            "adopted": 0, "bytes": length - before, "file": torn.name, "sha256": sha256(whole[before:length]).hexdigest(),
        }  # fmt: skip


def test_complete_lines_behind_the_head_are_adopted(snapshot):
    copy = snapshot()
    head = (copy / "audit.head").read_bytes()
    with AuditLog.open(copy) as log:
        for number in range(3):
            log.record(rules(number))
    (copy / "audit.head").write_bytes(head)
    with AuditLog.open(copy) as log:
        assert log.record(rules(3)) == 8
    (told,) = events(copy, "log.recovered")
    assert told["detail"] == {"adopted": 3, "bytes": 0}
    assert verify(copy).verdict is Verdict.OK
    assert not torn_files(copy)


def test_a_running_log_adopts_what_a_killed_writer_left(snapshot):
    copy = snapshot()
    with AuditLog.open(copy) as log:
        head = (copy / "audit.head").read_bytes()
        with AuditLog.open(copy) as other:
            other.record(rules(1))
        (copy / "audit.head").write_bytes(head)
        assert log.record(rules(2)) == 6
    assert verify(copy).verdict is Verdict.OK
    assert events(copy, "log.recovered")[0]["detail"]["adopted"] == 1


@pytest.mark.parametrize(
    "extra", [b"not a line\n", b'{"ev":{}}\n', b"\n", b"\0" * 5000, b"x" * 200_000, b"\xff\xfe\n\n\n"]
)
def test_what_does_not_chain_is_moved_aside(snapshot, extra):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    with path.open("ab") as file:
        file.write(extra)
    with AuditLog.open(copy) as log:
        log.record(rules(1))
    assert verify(copy).verdict is Verdict.OK
    assert torn_files(copy)[0].read_bytes() == extra


def test_a_line_that_was_appended_again_is_not_adopted(snapshot):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    lines = path.read_bytes().splitlines(keepends=True)
    with path.open("ab") as file:
        file.write(lines[-1])
    AuditLog.open(copy).close()
    assert torn_files(copy)[0].read_bytes() == lines[-1]
    assert verify(copy).verdict is Verdict.OK


def test_two_repairs_in_one_second_keep_both_torn_files(snapshot, clock):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    head = (copy / "audit.head").read_bytes()
    good = path.read_bytes()
    for extra in (b"one", b"two"):
        path.write_bytes(good + extra)
        (copy / "audit.head").write_bytes(head)
        AuditLog.open(copy, clock=clock).close()
    assert sorted(torn.read_bytes() for torn in torn_files(copy)) == [b"one", b"two"]


# -- the head


@pytest.mark.parametrize("damage", ["missing", "empty", "longer", "zeros"])
def test_a_head_that_cannot_be_used_is_rebuilt_and_told(snapshot, damage):
    copy = snapshot()
    head = copy / "audit.head"
    good = head.read_bytes()
    if damage == "missing":
        head.unlink()
    else:
        head.write_bytes({"empty": b"", "longer": good + b"x", "zeros": bytes(HEAD_BYTES)}[damage])
    with AuditLog.open(copy) as log:
        assert log.record(rules(1)) == 5
    assert events(copy, "log.rebuilt")[0]["detail"] == {"entries": 4}
    assert verify(copy).verdict is Verdict.OK


def test_a_head_damaged_in_any_byte_is_rebuilt_and_told(snapshot):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    segment, head = path.read_bytes(), (copy / "audit.head").read_bytes()
    for position in range(0, HEAD_BYTES, 41):
        damaged = bytearray(head)
        damaged[position] ^= 0x10
        path.write_bytes(segment)
        (copy / "audit.head").write_bytes(damaged)
        AuditLog.open(copy).close()
        assert path.read_bytes().startswith(segment)
        assert len(events(copy, "log.rebuilt")) == 1, position
    assert verify(copy).verdict is Verdict.OK


def test_a_head_damaged_while_running_is_rebuilt(snapshot):
    copy = snapshot()
    with AuditLog.open(copy) as log:
        (copy / "audit.head").write_bytes(b"damaged")
        log.record(rules(1))
        log.record(rules(2))
    assert len(events(copy, "log.rebuilt")) == 1
    assert verify(copy).verdict is Verdict.OK


def test_a_head_is_rebuilt_from_many_segments(folder):
    with AuditLog.open(folder, segment_bytes=4096) as log:
        for number in range(50):
            log.record(rules(number))
    entries = verify(folder).entries
    (folder / "audit.head").unlink()
    with AuditLog.open(folder, segment_bytes=4096) as log:
        log.record(rules(50))
    assert events(folder, "log.rebuilt")[0]["detail"]["entries"] == entries
    assert verify(folder).verdict is Verdict.OK


def test_without_a_head_a_torn_tail_is_healed_and_a_broken_chain_is_refused(snapshot):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    (copy / "audit.head").unlink()
    with path.open("ab") as file:
        file.write(b'{"ev":{"half')
    AuditLog.open(copy).close()
    assert len(torn_files(copy)) == 1
    (copy / "audit.head").unlink()
    good = path.read_bytes()
    damaged = good.replace(b'"rules":1', b'"rules":7')
    path.write_bytes(damaged)
    with pytest.raises(IntegrityError, match="keep the folder as evidence"):
        AuditLog.open(copy)
    assert path.read_bytes() == damaged


def test_without_a_head_a_missing_segment_is_refused(folder):
    with AuditLog.open(folder, segment_bytes=4096) as log:
        for number in range(50):
            log.record(rules(number))
    (folder / "audit.head").unlink()
    sorted(folder.glob("audit-*.jsonl"))[1].unlink()
    with pytest.raises(IntegrityError):
        AuditLog.open(folder)


# -- never a silent restart


def test_a_segment_shorter_than_its_head_is_refused_at_opening(snapshot):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    good = path.read_bytes()
    for length in range(0, len(good), 37):
        path.write_bytes(good[:length])
        with pytest.raises(IntegrityError, match="shorter"):
            AuditLog.open(copy)
        assert path.read_bytes() == good[:length]


def test_a_missing_segment_is_refused_at_opening(snapshot):
    copy = snapshot()
    next(copy.glob("audit-*.jsonl")).unlink()
    with pytest.raises(IntegrityError, match="gone"):
        AuditLog.open(copy)


def test_another_last_line_is_refused_at_opening(snapshot):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    path.write_bytes(path.read_bytes().replace(b'"rules":2', b'"rules":3'))
    with pytest.raises(IntegrityError, match="last entry"):
        AuditLog.open(copy)


def replaced(copy, path):
    content = path.read_bytes()
    path.rename(copy / "moved")
    path.write_bytes(content)


def shortened(copy, path):
    os.truncate(path, 100)


def removed(copy, path):
    path.unlink()


def folder_removed(copy, path):
    shutil.rmtree(copy)


def rolled_back(copy, path):
    # An older state of both files, put back into the same inodes.
    os.truncate(path, rolled_back.length)
    (copy / "audit.head").write_bytes(rolled_back.head)


@pytest.mark.parametrize("attack", [replaced, shortened, removed, folder_removed, rolled_back])
def test_a_running_log_refuses_and_alerts_once_when_its_file_is_tampered_with(snapshot, attack, caplog):
    copy = snapshot()
    (path,) = copy.glob("audit-*.jsonl")
    rolled_back.length, rolled_back.head = path.stat().st_size, (copy / "audit.head").read_bytes()
    with AuditLog.open(copy) as log:
        log.record(rules(1))
        attack(copy, path)
        for _ in range(3):
            with pytest.raises(Unavailable) as refused:
                log.record(rules(2))
            assert refused.value.code == "unavailable.audit"
            assert isinstance(refused.value.__cause__, IntegrityError | OSError)
    alerts = [record.getMessage() for record in caplog.records]
    assert len(alerts) == 1
    assert alerts[0].startswith("log.failed error_type=")
    assert not copy.exists() or not events(copy, "log.genesis")[1:]


def test_a_lock_file_that_was_tidied_away_breaks_nothing(snapshot):
    copy = snapshot()
    with AuditLog.open(copy) as one:
        (copy / "audit.lock").unlink()
        with AuditLog.open(copy) as two:
            for number in range(6):
                (one, two)[number % 2].record(rules(number))
    assert verify(copy).entries == 10
    assert not events(copy, "log.recovered")


# -- a crash in the middle of a rotation


@pytest.mark.parametrize("left", ["nothing", "half a line", "a line", "a line and a half"])
def test_a_rotation_that_was_cut_off_is_completed_or_undone(folder, left):
    def fill(log, count):
        for number in range(count):
            log.record(rules(number))

    with AuditLog.open(folder, segment_bytes=4096) as log:
        while len(list(folder.glob("audit-*.jsonl"))) < 2:
            before = (folder / "audit.head").read_bytes()
            fill(log, 1)
    _, second = sorted(folder.glob("audit-*.jsonl"))
    line = second.read_bytes().splitlines(keepends=True)[0]
    content = {
        "nothing": b"",
        "half a line": line[:50],
        "a line": line,
        "a line and a half": line + line[:50],
    }[left]
    second.write_bytes(content)
    (folder / "audit.head").write_bytes(before)
    with AuditLog.open(folder, segment_bytes=4096) as log:
        fill(log, 20)
    assert verify(folder).verdict is Verdict.OK
    assert len(torn_files(folder)) == ("half" in left)
    assert len(events(folder, "log.segment")) == len(list(folder.glob("audit-*.jsonl"))) - 1


def test_a_running_log_completes_the_rotation_of_a_killed_writer(folder):
    with AuditLog.open(folder, segment_bytes=4096) as log:
        while len(list(folder.glob("audit-*.jsonl"))) < 2:
            before = (folder / "audit.head").read_bytes()
            log.record(rules(1))
        _, second = sorted(folder.glob("audit-*.jsonl"))
        line = second.read_bytes().splitlines(keepends=True)[0]
    os.truncate(second, len(line))
    (folder / "audit.head").write_bytes(before)
    second.rename(folder / "aside")
    with AuditLog.open(folder, segment_bytes=4096) as log:
        (folder / "aside").rename(second)
        for number in range(20):
            log.record(rules(number))
    assert verify(folder).verdict is Verdict.OK
