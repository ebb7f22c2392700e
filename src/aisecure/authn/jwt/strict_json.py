"""Reads a JSON object only if every parser would read it alike (RFC 8725 section 2.4, RFC 7493)."""

from __future__ import annotations

import math
from json import JSONDecoder
from typing import Any, NoReturn

from aisecure.authn.jwt.errors import NotStrictJson

__all__ = ["MAX_DEPTH", "read_object"]

#: Tokens of real issuers nest to 4 or 5.
MAX_DEPTH = 16
#: Integers up to 2**53 are the same to every parser (RFC 8259 section 6); these have at most 16 digits and a sign.
_MAX_DIGITS = 17


def read_object(data: bytes) -> dict[str, Any]:
    """Return the object that bytes hold.

    Raises:
        NotStrictJson: They are no UTF-8, no JSON or no object; or a name comes twice, a number is not finite or has
            too many digits, a text has half of a surrogate pair, or values nest too deep.
    """
    try:
        text = data.decode()
        value = _DECODER.decode(text)
    except (ValueError, RecursionError):
        raise NotStrictJson("is no JSON in UTF-8") from None
    if type(value) is not dict:
        raise NotStrictJson("is no JSON object")
    # Only then can it nest too deep, or hold a surrogate: UTF-8 has none, so it would have to be escaped.
    if text.count("{") + text.count("[") > MAX_DEPTH or "\\u" in text:
        _check(value)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise NotStrictJson("has a name twice")
    return found


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise NotStrictJson("has an integer of too many digits")
    return int(digits)


def _fraction(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise NotStrictJson("has a number that is too large")
    return number


def _constant(_name: str) -> NoReturn:
    raise NotStrictJson("has NaN or Infinity")


_DECODER = JSONDecoder(
    object_pairs_hook=_unique, parse_int=_integer, parse_float=_fraction, parse_constant=_constant
)


def _check(value: dict[str, Any]) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                inner += item
                inner += item.values()
            elif isinstance(item, list):
                inner += item
            elif isinstance(item, str) and not _is_text(item):
                raise NotStrictJson("has half of a surrogate pair")
        if not inner:
            return
        level = inner
    raise NotStrictJson("nests too deep")


def _is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True
