"""The decorator that gives a function checked inputs, and its callers checked answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar, overload

from aisecure.sanitize._reader import OnInvalid
from aisecure.sanitize.schemas import AskAgain, SchemaGuard

__all__ = ["validated"]

P = ParamSpec("P")
T = TypeVar("T")
R_co = TypeVar("R_co", covariant=True)
F = TypeVar("F", bound=Callable[..., Any])


class _Returning(Protocol[R_co]):
    """A decorator after which a function returns values of the schema."""

    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, Any]], /
    ) -> Callable[P, Coroutine[Any, Any, R_co]]: ...
    @overload
    def __call__(self, function: Callable[P, Iterator[str]], /) -> Callable[P, Iterator[str]]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncIterator[str]], /) -> Callable[P, AsyncIterator[str]]: ...
    @overload
    def __call__(self, function: Callable[P, Any], /) -> Callable[P, R_co]: ...


class _Same(Protocol):
    """A decorator that keeps the signature."""

    def __call__(self, function: F, /) -> F: ...


@overload
def validated(*, input: Any, prompt: str | None = ..., **options: Any) -> _Same: ...
@overload
def validated(
    *,
    input: Any = ...,
    output: type[T],
    prompt: str | None = ...,
    on_invalid: OnInvalid = ...,
    attempts: int = ...,
    ask_again: AskAgain | None = ...,
    **options: Any,
) -> _Returning[T]: ...
@overload
def validated(
    *,
    input: Any = ...,
    output: Any,
    prompt: str | None = ...,
    on_invalid: OnInvalid = ...,
    attempts: int = ...,
    ask_again: AskAgain | None = ...,
    **options: Any,
) -> _Returning[Any]: ...


def validated(
    *,
    input: Any = None,
    output: Any = None,
    prompt: str | None = None,
    on_invalid: OnInvalid = "refuse",
    attempts: int = 2,
    ask_again: AskAgain | None = None,
    **options: Any,
) -> Any:
    """Return a decorator after which a function gets and returns only what its schemas allow.

    It works the same on ``def``, ``async def``, generators and async generators. The function gets the input as value of the
    schema (a model, a dictionary for a TypedDict ...), whether a caller gave JSON text, data or such a value; callers get the
    answer as value of the schema. A generator's answer is collected and leaves as one JSON text.

    Args:
        input: What the input has to be; None takes any.
        output: What the answer has to be; None takes any, and streams pass as they come.
        prompt: Name of the parameter that is the input, as for `Shield.protect`.
        on_invalid: As for `parse_output`.
        attempts: As for `SchemaGuard`, like ``ask_again``.
        ask_again: Returns another answer, given what was wrong with the last one.
        options: Others of `SchemaGuard`: ``limits``, ``extra``, ``strict`` ...

    Raises:
        InputRejected: When the function is called: ``input.schema``, with the places and rules, never values.
        OutputBlocked: When the function is called: ``output.schema``.

    >>> from pydantic import BaseModel
    >>> class Question(BaseModel):
    ...     text: str
    >>> @validated(input=Question)
    ... def ask(question: Question) -> str:
    ...     return question.text.upper()
    >>> ask({"text": "why?"})
    'WHY?'
    """
    guard = SchemaGuard(
        input=input,
        output=output,
        on_invalid=on_invalid,
        attempts=attempts,
        ask_again=ask_again,
        values=True,
        **options,
    )
    return guard.decorate(prompt=prompt)
