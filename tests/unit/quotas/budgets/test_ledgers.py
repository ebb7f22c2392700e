"""What every ledger promises, against the definition."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aisecure.errors import Unavailable
from aisecure.quotas import MemoryLedger, parse_budget
from aisecure.quotas.budgets.ledger import Line, Reservation, Shortage
from aisecure.testing import FrozenClock

STEPS = st.lists(
    st.tuples(
        st.integers(0, 90),
        st.sampled_from(["reserve", "reserve", "settle", "settle twice", "forget"]),
        st.sampled_from("ab"),
        st.integers(0, 60),
        st.integers(0, 80),
    ),
    max_size=30,
)
some = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=30)


def lines_of(key):
    (mine,) = parse_budget("100 tokens/minute")
    (shared,) = parse_budget("150 tokens/2 minutes")
    return [Line("mine", mine, ("t", key)), Line("shared", shared, ("t", "everybody"))]


@some
@given(STEPS)
def test_no_window_ever_holds_more_than_its_limit_unless_a_call_used_more_than_it_reserved(make, steps):
    place, now = make(), 0.0
    charged: list[list] = []  # key, when, amount
    open_: list[tuple[Reservation, list]] = []
    overdrawn = False
    for pause, what, key, amount, real in steps:
        place.advance(pause)
        now += pause
        if what == "reserve":
            answer = place.ledger.reserve(lines_of(key), [amount, amount], 10_000)
            mine = sum(c for k, when, c in charged if k == key and when > now - 60)
            both = sum(c for _, when, c in charged if when > now - 120)
            if isinstance(answer, Shortage):
                # It may be refused a sixtieth of the period early, and never for less than that.
                early = sum(c for k, when, c in charged if k == key and when > now - 61.01)
                early_both = sum(c for _, when, c in charged if when > now - 122.01)
                assert early + amount > 100 or early_both + amount > 150
                assert answer.retry_after > 0
            else:
                assert overdrawn or (mine + amount <= 100 and both + amount <= 150)
                charge = [key, now, amount]
                charged.append(charge)
                open_.append((answer, charge))
        elif what != "forget" and open_:
            reservation, charge = open_.pop(real % len(open_))
            overdrawn = overdrawn or real > charge[2]
            if now - charge[1] >= 60 and real != charge[2]:
                continue  # where a bucket has gone what comes back is told apart below
            for _ in range(1 + (what == "settle twice")):
                place.ledger.settle(reservation, [real, real])
            charge[2] = real
        states = place.ledger.look(lines_of(key))
        assert all(state.used >= 0 for state in states)


@some
@given(STEPS)
def test_a_caller_who_waits_as_told_gets_what_was_asked_for(make, steps):
    place = make()
    for pause, _, key, amount, _ in steps:
        place.advance(pause)
        answer = place.ledger.reserve(lines_of(key), [amount, amount], 100_000)
        if isinstance(answer, Shortage):
            place.advance(max(0.0, answer.retry_after - 0.001))
            again = place.ledger.reserve(lines_of(key), [amount, amount], 100_000)
            assert isinstance(again, Shortage)
            place.advance(again.retry_after)
            assert isinstance(place.ledger.reserve(lines_of(key), [amount, amount], 100_000), Reservation)


def used(place, key="a"):
    return [state.used for state in place.ledger.look(lines_of(key))]


def test_a_refusal_reserves_nothing_anywhere(make):
    place = make()
    place.ledger.reserve(lines_of("a"), [90, 90], 600)
    refused = place.ledger.reserve(lines_of("b"), [70, 70], 600)
    assert isinstance(refused, Shortage)
    assert refused.line == 1
    assert used(place, "b") == [0, 90]
    assert isinstance(place.ledger.reserve(lines_of("b"), [60, 60], 600), Reservation)


def test_a_settlement_counts_once_and_gives_back_the_rest(make):
    place = make()
    reservation = place.ledger.reserve(lines_of("a"), [90, 90], 600)
    assert [state.used for state in reservation.states] == [90, 90]
    assert [state.reserved for state in place.ledger.look(lines_of("a"))] == [90, 90]
    for _ in range(3):
        states = place.ledger.settle(reservation, [30, 20])
        assert [state.used for state in states] == [30, 20]
    assert [state.reserved for state in place.ledger.look(lines_of("a"))] == [0, 0]


def test_what_was_used_beyond_the_reservation_is_charged(make):
    place = make()
    reservation = place.ledger.reserve(lines_of("a"), [10, 10], 600)
    assert [state.used for state in place.ledger.settle(reservation, [130, 130])] == [130, 130]
    assert isinstance(place.ledger.reserve(lines_of("a"), [1, 1], 600), Shortage)
    assert isinstance(place.ledger.reserve(lines_of("b"), [20, 20], 600), Reservation)


def test_a_reservation_that_nobody_settles_gives_back_what_it_held(make):
    place = make()
    held = place.ledger.reserve(lines_of("a"), [90, 90], 20)
    place.advance(19.9)
    assert isinstance(place.ledger.reserve(lines_of("a"), [20, 20], 600), Shortage)
    place.advance(0.2)
    other = place.ledger.reserve(lines_of("a"), [20, 20], 600)
    assert isinstance(other, Reservation)
    assert other.expired == 2
    assert used(place) == [20, 20]
    # Who comes late is charged for what was really used, once.
    for _ in range(2):
        assert [state.used for state in place.ledger.settle(held, [40, 40])] == [60, 60]


def test_a_settlement_after_its_window_has_passed_charges_only_what_nobody_reserved(make):
    place = make()
    held = place.ledger.reserve(lines_of("a"), [50, 50], 10_000)
    place.advance(300)
    assert used(place) == [0, 0]
    place.ledger.settle(held, [20, 70])
    assert used(place) == [0, 20]


def test_what_was_spent_comes_back_at_latest_a_sixtieth_of_the_period_late(make):
    place = make()
    place.ledger.settle(place.ledger.reserve(lines_of("a"), [90, 90], 600), [90, 90])
    place.advance(60)
    assert used(place)[0] == 90
    place.advance(1)
    assert used(place) == [0, 90]
    place.advance(61)
    assert used(place) == [0, 0]


def test_a_clock_set_back_frees_nothing_early_and_locks_for_no_longer_than_a_period(make):
    place = make()
    place.ledger.settle(place.ledger.reserve(lines_of("a"), [90, 90], 600), [90, 90])
    place.set_back(10_000)
    assert isinstance(place.ledger.reserve(lines_of("a"), [20, 20], 600), Shortage)
    place.advance(59)
    assert isinstance(place.ledger.reserve(lines_of("a"), [20, 20], 600), Shortage)
    place.advance(2.1)
    assert isinstance(place.ledger.reserve(lines_of("a"), [20, 20], 600), Reservation)


def test_a_soft_line_counts_and_refuses_nothing(make):
    place = make()
    mine, shared = lines_of("a")
    for _ in range(3):
        answer = place.ledger.reserve([mine._replace(soft=True), shared], [40, 40], 600)
        assert isinstance(answer, Reservation)
    assert used(place) == [120, 120]


def test_a_reset_forgets_and_a_settlement_after_it_leaves_nothing_below_zero(make):
    place = make()
    held = place.ledger.reserve(lines_of("a"), [50, 50], 600)
    place.ledger.reset(lines_of("a"))
    assert used(place) == [0, 0]
    place.ledger.settle(held, [10, 10])
    assert all(0 <= one <= 10 for one in used(place))


@pytest.mark.parametrize(
    ("unit", "before", "after"),
    [
        ("minute", 59, 1),
        ("hour", 3_599, 1),
        ("day", 12 * 3_600 - 1, 1),
        ("month", 17 * 86_400 - 12 * 3_600 - 1, 1),  # to the end of January
        ("year", 351 * 86_400 - 12 * 3_600 - 1, 1),
    ],
)
def test_a_calendar_budget_begins_anew_with_its_period(make, unit, before, after):
    place = make()
    (limit,) = parse_budget(f"100 tokens/{unit}", window="calendar")
    line = [Line("c", limit, ("t", "a"))]
    place.ledger.settle(place.ledger.reserve(line, [90], 10**9), [90])
    assert place.ledger.look(line)[0].reset_seconds == before + after
    place.advance(before)
    refused = place.ledger.reserve(line, [20], 600)
    assert refused == Shortage(0, after)
    place.advance(after)
    assert isinstance(place.ledger.reserve(line, [100], 600), Reservation)


def test_a_calendar_month_is_as_long_as_it_is(make):
    place = make()
    (limit,) = parse_budget("100 tokens/month", window="calendar")
    line = [Line("c", limit, ("t", "a"))]
    days = []
    for _ in range(28):  # over a leap year: 2028
        days.append(round(place.ledger.look(line)[0].reset_seconds / 86_400, 3))
        place.ledger.settle(place.ledger.reserve(line, [100], 10**9), [100])
        left = place.ledger.look(line)[0].reset_seconds
        days[-1] = left
        place.advance(left)
    lengths = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
    expected = [16.5, *lengths[1:], *lengths, 31, 29, 31, 30]
    assert [round(left / 86_400, 3) for left in days] == expected


def test_sums_that_redis_could_not_add_exactly_are_exact(make):
    place = make()
    (limit,) = parse_budget("9000000 USD/month")
    line = [Line("big", limit, ("t", "a"))]
    largest = limit.units
    first = place.ledger.reserve(line, [largest - 1], 600)
    assert isinstance(first, Reservation)
    assert isinstance(place.ledger.reserve(line, [2], 600), Shortage)
    assert isinstance(place.ledger.reserve(line, [1], 600), Reservation)
    assert place.ledger.settle(first, [largest - 2])[0].used == largest - 1


def test_accounts_are_apart_by_name_limit_tenant_and_key(make):
    place = make()
    (limit,) = parse_budget("100 tokens/hour")
    (other,) = parse_budget("101 tokens/hour")
    (calendar,) = parse_budget("100 tokens/hour", window="calendar")
    lines = [
        Line("n", limit, ("t", "a")),
        Line("m", limit, ("t", "a")),
        Line("n", other, ("t", "a")),
        Line("n", calendar, ("t", "a")),
        Line("n", limit, ("u", "a")),
        Line("n", limit, ("t", "ab")),
        Line("n", limit, ("t", "a", "b")),
        Line("n", limit, ("t", b"a")),
        Line("n", limit, ("t", 7)),
        Line("n", limit, ("t", "7")),
        Line("n", limit, ("t", "x" * 1_000_000)),
        Line("n", limit, ("\ud800}{", "\0")),
    ]
    for number, line in enumerate(lines):
        assert isinstance(place.ledger.reserve([line], [number + 1], 600), Reservation)
    assert [state.used for state in place.ledger.look(lines)] == list(range(1, len(lines) + 1))


def test_accounts_that_are_over_are_forgotten():
    clock = FrozenClock()
    ledger = MemoryLedger(max_accounts=50, clock=clock)
    (limit,) = parse_budget("100 tokens/second")
    for number in range(3_000):
        line = [Line("n", limit, ("t", f"k{number}"))]
        ledger.settle(ledger.reserve(line, [5], 600), [5])
        clock.advance(5)
    assert ledger.health()["accounts"] <= 50


def test_beyond_the_cap_of_accounts_nobody_passes_uncounted():
    ledger = MemoryLedger(max_accounts=2, clock=FrozenClock())
    (limit,) = parse_budget("100 tokens/day")
    for key in "ab":
        ledger.reserve([Line("n", limit, ("t", key))], [5], 600)
    with pytest.raises(Unavailable, match="no room"):
        ledger.reserve([Line("n", limit, ("t", "c"))], [5], 600)
    assert isinstance(ledger.reserve([Line("n", limit, ("t", "a"))], [5], 600), Reservation)
