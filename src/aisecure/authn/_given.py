"""What may be written into a key, and what may be asked for."""

from __future__ import annotations

import math
from collections.abc import Iterable

__all__ = ["MAX_NAME", "NO_END", "check_end", "check_names", "known"]

#: Ids, names and roles are words, not documents.
MAX_NAME = 256
#: The end of the year 9999; later ends are the same to every reader.
NO_END = 253_402_300_799.0


def check_names(what: str, values: Iterable[str]) -> None:
    """Raise ValueError for a name that is empty, too long or cannot be printed; the text does not quote it."""
    for value in values:
        if not value or len(value) > MAX_NAME:
            raise ValueError(f"{what}: write 1 to {MAX_NAME} characters")
        if not value.isprintable():
            raise ValueError(f"{what}: has a character that cannot be printed, such as NUL or a line break")


def check_end(expires_at: float, now: float) -> float:
    """Return the end of a key in seconds since the epoch.

    Raises:
        TypeError, ValueError: It is no number, or lies in the past.
    """
    if type(expires_at) not in (int, float):
        raise TypeError("expires_at is a number of seconds since the epoch, or None")
    if not now < expires_at < math.inf:
        raise ValueError("expires_at lies in the past, or is no finite number of seconds")
    return float(min(expires_at, NO_END))


def known(name: str) -> str:
    """Return a name to look up; where it cannot be the name of anything, the empty one, which nothing has."""
    if not isinstance(name, str):
        raise TypeError(f"ids and tenants are texts, not {type(name).__name__}")
    return name if name.isprintable() and len(name) <= MAX_NAME else ""
