"""Token counts in the shapes of providers, told apart by their names.

Providers differ in what a number includes: some tell the cached part of the prompt beside the rest, some as a part of
it. A `Usage` always holds totals; docs/explanation/counting-tokens.md has the table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from aisecure.events import Usage

__all__ = ["Get", "getter", "native_usage", "read_usage"]

#: Returns a field of a mapping or object, or None.
Get = Callable[[str], Any]

#: Larger counts are no counts: what JSON can hold exactly (RFC 8259 section 6).
_MOST = 2**53


def getter(value: Any) -> Get:
    """Return what looks up the fields of a mapping or object."""
    if isinstance(value, Mapping):
        return value.get
    if hasattr(type(value), "__pydantic_validator__"):
        # Asking a pydantic object for what it has not costs microseconds, and streams ask for each chunk.
        fields: dict[str, Any] = value.__dict__
        extra = value.__pydantic_extra__
        return {**fields, **extra}.get if extra else fields.get

    def get(name: str) -> Any:
        try:
            return getattr(value, name, None)
        except Exception:  # noqa: BLE001  (a property of a foreign object: it says nothing then)
            return None

    return get


def read_usage(value: Any) -> Usage | None:
    """Return the counts of a provider's usage object, or None when it holds none."""
    if value is None or type(value) in (str, int, float, bool, list):
        return None
    get = getter(value)
    for names, read in _SHAPES:
        if any(_is_count(get(name)) for name in names):
            return read(get)
    return None


def native_usage(get: Get) -> Usage | None:
    """Return the counts that llama.cpp and Ollama tell beside the answer, in no usage object."""
    for prompt, answer in (("tokens_evaluated", "tokens_predicted"), ("prompt_eval_count", "eval_count")):
        if _is_count(get(prompt)) or _is_count(get(answer)):
            return _totals(_count(get, prompt), _count(get, answer))
    return None


def _openai_chat(get: Get) -> Usage:
    prompt, answer = _count(get, "prompt_tokens"), _count(get, "completion_tokens")
    cache, reasoning = getter(get("prompt_tokens_details")), getter(get("completion_tokens_details"))
    # xAI leaves reasoning out of the completion's tokens, but not out of the total.
    answer = max(answer, _count(get, "total_tokens") - prompt)
    read = _count(cache, "cached_tokens") or _count(
        get, "prompt_cache_hit_tokens"
    )  # the second is DeepSeek's
    return _totals(
        prompt, answer, read, _count(cache, "cache_write_tokens"), _count(reasoning, "reasoning_tokens")
    )


def _in_and_out(get: Get) -> Usage:
    """Read what is called ``input_tokens`` and ``output_tokens``: Anthropic's, OpenAI's Responses, LangChain's."""
    fresh, answer = _count(get, "input_tokens"), _count(get, "output_tokens")
    read, write = _count(get, "cache_read_input_tokens"), _count(get, "cache_creation_input_tokens")
    if read or write:  # Anthropic: on top
        return _totals(fresh + read + write, answer, read, write)
    cache, reasoning = getter(get("input_tokens_details")), getter(get("output_tokens_details"))
    parts, thoughts = getter(get("input_token_details")), getter(get("output_token_details"))
    return _totals(
        fresh,
        answer,
        _count(cache, "cached_tokens") or _count(parts, "cache_read"),
        _count(cache, "cache_write_tokens") or _count(parts, "cache_creation"),
        _count(reasoning, "reasoning_tokens") or _count(thoughts, "reasoning"),
    )


def _google_rest(get: Get) -> Usage:
    thoughts = _count(get, "thoughtsTokenCount")
    prompt = _count(get, "promptTokenCount") + _count(get, "toolUsePromptTokenCount")
    answer = _count(get, "candidatesTokenCount") + thoughts
    return _totals(prompt, answer, _count(get, "cachedContentTokenCount"), 0, thoughts)


def _google_python(get: Get) -> Usage:
    thoughts = _count(get, "thoughts_token_count")
    prompt = _count(get, "prompt_token_count") + _count(get, "tool_use_prompt_token_count")
    answer = _count(get, "candidates_token_count") + thoughts
    return _totals(prompt, answer, _count(get, "cached_content_token_count"), 0, thoughts)


def _bedrock(get: Get) -> Usage:
    read, write = _count(get, "cacheReadInputTokens"), _count(get, "cacheWriteInputTokens")
    return _totals(_count(get, "inputTokens") + read + write, _count(get, "outputTokens"), read, write)


#: What each shape is known by.
_SHAPES: tuple[tuple[tuple[str, ...], Callable[[Get], Usage]], ...] = (
    (("prompt_tokens", "completion_tokens"), _openai_chat),
    (("input_tokens", "output_tokens"), _in_and_out),
    (("promptTokenCount", "candidatesTokenCount"), _google_rest),
    (("prompt_token_count", "candidates_token_count"), _google_python),
    (("inputTokens", "outputTokens"), _bedrock),
)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value <= _MOST


def _count(get: Get, name: str) -> int:
    value = get(name)
    return value if _is_count(value) else 0


def _totals(prompt: int, answer: int, read: int = 0, write: int = 0, reasoning: int = 0) -> Usage:
    """Return a usage whose parts fit into its totals, whatever the provider said."""
    read = min(read, prompt)
    return Usage(prompt, answer, read, min(write, prompt - read), min(reasoning, answer))
