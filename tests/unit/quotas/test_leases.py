from __future__ import annotations

import asyncio
import os
import random
import threading
from bisect import bisect_left, insort

import pytest
from tests.unit.quotas.clocked import ClockedStore

from aisecure.errors import Unavailable
from aisecure.quotas import (
    Ask,
    LeasedStore,
    Limit,
    MemoryStore,
    Quota,
    Rate,
    RateLimiter,
    RedisStore,
    rate_limit,
)
from aisecure.standing import collect_standings
from aisecure.testing import FrozenClock

START = 1_790_000_000_000_000


class World:
    """One server and many processes, in a time of the test's own; each process has a clock with another origin."""

    def __init__(self, url, client, processes, **options):
        self.server = ClockedStore(url, client)
        self.clocks = [FrozenClock(monotonic=random.Random(n).uniform(0, 1e6)) for n in range(processes)]
        self.stores = [LeasedStore(self.server, clock=clock, **options) for clock in self.clocks]
        self.now = 0.0
        self.advance(0)

    def advance(self, seconds):
        self.now += seconds
        self.server.set(START + round(self.now * 1_000_000))
        for clock in self.clocks:
            clock.advance(seconds)


@pytest.fixture
def world(redis_server, redis_client):
    made = []

    def new(processes=1, **options):
        redis_client.flushall()
        made.append(World(redis_server.url, redis_client, processes, **options))
        return made[-1]

    yield new
    for one in made:
        one.server.close()


def most_in_any(window, moments):
    return max((bisect_left(moments, when + window) - index for index, when in enumerate(moments)), default=0)


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        ("200/minute", 20.0),  # calls a second of all processes: six times as many as there is room for
        ("2000/minute; 20000/hour", 120.0),
        ("50/second", 300.0),
        ("200/minute", 1.5),  # half of it: nobody may be refused
    ],
)
def test_a_hundred_processes_never_admit_more_than_the_limit_in_any_window(world, limits, wanted):
    chance = random.Random(f"{limits}{wanted}")
    place = world(100, lease_seconds=1.0)
    limiters = [RateLimiter(limits, store=store) for store in place.stores]
    rates = limiters[0].quota.rates
    period = rates[0].seconds
    admitted: list[float] = []
    refused = 0
    while place.now < 2.5 * period:
        pause = chance.expovariate(1) * period / 200
        place.advance(pause)
        for _ in range(round(wanted * pause + chance.random() - 0.5)):
            # Some processes want far more than others.
            limiter = limiters[min(int(chance.expovariate(1) * 15), 99)]
            if limiter.decide("k").allowed:
                insort(admitted, place.now)
            else:
                refused += 1
    for rate in rates:
        assert most_in_any(rate.seconds, admitted) <= rate.amount
    if wanted * period < rates[0].amount:
        assert not refused
    else:
        # And the limit is used: what leases cost is the lengthened window and what lies about unspent.
        assert refused
        assert most_in_any(period, admitted) >= 0.85 * rates[0].amount


def test_leases_that_are_spent_at_the_last_moment_are_not_followed_by_a_whole_new_limit(world):
    """The worst that processes can do together: take early, spend late, and take anew as soon as may be."""
    place = world(100, lease_seconds=1.0)
    limiters = [RateLimiter("400/minute", store=store) for store in place.stores]
    admitted: list[float] = []

    def spend(most):
        for limiter in limiters:
            for _ in range(most):
                if not limiter.decide("k").allowed:
                    break
                insort(admitted, place.now)

    for _ in range(6):  # until each process takes as much as it may
        for limiter in limiters[:20]:
            for _ in range(30):
                limiter.decide("k")
        place.advance(62)
    held = [lease.wanted for limiter in limiters for lease in limiter.counter.leases.values()]
    assert max(held) == 8
    for pause in (0.999, 59.002, 0.999, 59.5, 0.5, 1.0):
        spend(1)
        place.advance(pause)
        spend(100)
    assert len(admitted) > 400
    assert most_in_any(60, admitted) <= 400


def test_the_number_of_round_trips_falls_with_the_share(redis_server, redis_client):
    limiter = RateLimiter("100000/hour", store=LeasedStore(RedisStore(redis_server.url), lease_seconds=60))
    for _ in range(200):
        limiter.require("k")
    redis_client.config_resetstat()
    for _ in range(3_000):
        limiter.require("k")
    assert redis_client.info("commandstats")["cmdstat_evalsha"]["calls"] <= 10
    limiter.store.close()


def test_a_lease_ends_with_its_time_and_what_was_left_goes_back(world):
    place = world(lease_seconds=1.0)
    limiter = RateLimiter("100/minute", store=place.stores[0])
    exact = limiter.counter.base
    for _ in range(10):
        limiter.require("k")
        place.advance(0.01)

    def taken():
        tell = []
        place.server.hit_all([Ask(exact, ("default", "k"))], 0, tell)
        return tell[0].used

    assert taken() > 10
    place.advance(1)
    limiter.require("k")
    held = sum(lease.left for lease in limiter.counter.leases.values())
    assert taken() == 11 + held
    limiter.store.close()
    assert taken() == 11


def test_a_refusal_is_believed_for_the_time_of_a_lease_and_counts_down(world):
    place = world(2, lease_seconds=1.0)
    one, other = (RateLimiter("4/minute", store=store) for store in place.stores)
    for _ in range(4):
        one.require("k")
        place.advance(0.5)
    first = other.decide("k")
    assert not first.allowed
    # The first of the four leaves after the minute and the lease's second.
    assert first.retry_after == pytest.approx(59.0, abs=0.001)
    place.advance(0.25)
    assert other.decide("k").retry_after == pytest.approx(58.75, abs=0.001)
    place.advance(58.75)
    assert other.decide("k").allowed


def test_a_call_that_spends_several_at_once_gets_them_all_or_none(world):
    place = world(2, lease_seconds=1.0)
    one, other = (RateLimiter("10/minute", store=store) for store in place.stores)
    one.require("k", cost=7)
    assert not other.decide("k", cost=4).allowed
    assert other.decide("k", cost=3).allowed
    assert not one.decide("k").allowed


def test_several_limits_of_a_call_are_spent_from_all_or_none(world):
    place = world(2, lease_seconds=1.0)
    guards = [
        rate_limit("3/minute", Limit("5/minute", by="tenant"), store=store, name="chat")
        for store in place.stores
    ]
    from aisecure import Call, Principal

    def admits(guard, name):
        return guard.before(Call(Principal(name), "invoke", "model:m")) is None

    assert [admits(guards[0], "ann") for _ in range(4)] == [True] * 3 + [False]
    assert [admits(guards[1], "bob") for _ in range(4)] == [True] * 2 + [False] * 2
    assert not admits(guards[0], "bob")


def test_what_an_adapter_is_told_remains_at_least(world):
    place = world(lease_seconds=1.0)
    limiter = RateLimiter("1000/minute", store=place.stores[0])
    limiter.require("k")
    with collect_standings() as seen:
        limiter.require("k")
    assert seen[0].limit == 1000
    assert 0 <= seen[0].remaining <= 998
    assert limiter.remaining("k")[0].remaining <= 998


def test_a_reset_begins_anew(world):
    place = world(lease_seconds=1.0)
    limiter = RateLimiter("3/hour", store=place.stores[0])
    for _ in range(3):
        limiter.require("k")
    assert not limiter.decide("k").allowed
    limiter.reset("k")
    assert limiter.decide("k").allowed


def test_leases_are_dropped_when_there_are_too_many_and_never_spent_twice(world):
    place = world(lease_seconds=1.0, max_keys=5)
    limiter = RateLimiter("3/minute", store=place.stores[0])
    admitted = {f"k{n}": 0 for n in range(20)}
    for _ in range(10):
        for key in admitted:
            admitted[key] += limiter.decide(key).allowed
    assert set(admitted.values()) == {3}
    assert len(limiter.counter.leases) == 5


def test_two_hundred_threads_and_tasks_get_the_limit_and_not_one_more(redis_server, redis_client):
    store = LeasedStore(RedisStore(redis_server.url, timeout_seconds=30, max_connections=8), lease_seconds=60)
    limiter, admitted = RateLimiter("1000/hour", store=store), []

    def client():
        admitted.append(sum(limiter.decide("k").allowed for _ in range(10)))

    threads = [threading.Thread(target=client) for _ in range(100)]
    for thread in threads:
        thread.start()

    async def main():
        async def one():
            return sum([(await limiter.adecide("k")).allowed for _ in range(10)])

        total = sum(await asyncio.gather(*(one() for _ in range(100))))
        await store.aclose()
        return total

    admitted.append(asyncio.run(main()))
    for thread in threads:
        thread.join()
    assert 900 <= sum(admitted) <= 1000
    store.close()


def test_a_forked_child_has_no_part_in_its_parents_leases(redis_server, redis_client):
    store = LeasedStore(RedisStore(redis_server.url), lease_seconds=60, share=1.0)
    limiter = RateLimiter("100/hour", store=store)
    for _ in range(40):
        limiter.require("k")
    child = os.fork()
    if not child:
        try:
            os._exit(sum(limiter.decide("k").allowed for _ in range(100)))
        finally:
            os._exit(255)
    mine = sum(limiter.decide("k").allowed for _ in range(100))
    theirs = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 40 + mine + theirs <= 100
    store.close()


def test_a_cancelled_task_spends_at_most_what_it_took(redis_server, redis_client):
    store = LeasedStore(RedisStore(redis_server.url), lease_seconds=60)
    limiter = RateLimiter("50/hour", store=store)

    async def main():
        for turns in range(8):
            task = asyncio.create_task(limiter.adecide("k"))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        total = sum([(await limiter.adecide("k")).allowed for _ in range(60)])
        await store.aclose()
        return total

    assert 30 <= asyncio.run(main()) <= 50
    store.close()


def test_a_server_that_is_away_is_unavailable_once_the_lease_is_spent(redis_server, redis_client):
    store = LeasedStore(RedisStore(redis_server.url, timeout_seconds=0.2), lease_seconds=60)
    limiter = RateLimiter("100/hour", store=store)
    for _ in range(20):
        limiter.require("k")
    redis_server.kill()
    try:
        with pytest.raises(Unavailable):
            for _ in range(100):
                limiter.require("k")
        store.close()  # what is left cannot be given back, and that stops nobody
    finally:
        redis_server.start()
    limiter.require("k")
    store.close()


@pytest.mark.parametrize(
    "options",
    [
        {"lease_seconds": 0},
        {"lease_seconds": -1.0},
        {"lease_seconds": float("nan")},
        {"share": 0},
        {"share": 1.1},
        {"max_keys": 0},
    ],
)
def test_nonsense_is_told_at_once(options):
    with pytest.raises(ValueError, match="lease_seconds is above 0"):
        LeasedStore(RedisStore("redis://localhost:1"), **options)


def test_only_a_sliding_log_on_redis_can_be_leased():
    with pytest.raises(TypeError, match="taken from a RedisStore"):
        LeasedStore(MemoryStore())
    store = LeasedStore(RedisStore("redis://localhost:1"))
    with pytest.raises(ValueError, match="sliding_log"):
        store.counter(Quota("q", (Rate(5, 60),), "fixed_window"))
