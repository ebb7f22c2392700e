"""One decorator for every kind of callable: what is the prompt, what is the resource, and that nothing else changes."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from enum import Enum

import pytest

from aisecure import Principal, Shield, protect
from aisecure.decisions import Decision
from aisecure.errors import AccessDenied, Misconfigured
from aisecure.guard import Changed, Guard
from aisecure.testing import CapturedEvents


class Upper(Guard):
    """Changes input and output visibly, and keeps the calls."""

    def __init__(self):
        super().__init__()
        self.calls = []
        self.endings = []

    def before(self, call):
        self.calls.append(call)
        return Changed(call.with_input(call.input.upper())) if isinstance(call.input, str) else None

    def after(self, call, output):
        return Changed(f"<{output}>") if isinstance(output, str) else None

    def stream(self, call):
        return UpperText()

    def settle(self, call, ending):
        self.endings.append(ending.type)


class UpperText:
    findings = ()

    def feed(self, chunk):
        return chunk.upper()

    def finish(self):
        return "."


@pytest.fixture
def guard():
    return Upper()


@pytest.fixture
def events():
    return CapturedEvents()


@pytest.fixture
def shield(guard, events):
    return Shield(guard, sinks=[events])


async def gather(source):
    return [chunk async for chunk in source]


class Bot:
    def __init__(self, name):
        self.name = name

    def plain(self, prompt):
        return f"{self.name} {prompt}"

    async def coroutine(self, prompt):
        await asyncio.sleep(0)
        return f"{self.name} {prompt}"

    def generator(self, prompt):
        yield self.name
        yield prompt

    async def async_generator(self, prompt):
        yield self.name
        yield prompt


def run(kind, function, *args, **kwargs):
    out = function(*args, **kwargs)
    if kind == "coroutine":
        return asyncio.run(out)
    if kind == "generator":
        return list(out)
    return asyncio.run(gather(out)) if kind == "async_generator" else out


KINDS = {
    "plain": "<bot HI>",
    "coroutine": "<bot HI>",
    "generator": ["BOT", "HI", "."],
    "async_generator": ["BOT", "HI", "."],
}


@pytest.mark.parametrize(("kind", "expected"), KINDS.items(), ids=KINDS)
def test_every_kind_of_method_is_guarded_in_and_out(shield, guard, events, kind, expected):
    class Guarded(Bot):
        ask = shield.protect("model:m")(getattr(Bot, kind))

    assert run(kind, Guarded("bot").ask, "hi") == expected
    assert run(kind, Guarded("bot").ask, prompt="hi") == expected
    assert events.types == ["call.allowed"] * 2
    assert guard.endings == ["call.allowed"] * 2


@pytest.mark.parametrize(("kind", "expected"), KINDS.items(), ids=KINDS)
def test_bound_methods_and_partials_of_every_kind_are_guarded(shield, kind, expected):
    bound = getattr(Bot("bot"), kind)
    assert run(kind, shield.protect("model:m")(bound), "hi") == expected
    partial = functools.partial(getattr(Bot, kind), Bot("bot"))
    assert run(kind, shield.protect("model:m")(partial), "hi") == expected


@pytest.mark.parametrize("kind", KINDS)
def test_the_wrapper_keeps_name_signature_and_kind(shield, kind):
    function = getattr(Bot, kind)
    guarded = shield.protect()(function)
    assert guarded.__name__ == kind
    assert inspect.signature(guarded) == inspect.signature(function)
    assert inspect.iscoroutinefunction(guarded) == inspect.iscoroutinefunction(function)


@pytest.mark.parametrize("kind", KINDS)
def test_a_refused_call_of_any_kind_never_starts(events, kind):
    class No(Guard):
        def before(self, call):
            return Decision.deny("access.denied")

    started = []

    class Eager(Bot):
        def plain(self, prompt):
            started.append(1)

    with pytest.raises(AccessDenied):
        run(kind, Shield(No(), sinks=[events]).protect()(getattr(Eager("b"), kind)), "hi")
    assert started == []
    assert events.types == ["call.denied"]


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "coroutine"])  # which begins when awaited
def test_the_context_is_the_one_of_the_moment_of_the_call(shield, guard, kind):
    guarded = shield.protect()(getattr(Bot("b"), kind))
    with shield.acting_as(Principal("ana"), request_id="r-1"):
        out = guarded("hi")
    if kind != "plain":
        list(out) if kind == "generator" else asyncio.run(gather(out))
    assert (guard.calls[0].principal.id, guard.calls[0].request_id) == ("ana", "r-1")


def test_a_plain_function_that_returns_an_awaitable_is_guarded_when_it_is_awaited(shield, events):
    async def later(prompt):
        return f"later {prompt}"

    def plain(prompt):
        return later(prompt)

    guarded = shield.protect()(plain)
    assert asyncio.run(guarded("hi")) == "<later HI>"
    assert events.types == ["call.allowed"]


def test_a_coroutine_that_returns_an_awaitable_gives_one_that_is_guarded(shield, events):
    async def inner(prompt):
        return prompt

    @shield.protect()
    async def outer(prompt):
        return asyncio.ensure_future(inner(prompt))

    async def main():
        return await (await outer("hi"))

    assert asyncio.run(main()) == "<HI>"
    assert events.types == ["call.allowed"]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_function_that_returns_a_stream_is_guarded_as_one(shield, events, asynchronous):
    bot = Bot("b")

    @shield.protect()
    def plain(prompt):
        return bot.async_generator(prompt) if asynchronous else bot.generator(prompt)

    @shield.protect()
    async def coroutine(prompt):
        return bot.async_generator(prompt) if asynchronous else bot.generator(prompt)

    async def main():
        out = await coroutine("hi")
        return await gather(out) if asynchronous else list(out)

    first = asyncio.run(gather(plain("hi"))) if asynchronous else list(plain("hi"))
    assert first == asyncio.run(main()) == ["B", "HI", "."]
    assert events.types == ["call.allowed"] * 2


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_returned_stream_that_is_never_read_still_ends_its_call(shield, guard, events, asynchronous):
    bot = Bot("b")
    guarded = shield.protect()(bot.async_generator if asynchronous else bot.generator)

    @shield.protect()
    def returned(prompt):
        return bot.async_generator(prompt) if asynchronous else bot.generator(prompt)

    guarded("hi")  # never begun: nothing happened, nothing to tell
    assert events.types == []

    async def main():
        out = returned("hi")
        assert guard.endings == []
        del out
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(main())
    assert events.types == ["call.cancelled"]
    assert guard.endings == ["call.cancelled"]


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "seen"),
    [
        (lambda a: a, ("x",), {}, "X"),
        (lambda a: a, (), {"a": "x"}, "X"),
        (lambda a="d": a, (), {}, "D"),
        (lambda n, prompt: prompt, (1, "x"), {}, "X"),
        (lambda n, *, prompt: prompt, (1,), {"prompt": "x"}, "X"),
        (lambda n, *, prompt="d": prompt, (1,), {}, "D"),
        (lambda messages, n=1: messages, ("x",), {}, "X"),
        (lambda q, **options: q, ("x",), {"q2": "y"}, "X"),
    ],
    ids="position keyword default named keyword-only keyword-only-default messages with-options".split(),
)
def test_the_prompt_is_found_and_replaced(shield, function, args, kwargs, seen):
    assert shield.protect()(function)(*args, **kwargs) == f"<{seen}>"


def test_the_prompt_may_be_named(shield):
    guarded = shield.protect(prompt="ask")(lambda ask, context, prompt: (ask, context, prompt))
    assert guarded("a", "b", prompt="c") == ("A", "b", "c")


def test_a_keyword_cannot_stand_in_for_a_positional_prompt(shield, guard):
    def ask(prompt, /, **options):
        return prompt

    assert shield.protect()(ask)("real", prompt="decoy") == "<REAL>"
    assert guard.calls[0].input == "real"


def test_a_function_of_anything_is_guarded_whole(guard, shield):
    @shield.protect()
    def ask(*args, **kwargs):
        return args, kwargs

    assert ask("a", k="b") == (("a",), {"k": "b"})
    assert guard.calls[0].input == {"args": ("a",), "kwargs": {"k": "b"}}


def test_a_function_without_parameters_has_no_input(shield, guard):
    assert shield.protect()(lambda: "x")() == "<x>"
    assert guard.calls[0].input is None


@pytest.mark.parametrize(
    ("function", "options", "code"),
    [
        (lambda a, b: 1, {}, "config.prompt"),
        (lambda a: 1, {"prompt": "b"}, "config.prompt"),
        (lambda a: 1, {"resource": "model:{b}"}, "config.resource"),
        (lambda a: 1, {"resource": "model:{}"}, "config.resource"),
        (lambda a: 1, {"resource": "model:{a.secret}"}, "config.resource"),
    ],
)
def test_what_cannot_be_understood_is_told_at_decoration(shield, function, options, code):
    with pytest.raises(Misconfigured) as caught:
        shield.protect(**options)(function)
    assert caught.value.code == code


@pytest.mark.parametrize("thing", [1, None, "f", staticmethod(len), classmethod(len)])
def test_what_is_no_function_is_refused(shield, thing):
    with pytest.raises(TypeError):
        shield.protect()(thing)


def test_a_resource_is_filled_from_the_arguments_of_the_call(shield, guard):
    guarded = shield.protect("doc:{tenant}/{number}", action="read", prompt="q")(
        lambda q, tenant, number=7: q
    )
    guarded("x", "acme")
    guarded("x", tenant="b{c}", number=8)
    assert [call.resource for call in guard.calls] == ["doc:acme/7", "doc:b{c}/8"]
    assert guard.calls[0].action == "read"


def test_without_a_resource_the_function_names_itself(shield, guard):
    shield.protect()(Bot("b").plain)("x")
    assert guard.calls[0].resource == "function:Bot.plain"


def test_wrong_arguments_are_the_functions_own_error(shield, events):
    with pytest.raises(TypeError):
        shield.protect()(lambda prompt: 1)("a", "b")
    assert events.types == ["call.failed"]


@pytest.mark.parametrize("kind", KINDS)
def test_guards_stack_as_decorators(guard, kind):
    other = Upper()
    out = run(kind, guard(other(getattr(Bot("bot"), kind))), "hi")
    assert out in ("<<bot HI>>", ["BOT", "HI", ".", "."])
    assert guard.endings == other.endings == ["call.allowed"]


def test_a_guard_alone_needs_no_shield(guard):
    assert protect(guard)(lambda prompt: prompt)("x") == "<X>"
    assert guard(lambda prompt: prompt)("x") == "<X>"


def test_an_enumeration_is_no_text(shield):
    class Colour(str, Enum):  # noqa: UP042  (a text that is an enumeration is the case)
        RED = "red"

    assert shield.protect()(lambda prompt: 5)(Colour.RED) == 5
