"""Undoes what hides an identifier from a pattern and not from a reader: other digits, full-width forms, invisible marks."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache

__all__ = ["fold"]

#: Characters that show nothing: zero-width spaces and joiners, soft hyphen, word joiner, byte order mark, variation
#: selectors, and marks of direction.
_INVISIBLE = frozenset(
    map(
        chr,
        (
            0xAD,
            0x34F,
            0x61C,
            0x180E,
            *range(0x200B, 0x2010),
            *range(0x202A, 0x202F),
            *range(0x2060, 0x2070),
            0xFEFF,
        ),
    )
) | frozenset(map(chr, range(0xFE00, 0xFE10)))


@cache
def _plain() -> dict[int, str]:
    """Return ASCII by code point for digits of every script, full-width forms, and dashes."""
    table = {0xFF01 + offset: chr(0x21 + offset) for offset in range(94)}
    for code in range(0x80, 0x20000):
        character = chr(code)
        if character.isdecimal():
            table[code] = str(unicodedata.decimal(character))
    table.update(dict.fromkeys((0x2010, 0x2011, 0x2012, 0x2013, 0x2014, 0x2212, 0xFE63), "-"))
    table.update({0xA0: " ", 0x202F: " ", 0x2009: " ", 0xFE52: ".", 0x2024: ".", 0x3002: ".", 0xFE6B: "@"})
    return table


def fold(text: str, at: int) -> tuple[str, int, Sequence[int] | None]:
    r"""Return the text as it is meant, where ``at`` is in it, and the old offset of each of its characters.

    The offsets are None when none moved.

    >>> fold("\uff14\uff11\u200b11", 0)
    ('4111', 0, [0, 1, 3, 4])
    """
    text = text.translate(_plain())
    if text.isascii() or _INVISIBLE.isdisjoint(text):
        return text, at, None
    kept = [offset for offset, character in enumerate(text) if character not in _INVISIBLE]
    before = sum(1 for offset in kept if offset < at)
    return "".join(text[offset] for offset in kept), before, kept
