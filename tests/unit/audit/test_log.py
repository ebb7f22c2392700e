"""What is recorded is there, once, in order, in the format of the first day."""

from __future__ import annotations

import asyncio
import json
import os
import re
import threading

import pytest
import rfc8785
import structlog

from aisecure import Principal
from aisecure.audit import AuditLog, Settings, Verdict, build, open_log, read, self_tests, verify
from aisecure.audit.head import Head
from aisecure.audit.merkle import CompactRange, leaf_hash
from aisecure.errors import Misconfigured, Unavailable
from aisecure.events import SecurityEvent
from aisecure.ports import EventSink, Ports


def events(folder, type_=None):
    return [entry["ev"] for entry in read(folder) if type_ in (None, entry["ev"]["type"])]


def rules(number, **fields):
    return SecurityEvent("policy.loaded", detail={"rules": number}, **fields)


def test_a_new_log_begins_with_its_origin_and_format(folder):
    with AuditLog.open(folder, origin="example.org/audit/bot"):
        pass
    (first,) = read(folder)
    assert first["ev"]["detail"] == {"format": "aisecure-audit/1", "origin": "example.org/audit/bot"}
    assert (first["seq"], first["prev"]) == (0, "0" * 64)


def test_an_event_is_stored_as_it_is_under_the_next_number(folder):
    event = SecurityEvent(
        "call.denied", principal="u-1", tenant="acme", code="access.denied", detail={"guard": "access"}
    )
    with AuditLog.open(folder) as log:
        assert log.record(event) == 1
        assert log.record(rules(1)) == 2
    assert events(folder)[1] == event.to_dict()


def test_every_line_has_the_published_form_and_is_rfc_8785(folder, clock):
    with AuditLog.open(folder, clock=clock) as log:
        log.record(rules(1, principal='\u2028\x00"\\ \U0001f600', latency_ms=2.0))
    form = re.compile(
        rb'\{"ev":\{.*\},"inst":"[0-9]+-[0-9a-f]{8}","prev":"[0-9a-f]{64}","seq":[0-9]+,"ts":"2026-09-21T14:13:20.000000Z","v":1\}'
    )
    (path,) = folder.glob("audit-*.jsonl")
    assert path.name == "audit-00000000000000000000.jsonl"
    for line in path.read_bytes().splitlines():
        assert form.fullmatch(line)
        assert rfc8785.dumps(json.loads(line)) == line


def test_prev_and_the_head_hold_the_hashes_of_the_stored_bytes(small_log, segment):
    lines, tree = segment.read_bytes().splitlines(), CompactRange()
    for before, line in zip([None, *lines], lines, strict=False):
        assert json.loads(line)["prev"] == (leaf_hash(before).hex() if before else "0" * 64)
        tree.append(leaf_hash(line))
    head = Head.decode((small_log / "audit.head").read_bytes())
    assert (head.next, head.leaf, head.tree.root()) == (len(lines), leaf_hash(lines[-1]), tree.root())
    assert head.length == segment.stat().st_size


def test_opening_again_continues_the_chain(folder):
    for number in range(5):
        with AuditLog.open(folder) as log:
            assert log.record(rules(number)) == number + 1
    assert verify(folder).entries == 6
    assert [event["detail"]["rules"] for event in events(folder, "policy.loaded")] == list(range(5))


def test_the_files_are_for_their_owner_alone(small_log):
    assert small_log.stat().st_mode & 0o777 == 0o700
    for path in small_log.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600, path.name


def test_rotation_by_size_keeps_the_chain_and_says_how_the_old_file_ended(folder):
    from hashlib import sha256

    with AuditLog.open(folder, segment_bytes=4096) as log:
        for number in range(60):
            log.record(rules(number))
    paths = sorted(folder.glob("audit-*.jsonl"))
    assert len(paths) > 5
    assert all(path.stat().st_size <= 4096 for path in paths)
    for path, told in zip(paths, events(folder, "log.segment"), strict=False):
        detail = told["detail"]
        assert (detail["file"], detail["bytes"]) == (path.name, path.stat().st_size)
        assert detail["sha256"] == sha256(path.read_bytes()).hexdigest()
        assert detail["last_seq"] - detail["first_seq"] + 1 == len(path.read_bytes().splitlines())
    assert verify(folder).verdict is Verdict.OK
    assert [event["detail"]["rules"] for event in events(folder, "policy.loaded")] == list(range(60))


def test_events_larger_than_a_segment_still_fit_one_each(folder):
    with AuditLog.open(folder, segment_bytes=4096) as log:
        for number in range(4):
            log.record(rules(number, principal="x" * 20_000))
    assert verify(folder).ok
    assert len(events(folder, "policy.loaded")) == 4


@pytest.mark.parametrize("field", ["principal", "resource", "reasons", "detail"])
def test_a_value_of_a_megabyte_is_replaced_by_length_and_digest_and_told(folder, field):
    from hashlib import sha256

    big = "\u20ac" * 1_000_000
    given = (
        {"detail": {"version": big, "rules": 3}}
        if field == "detail"
        else {field: (big,) if field == "reasons" else big}
    )
    event = SecurityEvent("policy.loaded", tenant="acme", **given)
    with AuditLog.open(folder) as log:
        log.record(event)
        assert log.record(rules(1)) == 3
    _, stored, told, _ = events(folder)
    value = stored["detail"]["version"] if field == "detail" else stored[field]
    assert value["bytes"] == len(big.encode()) + (4 if field == "reasons" else 2)
    assert (stored["id"], stored["tenant"]) == (event.id, "acme")
    assert told["type"] == "log.oversize"
    assert told["detail"]["event_type"] == "policy.loaded"
    whole = rfc8785.dumps(event.to_dict())
    assert (told["detail"]["bytes"], told["detail"]["sha256"]) == (len(whole), sha256(whole).hexdigest())
    assert max(map(len, next(folder.glob("audit-*.jsonl")).read_bytes().splitlines())) <= 65_535
    assert verify(folder).ok


def test_a_detail_of_many_small_values_is_shortened_as_a_whole(folder):
    with AuditLog.open(folder) as log:
        log.record(
            SecurityEvent("call.denied", detail={"guard": ["g" * 500] * 400, "would_deny": ["h"] * 60_000})
        )
    assert verify(folder).ok
    assert events(folder)[2]["type"] == "log.oversize"


@pytest.mark.parametrize("size", range(65_000, 65_400, 37))
def test_events_about_the_limit_of_a_line_fit(folder, size):
    with AuditLog.open(folder) as log:
        log.record(rules(1, principal="x" * size))
    assert verify(folder).ok
    assert max(map(len, next(folder.glob("audit-*.jsonl")).read_bytes().splitlines())) <= 65_535


def test_fifty_megabytes_are_recorded(folder):
    with AuditLog.open(folder) as log:
        log.record(rules(1, principal="x" * 50_000_000))
    assert events(folder)[1]["principal"]["bytes"] == 50_000_002


class Loud:
    def __repr__(self):
        raise RuntimeError("secret")


@pytest.mark.parametrize(
    "odd", ["\ud800", "a\0b", "\u2028\u2029", "\r\n", 2**64, float("nan"), b"\xff", Loud(), [[Loud()]], {"k": {1, 2}}],
    ids=repr if False else lambda value: type(value).__name__,
)  # fmt: skip
def test_odd_values_lose_no_event_and_make_no_second_line(folder, odd):
    with AuditLog.open(folder) as log:
        log.record(
            SecurityEvent(
                "policy.loaded", detail={"version": odd}, principal=odd if isinstance(odd, str) else "u"
            )
        )
        assert log.record(rules(1)) == 2
    assert verify(folder).entries == 3
    assert "secret" not in next(folder.glob("audit-*.jsonl")).read_text()


def test_a_principal_passed_by_mistake_leaves_only_the_name_of_its_type(folder):
    with AuditLog.open(folder) as log:
        log.record(rules(1, principal=Principal("a@example.org")))
    assert events(folder)[1]["principal"] == {"unencodable": "Principal"}


@pytest.mark.parametrize("wrong", [None, "call.allowed", {"type": "call.allowed"}, 7])
def test_what_is_no_event_is_a_type_error(folder, wrong):
    with AuditLog.open(folder) as log, pytest.raises(TypeError):
        log.record(wrong)


def test_a_clock_that_goes_back_changes_times_and_not_the_order(folder, clock):
    with AuditLog.open(folder, clock=clock) as log:
        for number, clock.now in enumerate([2e9, 1e9, 0.0, -5.0, float("nan"), float("inf"), 1e300]):
            log.record(rules(number))
    assert [event["detail"]["rules"] for event in events(folder, "policy.loaded")] == list(range(7))
    assert [entry["ts"] for entry in read(folder)][4:] == ["1970-01-01T00:00:00.000000Z"] * 2 + [
        "9999-12-31T23:59:59.000000Z"
    ] * 2
    assert verify(folder).ok


def test_threads_share_a_log(folder):
    with AuditLog.open(folder, segment_bytes=20_000) as log:
        threads = [
            threading.Thread(target=lambda: [log.record(rules(n)) for n in range(100)]) for _ in range(8)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(events(folder, "policy.loaded")) == 800
    assert verify(folder).verdict is Verdict.OK


def test_tasks_share_a_log(folder):
    async def many(log):
        await asyncio.gather(*(asyncio.to_thread(log.record, rules(n)) for n in range(50)))

    with AuditLog.open(folder) as log:
        asyncio.run(many(log))
    assert verify(folder).entries == 51


def test_two_objects_in_one_process_take_turns(folder):
    with AuditLog.open(folder, segment_bytes=4096) as one, AuditLog.open(folder, segment_bytes=4096) as two:
        assert [log.record(rules(0)) for log in (one, two, two, one, one, two)] == [1, 2, 3, 4, 5, 6]
        for number in range(60):
            (one, two)[number % 3 == 0].record(rules(number))
    assert verify(folder).verdict is Verdict.OK
    assert not events(folder, "log.recovered")


def test_a_closed_log_refuses(folder):
    log = AuditLog.open(folder)
    log.close()
    log.close()
    with pytest.raises(Unavailable):
        log.record(rules(1))


def test_a_reader_sees_what_counts_and_no_line_on_its_way(folder):
    with AuditLog.open(folder) as log:
        log.record(rules(1))
        (path,) = folder.glob("audit-*.jsonl")
        whole = path.read_bytes()
        with path.open("ab") as file:
            file.write(whole.splitlines()[-1] + b"\n" + b'{"ev":')
        assert len(events(folder)) == 2
        (folder / "audit.head").unlink()
        assert len(events(folder)) == 3


def test_sync_durability_writes_the_same_log(folder):
    with AuditLog.open(folder, durability="sync", segment_bytes=4096) as log:
        for number in range(20):
            log.record(rules(number))
    assert verify(folder).verdict is Verdict.OK


def test_another_origin_is_refused(folder):
    AuditLog.open(folder, origin="a").close()
    AuditLog.open(folder, origin="a").close()
    AuditLog.open(folder).close()
    with pytest.raises(Misconfigured, match="'a', not 'b'"):
        AuditLog.open(folder, origin="b")


@pytest.mark.parametrize(
    "options",
    [
        {"segment_bytes": 10},
        {"durability": "maybe"},
        {"on_unavailable": "shrug"},
        {"origin": "a b"},
        {"origin": ""},
        {"origin": "a\n"},
    ],
)
def test_options_out_of_range_are_refused(folder, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AuditLog.open(folder, **options)
    assert not folder.exists()


def test_a_log_is_an_event_sink(folder):
    with AuditLog.open(folder) as log:
        assert isinstance(log, EventSink)
        assert "audit" in repr(log)


# -- structlog


def test_calls_of_the_logger_are_events_with_what_was_bound(folder):
    with AuditLog.open(folder) as log:
        logger = log.logger(principal="admin", tenant="acme")
        assert logger.info("key.revoked", key_id="k1", result="failure") == 1
        assert logger.unbind("tenant").bind(source="203.0.113.9").warning("key.revoked", key_id="k2") == 2
    _, first, second = events(folder)
    assert (first["principal"], first["tenant"], first["result"], first["detail"]) == (
        "admin",
        "acme",
        "failure",
        {"key_id": "k1"},
    )
    assert ("tenant" not in second, second["source"]) == (True, "203.0.113.9")


@pytest.mark.parametrize(
    ("type_", "fields"),
    [("made.up", {}), ("key.revoked", {"prompt": "x"}), ("key.revoked", {"result": "odd"})],
)
def test_the_logger_refuses_what_is_not_listed(folder, type_, fields):
    with AuditLog.open(folder) as log:
        with pytest.raises(ValueError):
            log.logger().info(type_, **fields)
        assert log.record(rules(1)) == 1


def test_listed_names_of_the_context_are_stored_and_no_others(folder):
    with (
        AuditLog.open(folder) as log,
        structlog.contextvars.bound_contextvars(trace_id="t1", email="a@example.org"),
    ):
        log.record(rules(1))
        log.logger().info("key.revoked", key_id="k1")
    _, first, second = events(folder)
    assert first["context"] == second["context"] == {"trace_id": "t1"}
    assert "context" not in events(folder)[0]


def test_a_processor_stores_listed_events_and_lets_all_pass(folder):
    with AuditLog.open(folder) as log:
        seen = []
        logger = structlog.wrap_logger(
            structlog.ReturnLogger(),
            processors=[log.processor, lambda logger, method, entry: seen.append(entry) or str(entry)],
        )
        logger.info("key.revoked", key_id="k1", principal="admin", level="info", note="not listed")
        logger.info("cache warmed", size=3)
    assert [entry.get("audit_seq") for entry in seen] == [1, None]
    (stored,) = events(folder, "key.revoked")
    assert (stored["principal"], stored["detail"]) == ("admin", {"key_id": "k1"})


# -- settings


def test_open_log_puts_the_log_into_the_data_folder(tmp_path, clock):
    ports = Ports(tmp_path / "data", tmp_path, storage=None, notices=None, clock=clock)
    with open_log(Settings(), ports) as log:
        log.record(rules(1))
    assert verify(tmp_path / "data" / "audit").entries == 2
    with open_log(Settings(folder="elsewhere", origin="o", durability="sync"), ports):
        pass
    assert verify(tmp_path / "elsewhere").ok
    assert build(Settings(), ports) == ()


@pytest.mark.parametrize(
    "wrong",
    [
        {"segment_bytes": 1},
        {"origin": "a b"},
        {"origin": "a+b"},
        {"durability": "x"},
        {"on_unavailable": "x"},
        {"folders": "x"},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(ValueError):
        Settings(**wrong)


def test_the_defaults_of_the_settings_are_those_of_open():
    import inspect

    options = inspect.signature(AuditLog.open).parameters
    for name, value in Settings():
        if name != "folder":
            assert value == options[name].default, name


@pytest.mark.parametrize("name", self_tests())
def test_each_capability_passes_its_own_test(name):
    self_tests()[name]()


def test_the_package_loads_no_structlog_for_verifying(tmp_path):
    import subprocess
    import sys

    code = "import sys; from aisecure.audit import verify, Settings; sys.exit('structlog' in sys.modules)"
    subprocess.run(
        [sys.executable, "-c", code], check=True, timeout=60, env={**os.environ, "COVERAGE_PROCESS_START": ""}
    )
