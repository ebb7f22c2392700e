"""Every ledger against the definition."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.quotas.clocked import clocked

from aisecure.errors import Unavailable
from aisecure.quotas.budgets.ledger import LATE_SECONDS, Account, Bill, Ledger, Line, Reservation
from aisecure.quotas.budgets.memory import MemoryLedger
from aisecure.quotas.budgets.notation import MAX_AMOUNT, BudgetLimit
from aisecure.quotas.budgets.redis import RedisLedger
from aisecure.quotas.budgets.sqlite import SqliteLedger
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, memory_storage

MICRO = 1_000_000
TTL = 30


class InMemory:
    def __init__(self):
        self.clock = FrozenClock()
        self.ledger = MemoryLedger(clock=self.clock)

    def now(self):
        return round(self.clock.monotonic() * MICRO)

    def advance(self, seconds):
        self.clock.advance(seconds)

    def set_time(self, time):
        self.clock.set_time(time)

    def close(self):
        self.ledger.close()


class InSqlite(InMemory):
    def __init__(self):
        self.clock = FrozenClock()
        self.ledger = SqliteLedger(memory_storage(), clock=self.clock)

    def now(self):
        return round(self.clock.time() * MICRO)


class OnRedis:
    """A real server, whose script reads a clock that the test sets."""

    def __init__(self, server, client):
        client.flushall()
        self.client = client
        self.ledger = RedisLedger(server.url, timeout_seconds=5)
        self.ledger.script = clocked(self.ledger.script)
        self.set_time(FrozenClock().time())

    def now(self):
        return self.micros

    def advance(self, seconds):
        self._set(self.micros + round(seconds * MICRO))

    def set_time(self, time):
        self._set(round(time * MICRO))

    def _set(self, micros):
        self.micros = micros
        seconds, rest = divmod(micros, MICRO)
        self.client.hset("test:clock", mapping={"s": seconds, "us": rest})

    def close(self):
        self.ledger.close()


KINDS = ["memory", "sqlite", "redis"]


@pytest.fixture
def make(request):
    """Return a function that makes a ledger with a clock."""

    def make(kind):
        if kind == "redis":
            server, client = request.getfixturevalue("redis_server"), request.getfixturevalue("redis_client")
            return OnRedis(server, client)
        return {"memory": InMemory, "sqlite": InSqlite}[kind]()

    return make


@pytest.fixture(params=KINDS)
def kept(request, make):
    made = make(request.param)
    yield made
    made.close()


@pytest.fixture
def ledger(kept):
    return kept.ledger


def account(name="u-17", amount=100, seconds=60, *, unit="tokens", tenant="acme", window="sliding"):
    return Account("budget", (tenant, "principal", name), BudgetLimit(unit, amount, seconds, window))


def hold(ledger, *lines, ttl=TTL, on_expiry="release"):
    reservation = Reservation.of([Line(*line) for line in lines], ttl_seconds=ttl, on_expiry=on_expiry)
    return reservation, ledger.reserve(reservation)


def settle(ledger, reservation, *amounts, unheld=False):
    (settled,) = ledger.settle([Bill(reservation, amounts, unheld)])
    return settled


def counted(ledger, *accounts):
    return [(balance.used, balance.held) for balance in ledger.balances(accounts)]


# -- the law

AMOUNTS = st.integers(0, 60)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.sampled_from([0.01, 0.5, 1, 3, 7, 20, 29, 30, 31, 59, 60, 61])),
        st.tuples(st.just("hold"), AMOUNTS, st.none() | AMOUNTS),
        st.tuples(st.just("settle"), st.integers(0, 9), st.floats(0, 1)),
    ),
    max_size=40,
)


class Definition:
    """What the documentation says, with every charge and hold in a list."""

    def __init__(self, limits):
        self.limits = limits
        self.charges = [[] for _ in limits]
        self.holds = {}

    def counts(self, index, now):
        period = self.limits[index].seconds * MICRO
        step = -(-period // 60)
        spent = sum(
            amount for when, amount in self.charges[index] if (when // step + 1) * step + period > now
        )
        return spent, sum(lines.get(index, 0) for lines, deadline in self.holds.values() if deadline > now)

    def fits(self, lines, now):
        return all(
            sum(self.counts(index, now)) + amount <= self.limits[index].amount
            for index, amount in lines.items()
        )


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.integers(30, 100), st.sampled_from([1, 2, 3, 7, 20, 30, 59, 60])), min_size=2, max_size=2
    ),
    STEPS,
)
def test_what_is_admitted_booked_and_freed_is_what_the_definition_says(make, kind, limits, steps):
    kept = make(kind)
    try:
        check_against_definition(kept, limits, steps)
    finally:
        kept.close()


def check_against_definition(kept, limits, steps):
    ledger = kept.ledger
    accounts = [account(f"u-{n}", amount, seconds) for n, (amount, seconds) in enumerate(limits)]
    definition = Definition([one.limit for one in accounts])
    made = []
    calls = []  # [index of account, from, to, what was really used]
    for step, *rest in steps:
        now = kept.now()
        if step == "wait":
            kept.advance(rest[0])
        elif step == "hold":
            lines = {index: amount for index, amount in enumerate(rest) if amount is not None}
            reservation, answer = hold(
                ledger, *[(accounts[index], amount) for index, amount in lines.items()]
            )
            fits = definition.fits(lines, now)
            assert answer.held == fits
            if fits:
                made.append((reservation, lines, now))
                definition.holds[reservation.id] = lines, now + TTL * MICRO
        elif made:
            reservation, lines, begun = made[rest[0] % len(made)]
            used = {index: int(amount * rest[1]) for index, amount in lines.items()}
            entries = settle(ledger, reservation, *used.values())
            is_first = definition.holds.pop(reservation.id, None) is not None
            assert {entry.known for entry in entries} == {is_first}
            if is_first:
                for index, amount in used.items():
                    definition.charges[index].append((now, amount))
                    if now < begun + TTL * MICRO:
                        calls.append((index, begun, now, amount))
        now = kept.now()
        assert counted(ledger, *accounts) == [definition.counts(index, now) for index in (0, 1)]
    # And what the definition is for: no window holds more than the limit, whatever moment of a call is taken for it.
    # (Settlements after the expiry may exceed it: their hold was given to others.)
    for index, limit in enumerate(definition.limits):
        mine = [call for call in calls if call[0] == index]
        for end in {moment for _, begun, ended, _ in mine for moment in (begun, ended)}:
            begin = end - limit.seconds * MICRO
            for which in (1, 2):
                assert sum(call[3] for call in mine if begin < call[which] <= end) <= limit.amount


def test_every_ledger_is_one(ledger):
    assert isinstance(ledger, Ledger)
    assert ledger.health()["ok"]
    assert ledger.flush()
    assert not ledger.pending


def test_a_refused_reservation_holds_nothing_anywhere(ledger):
    wide, narrow = account("wide", 1000), account("narrow", 10)
    hold(ledger, (narrow, 8))
    reservation, answer = hold(ledger, (wide, 500), (narrow, 3))
    assert (answer.short, answer.held) == (1, False)
    assert counted(ledger, wide, narrow) == [(0, 0), (0, 8)]
    assert not any(entry.known for entry in settle(ledger, reservation, 500, 3))
    assert counted(ledger, wide, narrow) == [(0, 0), (0, 8)]


def test_a_refusal_names_when_there_is_room_to_the_microsecond(kept):
    one = account()
    for amount in (50, 30):
        settle(kept.ledger, hold(kept.ledger, (one, amount))[0], amount)
        kept.advance(5.5)
    _, answer = hold(kept.ledger, (one, 60))
    assert 48 < answer.retry_after <= 51
    kept.advance(answer.retry_after - 0.001)
    assert not hold(kept.ledger, (one, 60))[1].held
    kept.advance(0.001)
    assert hold(kept.ledger, (one, 60))[1].held


def test_spent_budget_comes_back_not_before_the_period_and_at_most_a_sixtieth_of_it_late(kept):
    one = account(seconds=3600)
    for _ in range(20):
        settle(kept.ledger, hold(kept.ledger, (one, 100))[0], 100)
        kept.advance(3600 - 0.001)
        assert counted(kept.ledger, one) == [(100, 0)]
        kept.advance(0.001)
        reset = kept.ledger.balances([one])[0].reset_seconds
        assert 0 <= reset <= 60
        kept.advance(reset)
        assert counted(kept.ledger, one) == [(0, 0)]
        kept.advance(7.7)


def test_more_than_was_held_is_charged_beyond_the_limit(ledger):
    one = account()
    reservation, _ = hold(ledger, (one, 90))
    assert settle(ledger, reservation, 250)[0].balance[:2] == (250, 0)
    assert not hold(ledger, (one, 0))[1].held


def test_a_hold_that_nobody_settles_is_released_at_its_time(kept):
    one = account(seconds=86_400)
    hold(kept.ledger, (one, 90))
    kept.advance(TTL - 0.001)
    assert counted(kept.ledger, one) == [(0, 90)]
    kept.advance(0.001)
    assert counted(kept.ledger, one) == [(0, 0)]


def test_a_hold_that_charges_when_it_expires_is_charged_then(kept):
    one = account(seconds=86_400)
    hold(kept.ledger, (one, 90), on_expiry="charge")
    kept.advance(TTL)
    assert counted(kept.ledger, one) == [(90, 0)]


@pytest.mark.parametrize("used", [0, 40, 90, 130])
@pytest.mark.parametrize("on_expiry", ["release", "charge"])
def test_a_settlement_after_the_expiry_leaves_what_was_really_used(kept, on_expiry, used):
    one = account(amount=1000, seconds=86_400)
    settle(kept.ledger, hold(kept.ledger, (one, 7))[0], 7)
    reservation, _ = hold(kept.ledger, (one, 90), on_expiry=on_expiry)
    kept.advance(TTL + 100)
    for known in (True, False, False):
        assert settle(kept.ledger, reservation, used)[0].known is known
        assert counted(kept.ledger, one) == [(7 + used, 0)]


def test_what_was_charged_at_the_expiry_and_has_come_back_is_not_given_back_again(kept):
    one = account(seconds=60)
    late, _ = hold(kept.ledger, (one, 90), on_expiry="charge")
    kept.advance(TTL + 62)
    settle(kept.ledger, hold(kept.ledger, (one, 80))[0], 80)
    settle(kept.ledger, late, 0)
    assert counted(kept.ledger, one) == [(80, 0)]


def test_a_settlement_a_day_after_the_expiry_changes_nothing_and_says_so(kept):
    one = account(seconds=30 * 86_400)
    reservation, _ = hold(kept.ledger, (one, 90))
    kept.advance(TTL + LATE_SECONDS)
    assert not settle(kept.ledger, reservation, 90)[0].known
    assert counted(kept.ledger, one) == [(0, 0)]


def test_a_bill_for_what_was_never_held_is_charged_only_when_it_says_so(ledger):
    one = account()
    reservation = Reservation.of([Line(one, 50)])
    assert not settle(ledger, reservation, 50)[0].known
    assert counted(ledger, one) == [(0, 0)]
    assert settle(ledger, reservation, 50, unheld=True)[0].known
    assert counted(ledger, one) == [(50, 0)]


def test_a_soft_line_is_held_without_room(ledger):
    soft, hard = account("soft", 10), account("hard", 1000)
    reservation = Reservation.of([Line(soft, 50, soft=True), Line(hard, 50)])
    answer = ledger.reserve(reservation)
    assert answer.held
    assert counted(ledger, soft, hard) == [(0, 50), (0, 50)]


def test_a_soft_line_without_room_saves_no_hard_one(ledger):
    soft, hard = account("soft", 10), account("hard", 20)
    answer = ledger.reserve(Reservation.of([Line(soft, 50, soft=True), Line(hard, 50)]))
    assert answer.short == 1
    assert counted(ledger, soft, hard) == [(0, 0), (0, 0)]


def test_a_mark_is_told_once_a_window(kept):
    one = account()

    def spend(amount):
        reservation = Reservation.of([Line(one, amount, marks=(60, 90))])
        kept.ledger.reserve(reservation)
        return settle(kept.ledger, reservation, amount)[0].marks

    assert [spend(50), spend(20), spend(20), spend(10)] == [(), (60,), (90,), ()]
    kept.advance(62)
    assert [spend(95), spend(1)] == [(60, 90), ()]


def test_a_reset_forgets_what_was_spent_and_keeps_what_is_held(ledger):
    one, other = account("one"), account("other")
    for each in (one, other):
        settle(ledger, hold(ledger, (each, 70))[0], 70)
    reservation, _ = hold(ledger, (one, 20))
    ledger.reset([one])
    assert counted(ledger, one, other) == [(0, 20), (70, 0)]
    settle(ledger, reservation, 15)
    assert counted(ledger, one) == [(15, 0)]


def test_tenants_names_limits_and_kinds_of_keys_have_accounts_of_their_own(ledger):
    base = account()
    others = [
        account(tenant="other"),
        base._replace(name="another"),
        account(amount=99),
        account(window="calendar"),
        account(unit="USD"),
        base._replace(subject=("acme", "principal", b"u-17")),
        base._replace(subject=("acme", "principal:u-17")),
    ]
    hold(ledger, (base, 100))
    assert counted(ledger, *others) == [(0, 0)] * len(others)


@pytest.mark.parametrize(
    "key",
    ["", "x" * 2_000_000, "\ud800", "a\0b", b"\xff" * 1000, 1 << 100_000],
    ids=["empty", "2-MB", "surrogate", "NUL", "bytes", "huge"],
)
def test_any_key_has_an_account(ledger, key):
    one = account()._replace(subject=("acme", key))
    hold(ledger, (one, 60))
    assert counted(ledger, one) == [(0, 60)]


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1])
def test_amounts_out_of_range_are_mistakes(ledger, amount):
    with pytest.raises(ValueError, match="an amount is from 0"):
        Reservation.of([Line(account(), amount)])
    with pytest.raises(ValueError, match="an amount is from 0"):
        settle(ledger, hold(ledger, (account(), 1))[0], amount)


def test_the_largest_amounts_are_counted_exactly(ledger):
    one = account(amount=MAX_AMOUNT)
    first, answer = hold(ledger, (one, MAX_AMOUNT - 1))
    assert answer.held
    assert not hold(ledger, (one, 2))[1].held
    second, answer = hold(ledger, (one, 1))
    assert answer.held
    settle(ledger, first, MAX_AMOUNT - 3)
    settle(ledger, second, 1)
    assert counted(ledger, one) == [(MAX_AMOUNT - 2, 0)]


def test_many_threads_never_exceed_a_limit_and_settle_each_once(ledger):
    one = account(amount=1_000, seconds=86_400)
    admitted = []

    def caller():
        for _ in range(10):
            reservation, answer = hold(ledger, (one, 50))
            assert sum(ledger.balances([one])[0][:2]) <= 1_000
            if answer.held:
                admitted.append(1)
                settle(ledger, reservation, 10)
                settle(ledger, reservation, 10)

    threads = [threading.Thread(target=caller) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(ledger, one) == [(10 * len(admitted), 0)]


# -- the calendar


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("seconds", "before", "after"),
    [
        (60, "2026-03-05T10:59:59", "2026-03-05T11:00:00"),
        (3600, "2026-03-05T10:59:59", "2026-03-05T11:00:00"),
        (86_400, "2026-02-28T23:59:59", "2026-03-01T00:00:00"),
        (2_592_000, "2028-02-29T23:59:59", "2028-03-01T00:00:00"),
        (2_592_000, "2026-12-31T23:59:59", "2027-01-01T00:00:00"),
        (31_104_000, "2027-12-31T23:59:59", "2028-01-01T00:00:00"),
    ],
    ids=["minute", "hour", "day", "month", "turn-of-the-year", "year"],
)
def test_a_period_of_the_calendar_ends_where_the_calendar_says(kept, seconds, before, after):
    one = account(seconds=seconds, window="calendar")
    kept.set_time(at(before) - 1)
    settle(kept.ledger, hold(kept.ledger, (one, 100))[0], 100)
    kept.set_time(at(before))
    _, answer = hold(kept.ledger, (one, 1))
    assert (answer.held, answer.retry_after) == (False, 1.0)
    kept.set_time(at(after))
    assert hold(kept.ledger, (one, 100))[1].held


def test_what_is_held_over_midnight_is_held_on_the_next_day_and_booked_there(kept):
    one = account(seconds=86_400, window="calendar")
    kept.set_time(at("2026-03-05T23:59:59"))
    reservation, _ = hold(kept.ledger, (one, 60), ttl=600)
    kept.set_time(at("2026-03-06T00:00:10"))
    assert counted(kept.ledger, one) == [(0, 60)]
    settle(kept.ledger, reservation, 50)
    assert counted(kept.ledger, one) == [(50, 0)]


# -- clocks that are set


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_clock_set_back_frees_nothing_early_and_locks_nobody_out_for_longer_than_a_period(make, kind):
    kept = make(kind)
    one = account(seconds=3600)
    start = kept.now() // MICRO
    settle(kept.ledger, hold(kept.ledger, (one, 100))[0], 100)
    kept.set_time(start - 10 * 86_400)
    assert counted(kept.ledger, one) == [(100, 0)]
    kept.set_time(start - 10 * 86_400 + 3599)
    assert counted(kept.ledger, one) == [(100, 0)]
    kept.set_time(start - 10 * 86_400 + 3600 + 60)
    assert counted(kept.ledger, one) == [(0, 0)]
    kept.close()


@pytest.mark.parametrize("kind", ["sqlite", "redis"])
def test_a_clock_set_back_holds_nothing_for_longer_than_it_was_to_be_held(make, kind):
    kept = make(kind)
    one = account(seconds=86_400)
    start = kept.now() // MICRO
    hold(kept.ledger, (one, 100))
    kept.set_time(start - 86_400)
    assert counted(kept.ledger, one) == [(0, 100)]
    kept.set_time(start - 86_400 + TTL - 1)
    assert counted(kept.ledger, one) == [(0, 100)]
    kept.set_time(start - 86_400 + TTL)
    assert counted(kept.ledger, one) == [(0, 0)]
    kept.close()


def test_a_sliding_window_in_memory_does_not_see_the_wall_clock():
    kept = InMemory()
    one = account()
    settle(kept.ledger, hold(kept.ledger, (one, 100))[0], 100)
    for time in (0.0, 4e9):
        kept.set_time(time)
        assert counted(kept.ledger, one) == [(100, 0)]


# -- bounds


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_accounts_beyond_the_cap_are_unavailable_until_others_are_idle(kind):
    clock = FrozenClock()
    ledger = (
        MemoryLedger(max_accounts=5, clock=clock)
        if kind == "memory"
        else SqliteLedger(memory_storage(), max_accounts=5, clock=clock)
    )
    for n in range(5):
        settle(ledger, hold(ledger, (account(f"u-{n}"), 1))[0], 1)
    with pytest.raises(Unavailable, match="raise max_accounts") as error:
        hold(ledger, (account("new"), 1))
    assert error.value.code == "unavailable.quota"
    assert hold(ledger, (account("u-3"), 1))[1].held
    clock.advance(62)
    assert hold(ledger, (account("new"), 1))[1].held
    ledger.close()


def test_idle_accounts_and_settled_reservations_leave_nothing_in_memory():
    clock = FrozenClock()
    ledger = MemoryLedger(clock=clock)
    for n in range(3000):
        settle(ledger, hold(ledger, (account(f"u-{n}", seconds=1), 1))[0], 1)
        clock.advance(0.01)
    assert len(ledger._books) < 250
    assert len(ledger._due) <= 65
    assert not ledger._open
    assert not ledger._expired


def test_idle_accounts_and_late_reservations_leave_nothing_in_the_database():
    clock = FrozenClock()
    storage = memory_storage()
    ledger = SqliteLedger(storage, clock=clock)
    for n in range(50):
        hold(ledger, (account(f"u-{n}"), 1), on_expiry="charge" if n % 2 else "release")
    clock.advance(TTL + LATE_SECONDS + 62)
    for _ in range(8):
        settle(ledger, hold(ledger, (account("last"), 1))[0], 1)
    assert storage.query("SELECT count(*) FROM budget_holds") == [(0,)]
    assert storage.query("SELECT count(*) FROM budget_accounts") == [(1,)]
    ledger.close()


# -- a file


def test_a_month_survives_a_restart_and_the_file_names_nobody(tmp_path):
    path = tmp_path / "state.db"
    one = Account("chat", ("acme", "principal", "alice@example.org"), BudgetLimit("USD", 50, 2_592_000))
    for expected in (20, 40):
        storage = Storage(path)
        ledger = SqliteLedger(storage)
        settle(ledger, hold(ledger, (one, 20))[0], 20)
        assert counted(ledger, one) == [(expected, 0)]
        ledger.close()
        storage.close()
    assert b"alice" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


CHILD = """
import sys, time
from aisecure.quotas.budgets.ledger import *
from aisecure.quotas.budgets.notation import BudgetLimit
from aisecure.quotas.budgets.redis import RedisLedger
from aisecure.quotas.budgets.sqlite import SqliteLedger
from aisecure.storage import Storage
ledger = SqliteLedger(Storage(sys.argv[1]))
one = Account("budget", ("acme", "principal", "u-17"), BudgetLimit("tokens", 100, 86_400))
held = 0
for _ in range(50):
    reservation = Reservation.of([Line(one, 5)], ttl_seconds=float(sys.argv[2]))
    if ledger.reserve(reservation).held:
        held += 1
print(held, flush=True)
sys.stdin.read()
"""


def test_processes_share_a_file_and_what_a_killed_one_held_expires(tmp_path):
    path = tmp_path / "state.db"
    Storage(path).close()
    clock = FrozenClock()
    command = [sys.executable, "-c", CHILD, str(path), "50"]
    children = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(3)
    ]
    held = [int(child.stdout.readline()) for child in children]
    assert sum(held) == 20
    for child in children:
        os.kill(child.pid, signal.SIGKILL)
        child.communicate()
    one = account(seconds=86_400)
    clock = FrozenClock(time=__import__("time").time())
    storage = Storage(path)
    ledger = SqliteLedger(storage, clock=clock)
    assert counted(ledger, one) == [(0, 100)]
    clock.advance(50)
    assert counted(ledger, one) == [(0, 0)]
    ledger.close()
    storage.close()
