"""Any value as JSON in the form of RFC 8785: the same bytes from every writer, and never a refusal.

A security event must not be lost because one of its fields is odd. What JSON can hold is kept as it is. What it
cannot hold is replaced by something that says so:

==================================  =================================================================
value                               written as
==================================  =================================================================
integer beyond +-(2**53 - 1)        its decimal digits, as a string (other parsers would round it)
NaN, Infinity                       ``"NaN"``, ``"Infinity"``, ``"-Infinity"``
lone surrogate in a string          U+FFFD in its place
bytes                               ``{"bytes": length, "sha256": hex}``; their content never
set                                 list, in the order of the items' JSON
mapping key that is no string       its JSON, as a string
any other object, a cycle, a depth  ``{"unencodable": name of the type}``; its ``repr`` is never asked,
of more than 32                     since it may raise, and may hold a secret
what goes beyond 64 MiB in all      the same; in a list or mapping, ``"..."`` stands for the rest
==================================  =================================================================
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from hashlib import sha256
from typing import Any

import orjson

__all__ = ["LARGEST_INTEGER", "canonical", "well_formed"]

#: RFC 8785 section 3.2.2.3 and RFC 7493: numbers are IEEE 754 doubles, exact up to here.
LARGEST_INTEGER = 2**53 - 1

#: Nesting that is followed. Records of ours have three levels; a detail may bring a few more.
_DEEPEST = 32

#: What one value may cost in all: its text in bytes, and so much for each item. A structure that shares its parts
#: (a list of ten times the same list of ten times ...) would otherwise grow without bound when written out.
_BUDGET = 64 * 2**20
_ITEM_COST = 256

_SURROGATE = re.compile("[\ud800-\udfff]")


def well_formed(text: str) -> str:
    """Return the text with every lone surrogate replaced by U+FFFD, so that UTF-8 can hold it."""
    return _SURROGATE.sub("\ufffd", text)


def canonical(value: Any) -> bytes:
    r"""Return a value as RFC 8785 JSON, with the replacements that the table above lists.

    >>> canonical({"b": 1.0, "a": [2**60, float("nan")], "\u20ac": "\ud800"}).decode()
    '{"a":["1152921504606846976","NaN"],"b":1,"€":"�"}'
    """
    return _Writing().value(value, ())


class _Writing:
    """One value on its way to JSON, with what is left of its budget."""

    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = _BUDGET

    def value(self, value: Any, above: tuple[int, ...]) -> bytes:
        """Write a value that lies inside the containers with the ids ``above``."""
        if value is None or value is True or value is False:
            return orjson.dumps(value)
        self.left -= _ITEM_COST
        # The base classes' own methods throughout: a subclass may bring some that raise, or that lie.
        if isinstance(value, str):
            text = str.__str__(value.value if isinstance(value, Enum) else value)
            self.left -= len(text)
            return _string(text) if self.left > 0 else _unencodable(value)
        if isinstance(value, int):
            number = int.__int__(value)
            return b"%d" % number if abs(number) <= LARGEST_INTEGER else _string(_digits(number))
        if isinstance(value, float):
            return _number(float.__float__(value))
        if isinstance(value, (bytes, bytearray, memoryview)):
            raw = bytes(value)
            return b'{"bytes":%d,"sha256":"%b"}' % (len(raw), sha256(raw).hexdigest().encode())
        if self.left <= 0 or len(above) >= _DEEPEST or id(value) in above:
            return _unencodable(value)
        try:
            return self._container(value, (*above, id(value)))
        except Exception:  # noqa: BLE001  (a container of a user's own class may raise anything when walked)
            return _unencodable(value)

    def _container(self, value: Any, inside: tuple[int, ...]) -> bytes:
        if isinstance(value, Mapping):
            return self._mapping(value, inside)
        if isinstance(value, (list, tuple)):
            return b"[" + b",".join([self.value(item, inside) for item in self._affordable(value)]) + b"]"
        if isinstance(value, (set, frozenset)):
            return (
                b"[" + b",".join(sorted(self.value(item, inside) for item in self._affordable(value))) + b"]"
            )
        return _unencodable(value)

    def _affordable(self, items: Iterable[Any]) -> Iterator[Any]:
        """Yield the items while there is budget, and then one word instead of the rest."""
        for item in items:
            if self.left <= 0:
                yield "..."
                return
            yield item

    def _mapping(self, value: Mapping[Any, Any], inside: tuple[int, ...]) -> bytes:
        items: dict[str, bytes] = {}
        for key in self._affordable(value):
            item = None if key == "..." and key not in value else value[key]
            name = well_formed(str.__str__(key) if isinstance(key, str) else self.value(key, inside).decode())
            while name in items:  # two keys may become one by the replacements; neither may vanish
                name += "\ufffd"
            items[name] = self.value(item, inside)
        # RFC 8785 section 3.2.3: sorted by UTF-16 code units, which is not the order of code points.
        names = sorted(items, key=lambda name: name.encode("utf-16-be"))
        return b"{" + b",".join([_string(name) + b":" + items[name] for name in names]) + b"}"


def _unencodable(value: Any) -> bytes:
    return b'{"unencodable":%b}' % _string(type(value).__name__)


def _string(text: str) -> bytes:
    try:
        return orjson.dumps(text)
    except orjson.JSONEncodeError:
        return orjson.dumps(well_formed(text))


def _digits(number: int) -> str:
    # Decimal digits of a huge integer cost quadratic time, and Python refuses more than 4,300 of them (CVE-2020-10735).
    return str(number) if number.bit_length() < 10_000 else hex(number)


def _number(number: float) -> bytes:
    """Return a double as ECMAScript prints it (RFC 8785 section 3.2.2.3)."""
    if math.isnan(number):
        return b'"NaN"'
    if math.isinf(number):
        return b'"Infinity"' if number > 0 else b'"-Infinity"'
    if number == 0:
        return b"0"
    # Python and ECMAScript agree on the digits (the shortest that read back); only the layout differs.
    mantissa, _, power = repr(abs(number)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    digits = (whole + fraction).lstrip("0")
    point = int(power or 0) + len(whole)
    if whole == "0":
        point = int(power or 0) - (len(fraction) - len(fraction.lstrip("0")))
    digits = digits.rstrip("0")
    count = len(digits)
    if count <= point <= 21:
        text = digits + "0" * (point - count)
    elif 0 < point <= 21:
        text = digits[:point] + "." + digits[point:]
    elif -6 < point <= 0:
        text = "0." + "0" * -point + digits
    else:
        exponent = f"e{point - 1:+d}"
        text = digits[0] + ("." + digits[1:] if count > 1 else "") + exponent
    return (b"-" if number < 0 else b"") + text.encode()
