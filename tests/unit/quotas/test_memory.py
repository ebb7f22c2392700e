from __future__ import annotations

import asyncio
import os
import sys
import threading
from array import array
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.errors import Unavailable
from aisecure.quotas import MemoryStore, Rate, RateLimiter
from aisecure.testing import CapturedEvents, FrozenClock

RATES = st.lists(st.builds(Rate, st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=3, unique=True)
# Steps are eighths of a second, so that sums of them are exact in binary.
STEPS = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 8), st.sampled_from("ab"), st.integers(1, 4)), max_size=60
)


class Model:
    """The definition, slowly: every admission is remembered, and every window that ends now is counted."""

    def __init__(self, rates):
        self.rates = rates
        self.admitted = {}

    def fits(self, key, cost, now):
        past = self.admitted.get(key, [])
        return all(
            sum(spent for when, spent in past if when > now - rate.seconds) + cost <= rate.amount
            for rate in self.rates
        )

    def decide(self, key, cost, now):
        if not self.fits(key, cost, now):
            return False
        self.admitted.setdefault(key, []).append((now, cost))
        return True

    def retry_after(self, key, cost, now):
        moments = (when + rate.seconds for when, _ in self.admitted[key] for rate in self.rates)
        return min(moment - now for moment in moments if moment > now and self.fits(key, cost, moment))


def check_against_the_definition(rates, steps):
    clock, model = FrozenClock(monotonic=0.0), Model(rates)
    limiter = RateLimiter(rates, clock=clock)
    smallest = min(rate.amount for rate in rates)
    for pause, key, wish in steps:
        clock.advance(pause)
        now, cost = clock.monotonic(), min(wish, smallest)
        decision = limiter.decide(key, cost=cost)
        assert decision.allowed == model.decide(key, cost, now)
        if not decision.allowed:
            assert decision.retry_after == model.retry_after(key, cost, now)


@settings(deadline=None)
@given(RATES, STEPS)
def test_decisions_and_waits_are_those_of_the_definition(rates, steps):
    check_against_the_definition(rates, steps)


@settings(deadline=None)
@given(RATES, STEPS, st.integers(1, 3))
def test_however_little_room_there_is_no_window_holds_more_than_the_limit(rates, steps, room):
    clock = FrozenClock(monotonic=0.0)
    store = MemoryStore(max_keys=1, max_admissions=room, clock=clock)
    limiter = RateLimiter(rates, store=store)
    admitted: dict[str, list[tuple[float, int]]] = {"a": [], "b": []}
    limiter.decide("c")
    for pause, key, wish in steps:
        clock.advance(pause)
        now, cost = clock.monotonic(), min(wish, *(rate.amount for rate in rates))
        if limiter.decide(key, cost=cost).allowed:
            admitted[key].append((now, cost))
        for rate in rates:
            assert sum(c for when, c in admitted[key] if when > now - rate.seconds) <= rate.amount


@settings(deadline=None)
@given(RATES, STEPS)
def test_a_caller_who_waits_as_told_is_let_in_and_not_a_nanosecond_before(rates, steps):
    clock = FrozenClock(monotonic=4_000.1)
    limiter = RateLimiter(rates, clock=clock)
    for pause, key, _ in steps:
        clock.advance(pause * 1.1)
        decision = limiter.decide(key)
        if decision.retry_after is not None:
            clock.advance(max(0.0, decision.retry_after - 2e-9))
            assert not limiter.decide(key).allowed
            clock.advance(2e-9)
            assert limiter.decide(key).allowed


def test_setting_the_wall_clock_changes_nothing():
    clock = FrozenClock()
    limiter = RateLimiter("1/minute", clock=clock)
    limiter.require("k")
    for time in (0.0, 1e12, -5.0):
        clock.set_time(time)
        assert limiter.decide("k").retry_after == 60.0


def test_a_clock_that_goes_back_in_spite_of_its_promise_never_lets_more_in():
    class Broken(FrozenClock):
        now = 5000.0

        def monotonic(self):
            return self.now

    clock = Broken()
    limiter = RateLimiter("3/minute", clock=clock)
    assert [limiter.decide("k").allowed for _ in range(3)] == [True] * 3
    clock.now -= 3600
    assert not limiter.decide("k").allowed


def hammer(limiter, clients, each):
    """Return how many of ``clients * each`` hits, from as many threads as clients, were admitted."""
    admitted = [0] * clients
    start = threading.Barrier(clients)

    def client(number):
        start.wait()
        admitted[number] = sum(limiter.decide("one").allowed for _ in range(each))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(admitted)


@pytest.fixture
def eager_switches():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


@pytest.mark.parametrize("limits", ["100/hour", "100/hour; 500/day", "1000/hour"])
@pytest.mark.usefixtures("eager_switches")
def test_two_hundred_threads_get_the_limit_and_not_one_more_or_less(limits):
    assert hammer(RateLimiter(limits), 200, 5) == int(limits.partition("/")[0])


def test_two_hundred_tasks_get_the_limit_and_not_one_more_or_less():
    limiter = RateLimiter("100/hour")

    async def client():
        admitted = 0
        for _ in range(5):
            admitted += (await limiter.adecide("one")).allowed
            await asyncio.sleep(0)
        return admitted

    async def everybody():
        return sum(await asyncio.gather(*(client() for _ in range(200))))

    assert asyncio.run(everybody()) == 100


def test_idle_keys_are_forgotten_as_new_ones_come():
    clock = FrozenClock()
    store = MemoryStore(clock=clock)
    limiter = RateLimiter("5/second", store=store)
    for number in range(10_000):
        limiter.require(f"k{number}")
        clock.advance(0.01)
    assert store.keys <= 200
    assert store.places <= 4 * 200


def test_a_key_in_steady_use_clears_away_what_others_left():
    clock = FrozenClock()
    store = MemoryStore(clock=clock)
    limiter = RateLimiter("5/second", store=store)
    for number in range(1_000):
        limiter.require(f"k{number}")
    for _ in range(2_000):
        clock.advance(0.25)
        limiter.require("steady")
    assert store.keys == 1


def test_a_huge_limit_takes_only_the_room_that_is_used():
    store = MemoryStore()
    limiter = RateLimiter("1000000000/day", store=store)
    for _ in range(10):
        limiter.require("k")
    assert store.places <= 20


def test_a_refused_call_leaves_the_places_it_did_not_get():
    clock = FrozenClock()
    store = MemoryStore(max_admissions=10, clock=clock)
    limiter = RateLimiter("100/minute", store=store)
    limiter.require("a", cost=3)
    assert not limiter.decide("b", cost=50).allowed
    assert (store.keys, store.places) == (1, 4)
    assert limiter.decide("b", cost=5).allowed


def test_when_the_cap_is_reached_new_keys_are_approximate_and_it_is_told_once():
    clock, events = FrozenClock(), CapturedEvents()
    store = MemoryStore(max_keys=100, clock=clock, events=events)
    limiter = RateLimiter("10/minute; 100/day", store=store)
    for number in range(5_000):
        limiter.decide(f"k{number}")
    assert store.keys == 100
    assert store.health()["approximate"] is True
    assert events.only("quota.approximate").detail == {"keys": 100}
    # Those who were there keep their exact count.
    assert [limiter.decide("k0").allowed for _ in range(10)] == [True] * 9 + [False]


def test_a_key_does_not_get_its_limit_anew_when_there_is_room_again():
    clock = FrozenClock()
    limiter = RateLimiter("10/minute", store=MemoryStore(max_keys=1, clock=clock))
    limiter.require("first")
    clock.advance(59)
    assert sum(limiter.decide("second").allowed for _ in range(20)) == 6
    clock.advance(1)  # the first key is idle now, and its place free
    assert sum(limiter.decide("second").allowed for _ in range(20)) <= 4
    clock.advance(120)
    assert sum(limiter.decide("second").allowed for _ in range(20)) == 10


def test_when_keys_are_few_again_the_table_is_given_back():
    clock, events = FrozenClock(), CapturedEvents()
    store = MemoryStore(max_keys=1, clock=clock, events=events)
    limiter = RateLimiter("10/minute", store=store)
    for round_number in (1, 2):
        limiter.require("first")
        limiter.require("second")
        assert len(events) == round_number
        clock.advance(600)
        limiter.require("third")
        clock.advance(600)
        limiter.require("fourth")
        assert store.health()["approximate"] is False


def test_when_the_room_for_admissions_is_used_up_a_key_keeps_what_it_has():
    clock, events = FrozenClock(), CapturedEvents()
    store = MemoryStore(max_admissions=64, clock=clock, events=events)
    limiter = RateLimiter("1000/minute", store=store)
    assert sum(limiter.decide("k").allowed for _ in range(2_000)) == 64
    assert store.places == 64
    events.only("quota.approximate")
    clock.advance(60)
    assert sum(limiter.decide("k").allowed for _ in range(2_000)) == 64


def test_a_sink_that_fails_fails_the_call():
    class Full:
        def record(self, event):
            raise Unavailable("the disk is full")

    limiter = RateLimiter("2/minute", store=MemoryStore(max_keys=1, events=Full()))
    limiter.require("a")
    with pytest.raises(Unavailable):
        limiter.decide("b")


def test_a_sink_may_itself_be_limited_by_the_same_store():
    class Limited:
        def record(self, event):
            limiter.require("sink")

    limiter = RateLimiter("5/minute", store=MemoryStore(max_keys=1, events=Limited()))
    limiter.require("a")
    limiter.require("b")


def test_limiters_share_counts_by_store_name_and_limits_only():
    store = MemoryStore()
    RateLimiter("1/minute", store=store).require("k")
    assert not RateLimiter("1/minute", store=store).decide("k").allowed
    assert RateLimiter("1/minute", store=store, name="other").decide("k").allowed
    assert RateLimiter("2/minute", store=store).decide("k").allowed
    assert RateLimiter("1/minute").decide("k").allowed


@pytest.mark.usefixtures("eager_switches")
def test_a_child_forked_amid_hits_does_not_wait_for_a_lock_that_nobody_holds():
    limiter, stop = RateLimiter("1000000/second"), threading.Event()

    def busy():
        while not stop.is_set():
            limiter.decide("k")

    threads = [threading.Thread(target=busy) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(8):
            child = os.fork()
            if not child:
                os._exit(0 if limiter.decide("child").allowed else 1)
            assert os.waitpid(child, 0)[1] == 0
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("caps", [{"max_keys": 0}, {"max_keys": -1}, {"max_admissions": 0}])
def test_a_cap_below_one_is_refused(caps):
    with pytest.raises(ValueError, match="at least 1"):
        MemoryStore(**caps)


def test_a_store_shows_its_settings_and_nobodys_key():
    store = MemoryStore(max_keys=5)
    limiter = RateLimiter("1/minute", store=store)
    limiter.require("alice@example.com")
    assert (
        repr(limiter) == "RateLimiter('1 per minute', store=MemoryStore(max_keys=5, max_admissions=8000000))"
    )
    assert "alice" not in str(store.health())


@pytest.mark.proof
def test_a_million_keys_stay_in_bounded_memory():
    events = CapturedEvents()
    store = MemoryStore(events=events)
    limiter = RateLimiter("10/hour", store=store)
    for number in range(1_000_000):
        limiter.decide(f"k{number}")
    assert store.keys == 100_000
    assert store.places == 400_000
    assert len(events) == 1
    counter: Any = store.counter(limiter.quota)
    tables = [lane for lane in counter.beyond._lanes[0] if isinstance(lane, array)]
    assert [len(table) for table in tables] == [1 << 20]


@pytest.mark.proof
@settings(max_examples=3_000, deadline=None)
@given(RATES, STEPS)
def test_decisions_and_waits_are_those_of_the_definition_at_length(rates, steps):
    check_against_the_definition(rates, steps)
