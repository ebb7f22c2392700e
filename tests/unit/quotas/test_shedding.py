from __future__ import annotations

import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Principal, Shield
from aisecure.adapters._problems import close_code, headers_of, status_of
from aisecure.call import Call
from aisecure.errors import QuotaExceeded, Unavailable
from aisecure.guard import Ending
from aisecure.quotas import LoadShedder
from aisecure.testing import CapturedEvents, FrozenClock

ALLOWED, FAILED = Ending("call.allowed"), Ending("call.failed", error_type="TimeoutError")


def call(name="alice"):
    return Call(Principal(name), "invoke", "model:chat")


def admitted(shedder, count, name="alice"):
    """Calls that were let in out of so many."""
    calls = [call(name) for _ in range(count)]
    return [each for each in calls if shedder.before(each) is None]


def test_calls_beyond_the_limit_are_refused_at_once_with_a_time_to_come_back():
    shedder = LoadShedder(2, retry_after=3.0)
    inside = admitted(shedder, 2)
    verdict = shedder.before(call())
    assert (verdict.code, verdict.retry_after) == ("quota.overloaded", 3.0)
    shedder.settle(inside[0], ALLOWED)
    assert len(admitted(shedder, 2)) == 1


def test_a_refusal_is_answered_with_503_and_retry_after():
    shedder = LoadShedder(1, retry_after=2.5)

    @shedder
    def ask(depth):
        return ask(depth - 1) if depth else "done"

    with pytest.raises(QuotaExceeded) as error:
        ask(1)
    assert status_of(error.value) == 503
    assert ("retry-after", "3") in list(headers_of(error.value))
    assert close_code(error.value) == 1013
    assert shedder.health()["in_flight"] == 0


@pytest.mark.parametrize(("share", "enter"), [(1, 10), (0.5, 5), (0.55, 6), (0.01, 1), (0, 0)])
def test_a_call_is_let_in_while_fewer_than_its_share_of_the_limit_are_in_flight(share, enter):
    shedder = LoadShedder(10, priority=lambda call: share)
    assert len(admitted(shedder, 20)) == enter


def test_less_important_calls_are_refused_first():
    shedder = LoadShedder(4, priority=lambda call: 1.0 if call.principal.id == "alice" else 0.5)
    assert len(admitted(shedder, 9, "batch")) == 2
    assert len(admitted(shedder, 9, "alice")) == 2


@pytest.mark.parametrize("share", [None, "high", True, float("nan"), -0.1, 1.1, float("inf")])
def test_a_priority_that_is_none_lets_nobody_through(share):
    shedder = LoadShedder(10, priority=lambda call: share)

    @shedder
    def ask(prompt):
        raise AssertionError("was let through")

    with pytest.raises(Unavailable):
        ask("x")
    assert shedder.health()["in_flight"] == 0


def slow(shedder, clock, count, seconds, ending=ALLOWED):
    """So many calls at once that all take so long."""
    inside = admitted(shedder, count)
    clock.advance(seconds)
    for each in inside:
        shedder.settle(each, ending)


def test_slow_calls_take_the_limit_down_once_a_round_and_not_below_the_least():
    clock = FrozenClock()
    shedder = LoadShedder(100, target_seconds=1.0, min_in_flight=40, clock=clock)
    slow(shedder, clock, 100, 2.0)
    assert shedder.limit == pytest.approx(70.0)
    slow(shedder, clock, 1, 2.0, FAILED)
    assert shedder.limit == pytest.approx(49.0)
    slow(shedder, clock, 1, 2.0)
    assert shedder.limit == 40.0
    assert len(admitted(shedder, 100)) == 40


def test_quick_calls_raise_the_limit_by_one_a_round_up_to_the_most():
    clock = FrozenClock()
    shedder = LoadShedder(20, target_seconds=1.0, clock=clock)
    slow(shedder, clock, 1, 2.0)
    assert shedder.limit == pytest.approx(14.0)
    inside = admitted(shedder, 14)
    for each in inside:  # half of them end while half of the limit is in flight
        shedder.settle(each, ALLOWED)
    assert 14.4 < shedder.limit < 14.7
    for _ in range(40):
        slow(shedder, clock, 20, 0.5)
    assert shedder.limit == 20.0


def test_a_limit_that_nobody_uses_does_not_grow():
    clock = FrozenClock()
    shedder = LoadShedder(20, target_seconds=1.0, clock=clock)
    slow(shedder, clock, 1, 2.0)
    before = shedder.limit
    for _ in range(50):
        slow(shedder, clock, 3, 0.1)
    assert shedder.limit == before


@pytest.mark.parametrize(
    "ending",
    [
        Ending("call.cancelled"),
        Ending("call.denied", entered=False),
        Ending("call.unavailable", entered=False),
    ],
)
def test_cancelled_and_refused_calls_teach_nothing(ending):
    clock = FrozenClock()
    shedder = LoadShedder(10, target_seconds=1.0, clock=clock)
    slow(shedder, clock, 10, 5.0, ending)
    assert shedder.limit == 10.0
    slow(shedder, clock, 1, 5.0)
    low = shedder.limit
    slow(shedder, clock, 10, 0.1, ending)
    assert shedder.limit == low
    assert shedder.health()["in_flight"] == 0


def test_calls_that_failed_quickly_raise_nothing():
    clock = FrozenClock()
    shedder = LoadShedder(10, target_seconds=1.0, clock=clock)
    slow(shedder, clock, 1, 5.0)
    low = shedder.limit
    slow(shedder, clock, 10, 0.1, FAILED)
    assert shedder.limit == low


@given(
    st.lists(
        st.tuples(st.integers(1, 30), st.sampled_from([0.1, 5.0]), st.sampled_from([ALLOWED, FAILED])),
        max_size=40,
    )
)
def test_the_limit_stays_between_its_bounds_and_everybody_is_counted_out(rounds):
    clock = FrozenClock()
    shedder = LoadShedder(20, target_seconds=1.0, min_in_flight=2, clock=clock)
    for count, seconds, ending in rounds:
        assert len(admitted(shedder, 0)) == 0
        slow(shedder, clock, count, seconds, ending)
        assert 2 <= shedder.limit <= 20
        assert shedder.health()["in_flight"] == 0


def test_that_shedding_began_and_ended_is_told_once_each():
    clock, events = FrozenClock(), CapturedEvents()
    shedder = LoadShedder(1, clock=clock, events=events)
    inside = admitted(shedder, 1)
    for _ in range(5):
        shedder.before(call())
        clock.advance(1)
    assert events.types == ["shedding.began"]
    assert dict(events[0].detail) == {"guard": "load_shedder", "in_flight": 1, "limit": 1}
    assert shedder.health()["shedding"] is True
    shedder.settle(inside[0], ALLOWED)
    clock.advance(8)
    shedder.settle(admitted(shedder, 1)[0], ALLOWED)
    assert events.types == ["shedding.began"]
    clock.advance(1)
    assert shedder.health()["shedding"] is False
    admitted(shedder, 1)
    assert events.types == ["shedding.began", "shedding.ended"]


def test_a_change_that_cannot_be_recorded_refuses_the_call_and_leaks_nothing():
    class Full:
        broken = False

        def record(self, event):
            if self.broken:
                raise Unavailable("full")

    clock, sink = FrozenClock(), Full()
    shedder = LoadShedder(1, clock=clock, events=sink)
    inside = admitted(shedder, 2)
    clock.advance(60)
    shedder.settle(inside[0], ALLOWED)
    sink.broken = True
    with pytest.raises(Unavailable):
        shedder.before(call())
    assert shedder.health()["in_flight"] == 0


def test_in_shadow_mode_all_are_let_in_and_counted():
    events = CapturedEvents()
    shedder = LoadShedder(1, shadow=True)

    @Shield(shedder, sinks=[events]).protect("model:chat")
    def ask(depth):
        return ask(depth - 1) if depth else shedder.health()["in_flight"]

    assert ask(2) == 3
    assert shedder.health()["in_flight"] == 0
    assert [event.code for event in events.of_type("guard.would_deny")] == ["quota.overloaded"] * 2


def test_two_hundred_threads_never_exceed_the_limit():
    shedder = LoadShedder(7)
    start, hold = threading.Barrier(200), threading.Barrier(200)
    seen, lock = [], threading.Lock()

    def one():
        mine = call()
        start.wait(30)
        inside = shedder.before(mine) is None
        hold.wait(30)
        with lock:
            seen.append(inside)
        shedder.settle(mine, ALLOWED)

    threads = [threading.Thread(target=one) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(seen) == 7
    assert shedder.health()["in_flight"] == 0


def test_a_call_that_ends_while_its_thread_holds_the_lock_stops_nothing():
    clock = FrozenClock()
    shedder = LoadShedder(10, target_seconds=1.0, clock=clock)
    inside = admitted(shedder, 1)
    clock.advance(5)
    with shedder._inbox.lock:
        shedder.settle(inside[0], ALLOWED)
    assert shedder.limit == 10.0
    admitted(shedder, 1)
    assert shedder.limit == pytest.approx(7.0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_nothing_in_flight():
    shedder = LoadShedder(1)
    inside = admitted(shedder, 1)
    shedder._inbox.lock.acquire()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        shedder.settle(inside[0], ALLOWED)
        os._exit(0 if len(admitted(shedder, 2)) == 1 else 1)
    shedder._inbox.lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert shedder.health()["in_flight"] == 1


@pytest.mark.parametrize(
    "arguments",
    [
        {"max_in_flight": 0},
        {"max_in_flight": 1, "min_in_flight": 2},
        {"max_in_flight": 1, "min_in_flight": 0},
        {"max_in_flight": 1, "target_seconds": 0},
        {"max_in_flight": 1, "target_seconds": float("nan")},
        {"max_in_flight": 1, "retry_after": float("inf")},
        {"max_in_flight": 1, "retry_after": -1},
    ],
)
def test_nonsense_is_said_at_once(arguments):
    with pytest.raises(ValueError):
        LoadShedder(**arguments)


@pytest.mark.parametrize("most", [1.5, True, "9", None])
def test_wrong_types_are_said_at_once(most):
    with pytest.raises(TypeError):
        LoadShedder(most)
