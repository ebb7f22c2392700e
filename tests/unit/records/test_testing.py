"""What we give to users' tests keeps its promises."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from aisecure.events import SecurityEvent
from aisecure.ports import Clock, EventSink
from aisecure.testing import CapturedEvents, FrozenClock, capture_events, memory_ports, memory_storage


def test_a_frozen_clock_stands_still_until_it_is_advanced() -> None:
    clock: Clock = (frozen := FrozenClock(time=10, monotonic=5))
    assert (clock.time(), clock.monotonic()) == (10.0, 5.0)
    frozen.advance(2.5)
    assert (clock.time(), clock.monotonic()) == (12.5, 7.5)


@pytest.mark.parametrize("seconds", [-1, -0.001, math.nan, -math.inf], ids=str)
def test_a_frozen_clock_does_not_go_back(seconds: float) -> None:
    with pytest.raises(ValueError, match="set_time"):
        FrozenClock().advance(seconds)


def test_the_wall_clock_may_be_set_back_while_the_monotonic_one_stays() -> None:
    clock = FrozenClock(time=10, monotonic=5)
    clock.set_time(1)
    assert (clock.time(), clock.monotonic()) == (1.0, 5.0)


def test_captured_events_are_an_event_sink_and_a_sequence() -> None:
    events = capture_events()
    assert isinstance(events, EventSink)
    assert not events
    for code in ("a.b", "c.d"):
        events.record(SecurityEvent("call.denied", code=code))
    events.record(SecurityEvent("call.allowed"))
    assert len(events) == 3
    assert events.types == ["call.denied", "call.denied", "call.allowed"]
    assert [event.code for event in events.of_type("call.denied")] == ["a.b", "c.d"]
    assert events[-1] is events.only("call.allowed")
    assert [event.type for event in events[:2]] == ["call.denied"] * 2


def test_only_names_what_there_was_when_there_is_not_exactly_one() -> None:
    events = CapturedEvents()
    with pytest.raises(AssertionError, match=r"got 0 among \[\]"):
        events.only("call.denied")
    events.record(SecurityEvent("call.denied"))
    events.record(SecurityEvent("call.denied"))
    with pytest.raises(AssertionError, match="got 2"):
        events.only("call.denied")


def test_events_stay_readable_after_the_block_and_can_be_cleared() -> None:
    with capture_events() as events:
        events.record(SecurityEvent("call.denied"))
    assert len(events) == 1
    events.clear()
    assert not events


def test_recording_while_reading_does_not_disturb_the_reader() -> None:
    events = CapturedEvents()
    events.record(SecurityEvent("call.denied"))
    for _ in events:
        events.record(SecurityEvent("call.allowed"))
    assert len(events) == 2


@pytest.mark.parametrize("event", [None, {}, "call.denied"], ids=repr)
def test_what_is_no_event_is_refused(event: object) -> None:
    with pytest.raises(TypeError):
        CapturedEvents().record(event)  # type: ignore[arg-type]


def test_the_repr_of_captured_events_shows_types_only() -> None:
    events = CapturedEvents()
    events.record(SecurityEvent("call.denied", principal="ada@example.org"))
    assert repr(events) == "CapturedEvents(['call.denied'])"


def test_two_memory_databases_share_nothing() -> None:
    one, other = memory_storage(), memory_storage()
    one.execute("CREATE TABLE t (a)")
    assert not other.query("SELECT name FROM sqlite_master WHERE name = 't'")


def test_memory_ports_open_one_database_and_write_no_file(tmp_path: Path) -> None:
    ports = memory_ports(tmp_path)
    assert ports.storage() is ports.storage()
    ports.notices.publish("policy")
    assert ports.notices.version("policy") == 1
    assert isinstance(ports.clock, FrozenClock)
    assert isinstance(ports.events, CapturedEvents)
    assert not list(tmp_path.iterdir())


def test_memory_ports_take_a_clock_and_a_sink(tmp_path: Path) -> None:
    clock, events = FrozenClock(), capture_events()
    ports = memory_ports(tmp_path, clock=clock, events=events)
    assert ports.clock is clock
    assert ports.events is events
