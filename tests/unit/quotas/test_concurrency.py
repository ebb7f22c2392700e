from __future__ import annotations

import asyncio
import gc
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest

from aisecure import Principal, Shield
from aisecure.call import Call, acting_as
from aisecure.decisions import Decision
from aisecure.errors import Denied, QuotaExceeded, Unavailable
from aisecure.guard import Ending, Guard
from aisecure.quotas import Concurrency, Occupancy
from aisecure.testing import CapturedEvents

ALICE, BOB = Principal("alice"), Principal("bob")
#: Longer than any test runs: who waits so long has been forgotten.
LONG = 60.0


def call(principal=ALICE, resource="model:chat"):
    return Call(principal, "invoke", resource)


def code_of(verdict):
    return verdict and verdict.code


def leave(guard, left):
    guard.settle(left, Ending("call.allowed"))


def until(condition, limit=10.0):
    """Wait for something another thread does, which nothing announces."""
    done = threading.Event()
    for _ in range(int(limit / 0.001)):
        if condition():
            return
        done.wait(0.001)
    raise AssertionError("it did not happen")


async def auntil(condition):
    for _ in range(10_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not happen")


def idle(guard):
    return guard.health() == {"ok": True, "keys": 0, "in_use": 0, "waiting": 0}


# -- slots and keys


def test_each_principal_has_slots_of_its_own_inside_its_tenant():
    guard = Concurrency(1)
    calls = [call(ALICE), call(BOB), call(Principal("alice", tenant="acme")), call(ALICE)]
    assert [code_of(guard.before(each)) for each in calls] == [None, None, None, "quota.concurrency"]
    leave(guard, calls[0])
    assert guard.before(call(ALICE)) is None


def test_by_model_all_callers_of_a_tenant_share_and_tools_are_not_concerned():
    guard = Concurrency(1, by="model")
    assert guard.before(call(ALICE)) is None
    assert code_of(guard.before(call(BOB))) == "quota.concurrency"
    assert guard.before(call(BOB, "model:other")) is None
    assert not guard.applies("tool:search")


def test_by_several_names_each_combination_has_slots():
    guard = Concurrency(1, by=("principal", "model"))
    calls = [call(ALICE), call(ALICE, "model:other"), call(BOB), call(ALICE)]
    assert [guard.before(each) is None for each in calls] == [True, True, True, False]


def test_a_refused_call_holds_nothing_and_settling_it_frees_nothing():
    guard = Concurrency(1)
    held, refused = call(), call()
    guard.before(held)
    guard.before(refused)
    leave(guard, refused)
    assert guard.standing("principal", "alice") == Occupancy(1, 0)


def test_a_call_that_is_settled_twice_frees_one_slot():
    guard = Concurrency(2)
    first, second = call(), call()
    guard.before(first)
    guard.before(second)
    leave(guard, first)
    leave(guard, first)
    assert guard.standing("principal", "alice").in_use == 1


def test_a_guard_that_stands_twice_in_a_shield_takes_one_slot():
    guard = Concurrency(1)

    @Shield(guard, guard).protect("model:chat")
    def ask(prompt):
        return guard.health()["in_use"]

    assert ask("x") == 1
    assert idle(guard)


def test_idle_keys_cost_nothing_and_busy_ones_are_bounded():
    guard = Concurrency(1, max_keys=2)
    for number in range(100):
        each = call(Principal(f"u-{number}"))
        assert guard.before(each) is None
        leave(guard, each)
    assert idle(guard)
    guard.before(call(ALICE))
    guard.before(call(BOB))
    with pytest.raises(QuotaExceeded, match="More callers are busy") as error:
        guard.before(call(Principal("carol")))
    assert error.value.code == "quota.concurrency"
    assert code_of(guard.before(call(ALICE))) == "quota.concurrency"


@pytest.mark.parametrize("name", ["x" * 1_000_000, "\x00", "\ud800", "a\nb"])
def test_callers_of_any_name_have_a_slot_each(name):
    guard = Concurrency(1, queue=1, wait_seconds=0.001)
    held = call(Principal(name))
    assert guard.before(held) is None
    assert code_of(guard.before(call(Principal(name)))) == "quota.concurrency"
    assert guard.before(call(Principal(name + "x"))) is None
    assert sum(len(str(key)) for key in guard._slots.lines) < 1000
    leave(guard, held)
    assert guard.before(call(Principal(name))) is None


@pytest.mark.parametrize("key", [None, 1.5, (), ("a", None), [1]])
def test_a_function_that_gives_no_key_lets_nobody_through(key):
    guard = Concurrency(1, by=lambda call: key)

    @guard
    def ask(prompt):
        raise AssertionError("was let through")

    with pytest.raises(Unavailable):
        ask("hello")
    assert idle(guard)


def test_a_broken_function_for_parties_refuses_and_leaks_nothing():
    guard = Concurrency(1, queue=1, wait_seconds=LONG, fair_by=lambda call: 1 / 0)

    @guard
    def ask(prompt):
        with pytest.raises(Unavailable):
            ask("again")
        return "done"

    assert ask("x") == "done"
    assert idle(guard)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"slots": 0}, "slots is at least 1"),
        ({"slots": -1}, "slots is at least 1"),
        ({"slots": 1, "queue": -1}, "queue is at least 0"),
        ({"slots": 1, "max_keys": 0}, "max_keys is at least 1"),
        ({"slots": 1, "queue": 1}, "needs wait_seconds"),
        ({"slots": 1, "wait_seconds": 1}, "without a queue"),
        ({"slots": 1, "queue": 1, "wait_seconds": 0}, "above 0"),
        ({"slots": 1, "queue": 1, "wait_seconds": float("nan")}, "finite"),
        ({"slots": 1, "queue": 1, "wait_seconds": float("inf")}, "finite"),
        ({"slots": 1, "queue": 1, "wait_seconds": 1e300}, "finite"),
        ({"slots": 1, "by": "user"}, "by is one of"),
        ({"slots": 1, "fair_by": "user"}, "by is one of"),
    ],
)
def test_nonsense_is_said_at_once(arguments, error):
    with pytest.raises(ValueError, match=error):
        Concurrency(**arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"slots": 1.0}, {"slots": True}, {"slots": "2"}, {"slots": 1, "queue": 1, "wait_seconds": "1"}, {"slots": 1, "queue": 1.5}],
)  # fmt: skip
def test_wrong_types_are_said_at_once(arguments):
    with pytest.raises(TypeError):
        Concurrency(**arguments)


# -- the four kinds of callables


def test_a_function_holds_its_slot_while_it_runs_also_when_it_raises():
    guard = Concurrency(1)

    @guard
    def ask(prompt, *, fail=False):
        assert guard.health()["in_use"] == 1
        if fail:
            raise LookupError
        return prompt

    assert ask("x") == "x"
    with pytest.raises(LookupError):
        ask("x", fail=True)
    assert idle(guard)


def test_a_coroutine_holds_its_slot_while_it_runs_and_when_cancelled_no_longer():
    guard = Concurrency(1)

    async def main():
        begun, forever = asyncio.Event(), asyncio.Event()

        @guard
        async def ask(prompt):
            begun.set()
            await forever.wait()

        task = asyncio.create_task(ask("x"))
        await begun.wait()
        with pytest.raises(QuotaExceeded):
            await ask("y")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert idle(guard)

    asyncio.run(main())


@pytest.mark.parametrize("ending", ["exhausted", "closed", "dropped", "failed", "unread"])
def test_a_generator_holds_its_slot_until_it_ends(ending):
    guard = Concurrency(1)

    @guard
    def words(prompt):
        yield "a"
        if ending == "failed":
            raise LookupError
        yield "b"

    stream = words("x")
    if ending == "unread":
        assert idle(guard)
        del stream
    else:
        assert next(stream) == "a"
        assert guard.health()["in_use"] == 1
        with pytest.raises(QuotaExceeded):
            next(words("y"))
        if ending == "exhausted":
            assert list(stream) == ["b"]
        elif ending == "closed":
            stream.close()
        elif ending == "failed":
            with pytest.raises(LookupError):
                next(stream)
        else:
            del stream
    assert idle(guard)


@pytest.mark.parametrize("ending", ["exhausted", "closed", "dropped", "failed", "unread", "cancelled"])
def test_an_async_generator_holds_its_slot_until_it_ends(ending):
    guard = Concurrency(1)

    async def main():
        at_b = asyncio.Event()

        @guard
        async def words(prompt):
            yield "a"
            if ending == "failed":
                raise LookupError
            if ending == "cancelled":
                at_b.set()
                await asyncio.Event().wait()
            yield "b"

        async def read(stream):
            return [word async for word in stream]

        stream = words("x")
        if ending == "unread":
            del stream
            assert idle(guard)
            return
        assert await anext(stream) == "a"
        with pytest.raises(QuotaExceeded):
            await anext(words("y"))
        if ending == "exhausted":
            assert await read(stream) == ["b"]
        elif ending == "closed":
            await stream.aclose()
        elif ending == "failed":
            with pytest.raises(LookupError):
                await read(stream)
        elif ending == "cancelled":
            task = asyncio.create_task(read(stream))
            await at_b.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            del stream
            gc.collect()
            await auntil(lambda: idle(guard))
        assert idle(guard)

    asyncio.run(main())


def test_a_function_that_returns_a_stream_holds_its_slot_until_that_ends():
    guard = Concurrency(1)

    @guard
    def words(prompt):
        return iter(["a", "b"])

    stream = words("x")
    assert guard.health()["in_use"] == 1
    assert list(stream) == ["a", "b"]
    assert idle(guard)
    dropped = words("x")
    del dropped
    assert idle(guard)


def test_a_later_guard_that_refuses_gives_the_slot_back():
    class No(Guard):
        name = "no"

        def before(self, call):
            return Decision.deny("access.denied")

    guard, events = Concurrency(1), CapturedEvents()

    @Shield(guard, No(), sinks=[events]).protect("model:chat")
    def ask(prompt):
        raise AssertionError("was let through")

    for _ in range(3):
        with pytest.raises(Denied, match="lacks the permission"):
            ask("x")
    assert [event.code for event in events] == ["access.denied"] * 3
    assert idle(guard)


def test_in_shadow_mode_everybody_passes_and_it_is_told_who_would_not_have():
    guard, events = Concurrency(1, queue=1, wait_seconds=LONG, shadow=True), CapturedEvents()
    shield = Shield(guard, sinks=[events])

    @shield.protect("model:chat")
    def ask(depth):
        return ask(depth - 1) if depth else guard.health()["in_use"]

    assert ask(3) == 4
    assert idle(guard)
    # The second would have waited; the third and fourth would have found the queue full.
    assert [event.code for event in events.of_type("guard.would_deny")] == ["quota.concurrency"] * 2


# -- waiting


def test_without_a_queue_nobody_waits():
    guard = Concurrency(1)
    with guard.slot("k"), pytest.raises(QuotaExceeded) as error, guard.slot("k"):
        raise AssertionError("was let through")
    assert (error.value.code, error.value.status) == ("quota.concurrency", 429)
    assert idle(guard)


def test_a_thread_waits_until_a_slot_is_free():
    guard = Concurrency(1, queue=1, wait_seconds=LONG)
    with ThreadPoolExecutor(1) as pool:
        with guard.slot("k"):
            got = pool.submit(enter_and_leave, guard, "k")
            until(lambda: guard.standing("k") == Occupancy(1, 1))
            assert not got.done()
        assert got.result(10) == "ok"
    assert idle(guard)


def enter_and_leave(guard, *key, **options):
    try:
        with guard.slot(*key, **options):
            return "ok"
    except QuotaExceeded as err:
        return err.code


def test_a_thread_that_waits_too_long_is_refused():
    guard = Concurrency(1, queue=1, wait_seconds=0.01)
    with guard.slot("k"):
        assert enter_and_leave(guard, "k") == "quota.concurrency"
    assert idle(guard)


def test_a_task_that_waits_too_long_is_refused():
    guard = Concurrency(1, queue=1, wait_seconds=0.01)

    async def main():
        async with guard.slot("k"):
            with pytest.raises(QuotaExceeded, match=r"within 0[.]01 seconds"):
                await guard.slot("k").__aenter__()
            assert guard.standing("k") == Occupancy(1, 0)

    asyncio.run(main())
    assert idle(guard)


def test_one_who_asks_for_a_second_slot_of_a_full_key_is_refused_at_the_deadline():
    guard = Concurrency(1, queue=5, wait_seconds=0.01)

    @guard
    def ask(prompt):
        return ask(prompt)

    with pytest.raises(QuotaExceeded):
        ask("x")
    assert idle(guard)


def test_plain_code_in_the_thread_of_an_event_loop_is_refused_instead_of_stopping_the_loop():
    guard = Concurrency(1, queue=1, wait_seconds=LONG)

    @guard
    def ask(prompt):
        return prompt

    async def main():
        assert ask("x") == "x"
        async with guard.slot("principal", ""):
            pass
        held = call(Principal.anonymous())
        assert await guard.abefore(held) is None
        with pytest.raises(QuotaExceeded):
            ask("y")
        with pytest.raises(QuotaExceeded), guard.slot("source", ""):
            raise AssertionError("was let through")
        leave(guard, held)

    asyncio.run(main())
    assert idle(guard)


def test_a_full_queue_refuses_and_a_heavy_party_makes_room_for_a_light_one():
    guard = Concurrency(1, queue=2, wait_seconds=LONG)
    with ThreadPoolExecutor(4) as pool:
        with guard.slot("k"):
            first = pool.submit(enter_and_leave, guard, "k", party="heavy")
            until(lambda: guard.standing("k").waiting == 1)
            second = pool.submit(enter_and_leave, guard, "k", party="heavy")
            until(lambda: guard.standing("k").waiting == 2)
            assert enter_and_leave(guard, "k", party="heavy") == "quota.queue_full"
            light = pool.submit(enter_and_leave, guard, "k", party="light")
            assert second.result(10) == "quota.queue_full"
            assert guard.standing("k") == Occupancy(1, 2)
        assert (first.result(10), light.result(10)) == ("ok", "ok")
    assert idle(guard)


def test_callers_take_turns_whatever_they_brought():
    guard = Concurrency(1, by="model", queue=10, wait_seconds=LONG)
    order = []

    async def main():
        gate = asyncio.Event()

        @guard.decorate("model:chat")
        async def ask(name):
            order.append(name)
            await gate.wait()

        async def ask_as(who, name):
            with acting_as(who):
                await ask(name)

        tasks = [asyncio.create_task(ask_as(ALICE, f"a{n}")) for n in range(4)]
        await auntil(lambda: guard.health()["waiting"] == 3)
        tasks += [asyncio.create_task(ask_as(BOB, f"b{n}")) for n in range(2)]
        await auntil(lambda: guard.health()["waiting"] == 5)
        gate.set()
        await asyncio.gather(*tasks)

    asyncio.run(main())
    assert order == ["a0", "a1", "b0", "a2", "b1", "a3"]
    assert idle(guard)


def test_threads_and_tasks_of_several_loops_wait_in_one_queue():
    guard = Concurrency(1, queue=4, wait_seconds=LONG)
    order, lock = [], threading.Lock()

    def note(name):
        with lock:
            order.append(name)

    def thread(name):
        with guard.slot("k"):
            note(name)

    def loop(name):
        async def main():
            async with guard.slot("k"):
                note(name)

        asyncio.run(main())

    with ThreadPoolExecutor(4) as pool:
        with guard.slot("k"):
            futures = []
            for number, (kind, name) in enumerate(
                [(loop, "l1"), (thread, "t1"), (loop, "l2"), (thread, "t2")]
            ):
                futures.append(pool.submit(kind, name))
                until(lambda number=number: guard.standing("k").waiting == number + 1)
        for future in futures:
            future.result(10)
    assert order == ["l1", "t1", "l2", "t2"]
    assert idle(guard)


def test_two_hundred_threads_and_tasks_of_several_loops_never_hold_more_than_the_slots():
    slots, each = 3, 200
    guard = Concurrency(slots, queue=1000, wait_seconds=LONG)
    inside, most, done, lock = 0, 0, 0, threading.Lock()

    def enter():
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)

    def exit_():
        nonlocal inside, done
        with lock:
            inside -= 1
            done += 1

    start = threading.Barrier(each + 4)

    def thread(number):
        start.wait(30)
        with guard.slot("k", party=number % 7):
            enter()
            exit_()

    def loop():
        async def one(number):
            async with guard.slot("k", party=number % 7):
                enter()
                await asyncio.sleep(0)
                exit_()

        async def main():
            await asyncio.gather(*map(one, range(each)))

        start.wait(30)
        asyncio.run(main())

    threads = [threading.Thread(target=thread, args=(number,)) for number in range(each)]
    threads += [threading.Thread(target=loop) for _ in range(4)]
    for each_thread in threads:
        each_thread.start()
    for each_thread in threads:
        each_thread.join(30)
    assert done == 5 * each
    assert 1 <= most <= slots
    assert idle(guard)


# -- giving up


def test_a_cancelled_waiter_leaves_the_queue():
    guard = Concurrency(1, queue=1, wait_seconds=LONG)

    async def main():
        async with guard.slot("k"):
            task = asyncio.create_task(guard.slot("k").__aenter__())
            await auntil(lambda: guard.standing("k").waiting == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert guard.standing("k") == Occupancy(1, 0)

    asyncio.run(main())
    assert idle(guard)


def test_a_waiter_cancelled_in_the_moment_of_its_grant_passes_the_slot_on():
    guard = Concurrency(1, queue=2, wait_seconds=LONG)

    async def main():
        holder = guard.slot("k")
        await holder.__aenter__()
        first = asyncio.create_task(guard.slot("k").__aenter__())
        await auntil(lambda: guard.standing("k").waiting == 1)
        second_slot = guard.slot("k")
        second = asyncio.create_task(second_slot.__aenter__())
        await auntil(lambda: guard.standing("k").waiting == 2)
        await holder.__aexit__(None, None, None)  # grants the first, who has not run yet
        assert guard.standing("k") == Occupancy(1, 1)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await second
        assert guard.standing("k") == Occupancy(1, 0)
        await second_slot.__aexit__(None, None, None)

    asyncio.run(main())
    assert idle(guard)


def test_a_storm_of_cancellations_loses_no_slot():
    guard = Concurrency(2, by="model", queue=100, wait_seconds=LONG)

    async def main():
        @guard.decorate("model:chat")
        async def ask(prompt):
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        @guard.decorate("model:chat")
        async def stream(prompt):
            for word in "abc":
                await asyncio.sleep(0)
                yield word

        async def one(number):
            with acting_as(Principal(f"u-{number % 5}")):
                if number % 2:
                    await ask("x")
                else:
                    async for _ in stream("x"):
                        pass

        for round_ in range(20):
            tasks = [asyncio.create_task(one(number)) for number in range(40)]
            for number in range(40):
                await asyncio.sleep(0)
                tasks[(number * 7 + round_) % 40].cancel()
                if number % (round_ + 2) == 0:
                    await asyncio.sleep(0)
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert {type(result) for result in results} <= {type(None), asyncio.CancelledError}
            assert idle(guard)

    asyncio.run(main())


def test_a_task_of_a_loop_that_was_closed_keeps_neither_place_nor_slot():
    guard = Concurrency(1, queue=1, wait_seconds=LONG)
    slot = guard.slot("k")
    slot.__enter__()
    loop = asyncio.new_event_loop()
    task = loop.create_task(guard.slot("k").__aenter__())
    loop.run_until_complete(auntil(lambda: guard.standing("k").waiting == 1))
    loop.close()
    slot.__exit__(None, None, None)  # it is that task's turn, and there is nobody to be told
    assert idle(guard)
    with suppress(RuntimeError):  # its coroutine is closed; the slot is not given back a second time
        task.get_coro().close()
    task._log_destroy_pending = False
    assert idle(guard)
    assert enter_and_leave(guard, "k") == "ok"


def test_a_task_of_a_loop_that_stopped_gives_the_slot_on_when_it_is_destroyed():
    guard = Concurrency(1, queue=1, wait_seconds=LONG)
    slot = guard.slot("k")
    slot.__enter__()
    loop = asyncio.new_event_loop()
    task = loop.create_task(guard.slot("k").__aenter__())
    loop.run_until_complete(auntil(lambda: guard.standing("k").waiting == 1))
    slot.__exit__(None, None, None)
    assert guard.standing("k") == Occupancy(1, 0)  # granted, and not run any more
    task.get_coro().close()
    task._log_destroy_pending = False
    loop.close()
    assert idle(guard)


def test_an_exception_that_interrupts_a_waiting_thread_leaves_the_queue(monkeypatch):
    guard = Concurrency(1, queue=1, wait_seconds=LONG)

    class Interrupted(threading.Thread):
        result: object = None

        def run(self):
            try:
                with guard.slot("k"):
                    self.result = "entered"
            except KeyboardInterrupt as err:
                self.result = type(err)

    import ctypes

    with guard.slot("k"):
        thread = Interrupted()
        thread.start()
        until(lambda: guard.standing("k").waiting == 1)
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(thread.ident), ctypes.py_object(KeyboardInterrupt)
        )
    # The thread wakes with the slot granted, and the exception is raised before it could use it.
    thread.join(10)
    assert thread.result is KeyboardInterrupt
    assert idle(guard)


def test_a_stream_that_the_collector_closes_while_its_thread_holds_the_lock_stops_nothing():
    guard = Concurrency(2)

    @guard
    def words(prompt):
        yield "a"
        yield "b"

    stream = words("x")
    next(stream)
    with guard._slots._lock:
        del stream  # what a collection within the lock does
        assert guard.health()["in_use"] == 1
    assert guard.before(call()) is None  # whoever uses the lock next takes the message
    assert guard.health()["in_use"] == 1


def test_a_slot_is_entered_once_at_a_time_and_dropped_unentered_holds_nothing():
    guard = Concurrency(2)
    slot = guard.slot("k")
    assert idle(guard)
    with slot, pytest.raises(RuntimeError, match="held already"):
        slot.__enter__()
    assert idle(guard)
    with slot:
        assert guard.standing("k").in_use == 1
    assert idle(guard)
    with pytest.raises(ValueError, match="at least one part"):
        guard.slot()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_no_held_slots_and_usable_locks():
    guard = Concurrency(1, queue=1, wait_seconds=LONG, max_keys=2)
    held, release = threading.Event(), threading.Event()

    def hold_the_lock():
        with guard._slots._lock:
            held.set()
            release.wait(30)

    outer, outer_slot = call(), guard.slot("k")
    guard.before(outer)
    outer_slot.__enter__()
    thread = threading.Thread(target=hold_the_lock)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        own = call()
        ok = guard.before(own) is None
        leave(guard, outer)  # the parent's call, which ends here too
        outer_slot.__exit__(None, None, None)
        ok = ok and guard.health()["in_use"] == 1
        with guard.slot("second"):
            try:
                guard.slot("third").__enter__()
            except QuotaExceeded:  # two keys may be busy, and are
                leave(guard, own)
        os._exit(0 if ok and idle(guard) else 1)
    release.set()
    thread.join(30)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert guard.health()["in_use"] == 2
    leave(guard, outer)
    outer_slot.__exit__(None, None, None)
    assert idle(guard)


def test_the_lines_of_many_idle_keys_are_forgotten():
    guard = Concurrency(1)
    calls = [call(Principal(f"u-{number}")) for number in range(1000)]
    for each in calls:
        guard.before(each)
    assert guard.health()["keys"] == 1000
    for each in calls:
        leave(guard, each)
    assert idle(guard)
    assert len(guard._slots.lines) <= 64
    assert not guard._held


def test_health_and_repr_tell_numbers_and_no_names():
    guard = Concurrency(1)
    guard.before(call(Principal("ada@example.org")))
    assert guard.health() == {"ok": True, "keys": 1, "in_use": 1, "waiting": 0}
    assert "ada" not in repr(guard) + str(guard.health())
