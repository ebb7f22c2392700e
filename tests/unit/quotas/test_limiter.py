from __future__ import annotations

import asyncio
from typing import Any

import pytest

from aisecure.errors import QuotaExceeded
from aisecure.quotas import MemoryStore, RateLimiter, RedisStore, self_tests
from aisecure.testing import FrozenClock


@pytest.fixture(params=["memory", "redis"])
def store(request):
    """Both stores, since a limiter has to mean the same on either."""
    if request.param == "memory":
        yield MemoryStore()
    else:
        request.getfixturevalue("redis_client")
        store = RedisStore(request.getfixturevalue("redis_server").url)
        yield store
        store.close()


def test_the_limit_is_let_in_and_the_next_refused_with_the_wait(store):
    limiter = RateLimiter("2/hour", store=store)
    assert [limiter.decide("k").allowed for _ in range(2)] == [True, True]
    refused = limiter.decide("k")
    assert (refused.code, refused.reasons) == ("quota.exceeded", ("The limit of 2 per hour was reached.",))
    assert refused.retry_after == pytest.approx(3600, abs=60)
    with pytest.raises(QuotaExceeded) as error:
        limiter.require("k")
    assert error.value.status == 429
    assert error.value.retry_after == pytest.approx(3600, abs=60)


def test_a_call_refused_by_one_limit_spends_nothing_from_the_others(store):
    limiter = RateLimiter("5/hour; 8/day", store=store)
    limiter.require("k", cost=5)
    for _ in range(20):
        refused = limiter.decide("k", cost=2)
        assert refused.reasons == ("The limit of 5 per hour was reached.",)
    fresh = RateLimiter("8/day; 5/hour", store=store)
    fresh.require("k", cost=5)
    assert not fresh.decide("k").allowed


def test_a_call_refused_for_its_cost_leaves_what_is_there(store):
    limiter = RateLimiter("100/hour", store=store)
    assert [limiter.decide("k", cost=cost).allowed for cost in (60, 60, 40)] == [True, False, True]
    assert not limiter.decide("k").allowed


def test_a_cost_above_the_limit_is_refused_and_no_wait_is_promised(store):
    limiter = RateLimiter("10/minute; 100/day", store=store)
    decision = limiter.decide("k", cost=11)
    assert (decision.allowed, decision.code, decision.retry_after) == (False, "quota.cost", None)
    assert decision.reasons == ("The call costs more than the 10 that one call may spend.",)
    with pytest.raises(QuotaExceeded, match="costs more"):
        limiter.require("k", cost=10**5000)
    assert limiter.decide("k", cost=10).allowed


def test_a_large_cost_is_spent_whole(store):
    limiter = RateLimiter("150000/day", store=store)
    assert [limiter.decide("k", cost=100_000).allowed for _ in range(2)] == [True, False]
    assert [limiter.decide("k", cost=25_001).allowed for _ in range(2)] == [True, False]
    assert limiter.decide("k", cost=24_999).allowed
    assert not limiter.decide("k").allowed


@pytest.mark.parametrize("cost", [0, -1, -(10**30)])
def test_a_cost_that_gives_back_is_a_value_error(store, cost):
    with pytest.raises(ValueError, match="at least 1"):
        RateLimiter("10/minute", store=store).decide("k", cost=cost)


@pytest.mark.parametrize("cost", [2.5, 2.0, "1", None, float("nan")])
def test_a_cost_that_is_no_whole_number_is_a_type_error(store, cost):
    limiter = RateLimiter("1/minute", store=store)
    with pytest.raises(TypeError, match="whole number"):
        limiter.decide("k", cost=cost)
    assert limiter.decide("k").allowed


KEYS = [
    ("",), ("\0",), ("a",), ("a", ""), ("", "a"), ("a", "b"), ("ab",), ("a:b",), ("a\0b",), (b"a",), (b"\xff\xfe",),
    ("\ud800",), ("\udfff",), (1,), ("1",), (0,), (-1,), (10**5000,), ("x" * 128,), ("x" * 129,), ("x" * 130,),
    ("y" * 1_000_000,), (b"x" * 129,), ("a", 1), ("{a}",), ("\u00e5",), ("a\u030a",), ("A",),
]  # fmt: skip


def test_every_key_has_a_count_of_its_own(store):
    limiter = RateLimiter("1/day", store=store)
    assert [limiter.decide(*key).allowed for key in KEYS] == [True] * len(KEYS)
    assert [limiter.decide(*key).allowed for key in KEYS] == [False] * len(KEYS)


TENANTS = ["acme", "Acme", "", "a" * 64, "a" * 65, "}{", "{acme}", "acme\0", "\ud800", "~", "ü" * 1000]


def test_equal_keys_of_different_tenants_never_meet(store):
    limiter = RateLimiter("1/day", store=store)
    assert [limiter.decide("k", tenant=tenant).allowed for tenant in TENANTS] == [True] * len(TENANTS)
    assert [limiter.decide("k", tenant=tenant).allowed for tenant in TENANTS] == [False] * len(TENANTS)


def test_a_key_of_fifty_megabytes_is_counted_and_not_kept():
    store = MemoryStore()
    limiter = RateLimiter("1/day", store=store)
    key = "k" * 50_000_000
    assert [limiter.decide(key).allowed for _ in range(2)] == [True, False]
    counter: Any = store.counter(limiter.quota)
    assert "kkk" not in str(counter._states)


@pytest.mark.parametrize(
    "part", [None, 1.5, True, ["k"], {"k"}, ("k",), object()], ids=lambda part: type(part).__name__
)
def test_what_is_no_key_is_a_type_error(store, part):
    limiter = RateLimiter("1/minute", store=store)
    limiter.require(1)
    with pytest.raises(TypeError):
        limiter.decide(part)
    with pytest.raises(TypeError):
        limiter.decide("k", tenant=part)


def test_no_key_at_all_is_a_value_error(store):
    with pytest.raises(ValueError, match="at least one part"):
        RateLimiter("1/minute", store=store).decide()


def test_the_awaitable_twins_count_the_same(store):
    limiter = RateLimiter("2/hour", store=store)

    async def main():
        assert (await limiter.adecide("k")).allowed
        await limiter.arequire("k")
        with pytest.raises(QuotaExceeded):
            await limiter.arequire("k")
        assert (await limiter.adecide("k", cost=3)).code == "quota.cost"
        await store.aclose()

    asyncio.run(main())
    assert not limiter.decide("k").allowed


def test_a_store_that_is_none_is_refused_at_once():
    with pytest.raises(TypeError, match="MemoryStore, a RedisStore"):
        RateLimiter("1/minute", store="redis://localhost")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="clock to the store"):
        RateLimiter("1/minute", store=MemoryStore(), clock=FrozenClock())


@pytest.mark.parametrize("capability", sorted(self_tests()))
def test_the_self_tests_pass(capability):
    self_tests()[capability]()
