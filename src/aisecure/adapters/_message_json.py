"""A LangChain message as a value of JSON, and back."""

from __future__ import annotations

from typing import Any

from langchain_core.messages import BaseMessage, messages_from_dict

from aisecure.errors import DecryptionError

__all__ = ["from_json", "to_json"]

#: What `messages_from_dict` reads. A message of another class would be written and never read again.
_KINDS = frozenset(
    "human ai system chat function tool remove HumanMessageChunk AIMessageChunk SystemMessageChunk"
    " ChatMessageChunk FunctionMessageChunk ToolMessageChunk".split()
)


def to_json(message: BaseMessage) -> dict[str, Any]:
    """Return kind and fields of a message, as LangChain's own JSON stores have them.

    Raises:
        TypeError: It is no message, or one that could not be read again.
        ValueError: It contains itself.
    """
    if not isinstance(message, BaseMessage):
        raise TypeError(f"this holds messages, not {type(message).__name__}")
    if message.type not in _KINDS:
        raise TypeError(f"a {type(message).__name__} cannot be read again; use a class of langchain-core")
    # Without warnings: pydantic's quote the value that has not the declared type.
    return {"type": message.type, "data": message.model_dump(warnings=False)}


def from_json(value: dict[str, Any]) -> BaseMessage:
    """Return the message of what `to_json` gave.

    Raises:
        DecryptionError: It was written by another version of LangChain.
    """
    try:
        return messages_from_dict([value])[0]
    except (ValueError, TypeError, KeyError):
        pass
    # Outside the handler: pydantic's error quotes the message.
    raise DecryptionError("A stored message cannot be read by this version of langchain-core.")
