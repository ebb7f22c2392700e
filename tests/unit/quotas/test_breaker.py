from __future__ import annotations

import asyncio
import os
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Principal, Shield
from aisecure.adapters._problems import status_of
from aisecure.call import Call
from aisecure.decisions import Decision
from aisecure.errors import AccessDenied, OutputBlocked, QuotaExceeded, Unavailable
from aisecure.guard import Ending, Guard
from aisecure.quotas import CircuitBreaker, CircuitState
from aisecure.quotas._failure_window import FailureWindow
from aisecure.testing import CapturedEvents, FrozenClock

ALLOWED, BLOCKED = Ending("call.allowed"), Ending("call.blocked")
FAILED = Ending("call.failed", error_type="TimeoutError")
CANCELLED = Ending("call.cancelled")
REFUSED = Ending("call.denied", entered=False)
CHAT = ("resource", "model:chat")


def call(resource="model:chat", tenant="default"):
    return Call(Principal("alice", tenant=tenant), "invoke", resource)


class World:
    def __init__(self, **options):
        self.clock, self.events = FrozenClock(), CapturedEvents()
        self.chance = 0.0
        self.breaker = CircuitBreaker(
            clock=self.clock, events=self.events, random=lambda: self.chance, **options
        )

    def begin(self, *args, **options):
        made = call(*args, **options)
        verdict = self.breaker.before(made)
        return made if verdict is None else verdict

    def end(self, begun, ending):
        self.breaker.settle(begun, ending)

    def run(self, *endings, **options):
        for ending in endings:
            begun = self.begin(**options)
            assert isinstance(begun, Call), "refused"
            self.end(begun, ending)

    def refusal(self, **options):
        verdict = self.begin(**options)
        assert isinstance(verdict, Decision), "let through"
        assert verdict.code == "quota.circuit_open"
        return verdict.retry_after

    def state(self):
        return self.breaker.state(*CHAT)


# -- closed


def test_failures_in_a_row_open_the_circuit_and_tell_when_to_come_back():
    world = World(failures=3, open_seconds=30)
    world.run(FAILED, FAILED, FAILED)
    assert world.refusal() == 30.0
    world.clock.advance(12.5)
    assert world.refusal() == 17.5
    assert world.state() is CircuitState.OPEN
    event = world.events.only("circuit.opened")
    assert (event.resource, dict(event.detail)) == (
        "model:chat", {"guard": "circuit_breaker", "failures": 3, "seconds": 30.0},
    )  # fmt: skip


@pytest.mark.parametrize("ending", [ALLOWED, BLOCKED])
def test_an_answer_between_failures_starts_the_count_anew(ending):
    world = World(failures=2)
    world.run(FAILED, ending, FAILED, ending, FAILED)
    assert world.state() is CircuitState.CLOSED
    world.run(FAILED)
    assert world.state() is CircuitState.OPEN


@pytest.mark.parametrize("ending", [CANCELLED, REFUSED, Ending("call.unavailable", entered=False)])
def test_calls_that_did_not_end_say_nothing(ending):
    world = World(failures=2)
    world.run(*[ending] * 10)
    assert world.state() is CircuitState.CLOSED
    world.run(FAILED, ending, FAILED)
    assert world.state() is CircuitState.OPEN


@pytest.mark.parametrize("error", ["BadRequestError", "QuotaExceeded", "InputRejected"])
def test_errors_that_speak_of_the_request_do_not_open_the_circuit(error):
    world = World(failures=1)
    world.run(Ending("call.failed", error_type=error))
    assert world.state() is CircuitState.CLOSED


def test_which_errors_count_can_be_said():
    world = World(failures=1, counts=lambda name: name == "ConnectionError")
    world.run(FAILED)
    assert world.state() is CircuitState.CLOSED
    world.run(Ending("call.failed", error_type="ConnectionError"))
    assert world.state() is CircuitState.OPEN


def test_a_rate_over_a_least_volume_opens_the_circuit():
    world = World(failures=100, failure_rate=0.5, min_calls=10, window_seconds=60)
    world.run(*[ALLOWED, FAILED] * 4, ALLOWED)
    assert world.state() is CircuitState.CLOSED  # nine calls
    world.run(FAILED)
    assert world.state() is CircuitState.OPEN


def test_failures_that_left_the_window_are_forgotten():
    world = World(failures=100, failure_rate=0.5, min_calls=4, window_seconds=60)
    world.run(FAILED, FAILED, FAILED)
    world.clock.advance(60)
    world.run(ALLOWED, ALLOWED, FAILED)
    assert world.state() is CircuitState.CLOSED
    world.run(FAILED)
    assert world.state() is CircuitState.OPEN


@given(st.lists(st.tuples(st.floats(0, 30), st.booleans()), min_size=1, max_size=60))
def test_the_window_counts_all_of_nine_tenths_and_nothing_older_than_the_whole(steps):
    window, now, seen = FailureWindow(60.0), 0.0, []
    for seconds, failed in steps:
        now += seconds
        window.add(now, failed=failed)
        seen.append((now, failed))
        calls, failures = window.totals
        assert sum(at > now - 54 for at, _ in seen) <= calls <= sum(at > now - 60.001 for at, _ in seen)
        assert failures <= calls
        assert len(window._slices) <= 10


# -- whose circuit


def test_each_model_and_each_tenant_has_a_circuit_of_its_own():
    world = World(failures=1)
    world.run(FAILED)
    assert isinstance(world.begin("model:other"), Call)
    assert isinstance(world.begin(tenant="acme"), Call)
    assert not world.breaker.applies("tool:search")
    world.refusal()


def test_across_tenants_all_share_one():
    world = World(failures=2, across_tenants=True)
    world.run(FAILED)
    world.run(FAILED, tenant="acme")
    world.refusal()
    world.refusal(tenant="third")


def test_circuits_are_bounded_and_those_without_trouble_cost_nothing():
    world = World(failures=2, max_keys=3)
    for number in range(50):
        begun = world.begin(f"model:{number}")
        world.end(begun, ALLOWED)
    assert world.breaker.health()["circuits"] == 0
    for number in range(50):
        world.end(world.begin(f"model:{number}"), FAILED)
    assert world.breaker.health()["circuits"] == 3
    world.end(world.begin("model:49"), ALLOWED)
    assert world.breaker.health()["circuits"] == 2
    assert not world.breaker._begun


# -- half open


def opened(**options):
    world = World(**{"failures": 1, "open_seconds": 30, **options})
    world.run(FAILED)
    world.events.clear()
    return world


def test_after_its_time_one_probe_is_let_through_and_its_success_closes():
    world = opened()
    world.clock.advance(30)
    assert world.state() is CircuitState.HALF_OPEN
    probe = world.begin()
    assert world.refusal() == 1.0
    world.end(probe, ALLOWED)
    assert world.state() is CircuitState.CLOSED
    world.run(ALLOWED, ALLOWED)
    assert world.events.types == ["circuit.half_open", "circuit.closed"]


def test_a_probe_that_fails_opens_again_for_twice_as_long_up_to_the_most():
    world = opened(max_open_seconds=100)
    waits = [world.refusal()]
    for _ in range(4):
        world.clock.advance(waits[-1])
        world.run(FAILED)
        waits.append(world.refusal())
    assert waits == [30.0, 60.0, 100.0, 100.0, 100.0]
    world.clock.advance(100)
    world.run(ALLOWED, FAILED)
    assert world.refusal() == 30.0


def test_chance_takes_off_up_to_a_quarter():
    world = World(failures=1, open_seconds=30)
    world.chance = 1.0
    world.run(FAILED)
    assert world.refusal() == 22.5


def test_several_probes_are_let_through_at_a_time_and_all_have_to_succeed():
    world = opened(probes=3)
    world.clock.advance(30)
    probes = [world.begin() for _ in range(3)]
    world.refusal()
    world.end(probes[0], ALLOWED)
    world.refusal()  # two on their way and one succeeded: more are not needed
    world.end(probes[1], ALLOWED)
    assert world.state() is CircuitState.HALF_OPEN
    world.end(probes[2], ALLOWED)
    assert world.state() is CircuitState.CLOSED


@pytest.mark.parametrize("ending", [CANCELLED, REFUSED, Ending("call.failed", error_type="BadRequestError")])
def test_a_probe_that_says_nothing_frees_its_place(ending):
    world = opened()
    world.clock.advance(30)
    world.run(ending, ending, ALLOWED)
    assert world.state() is CircuitState.CLOSED


def test_a_probe_that_never_ends_leaves_its_place_to_another():
    world = opened()
    world.clock.advance(30)
    stuck = world.begin()
    world.clock.advance(29.5)
    assert world.refusal() == 0.5
    world.clock.advance(0.5)
    second = world.begin()
    assert isinstance(second, Call)
    world.end(stuck, FAILED)  # its place is another's: it says nothing any more
    assert world.state() is CircuitState.HALF_OPEN
    world.end(second, ALLOWED)
    assert world.state() is CircuitState.CLOSED


def test_a_slow_probe_whose_place_nobody_took_still_counts():
    world = opened()
    world.clock.advance(30)
    slow = world.begin()
    world.clock.advance(1000)
    world.end(slow, ALLOWED)
    assert world.state() is CircuitState.CLOSED


def test_what_began_before_the_circuit_opened_says_nothing_after():
    world = World(failures=2)
    early = [world.begin() for _ in range(10)]
    world.run(FAILED, FAILED)
    world.end(early[0], ALLOWED)
    assert world.state() is CircuitState.OPEN
    world.clock.advance(30)
    world.run(ALLOWED)
    assert world.state() is CircuitState.CLOSED
    for each in early[1:]:  # their timeouts come late
        world.end(each, FAILED)
    assert world.state() is CircuitState.CLOSED


@given(
    st.lists(
        st.one_of(
            st.just("begin"),
            st.tuples(st.integers(0, 20), st.sampled_from([ALLOWED, FAILED, CANCELLED, REFUSED])),
            st.sampled_from([1.0, 10.0, 60.0]),
        ),
        max_size=80,
    )
)
def test_whatever_happens_probes_are_few_and_time_heals(steps):
    world = World(failures=2, open_seconds=10, max_open_seconds=40, probes=2)
    running = []
    for step in steps:
        if step == "begin":
            state, begun = world.state(), world.begin()
            if isinstance(begun, Call):
                assert state is not CircuitState.OPEN
                running.append(begun)
            else:
                assert state is not CircuitState.CLOSED
                assert 0 < begun.retry_after <= 40
        elif isinstance(step, tuple):
            if running:
                world.end(running.pop(step[0] % len(running)), step[1])
        else:
            world.clock.advance(step)
        for circuit in world.breaker._circuits.values():
            assert len(circuit.probes) + circuit.successes <= 2
        assert set(world.breaker._begun) == {each.id for each in running}
    world.clock.advance(50)
    for _ in range(2):
        begun = world.begin()
        assert isinstance(begun, Call)
        world.end(begun, ALLOWED)
    assert world.state() is CircuitState.CLOSED


# -- round functions, in shields


def test_the_four_kinds_of_callables_open_and_are_refused():
    breaker = CircuitBreaker(failures=1, by="resource")

    @breaker.decorate("model:plain")
    def plain(prompt):
        raise ConnectionError

    @breaker.decorate("model:generator")
    def generator(prompt):
        yield "a"
        raise ConnectionError

    @breaker.decorate("model:coroutine")
    async def coroutine(prompt):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    @breaker.decorate("model:async_generator")
    async def async_generator(prompt):
        yield "a"
        raise ConnectionError

    async def exhaust():
        async for _ in async_generator("x"):
            pass

    def again(run, error):
        with pytest.raises(error):
            run()
        with pytest.raises(QuotaExceeded) as refused:
            run()
        assert status_of(refused.value) == 503
        assert 0 < refused.value.retry_after <= 30

    again(lambda: plain("x"), ConnectionError)
    again(lambda: list(generator("x")), ConnectionError)
    again(lambda: asyncio.run(coroutine("x")), TimeoutError)
    again(lambda: asyncio.run(exhaust()), ConnectionError)
    assert not breaker._begun


def test_a_stream_that_its_reader_closes_is_no_failure():
    breaker = CircuitBreaker(failures=1)

    @breaker.decorate("model:chat")
    def words(prompt):
        yield "a"
        yield "b"

    stream = words("x")
    next(stream)
    stream.close()
    assert breaker.state(*CHAT) is CircuitState.CLOSED


def test_what_other_guards_refuse_or_withhold_is_no_failure():
    class No(Guard):
        name = "no"

        def before(self, call):
            return Decision.deny("access.denied") if call.input == "no" else None

        def after(self, call, output):
            return Decision.deny("output.blocked")

    breaker = CircuitBreaker(failures=1)

    @Shield(breaker, No()).protect("model:chat")
    def ask(prompt):
        return "answer"

    with pytest.raises(AccessDenied):
        ask("no")
    with pytest.raises(OutputBlocked):
        ask("x")
    assert breaker.state(*CHAT) is CircuitState.CLOSED
    assert not breaker._begun


def test_in_shadow_mode_all_pass_and_it_is_told_who_would_not_have():
    events = CapturedEvents()
    breaker = CircuitBreaker(failures=1, shadow=True)

    @Shield(breaker, sinks=[events]).protect("model:chat")
    def ask(prompt):
        raise ConnectionError

    for _ in range(3):
        with pytest.raises(ConnectionError):
            ask("x")
    assert [event.code for event in events.of_type("guard.would_deny")] == ["quota.circuit_open"] * 2
    assert not breaker._begun


def test_a_change_that_cannot_be_recorded_refuses_the_probe_and_frees_its_place():
    class Full:
        broken = False

        def record(self, event):
            if self.broken:
                raise Unavailable("full")

    clock, sink = FrozenClock(), Full()
    breaker = CircuitBreaker(failures=1, clock=clock, events=sink, random=lambda: 0.0)
    first = call()
    breaker.before(first)
    breaker.settle(first, FAILED)
    clock.advance(30)
    sink.broken = True
    with pytest.raises(Unavailable):
        breaker.before(call())
    sink.broken = False
    assert breaker.before(call()) is None  # the place of the probe is free
    assert len(breaker._begun) == 1


def test_a_broken_counts_says_nothing_and_keeps_nothing():
    world = opened(counts=lambda name: 1 / 0 if name == "odd" else True)
    world.clock.advance(30)
    probe = world.begin()
    with pytest.raises(ZeroDivisionError):
        world.end(probe, Ending("call.failed", error_type="odd"))
    world.run(ALLOWED)
    assert world.state() is CircuitState.CLOSED


def test_two_hundred_threads_send_one_probe():
    world = opened()
    world.clock.advance(30)
    start, seen, lock = threading.Barrier(200), [], threading.Lock()

    def one():
        start.wait(30)
        verdict = world.begin()
        with lock:
            seen.append(verdict)

    threads = [threading.Thread(target=one) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sum(isinstance(verdict, Call) for verdict in seen) == 1
    assert world.events.types == ["circuit.half_open"]


def test_a_call_that_ends_while_its_thread_holds_the_lock_stops_nothing():
    world = World(failures=1)
    begun = world.begin()
    with world.breaker._inbox.lock:
        world.end(begun, FAILED)
        assert world.state() is CircuitState.CLOSED
    world.breaker._inbox.empty()  # as who held the lock does
    world.refusal()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_starts_with_closed_circuits():
    world = opened()
    world.breaker._inbox.lock.acquire()
    child = os.fork()
    if child == 0:  # pragma: no cover - another process
        os._exit(0 if isinstance(world.begin(), Call) else 1)
    world.breaker._inbox.lock.release()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    world.refusal()


@pytest.mark.parametrize(
    "arguments",
    [
        {"failures": 0}, {"min_calls": 0}, {"probes": 0}, {"max_keys": 0}, {"failure_rate": 0}, {"failure_rate": 1.1},
        {"failure_rate": float("nan")}, {"window_seconds": 0}, {"open_seconds": float("inf")}, {"open_seconds": -1},
        {"open_seconds": 10, "max_open_seconds": 5}, {"max_open_seconds": float("nan")}, {"by": "user"},
    ],
)  # fmt: skip
def test_nonsense_is_said_at_once(arguments):
    with pytest.raises(ValueError):
        CircuitBreaker(**arguments)


@pytest.mark.parametrize("arguments", [{"failures": 1.5}, {"probes": True}, {"by": 7}])
def test_wrong_types_are_said_at_once(arguments):
    with pytest.raises(TypeError):
        CircuitBreaker(**arguments)
