"""Where in a message or response the answer stands: a text that people or programs read, not a call of a tool."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aisecure._usage import getter
from aisecure.content import texts

__all__ = ["answer_texts", "is_message"]

#: Keys under which messages, choices and responses keep their text.
_TEXT = frozenset({"content", "text", "output_text"})
#: What an object has that is a message or holds some.
_MESSAGE = ("choices", "content", "generations", "output", "result")
_CALLS = ("tool_calls", "function_call")
#: Items of a response that are looked at.
_MOST = 1_000


def is_message(value: Any) -> bool:
    """Whether a value is a message or response of a provider, of LangChain, or of a LangChain agent's model."""
    if isinstance(value, str | bytes | bytearray | list | tuple | int | float | None):
        return False
    get = getter(value)
    if isinstance(value, Mapping):
        # Data of the application's own may have a content too; a role or choices beside it it rarely has.
        return isinstance(get("choices"), list) or (
            isinstance(get("role"), str) and get("content") is not None
        )
    if get("content") is not None:
        return isinstance(get("type") or get("role"), str)
    return any(isinstance(get(name), list) for name in _MESSAGE)


def answer_texts(value: Any) -> frozenset[str] | None:
    """Return the paths of the texts that are the answer; None when the message calls tools instead."""
    if any(_calls(message) for message in _messages(value)):
        return None
    return frozenset(
        part.path
        for part in texts(value, origin="model")
        if part.text.strip() and part.path.rpartition("/")[2] in _TEXT
    )


def _messages(value: Any) -> list[Any]:
    found = [value]
    get = getter(value)
    for name in _MESSAGE:
        inner = get(name)
        if isinstance(inner, list):
            found += inner[:_MOST]
    found += [getter(item)("message") for item in found[1:]]
    return [item for item in found if item is not None and not isinstance(item, str)]


def _calls(message: Any) -> bool:
    get = getter(message)
    return any(get(name) for name in _CALLS) or get("type") in {"tool_use", "function_call"}
