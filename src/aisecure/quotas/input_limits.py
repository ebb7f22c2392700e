"""Limits on one input: bytes, tokens, elements, nesting."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Literal

from aisecure.call import Call
from aisecure.content import MAX_DEPTH, MAX_NODES
from aisecure.decisions import Decision
from aisecure.guard import Guard
from aisecure.quotas._shapes import fields_of, is_sequence
from aisecure.quotas.tokens import TokenCounter, at_most, input_tokens

__all__ = ["InputLimits"]

#: What nginx takes as a request body by default (client_max_body_size 1m).
MAX_BYTES = 1 << 20
#: A tenth of what guards of content walk at most; a message list of a long chat has some thousands.
MAX_ITEMS = 100_000


class InputLimits(Guard):
    """Refuses an input that is larger, longer, deeper or costlier than it may be, before anybody works on it.

    The walk ends at the first limit that is passed, so an input of any size, or one that contains itself, costs
    bounded time. Bytes are those of texts (in UTF-8), of keys and of binary parts; numbers count eight. An object
    that is no mapping, sequence, dataclass or pydantic model counts as one element without bytes.

    Args:
        max_bytes: Bytes of all that is in the input; None for no limit.
        max_tokens: Tokens at most, as `input_tokens` bounds them; None for no limit. Counted last, so that a tokenizer
            never sees more than ``max_bytes``: some take quadratic time on long runs of one character.
        max_items: Elements: texts, numbers, mappings, lists and what is in them; None for `aisecure.content.MAX_NODES`,
            since an input that contains itself has elements without end.
        max_depth: Nesting: a text has 0, a list of texts 1; None for no limit.
        count: Counts the tokens of one text.
        name, on, shadow, on_unavailable: As for every `Guard`.

    Raises:
        ValueError: A limit is no whole number of 1 or more (``max_depth``: 0), or none is set.

    >>> @InputLimits(max_bytes=10)
    ... def ask(prompt: str) -> str:
    ...     return prompt.upper()
    >>> ask("hello")
    'HELLO'
    >>> ask("hello, hello")
    Traceback (most recent call last):
        ...
    aisecure.errors.InputRejected: The input is larger than 10 bytes.
    """

    name = "input_limits"

    def __init__(
        self,
        *,
        max_bytes: int | None = MAX_BYTES,
        max_tokens: int | None = None,
        max_items: int | None = MAX_ITEMS,
        max_depth: int | None = MAX_DEPTH,
        count: TokenCounter = at_most,
        name: str | None = None,
        on: str | Collection[str] = "*",
        shadow: bool = False,
        on_unavailable: Literal["deny", "allow"] = "deny",
    ) -> None:
        super().__init__(name=name, on=on, shadow=shadow, on_unavailable=on_unavailable)
        limits = {
            "max_bytes": max_bytes,
            "max_tokens": max_tokens,
            "max_items": max_items,
            "max_depth": max_depth,
        }
        for setting, limit in limits.items():
            least = 0 if setting == "max_depth" else 1
            if limit is not None and (type(limit) is not int or limit < least):
                raise ValueError(f"{setting} is a whole number of {least} or more, or None for no limit")
        if all(limit is None for limit in limits.values()):
            raise ValueError("at least one limit is set")
        if not callable(count):
            raise TypeError("count is a function from a text to its tokens")
        self.max_bytes = max_bytes
        self.max_tokens = max_tokens
        self.max_items = MAX_NODES if max_items is None else max_items
        self.max_depth = max_depth
        self._count = count

    def before(self, call: Call) -> Decision | None:
        """Refuse the call when its input passes a limit."""
        return self.decide(call.input)

    def decide(self, value: Any) -> Decision | None:
        """Return the refusal of a value, or None when it keeps within the limits."""
        refusal = self._measure(value)
        if refusal is None and self.max_tokens is not None:
            tokens = input_tokens(value, count=self._count)
            if tokens > self.max_tokens:
                reason = f"The input may have more than {self.max_tokens} tokens."
                return Decision.deny("input.too_many_tokens", reason)
        return refusal

    def _measure(self, value: Any) -> Decision | None:
        waiting = [(value, 0)]
        items = size = 0
        while waiting:
            value, depth = waiting.pop()
            if self.max_depth is not None and depth > self.max_depth:
                return Decision.deny(
                    "input.too_deep", f"The input is nested deeper than {self.max_depth} levels."
                )
            items += 1
            # What is still waiting counts already: a list is refused before it is copied.
            inside: Any = ()
            if isinstance(value, str):
                size += self._size(value)
            elif isinstance(value, bytes | bytearray | memoryview):
                size += value.nbytes if isinstance(value, memoryview) else len(value)
            elif isinstance(value, int | float | complex):
                size += 8 if not isinstance(value, int) else max(8, value.bit_length() // 8)
            elif is_sequence(value):
                inside = value
            elif value is not None:
                fields = fields_of(value)
                inside = () if fields is None else fields
            if items + len(waiting) + len(inside) > self.max_items:
                return Decision.deny("input.too_many", f"The input has more than {self.max_items} elements.")
            if inside and not is_sequence(inside):
                size += sum(self._size(key) for key in inside if isinstance(key, str))
                inside = inside.values()
            if self.max_bytes is not None and size > self.max_bytes:
                return Decision.deny("input.too_large", f"The input is larger than {self.max_bytes} bytes.")
            waiting += [(item, depth + 1) for item in inside]
        return None

    def _size(self, text: str) -> int:
        # A text has a byte a character at least: one that is too long by that alone is not encoded.
        if self.max_bytes is not None and len(text) > self.max_bytes:
            return len(text)
        return at_most(text)
