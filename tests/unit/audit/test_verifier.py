"""The verifier against every small change that can be made to a log."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from aisecure.audit import AuditLog, Verdict, verify
from aisecure.audit.merkle import leaf_hash
from aisecure.events import SecurityEvent


def fill(folder, count, **options):
    with AuditLog.open(folder, origin="test/log", **options) as log:
        for number in range(count):
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))


def segments(folder):
    return sorted(folder.glob("audit-*.jsonl"))


def line_of(data, position):
    return data.count(b"\n", 0, position)


def test_an_untouched_log_is_ok_and_says_that_truncation_was_not_checked(small_log):
    report = verify(small_log)
    assert (report.ok, report.verdict, report.entries, report.seq) == (True, Verdict.OK, 4, None)
    assert not report.truncation_checked
    assert "could not be checked" in report.reason


def test_the_report_is_ready_for_json(small_log):
    assert json.loads(json.dumps(verify(small_log).to_dict()))["verdict"] == "ok"


# The step keeps the suite fast; the bits of one byte do not differ in how they are found.
@pytest.mark.parametrize(("flip", "step"), [(0x01, 1), (0x20, 7), (0x80, 7)])
def test_every_changed_byte_is_found_at_its_line(small_log, segment, flip, step):
    good = segment.read_bytes()
    for position in {*range(0, len(good), step), len(good) - 1}:
        damaged = bytearray(good)
        damaged[position] ^= flip
        segment.write_bytes(damaged)
        report = verify(small_log)
        line = line_of(good, position)
        if position == len(good) - 1:
            assert (report.verdict, report.seq) == (Verdict.TRUNCATED, 3)
        else:
            assert (report.verdict, report.seq, report.line) == (Verdict.CHANGED, line, line + 1), position


def test_every_deleted_byte_is_found_at_its_line(small_log, segment):
    good = segment.read_bytes()
    for position in range(len(good)):
        segment.write_bytes(good[:position] + good[position + 1 :])
        report = verify(small_log)
        assert not report.ok
        assert report.seq == line_of(good, position), position


@pytest.mark.parametrize(("extra", "step"), [(b"x", 5), (b"\n", 3), (b"\0", 5), (b'"', 5)])
def test_every_inserted_byte_is_found_at_its_line(small_log, segment, extra, step):
    good = segment.read_bytes()
    for position in range(0, len(good) - 1, step):
        segment.write_bytes(good[:position] + extra + good[position:])
        report = verify(small_log)
        assert report.verdict is Verdict.CHANGED
        # A newline put before a line makes an empty line there, and one put at its end an empty line after it.
        assert report.seq == line_of(good, position) + (
            extra == b"\n" and good[position : position + 1] == b"\n"
        ), position
    segment.write_bytes(good + extra)
    assert verify(small_log).verdict is Verdict.TORN


def test_every_deleted_line_is_found(small_log, segment):
    lines = segment.read_bytes().splitlines(keepends=True)
    for gone in range(len(lines)):
        segment.write_bytes(b"".join(lines[:gone] + lines[gone + 1 :]))
        report = verify(small_log)
        expected = Verdict.TRUNCATED if gone == len(lines) - 1 else Verdict.MISSING
        assert (report.verdict, report.seq) == (expected, gone)


def test_every_run_of_deleted_lines_is_found(small_log, segment):
    lines = segment.read_bytes().splitlines(keepends=True)
    for first, last in itertools.combinations(range(len(lines) + 1), 2):
        segment.write_bytes(b"".join(lines[:first] + lines[last:]))
        report = verify(small_log)
        expected = Verdict.TRUNCATED if last == len(lines) else Verdict.MISSING
        assert (report.verdict, report.seq) == (expected, first), (first, last)


def test_every_swap_of_two_lines_is_found_at_the_first(small_log, segment):
    lines = segment.read_bytes().splitlines(keepends=True)
    for first, second in itertools.combinations(range(len(lines)), 2):
        swapped = list(lines)
        swapped[first], swapped[second] = swapped[second], swapped[first]
        segment.write_bytes(b"".join(swapped))
        report = verify(small_log)
        assert (report.verdict, report.seq, report.line) == (Verdict.CHANGED, first, first + 1), (
            first,
            second,
        )


def test_every_copy_of_a_line_put_elsewhere_is_found_there(small_log, segment):
    lines = segment.read_bytes().splitlines(keepends=True)
    for source, target in itertools.product(range(len(lines)), range(len(lines))):
        segment.write_bytes(b"".join([*lines[:target], lines[source], *lines[target:]]))
        report = verify(small_log)
        assert not report.ok
        # A copy beside its original cannot be told from it.
        beside = target in {source, source + 1}
        assert report.seq in ({source, source + 1} if beside else {target}), (source, target)


def test_a_forged_line_that_chains_to_the_one_before_is_found(small_log, segment):
    lines = segment.read_bytes().splitlines(keepends=True)
    for target in range(1, len(lines)):
        forged = lines[target].replace(b'"rules":', b'"rules":9')
        segment.write_bytes(b"".join([*lines[:target], forged, *lines[target:]]))
        report = verify(small_log)
        assert (report.verdict, report.seq, report.line) == (Verdict.CHANGED, target, target + 1)


@pytest.mark.parametrize("block", [1, 7, 300, 1000])
def test_the_place_does_not_depend_on_the_size_of_the_blocks_read(small_log, segment, monkeypatch, block):
    monkeypatch.setattr("aisecure.audit.verifier._BLOCK", block)
    assert verify(small_log).ok
    good = segment.read_bytes()
    for position in range(0, len(good) - 1, 11):
        damaged = bytearray(good)
        damaged[position] ^= 1
        segment.write_bytes(damaged)
        report = verify(small_log)
        assert (report.verdict, report.seq) == (Verdict.CHANGED, line_of(good, position)), position
        start = good.rfind(b"\n", 0, position) + 1
        assert report.offset == start
    segment.write_bytes(good)


def test_a_change_beside_the_end_of_a_segment_is_found_at_its_line(folder):
    fill(folder, 40, segment_bytes=4096)
    assert len(segments(folder)) > 3
    seq = 0
    for path in segments(folder):
        good = path.read_bytes()
        lines = good.splitlines(keepends=True)
        for number in (0, len(lines) - 1):
            damaged = [*lines]
            damaged[number] = lines[number].replace(b'"severity":"i', b'"severity":"I')
            path.write_bytes(b"".join(damaged))
            report = verify(folder)
            assert (report.verdict, report.seq, report.file, report.line) == (
                Verdict.CHANGED, seq + number, path.name, number + 1,
            )  # fmt: skip
        path.write_bytes(good)
        seq += len(lines)
    assert verify(folder).entries == seq


def test_every_deleted_segment_is_found(folder):
    fill(folder, 40, segment_bytes=4096)
    paths = segments(folder)
    for path in paths:
        good = path.read_bytes()
        path.unlink()
        report = verify(folder)
        assert report.verdict is (Verdict.TRUNCATED if path == paths[-1] else Verdict.MISSING)
        assert report.seq == int(path.name[6:26])
        path.write_bytes(good)


def test_every_swap_and_every_renaming_of_segments_is_found(folder):
    fill(folder, 40, segment_bytes=4096)
    first, second = segments(folder)[1:3]
    one, two = first.read_bytes(), second.read_bytes()
    first.write_bytes(two)
    second.write_bytes(one)
    assert verify(folder).file == first.name
    first.write_bytes(one)
    second.unlink()
    (folder / f"audit-{7:020d}.jsonl").write_bytes(two)
    assert not verify(folder).ok


def test_a_chain_that_begins_anew_is_called_so(folder, tmp_path):
    fill(folder, 3)
    other = tmp_path / "other"
    fill(other, 3)
    (path,) = segments(folder)
    path.write_bytes(path.read_bytes() + segments(other)[0].read_bytes())
    (folder / "audit.head").unlink()
    report = verify(folder)
    assert (report.verdict, report.seq, report.line) == (Verdict.RESET, 4, 5)


def test_a_cut_at_every_byte_is_found_by_the_head(small_log, segment):
    good = segment.read_bytes()
    for length in range(len(good)):
        segment.write_bytes(good[:length])
        report = verify(small_log)
        assert (report.verdict, report.entries) == (Verdict.TRUNCATED, line_of(good, length)), length


def test_a_cut_without_the_head_is_found_by_a_checkpoint_held_elsewhere(small_log, segment):
    full = verify(small_log)
    held = (full.entries - 1, full.last_leaf)
    assert verify(small_log, expect=held).truncation_checked
    (small_log / "audit.head").unlink()
    lines = segment.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        segment.write_bytes(b"".join(lines[:kept]))
        assert verify(small_log).ok  # nobody can tell from inside ...
        assert verify(small_log, expect=held).verdict is Verdict.TRUNCATED  # ... and from outside one can


def test_a_log_written_anew_differs_from_the_checkpoint(small_log, folder, clock):
    full = verify(small_log)
    for path in folder.iterdir():
        path.unlink()
    clock.now += 1
    fill(folder, 3, clock=clock)
    assert verify(folder).ok
    report = verify(folder, expect=(full.entries - 1, full.last_leaf))
    assert (report.verdict, report.seq) == (Verdict.FORKED, 3)


def test_a_checkpoint_of_an_earlier_entry_still_fits_a_log_that_grew(small_log, segment, clock):
    lines = segment.read_bytes().splitlines()
    fill(small_log, 4, clock=clock)
    for seq, line in enumerate(lines):
        assert verify(small_log, expect=(seq, leaf_hash(line))).truncation_checked


@pytest.mark.parametrize(
    "expect", [(-1, bytes(32)), (0, b"short"), (0, "Z" * 64), (True, bytes(32)), ("1", bytes(32))]
)
def test_a_checkpoint_that_is_none_is_refused(small_log, expect):
    with pytest.raises(ValueError, match="expect"):
        verify(small_log, expect=expect)


@pytest.mark.parametrize("content", [b"", b"junk", b"\0" * 3000])
def test_a_damaged_head_does_not_spoil_the_check_of_the_chain(small_log, content):
    (small_log / "audit.head").write_bytes(content)
    assert verify(small_log).verdict is Verdict.OK


def test_nothing_to_read_is_no_ok(tmp_path):
    assert verify(tmp_path).verdict is Verdict.UNVERIFIABLE
    assert verify(tmp_path / "absent").verdict is Verdict.UNVERIFIABLE
    (tmp_path / "file").write_bytes(b"")
    assert not verify(tmp_path / "file").ok


def test_a_huge_line_without_end_is_found_without_reading_it_whole(small_log, segment):
    good = segment.read_bytes()
    with segment.open("ab") as file:
        file.truncate(len(good) + 200_000_000)
    assert verify(small_log).verdict is Verdict.TORN
    segment.write_bytes(good[:100])
    with segment.open("ab") as file:
        file.truncate(200_000_000)
    assert (verify(small_log).verdict, verify(small_log).seq) == (Verdict.CHANGED, 0)


def test_numbers_that_gain_a_digit_are_followed(folder):
    fill(folder, 120, segment_bytes=10_000)
    assert verify(folder).verdict is Verdict.OK


def test_the_verifier_needs_the_standard_library_only(small_log):
    code = (
        "import runpy, sys; m = runpy.run_path(sys.argv[1]); r = m['verify'](sys.argv[2]); print(r);"
        "sys.exit(not r.ok or any(n.partition('.')[0] in {'aisecure', 'orjson', 'structlog'} for n in sys.modules))"
    )
    from aisecure.audit import verifier

    subprocess.run([sys.executable, "-c", code, verifier.__file__, small_log], check=True, timeout=60)
