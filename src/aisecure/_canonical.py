"""One text for one value: JSON in the canonical form of RFC 8785, so that a digest says what was meant.

Whole numbers are written exactly, also those that a double cannot hold, where the RFC has none. What JSON cannot hold
(bytes, NaN, a cycle, a lone surrogate, a key that is no text) is refused: an approval of it would be one of something else.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from enum import Enum
from typing import Any

from aisecure.errors import InputRejected

__all__ = ["MAX_CANONICAL", "canonical"]

#: Longest canonical text, in bytes; nobody reads more before saying yes.
MAX_CANONICAL = 1 << 20
_MAX_DEPTH = 64
_MAX_DIGITS = 300


def canonical(value: Any) -> bytes:
    """Return the canonical JSON of a value, in UTF-8. Dataclasses and pydantic models are written as their fields.

    Raises:
        InputRejected: The value has no JSON form, is nested deeper than 64 levels, or is larger than `MAX_CANONICAL`.

    >>> canonical({"b": 1.0, "a": [True, "é"]}).decode()
    '{"a":[true,"é"],"b":1}'
    """
    pieces: list[bytes] = []
    _write(value, pieces, [MAX_CANONICAL], 0)
    return b"".join(pieces)


def _write(value: Any, out: list[bytes], room: list[int], depth: int) -> None:
    if depth > _MAX_DEPTH:
        raise _refused(f"are nested deeper than {_MAX_DEPTH} levels")
    kind = type(value)
    if value is None or kind is bool:
        _put({None: b"null", True: b"true", False: b"false"}[value], out, room)
    elif isinstance(value, str):
        _put(_text(str(value.value) if isinstance(value, Enum) else str(value), room[0]), out, room)
    elif isinstance(value, int):
        _put(_whole(int(value)), out, room)
    elif isinstance(value, float):
        _put(_number(float(value)), out, room)
    elif isinstance(value, Mapping):
        _object(value, out, room, depth)
    elif isinstance(value, list | tuple):
        _put(b"[", out, room)
        for index, item in enumerate(value):
            if index:
                _put(b",", out, room)
            _write(item, out, room, depth + 1)
        _put(b"]", out, room)
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        _object(
            {each.name: getattr(value, each.name) for each in dataclasses.fields(value)}, out, room, depth
        )
    elif hasattr(kind, "model_fields") and hasattr(value, "model_copy"):
        fields = {name: getattr(value, name) for name in kind.model_fields}
        _object({**fields, **(getattr(value, "model_extra", None) or {})}, out, room, depth)
    else:
        raise _refused(f"hold a value of type {kind.__name__}, which JSON does not have")


def _object(value: Mapping[Any, Any], out: list[bytes], room: list[int], depth: int) -> None:
    if len(value) > room[0]:
        raise _refused("are too large")
    if not all(isinstance(key, str) for key in value):
        raise _refused("have a key that is no text")
    keys = sorted(value, key=lambda key: key.encode("utf-16-be", "surrogatepass"))
    _put(b"{", out, room)
    for index, key in enumerate(keys):
        _put(b"," + _text(key, room[0]) if index else _text(key, room[0]), out, room)
        _put(b":", out, room)
        _write(value[key], out, room, depth + 1)
    _put(b"}", out, room)


def _put(piece: bytes, out: list[bytes], room: list[int]) -> None:
    room[0] -= len(piece)
    if room[0] < 0:
        raise _refused("are too large")
    out.append(piece)


def _text(text: str, room: int) -> bytes:
    if len(text) > room:
        raise _refused("are too large")
    try:
        return json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise _refused("hold a lone surrogate") from None


def _whole(number: int) -> bytes:
    # Before it becomes a text: Python refuses to write numbers of thousands of digits.
    if number.bit_length() > _MAX_DIGITS * 3:
        raise _refused("hold a number of too many digits")
    return str(number).encode()


def _number(number: float) -> bytes:
    """Return a number as ECMAScript writes it (ECMA-262, Number::toString)."""
    if not math.isfinite(number):
        raise _refused("hold a number that is not finite")
    if number == 0:
        return b"0"
    sign = "-" if number < 0 else ""
    mantissa, _, exponent = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    # The value is 0.digits times ten to the power of point.
    point = len(whole) + int(exponent or 0) - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = f"{digits[:point]}.{digits[point:]}"
    elif -6 < point <= 0:
        text = f"0.{'0' * -point}{digits}"
    else:
        tail = f".{digits[1:]}" if count > 1 else ""
        text = f"{digits[0]}{tail}e{'+' if point > 0 else '-'}{abs(point - 1)}"
    return (sign + text).encode()


def _refused(why: str) -> InputRejected:
    return InputRejected(f"The arguments {why}, so nobody can approve them.", code="input.canonical")
