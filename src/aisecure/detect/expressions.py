"""Regular expressions that are compiled when a text first needs them: a hundred of them would hold up every start."""

from __future__ import annotations

import re
from typing import Any, cast

__all__ = ["lazy"]


def lazy(source: str, flags: int = 0) -> re.Pattern[str]:
    """Return what behaves as ``re.compile(source, flags)``, and is compiled on first use.

    >>> lazy("b+").search("abba").group()
    'bb'
    """
    return cast("re.Pattern[str]", _Lazy(source, flags))


_METHODS = ("search", "match", "fullmatch", "finditer", "findall", "split", "sub")


class _Lazy:
    # After the first use the methods of the compiled expression are in the slots, so that a later one costs nothing more.
    __slots__ = ("_flags", "_source", *_METHODS)

    def __init__(self, source: str, flags: int) -> None:
        self._source = source
        self._flags = flags

    def __getattr__(self, name: str) -> Any:
        compiled = re.compile(self._source, self._flags)
        for method in _METHODS:
            setattr(self, method, getattr(compiled, method))
        return getattr(compiled, name)

    def __repr__(self) -> str:
        return f"lazy({self._source!r})"
