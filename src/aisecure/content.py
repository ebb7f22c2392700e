"""Finds the texts inside any input or output, and puts changed texts back.

Understood are texts, bytes that are UTF-8, mappings, sequences, sets, dataclasses and pydantic models, and
so the message lists, content parts, tool calls and response objects of OpenAI, Anthropic and LangChain.
Names and numbers that only carry structure (roles, ids, model names) are never offered to a guard.
Any other object is opaque: it passes unread, because nobody could put a changed text back.
"""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal

from aisecure.errors import InputRejected

__all__ = ["MAX_DEPTH", "MAX_NODES", "Origin", "Part", "rewrite", "texts"]

#: Deeper values are rejected; also what ends the walk of a cyclic value.
MAX_DEPTH = 64
#: Values with more nodes are rejected: a bound on the work one input can cause.
MAX_NODES = 1_000_000

Origin = Literal["user", "system", "document", "tool", "model"]


@dataclass(frozen=True, slots=True)
class Part:
    """One text inside a larger value.

    Attributes:
        text: The text.
        path: JSON Pointer (RFC 6901) of the text; empty when the value is the text itself.
        origin: Who wrote it: the roles of a message list decide, else the caller of the walk.
        labels: Data classes and forms, such as ``json`` for tool-call arguments.
    """

    text: str
    path: str = ""
    origin: Origin = "user"
    labels: frozenset[str] = frozenset()


#: Message roles of the common APIs, and LangChain's message types.
_ORIGINS: Mapping[str, Origin] = {
    "user": "user", "human": "user", "system": "system", "developer": "system",
    "assistant": "model", "ai": "model", "AIMessageChunk": "model", "model": "model",
    "tool": "tool", "function": "tool", "document": "document",
}  # fmt: skip

#: Keys that carry structure in messages, parts and responses. They are skipped only inside objects that
#: look like one of those, so that {"id": "ada@example.org"} in a user's own JSON is still read.
_STRUCTURE = frozenset(
    {
        "chunk_position", "created", "finish_reason", "id", "index", "logprobs", "model", "object", "response_metadata", "role",
        "service_tier", "stop_reason", "system_fingerprint", "tool_call_id", "tool_use_id", "type", "usage",
        "usage_metadata",
    }
)  # fmt: skip

#: In the chunks of a stream also these: a filter that holds back the end of a text must not cut them.
_CHUNK_STRUCTURE = _STRUCTURE | {"event", "name", "status"}

#: Content parts without text, and the keys of their payload, which is left alone.
_BINARY_PARTS = frozenset(
    {"image", "image_url", "input_image", "input_audio", "audio", "file", "input_file", "video"}
)
_PAYLOAD = frozenset({"data", "file", "file_data", "image_url", "input_audio", "source", "url"})
#: A pydantic model with one of these fields is an API object.
_API_FIELDS = frozenset({"choices", "delta", "object", "role", "tool_call_id"})
_NO_KEYS: frozenset[str] = frozenset()

_PLAIN = frozenset({int, float, bool, type(None), complex})
_NO_LABELS: frozenset[str] = frozenset()
_JSON = frozenset({"json"})

Rewrite = Callable[[Part], str]


def rewrite(value: Any, change: Rewrite, *, origin: Origin = "user", chunk: bool = False) -> Any:
    """Return the value with every text replaced by ``change(part)``; what is unchanged is shared, not copied.

    Args:
        value: Anything; see the module's text for what is understood.
        change: Called once for each text, in document order.
        origin: Who wrote the texts that no role speaks for.
        chunk: The value is one piece of a stream; names and states of its envelope are then structure.

    Raises:
        InputRejected: The value is nested deeper than `MAX_DEPTH` (or is cyclic), or has more than
            `MAX_NODES` nodes.

    >>> rewrite({"messages": [{"role": "user", "content": "hi"}]}, lambda part: part.text.upper())
    {'messages': [{'role': 'user', 'content': 'HI'}]}
    """
    if type(value) is str:
        return change(Part(value, "", origin))
    return _Walk(change, _CHUNK_STRUCTURE if chunk else _STRUCTURE).visit(value, "", origin, 0)


def texts(value: Any, *, origin: Origin = "user") -> Iterator[Part]:
    """Return the texts inside a value, in document order.

    Raises:
        InputRejected: As for `rewrite`.
    """
    found: list[Part] = []

    def keep(part: Part) -> str:
        found.append(part)
        return part.text

    rewrite(value, keep, origin=origin)
    return iter(found)


class _Walk:
    """One walk over one value; counts what it visits."""

    __slots__ = ("_change", "_nodes", "_structure")

    def __init__(self, change: Rewrite, structure: frozenset[str]) -> None:
        self._change = change
        self._structure = structure
        self._nodes = 0

    def visit(self, value: Any, path: str, origin: Origin, depth: int) -> Any:
        kind = type(value)
        if kind is str:
            return self._text(value, path, origin)
        self._nodes += 1
        if self._nodes > MAX_NODES:
            raise InputRejected(f"The value has more than {MAX_NODES} elements.", code="input.items")
        if kind in _PLAIN:
            return value
        if depth >= MAX_DEPTH:
            raise InputRejected(f"The value is nested deeper than {MAX_DEPTH} levels.", code="input.nested")
        if isinstance(value, Mapping):
            return self._mapping(value, path, origin, depth)
        if isinstance(value, list | tuple | set | frozenset | deque):
            return self._sequence(value, path, origin, depth)
        if isinstance(value, bytes | bytearray):
            return self._bytes(value, path, origin)
        if isinstance(value, str):
            if isinstance(value, Enum):  # its value is one of a few, and so structure
                return value
            # A text by another name: Markup, LangChain's TextAccessor, numpy's str_. Changed, it is a plain text.
            text = str(value)
            changed = self._text(text, path, origin)
            return value if changed == text else changed
        if hasattr(kind, "model_fields") and hasattr(value, "model_copy"):
            return self._model(value, path, origin, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            return self._dataclass(value, path, origin, depth)
        return value

    def _text(self, text: str, path: str, origin: Origin, labels: frozenset[str] = _NO_LABELS) -> str:
        return self._change(Part(text, path, origin, labels))

    def _bytes(self, value: bytes | bytearray, path: str, origin: Origin) -> Any:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            return value
        changed = self._text(text, path, origin)
        return value if changed == text else type(value)(changed.encode("utf-8", "surrogatepass"))

    def _fields(
        self, items: Mapping[Any, Any], path: str, origin: Origin, depth: int, skipped: frozenset[str]
    ) -> dict[Any, Any]:
        """Return only the entries that changed."""
        changed: dict[Any, Any] = {}
        for key, value in items.items():
            if key in skipped:
                continue
            where = f"{path}/{_escape(key)}"
            if key == "arguments" and type(value) is str:  # of a tool call: JSON inside a text
                new: Any = self._text(value, where, origin, _JSON)
            else:
                new = self.visit(value, where, origin, depth + 1)
            if new is not value:
                changed[key] = new
        return changed

    def _mapping(self, value: Mapping[Any, Any], path: str, origin: Origin, depth: int) -> Any:
        role, kind = value.get("role"), value.get("type")
        skipped = _NO_KEYS
        if isinstance(kind, str) and kind in _BINARY_PARTS:
            skipped = self._structure | _PAYLOAD
        elif isinstance(role, str) or isinstance(kind, str) or "choices" in value or "delta" in value:
            skipped = self._structure
        changed = self._fields(value, path, _origin(role, origin), depth, skipped)
        return {**value, **changed} if changed else value

    def _sequence(self, value: Any, path: str, origin: Origin, depth: int) -> Any:
        new = [
            self.visit(item, f"{path}/{self._place(item, index)}", origin, depth + 1)
            for index, item in enumerate(value)
        ]
        if all(after is before for after, before in zip(new, value, strict=True)):
            return value
        kind = type(value)
        if kind is deque:
            return deque(new, value.maxlen)
        return kind(*new) if hasattr(kind, "_fields") else kind(new)

    def _place(self, item: Any, index: int) -> int:
        """Return the place of a list's item; in a chunk the one it states, since each carries one or two of many."""
        if self._structure is not _CHUNK_STRUCTURE:
            return index
        stated = item.get("index") if isinstance(item, Mapping) else getattr(item, "index", None)
        return stated if type(stated) is int else index

    def _model(self, value: Any, path: str, origin: Origin, depth: int) -> Any:
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        fields.update(getattr(value, "model_extra", None) or {})
        role = fields.get("role", fields.get("type"))
        # API objects have ids and roles beside their text; a user's own model is read whole.
        is_api = isinstance(fields.get("type"), str) or not _API_FIELDS.isdisjoint(fields)
        changed = self._fields(
            fields, path, _origin(role, origin), depth, self._structure if is_api else _NO_KEYS
        )
        return value.model_copy(update=changed) if changed else value

    def _dataclass(self, value: Any, path: str, origin: Origin, depth: int) -> Any:
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}
        changed = self._fields(fields, path, origin, depth, _NO_KEYS)
        return dataclasses.replace(value, **changed) if changed else value


def _origin(role: Any, default: Origin) -> Origin:
    # A role may be an enumeration of a framework; its value is the word.
    word = getattr(role, "value", role)
    return _ORIGINS.get(word, default) if isinstance(word, str) else default


def _escape(key: Any) -> str:
    return str(key).replace("~", "~0").replace("/", "~1")
