"""The one decorator: the same guards round ``def``, ``async def``, generators and async generators."""

from __future__ import annotations

import functools
import inspect
import string
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from typing import Any, NamedTuple, TypeVar, cast

from aisecure._flow import Effect, Flow, Passage, Plan, adrive, drive
from aisecure._stream import alate, astream, is_stream, late, stream
from aisecure.call import current_context
from aisecure.errors import Misconfigured

__all__ = ["protect"]

F = TypeVar("F", bound=Callable[..., Any])

#: Parameter names that are taken for the prompt when none is named and there are several parameters.
PROMPT_NAMES = ("prompt", "messages", "input", "question", "query", "text")
#: As a prompt: every argument, under its name.
EVERY_ARGUMENT = "*"


def protect(
    plan: Callable[[], Plan] | Plan,
    resource: str | None,
    *,
    action: str,
    prompt: str | None,
    any_input: bool = False,
) -> Callable[[F], F]:
    """Return the decorator behind `Shield.protect` and every guard used alone.

    Args:
        plan: The guards, or what returns them for each call (so that a reload takes effect).
        resource: What is protected; ``{name}`` is replaced by the argument of that name. None names the function.
        action: What is done with it.
        prompt: Name of the parameter that is the input.
        any_input: Take the first one when none is named: nobody is going to look at it.
    """

    def current() -> Plan:
        return plan if isinstance(plan, Plan) else plan()

    def decorate(function: F) -> F:
        binding = _Binding.of(function, resource, prompt, any_input=any_input)

        def begin(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Passage:
            # Here, when the function is called, and not when a generator is first read: the caller may be gone by then.
            named, value = binding.resource_of(args, kwargs), binding.input_of(args, kwargs)
            return Passage(current(), current_context().call(action, named, value))

        def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, None]:
            passage = begin(args, kwargs)
            return alate(passage, _open(passage, function, binding, args, kwargs))

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, None]:
            passage = begin(args, kwargs)
            return late(passage, _open(passage, function, binding, args, kwargs))

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            passage = begin(args, kwargs)
            output = await adrive(_whole(passage, function, binding, args, kwargs))
            if inspect.isawaitable(output):  # the caller is given something to await, as before
                return _awaited(passage, output)
            return _opened(passage, output) if is_stream(output) else output

        def plain(*args: Any, **kwargs: Any) -> Any:
            passage = begin(args, kwargs)
            output = drive(_whole(passage, function, binding, args, kwargs))
            if inspect.isawaitable(output):  # a lambda or partial round an asynchronous function
                return _awaited(passage, output)
            return _opened(passage, output) if is_stream(output) else output

        wrapper: Callable[..., Any] = plain
        if inspect.isasyncgenfunction(function):
            wrapper = async_generator
        elif inspect.isgeneratorfunction(function):
            wrapper = generator
        elif inspect.iscoroutinefunction(function):
            wrapper = coroutine
        return cast("F", functools.wraps(function)(wrapper))

    return decorate


def _whole(
    passage: Passage,
    function: Callable[..., Any],
    binding: _Binding,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> Flow[Any]:
    """Enter, call, leave. A streamed output is returned as it is, with the passage still open."""
    handed_over = False
    try:
        call = yield from passage.enter()
        args, kwargs = binding.with_input(args, kwargs, call.input)
        output = yield Effect(
            functools.partial(function, *args, **kwargs), functools.partial(function, *args, **kwargs)
        )
        if is_stream(output) or inspect.isawaitable(output):
            handed_over = True
            return output
        return (yield from passage.leave(output))
    except BaseException as err:
        passage.fail(err)
        raise
    finally:
        if not handed_over:
            passage.close()


def _opened(passage: Passage, source: Any) -> Any:
    return stream(passage, source) if hasattr(type(source), "__next__") else astream(passage, source)


async def _awaited(passage: Passage, output: Awaitable[Any]) -> Any:
    """The rest of a call whose plain function returned something to await."""
    handed_over = False
    try:
        result = await output
        if is_stream(result):
            handed_over = True
            return _opened(passage, result)
        return await adrive(passage.leave(result))
    except BaseException as err:
        passage.fail(err)
        raise
    finally:
        if not handed_over:
            passage.close()


def _open(
    passage: Passage, function: Callable[..., Any], binding: _Binding, args: Any, kwargs: Any
) -> Flow[Any]:
    """Enter, then open the source; a refusal ends the passage here."""
    try:
        call = yield from passage.enter()
        args, kwargs = binding.with_input(args, kwargs, call.input)
        return function(*args, **kwargs)
    except BaseException as err:
        passage.fail(err)
        passage.close()
        raise


class _Parameter(NamedTuple):
    name: str
    position: int | None  # None: keyword only
    default: Any
    by_name: bool = True  # False: positional only, so that an equal key is one of **kwargs

    def get(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.by_name and self.name in kwargs:
            return kwargs[self.name]
        if self.position is not None and self.position < len(args):
            return args[self.position]
        return self.default

    def put(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if self.position is None or (self.by_name and self.name in kwargs) or self.position >= len(args):
            return args, {**kwargs, self.name: value}
        return (*args[: self.position], value, *args[self.position + 1 :]), kwargs


class _Everything:
    """The prompt of a function that takes ``*args`` and ``**kwargs`` alone: all of them, or guards would see nothing."""

    def get(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return {"args": args, "kwargs": kwargs}

    def put(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return value["args"], value["kwargs"]


class _Named:
    """The prompt ``*``: every argument under its name, so that a guard judges, or a person approves, all of them."""

    def __init__(self, signature: inspect.Signature) -> None:
        self._signature = signature

    def get(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        bound = self._bound(args, kwargs)
        return {name: value for name, value in bound.arguments.items() if name not in ("self", "cls")}

    def put(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        bound = self._bound(args, kwargs)
        bound.arguments.update(value)
        return bound.args, bound.kwargs

    def _bound(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> inspect.BoundArguments:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()
        return bound


class _Binding(NamedTuple):
    """How a call's arguments become resource and input; worked out once, at decoration."""

    literal: str
    pieces: tuple[tuple[str, _Parameter | None], ...]
    prompt: _Parameter | _Everything | _Named | None

    @classmethod
    def of(
        cls, function: Callable[..., Any], resource: str | None, prompt: str | None, *, any_input: bool
    ) -> _Binding:
        if isinstance(function, staticmethod | classmethod):
            raise TypeError(f"write @{type(function).__name__} above protect, not below it")
        if not callable(function):
            raise TypeError("protect decorates a function")
        name = getattr(function, "__qualname__", type(function).__name__)
        parameters: dict[str, _Parameter] = {}
        is_open = False
        for index, parameter in enumerate(inspect.signature(function).parameters.values()):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                is_open = True
                continue
            default = None if parameter.default is parameter.empty else parameter.default
            position = None if parameter.kind is parameter.KEYWORD_ONLY else index
            by_name = parameter.kind is not parameter.POSITIONAL_ONLY
            parameters[parameter.name] = _Parameter(parameter.name, position, default, by_name)
        template = f"function:{name}".replace("{", "").replace("}", "") if resource is None else resource
        pieces = []
        for text, field, _, _ in string.Formatter().parse(template):
            if field is not None and field not in parameters:
                raise Misconfigured(
                    f"{name}: resource {template!r} names no parameter {field!r}", code="config.resource"
                )
            pieces.append((text, None if field is None else parameters[field]))
        chosen: _Parameter | _Everything | _Named | None
        if prompt == EVERY_ARGUMENT:
            chosen = _Named(inspect.signature(function))
        else:
            chosen = _choose(name, parameters, prompt, any_input=any_input) or (
                _Everything() if is_open else None
            )
        literal = template if all(parameter is None for _, parameter in pieces) else ""
        return cls(literal, tuple(pieces), chosen)

    def resource_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> str:
        if self.literal:
            return self.literal
        return "".join(
            text if parameter is None else f"{text}{parameter.get(args, kwargs)}"
            for text, parameter in self.pieces
        )

    def input_of(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return None if self.prompt is None else self.prompt.get(args, kwargs)

    def with_input(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], value: Any
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return the arguments with the prompt replaced by the value the guards let through."""
        prompt = self.prompt
        if prompt is None or value is prompt.get(args, kwargs):
            return args, kwargs
        return prompt.put(args, kwargs, value)


def _choose(
    name: str, parameters: dict[str, _Parameter], prompt: str | None, *, any_input: bool
) -> _Parameter | None:
    if prompt is not None:
        if prompt not in parameters:
            raise Misconfigured(f"{name}: prompt={prompt!r} names no parameter", code="config.prompt")
        return parameters[prompt]
    own = [parameter for parameter in parameters.values() if parameter.name not in ("self", "cls")]
    if any_input or len(own) <= 1:
        return own[0] if own else None
    for candidate in PROMPT_NAMES:
        if candidate in parameters:
            return parameters[candidate]
    raise Misconfigured(
        f"{name}: several parameters and none is called {', '.join(PROMPT_NAMES)}; say which is the prompt: "
        f'prompt="{own[0].name}"',
        code="config.prompt",
    )
