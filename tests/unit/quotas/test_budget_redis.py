"""Budgets on a real Redis server: one round trip, exact under many clients, and every way in which it can fail."""

from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import threading
from contextlib import suppress

import pytest
from tests.unit.quotas.cluster import Cluster

from aisecure.call import acting_as
from aisecure.errors import QuotaExceeded, Unavailable
from aisecure.principal import Principal
from aisecure.quotas import Budget, BudgetLimit, RedisLedger, TokenBudget
from aisecure.quotas.budgets import Account, Bill, Line, Reservation
from aisecure.testing import capture_events

PROMPT, HELD = "0123456789", 10 + 64 + 8 + 18


@pytest.fixture
def ledger(redis_server, redis_client):
    made = RedisLedger(redis_server.url, timeout_seconds=5)
    yield made
    made.close()


@pytest.fixture
def brisk(redis_server, redis_client):
    """Return a ledger that does not wait long for its server."""
    made = RedisLedger(redis_server.url, timeout_seconds=0.1)
    yield made
    made.close()


@pytest.fixture
def events():
    return capture_events()


def account(name="u-17", amount=1000, tenant="acme"):
    return Account("budget", (tenant, "principal", name), BudgetLimit("tokens", amount, 86_400))


def used(given, taken):
    return {"usage": {"prompt_tokens": given, "completion_tokens": taken}}


def commands(client):
    return {name: facts["calls"] for name, facts in client.info("commandstats").items()}


def stands(budget, **who):
    assert budget.ledger.flush()
    return [(one.used - one.reserved, one.reserved) for one in budget.remaining(**who)]


def test_to_hold_and_to_book_is_one_round_trip_each_whatever_the_number_of_budgets(ledger, redis_client):
    budget = TokenBudget(
        Budget("5k tokens/minute; 50k tokens/day; 1M tokens/month"),
        Budget("5M tokens/day", by="tenant", window="calendar"),
        Budget("50M tokens/day", by="tenant", across_tenants=True),
        ledger=ledger,
    )
    ask = budget(lambda prompt: used(5, 5))
    ask(PROMPT)
    ledger.flush()
    redis_client.config_resetstat()
    for _ in range(10):
        ask(PROMPT)
        ledger.flush()
    assert commands(redis_client)["cmdstat_evalsha"] == 20
    assert "cmdstat_eval" not in commands(redis_client)
    # Two of the reads are this test's own.
    assert redis_client.info("stats")["total_reads_processed"] <= 23


def test_bills_that_come_at_once_go_together(ledger, redis_client):
    reservations = [Reservation.of([Line(account(), 1)]) for _ in range(64)]
    for reservation in reservations:
        ledger.reserve(reservation)
    redis_client.config_resetstat()
    ledger.settle([Bill(reservation, (1,)) for reservation in reservations])
    assert commands(redis_client)["cmdstat_evalsha"] == 1
    assert ledger.balances([account()])[0][:2] == (64, 0)


def test_keys_name_tenant_and_version_expire_and_tell_nobodys_name(ledger, redis_client):
    budget = TokenBudget("1000 tokens/day", ledger=ledger)
    with budget.spend(Principal("alice@example.com", tenant="acme"), input_tokens=5, max_output_tokens=5):
        (books, holds) = sorted(redis_client.keys())
    ledger.flush()
    assert books.startswith(b"aisecure:b1:{acme}:")
    assert holds == books + b":h"
    assert b"alice" not in books
    assert len(holds) < 90
    assert 0 < redis_client.pttl(books) <= (86_400 + 1_440 + 600 + 2) * 1000
    assert b"alice" not in repr(redis_client.hgetall(books)).encode()


def test_a_refused_call_leaves_no_key(ledger, redis_client):
    with pytest.raises(QuotaExceeded):
        TokenBudget(
            "1000 tokens/day", Budget("50 tokens/day", by="tenant"), ledger=ledger, max_output_tokens=10
        )(lambda prompt: used(0, 0))(PROMPT)
    reservation = Reservation.of([Line(account(), 500), Line(account("full", 10), 11)])
    assert not ledger.reserve(reservation).held
    assert redis_client.keys() == []


# -- many at once


def test_two_hundred_threads_and_two_hundred_tasks_never_exceed_a_limit(ledger, redis_server):
    budget = TokenBudget("3000 tokens/day", ledger=ledger, max_output_tokens=18)
    running, most, served = 0, 0, 0
    lock = threading.Lock()

    def begin(step):
        nonlocal running, most, served
        with lock:
            running += step
            most = max(most, running)
            served += step > 0

    @budget
    def ask(prompt):
        begin(1)
        threading.Event().wait(0.0005)
        begin(-1)
        return used(8, 2)

    @budget
    async def aask(prompt):
        begin(1)
        await asyncio.sleep(0)
        begin(-1)
        return used(8, 2)

    def caller():
        for _ in range(2):
            with suppress(QuotaExceeded):
                ask(PROMPT)

    async def acaller():
        for _ in range(2):
            with suppress(QuotaExceeded):
                await aask(PROMPT)

    async def callers():
        await asyncio.gather(*(acaller() for _ in range(200)))
        await ledger.aclose()

    threads = [threading.Thread(target=caller) for _ in range(200)]
    tasks = threading.Thread(target=lambda: asyncio.run(callers()))
    for thread in [*threads, tasks]:
        thread.start()
    for thread in [*threads, tasks]:
        thread.join()
    # Each call on its way holds 100 of 3000, and leaves 10.
    assert most <= 30
    assert stands(budget) == [(10 * served, 0)]
    assert 0 < served <= 291


CLIENT = """
import sys, time
from aisecure.errors import QuotaExceeded
from aisecure.quotas import RedisLedger, TokenBudget
ledger = RedisLedger(sys.argv[1], timeout_seconds=30)
budget = TokenBudget("100k tokens/day", ledger=ledger, max_output_tokens=18)
ask = budget(lambda prompt: {"usage": {"prompt_tokens": 30, "completion_tokens": 7}})
served = 0
for _ in range(int(sys.argv[2])):
    try:
        ask("0123456789")
        served += 1
    except QuotaExceeded:
        pass
budget.close()
print(served)
"""


@pytest.mark.proof
def test_eight_processes_spend_a_budget_to_its_end_and_not_beyond(redis_server, redis_client, ledger):
    command = [sys.executable, "-c", CLIENT, redis_server.url, "600"]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    served = sum(int(one.communicate()[0]) for one in running)
    budget = TokenBudget("100k tokens/day", ledger=ledger, max_output_tokens=18)
    assert stands(budget) == [(37 * served, 0)]
    # The last call that was let in found room for 100.
    assert 100_000 - 8 * HELD <= 37 * served <= 100_000


def test_a_killed_process_leaves_a_hold_that_expires(redis_server, redis_client, ledger):
    program = CLIENT.replace(
        'lambda prompt: {"usage": {"prompt_tokens": 30, "completion_tokens": 7}}', "die"
    ).replace("served = 0", "served = 0", 1)
    program = "import os, signal\ndef die(prompt): os.kill(os.getpid(), signal.SIGKILL)\n" + program
    subprocess.run([sys.executable, "-c", program, redis_server.url, "1"], check=False)
    budget = TokenBudget("100k tokens/day", ledger=ledger, max_output_tokens=18)
    assert stands(budget) == [(0, HELD)]
    (holds,) = (key for key in redis_client.scan_iter() if key.endswith(b":h"))
    ((member, deadline),) = redis_client.zrange(holds, 0, -1, withscores=True)
    seconds, micros = redis_client.time()
    assert 590e6 < deadline - (seconds * 1e6 + micros) <= 600e6
    redis_client.zadd(holds, {member: 1})
    assert stands(budget) == [(0, 0)]


# -- asynchronous code


def test_a_call_in_a_coroutine_blocks_the_loop_neither_before_nor_after(ledger, redis_client):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=18)

    @budget
    async def ask(prompt):
        assert [one.reserved for one in await budget.aremaining()] == [HELD]
        return used(8, 2)

    @budget
    async def stream(prompt):
        yield used(8, 2)

    async def main():
        await ask(PROMPT)
        assert [chunk async for chunk in stream(PROMPT)]
        assert [one.used for one in await budget.aremaining()] == [20]
        await ledger.aclose()

    asyncio.run(main())
    assert stands(budget) == [(20, 0)]


def test_a_task_that_is_cancelled_while_it_asks_gives_back_what_it_may_hold(
    brisk, redis_server, redis_client
):
    budget = TokenBudget("1000 tokens/day", ledger=brisk, max_output_tokens=18)

    @budget
    async def ask(prompt):
        raise AssertionError

    async def main():
        await budget.aremaining()
        redis_server.freeze()
        try:
            task = asyncio.create_task(ask(PROMPT))
            for _ in range(5):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        finally:
            redis_server.thaw()
        await brisk.aclose()

    asyncio.run(main())
    assert not budget._calls
    assert stands(budget) == [(0, 0)]


def test_a_dropped_stream_is_booked_wherever_the_collector_finds_it(ledger):
    budget = TokenBudget("10k tokens/day", ledger=ledger, max_output_tokens=18)

    @budget
    def ask(prompt):
        yield "four"
        yield "more"

    for _ in range(20):
        chunks = ask(PROMPT)
        next(chunks)
        circle = [chunks]
        circle.append(circle)
        del chunks, circle
    gc.collect()
    assert stands(budget) == [(20 * (HELD - 18 + 4), 0)]


def test_a_forked_child_books_its_own_calls_and_none_of_its_parent(ledger):
    budget = TokenBudget("10k tokens/day", ledger=ledger, max_output_tokens=18)
    ask = budget(lambda prompt: used(8, 2))
    ask(PROMPT)
    with budget.spend(input_tokens=50, max_output_tokens=50):
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert not budget._calls
                ask(PROMPT)
                status = 0 if ledger.flush() else 2
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert stands(budget) == [(20, 100)]
    assert stands(budget) == [(120, 0)]


# -- failures


def test_scripts_flushed_are_sent_again(ledger, redis_client):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=18)

    @budget
    def ask(prompt):
        redis_client.script_flush()
        return used(8, 2)

    ask(PROMPT)
    ask(PROMPT)
    assert stands(budget) == [(20, 0)]


@pytest.mark.parametrize("which", [0, 1])
def test_keys_of_another_type_are_unavailable_and_never_a_pass(ledger, redis_client, which):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=18)
    ask = budget(lambda prompt: used(8, 2))
    with budget.spend(input_tokens=1, max_output_tokens=1):
        key = sorted(redis_client.keys())[which]
    ledger.flush()
    for damage in (
        lambda: redis_client.set(key, "x"),
        lambda: redis_client.hset(key, mapping={"u": "many", "h": "1", "c": "1"}),
        lambda: redis_client.zadd(key, {"nonsense": 1}),
    ):
        redis_client.delete(key)
        damage()
        with pytest.raises(Unavailable) as error:
            ask(PROMPT)
        assert error.value.code == "unavailable.quota"
    redis_client.delete(key)
    ledger.flush()
    ask(PROMPT)


def test_a_full_server_refuses_and_what_could_not_be_booked_is_booked_later(ledger, redis_client, events):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=18, events=events)
    ask = budget(lambda prompt: used(8, 2))
    spending = budget.spend(input_tokens=50, max_output_tokens=50)
    with spending:
        redis_client.config_set("maxmemory", 1)
        try:
            with pytest.raises(Unavailable):
                ask(PROMPT)
        finally:
            redis_client.config_set("maxmemory", 0)
    assert stands(budget) == [(100, 0)]


def test_a_server_that_hangs_stops_nobody_and_what_it_missed_is_booked_when_it_answers(
    brisk, redis_server, redis_client, events
):
    budget = TokenBudget("1000 tokens/day", ledger=brisk, max_output_tokens=18, events=events)

    @budget
    async def ask(prompt):
        redis_server.freeze()
        return used(8, 2)

    async def main():
        await ask(PROMPT)
        with pytest.raises(Unavailable):
            await ask(PROMPT)
        await brisk.connections.aclose()

    try:
        asyncio.run(main())
        assert not brisk.flush(0.3)
        assert brisk.pending
    finally:
        redis_server.thaw()
    assert stands(budget) == [(10, 0)]
    assert events.only("budget.charged").usage.input_tokens == 8
    unsettled = events.of_type("budget.unsettled")
    assert unsettled
    assert {event.detail["reason"] for event in unsettled} == {"unreachable"}


def test_a_server_that_lost_its_data_says_that_it_knows_nothing_of_the_call(
    ledger, redis_server, redis_client, events
):
    budget = TokenBudget("1000 tokens/day", ledger=ledger, max_output_tokens=18, events=events)

    @budget
    def ask(prompt):
        redis_server.kill()
        redis_server.start()
        return used(8, 2)

    ask(PROMPT)
    assert stands(budget) == [(0, 0)]
    assert events.only("budget.unsettled").detail["reason"] == "late"


def test_a_bill_that_can_never_be_booked_holds_up_no_other(ledger, redis_client):
    good, bad = account("good"), account("bad")
    reservations = [Reservation.of([Line(each, 50)]) for each in (bad, good, good)]
    for reservation in reservations:
        ledger.reserve(reservation)
    for key in list(redis_client.scan_iter()):
        if key.endswith(b":h") and redis_client.zcard(key) == 1:
            redis_client.delete(key)
            redis_client.set(key, "x")
    for reservation in reservations:
        ledger.post(Bill(reservation, (10,)), lambda _: None)
    for _ in range(4):
        ledger.flush()
    assert ledger.balances([good])[0][:2] == (20, 0)
    assert ledger.pending


def test_bills_beyond_what_may_wait_are_let_go_and_told(redis_client):
    from aisecure.quotas.budgets.courier import Courier

    def settle(bills):
        raise Unavailable("down")

    told = []
    courier = Courier(settle, most=5)
    reservation = Reservation.of([Line(account(), 1)])
    for n in range(8):
        courier.post(Bill(reservation, (n,)), lambda what, n=n: told.append((n, type(what).__name__)))
    courier.flush()
    assert [n for n, what in told if what == "DroppedError"] == [0, 1, 2]
    assert {n for n, what in told if what == "Unavailable"} == {3, 4, 5, 6, 7}


def test_the_end_of_a_program_books_what_is_left(redis_server, redis_client, ledger):
    program = CLIENT.replace("budget.close()\n", "")
    subprocess.run(
        [sys.executable, "-c", program, redis_server.url, "3"], check=True, stdout=subprocess.DEVNULL
    )
    budget = TokenBudget("100k tokens/day", ledger=ledger, max_output_tokens=18)
    assert stands(budget) == [(3 * 37, 0)]


def test_a_thread_ends_with_its_ledger(redis_server, redis_client):
    before = set(threading.enumerate())
    ledger = RedisLedger(redis_server.url)
    ledger.reserve(Reservation.of([Line(account(), 1)]))
    (thread,) = set(threading.enumerate()) - before
    ledger.connections.close()
    del ledger
    gc.collect()
    thread.join(10)
    assert not thread.is_alive()


# -- a Cluster


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    yield cluster
    cluster.stop()


def test_on_a_cluster_what_a_tenant_held_is_given_back_when_all_tenants_together_have_no_room(cluster):
    ledger = RedisLedger(cluster.url, timeout_seconds=5)
    budget = TokenBudget(
        Budget("1000 tokens/day"), Budget("1000 tokens/day", by="tenant", across_tenants=True), ledger=ledger
    )
    for tenant in ("acme", "other"):
        with acting_as(Principal("u", tenant=tenant)):
            assert stands(budget)[0] == (0, 0)
            with (
                budget.spend(input_tokens=600, max_output_tokens=0)
                if tenant == "acme"
                else pytest.raises(QuotaExceeded)
            ):
                if tenant == "other":
                    with budget.spend(input_tokens=600, max_output_tokens=0):
                        raise AssertionError
            assert stands(budget) == ([(600, 0), (600, 0)] if tenant == "acme" else [(0, 0), (600, 0)])
    budget.close()
