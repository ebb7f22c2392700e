"""Schemas in, schemas out: an input is what its schema says before a function sees it, an answer before anybody does.

`parse_output` is the function, `SchemaGuard` the guard for a Shield. Schemas are whatever pydantic
takes: models, TypedDicts, dataclasses, ``list[Item]``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import orjson

from aisecure.call import Call
from aisecure.content import Part, rewrite
from aisecure.decisions import Decision, Finding
from aisecure.errors import denied
from aisecure.guard import Changed, Guard
from aisecure.ports import TextFilter
from aisecure.sanitize._answers import answer_texts, is_message
from aisecure.sanitize._reader import DETECTOR, OnInvalid, Reader
from aisecure.sanitize._schema import Extra, Schema, Violation, Violations
from aisecure.sanitize._strict_json import JsonLimits

__all__ = ["AskAgain", "JsonLimits", "SchemaGuard", "parse_output"]

T = TypeVar("T")
#: Is told what was wrong, by place and rule; returns a new answer, or something to await.
AskAgain = Callable[[str], Any]

_MOST_ATTEMPTS = 10
#: Under these keys chunks bring what is no answer: it is shown or counted, and nobody reads it as a value.
_THOUGHTS = frozenset({"reasoning", "reasoning_content", "thinking"})


def parse_output(
    text: Any,
    schema: type[T] | Any,
    *,
    on_invalid: OnInvalid = "refuse",
    limits: JsonLimits | None = None,
    extra: Extra | None = "forbid",
    strict: bool = False,
) -> T:
    r"""Return the value of the schema that a model's answer holds.

    The answer is a text with one JSON value in it, alone, in a Markdown fence or between sentences; or plain data; or an
    object of the schema. Refused is what parsers read differently (repeated keys, NaN, integers beyond 64 bits, half
    surrogate pairs), what is over a limit, and a text with several values, of which nobody knows the right one.

    Args:
        text: The answer.
        schema: Any type that pydantic takes, or a ready ``TypeAdapter``.
        on_invalid: ``"repair"`` mends what has one meaning only: commas before a closing bracket, Python's ``True``, ``False``
            and ``None``, and one ``}`` that is missing at the end. The result counts only when it follows the schema.
        limits: How large the answer may be; by default 1 MiB, 32 levels, 100,000 items.
        extra: What happens to fields that the schema does not name; None leaves that to each model's own setting.
        strict: Convert nothing.

    Raises:
        OutputBlocked: ``output.schema``. Its decision's findings name places and rules, never values.

    >>> from pydantic import BaseModel
    >>> class Order(BaseModel):
    ...     item: str
    ...     count: int
    >>> parse_output('Here it is:\n```json\n{"item": "tea", "count": 2}\n```', Order)
    Order(item='tea', count=2)
    """
    reader: Reader[Any] = Reader(
        Schema(schema, limits=limits or JsonLimits(), extra=extra, strict=strict), on_invalid
    )
    try:
        return reader.answer(text)[0]  # type: ignore[no-any-return]
    except Violations as err:
        raise _error(err, code="output.schema") from None


def _error(err: Violations, *, code: str) -> Any:
    findings = tuple(
        Finding(f"schema.{violation.rule}", 0, 0, detector=DETECTOR, path=violation.pointer)
        for violation in err.found
    )
    subject = "input" if code.startswith("input") else "answer"
    first = err.found[0]
    reason = f"The {subject} does not follow its schema ({first.pointer or 'the whole value'}: {first.rule})."
    return denied(Decision.deny(code, reason, findings=findings))


class SchemaGuard(Guard):
    """Lets inputs and answers through only when they follow a schema, and in no other form than the one that was checked.

    Texts go on as JSON text, data as plain data, models as models: each written anew from the checked value, so that nobody
    behind the guard can read something else in them. In messages of providers and of LangChain the text of the answer is
    checked; a message that calls tools instead of answering passes.

    A streamed answer is held back until its end, because half a value cannot be judged; it then leaves in one piece. The
    arguments of tool calls in it pass as they come, and so does what a model thinks before it answers (``reasoning_content``,
    ``thinking``).

    Args:
        input: What inputs have to be; None takes any.
        output: What answers have to be; None takes any.
        on_invalid: As for `parse_output`.
        ask_again: Called when an answer does not follow the schema, with sentences that name the places and rules; returns
            another answer. It may be a coroutine function where the protected function is one. Not used for streams.
        attempts: Answers that are looked at, the first one included; at most 10.
        limits, extra, strict: As for `parse_output`.
        values: Hand on the values of the schema, such as models, instead of what they are written as.
        options: As for `aisecure.guard.Guard`.

    >>> from aisecure import Shield
    >>> from pydantic import BaseModel
    >>> class Order(BaseModel):
    ...     item: str
    >>> shield = Shield(SchemaGuard(output=Order, on="model:orders"))
    >>> @shield.protect("model:orders")
    ... def order(prompt: str) -> str:
    ...     return 'Sure! {"item": "tea"}'
    >>> order("What do I want?")
    '{"item":"tea"}'
    """

    name = "schema"

    def __init__(
        self,
        *,
        input: Any = None,
        output: Any = None,
        on_invalid: OnInvalid = "refuse",
        ask_again: AskAgain | None = None,
        attempts: int = 2,
        limits: JsonLimits | None = None,
        extra: Extra | None = "forbid",
        strict: bool = False,
        values: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if input is None and output is None:
            raise ValueError("SchemaGuard takes input=, output= or both")
        if not 1 <= attempts <= _MOST_ATTEMPTS:
            raise ValueError(f"attempts is 1 to {_MOST_ATTEMPTS}")
        limits = limits or JsonLimits()

        def reader(kind: Any) -> Reader[Any] | None:
            if kind is None:
                return None
            return Reader(Schema(kind, limits=limits, extra=extra, strict=strict), on_invalid)

        self._input, self._output = reader(input), reader(output)
        self.reads_input = input is not None
        self._ask_again = ask_again
        self._attempts = attempts
        self._values = values
        if ask_again is not None and inspect.iscoroutinefunction(ask_again):
            self.aafter = self._aafter

    def before(self, call: Call) -> Changed | None:
        """Return the call with the checked input."""
        if self._input is None:
            return None
        try:
            value = self._input.input(call.input)
        except Violations as err:
            raise _error(err, code="input.schema") from None
        new = value if self._values else _written(self._input.schema, value, call.input)
        return None if new is call.input else Changed(call.with_input(new))

    def after(self, call: Call, output: Any) -> Changed | None:
        """Return the checked answer, asking again where that is allowed."""
        if self._output is None:
            return None
        for _ in range(self._attempts - 1 if self._ask_again else 0):
            try:
                return self._checked(output)
            except Violations as err:
                output = self._ask_again(_summary(err))  # type: ignore[misc]
        return self._last(output)

    async def _aafter(self, call: Call, output: Any) -> Changed | None:
        if self._output is None:
            return None
        for _ in range(self._attempts - 1):
            try:
                return self._checked(output)
            except Violations as err:
                output = await self._ask_again(_summary(err))  # type: ignore[misc]
        return self._last(output)

    def stream(self, call: Call) -> TextFilter | None:
        """Return a filter that holds the answer back until its end."""
        return None if self._output is None else _Collected(self._output)

    def stream_text(self, call: Call, path: str) -> TextFilter | None:
        """Return a filter that lets the model's thoughts pass, and holds everything else back until its end."""
        if self._output is not None and path.rpartition("/")[2] in _THOUGHTS:
            return _Through()
        return self.stream(call)

    def stream_value(self, call: Call, name: str) -> TextFilter | None:
        """Return a filter that lets the arguments of tool calls pass."""
        return None if self._output is None else _Through()

    def _last(self, output: Any) -> Changed:
        try:
            return self._checked(output)
        except Violations as err:
            raise _error(err, code="output.schema") from None

    def _checked(self, output: Any) -> Changed:
        reader = self._output
        assert reader is not None  # noqa: S101  (for the type checker)
        if reader.schema.is_own(output) or not is_message(output):
            value, findings = reader.answer(output)
            return Changed(value if self._values else _written(reader.schema, value, output), findings)
        found: list[Finding] = []
        places = answer_texts(output)
        if places is None:  # it calls tools
            return Changed(output)

        def check(part: Part) -> str:
            if part.path not in places:
                return part.text
            value, findings = reader.answer(part.text)
            found.extend(findings)
            return str(_written(reader.schema, value, part.text))

        if not places:
            raise Violations((Violation("", "missing"),))
        return Changed(rewrite(output, check, origin="model"), tuple(found))


def _written(schema: Schema[Any], value: Any, given: Any) -> Any:
    """Return a checked value in the form in which it was given."""
    if isinstance(given, str | bytes | bytearray | memoryview):
        dumped = schema.dumped(value)
        text = dumped if schema.is_text and isinstance(dumped, str) else orjson.dumps(dumped).decode()
        return text if isinstance(given, str) else text.encode()
    if isinstance(given, Mapping | list | tuple):
        return schema.dumped(value)
    return value


def _summary(err: Violations) -> str:
    """Return what a model is told of its answer."""
    lines = "\n".join(f"- {violation}" for violation in err.found)
    return (
        "The answer was not accepted. Answer again with one JSON value that follows the schema, and nothing else.\n"
        f"{lines}"
    )


class _Collected:
    """A `TextFilter` that keeps a whole answer, and gives it back written anew."""

    def __init__(self, reader: Reader[Any]) -> None:
        self._reader = reader
        self._pieces: list[str] = []
        self._size = 0
        self._findings: tuple[Finding, ...] = ()

    def feed(self, chunk: str) -> str:
        self._size += len(chunk)
        if self._size > self._reader.schema.limits.max_bytes:
            raise _error(Violations((Violation("", "too_large"),)), code="output.schema")
        self._pieces.append(chunk)
        return ""

    def finish(self) -> str:
        text = "".join(self._pieces)
        if not text:  # a stream of messages asks the filter of bare text too
            return ""
        try:
            value, self._findings = self._reader.answer(text)
        except Violations as err:
            raise _error(err, code="output.schema") from None
        return str(_written(self._reader.schema, value, text))

    @property
    def findings(self) -> tuple[Finding, ...]:
        return self._findings


class _Through:
    """A `TextFilter` that changes nothing."""

    findings: tuple[Finding, ...] = ()

    def feed(self, chunk: str) -> str:
        return chunk

    def finish(self) -> str:
        return ""
