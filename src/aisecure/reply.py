"""What a model's answer says about itself: which model, how many tokens.

Read are the response objects, dicts and stream chunks of OpenAI, Anthropic, Google, Bedrock, llama.cpp, Ollama and
LangChain. What an agent returns, ``{"messages": [...]}``, says nothing: it holds the answers of earlier calls too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import reduce
from typing import Any

from aisecure._usage import Get, getter, native_usage, read_usage
from aisecure._value import value
from aisecure.events import Usage

__all__ = ["Reply", "read_reply"]


@value
class Reply:
    """Facts that the provider stated beside its answer; empty where it stated nothing.

    Attributes:
        model: The model that answered (OpenAI and Anthropic ``model``, Google ``modelVersion``).
        fingerprint: OpenAI ``system_fingerprint``.
        usage: Tokens, or None when not reported (a stream reports them in its last chunk).
        adds: The usage is that of one chunk alone, as LangChain counts: those of all chunks add up. Chunks of
            providers tell the count so far.
    """

    model: str = ""
    fingerprint: str = ""
    usage: Usage | None = None
    adds: bool = False


#: Chunks and outputs that cannot say anything.
_MUTE = frozenset({type(None), str, bytes, bytearray, int, float, bool, list, tuple})
#: Items of a batch or result that are looked at.
_MOST_ITEMS = 10_000


def read_reply(value: Any) -> Reply | None:
    """Return what an output or stream chunk says about its model, or None when it says nothing.

    A gateway may echo the requested name: an equal name is weak evidence, a different one is strong.

    >>> read_reply({"model": "m-1", "usage": {"prompt_tokens": 7, "completion_tokens": 2}}).usage.input_tokens
    7
    """
    if type(value) in _MUTE:
        return None
    get = getter(value)
    reply = _read(get)
    if reply is not None and reply.usage is not None:
        return reply
    inner = _inside(value, get)
    if inner is None or reply is None:
        return inner or reply
    return replace(
        inner, model=inner.model or reply.model, fingerprint=inner.fingerprint or reply.fingerprint
    )


def _inside(value: Any, get: Get) -> Reply | None:
    """Read what an envelope is round, once: no depth, no cycle."""
    message = get("message")  # LangChain's generations, Anthropic's first event
    if message is not None:
        return None if type(message) in _MUTE else _read(getter(message))
    kind = get("type")
    if isinstance(kind, str) and kind.startswith("response."):  # OpenAI's Responses: in the last event
        return _read(getter(get("response")))
    if isinstance(value, Mapping):  # Bedrock: in the last event
        told = get("metadata")
        usage = read_usage(told.get("usage")) if isinstance(told, Mapping) else None
        return Reply(usage=usage) if usage else None
    return _of_batch(get) or _of_result(getter(get("model_response") or value))


def _read(get: Get) -> Reply | None:
    stated = get("response_metadata")  # LangChain messages
    source = stated.get if isinstance(stated, Mapping) else get
    model = source("model") or source("model_name") or source("modelVersion") or source("model_version")
    fingerprint = source("system_fingerprint")
    usage = read_usage(get("usage_metadata") or get("usage") or get("usageMetadata")) or native_usage(get)
    if usage is None and source is not get and get("type") == "ai":
        usage = read_usage(
            source("token_usage") or source("usage")
        )  # integrations that fill no usage_metadata
    model = model if isinstance(model, str) else ""
    fingerprint = fingerprint if isinstance(fingerprint, str) else ""
    if not (model or fingerprint or usage):
        return None
    return Reply(model, fingerprint, usage, adds=usage is not None and get("type") == "AIMessageChunk")


def _of_batch(get: Get) -> Reply | None:
    """Read LangChain's `LLMResult` and `ChatResult`: generations by prompt, and the sum of their tokens beside."""
    prompts = get("generations")
    if not isinstance(prompts, list):
        return None
    said = getter(get("llm_output"))
    usage = read_usage(said("token_usage") or said("usage"))
    if usage is None:
        usage = _sum(
            # The candidates of one prompt each tell the tokens of all.
            reduce(Usage.most, (reply.usage for reply in _replies(one) if reply.usage), Usage())
            for one in (prompts if prompts and isinstance(prompts[0], list) else [prompts])[:_MOST_ITEMS]
        )
    model = said("model_name") or said("model")
    model = model if isinstance(model, str) else ""
    return Reply(model, "", usage) if model or usage else None


def _of_result(get: Get) -> Reply | None:
    """Read what a model call of a LangChain agent returns: the messages of this call alone."""
    messages = get("result")
    if not isinstance(messages, list):
        return None
    replies = [reply for reply in _replies(messages) if reply.model or reply.usage]
    if not replies:
        return None
    return Reply(
        replies[0].model, replies[0].fingerprint, _sum(reply.usage for reply in replies if reply.usage)
    )


def _replies(values: Any) -> Iterable[Reply]:
    for item in values[:_MOST_ITEMS] if isinstance(values, list) else ():
        if type(item) not in _MUTE:
            get = getter(item)
            reply = _read(getter(get("message"))) or _read(get)
            if reply is not None:
                yield reply


def _sum(usages: Iterable[Usage]) -> Usage | None:
    total = sum(usages, start=Usage())
    return total if total != Usage() else None
