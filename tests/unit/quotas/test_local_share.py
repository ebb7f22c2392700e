from __future__ import annotations

import asyncio

import pytest

from aisecure.errors import Unavailable
from aisecure.quotas import LeasedStore, LocalShare, MemoryStore, RateLimiter, RedisStore, rate_limit
from aisecure.testing import CapturedEvents, FrozenClock


@pytest.fixture
def away(redis_server, redis_client):
    """A server that a test may stop; it is there again afterwards."""
    yield redis_server
    redis_server.kill()
    redis_server.start()


def shared(server, clock, events, **options):
    return LocalShare(
        RedisStore(server.url, timeout_seconds=0.2),
        clock=clock,
        events=events,
        **({"processes": 4} | options),
    )


def test_while_redis_is_away_each_process_has_its_share_and_says_so_once(away):
    clock, events = FrozenClock(), CapturedEvents()
    store = shared(away, clock, events)
    limiter = RateLimiter("10/minute; 40/hour", store=store)
    limiter.require("k", cost=9)
    away.kill()
    assert [limiter.decide("k").allowed for _ in range(4)] == [True, True, False, False]
    assert limiter.decide("k").retry_after == 60.0
    assert events.types == ["quota.degraded"]
    assert events[0].detail == {"error_type": "ConnectionError", "processes": 4}
    assert store.health()["local_share"]
    away.start()
    assert not limiter.decide("k").allowed  # not asked again yet
    clock.advance(1.0)
    assert limiter.decide("k", cost=10).allowed
    assert events.types == ["quota.degraded", "quota.recovered"]
    assert store.health() == {"ok": True, "store": "redis", "local_share": False}
    store.close()


def test_while_redis_is_away_only_one_call_in_a_while_waits_for_it(away):
    clock, events = FrozenClock(), CapturedEvents()
    store = shared(away, clock, events)
    limiter = RateLimiter("40000/hour", store=store)
    away.freeze()
    try:
        asked = []
        inner = store.store.counter(limiter.quota)
        hit = limiter.counter.there.hit
        limiter.counter.there.hit = lambda *args: (asked.append(args), hit(*args))[1]
        assert inner is not None
        for _ in range(200):
            limiter.require("k")
        assert len(asked) == 1
        clock.advance(1.0)
        limiter.require("k")
        assert len(asked) == 2
    finally:
        away.thaw()
    store.close()


def test_coroutines_fall_back_alike(away):
    clock, events = FrozenClock(), CapturedEvents()
    store = shared(away, clock, events)
    guard = rate_limit("8/minute", store=store)

    @guard
    async def ask(prompt):
        return prompt

    async def main():
        await ask("a")
        away.kill()
        answers = await asyncio.gather(*(ask("b") for _ in range(5)), return_exceptions=True)
        await store.aclose()
        return [answer if isinstance(answer, str) else type(answer).__name__ for answer in answers]

    assert sorted(asyncio.run(main())) == ["QuotaExceeded"] * 3 + ["b"] * 2
    assert events.types == ["quota.degraded"]


def test_several_limits_fall_back_together(away):
    clock, events = FrozenClock(), CapturedEvents()
    from aisecure import Call, Principal
    from aisecure.quotas import Limit
    from aisecure.standing import collect_standings

    guard = rate_limit("8/minute", Limit("12/minute", by="tenant"), store=shared(away, clock, events))
    away.kill()
    with collect_standings() as seen:
        answers = [guard.before(Call(Principal(name), "invoke", "model:m")) for name in "aabbb"]
    assert [answer is None for answer in answers] == [True, True, True, False, False]
    assert [told.limit for told in seen] == [2, 3] * 5
    guard.close()


def test_a_share_that_is_nothing_lets_nobody_through(away):
    clock, events = FrozenClock(), CapturedEvents()
    store = shared(away, clock, events, processes=11)
    limiter, larger = RateLimiter("10/minute", store=store), RateLimiter("22/minute", store=store)
    away.kill()
    with pytest.raises(Unavailable, match="too small for the call"):
        limiter.decide("k")
    with pytest.raises(Unavailable, match="too small for the call"):
        larger.decide("k", cost=3)
    assert larger.decide("k", cost=2).allowed


def test_leases_and_a_share_work_together(away):
    clock, events = FrozenClock(), CapturedEvents()
    leases = LeasedStore(RedisStore(away.url, timeout_seconds=0.2), lease_seconds=30, clock=clock)
    store = LocalShare(leases, processes=5, clock=clock, events=events)
    limiter = RateLimiter("50/hour", store=store)
    for _ in range(10):
        limiter.require("k")
    away.kill()
    clock.advance(31)
    assert sum(limiter.decide("k").allowed for _ in range(40)) == 10
    assert events.types == ["quota.degraded"]
    away.start()
    clock.advance(1)
    limiter.require("k")
    limiter.reset("k")
    assert limiter.remaining("k")[0].used == 0
    store.close()


@pytest.mark.parametrize(
    "options", [{"processes": 0}, {"processes": 2.0}, {"processes": 2, "retry_seconds": 0}]
)
def test_nonsense_is_told_at_once(options):
    with pytest.raises(ValueError, match="processes is a whole number from 1"):
        LocalShare(RedisStore("redis://localhost:1"), **options)


def test_memory_is_no_store_to_fall_back_from():
    with pytest.raises(TypeError, match="a store over the network"):
        LocalShare(MemoryStore(), processes=2)
