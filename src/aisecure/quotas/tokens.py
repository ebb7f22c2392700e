"""How many tokens a call can cost at most, before the model has said how many it did.

A bound, not a guess: `input_tokens` of a request is never less than what the provider will count, as long as
the counter is the model's own tokenizer or `at_most`, and attachments stay below what is set aside for each.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from aisecure.content import MAX_DEPTH, MAX_NODES
from aisecure.errors import InputRejected
from aisecure.quotas._shapes import fields_of, is_sequence, shape_of

__all__ = ["TokenCounter", "at_most", "input_tokens", "output_limit"]

#: Returns how many tokens a text has.
TokenCounter = Callable[[str], int]


def at_most(text: str) -> int:
    """Return a number of tokens that no byte-level tokenizer exceeds: the bytes of the text in UTF-8.

    Byte-level BPE (GPT, Llama 3, Qwen, SmolLM) and SentencePiece with byte fallback (Llama 2, Gemma, Mistral)
    make tokens of one byte or more, so there are never more tokens than bytes. It is not tight: English has about
    four bytes a token. With the tokenizer at hand, pass it instead::

        encoding = tiktoken.encoding_for_model("gpt-4o")
        input_tokens(messages, count=lambda text: len(encoding.encode_ordinary(text)))

    It is no bound for a tokenizer that rewrites the text first: NFKC, as in T5, makes 18 characters of U+FDFA.

    >>> at_most("Grüße")
    7
    """
    # The common case needs no copy of the text.
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def input_tokens(
    value: Any,
    *,
    count: TokenCounter = at_most,
    per_message: int = 8,
    per_call: int = 64,
    per_attachment: int = 4096,
    per_toolset: int = 640,
) -> int:
    """Return how many input tokens a call can cost at most.

    Args:
        value: What is sent to the model: a text, messages (OpenAI, Anthropic, Google, LangChain) or the whole
            request with its tools. Of a mapping that is none of these, keys and values are counted.
        count: Counts the tokens of one text.
        per_message: Set aside for the marks round each message and part; OpenAI documents 3 to 7.
        per_call: Set aside once, also for a system prompt that the model's template adds on its own.
        per_attachment: Set aside for each image, recording or file, and for an object of unknown kind. Bytes say
            nothing about tokens: a large image costs up to 1,600 (Anthropic) or 1,105 (GPT-4o), but 36,835 with
            GPT-4o mini, and a long PDF or recording has no bound. Files that may be plain text count their bytes
            when these are more.
        per_toolset: Set aside once when there are tools, for the prompt that explains them; Anthropic documents
            up to 530. The schemas count as their JSON text.

    Returns:
        Tokens, ``per_call`` at least.

    Raises:
        InputRejected: The value is nested too deeply (or cyclic), or has too many elements, as for
            `aisecure.content.texts`.
        TypeError: The counter returned no whole number of 0 or more.

    >>> input_tokens([{"role": "user", "content": "Hello"}])
    85
    """
    return per_call + sum(_walk(value, _Costs(count, per_message, per_attachment, per_toolset)))


@dataclass(frozen=True, slots=True)
class _Costs:
    count: TokenCounter
    per_message: int
    per_attachment: int
    per_toolset: int

    def text(self, text: str) -> int:
        tokens = self.count(text)
        if type(tokens) is not int or tokens < 0:
            raise TypeError(
                f"a token counter returns a whole number of 0 or more, not {type(tokens).__name__}"
            )
        return tokens

    def json(self, text: str) -> int:
        """Return the tokens of a text inside of JSON, with its quotes, escapes and what separates it."""
        return self.text(json.dumps(text, ensure_ascii=False)) + _BETWEEN

    def bytes(self, value: bytes) -> int:
        try:
            return self.text(value.decode())
        except UnicodeDecodeError:
            return self.per_attachment


#: A comma or colon and a space, or two brackets; what has brackets has both.
_BETWEEN = 2
_TOOLS = frozenset({"tools", "functions", "toolConfig", "tool_config"})
#: Where JSON begins: given to the model with keys, quotes and escapes.
_JSON = _TOOLS | {"tool_calls", "response_format", "responseSchema", "response_schema", "output_format"}
#: What messages and parts carry for programs alone.
_UNSENT = frozenset(
    {"type", "role", "cache_control", "response_metadata", "usage_metadata", "usage", "index"}
)

_Waiting = list[tuple[Any, int, bool]]


def _walk(value: Any, costs: _Costs) -> Iterator[int]:
    """Yield what each piece of an input costs. One stack, so that no depth is too deep."""
    waiting: _Waiting = [(value, 0, False)]
    seen = 0
    toolset = costs.per_toolset
    if isinstance(value, str | bytes | bytearray | memoryview):
        yield costs.per_message
    while waiting:
        value, depth, is_json = waiting.pop()
        seen += 1
        if seen + len(waiting) > MAX_NODES or (is_sequence(value) and len(value) > MAX_NODES):
            raise InputRejected(f"The value has more than {MAX_NODES} elements.", code="input.items")
        if isinstance(value, str):
            text = str.__str__(value)  # of an enumeration the text, and not the name
            yield costs.json(text) if is_json else costs.text(text)
        elif value is None or isinstance(value, int | float | complex):
            yield _number(value)
        elif isinstance(value, bytes | bytearray | memoryview):
            yield costs.bytes(bytes(value))
        elif depth >= MAX_DEPTH:
            raise InputRejected(f"The value is nested deeper than {MAX_DEPTH} levels.", code="input.nested")
        elif is_sequence(value):
            # LangChain takes texts, and pairs of role and text, for messages.
            yield (
                2 * _BETWEEN
                if is_json
                else costs.per_message * (1 + sum(isinstance(item, str) for item in value))
            )
            waiting += [(item, depth + 1, is_json) for item in value]
        else:
            fields = fields_of(value)
            if fields is None:  # nobody can say what becomes of it
                yield costs.per_attachment
                continue
            if toolset and any(fields.get(name) for name in _TOOLS):
                yield toolset
                toolset = 0
            yield from _mapping(fields, depth + 1, costs, waiting, is_json=is_json)


def _mapping(
    fields: Mapping[Any, Any], depth: int, costs: _Costs, waiting: _Waiting, *, is_json: bool
) -> Iterator[int]:
    """Yield what a mapping costs by itself, and let what is in it wait."""
    shape = None if is_json else shape_of(fields)
    if shape is None or not shape.is_message:
        yield 2 * _BETWEEN
        for key, item in fields.items():
            yield costs.json(str(key))
            waiting.append((item, depth, is_json or key in _JSON))
        return
    yield costs.per_message
    for size in shape.attachments:
        yield max(costs.per_attachment, size)
    for key, item in fields.items():
        if key not in shape.payload and key not in _UNSENT and item is not None:
            in_json = key in _JSON or (isinstance(item, Mapping) and key != "source")
            waiting.append((item, depth, in_json))


def _number(value: Any) -> int:
    # Not by its text: that of a huge integer takes quadratic time.
    if isinstance(value, bool):
        return len("false") + _BETWEEN
    digits = value.bit_length() // 3 + 2 if isinstance(value, int) else 32
    return digits + _BETWEEN


#: Where requests say how long an answer may be: OpenAI, Anthropic, Google, Bedrock, llama.cpp, Ollama.
_LIMITS = (
    "max_tokens", "max_completion_tokens", "max_output_tokens", "maxOutputTokens", "maxTokens", "num_predict", "n_predict",
)  # fmt: skip
#: How many answers they ask for.
_CHOICES = ("n", "best_of", "candidate_count", "candidateCount")
#: Where requests keep such settings.
_SETTINGS = (
    "generationConfig",
    "generation_config",
    "config",
    "inferenceConfig",
    "options",
    "kwargs",
    "extra_body",
)


def output_limit(value: Any, default: int) -> int:
    """Return how many output tokens a request allows, over all the answers it asks for.

    The largest stated limit counts, since nobody knows which of two the server obeys. What is no number of 1 or
    more is passed over, also -1, with which llama.cpp and Ollama mean "no limit".

    Args:
        value: The request, as a mapping or an object with fields.
        default: What one answer may have when the request does not say.

    >>> output_limit({"max_tokens": 100, "n": 3}, 4096)
    300
    >>> output_limit("Hello", 4096)
    4096
    """
    fields = fields_of(value)
    if fields is None:
        return default
    held = [fields]
    for name in _SETTINGS:
        inner = fields_of(fields.get(name))
        if inner is not None:
            held.append(inner)
    stated = [_positive(inner.get(name)) for inner in held for name in _LIMITS]
    choices = [_positive(inner.get(name)) for inner in held for name in _CHOICES]
    return (max(stated) or default) * max(1, *choices)


def _positive(value: Any) -> int:
    """Return a whole number of 1 or more, or 0 for anything else."""
    if isinstance(value, bool):
        return 0
    if isinstance(value, int):
        return max(value, 0)
    if isinstance(value, float) and math.isfinite(value):  # JSON's 100.0, which servers take too
        return max(math.ceil(value), 0)
    return 0
