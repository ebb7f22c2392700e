from __future__ import annotations

import asyncio

import pytest
from limits import storage as storages

from aisecure import Call, Principal
from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas import Limit, LimitsStore, RateLimiter, rate_limit


@pytest.fixture(params=["memory", "redis"])
def storage(request):
    if request.param == "redis":
        request.getfixturevalue("redis_client")
        yield storages.RedisStorage(f"redis+{request.getfixturevalue('redis_server').url}")
        return
    storage = storages.MemoryStorage()
    yield storage
    storage.timer.cancel()


@pytest.mark.parametrize("strategy", ["sliding_log", "fixed_window"])
def test_one_limit_holds(storage, strategy):
    limiter = RateLimiter("5/hour", store=LimitsStore(storage), strategy=strategy)
    assert [limiter.decide("k").allowed for _ in range(8)] == [True] * 5 + [False] * 3
    assert 0 < limiter.decide("k").retry_after <= 3600
    assert limiter.decide("other").allowed
    assert limiter.decide("k", tenant="other").allowed
    (left,) = limiter.remaining("k")
    assert (left.used, left.remaining) == (5, 0)
    limiter.reset("k")
    assert limiter.decide("k", cost=5).allowed


@pytest.mark.parametrize("strategy", ["sliding_log", "fixed_window"])
def test_a_cost_that_does_not_fit_leaves_what_is_there(storage, strategy):
    limiter = RateLimiter("10/hour", store=LimitsStore(storage), strategy=strategy)
    assert [limiter.decide("k", cost=cost).allowed for cost in (6, 6, 4)] == [True, False, True]


def test_several_limits_are_asked_in_turn_and_a_refused_call_has_spent_from_those_before(storage):
    limiter = RateLimiter("5/hour; 2/day", store=LimitsStore(storage))
    assert [limiter.decide("k").allowed for _ in range(4)] == [True, True, False, False]
    # Documented: the hour has counted also the two calls that the day refused.
    assert [left.used for left in limiter.remaining("k")] == [4, 2]


def test_coroutines_and_guards_use_it(storage):
    guard = rate_limit("2/hour", Limit("3/hour", by="tenant"), store=LimitsStore(storage))
    call = Call(Principal("ann"), "invoke", "model:m")

    async def main():
        return [await guard.abefore(call) is None for _ in range(4)]

    assert asyncio.run(main()) == [True, True, False, False]


def test_threads_share_a_count(storage):
    limiter = RateLimiter("50/hour", store=LimitsStore(storage))

    async def main():
        answers = await asyncio.gather(*(limiter.adecide("k") for _ in range(120)))
        return sum(answer.allowed for answer in answers)

    assert asyncio.run(main()) == 50


def test_what_a_storage_cannot_keep_is_told_at_once():
    class Plain(storages.MemcachedStorage):
        def __init__(self):
            """Connect to nothing."""

    store = LimitsStore(Plain())
    with pytest.raises(ValueError, match="has no gcra"):
        RateLimiter("5/hour", store=store, strategy="gcra", burst=2)
    RateLimiter("5/hour", store=store, strategy="fixed_window")


def test_a_storage_that_is_away_is_unavailable():
    store = LimitsStore(storages.RedisStorage("redis://127.0.0.1:1"))
    limiter = RateLimiter("5/hour", store=store)
    with pytest.raises(Unavailable) as error:
        limiter.decide("k")
    assert error.value.code == "unavailable.quota"
    assert not store.health()["ok"]


def test_what_is_no_storage_is_told_at_once():
    with pytest.raises(TypeError, match="a URI or a storage of limits"):
        LimitsStore(7)
    with pytest.raises(Misconfigured) as error:
        LimitsStore("nowhere://user:hunter2@host")
    assert "hunter2" not in repr(error.value) + str(error.value.__cause__)
