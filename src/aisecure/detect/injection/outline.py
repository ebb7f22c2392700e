"""What a text may hide, at a glance: classes of characters as bytes, in which searching takes no time.

An answer may be yes too often, never no too often: the patterns of `views` decide. A regular expression tries each place of a
text; a text that is translated into classes is searched as fast as memory is read.
"""

from __future__ import annotations

from collections.abc import Iterator

__all__ = ["long_words", "may_be_spaced", "may_have_signs", "may_hold"]

_LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS = b"0123456789"
#: What a character that is not ASCII becomes: it may be anything.
_OTHER = b"?"


def _table(**classes: bytes) -> bytes:
    """Return a table that translates each character into the letter of its class, and all others into a blank."""
    table = bytearray(b" " * 256)
    for letter, characters in classes.items():
        for character in characters:
            table[character] = ord(letter)
    return bytes(table)


_BASE64 = _table(a=_LETTERS + _DIGITS + b"+/_-")
_HEXADECIMAL = _table(h=_DIGITS + b"ABCDEFabcdef", s=b" ,:")
_BINARY = _table(b=b"01")
_NUMBERS = _table(d=_DIGITS, s=b" ,;:")
_SIGNS = _table(a=_LETTERS, d=_DIGITS, s=b"@$!|" + _OTHER)
_SPACED = _table(a=_LETTERS + _DIGITS + _OTHER, s=b" ._*|/-")

#: Letters of a run in Base64 that is looked at.
_RUN = b"a" * 16


def _bytes(text: str) -> bytes:
    return text.encode("ascii", "replace")


def long_words(text: str) -> Iterator[int]:
    """Yield where runs of sixteen and more characters of Base64 begin."""
    classes = _bytes(text).translate(_BASE64)
    at = classes.find(_RUN)
    while at >= 0:
        yield at
        end = classes.find(b" ", at)
        at = classes.find(_RUN, end) if end >= 0 else -1


def may_hold(text: str) -> set[str]:
    """Return the codes beside Base64 that a text may hold: ``hexadecimal``, ``binary``, ``numbers``."""
    raw = _bytes(text)
    found = set()
    digits = raw.translate(_HEXADECIMAL)
    if b"hhshhshhs" in digits or b"h" * 16 in digits or b"\\x" in raw or b"0x" in raw or b"0X" in raw:
        found.add("hexadecimal")
    if b"b" * 8 in raw.translate(_BINARY):
        found.add("binary")
    # Up to two separators count as one, three digits as two.
    numbers = raw.translate(_NUMBERS).replace(b"ss", b"s").replace(b"ddd", b"dd")
    if b"dds" * 7 + b"dd" in numbers:
        found.add("numbers")
    return found


def may_have_signs(text: str) -> bool:
    """Whether a text may have ``@``, ``$``, ``!``, ``|`` or the euro sign inside a word."""
    classes = _bytes(text).translate(_SIGNS)
    return b"asa" in classes or b"asd" in classes


def may_be_spaced(text: str) -> bool:
    """Whether a text may have four letters that stand alone, one after the other."""
    classes = _bytes(text).translate(_SPACED)
    # Up to three separators count as one.
    return b"asasasa" in classes.replace(b"ss", b"s").replace(b"ss", b"s")
