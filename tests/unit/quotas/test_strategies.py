"""What each strategy promises, on each store, against its definition."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.quotas.clocked import ClockedStore

from aisecure.quotas import Ask, MemoryStore, Quota, Rate, RateLimiter
from aisecure.testing import CapturedEvents, FrozenClock

#: Intervals of these are whole microseconds, so that both stores reckon alike.
RATES = st.lists(
    st.builds(Rate, st.sampled_from([1, 2, 4, 5, 8]), st.integers(1, 6)), min_size=1, max_size=2, unique=True
)
STEPS = st.lists(
    st.tuples(st.integers(0, 40).map(lambda n: n / 8), st.sampled_from("ab"), st.integers(1, 4)), max_size=40
)


class Memory:
    def __init__(self, **options):
        self.clock = FrozenClock(monotonic=1_000.0)
        self.store = MemoryStore(clock=self.clock, **options)

    def advance(self, seconds):
        self.clock.advance(seconds)


class Redis:
    def __init__(self, url, client):
        self.store = ClockedStore(url, client)
        self.now = 1_790_000_000_000_000
        self.advance(0)

    def advance(self, seconds):
        self.now += round(seconds * 1_000_000)
        self.store.set(self.now)


@pytest.fixture(params=["memory", "redis"])
def make(request):
    if request.param == "memory":
        yield Memory
    else:
        client = request.getfixturevalue("redis_client")
        made = []

        def new():
            client.flushall()
            made.append(Redis(request.getfixturevalue("redis_server").url, client))
            return made[-1]

        yield new
        for one in made:
            one.store.close()


given_steps = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30
)


@given_steps
@given(RATES, STEPS)
def test_gcra_admits_one_an_interval_and_a_burst_after_a_rest(make, rates, steps):
    place, now = make(), 0.0
    burst = min(rate.amount for rate in rates)
    limiter = RateLimiter(rates, store=place.store, strategy="gcra", burst=burst)
    paid: dict[str, list[float]] = {}
    admitted: list[tuple[str, float, int]] = []
    for pause, key, wish in steps:
        place.advance(pause)
        now += pause
        cost = min(wish, burst)
        owed = paid.setdefault(key, [0.0] * len(rates))
        waits = [
            max(0.0, owed[i] - now) + (cost - burst) * rate.seconds / rate.amount
            for i, rate in enumerate(rates)
        ]
        decision = limiter.decide(key, cost=cost)
        assert decision.allowed == (max(waits) <= 1e-9)
        if decision.allowed:
            admitted.append((key, now, cost))
            for i, rate in enumerate(rates):
                owed[i] = max(owed[i], now) + cost * rate.seconds / rate.amount
        else:
            assert decision.retry_after == pytest.approx(max(waits), abs=1e-5)
        for rate in rates:
            spent = sum(c for k, when, c in admitted if k == key and when > now - rate.seconds)
            assert spent <= rate.amount - 1 + burst


@given_steps
@given(RATES, STEPS)
def test_a_fixed_window_begins_with_a_keys_first_call(make, rates, steps):
    place, now = make(), 0.0
    limiter = RateLimiter(rates, store=place.store, strategy="fixed_window")
    windows: dict[str, list[list[float]]] = {}
    real = isinstance(place, Redis)
    for pause, key, wish in steps:
        if not real:  # a count on Redis expires by the server's own clock
            place.advance(pause)
            now += pause
        cost = min(wish, *(rate.amount for rate in rates))
        mine = windows.setdefault(key, [[-100.0, 0] for _ in rates])
        for window, rate in zip(mine, rates, strict=True):
            if window[0] + rate.seconds <= now:
                window[:] = [now, 0]
        fits = all(window[1] + cost <= rate.amount for window, rate in zip(mine, rates, strict=True))
        assert limiter.decide(key, cost=cost).allowed == fits
        for window in mine:
            if fits:
                window[1] += cost
            elif not window[1]:
                window[0] = -100.0  # a window that nothing was admitted in has not begun


@given_steps
@given(STEPS)
def test_several_limits_of_a_call_are_spent_from_all_or_none_and_say_what_remains(make, steps):
    place, now = make(), 0.0
    narrow, wide = Quota("narrow", (Rate(3, 2),)), Quota("wide", (Rate(5, 4), Rate(7, 6)))
    counters = place.store.counter(narrow), place.store.counter(wide)
    admitted: list[tuple[str, float, int]] = []

    def spent(seconds, key=None):
        return sum(
            cost for who, when, cost in admitted if when > now - seconds and (key is None or who == key)
        )

    for pause, key, wish in steps:
        place.advance(pause)
        now += pause
        cost = min(wish, 3)
        asks = [(counters[0], ("t", key)), (counters[1], ("t", "everybody"))]
        tell: list = []
        refused = place.store.hit_all([Ask(*ask) for ask in asks], cost, tell)
        fits = [spent(2, key) + cost <= 3, spent(4) + cost <= 5 and spent(6) + cost <= 7]
        assert (refused is None) == all(fits)
        if refused is None:
            admitted.append((key, now, cost))
        else:
            assert not fits[refused[0]]
        assert [told.used for told in tell] == [spent(2, key), spent(4), spent(6)]
        assert [told.remaining for told in tell] == [3 - spent(2, key), 5 - spent(4), 7 - spent(6)]
        last = max((when for who, when, _ in admitted if who == key), default=None)
        expected = 0.0 if last is None else max(0.0, last + 2 - now)
        assert tell[0].reset_seconds == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("strategy", ["sliding_log", "gcra", "fixed_window"])
def test_what_remains_can_be_asked_for_nothing_and_reset(make, strategy):
    limiter = RateLimiter(
        "4/hour; 8/day", store=make().store, strategy=strategy, burst=4 if strategy == "gcra" else None
    )
    assert [left.remaining for left in limiter.remaining("k")] == [4, 4 if strategy == "gcra" else 8]
    limiter.require("k", cost=3)
    for _ in range(5):
        first, second = limiter.remaining("k")
        assert (first.used, first.remaining) == (3, 1)
        assert second.remaining == (1 if strategy == "gcra" else 5)
    assert first.reset_seconds == pytest.approx(2_700 if strategy == "gcra" else 3_600, abs=5)
    assert not limiter.decide("k", cost=2).allowed
    limiter.reset("k")
    assert limiter.remaining("k")[0].used == 0
    limiter.reset("k")
    assert limiter.decide("k", cost=4).allowed


@pytest.mark.parametrize("strategy", ["gcra", "fixed_window"])
def test_beyond_the_cap_of_keys_every_strategy_stays_below_its_limit(strategy):
    clock, events = FrozenClock(), CapturedEvents()
    store = MemoryStore(max_keys=1, clock=clock, events=events)
    limiter = RateLimiter("8/minute", store=store, strategy=strategy, burst=2 if strategy == "gcra" else None)
    limiter.require("first")
    admitted = []
    for _ in range(600):
        if limiter.decide("second").allowed:
            admitted.append(clock.monotonic())
        assert sum(when > clock.monotonic() - 60 for when in admitted) <= 8
        clock.advance(0.5)
        limiter.decide("first")
    assert admitted
    assert events.types == ["quota.approximate"]
    assert limiter.remaining("second")[0].used > 0
    limiter.reset("second")
    assert limiter.remaining("second")[0].used == 0


def test_idle_keys_of_every_strategy_are_forgotten():
    for strategy, burst in (("gcra", 1), ("fixed_window", None), ("sliding_log", None)):
        place = Memory()
        limiter = RateLimiter("1/second", store=place.store, strategy=strategy, burst=burst)
        for number in range(2_000):
            limiter.require(f"k{number}")
            place.advance(1)
        assert place.store.keys < 10


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"strategy": "token_bucket"}, ValueError, "strategy is one of sliding_log, gcra, fixed_window"),
        ({"strategy": "gcra"}, ValueError, "needs a burst"),
        ({"burst": 3}, ValueError, "only the strategy gcra"),
        ({"strategy": "gcra", "burst": 0}, ValueError, "a burst is from 1 to the smallest limit, 5"),
        ({"strategy": "gcra", "burst": 6}, ValueError, "a burst is from 1 to the smallest limit, 5"),
        ({"strategy": "gcra", "burst": 10**5000}, ValueError, "that many"),
        ({"strategy": "gcra", "burst": 1.5}, TypeError, "a burst is a whole number"),
    ],
)
def test_a_strategy_that_is_none_is_told_at_once(options, error, text):
    with pytest.raises(error, match=text):
        RateLimiter("5/minute", **options)


def test_strategies_of_one_name_do_not_read_each_others_counts(make):
    store = make().store
    one = RateLimiter("2/hour", store=store)
    others = [
        RateLimiter("2/hour", store=store, strategy="fixed_window"),
        RateLimiter("2/hour", store=store, strategy="gcra", burst=2),
        RateLimiter("2/hour", store=store, strategy="gcra", burst=1),
    ]
    one.require("k", cost=2)
    assert all(other.decide("k").allowed for other in others)
    assert not one.decide("k").allowed
