"""A log that cannot be written: refused or let pass as was chosen, told at once, and counted in the log later."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from aisecure.audit import AuditLog, Verdict, read, verify
from aisecure.errors import Misconfigured, Unavailable
from aisecure.events import SecurityEvent


def rules(number):
    return SecurityEvent("policy.loaded", detail={"rules": number})


def run(code, *arguments):
    """Run code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done


FILL = """
    import resource, sys
    from aisecure.audit import AuditLog
    from aisecure.errors import Unavailable
    from aisecure.events import SecurityEvent
    log = AuditLog.open(sys.argv[1], segment_bytes=int(sys.argv[3]), durability=sys.argv[4])
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    written = refused = 0
    for number in range(40):
        try:
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))
            written += 1
        except Unavailable as err:
            assert err.code == "unavailable.audit", err.code
            refused += 1
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    log.record(SecurityEvent("policy.loaded", detail={"rules": 40}))
    print(written, refused)
"""


@pytest.mark.parametrize(("limit", "durability"), [(3000, "os"), (3137, "sync"), (3300, "os")])
def test_a_full_disk_refuses_keeps_what_was_written_and_counts_the_loss(folder, limit, durability):
    done = run(FILL, folder, limit, 1 << 20, durability)
    written, refused = map(int, done.stdout.split())
    assert (written > 0, written + refused) == (True, 40)
    assert done.stderr.count("log.failed") == 1
    stored = [entry["ev"] for entry in read(folder)]
    assert [event["type"] for event in stored] == [
        "log.genesis",
        *["policy.loaded"] * (written + 1),
        "log.dropped",
    ]
    assert stored[-1]["detail"]["count"] == refused
    assert verify(folder).verdict is Verdict.OK


def test_a_disk_that_fills_up_at_a_rotation_leaves_no_half_segment(folder):
    # The limit hits the first line of the second segment, which is longer than what is left to it.
    done = run(FILL.replace("range(40)", "range(30)"), folder, 4200, 4096, "os")
    assert "0" in done.stdout
    assert verify(folder).verdict is Verdict.OK
    run(FILL.replace("range(40)", "range(3)"), folder, 200, 4096, "os")
    report = verify(folder)
    assert report.verdict is Verdict.OK


def test_a_head_that_cannot_be_written_loses_nothing(folder):
    code = """
        import os, sys
        from aisecure.audit import AuditLog
        from aisecure.errors import Unavailable
        from aisecure.events import SecurityEvent
        log = AuditLog.open(sys.argv[1])
        os.dup2(os.open("/dev/full", os.O_RDWR), log._ledger._head_file)
        try:
            log.record(SecurityEvent("policy.loaded", detail={"rules": 1}))
        except Unavailable as err:
            print(type(err.__cause__).__name__)
        print(log.record(SecurityEvent("policy.loaded", detail={"rules": 2})))
    """
    run(code, folder)
    assert verify(folder).verdict is Verdict.OK
    assert {"policy.loaded"} <= {entry["ev"]["type"] for entry in read(folder)}


def test_a_full_disk_at_the_start_is_unavailable_and_begins_well_later(folder):
    code = """
        import resource, sys
        from aisecure.audit import AuditLog
        from aisecure.errors import Unavailable
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
        try:
            AuditLog.open(sys.argv[1])
        except Unavailable:
            print("refused")
    """
    for limit in (0, 10, 2000):
        assert "refused" in run(code, folder, limit).stdout
    with AuditLog.open(folder) as log:
        log.record(rules(1))
    assert verify(folder).verdict is Verdict.OK
    assert sum(entry["ev"]["type"] == "log.genesis" for entry in read(folder)) == 1


def test_on_unavailable_allow_lets_pass_and_still_tells(folder, caplog):
    with AuditLog.open(folder, on_unavailable="allow") as log:
        (path,) = folder.glob("audit-*.jsonl")
        path.rename(folder / "aside")
        assert [log.record(rules(number)) for number in range(3)] == [-1, -1, -1]
        (folder / "aside").rename(path)
        assert log.record(rules(3)) == 1
    assert len(caplog.records) == 1
    (dropped,) = [entry["ev"] for entry in read(folder) if entry["ev"]["type"] == "log.dropped"]
    assert dropped["detail"]["count"] == 3
    assert verify(folder).verdict is Verdict.OK


def test_the_alert_tells_what_failed_and_nothing_of_the_event(folder, caplog):
    with AuditLog.open(folder) as log:
        (folder / "audit.head").unlink()
        next(folder.glob("audit-*.jsonl")).unlink()
        with pytest.raises(Unavailable) as refused:
            log.record(SecurityEvent("policy.loaded", principal="a@example.org", detail={"rules": 1}))
    (alert,) = caplog.records
    assert alert.levelname == "CRITICAL"
    assert "a@example.org" not in alert.getMessage() + str(refused.value) + repr(refused.value.__cause__)


def test_a_file_in_place_of_the_folder_is_misconfigured(tmp_path):
    (tmp_path / "audit").write_text("")
    with pytest.raises(Misconfigured, match="audit"):
        AuditLog.open(tmp_path / "audit")


@pytest.mark.parametrize("name", ["audit.lock", "audit.head", "audit-00000000000000000000.jsonl"])
def test_a_folder_in_place_of_a_file_is_misconfigured(folder, name):
    (folder / name).mkdir(parents=True)
    with pytest.raises(Misconfigured, match="choose a folder"):
        AuditLog.open(folder)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that takes no files")
def test_a_folder_that_takes_no_files_is_misconfigured():
    with pytest.raises(Misconfigured):
        AuditLog.open("/proc/self")


def test_a_call_from_inside_itself_is_refused_and_hangs_nothing(folder):
    class Recorder:
        """A clock that records, as a signal handler in the middle of an append would."""

        log = None
        refused = 0

        def time(self):
            if self.log is not None:
                log, self.log = self.log, None
                with pytest.raises(Unavailable):
                    log.record(rules(9))
                self.refused += 1
            return 1e9

        def monotonic(self):
            return 0.0

    clock = Recorder()
    with AuditLog.open(folder, clock=clock) as log:
        clock.log = log
        log.record(rules(1))
    assert clock.refused == 1
    assert verify(folder).ok


def test_a_lock_that_is_never_released_refuses_in_bounded_time(folder, monkeypatch):
    import fcntl

    monkeypatch.setattr("aisecure.audit.ledger.LOCK_SECONDS", 0.05)
    with AuditLog.open(folder) as log, (folder / "audit.lock").open() as holder:
        fcntl.flock(holder, fcntl.LOCK_EX)
        with pytest.raises(Unavailable):
            log.record(rules(1))
        fcntl.flock(holder, fcntl.LOCK_UN)
        assert log.record(rules(2)) == 1
    assert verify(folder).ok


# -- processes

WRITE = """
    import json, sys
    from aisecure.audit import AuditLog
    from aisecure.events import SecurityEvent
    log = AuditLog.open(sys.argv[1], segment_bytes=int(sys.argv[4]), durability=sys.argv[5])
    for number in range(int(sys.argv[3])):
        print(log.record(SecurityEvent("policy.loaded", detail={"rules": number, "version": sys.argv[2]})), flush=True)
"""


def start(folder, name, count, segment_bytes, durability="os"):
    return subprocess.Popen(
        [
            sys.executable,
            "-c",
            textwrap.dedent(WRITE),
            str(folder),
            name,
            str(count),
            str(segment_bytes),
            durability,
        ],
        stdout=subprocess.PIPE,
        bufsize=0,  # what readline() would read ahead, communicate() would not see
    )


def stored(folder):
    return {
        (entry["ev"]["detail"]["version"], entry["ev"]["detail"]["rules"]): entry["seq"]
        for entry in read(folder)
        if entry["ev"]["type"] == "policy.loaded"
    }


def test_two_processes_write_one_log(folder):
    writers = [start(folder, name, 300, 20_000) for name in "ab"]
    numbers = [int(line) for writer in writers for line in writer.communicate(timeout=60)[0].split()]
    assert all(writer.returncode == 0 for writer in writers)
    assert len(set(numbers)) == 600
    assert sorted(stored(folder).values()) == sorted(numbers)
    assert verify(folder).verdict is Verdict.OK


def storm(folder, processes, count, kills, seed, durability="os"):
    """Start writers, kill some of them at random moments, start others in their place; return what was acknowledged."""
    import random

    chance = random.Random(seed)
    acknowledged = []
    running = [start(folder, f"w{number}", count, 20_000, durability) for number in range(processes)]
    for number in range(kills):
        victim = running.pop(chance.randrange(len(running)))
        # A writer is killed after some of its acknowledgements: at a moment that no pause has to guess.
        lines = [victim.stdout.readline() for _ in range(chance.randrange(1, count // 2))]
        victim.send_signal(signal.SIGKILL)
        acknowledged += [*lines, *victim.communicate(timeout=60)[0].splitlines(keepends=True)]
        running.append(start(folder, f"k{number}", count, 20_000, durability))
    for writer in running:
        acknowledged += writer.communicate(timeout=120)[0].splitlines(keepends=True)
    return [int(line) for line in acknowledged if line.endswith(b"\n")]


def check_storm(folder, acknowledged):
    assert len(acknowledged) == len(set(acknowledged))
    # The next writer heals what the last kill left.
    AuditLog.open(folder).close()
    assert set(acknowledged) <= set(stored(folder).values())
    assert verify(folder).verdict is Verdict.OK


def test_killed_writers_break_no_chain_and_lose_nothing_acknowledged(folder):
    check_storm(folder, storm(folder, processes=2, count=150, kills=2, seed=1))


@pytest.mark.proof
@pytest.mark.parametrize("durability", ["os", "sync"])
def test_a_storm_of_killed_writers_breaks_no_chain(folder, durability):
    check_storm(folder, storm(folder, processes=4, count=500, kills=12, seed=7, durability=durability))


def test_forked_children_continue_the_log_of_their_parent(folder):
    code = """
        import os, sys
        from aisecure.audit import AuditLog
        from aisecure.events import SecurityEvent
        log = AuditLog.open(sys.argv[1], segment_bytes=8192)
        log.record(SecurityEvent("policy.loaded", detail={"rules": 0}))
        children = []
        for child in range(3):
            pid = os.fork()
            if not pid:
                for number in range(100):
                    log.record(SecurityEvent("policy.loaded", detail={"rules": number}))
                os._exit(0)
            children.append(pid)
        for number in range(100):
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))
        sys.exit(any(os.waitpid(pid, 0)[1] for pid in children))
    """
    run(code, folder)
    lines = list(read(folder))
    assert sum(entry["ev"]["type"] == "policy.loaded" for entry in lines) == 401
    assert len({entry["inst"] for entry in lines}) == 4
    assert verify(folder).verdict is Verdict.OK
    assert not [entry for entry in lines if entry["ev"]["type"] == "log.recovered"]


def test_a_fork_in_the_middle_of_an_append_of_another_thread_hangs_nothing(folder):
    code = """
        import os, sys, threading
        from aisecure.audit import AuditLog
        from aisecure.events import SecurityEvent
        log = AuditLog.open(sys.argv[1])
        event = SecurityEvent("policy.loaded", detail={"rules": 0})
        stop = threading.Event()
        def busy():
            while not stop.is_set():
                log.record(event)
        thread = threading.Thread(target=busy)
        thread.start()
        bad = 0
        for _ in range(20):
            pid = os.fork()
            if not pid:
                log.record(event)
                os._exit(0)
            bad |= os.waitpid(pid, 0)[1]
        stop.set()
        thread.join()
        sys.exit(bad)
    """
    run(code, folder)
    assert verify(folder).verdict is Verdict.OK


def test_a_verifier_may_run_while_others_write(folder):
    writer = start(folder, "w", 2000, 20_000)
    assert writer.stdout.readline()
    for _ in range(10):
        assert verify(folder).ok
        assert json.dumps(next(read(folder)))
    writer.communicate(timeout=60)
    assert verify(folder).verdict is Verdict.OK
