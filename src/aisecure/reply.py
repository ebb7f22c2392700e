"""What a model's answer says about itself: which model, how many tokens.

Read are the response objects, dicts and stream chunks of OpenAI, Anthropic, Google, llama.cpp and LangChain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aisecure.events import Usage

__all__ = ["Reply", "read_reply"]


@dataclass(frozen=True, slots=True)
class Reply:
    """Facts that the provider stated beside its answer; empty where it stated nothing.

    Attributes:
        model: The model that answered (OpenAI and Anthropic ``model``, Google ``modelVersion``).
        fingerprint: OpenAI ``system_fingerprint``.
        usage: Tokens, or None when not reported (a stream reports them in its last chunk).
    """

    model: str = ""
    fingerprint: str = ""
    usage: Usage | None = None


def read_reply(value: Any) -> Reply | None:
    """Return what an output or stream chunk says about its model, or None when it says nothing.

    A gateway may echo the requested name: an equal name is weak evidence, a different one is strong.

    >>> read_reply({"model": "m-1", "usage": {"prompt_tokens": 7, "completion_tokens": 2}})
    Reply(model='m-1', fingerprint='', usage=Usage(input_tokens=7, output_tokens=2))
    """
    if value is None or type(value) in (str, bytes, int, float, list):
        return None
    stated = _get(value, "response_metadata")  # LangChain messages
    source = stated if isinstance(stated, Mapping) else value
    message = _get(value, "message")  # LangChain generations, Anthropic's message_start
    if (
        stated is None and message is not None and _get(message, "message") is None
    ):  # once: no depth, no cycle
        return read_reply(message)
    model = _text(source, "model") or _text(source, "model_name") or _text(source, "modelVersion")
    fingerprint = _text(source, "system_fingerprint")
    usage = _usage(_get(value, "usage_metadata") or _get(value, "usage") or _get(value, "usageMetadata"))
    if not (model or fingerprint or usage):
        return None
    return Reply(model, fingerprint, usage)


def _get(value: Any, name: str) -> Any:
    if isinstance(value, Mapping):
        return value.get(name)
    if hasattr(type(value), "__pydantic_validator__"):
        # Asking a pydantic object for what it has not costs microseconds, and streams ask for each chunk.
        found = value.__dict__.get(name)
        return found if found is not None else (value.__pydantic_extra__ or {}).get(name)
    return getattr(value, name, None)


def _text(value: Any, name: str) -> str:
    found = _get(value, name)
    return found if isinstance(found, str) else ""


#: The names under which providers report tokens: input, then output.
_COUNTS = (
    ("prompt_tokens", "completion_tokens"),
    ("input_tokens", "output_tokens"),
    ("promptTokenCount", "candidatesTokenCount"),
)


def _usage(value: Any) -> Usage | None:
    for names in _COUNTS:
        counts = [_get(value, name) for name in names]
        if any(type(count) is int for count in counts):
            return Usage(*(count if type(count) is int and count >= 0 else 0 for count in counts))
    return None
