"""One call on its way through the guards, written once for synchronous and asynchronous code.

A *flow* is a generator that yields `Effect`s (things to call) and is sent their results; `drive` runs it in
plain code, `adrive` in a coroutine. Pure guards are called directly, so that they cost no yield.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Generator, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple, NoReturn, TypeVar

from aisecure.call import Call
from aisecure.decisions import Decision, Finding, Outcome
from aisecure.errors import AISecureError, Denied, Unavailable, denied
from aisecure.events import Result, SecurityEvent, Usage
from aisecure.guard import Changed, Ending, Guard, Verdict
from aisecure.ports import Clock, EventSink, SystemClock
from aisecure.reply import read_reply

__all__ = ["Effect", "Flow", "Passage", "Plan", "adrive", "decision_of", "drive", "record"]

T = TypeVar("T")

#: Cancellation by name, so that neither asyncio nor trio is imported for it.
_CANCELLED = frozenset({"Cancelled", "CancelledError"})


class Effect(NamedTuple):
    """Something a flow wants done: ``call(*args)``, or ``await acall(*args)`` where there is a choice."""

    call: Callable[..., Any]
    acall: Callable[..., Awaitable[Any]] | None
    args: tuple[Any, ...] = ()


Flow = Generator[Effect, Any, T]


def drive(flow: Flow[T]) -> T:
    """Run a flow to its end and return its result."""
    try:
        effect = next(flow)
        while True:
            try:
                result = effect.call(*effect.args)
            except BaseException as err:  # noqa: BLE001  (handed to the flow, which raises what remains)
                effect = flow.throw(err)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except RuntimeError as err:
        # A generator cannot let StopIteration out (PEP 479), but a protected function may raise it, as next() does.
        if isinstance(err.__cause__, StopIteration):
            raise err.__cause__ from None
        raise
    finally:
        # Without this a cancelled caller leaves the flow's own ``finally`` (settle, event) to the collector.
        flow.close()


async def adrive(flow: Flow[T]) -> T:
    """Run a flow to its end in a coroutine and return its result."""
    try:
        effect = next(flow)
        while True:
            try:
                if effect.acall is None:
                    result = effect.call(*effect.args)
                else:
                    result = await effect.acall(*effect.args)
            except BaseException as err:  # noqa: BLE001  (as above; cancellation comes this way too)
                effect = flow.throw(err)
            else:
                effect = flow.send(result)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    finally:
        flow.close()


def _only_async(*_args: Any) -> Verdict:
    """Stand in for the plain form of a hook that a guard has only as a coroutine: it must not pass unasked."""
    raise RuntimeError("this guard can be asked only from asynchronous code")


class _Hook(NamedTuple):
    guard: Guard
    call: Callable[..., Verdict]
    acall: Callable[..., Awaitable[Verdict]] | None


@dataclass(frozen=True, slots=True)
class Plan:
    """Guards sorted by the hooks they have, once, so that a call meets only what concerns it."""

    guards: tuple[Guard, ...]
    identify: tuple[_Hook, ...]
    before: tuple[_Hook, ...]
    after: tuple[_Hook, ...]
    stream: tuple[Guard, ...]
    observe: tuple[Guard, ...]
    pace: tuple[Guard, ...]
    settle: tuple[Guard, ...]
    sinks: tuple[EventSink, ...]
    clock: Clock

    @classmethod
    def compile(
        cls, guards: Iterable[Guard], *, sinks: Iterable[EventSink] = (), clock: Clock | None = None
    ) -> Plan:
        """Return the plan for guards in the order in which calls meet them.

        Raises:
            TypeError: One of them is no `Guard`, or a sink cannot record.
        """
        guards, sinks = tuple(guards), tuple(sinks)
        for guard in guards:
            if not isinstance(guard, Guard):
                raise TypeError(f"a guard is an instance of aisecure.guard.Guard, not {type(guard).__name__}")
            for name in ("identify", "before", "after", "stream", "observe", "pace", "settle"):
                if inspect.iscoroutinefunction(getattr(guard, name)):
                    raise TypeError(f"{type(guard).__name__}.{name} is a coroutine function; call it a{name}")
        for sink in sinks:
            if not isinstance(sink, EventSink):
                raise TypeError(f"an event sink has a method record(event); {type(sink).__name__} has none")

        def having(name: str) -> tuple[Guard, ...]:
            return tuple(
                guard
                for guard in guards
                if getattr(type(guard), name) is not getattr(Guard, name)
                or getattr(guard, f"a{name}", None) is not None
            )

        def hooks(name: str) -> tuple[_Hook, ...]:
            return tuple(
                _Hook(
                    guard,
                    _only_async
                    if getattr(type(guard), name) is getattr(Guard, name)
                    else getattr(guard, name),
                    getattr(guard, f"a{name}", None),
                )
                for guard in having(name)
            )

        return cls(
            guards,
            hooks("identify"),
            hooks("before"),
            hooks("after"),
            having("stream"),
            having("observe"),
            having("pace"),
            having("settle"),
            sinks,
            clock or SystemClock(),
        )


class Passage:
    """One call's way through a plan: enter, leave (or stream), close; it ends in exactly one event.

    Adapters that have no function to wrap use it directly::

        passage = Passage(plan, call)
        try:
            call = drive(passage.enter())
            ...
            output = drive(passage.leave(output))
        except BaseException as err:
            passage.fail(err)
            raise
        finally:
            passage.close()
    """

    __slots__ = (
        "_cancelled", "_closed", "_code", "_entered", "_error_type", "_findings", "_guard", "_let_in", "_policy", "_reasons", "_started",
        "_type", "_would_deny", "call", "chunks", "model", "plan", "usage",
    )  # fmt: skip

    def __init__(self, plan: Plan, call: Call) -> None:
        self.plan = plan
        self.call = call
        self.chunks: int | None = None
        self.model = ""
        self.usage: Usage | None = None
        self._started = plan.clock.monotonic()
        self._type = "call.cancelled"  # what a passage that nobody finished was
        self._code = ""
        self._reasons: tuple[str, ...] = ()
        self._findings: list[Finding] = []
        self._guard = ""
        self._error_type = ""
        self._policy = ""
        self._would_deny: list[str] = []
        self._let_in: list[Guard] = []
        self._entered = False
        self._closed = False
        self._cancelled = False

    # -- the way in and out

    def identify(self) -> Flow[Call]:
        """Meet only the guards that say who is calling; `enter` begins with this."""
        for hook in self.plan.identify:
            if hook.guard.applies(self.call.resource):
                # Also in shadow mode: to be told who is calling refuses and changes nothing.
                yield from self._offer(hook, in_shadow=True)
        return self.call

    def enter(self) -> Flow[Call]:
        """Meet the guards before the call; return the call as they changed it.

        Raises:
            Denied: A guard refused.
            Unavailable: A guard could not run.
        """
        if self.plan.identify:
            yield from self.identify()
        for hook in self.plan.before:
            guard = hook.guard
            if not guard.applies(self.call.resource):
                continue
            if hook.acall is None:  # spelled out: one generator less for each guard of each call
                changed = self._ask(hook, (self.call,))
                if changed is not None:
                    self._take(guard, changed)
            else:
                yield from self._offer(hook)
            self._let_in.append(guard)
        self._entered = True
        return self.call

    def permit(self) -> Flow[None]:
        """Meet the guards of a call that has nothing to run, and end it.

        Raises:
            Denied, Unavailable: As for `enter`; or the event could not be recorded.
        """
        try:
            yield from self.enter()
            self.succeed()
        except BaseException as err:
            self.fail(err)
            raise
        finally:
            self.close()

    def leave(self, output: Any) -> Flow[Any]:
        """Meet the guards after the call; return the output as they changed it.

        Raises:
            Denied: A guard withheld the output.
            Unavailable: A guard could not run.
        """
        self.note_reply(output)
        for hook in self.plan.after:
            if hook.guard.applies(self.call.resource):
                changed = yield from self._wait_for(hook, (self.call, output))
                if changed is not None:
                    output = changed.value
        self.succeed()
        return output

    def _offer(self, hook: _Hook, *, in_shadow: bool = False) -> Flow[None]:
        """Ask one hook that may change the call."""
        changed = yield from self._wait_for(hook, (self.call,), in_shadow=in_shadow)
        if changed is not None:
            self._take(hook.guard, changed)

    def _take(self, guard: Guard, changed: Changed) -> None:
        if not isinstance(changed.value, Call):
            raise self.broken(guard, TypeError("a guard changed the call into something else"))
        self.call = changed.value

    def _wait_for(
        self, hook: _Hook, args: tuple[Any, ...], *, in_shadow: bool = False
    ) -> Flow[Changed | None]:
        """Ask one hook, which may have to be awaited; return a change, or None to go on."""
        if hook.acall is None:
            return self._ask(hook, args, in_shadow=in_shadow)
        try:
            verdict = yield Effect(hook.call, hook.acall, args)
        except Exception as err:  # noqa: BLE001  (weighed there)
            self._weigh_error(hook.guard, err)
            return None
        return self._weigh(hook.guard, verdict, in_shadow=in_shadow)

    def _ask(self, hook: _Hook, args: tuple[Any, ...], *, in_shadow: bool = False) -> Changed | None:
        """Ask one hook that waits for nothing; return a change, or None to go on."""
        try:
            verdict = hook.call(*args)
        except Exception as err:  # noqa: BLE001  (weighed there)
            self._weigh_error(hook.guard, err)
            return None
        return None if verdict is None else self._weigh(hook.guard, verdict, in_shadow=in_shadow)

    def _weigh(self, guard: Guard, verdict: Verdict, *, in_shadow: bool) -> Changed | None:
        if verdict is None:
            return None
        if isinstance(verdict, Decision):
            self.judge(guard, verdict)
            return None
        if isinstance(verdict, Changed):
            self._findings += verdict.findings
            return verdict if in_shadow or not guard.shadow else None
        raise self.broken(guard, TypeError("a hook returns a Decision, a Changed or None"))

    def _weigh_error(self, guard: Guard, err: Exception) -> None:
        if isinstance(err, Denied):
            self.judge(guard, decision_of(err))
        else:  # whatever it is, the check did not run
            self.skip_or_raise(guard, err)

    def judge(self, guard: Guard, decision: Decision) -> None:
        """Return if the decision lets the call go on; in shadow mode note what it would have done.

        Raises:
            Denied: The class that the decision's code names.
        """
        self._findings += decision.findings
        self._policy = decision.policy or self._policy
        if decision.outcome is Outcome.ALLOW:
            return
        if guard.shadow:
            if guard.name not in self._would_deny:
                self._would_deny.append(guard.name)
                self._record("guard.would_deny", Result.UNKNOWN, {"guard": guard.name}, decision)
            return
        self._guard = guard.name
        raise denied(decision)

    def skip_or_raise(self, guard: Guard, err: Exception) -> None:
        """Return, with an event, if the guard was told to let calls pass when it cannot run.

        Raises:
            Unavailable: It was not.
        """
        if guard.on_unavailable == "allow" or guard.shadow:
            detail = {"guard": guard.name, "error_type": type(err).__name__}
            self._record("guard.skipped", Result.FAILURE, detail)
            return
        raise self.broken(guard, err) from err

    def broken(self, guard: Guard, err: Exception) -> Unavailable:
        """Return the error for a guard that could not run, and remember which it was."""
        self._guard = guard.name
        self._error_type = type(err).__name__
        if isinstance(err, Unavailable):
            return err
        # The text of a foreign exception may quote the input, so only its class is told.
        return Unavailable(f"The check {guard.name!r} could not run ({type(err).__name__}).")

    # -- how it ended

    def note_reply(self, output: Any) -> None:
        """Take model and usage from what the provider states, in the whole output or chunk by chunk."""
        reply = read_reply(output)
        if reply is None:
            return
        self.model = reply.model or self.model
        if reply.usage is not None:
            if self.usage is None:
                self.usage = reply.usage
            else:
                self.usage = self.usage + reply.usage if reply.adds else self.usage.most(reply.usage)

    def note_findings(self, findings: Iterable[Finding]) -> None:
        """Add findings to the event."""
        self._findings += findings

    def succeed(self) -> None:
        """Say that the output was delivered."""
        self._type, self._code = "call.allowed", "ok"

    def fail(self, err: BaseException) -> None:
        """Say what ended the call: a guard, the protected function, or a caller who went away."""
        if isinstance(err, AISecureError):
            self._code = err.code
        if isinstance(err, GeneratorExit) or type(err).__name__ in _CANCELLED:
            self._type, self._cancelled = "call.cancelled", True
        elif not self._guard:  # no guard of this plan spoke, so it came from the function
            self._type, self._error_type = "call.failed", type(err).__name__
        elif isinstance(err, Denied):
            self._type = "call.blocked" if self._entered else "call.denied"
            self._reasons = err.decision.reasons if err.decision else (err.detail,)
        else:
            self._type = "call.unavailable"

    def close(self) -> None:
        """Settle and record, once; later calls do nothing.

        Raises:
            Unavailable: The event could not be recorded. It takes the place of any other error (which stays its
                context), but never of a cancellation, which whoever cancelled is waiting for.
        """
        if self._closed:
            return
        self._closed = True
        if not (self.plan.settle or self.plan.sinks):
            return
        if self._cancelled:
            with suppress(Unavailable):
                self._settle()
        else:
            self._settle()

    def _settle(self) -> None:
        error_type = self._error_type if self._type == "call.failed" else ""
        ending = Ending(self._type, self.usage, self.model, self._entered, self.chunks, error_type)
        for guard in self.plan.settle:
            if guard in self._let_in or (
                type(guard).before is Guard.before
                and guard.abefore is None
                and guard.applies(self.call.resource)
            ):
                try:
                    guard.settle(self.call, ending)
                except Exception as err:  # noqa: BLE001  (the others must still settle, and the event be written)
                    skipped = {"guard": guard.name, "error_type": type(err).__name__}
                    self._record("guard.skipped", Result.FAILURE, skipped)
        result = Result.SUCCESS if self._type == "call.allowed" else Result.FAILURE
        detail: dict[str, Any] = {}
        if self._guard:
            detail["guard"] = self._guard
        if self._error_type:
            detail["error_type"] = self._error_type
        if self.chunks is not None:
            detail["chunks"] = self.chunks
        if self._would_deny:
            detail["would_deny"] = list(self._would_deny)
        if self._policy:
            detail["policy_version"] = self._policy
        # Whole microseconds; round() would go through a decimal text.
        latency = int((self.plan.clock.monotonic() - self._started) * 1_000_000) / 1000
        self._record(self._type, result, detail, latency_ms=latency, findings=tuple(self._findings))

    def refuse_at_door(self, err: AISecureError) -> None:
        """Record that a caller was turned away before any call was made; nothing is settled.

        Raises:
            Unavailable: The event could not be recorded.
        """
        self._closed = True
        self._code = err.code
        self._reasons = err.decision.reasons if isinstance(err, Denied) and err.decision else (err.detail,)
        credential = self.call.credential
        if isinstance(err, Denied):
            self._record("authn.failed", Result.FAILURE, {"method": credential.scheme} if credential else {})
        else:
            detail = {"guard": self._guard, "error_type": self._error_type}
            self._record("call.unavailable", Result.FAILURE, {k: v for k, v in detail.items() if v})

    def _record(
        self,
        type_: str,
        result: Result,
        detail: dict[str, Any],
        decision: Decision | None = None,
        *,
        latency_ms: float | None = None,
        findings: tuple[Finding, ...] = (),
    ) -> None:
        if not self.plan.sinks:
            return
        event = SecurityEvent.about(
            self.call,
            type_,
            time=self.plan.clock.time(),
            result=result,
            code=decision.code if decision else self._code,
            reasons=decision.reasons if decision else self._reasons,
            findings=decision.findings if decision else findings,
            model=self.model,
            usage=self.usage,
            latency_ms=latency_ms,
            detail=detail,
        )
        failed = record(self.plan.sinks, event)
        if failed is not None:
            self._unrecorded(failed)

    def _unrecorded(self, err: Exception) -> NoReturn:
        # Named like a guard that could not run, or a later event would blame the protected function.
        self._guard = self._guard or "events"
        self._error_type = type(err).__name__
        if isinstance(err, Unavailable):
            raise err
        raise Unavailable(
            f"The event could not be recorded ({type(err).__name__}).", code="unavailable.events"
        ) from err


def record(sinks: Iterable[EventSink], event: SecurityEvent) -> Exception | None:
    """Hand an event to every sink; return the first error of one that could not take it."""
    failed: Exception | None = None
    for sink in sinks:
        try:
            sink.record(event)
        except Exception as err:  # noqa: BLE001  (the other sinks must still hear of it)
            failed = failed or err
    return failed


def decision_of(err: Denied) -> Decision:
    """Return the decision behind an error, made up from its text when a guard raised directly."""
    if err.decision is not None:
        return err.decision
    return Decision(Outcome.DENY, err.code, (err.detail,), (), err.retry_after)
