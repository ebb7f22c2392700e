from __future__ import annotations

import asyncio
import threading

import pytest
from tests.unit.quotas.cluster import Cluster, Watched, until

from aisecure import Call, Principal
from aisecure.errors import Misconfigured, Unavailable
from aisecure.quotas import LeasedStore, Limit, RateLimiter, RedisStore, rate_limit


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


@pytest.fixture
def store(cluster):
    for node in cluster.nodes:
        with node.client as client:
            client.flushall()
            client.config_resetstat()
    store = RedisStore(cluster.url, timeout_seconds=5)
    yield store
    store.close()


def scripts(cluster):
    """How many scripts each node ran since the last time."""
    counts = []
    for node in cluster.nodes:
        with node.client as client:
            stats = client.info("commandstats")
            counts.append(
                sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))
            )
            client.config_resetstat()
    return sum(counts)


def call(name, tenant):
    return Call(Principal(name, tenant=tenant), "invoke", "model:m")


def test_all_limits_of_a_tenant_are_one_round_trip_to_its_node(cluster, store):
    guard = rate_limit("5/hour; 50/day", Limit("7/hour", by="tenant"), store=store)
    for tenant in ("acme", "globex", "initech"):
        guard.before(call("ann", tenant))  # each node learns the script
    scripts(cluster)
    for tenant in ("acme", "globex", "initech"):
        answers = [guard.before(call(name, tenant)) is None for name in ["ann"] * 6 + ["bob"] * 4]
        assert answers == [True] * 4 + [False] * 2 + [True] * 2 + [False] * 2
    assert scripts(cluster) == 30


def test_a_limit_across_tenants_is_a_second_trip_and_what_the_first_spent_comes_back_when_it_refuses(
    cluster, store
):
    guard = rate_limit("5/hour", Limit("7/hour", by="model", across_tenants=True), store=store)
    assert all(guard.before(call("ann", "acme")) is None for _ in range(5))
    assert guard.before(call("ann", "acme")) is not None
    assert all(guard.before(call("ann", "globex")) is None for _ in range(2))
    for _ in range(20):
        refused = guard.before(call("ann", "globex"))
        assert refused.reasons == ("The limit of 7 per hour was reached.",)
    own, everybody = guard.remaining(call("ann", "globex"))
    assert (own.used, everybody.used) == (2, 7)
    scripts(cluster)
    guard.before(call("bob", "globex"))
    assert scripts(cluster) == 3  # spend, refused, give back


@pytest.mark.parametrize(("strategy", "burst"), [("gcra", 5), ("fixed_window", None)])
def test_every_strategy_gives_back(store, strategy, burst):
    guard = rate_limit(
        "5/hour",
        Limit("1/hour", by="model", across_tenants=True),
        store=store,
        strategy=strategy,
        burst=burst,
    )
    assert guard.before(call("ann", "acme")) is None
    for _ in range(10):
        assert guard.before(call("bob", "acme")) is not None
    assert guard.remaining(call("bob", "acme"))[0].used == 0
    assert guard.remaining(call("ann", "acme"))[0].used == 1


def test_coroutines_and_threads_share_the_counts(store):
    limiter, admitted = RateLimiter("100/hour", store=store), []

    def client():
        admitted.append(sum(limiter.decide("k").allowed for _ in range(20)))

    async def main():
        answers = await asyncio.gather(*(limiter.adecide("k") for _ in range(60)))
        await store.aclose()
        return sum(answer.allowed for answer in answers)

    threads = [threading.Thread(target=client) for _ in range(4)]
    for thread in threads:
        thread.start()
    total = asyncio.run(main())
    for thread in threads:
        thread.join()
    assert total + sum(admitted) == 100


def test_leases_on_a_cluster(store):
    leased = LeasedStore(store, lease_seconds=30)
    guard = rate_limit("20/hour", Limit("30/hour", by="model", across_tenants=True), store=leased)
    admitted = [guard.before(call(name, name)) is None for name in ["a"] * 25 + ["b"] * 25]
    assert (sum(admitted[:25]), sum(admitted[25:])) == (20, 10)


def test_scripts_that_a_node_forgot_are_sent_again(cluster, store):
    limiter = RateLimiter("3/hour", store=store)
    for _ in range(3):
        limiter.require("k")
        for node in cluster.nodes:
            with node.client as client:
                client.script_flush()
    assert not limiter.decide("k").allowed


def test_a_node_that_is_away_is_unavailable_and_used_again_when_it_is_back(cluster, store):
    limiter = RateLimiter("100/hour", store=store)
    limiter.require("k", tenant="acme")
    node = cluster.of(b"{acme}")
    node.kill()

    async def refused():
        try:
            with pytest.raises(Unavailable):
                await limiter.adecide("k", tenant="acme")
        finally:
            await store.aclose()

    try:
        with pytest.raises(Unavailable):
            limiter.decide("k", tenant="acme")
        asyncio.run(refused())
    finally:
        node.start()
        cluster.wait()

    def back():
        try:
            return limiter.decide("k", tenant="acme").allowed
        except Unavailable:
            return False

    until(back)


def test_a_slot_that_moves_is_followed(cluster, store):
    limiter = RateLimiter("5/hour", store=store)
    limiter.require("k", tenant="acme")
    old = cluster.of(b"{acme}")
    new = next(node for node in cluster.nodes if node is not old)
    with old.client as source, new.client as target:
        slot = int(source.execute_command("CLUSTER KEYSLOT", "{acme}"))
        (key,) = source.keys("*{acme}*")
        names = [node.execute_command("CLUSTER MYID") for node in (source, target)]
        target.execute_command("CLUSTER SETSLOT", slot, "IMPORTING", names[0])
        source.execute_command("CLUSTER SETSLOT", slot, "MIGRATING", names[1])
        source.execute_command("MIGRATE", "127.0.0.1", new.port, key, 0, 5000)
        for node in (target, source):
            node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[1])
        try:
            assert sum(limiter.decide("k", tenant="acme").allowed for _ in range(10)) == 4
        finally:
            target.flushall()
            for node in (source, target):
                node.execute_command("CLUSTER SETSLOT", slot, "NODE", names[0])


def test_after_a_failover_the_sentinels_say_where_to_count(tmp_path):
    watched = Watched(tmp_path)
    store = RedisStore(watched.url, timeout_seconds=1)
    limiter = RateLimiter("100/hour", store=store)
    try:
        limiter.require("k", cost=99)

        async def one():
            try:
                return await limiter.adecide("k")
            finally:
                await store.aclose()

        assert asyncio.run(one()).allowed
        with watched.replica.client as client:
            until(client.keys)
        watched.master.kill()
        with pytest.raises(Unavailable):
            limiter.decide("k")

        def back():
            try:
                limiter.decide("other")
            except Unavailable:
                return False
            return True

        until(back)
        assert not limiter.decide("k").allowed  # what was replicated still counts
        assert not asyncio.run(one()).allowed
        assert store.health()["ok"]
    finally:
        store.close()
        watched.stop()


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://",
        "redis+cluster://:hunter2@",
        "redis+cluster://host:port",
        "redis+cluster://host:6379/1",
        "redis+sentinel://host:26379",
        "redis+sentinel://u:hunter2@host:26379/name/db",
        "http+cluster://host",
        "redis+other://host",
    ],
)
def test_a_url_that_is_none_is_told_without_its_password(url):
    with pytest.raises(Misconfigured) as error:
        RedisStore(url)
    assert "hunter2" not in str(error.value) + repr(error.value.__cause__)


def test_nodes_that_are_not_there_are_unavailable():
    for url in ("redis+cluster://127.0.0.1:1,127.0.0.1:2", "redis+sentinel://127.0.0.1:1/limits"):
        store = RedisStore(url, timeout_seconds=0.2)
        limiter = RateLimiter("1/hour", store=store)
        with pytest.raises(Unavailable):
            limiter.decide("k")
        assert not store.health()["ok"]

        async def main(limiter=limiter, store=store):
            with pytest.raises(Unavailable):
                await limiter.adecide("k")
            await store.aclose()

        asyncio.run(main())
        store.close()
