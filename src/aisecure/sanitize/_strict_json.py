"""JSON read so that no other parser can have read it differently, within bounds that are checked before the work.

The parser of the standard library is used, not orjson: it tells repeated keys, which parsers resolve differently, and
the size of numbers. Depth is counted first, so that no text is deep enough to exhaust the stack.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["JsonLimits", "Malformed", "parse", "plain"]

#: Integers of more bits are rounded by some parsers and refused by others (RFC 8259 section 6).
_LEAST, _MOST = -(1 << 63), (1 << 64) - 1
#: The walk of a value is a recursion, which has to stay far from the interpreter's limit.
DEEPEST = 200

# A string that never ends is taken to the end, so that no text is looked at twice.
_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{},]', re.DOTALL)
_SURROGATE_ESCAPE = re.compile(r"\\u[dD][89a-fA-F]")


class Malformed(Exception):
    """What was given is no JSON that everybody reads the same; names the rule and never the text."""

    def __init__(self, rule: str) -> None:
        self.rule = rule
        super().__init__(rule)


@dataclass(frozen=True, slots=True)
class JsonLimits:
    """How large a JSON value may be.

    Attributes:
        max_bytes: Of the text in UTF-8; of a value that is no text, of all its strings and keys.
        max_depth: Mappings and lists within each other; at most 200.
        max_items: Mappings, lists and what is in them.

    Raises:
        ValueError: A limit is out of range.
    """

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_items: int = 100_000

    def __post_init__(self) -> None:
        if min(self.max_bytes, self.max_depth, self.max_items) < 1:
            raise ValueError("limits are at least 1")
        if self.max_depth > DEEPEST:
            raise ValueError(f"max_depth is at most {DEEPEST}")


def parse(text: str, limits: JsonLimits) -> Any:
    """Return the value of a JSON text.

    Raises:
        Malformed: It is none, is too large, or is read differently by different parsers.
    """
    _check_size(text, limits)
    _check_shape(text, limits)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_once,
            parse_constant=_no_constant,
            parse_float=_finite,
            parse_int=_small,
        )
        if _SURROGATE_ESCAPE.search(text):
            json.dumps(value, ensure_ascii=False).encode()
    except Malformed:
        raise
    except UnicodeEncodeError:
        raise Malformed("json_unicode") from None
    except (ValueError, RecursionError):
        # ``from None``: the exception carries the document.
        raise Malformed("json_invalid") from None
    return value


def _check_size(text: str, limits: JsonLimits) -> None:
    if len(text) > limits.max_bytes:
        raise Malformed("too_large")
    try:
        size = len(text.encode())
    except UnicodeEncodeError:
        raise Malformed("json_unicode") from None
    if size > limits.max_bytes:
        raise Malformed("too_large")


def _check_shape(text: str, limits: JsonLimits) -> None:
    openings = text.count("[") + text.count("{")
    if openings <= limits.max_depth and openings + text.count(",") < limits.max_items:
        return  # characters inside of strings only make the bound looser
    depth, items = 0, 1
    for found in _TOKEN.finditer(text):
        mark = found.group()
        if mark in {"[", "{"}:
            depth += 1
            items += 1
            if depth > limits.max_depth:
                raise Malformed("too_deep")
        elif mark == ",":
            items += 1
        elif mark in {"]", "}"}:
            depth -= 1
        if items > limits.max_items:
            raise Malformed("too_many_items")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise Malformed("json_duplicate_key")
    return value


def _no_constant(name: str) -> Any:
    raise Malformed("json_number")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise Malformed("json_number")
    return number


def _small(digits: str) -> int:
    if len(digits) > 20 or not _LEAST <= (number := int(digits)) <= _MOST:
        raise Malformed("json_number")
    return number


def plain(value: Any, limits: JsonLimits) -> Any:
    """Return a value with every mapping as dict, and models and dataclasses as dicts of their fields.

    Objects of other types are left for the schema to judge.

    Raises:
        Malformed: It is too large or contains itself, or holds a number or text that JSON cannot.
    """
    return _Walk(limits).visit(value, 0)


class _Walk:
    __slots__ = ("_bytes", "_items", "_limits")

    def __init__(self, limits: JsonLimits) -> None:
        self._limits = limits
        self._bytes = 0
        self._items = 0

    def visit(self, value: Any, depth: int) -> Any:
        self._items += 1
        if self._items > self._limits.max_items:
            raise Malformed("too_many_items")
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, bytes | bytearray):
            self._weigh(len(value))
        elif isinstance(value, float):
            if not math.isfinite(value):
                raise Malformed("json_number")
        elif isinstance(value, int):
            if not _LEAST <= value <= _MOST:
                raise Malformed("json_number")
        else:
            return self._inside(value, depth)
        return value

    def _inside(self, value: Any, depth: int) -> Any:
        fields = _fields(value)
        is_sequence = isinstance(value, list | tuple | set | frozenset)
        if fields is None and not is_sequence:
            return value
        if depth >= self._limits.max_depth:
            raise Malformed("too_deep")
        if fields is None:
            inside = [self.visit(item, depth + 1) for item in value]
            return inside if isinstance(value, list) else _like(value, inside)
        for key in fields:
            if isinstance(key, str):
                self._text(key)
        return {key: self.visit(item, depth + 1) for key, item in fields.items()}

    def _text(self, text: str) -> None:
        try:
            self._weigh(len(text) if text.isascii() else len(text.encode()))
        except UnicodeEncodeError:
            raise Malformed("json_unicode") from None

    def _weigh(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._limits.max_bytes:
            raise Malformed("too_large")


def _fields(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    kind = type(value)
    if hasattr(kind, "model_fields") and hasattr(value, "model_copy"):
        # ``model_construct`` may have left some out.
        given = {name: value.__dict__[name] for name in kind.model_fields if name in value.__dict__}
        return given | (getattr(value, "model_extra", None) or {})
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        names = (field.name for field in dataclasses.fields(value) if field.init)
        return {name: getattr(value, name) for name in names if hasattr(value, name)}
    return None


def _like(value: Any, inside: list[Any]) -> Any:
    try:
        return tuple(inside) if isinstance(value, tuple) else type(value)(inside)
    except TypeError:  # a model in a set has become a dict, which no set takes
        return inside
