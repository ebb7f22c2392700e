"""Request and response bodies as values that guards can walk, and back to bytes."""

from __future__ import annotations

from typing import Any

import orjson

from aisecure.adapters._problems import JSON_LINES
from aisecure.errors import InputRejected

__all__ = ["decode", "encode", "is_json", "is_text", "media_type"]

#: Text by another name than ``text/*``.
_TEXTUAL = frozenset({"application/javascript", "application/xml", "application/yaml", ""}) | JSON_LINES


def media_type(content_type: str) -> str:
    """Return the media type of a ``Content-Type`` value, lower-case and without parameters."""
    return content_type.partition(";")[0].strip().lower()


def is_json(kind: str) -> bool:
    """Whether a media type is one JSON document (RFC 6839 section 3.1 for the suffix)."""
    return kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))


def is_text(kind: str) -> bool:
    """Whether a media type is text. A body without a type is looked at like text: nobody said it is not."""
    return kind.startswith("text/") or kind in _TEXTUAL or kind.endswith("+xml")


def decode(body: bytes, kind: str) -> Any:
    """Return a request's body as a value: parsed JSON, text, or None when empty.

    Raises:
        InputRejected: It is not UTF-8, not JSON although it says so, or of a kind that cannot be read.
    """
    if not body:
        return None
    if not is_json(kind) and not is_text(kind):
        raise InputRejected(
            "The body is neither JSON nor text, so it cannot be checked.", code="input.media_type"
        )
    try:
        text = body.decode()
    except UnicodeDecodeError as err:
        raise InputRejected(
            f"The body is not valid UTF-8 (byte {err.start}).", code="input.encoding"
        ) from None
    if not is_json(kind):
        return text
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as err:
        # ``from None`` and the place alone: the exception carries the document.
        raise InputRejected(
            f"The body is not valid JSON (line {err.lineno}, column {err.colno}).", code="input.json"
        ) from None


def encode(value: Any, kind: str) -> bytes:
    """Return a changed value as a body of a media type.

    Raises:
        ValueError: It holds something that cannot be sent as UTF-8, such as half a surrogate pair.
        TypeError: It holds something that has no form in JSON.
    """
    if value is None:
        return b""
    if isinstance(value, str) and not is_json(kind):
        # Bytes that were no UTF-8 on the way in leave as they came.
        return value.encode("utf-8", "surrogateescape")
    return orjson.dumps(value)
