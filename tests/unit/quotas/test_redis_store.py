from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.quotas.clocked import ClockedStore

from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas import Rate, RateLimiter, RedisStore

RATES = st.lists(st.builds(Rate, st.integers(1, 9), st.integers(1, 6)), min_size=1, max_size=3, unique=True)
STEPS = st.lists(
    st.tuples(st.integers(0, 3_000_000), st.sampled_from("ab"), st.integers(1, 4)), min_size=1, max_size=40
)


@pytest.fixture
def store(redis_server, redis_client):
    store = RedisStore(redis_server.url)
    yield store
    store.close()


@pytest.fixture
def clocked(redis_server, redis_client):
    store = ClockedStore(redis_server.url, redis_client)
    yield store
    store.close()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(RATES, STEPS)
def test_decisions_and_waits_are_those_of_the_definition(clocked, rates, steps):
    clocked.client.flushall()
    limiter, now = RateLimiter(rates, store=clocked), 1_790_000_000_000_000
    admitted: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}

    def fits(key, cost, moment):
        return all(
            sum(c for when, c in admitted[key] if when > moment - rate.seconds * 1_000_000) + cost
            <= rate.amount
            for rate in rates
        )

    for pause, key, wish in steps:
        now += pause
        clocked.set(now)
        cost = min(wish, *(rate.amount for rate in rates))
        decision = limiter.decide(key, cost=cost)
        assert decision.allowed == fits(key, cost, now)
        if decision.allowed:
            admitted[key].append((now, cost))
        else:
            clears = (when + rate.seconds * 1_000_000 for when, _ in admitted[key] for rate in rates)
            wait = min(moment - now for moment in clears if moment > now and fits(key, cost, moment))
            assert decision.retry_after == wait / 1e6


def test_a_clock_set_back_an_hour_locks_nobody_out_for_an_hour_and_lets_nobody_in_early(clocked):
    limiter = RateLimiter("3/minute", store=clocked)
    now = 1_790_000_000_000_000
    clocked.set(now)
    limiter.require("k", cost=3)
    now -= 3_600_000_000
    clocked.set(now)
    assert limiter.decide("k").retry_after == 60.0
    clocked.set(now + 59_999_999)
    assert not limiter.decide("k").allowed
    clocked.set(now + 60_000_000)
    assert limiter.decide("k", cost=3).allowed
    assert not limiter.decide("k").allowed


def test_a_hit_is_one_round_trip_whatever_the_number_of_limits(store, redis_client):
    limiter = RateLimiter("5/second; 1000/hour; 5000/day", store=store)
    limiter.decide("k")
    redis_client.config_resetstat()
    for _ in range(20):
        limiter.decide("k")
    calls = {name: facts["calls"] for name, facts in redis_client.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 20
    # Two of the reads are this test's own.
    assert redis_client.info("stats")["total_reads_processed"] <= 23


def test_keys_name_tenant_and_version_expire_and_tell_nobodys_name(store, redis_client):
    limiter = RateLimiter("5/minute; 100/day", store=store, name="chat")
    limiter.require("alice@example.com", tenant="acme")
    keys = sorted(redis_client.keys())
    assert len(keys) == 2
    for key, seconds in zip(keys, (60, 86_400), strict=True):
        assert key.startswith(b"aisecure:q1:{acme}:")
        assert b"alice" not in key
        assert len(key) < 80
        assert (seconds - 5) * 1000 < redis_client.pttl(key) <= seconds * 1000 + 1


def test_no_tenant_can_write_into_the_hash_tag(store, redis_client):
    limiter = RateLimiter("5/minute", store=store)
    for tenant in ("}{", "a b", "x" * 1000, "", "\r\n", "\ud800"):
        limiter.require("k", tenant=tenant)
    tags = {key.split(b"{")[1].split(b"}")[0] for key in redis_client.scan_iter()}
    assert len(tags) == 6
    assert all(tag.startswith(b"~") and len(tag) == 33 for tag in tags)


def test_a_log_is_no_longer_than_its_limit(store, redis_client):
    limiter = RateLimiter("5/second", store=store)
    for _ in range(300):
        limiter.decide("k")
    (key,) = redis_client.keys()
    assert redis_client.llen(key) <= 5


def test_scripts_flushed_are_sent_again(store, redis_client):
    limiter = RateLimiter("3/hour", store=store)
    for _ in range(3):
        limiter.require("k")
        redis_client.script_flush()
    assert not limiter.decide("k").allowed


def test_a_key_of_another_type_is_unavailable_and_never_a_pass(store, redis_client):
    limiter = RateLimiter("3/hour", store=store)
    limiter.require("k")
    (key,) = redis_client.keys()
    redis_client.delete(key)
    for damage in (lambda: redis_client.set(key, "1"), lambda: redis_client.zadd(key, {"a": 1})):
        redis_client.delete(key)
        damage()
        with pytest.raises(Unavailable) as error:
            limiter.decide("k")
        assert error.value.code == "unavailable.quota"
    redis_client.delete(key)
    redis_client.rpush(key, "not", "a", "stamp")
    with pytest.raises(Unavailable):
        limiter.decide("k")
    redis_client.delete(key)
    limiter.require("k")


def test_a_full_server_is_unavailable(store, redis_client):
    limiter = RateLimiter("3/hour", store=store)
    limiter.require("k")
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(Unavailable):
            limiter.decide("k")
    finally:
        redis_client.config_set("maxmemory", 0)
    limiter.require("k")


def test_a_server_that_is_not_there_is_unavailable(tmp_path):
    store = RedisStore("unix:///nowhere/redis.sock")
    limiter = RateLimiter("3/hour", store=store)
    with pytest.raises(Unavailable) as error:
        limiter.decide("k")
    assert "nowhere" not in str(error.value)
    assert store.health() == {"ok": False, "store": "redis", "error_type": "ConnectionError"}

    async def main():
        with pytest.raises(Unavailable):
            await limiter.adecide("k")
        await store.aclose()

    asyncio.run(main())


def test_a_server_that_dies_is_unavailable_and_one_that_comes_back_is_used(store, redis_server):
    limiter = RateLimiter("3/hour", store=store)
    limiter.require("k")

    async def main():
        await limiter.arequire("k")
        redis_server.kill()
        for _ in range(3):
            with pytest.raises(Unavailable):
                limiter.decide("k")
            with pytest.raises(Unavailable):
                await limiter.adecide("k")
        redis_server.start()
        # No connection of before is tried in vain.
        await limiter.arequire("k")
        limiter.require("k")
        assert store.health() == {"ok": True, "store": "redis"}
        await store.aclose()

    asyncio.run(main())


def test_a_server_that_hangs_is_unavailable_and_its_late_answers_reach_nobody(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=0.05)
    full, empty = RateLimiter("1/hour", store=store), RateLimiter("100/hour", store=store)
    full.require("k")

    async def main():
        assert not (await full.adecide("k")).allowed
        redis_server.freeze()
        try:
            with pytest.raises(Unavailable):
                full.decide("k")
            with pytest.raises(Unavailable):
                await full.adecide("k")
        finally:
            redis_server.thaw()
        for _ in range(5):
            assert empty.decide("k").allowed
            assert (await empty.adecide("k")).allowed
        await store.aclose()

    asyncio.run(main())
    store.close()


def test_a_cancelled_task_leaves_its_answer_to_nobody_else(redis_server, redis_client):
    store = RedisStore(redis_server.url, max_connections=2)
    full, empty = RateLimiter("1/hour", store=store), RateLimiter("1000000/hour", store=store)
    full.require("k")

    async def main():
        for turns in range(12):
            tasks = [asyncio.create_task(full.adecide("k")) for _ in range(4)]
            for _ in range(turns):
                await asyncio.sleep(0)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            assert all([(await empty.adecide("k")).allowed for _ in range(4)])
        await store.aclose()

    asyncio.run(main())
    store.close()


def test_a_pool_without_a_free_connection_is_unavailable_after_the_timeout(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=0.05, max_connections=1)
    limiter = RateLimiter("3/hour", store=store)
    pool = store.connections._pool(None)
    held = pool.get_connection()
    with pytest.raises(Unavailable):
        limiter.decide("k")
    pool.release(held)
    limiter.require("k")
    store.close()


def test_a_loop_without_a_free_connection_is_unavailable_after_the_timeout(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=0.05, max_connections=1)
    limiter = RateLimiter("3/hour", store=store)

    async def main():
        free = store.connections._of_this_loop().free
        await free.acquire()
        with pytest.raises(Unavailable):
            await limiter.adecide("k")
        free.release()
        await limiter.arequire("k")
        await store.aclose()

    asyncio.run(main())
    store.close()


def test_more_threads_than_connections_wait_for_one(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=30, max_connections=4)
    limiter, admitted = RateLimiter("100/hour", store=store), []

    def client():
        admitted.append(sum(limiter.decide("k").allowed for _ in range(4)))

    threads = [threading.Thread(target=client) for _ in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 100
    store.close()


def test_two_hundred_tasks_get_the_limit_and_not_one_more_or_less(redis_server, redis_client):
    store = RedisStore(redis_server.url, timeout_seconds=30, max_connections=8)
    limiter = RateLimiter("100/hour; 500/day", store=store)

    async def main():
        answers = await asyncio.gather(*(limiter.adecide("k") for _ in range(200)))
        await store.aclose()
        return sum(answer.allowed for answer in answers)

    assert asyncio.run(main()) == 100


CLIENT = """
import sys
from aisecure.quotas import RateLimiter, RedisStore
store = RedisStore(sys.argv[1])
limiter = RateLimiter("100/hour", store=store)
print(sum(limiter.decide("k").allowed for _ in range(150)))
store.close()
"""


def test_two_processes_get_the_limit_together(redis_server, redis_client):
    command = [sys.executable, "-c", CLIENT, redis_server.url]
    clients = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(client.communicate()[0]) for client in clients) == 100


def test_a_child_forked_after_connecting_uses_connections_of_its_own(store):
    limiter = RateLimiter("20/hour", store=store)
    limiter.require("k")
    children = []
    for _ in range(3):
        child = os.fork()
        if not child:
            try:
                os._exit(sum(limiter.decide("k").allowed for _ in range(5)))
            finally:
                os._exit(99)
        children.append(child)
    admitted = sum(limiter.decide("k").allowed for _ in range(4))
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [5, 5, 5]
    assert admitted == 4
    assert not limiter.decide("k").allowed


def test_each_event_loop_has_connections_of_its_own(store):
    limiter = RateLimiter("100/hour", store=store)

    async def main():
        await limiter.arequire("k")
        await store.aclose()
        await limiter.arequire("k")
        await store.aclose()

    for _ in range(3):
        asyncio.run(main())


def test_closing_from_plain_code_closes_what_a_running_loop_holds(store):
    limiter = RateLimiter("100/hour", store=store)

    async def main():
        await limiter.arequire("k")
        store.close()
        await limiter.arequire("k")  # and later use opens again
        await store.aclose()

    asyncio.run(main())


@pytest.mark.parametrize("url", ["", "localhost", "http://user:hunter2@host", "redis://:hunter2@host:port/0"])
def test_what_is_no_redis_url_is_misconfigured_and_not_quoted(url):
    with pytest.raises(Misconfigured, match="redis_url") as error:
        RedisStore(url)
    assert "hunter2" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_url_with_a_password_is_never_shown():
    assert "hunter2" not in repr(RedisStore("redis://:hunter2@localhost:1/0"))


@pytest.mark.parametrize("options", [{"timeout_seconds": 0}, {"timeout_seconds": -1}, {"max_connections": 0}])
def test_no_time_or_no_connection_is_refused(options):
    with pytest.raises(ValueError, match="at least 1"):
        RedisStore("redis://localhost", **options)


def test_without_the_redis_package_the_text_says_what_to_install():
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from aisecure.errors import Misconfigured\n"
        "from aisecure.quotas import RateLimiter, RedisStore\n"
        "RateLimiter('1/minute').require('k')\n"
        "try: RedisStore('redis://localhost')\n"
        "except Misconfigured as error: print(error)\n"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'aisecure[redis]'" in answer
