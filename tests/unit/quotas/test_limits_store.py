from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time

import limits.aio.storage
import limits.storage
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from aisecure.errors import Misconfigured, QuotaExceeded, Unavailable
from aisecure.quotas import Limit, LimitsStore, MemoryStore, Rate, RateLimiter, rate_limit
from aisecure.standing import collect_standings
from aisecure.testing import FrozenClock


@pytest.fixture
def memory():
    with LimitsStore("memory://") as store:
        yield store


@pytest.fixture
def redis_store(redis_server, redis_client):
    # Listed after the client, which empties the server.
    with LimitsStore(f"redis+{redis_server.url}") as store:
        yield store


@pytest.fixture(params=["memory", "redis"])
def store(request):
    return request.getfixturevalue({"memory": "memory", "redis": "redis_store"}[request.param])


@pytest.fixture
def clocked(monkeypatch):
    """Time is the store's frozen clock, for the storage too; the one name it reads the time through is replaced."""
    with LimitsStore("memory://", clock=FrozenClock()) as store:
        store.storage.timer.join()
        store.storage.timer = _Still()
        monkeypatch.setattr("limits.storage.memory.time", store.clock)
        yield store


class FixedOnly(limits.storage.Storage):
    """A storage of one's own that knows no moving windows, as memcached knows none."""

    STORAGE_SCHEME = None
    base_exceptions = ValueError

    def __init__(self):
        super().__init__()
        self.counts = {}

    def incr(self, key, expiry, amount=1):
        self.counts[key] = self.counts.get(key, 0) + amount
        return self.counts[key]

    def get(self, key):
        return self.counts.get(key, 0)

    def get_expiry(self, key):
        return time.time() + 30.0

    def check(self):
        return True

    def reset(self):
        self.counts.clear()

    def clear(self, key):
        self.counts.pop(key, None)


class Broken(FixedOnly):
    """A storage whose driver fails, with a secret in its text."""

    def incr(self, *args, **kwargs):
        raise ConnectionError("no route to user:hunter2@db")

    get = get_expiry = clear = check = incr


class _Still:
    """Stands for the sweeping thread of a memory storage, so that nothing runs beside a test that sets the time."""

    def is_alive(self):
        return True

    def cancel(self):
        pass

    join = cancel


# --- one limit ------------------------------------------------------------------------------------------------------


def test_a_moving_window_admits_its_limit_and_no_more(store):
    limiter = RateLimiter("3/minute", store=store)
    assert [limiter.decide("k").allowed for _ in range(5)] == [True, True, True, False, False]
    refusal = limiter.decide("k")
    assert refusal.code == "quota.exceeded"
    assert 55 < refusal.retry_after <= 60


def test_a_fixed_window_admits_its_limit_and_no_more(store):
    limiter = RateLimiter("3/minute", store=store, strategy="fixed_window")
    assert [limiter.decide("k").allowed for _ in range(5)] == [True, True, True, False, False]
    assert 55 < limiter.decide("k").retry_after <= 60


def test_a_refused_moving_window_spends_nothing(store):
    limiter = RateLimiter("5/minute", store=store)
    limiter.require("k", cost=3)
    assert not limiter.decide("k", cost=3).allowed
    limiter.require("k", cost=2)


def test_a_refused_fixed_window_spends_no_cost_unless_another_call_comes_between(store, monkeypatch):
    limiter = RateLimiter("5/minute", store=store, strategy="fixed_window")
    limiter.require("k", cost=3)
    assert not limiter.decide("k", cost=3).allowed
    assert limiter.remaining("k")[0].used == 3
    # As if the other three had come after the storage was asked.
    with monkeypatch.context() as patch:
        patch.setattr(store.storage, "get", lambda key: 0)
        assert not limiter.decide("k", cost=3).allowed
    assert not limiter.decide("k").allowed
    [line] = limiter.remaining("k")
    assert (line.used, line.remaining) == (5, 0)


def test_refusals_of_a_fixed_window_do_not_make_it_longer_or_fuller(clocked):
    limiter = RateLimiter("2/minute", store=clocked, strategy="fixed_window")
    assert [limiter.decide("k").allowed for _ in range(9)] == [True] * 2 + [False] * 7
    clocked.clock.advance(59)
    assert limiter.decide("k").retry_after == pytest.approx(1)
    clocked.clock.advance(1.001)
    assert limiter.decide("k", cost=2).allowed


def test_round_the_edge_of_two_fixed_windows_twice_the_limit_comes_as_stated(clocked):
    limiter = RateLimiter("3/minute", store=clocked, strategy="fixed_window")
    limiter.require("k")
    clocked.clock.advance(59)
    limiter.require("k", cost=2)
    clocked.clock.advance(1.001)
    limiter.require("k", cost=3)


def test_the_wait_of_a_moving_window_is_for_its_oldest_admission_and_may_be_short_for_a_cost(clocked):
    limiter = RateLimiter("2/minute", store=clocked)
    limiter.require("k")
    clocked.clock.advance(20)
    limiter.require("k")
    assert limiter.decide("k").retry_after == pytest.approx(40)
    assert limiter.decide("k", cost=2).retry_after == pytest.approx(40)
    clocked.clock.advance(40.001)
    assert not limiter.decide("k", cost=2).allowed
    limiter.require("k")


COST = st.integers(1, 4)
STEPS = st.lists(st.tuples(st.integers(0, 40), st.sampled_from("ab"), COST), min_size=1, max_size=40)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.integers(1, 9), st.integers(1, 60), STEPS)
def test_one_moving_window_in_memory_decides_as_our_own_store(clocked, amount, seconds, steps):
    clocked.storage.reset()
    rate = Rate(amount, seconds)
    ours = RateLimiter(rate, store=MemoryStore(clock=clocked.clock))
    theirs = RateLimiter(rate, store=clocked)
    for pause, key, wish in steps:
        # Never a whole number of seconds apart: an admission exactly one period ago counts there, and not with us.
        clocked.clock.advance(pause + 0.001)
        cost = min(wish, amount)
        one, other = ours.decide(key, cost=cost), theirs.decide(key, cost=cost)
        assert other.allowed == one.allowed
        assert theirs.remaining(key)[0].used == ours.remaining(key)[0].used
        if not one.allowed:
            # Never too long; exact for a cost of 1.
            assert other.retry_after <= one.retry_after + 1e-5
            if cost == 1:
                assert other.retry_after == pytest.approx(one.retry_after, abs=1e-5)


# --- several --------------------------------------------------------------------------------------------------------


def test_of_several_limits_the_first_that_refuses_ends_it_and_those_before_it_stay_spent(store):
    wide = Limit("5/minute", by="tenant", name="wide")
    guarded = rate_limit(wide, Limit("1/minute", name="narrow"), Limit("9/minute", name="last"), store=store)
    ask = guarded(lambda: "answer")
    ask()
    with collect_standings() as seen, pytest.raises(QuotaExceeded):
        ask()
    assert [(line.name, line.used) for line in seen] == [
        ("wide:tenant", 2),
        ("narrow:principal", 1),
        ("last:principal", 1),
    ]


def test_of_several_rates_the_one_that_refused_is_named(store):
    limiter = RateLimiter("5/minute; 2/hour", store=store)
    limiter.require("k", cost=2)
    refusal = limiter.decide("k")
    assert refusal.reasons == ("The limit of 2 per hour was reached.",)
    assert refusal.retry_after > 3000


# --- what is refused ------------------------------------------------------------------------------------------------


def test_an_exact_window_is_refused_where_the_storage_cannot_hold_it():
    store = LimitsStore(FixedOnly())
    with pytest.raises(Misconfigured, match='strategy="fixed_window"'):
        RateLimiter("2/minute", store=store)
    with pytest.raises(Misconfigured, match='strategy="fixed_window"'):
        rate_limit("2/minute", store=store)
    limiter = RateLimiter("2/minute", store=store, strategy="fixed_window")
    assert [limiter.decide("k").allowed for _ in range(3)] == [True, True, False]
    assert limiter.decide("k").retry_after == pytest.approx(30, abs=1)


def test_gcra_is_refused(memory):
    with pytest.raises(Misconfigured, match="gcra"):
        RateLimiter("2/minute", store=memory, strategy="gcra", burst=1)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "nope://user:hunter2@host",
        "redis://user:hunter2@host:port/0",
        "async+redis://user:hunter2@host",
        "memcached://user:hunter2@[::1",
        SecretStr("redis+sentinel://user:hunter2@host:1"),
        "hunter2\0" * 100_000,
        None,
        7,
        b"memory://",
        limits.storage.MemoryStorage,
    ],
    ids=lambda address: ascii(address)[:24],
)
def test_what_is_no_storage_is_misconfigured_and_not_quoted(address):
    with pytest.raises(Misconfigured) as caught:
        LimitsStore(address)
    assert "hunter2" not in str(caught.value)
    assert len(str(caught.value)) < 300
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_an_asynchronous_storage_is_refused():
    with pytest.raises(Misconfigured, match="synchronous"):
        LimitsStore(limits.aio.storage.MemoryStorage())
    with pytest.raises(Misconfigured, match=r"leave out async\+"):
        LimitsStore("async+redis://localhost:6379")


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_timeout_is_above_zero(seconds):
    with pytest.raises(ValueError, match="timeout_seconds"):
        LimitsStore("memory://", timeout_seconds=seconds)


def test_a_missing_package_says_what_to_type(monkeypatch):
    monkeypatch.setitem(sys.modules, "limits", None)
    with pytest.raises(Misconfigured, match="pip install limits") as caught:
        LimitsStore("memory://")
    assert caught.value.code == "config.extra"


def test_a_missing_driver_says_what_to_type(monkeypatch):
    class Missing:
        def find_spec(self, name, path=None, target=None):
            if name == "pymemcache":
                raise ImportError(name)

    monkeypatch.delitem(sys.modules, "pymemcache", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Missing(), *sys.meta_path])
    with pytest.raises(Misconfigured, match=r"pip install 'limits\[memcached\]'") as caught:
        LimitsStore("memcached://localhost:11211")
    assert caught.value.code == "config.extra"


# --- failing --------------------------------------------------------------------------------------------------------


def test_whatever_a_storage_raises_is_unavailable_and_not_quoted():
    store = LimitsStore(Broken())
    limiter = RateLimiter("2/minute", store=store, strategy="fixed_window")
    for use in (limiter.decide, limiter.remaining, limiter.reset):
        with pytest.raises(Unavailable) as caught:
            use("k")
        assert caught.value.code == "unavailable.quota"
        assert "hunter2" not in str(caught.value)
    with pytest.raises(Unavailable):
        asyncio.run(limiter.adecide("k"))
    assert store.health() == {
        "ok": False,
        "store": "limits",
        "storage": "Broken",
        "error_type": "ConnectionError",
    }


def test_a_mistake_in_calling_stays_one(memory):
    limiter = RateLimiter("2/minute", store=memory)
    with pytest.raises(TypeError):
        limiter.decide(1.5)
    with pytest.raises(ValueError, match="at least one part"):
        limiter.decide()
    with pytest.raises(ValueError, match="at least 1"):
        limiter.decide("k", cost=0)
    assert limiter.decide("k", cost=3).code == "quota.cost"


def test_a_server_that_is_not_there_is_unavailable_and_a_guard_refuses(tmp_path):
    with LimitsStore(f"redis+unix://{tmp_path}/none.sock", timeout_seconds=0.05) as store:
        assert store.health()["ok"] is False
        with pytest.raises(Unavailable):
            rate_limit("2/minute", store=store)(lambda: "answer")()
        passing = rate_limit("2/minute", store=store, on_unavailable="allow")
        assert passing(lambda: "answer")() == "answer"


def test_a_server_that_hangs_is_unavailable_in_time(redis_server, redis_client):
    with LimitsStore(f"redis+{redis_server.url}", timeout_seconds=0.02) as store:
        limiter = RateLimiter("2/minute", store=store)
        # Its driver has a default of its own, which is longer.
        assert store.storage.storage.connection_pool.connection_kwargs["socket_timeout"] == 0.02
        redis_server.freeze()
        try:
            with pytest.raises(Unavailable, match="TimeoutError"):
                limiter.decide("k")
        finally:
            redis_server.thaw()
        assert store.health()["ok"] is True


# --- keys -----------------------------------------------------------------------------------------------------------


KEYS = {
    "surrogate": "\ud800",
    "controls": "\0 \r\n",
    "long": "x" * 1_000_000,
    "binary": b"\xff" * 1_000_000,
    "huge": 10**6000,
    "empty": "",
    "accent": "é",
}


@pytest.mark.parametrize("name", KEYS)
def test_any_key_is_counted_apart_under_a_short_plain_name(redis_store, redis_client, name):
    key = KEYS[name]
    limiter = RateLimiter("1/minute", store=redis_store)
    for tenant in ("acme", "umbrella", "a b\r\n", "\udcff" * 200):
        assert [limiter.decide(key, tenant=tenant).allowed for _ in range(2)] == [True, False]
        assert limiter.decide("another", tenant=tenant).allowed
    names = redis_client.keys("*")
    assert len(names) == 8
    assert sum(stored.startswith(b"LIMITS:aisecure:l1:acme:") for stored in names) == 2
    for stored in names:
        assert len(stored) < 200
        assert stored.decode("ascii").isprintable()
        assert b" " not in stored


def test_limits_of_other_names_rates_and_strategies_are_apart(store):
    makes = [
        {"limits": "1/minute"},
        {"limits": "1/minute", "name": "other"},
        {"limits": "1/hour"},
        {"limits": "1/minute", "strategy": "fixed_window"},
    ]
    for make in makes:
        assert RateLimiter(store=store, **make).decide("k").allowed


def test_two_stores_with_one_server_share_their_counts_and_reset_forgets_them(redis_server, redis_client):
    address = SecretStr(f"redis+{redis_server.url}")
    with LimitsStore(address) as one, LimitsStore(address) as other:
        mine, yours = RateLimiter("2/minute; 9/hour", store=one), RateLimiter("2/minute; 9/hour", store=other)
        mine.require("k", cost=2)
        assert not yours.decide("k").allowed
        yours.reset("k")
        assert mine.decide("k", cost=2).allowed
        assert redis_client.dbsize() == 2


# --- telling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("strategy", ["sliding_log", "fixed_window"])
def test_remaining_spends_nothing_and_tells_when_the_whole_limit_is_there_at_the_latest(store, strategy):
    limiter = RateLimiter("5/minute", store=store, strategy=strategy)
    [line] = limiter.remaining("k")
    assert (line.used, line.remaining, line.reset_seconds) == (0, 5, 0.0)
    limiter.require("k", cost=2)
    for _ in range(2):
        [line] = limiter.remaining("k")
        assert (line.used, line.remaining, line.limit, line.window_seconds) == (2, 3, 5, 60)
        assert 55 < line.reset_seconds <= 60


def test_of_a_moving_window_the_newest_admission_may_be_as_young_as_can_be(clocked):
    limiter = RateLimiter("5/minute", store=clocked)
    limiter.require("k")
    clocked.clock.advance(20)
    # Of one admission the storage tells when it was; of several, only when the oldest was.
    assert limiter.remaining("k")[0].reset_seconds == pytest.approx(40)
    limiter.require("k")
    assert limiter.remaining("k")[0].reset_seconds == pytest.approx(60)


def test_a_counter_of_a_window_without_a_start_is_empty():
    class AsMongo(FixedOnly, limits.storage.MovingWindowSupport):
        def acquire_entry(self, key, limit, expiry, amount=1):
            return False

        def get_moving_window(self, key, limit, expiry):
            return None, 0

    limiter = RateLimiter("5/minute", store=LimitsStore(AsMongo()))
    assert limiter.remaining("k")[0].remaining == 5
    assert limiter.decide("k").retry_after == 0.001


# --- at the same time -----------------------------------------------------------------------------------------------


def test_threads_on_one_server_get_the_limit_and_no_more(redis_store):
    limiter = RateLimiter("40/minute", store=redis_store)
    admitted = []

    def work():
        decisions = [limiter.decide("k") for _ in range(20)]
        admitted.append(sum(decision.allowed for decision in decisions))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(admitted) == 40


def test_tasks_wait_in_threads_for_a_network_and_not_for_memory(store):
    guarded = rate_limit("5/minute", store=store)
    limiter = RateLimiter("5/minute", store=store)
    seen = set()

    class Watched(type(limiter.counter)):
        def spend(self, keys, cost):
            seen.add(threading.current_thread() is threading.main_thread())
            return super().spend(keys, cost)

        def standings(self, keys):
            seen.add(threading.current_thread() is threading.main_thread())
            return super().standings(keys)

    limiter.counter.__class__ = Watched

    @guarded
    async def ask():
        return "answer"

    async def main():
        decisions = [(await limiter.adecide("k")).allowed for _ in range(6)]
        answers = await asyncio.gather(*(ask() for _ in range(8)), return_exceptions=True)
        left = await limiter.aremaining("k")
        await store.aclose()
        return decisions, answers, left

    decisions, answers, left = asyncio.run(main())
    assert decisions == [True] * 5 + [False]
    assert answers.count("answer") == 5
    assert sum(isinstance(answer, QuotaExceeded) for answer in answers) == 3
    assert left[0].remaining == 0
    assert seen == {not store.over_network}


# --- what is left behind ----------------------------------------------------------------------------------------------


def test_a_closed_store_leaves_no_thread_and_counts_on_when_it_is_used_again():
    before = threading.active_count()
    store = LimitsStore("memory://")
    limiter = RateLimiter("2/minute", store=store)
    limiter.require("k", cost=2)
    store.close()
    assert threading.active_count() == before
    assert not limiter.decide("k").allowed
    store.close()
    assert threading.active_count() == before


def test_a_storage_of_ones_own_stays_open(redis_server, redis_client):
    storage = limits.storage.RedisStorage(f"redis+{redis_server.url}")
    storage.incr("k", 60)
    pool = storage.storage.connection_pool
    used = set(pool._available_connections)
    LimitsStore(storage).close()
    # Not is_connected: the oldest client that the bounds allow has no such name.
    assert all(connection._sock is not None for connection in used)
    storage.storage.close()


def test_its_name_shows_no_address(redis_store, memory):
    assert repr(memory) == "LimitsStore(MemoryStorage)"
    assert repr(redis_store) == "LimitsStore(RedisStorage)"


def test_the_package_is_imported_only_for_it():
    code = (
        "import sys, aisecure.quotas as q, aisecure.quotas.redis_store; q.RateLimiter('1/minute');"
        "assert 'limits' not in sys.modules; q.LimitsStore('memory://').close(); assert 'limits' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
