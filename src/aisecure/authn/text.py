"""The text of an API key: ``<prefix>_<environment>_<key id>_<secret><checksum>``.

Underscores, so that a double click selects all of it; a visible prefix, so that scanners find a leaked one; a
checksum, so that typing errors and look-alikes are refused without a look-up. The checksum is CRC-32: it finds
accidents and keeps nobody from making keys up.
"""

from __future__ import annotations

import re
import secrets
import zlib
from collections.abc import Callable
from typing import NamedTuple

__all__ = ["KEY_PATTERN", "KeyText", "KeyTextFormat", "is_well_formed"]

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_ID = 12
#: 30 characters of base62 are 178 random bits, as in GitHub's tokens; 160 would do.
_SECRET = 30
#: 62**6 > 2**32, so that six characters hold any CRC-32.
_CHECK = 6
_TAIL = _ID + 1 + _SECRET + _CHECK

#: For secret scanners: the form of a key with any prefix and environment. `is_well_formed` sorts out look-alikes.
KEY_PATTERN = (
    rf"\b[a-z][a-z0-9]{{1,15}}_[a-z][a-z0-9]{{0,15}}_[0-9A-Za-z]{{{_ID}}}_[0-9A-Za-z]{{{_SECRET + _CHECK}}}\b"
)

_NAME = re.compile(r"[a-z][a-z0-9]{0,15}", re.ASCII)
_LONGEST = 16 + 1 + 16 + 1 + _TAIL


class KeyText(NamedTuple):
    """The two parts of a key's text that matter after its form was checked."""

    key_id: str
    secret: str


class KeyTextFormat:
    """Writes and reads the texts of one prefix and environment.

    Attributes:
        head: What every key begins with.

    Raises:
        ValueError: Prefix or environment are not 1 to 16 lower-case letters and digits, a letter first (the
            prefix has at least two).
    """

    __slots__ = ("_form", "_length", "head")

    def __init__(self, prefix: str, environment: str) -> None:
        for what, value, least in (("prefix", prefix, 2), ("environment", environment, 1)):
            if len(value) < least or not _NAME.fullmatch(value):
                raise ValueError(
                    f"{what}: write {least} to 16 lower-case letters and digits, a letter first, such as 'ais'"
                )
        self.head = f"{prefix}_{environment}_"
        self._length = len(self.head) + _TAIL
        self._form = re.compile(
            rf"({self.head}([0-9A-Za-z]{{{_ID}}})_([0-9A-Za-z]{{{_SECRET}}}))([0-9A-Za-z]{{{_CHECK}}})"
        )

    def new(self, randbelow: Callable[[int], int] = secrets.randbelow) -> tuple[str, KeyText]:
        """Return a fresh key's text and its parts.

        Args:
            randbelow: Source of cryptographic randomness: a number from 0 to below its argument.
        """
        parts = KeyText(base62(randbelow(62**_ID), _ID), base62(randbelow(62**_SECRET), _SECRET))
        body = f"{self.head}{parts.key_id}_{parts.secret}"
        return body + _checksum(body), parts

    def read(self, text: str) -> KeyText | None:
        """Return the parts of a text, or None when it is none of ours; takes no longer for longer texts."""
        found = self._form.fullmatch(text)
        if found is None:
            return None
        body, key_id, secret, check = found.groups()
        return KeyText(key_id, secret) if _checksum(body) == check else None

    def has_length(self, text: str) -> bool:
        """Whether a text is as long as a key: all others are refused before any work."""
        return len(text) == self._length


def is_well_formed(text: str) -> bool:
    """Whether a text has the form of an API key of any prefix, and its checksum is right.

    >>> is_well_formed("ais_live_000000000000_0000000000000000000000000000000VqxsA")
    True
    >>> is_well_formed("ais_live_000000000000_0000000000000000000000000000000Vqxs_")
    False
    """
    if len(text) > _LONGEST or not _FORM.fullmatch(text):
        return False
    return _checksum(text[:-_CHECK]) == text[-_CHECK:]


def base62(number: int, width: int) -> str:
    """Return a number in base 62, padded with zeros on the left."""
    text = ""
    while len(text) < width:
        number, digit = divmod(number, 62)
        text = _BASE62[digit] + text
    return text


def _checksum(body: str) -> str:
    crc, digits = zlib.crc32(body.encode()), _BASE62
    # As base62(crc, _CHECK), which takes twice as long and is asked for at every look-up.
    return (
        digits[crc // 62**5]
        + digits[crc // 62**4 % 62]
        + digits[crc // 62**3 % 62]
        + digits[crc // 62**2 % 62]
        + digits[crc // 62 % 62]
        + digits[crc % 62]
    )


_FORM = re.compile(KEY_PATTERN)
