from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from decimal import Decimal

import pytest

from aisecure import Call, Principal, Shield, protect
from aisecure.errors import InputRejected, QuotaExceeded, Unavailable
from aisecure.events import Usage
from aisecure.guard import Guard
from aisecure.quotas import (
    Budget,
    MemoryLedger,
    Price,
    Prices,
    RedisLedger,
    SqliteLedger,
    TokenBudget,
    parse_budget,
)
from aisecure.standing import collect_standings
from aisecure.storage import Storage
from aisecure.testing import CapturedEvents, FrozenClock

ANN, BOB = Principal("ann", tenant="acme"), Principal("bob", tenant="acme")
PRICES = Prices(
    {"small": Price("1", "4"), "large": Price("10", "40", cache_read="1", cache_write="12.5")},
    currency="USD",
    date="2026-01-01",
    source="a price list of this test",
)
REPLY = {"model": "m", "usage": {"prompt_tokens": 10, "completion_tokens": 20}}


def call(principal=ANN, text="hello", resource="model:m"):
    return Call(principal, "invoke", resource, text)


def used(budget, principal=ANN, resource="model:m"):
    budget.flush()
    return [standing.used for standing in budget.remaining(call(principal, resource=resource))]


def budget_of(*budgets, **options):
    options = {"count": len, "max_output_tokens": 100, "clock": FrozenClock()} | options
    return TokenBudget(*budgets or ("1000 tokens/day",), **options)


# -- the ways a call can end


def test_what_the_provider_reports_is_charged_and_the_rest_comes_back():
    budget = budget_of()
    held = []

    @budget.decorate("model:m")
    def ask(prompt):
        held.append(used(budget, Principal.anonymous())[0])
        return REPLY

    ask("hello")
    assert held[0] > 100
    assert used(budget, Principal.anonymous()) == [30]


@pytest.mark.parametrize(
    ("raised", "options", "charged"),
    [
        (ValueError(), {}, 0),
        (ValueError(), {"on_failure": "charge"}, "input"),
        (TimeoutError(), {}, "worst"),
        (KeyboardInterrupt(), {}, 0),
    ],
)
def test_a_call_that_failed_is_charged_for_what_it_may_have_cost(raised, options, charged):
    budget = budget_of(**options)
    worst = []

    @budget.decorate("model:m")
    def ask(prompt):
        worst.append(used(budget, Principal.anonymous())[0])
        raise raised

    with pytest.raises(type(raised)):
        ask("hello")
    expected = {"input": worst[0] - 100, "worst": worst[0]}.get(charged, charged)
    assert used(budget, Principal.anonymous()) == [expected]


def test_a_call_that_a_later_guard_refused_costs_nothing():
    class No(Guard):
        def before(self, call):
            raise QuotaExceeded

    budget, events = budget_of(), CapturedEvents()

    @Shield(budget, No(), sinks=[events]).protect("model:m")
    def ask(prompt):
        raise AssertionError("was called")

    with pytest.raises(QuotaExceeded):
        ask("hello")
    assert used(budget, Principal.anonymous()) == [0]


def test_an_answer_without_a_report_is_counted_and_said_to_be_an_estimate():
    events = CapturedEvents()
    budget = budget_of("1000 output tokens/day", events=events)

    @budget.decorate("model:m")
    def ask(prompt):
        return "four"

    ask("hello")
    assert used(budget, Principal.anonymous()) == [4]
    assert events.only("budget.estimated").detail["output_tokens"] == 4


def chunks(*texts):
    yield from texts


def test_a_stream_is_charged_for_what_came_also_when_the_reader_goes_away():
    budget = budget_of("1000 output tokens/day")

    @budget.decorate("model:m")
    def ask(prompt):
        yield from ("one", "two", "three")

    assert list(ask("hello")) == ["one", "two", "three"]
    assert used(budget, Principal.anonymous()) == [11]
    stream = ask("hello")
    next(stream)
    assert used(budget, Principal.anonymous()) == [111]
    stream.close()
    assert used(budget, Principal.anonymous()) == [14]
    dropped = ask("hello")
    next(dropped)
    del dropped
    gc.collect()
    assert used(budget, Principal.anonymous()) == [17]
    ask("never read")
    gc.collect()
    assert used(budget, Principal.anonymous()) == [17]


def test_usage_at_the_end_of_a_stream_is_charged():
    budget = budget_of()

    @budget.decorate("model:m")
    def ask(prompt):
        yield {"choices": [{"delta": {"content": "hi"}}]}
        yield {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}

    list(ask("hello"))
    assert used(budget, Principal.anonymous()) == [7]


def test_cancelled_tasks_settle():
    budget = budget_of()

    @budget.decorate("model:m")
    async def ask(prompt):
        await asyncio.Event().wait()

    @budget.decorate("model:m")
    async def stream(prompt):
        yield "four"
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(ask("hello"))
        await asyncio.sleep(0)
        worst = budget.remaining(call(Principal.anonymous()))[0].used
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert budget.remaining(call(Principal.anonymous()))[0].used == worst
        budget.reset(call(Principal.anonymous()))

        async def read():
            async for _ in stream("hello"):
                pass

        task = asyncio.create_task(read())
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return worst

    worst = asyncio.run(main())
    assert used(budget, Principal.anonymous()) == [worst - 96]
    assert not budget._open


# -- refusals


def test_a_call_whose_worst_case_does_not_fit_is_refused_and_told_when_to_come_back():
    clock = FrozenClock()
    budget = budget_of("250 output tokens/hour", clock=clock)
    one = [call() for _ in range(3)]
    assert [budget.before(each) for each in one[:2]] == [None, None]
    refused = budget.before(one[2])
    assert (refused.code, refused.allowed) == ("quota.budget", False)
    assert refused.reasons == (
        "The budget of 250 output tokens per hour has no room for the 100 output tokens that the call may use.",
    )
    clock.advance(refused.retry_after)
    assert budget.before(call()) is None


def test_a_call_that_can_never_fit_is_told_so():
    refused = budget_of("99 output tokens/hour").before(call())
    assert (refused.code, refused.retry_after) == ("quota.cost", None)


def test_levels_are_reserved_together_or_not_at_all():
    budget = budget_of(
        Budget("250 output tokens/day"),
        Budget("350 output tokens/day", by="tenant"),
        Budget("450 output tokens/day", by="model", across_tenants=True),
    )
    globex = Principal("gus", tenant="globex")
    assert [budget.before(call(who)) is None for who in (ANN, ANN, ANN)] == [True, True, False]
    assert [budget.before(call(who)) is None for who in (BOB, BOB)] == [True, False]
    assert [budget.before(call(who)) is None for who in (globex, globex)] == [True, False]
    assert used(budget, BOB) == [100, 300, 400]
    assert used(budget, globex) == [100, 100, 400]


def test_the_input_may_say_how_long_the_answer_can_be():
    budget = budget_of("1000 output tokens/day")
    budget.before(call(text={"messages": [{"role": "user", "content": "x"}], "max_tokens": 7}))
    assert used(budget) == [7]


def test_resources_without_a_budget_pass():
    budget = budget_of(Budget("1 tokens/day", by="model"))
    assert budget.before(call(resource="tool:t")) is None
    assert budget.remaining(call(resource="tool:t")) == []


# -- money


def test_money_is_exact_and_of_the_model_that_answered():
    budget = budget_of("1 USD/day", prices=PRICES, models={"model:bot": "small"}, max_output_tokens=1000)
    with budget.spend(call(resource="model:bot")) as spending:
        spending.usage = Usage(1, 1)
    assert used(budget, resource="model:bot") == [Decimal("0.000005")]

    @budget.decorate("model:bot")
    def ask(prompt):
        return {"model": "large", "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    events = CapturedEvents()
    budget._events = events
    ask("hello")
    assert used(budget, Principal.anonymous(), "model:bot") == [Decimal("0.014")]
    over = events.only("budget.overdrawn")
    assert over.detail["unit"] == "USD"
    assert Decimal(over.detail["amount"]) > 0


def test_a_prompt_that_goes_into_a_cache_is_within_what_was_reserved():
    budget = budget_of("1 USD/day", prices=PRICES, max_output_tokens=10)
    asked = call(text="x" * 1000, resource="model:large")
    assert budget.before(asked) is None
    held = used(budget, resource="model:large")[0]
    assert held >= PRICES["large"].cost(Usage(1000, 10, 0, 1000))


def test_a_model_without_a_price_is_refused():
    refused = budget_of("1 USD/day", prices=PRICES).before(call(resource="model:unheard-of"))
    assert refused.code == "quota.unpriced"
    assert "unheard-of" in refused.reasons[0]


def test_a_currency_that_the_prices_are_not_in_is_told_at_once():
    with pytest.raises(ValueError, match="counts EUR and the prices are in USD"):
        budget_of("1 EUR/day", prices=PRICES)


def test_the_shipped_prices_serve_where_none_are_given():
    model = next(iter(Prices.shipped()))
    assert budget_of("100 USD/day").before(call(resource=f"model:{model}")) is None


# -- telling


def test_warnings_are_told_once_a_window_and_soft_budgets_refuse_nothing():
    clock, events = FrozenClock(), CapturedEvents()
    budget = budget_of(
        Budget("100 output tokens/hour", soft=True),
        clock=clock,
        events=events,
        warn_at=0.5,
        max_output_tokens=40,
    )

    def spend(tokens):
        with budget.spend(call()) as spending:
            spending.usage = Usage(0, tokens)

    for _ in range(4):
        spend(40)
    assert events.types == ["budget.warning", "budget.exceeded"]
    assert events[1].detail == {
        "budget": "token_budget:principal", "unit": "output tokens", "limit": "100", "used": "120",
    }  # fmt: skip
    assert events[0].principal == "ann"
    clock.advance(3_700)
    spend(60)
    assert events.types == ["budget.warning", "budget.exceeded", "budget.overdrawn", "budget.warning"]


def test_what_remains_is_told_to_an_adapter_that_asks():
    budget = budget_of("300 output tokens/hour; 1 USD/day", prices=PRICES)
    with collect_standings() as seen:
        budget.before(call(resource="model:small"))
    assert [(told.unit, told.limit, told.remaining) for told in seen] == [
        ("output tokens", 300, 200),
        ("USD", 1, seen[1].remaining),
    ]
    assert seen[1].remaining < 1
    assert seen[1].to_dict()["limit"] == "1"


def test_expired_reservations_are_told():
    clock, events = FrozenClock(), CapturedEvents()
    budget = budget_of(clock=clock, events=events, ttl_seconds=30)
    budget.before(call())
    clock.advance(31)
    budget.before(call())
    assert events.only("budget.expired").detail == {"budget": "token_budget", "reservations": 1}


def test_what_expires_may_stay_charged():
    clock = FrozenClock()
    budget = budget_of(clock=clock, ttl_seconds=30, on_expiry="charge")
    budget.before(call())
    held = used(budget)
    clock.advance(3_600)
    assert used(budget) == held
    clock.advance(90_000)
    assert used(budget) == [0]


# -- many at once


def hammer(budget, rounds=20, threads=40):
    refused = []

    @budget.decorate("model:m")
    def ask(prompt):
        standing = budget.remaining(call(Principal.anonymous()))[0]
        assert standing.used <= 1000
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    def client():
        for _ in range(rounds):
            try:
                ask("x")
            except QuotaExceeded:
                refused.append(1)

    running = [threading.Thread(target=client) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return rounds * threads - len(refused)


def test_threads_never_hold_more_than_there_is_and_every_call_is_settled_once():
    budget = budget_of()
    passed = hammer(budget)
    assert used(budget, Principal.anonymous()) == [2 * passed]


def test_threads_and_processes_share_the_embedded_database(tmp_path):
    storage = Storage(tmp_path / "b.db")
    budget = budget_of(ledger=SqliteLedger(storage), clock=None)
    passed = hammer(budget, rounds=4, threads=8)
    assert used(budget, Principal.anonymous()) == [2 * passed]
    again = budget_of(ledger=SqliteLedger(Storage(tmp_path / "b.db")), clock=None)
    assert used(again, Principal.anonymous()) == [2 * passed]
    storage.close()


def test_two_hundred_clients_on_redis_never_hold_more_than_there_is(redis_server, redis_client):
    ledger = RedisLedger(redis_server.url, timeout_seconds=30, max_connections=8)
    budget = budget_of(ledger=ledger)
    most = []

    @budget.decorate("model:m")
    async def ask(prompt):
        most.append(1)
        await asyncio.sleep(0)
        most.pop()
        return {"usage": {"prompt_tokens": 1, "completion_tokens": 1}}

    async def main():
        answers = await asyncio.gather(*(ask("x") for _ in range(200)), return_exceptions=True)
        await ledger.aclose()
        return sum(isinstance(answer, dict) for answer in answers)

    passed = asyncio.run(main())
    assert passed >= 5
    assert used(budget, Principal.anonymous()) == [2 * passed]
    assert hammer(budget, rounds=2, threads=20)
    budget.close()


def test_a_reservation_and_a_settlement_are_one_round_trip_each(redis_server, redis_client):
    budget = budget_of(
        "90k tokens/day; 90k tokens/month",
        Budget("90k tokens/day", by="tenant"),
        ledger=RedisLedger(redis_server.url),
    )
    with budget.spend(call()):
        pass
    budget.flush()
    redis_client.config_resetstat()
    for _ in range(10):
        with budget.spend(call()) as spending:
            spending.usage = Usage(1, 1)
    budget.flush()
    calls = {name: facts["calls"] for name, facts in redis_client.info("commandstats").items()}
    assert calls["cmdstat_evalsha"] == 20
    keys = redis_client.keys()
    assert all(key.startswith(b"aisecure:b1:{acme}:") and b"ann" not in key for key in keys)
    assert all(redis_client.pttl(key) > 0 for key in keys)
    budget.close()


# -- trouble


def test_a_ledger_that_goes_away_between_reserving_and_settling_is_told_when_it_is_back(
    redis_server, redis_client
):
    events = CapturedEvents()
    budget = budget_of(ledger=RedisLedger(redis_server.url, timeout_seconds=0.5), events=events)
    redis_server.freeze()
    redis_server.thaw()
    with budget.spend(call()) as spending:
        spending.usage = Usage(3, 4)
        redis_server.freeze()
    try:
        budget.flush()
        assert budget.health()["unsettled"] == 1
        with pytest.raises(Unavailable):
            budget.before(call())
    finally:
        redis_server.thaw()
    assert events.types == ["budget.unsettled"]
    assert used(budget) == [7]
    assert budget.health()["unsettled"] == 0
    budget.close()


def test_keys_of_another_type_are_unavailable_and_never_a_pass(redis_server, redis_client):
    budget = budget_of(ledger=RedisLedger(redis_server.url))
    budget.before(call())
    for key in list(redis_client.scan_iter()):
        for damage in (
            lambda key=key: redis_client.set(key, "1"),
            lambda key=key: redis_client.rpush(key, "x"),
        ):
            kept = redis_client.dump(key)
            redis_client.delete(key)
            damage()
            with pytest.raises(Unavailable):
                budget.before(call())
            redis_client.restore(key, 0, kept, replace=True)
    redis_client.script_flush()
    assert budget.before(call()) is None
    budget.close()


def test_a_damaged_row_is_unavailable(tmp_path):
    storage = Storage(tmp_path / "b.db")
    budget = budget_of(ledger=SqliteLedger(storage))
    budget.before(call())
    for damage in ("{", "[]", '{"v": 2}', '{"v": 1, "buckets": [["x"]], "held": [], "settled": []}'):
        storage.execute("UPDATE quotas_budget SET data = ?", (damage,))
        with pytest.raises(Unavailable):
            budget.before(call())
    storage.close()


KILLED = """
import os, signal, sys
from aisecure import Call, Principal
from aisecure.quotas import *
from aisecure.storage import Storage
ledger = RedisLedger(sys.argv[1]) if sys.argv[1].startswith("unix:") else SqliteLedger(Storage(sys.argv[1]))
budget = TokenBudget("1000 output tokens/day", ledger=ledger, max_output_tokens=400, ttl_seconds=float(sys.argv[2]))
assert budget.before(Call(Principal("ann", tenant="acme"), "invoke", "model:m", "x")) is None
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("where", ["sqlite", "redis"])
def test_what_a_killed_process_held_comes_back(where, tmp_path, request):
    place = str(tmp_path / "b.db")
    if where == "redis":
        request.getfixturevalue("redis_client")
        place = request.getfixturevalue("redis_server").url
    for ttl, expected in (("0.001", 0), ("600", 400)):
        command = [sys.executable, "-c", KILLED, place, ttl]
        assert subprocess.run(command, check=False).returncode == -signal.SIGKILL
        ledger = RedisLedger(place) if where == "redis" else SqliteLedger(Storage(place))
        budget = budget_of("1000 output tokens/day", ledger=ledger)
        assert used(budget) == [expected]
        budget.close()


def test_a_stream_that_is_collected_while_the_ledger_is_busy_is_settled_after_it():
    ledger = MemoryLedger(clock=FrozenClock())
    budget = budget_of("1000 output tokens/day", ledger=ledger)
    asked = call()
    budget.before(asked)
    spending = budget._open[asked.id]
    with ledger._turn():
        ledger.settle(spending.reservation, [7])  # as the collector does, in the thread that holds the lock
    assert used(budget) == [7]


def test_a_forked_child_settles_what_it_reserves(redis_server, redis_client):
    budget = budget_of("1000 output tokens/day", ledger=RedisLedger(redis_server.url))
    with budget.spend(call()) as spending:
        spending.usage = Usage(0, 1)
    budget.flush()
    child = os.fork()
    if not child:
        try:
            with budget.spend(call()) as spending:
                spending.usage = Usage(0, 5)
            budget.flush()
            os._exit(0)
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert used(budget) == [6]
    budget.close()


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("", "is no budget"),
        ("200k tokens", "is no budget"),
        ("0 tokens/day", "above nothing"),
        ("0.5 tokens/day", "no part of a token"),
        ("-1 tokens/day", "is no budget"),
        ("1e9 tokens/day", "is no budget"),
        ("NaN USD/day", "is no budget"),
        ("50 usd/month", "is no budget"),
        ("9999999999999 tokens/fortnight", "is no budget"),
        ("10000000 USD/month", "9 million"),
        ("9999999999B tokens/day", "9 quadrillion"),
        ("1 USD/11 years", "period is from 1"),
        ("x" * 2_000, "at most 1000 characters"),
        ("1 USD/0 day", "period is from 1|is no budget"),
    ],
)
def test_nonsense_budgets_are_told_at_once(text, error):
    with pytest.raises(ValueError, match=error):
        TokenBudget(text, prices=PRICES)


@pytest.mark.parametrize(
    ("budgets", "options", "error"),
    [
        ((), {}, ValueError),
        ((7,), {}, TypeError),
        ((b"1 tokens/day",), {}, TypeError),
        (("1 tokens/day", "1 tokens/day"), {}, ValueError),
        (("1 tokens/day",), {"max_output_tokens": -1}, ValueError),
        (("1 tokens/day",), {"warn_at": 2}, ValueError),
        (("1 tokens/day",), {"ttl_seconds": 0}, ValueError),
        (("1 tokens/day",), {"ttl_seconds": float("nan")}, ValueError),
        (("1 tokens/day",), {"ledger": object()}, TypeError),
        (("1 tokens/day",), {"on_failure": "x"}, ValueError),
        (("1 tokens/day",), {"by": "nobody"}, ValueError),
        (("1 tokens/5 days",), {"window": "calendar"}, ValueError),
        (("1 tokens/day",), {"window": "moon"}, ValueError),
    ],
)
def test_nonsense_settings_are_told_at_once(budgets, options, error):
    with pytest.raises(error):
        TokenBudget(*budgets, **options)


def test_notations_say_what_they_say():
    assert [str(one) for one in parse_budget("1.5M input tokens per 5 hours, 50.25 USD/month")] == [
        "1500000 input tokens per 5 hours",
        "50.25 USD per month",
    ]
    assert str(parse_budget("2 tokens/day", window="calendar")[0]) == "2 tokens per calendar day"


def test_inputs_of_any_kind_are_bounded():
    budget = budget_of("5M tokens/day", count=lambda text: len(text.encode("utf-8", "surrogatepass")))
    nested: list = []
    for _ in range(100_000):
        nested = [nested]
    cyclic: list = []
    cyclic.append(cyclic)
    for value in ("x" * 2_000_000, b"\xff" * 2_000_000, "\ud800\0", None, 7, {"a": object()}, nested, cyclic):
        with suppress(ValueError, InputRejected):  # too deep, or no input at all: refused by name
            verdict = budget.before(call(text=value))
            assert verdict is None or not verdict.allowed
        budget.reset(call())


def test_nothing_that_was_asked_or_answered_reaches_an_event_or_a_text():
    events = CapturedEvents()
    budget = budget_of("1000 tokens/day", events=events, warn_at=0.01)
    ask = protect(budget, resource="model:m", events=events)(lambda prompt: "marker-out")
    ask("marker-in")
    with pytest.raises(QuotaExceeded) as error:
        ask("marker-in" * 1000)
    told = repr([event.to_dict() for event in events]) + str(error.value) + repr(budget) + repr(budget.ledger)
    assert "marker" not in told
