"""What inputs of models are made of: objects with fields, messages with parts, and attachments among them."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Mapping
from typing import Any, NamedTuple

__all__ = ["Shape", "fields_of", "is_sequence", "shape_of"]

_SEQUENCES = (list, tuple, set, frozenset, deque)


def is_sequence(value: Any) -> bool:
    """Whether a value is a collection of items; texts, bytes and iterators are not."""
    return isinstance(value, _SEQUENCES)


def fields_of(value: Any) -> Mapping[Any, Any] | None:
    """Return what a mapping, pydantic object or dataclass holds by name, or None for any other object."""
    if isinstance(value, Mapping):
        return value
    kind = type(value)
    if hasattr(kind, "__pydantic_validator__") and hasattr(kind, "model_fields"):
        return {**value.__dict__, **(getattr(value, "__pydantic_extra__", None) or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
    return None


class Shape(NamedTuple):
    """How a mapping is sent to a model.

    Attributes:
        is_message: It is a message or part of one: its keys are no text.
        attachments: For each image, recording or file in it, the bytes that may be plain text, or 0.
        payload: Keys that hold attachments.
    """

    is_message: bool
    attachments: tuple[int, ...] = ()
    payload: frozenset[str] = frozenset()


_MESSAGE, _OTHER = Shape(is_message=True), Shape(is_message=False)

#: Types of messages and parts, beside those that name an attachment. Schemas have types too, so no others are taken
#: for messages.
_MESSAGE_TYPES = frozenset({
    "human", "ai", "system", "developer", "tool", "function", "chat", "remove", "AIMessageChunk", "HumanMessageChunk",
    "SystemMessageChunk", "ToolMessageChunk", "message", "text", "input_text", "output_text", "refusal", "reasoning",
    "thinking", "redacted_thinking", "tool_use", "tool_result", "server_tool_use", "search_result", "tool_call",
    "function_call", "function_call_output",
})  # fmt: skip
_PICTURES = frozenset({"image", "image_url", "input_image", "input_audio", "audio", "video", "video_url"})
_FILES = frozenset({"file", "input_file", "document", "media"})
_PAYLOAD = frozenset(
    {"audio", "base64", "data", "file", "file_data", "file_id", "file_url", "image_url", "input_audio", "source", "url", "video_url"}
)  # fmt: skip
#: Google and Bedrock name the attachment by its key.
_GOOGLE = frozenset({"inline_data", "inlineData", "file_data", "fileData"})
_BEDROCK = frozenset({"image", "document", "video", "audio"})
#: Media types and formats of files whose bytes are no text; of all others they may be.
_BINARY = (
    "image/",
    "audio/",
    "video/",
    "application/pdf",
    "pdf",
    "application/msword",
    "doc",
    "application/vnd.",
    "xls",
)
_MEDIA = ("media_type", "mediaType", "mime_type", "mimeType", "format")


def shape_of(fields: Mapping[Any, Any]) -> Shape:
    """Return how a mapping is sent: as a message, with which attachments."""
    role, kind = fields.get("role"), fields.get("type")
    if isinstance(kind, str):
        if kind in _PICTURES:
            return Shape(True, (0,), _PAYLOAD)
        if kind in _FILES:
            source = fields.get("source")
            if isinstance(source, Mapping) and source.get("type") in ("text", "content"):
                return _MESSAGE  # Anthropic: a document whose text is right here
            return Shape(True, (_plain_bytes(fields),), _PAYLOAD)
    by_key = [
        key
        for key, item in fields.items()
        if isinstance(item, Mapping)
        and (key in _GOOGLE or (key in _BEDROCK and isinstance(item.get("source"), Mapping | bytes)))
    ]
    if by_key:
        sizes = tuple(0 if key in _PICTURES else _plain_bytes(fields[key]) for key in by_key)
        return Shape(True, sizes, frozenset(by_key))
    if not (isinstance(role, str) or (isinstance(kind, str) and kind in _MESSAGE_TYPES)):
        return _OTHER
    images = fields.get("images")  # Ollama: a list of Base64 beside the content
    if isinstance(images, list | tuple) and images:
        return Shape(True, (0,) * len(images), frozenset({"images"}))
    return _MESSAGE


def _plain_bytes(part: Mapping[Any, Any]) -> int:
    """Return how many bytes of plain text a file may hold; 0 when it is of another form."""
    held = [part, *(item for item in part.values() if isinstance(item, Mapping))]
    size = 0
    for fields in held:
        for name in _MEDIA:
            media = fields.get(name)
            if isinstance(media, str) and media.startswith(_BINARY):
                return 0
        for key, item in fields.items():
            if isinstance(item, str) and item.startswith("data:"):
                if item[5:].startswith(_BINARY):
                    return 0
                size += len(item)
            elif (key in _PAYLOAD or key == "bytes") and isinstance(item, str | bytes | bytearray):
                size += len(item)
    return size
