"""Values that stay although they look like something: your own support address, a test card, a domain."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

__all__ = ["AllowList", "Allowed"]

#: One entry: a value, upper and lower case being one; an expression for the whole value; or a function of it.
Allowed = str | re.Pattern[str] | Callable[[str], bool]


class AllowList:
    """Says of a value whether it stays.

    Raises:
        TypeError: The entries are one text, or one is neither text, expression nor function.
    """

    __slots__ = ("_questions", "_values")

    def __init__(self, entries: Collection[Allowed] = ()) -> None:
        if isinstance(entries, str | re.Pattern) or callable(entries):
            raise TypeError("allow is a collection, not one entry")
        self._values = frozenset(entry.casefold() for entry in entries if isinstance(entry, str))
        self._questions: list[Callable[[str], object]] = []
        for entry in entries:
            if isinstance(entry, re.Pattern):
                self._questions.append(entry.fullmatch)
            elif callable(entry):
                self._questions.append(entry)
            elif not isinstance(entry, str):
                raise TypeError(f"allow holds texts, expressions and functions, not {type(entry).__name__}")

    def __bool__(self) -> bool:
        return bool(self._values or self._questions)

    def __call__(self, value: str) -> bool:
        """Whether the value stays."""
        return value.casefold() in self._values or any(question(value) for question in self._questions)
