"""A policy file that changes while it is asked."""

from __future__ import annotations

import sys
import threading

import pytest

from aisecure.access import Authorizer
from aisecure.errors import Misconfigured, Unavailable
from aisecure.principal import Principal
from aisecure.testing import FrozenClock, capture_events

READ = "p, reader, *, document:*, read, allow\n"
WRITE = READ + "p, reader, *, document:*, write, allow\n"
READER = Principal("u-1", roles={"reader"})


def replace(path, text: str) -> None:
    """As an administrator should: a finished file, renamed over the old one."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.replace(path)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "policy.csv"
    path.write_text(READ)
    return path


@pytest.fixture
def clock():
    return FrozenClock()


def may_write(may: Authorizer) -> bool:
    return may.decide(READER, "write", "document:1").allowed


def test_a_changed_file_takes_effect_when_it_is_looked_at_again(path, clock):
    with capture_events() as events:
        may = Authorizer.from_files(None, path, reload_seconds=5, clock=clock, events=events)
        replace(path, WRITE)
        assert not may_write(may)
        clock.advance(5)
        assert may_write(may)
    first, second = events.of_type("policy.loaded")
    assert (first.detail["rules"], second.detail["rules"]) == (1, 2)
    assert second.detail["version"] == may.version != first.detail["version"]


def test_enforce_sees_the_change_too(path, clock):
    may = Authorizer.from_files(None, path, reload_seconds=0, clock=clock)
    replace(path, WRITE)
    assert may.enforce("reader", "t", "document:1", "write")


def test_an_unchanged_file_is_not_read_again(path, clock):
    with capture_events() as events:
        may = Authorizer.from_files(None, path, reload_seconds=1, clock=clock, events=events)
        for _ in range(5):
            clock.advance(1)
            may_write(may)
    assert events.types == ["policy.loaded"]


def test_a_file_is_left_alone_when_nobody_wants_reloading(path, clock):
    may = Authorizer.from_files(None, path, reload_seconds=None, clock=clock)
    replace(path, WRITE)
    clock.advance(1e9)
    assert not may_write(may)
    may.reload()
    assert may_write(may)


@pytest.mark.parametrize("bad", ["p, reader, oops", "nonsense", "p, reader, *, document:*, read, maybe"])
def test_an_unusable_new_policy_is_refused_once_and_the_last_good_one_stays(path, clock, bad):
    with capture_events() as events:
        may = Authorizer.from_files(None, path, reload_seconds=1, clock=clock, events=events)
        version = may.version
        replace(path, bad)
        for _ in range(3):
            clock.advance(1)
            assert may.decide(READER, "read", "document:1").allowed
    assert events.types == ["policy.loaded", "policy.refused"]
    assert f"{path}: line 1" in events.only("policy.refused").detail["reason"]
    assert may.version == version
    assert may.refused
    replace(path, WRITE)
    clock.advance(1)
    assert may_write(may)
    assert not may.refused


def test_a_deleted_file_leaves_the_last_good_policy(path, clock):
    with capture_events() as events:
        may = Authorizer.from_files(None, path, reload_seconds=1, clock=clock, events=events)
        path.unlink()
        for _ in range(3):
            clock.advance(1)
            assert may.decide(READER, "read", "document:1").allowed
    assert events.types == ["policy.loaded", "policy.refused"]


def test_an_emptied_file_denies_everything(path, clock):
    may = Authorizer.from_files(None, path, reload_seconds=1, clock=clock)
    replace(path, "")
    clock.advance(1)
    assert not may.decide(READER, "read", "document:1").allowed


def test_reload_raises_for_an_unusable_policy_and_keeps_the_last_good_one(path, clock):
    with capture_events() as events:
        may = Authorizer.from_files(None, path, clock=clock, events=events)
        replace(path, "nonsense")
        with pytest.raises(Misconfigured, match="line 1"):
            may.reload()
    assert events.types == ["policy.loaded", "policy.refused"]
    assert may.decide(READER, "read", "document:1").allowed


def test_reload_of_texts_changes_nothing():
    may = Authorizer.from_text(policy=READ)
    version = may.version
    may.reload()
    assert may.version == version


def test_a_changed_model_takes_effect(path, tmp_path, clock):
    from aisecure.access import DEFAULT_MODEL

    model = tmp_path / "model.conf"
    model.write_text(DEFAULT_MODEL)
    may = Authorizer.from_files(model, path, reload_seconds=1, clock=clock)
    replace(model, DEFAULT_MODEL.replace("r.act == p.act", 'r.act == p.act || r.act == "write"'))
    clock.advance(1)
    assert may_write(may)


def test_a_new_model_that_cannot_be_asked_about_principals_is_refused(path, tmp_path, clock):
    from aisecure.access import DEFAULT_MODEL

    model = tmp_path / "model.conf"
    model.write_text(DEFAULT_MODEL)
    may = Authorizer.from_files(model, path, reload_seconds=1, clock=clock)
    replace(model, DEFAULT_MODEL.replace("r = sub, dom, obj, act", "r = sub, dom, obj, act, more"))
    clock.advance(1)
    assert may.decide(READER, "read", "document:1").allowed
    assert "sub, obj and act" in may.refused


def test_a_log_that_cannot_take_the_event_fails_the_decision(path, clock):
    class Full:
        full = False

        def record(self, event):
            if self.full:
                raise Unavailable

    sink = Full()
    may = Authorizer.from_files(None, path, reload_seconds=1, clock=clock, events=sink)
    sink.full = True
    replace(path, WRITE)
    clock.advance(1)
    with pytest.raises(Unavailable):
        may_write(may)


def test_every_answer_belongs_to_one_version_while_eight_threads_ask(tmp_path):
    """Two versions agree on both questions; links of one with rules of the other would answer both wrongly."""
    path = tmp_path / "policy.csv"
    versions = []
    for mine, other in (("left", "right"), ("right", "left")):
        versions.append(
            f"p, {mine}, *, both, read, allow\np, {other}, *, none, read, allow\ng, ann, {mine}, default\n"
        )
    path.write_text(versions[0])
    may = Authorizer.from_files(None, path, reload_seconds=0)
    ann = Principal("ann")
    wrong: list[str] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            if not may.decide(ann, "read", "both").allowed:
                wrong.append("both")
            if may.decide(ann, "read", "none").allowed:
                wrong.append("none")

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [threading.Thread(target=ask) for _ in range(8)]
    seen = set()
    try:
        for thread in threads:
            thread.start()
        for turn in range(12):
            replace(path, versions[turn % 2])
            may.reload()
            seen.add(may.version)
    finally:
        done.set()
        for thread in threads:
            thread.join()
        sys.setswitchinterval(before)
    assert wrong == []
    assert len(seen) == 2
