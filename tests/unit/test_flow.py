"""The way of one call through the guards: order, refusals, shadow mode, unavailability, settlement, the one event."""

from __future__ import annotations

import asyncio
import threading

import pytest

from aisecure import Principal, Shield
from aisecure._flow import Effect, Passage, Plan, adrive, drive
from aisecure.call import Call, Credential
from aisecure.decisions import Decision, Finding
from aisecure.errors import AccessDenied, AuthenticationError, InputRejected, Unavailable
from aisecure.guard import Changed, Guard
from aisecure.testing import CapturedEvents, FrozenClock

ANA = Principal("ana", tenant="acme")


class Trace(Guard):
    """Notes which hooks ran; behaves as told."""

    def __init__(self, name, log, *, before=None, after=None, **options):
        super().__init__(name=name, **options)
        self._log, self._before, self._after = log, before, after

    def before(self, call):
        self._log.append(f"{self.name}.before")
        return self._before(call) if self._before else None

    def after(self, call, output):
        self._log.append(f"{self.name}.after")
        return self._after(call, output) if self._after else None

    def settle(self, call, ending):
        self._log.append(f"{self.name}.settle {ending.type}")


class BrokenSink:
    def __init__(self, error=None):
        self.error = error or OSError("disk full, /secret/path")

    def record(self, event):
        raise self.error


def raises(error):
    def hook(*args):
        raise error

    return hook


@pytest.fixture
def events():
    return CapturedEvents()


@pytest.fixture
def log():
    return []


def call(**fields):
    return Call(ANA, "invoke", "model:m", "hi", **fields)


def shield(*guards, events):
    return Shield(*guards, sinks=[events])


def test_guards_are_met_in_order_in_and_out_and_settled_once(log, events):
    guarded = shield(Trace("a", log), Trace("b", log), events=events).protect("model:m")(lambda prompt: "out")
    assert guarded("in") == "out"
    assert log == [
        "a.before", "b.before", "a.after", "b.after", "a.settle call.allowed", "b.settle call.allowed",
    ]  # fmt: skip
    assert events.types == ["call.allowed"]


def test_only_guards_that_let_a_call_in_are_settled(log, events):
    refusing = Trace("b", log, before=lambda call: Decision.deny("access.denied", "No."))
    guarded = shield(Trace("a", log), refusing, Trace("c", log), events=events).protect()(lambda prompt: 1)
    with pytest.raises(AccessDenied, match=r"No\."):
        guarded("x")
    assert log == ["a.before", "b.before", "a.settle call.denied"]
    event = events.only("call.denied")
    assert (event.code, event.reasons, event.detail) == ("access.denied", ("No.",), {"guard": "b"})


def test_a_raised_refusal_equals_a_returned_one(log, events):
    guarded = shield(Trace("a", log, before=raises(AccessDenied())), events=events).protect()(lambda p: 1)
    with pytest.raises(AccessDenied):
        guarded("x")
    assert events.only("call.denied").detail["guard"] == "a"


def test_an_output_that_is_refused_counts_as_blocked(log, events):
    guard = Trace("a", log, after=lambda call, output: Decision.deny("output.blocked"))
    guarded = shield(guard, events=events).protect()(lambda prompt: "secret")
    with pytest.raises(Exception) as caught:
        guarded("x")
    assert caught.value.status == 502
    assert events.types == ["call.blocked"]


def test_findings_and_changes_travel_on(log, events):
    finding = Finding("pii.email", 0, 2)
    change = Trace("a", log, before=lambda call: Changed(call.with_input("new"), (finding,)))
    seen = []
    guarded = shield(change, events=events).protect()(seen.append)
    guarded("old")
    assert seen == ["new"]
    assert events.only("call.allowed").findings == (finding,)


@pytest.mark.parametrize(
    "hook", [raises(OSError("password")), lambda call: "yes", lambda call: True, lambda call: Changed("x")]
)
def test_a_broken_guard_refuses_and_tells_only_its_class(log, events, hook):
    guarded = shield(Trace("a", log, before=hook), events=events).protect()(lambda prompt: 1)
    with pytest.raises(Unavailable) as caught:
        guarded("x")
    assert "password" not in str(caught.value)
    assert events.only("call.unavailable").detail["guard"] == "a"


def test_a_broken_guard_lets_pass_only_when_told_so_by_hand_and_says_so(log, events):
    guard = Trace("a", log, before=raises(OSError()), on_unavailable="allow")
    assert shield(guard, events=events).protect()(lambda prompt: 1)("x") == 1
    assert events.types == ["guard.skipped", "call.allowed"]
    assert "a.settle call.allowed" in log


def test_shadow_mode_decides_records_and_changes_nothing(log, events):
    refuse = Trace("a", log, before=lambda call: Decision.deny("access.denied"), shadow=True)
    change = Trace("b", log, after=lambda call, output: Changed("changed"), shadow=True)
    broken = Trace("c", log, before=raises(OSError()), shadow=True)
    assert shield(refuse, change, broken, events=events).protect()(lambda prompt: "out")("x") == "out"
    assert events.types == ["guard.would_deny", "guard.skipped", "call.allowed"]
    assert events.only("call.allowed").detail["would_deny"] == ["a"]


def test_shadow_mode_still_says_who_is_calling():
    class Keys(Guard):
        def identify(self, call):
            if call.credential is None:
                raise AuthenticationError
            return Changed(call.with_principal(ANA))

    door = Shield(Keys(shadow=True))
    nobody = Principal.anonymous()
    shown = door.authenticate(Call(nobody, "connect", "http", credential=Credential("bearer", "k")))
    assert shown.principal == ANA
    assert door.authenticate(Call(nobody, "connect", "http")).principal == nobody


def test_a_guard_that_asks_only_asynchronously_never_passes_plain_code_unasked(events):
    class Remote(Guard):
        async def abefore(self, call):
            return Decision.deny("access.denied")

    both = shield(Remote(), events=events)
    with pytest.raises(Unavailable):
        both.protect()(lambda prompt: 1)("x")

    @both.protect()
    async def ask(prompt):
        return 1

    with pytest.raises(AccessDenied):
        asyncio.run(ask("x"))
    assert events.types == ["call.unavailable", "call.denied"]


def test_a_hook_that_is_a_coroutine_by_mistake_is_told_at_once():
    class Mistaken(Guard):
        async def before(self, call):
            return None

    with pytest.raises(TypeError, match="abefore"):
        Shield(Mistaken())


@pytest.mark.parametrize("parts", [("no guard",), (Guard,), (None,)])
def test_what_is_no_guard_is_refused(parts):
    with pytest.raises(TypeError, match="guard"):
        Shield(*parts)
    with pytest.raises(TypeError, match="record"):
        Shield(sinks=[object()])


def test_an_error_of_the_function_is_its_own_and_settles(log, events):
    def fails(prompt):
        raise KeyError("private")

    with pytest.raises(KeyError):
        shield(Trace("a", log), events=events).protect()(fails)("x")
    event = events.only("call.failed")
    assert (event.detail["error_type"], "private" in repr(event)) == ("KeyError", False)
    assert log[-1] == "a.settle call.failed"


def test_a_refusal_of_an_inner_call_is_a_failure_of_the_outer(log):
    outer, inner = CapturedEvents(), CapturedEvents()
    deny = Trace("a", log, before=lambda call: Decision.deny("access.denied"))
    deep = shield(deny, events=inner).protect("model:inner")(lambda prompt: 1)
    with pytest.raises(AccessDenied):
        shield(events=outer).protect("model:outer")(deep)("x")
    assert (inner.types, outer.types) == (["call.denied"], ["call.failed"])


def test_stop_iteration_of_a_plain_function_stays_what_it_is(events):
    with pytest.raises(StopIteration):
        shield(events=events).protect()(lambda prompt: next(iter(())))("x")
    assert events.types == ["call.failed"]


@pytest.mark.parametrize("error", [OSError("full"), Unavailable(code="unavailable.audit")])
def test_an_output_that_cannot_be_recorded_does_not_leave(log, error):
    guarded = Shield(Trace("a", log), sinks=[BrokenSink(error)]).protect()(lambda prompt: "out")
    with pytest.raises(Unavailable):
        guarded("x")
    assert log[-1] == "a.settle call.allowed"


def test_every_sink_hears_although_one_fails(events):
    with pytest.raises(Unavailable) as caught:
        Shield(sinks=[BrokenSink(), events]).protect()(lambda prompt: 1)("x")
    assert events.types == ["call.allowed"]
    assert "/secret" not in str(caught.value)


def test_a_sink_that_fails_in_mid_call_is_not_blamed_on_the_function(log):
    class First(CapturedEvents):
        def record(self, event):
            super().record(event)
            if event.type == "guard.would_deny":
                raise OSError

    events = First()
    guard = Trace("a", log, before=lambda call: Decision.deny("access.denied"), shadow=True)
    with pytest.raises(Unavailable):
        shield(guard, events=events).protect()(lambda prompt: 1)("x")
    assert events.types == ["guard.would_deny", "call.unavailable"]


def test_a_guard_that_cannot_settle_stops_neither_the_others_nor_the_event(log, events):
    class Stuck(Guard):
        def settle(self, call, ending):
            raise OSError

    assert shield(Stuck(), Trace("a", log), events=events).protect()(lambda prompt: 1)("x") == 1
    assert events.types == ["guard.skipped", "call.allowed"]
    assert log[-1] == "a.settle call.allowed"


@pytest.mark.parametrize("sink", [None, BrokenSink()], ids=["recorded", "unrecorded"])
def test_a_cancelled_task_settles_and_stays_cancelled(log, events, sink):
    entered = asyncio.Event()

    @Shield(Trace("a", log), sinks=[events, *([sink] if sink else [])]).protect()
    async def slow(prompt):
        entered.set()
        await asyncio.Event().wait()

    async def main():
        task = asyncio.create_task(slow("x"))
        await entered.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert log == ["a.before", "a.settle call.cancelled"]
    assert events.types == ["call.cancelled"]


def test_a_task_cancelled_while_a_guard_is_asked_is_recorded(log, events):
    class Slow(Guard):
        async def abefore(self, call):
            await asyncio.Event().wait()

    @shield(Trace("a", log), Slow(), events=events).protect()
    async def ask(prompt):
        return 1

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await ask("x")

    asyncio.run(main())
    assert log == ["a.before", "a.settle call.cancelled"]
    assert events.types == ["call.cancelled"]


def test_a_passage_ends_once_and_an_unfinished_one_was_cancelled(log, events):
    passage = shield(Trace("a", log), events=events).passage(call())
    drive(passage.enter())
    passage.close()
    passage.close()
    assert (log, events.types) == (["a.before", "a.settle call.cancelled"], ["call.cancelled"])


def test_the_event_carries_the_call_and_no_content(events):
    clock = FrozenClock()
    passage = Passage(Plan.compile((), sinks=[events], clock=clock), call(request_id="r", source="192.0.2.1"))
    drive(passage.enter())
    clock.advance(0.25)
    reply = {"model": "m-1", "usage": {"prompt_tokens": 3, "completion_tokens": 4}, "text": "answer"}
    assert drive(passage.leave(reply)) is reply
    passage.close()
    event = events.only("call.allowed").to_dict()
    assert event["latency_ms"] == 250
    assert event["gen_ai.response.model"] == "m-1"
    assert event["gen_ai.usage.output_tokens"] == 4
    assert (event["principal"], event["tenant"], event["source"]) == ("ana", "acme", "192.0.2.1")
    assert "answer" not in repr(event)


def test_the_door_tells_a_wrong_credential_from_a_check_that_cannot_run(events):
    class Keys(Guard):
        error: Exception = AuthenticationError()

        def identify(self, call):
            raise self.error

    keys = Keys(name="keys")
    door = shield(keys, events=events)
    credential = Credential("bearer", "s3cret")
    with pytest.raises(AuthenticationError):
        door.authenticate(Call(Principal.anonymous(), "connect", "http", credential=credential))
    keys.error = OSError("down")
    with pytest.raises(Unavailable):
        asyncio.run(door.aauthenticate(Call(Principal.anonymous(), "connect", "http", credential=credential)))
    assert events.types == ["authn.failed", "call.unavailable"]
    assert events[0].detail == {"method": "bearer"}
    assert events[1].detail == {"guard": "keys", "error_type": "OSError"}
    assert "s3cret" not in repr(list(events))


def test_a_guard_is_asked_only_about_its_own_resources(log, events):
    guard = Trace("a", log, on="tool:*")
    both = shield(guard, events=events)
    both.protect("model:m")(lambda prompt: 1)("x")
    assert log == []
    both.protect("tool:t")(lambda prompt: 1)("x")
    assert log == ["a.before", "a.after", "a.settle call.allowed"]


def test_threads_share_a_shield_and_mix_nothing_up(events):
    both = shield(events=events)
    ask = both.protect("model:m")(lambda prompt: prompt)
    wrong = []

    def work(name):
        with both.acting_as(Principal(name)):
            wrong.extend(n for n in range(50) if ask(f"{name}{n}") != f"{name}{n}")

    threads = [threading.Thread(target=work, args=(f"p{n}",)) for n in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert not wrong
    assert len(events) == 200
    assert {event.principal for event in events} == {"p0", "p1", "p2", "p3"}


def test_the_drivers_hand_errors_back_to_the_flow():
    def flow():
        try:
            yield Effect(raises(InputRejected()), None)
        except InputRejected:
            return "caught"

    assert drive(flow()) == "caught"
    assert asyncio.run(adrive(flow())) == "caught"
