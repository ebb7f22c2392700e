"""E-mail addresses that are spelled out against machines: ``name at domain dot com``, ``name (at) domain (dot) com``, ``name[at]domain.com``.

Opt-in, since "look at example dot com" is one too. It is an engine of `aisecure.detect.engines`, because such an address goes over white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.decisions import Finding
from aisecure.detect.expressions import lazy

__all__ = ["SpelledOut"]

_OPEN, _CLOSE = r"[\[({<]", r"[\])}>]"
_AT = rf"(?:\s{{0,2}}{_OPEN}\s?(?:at|@|ät|arroba)\s?{_CLOSE}\s{{0,2}}|\s(?:at|arroba)\s|\s{{1,2}}@\s{{0,2}}|_at_)"
_DOT = (
    rf"(?:\s{{0,2}}{_OPEN}\s?(?:dot|punkt|punto|\.)\s?{_CLOSE}\s{{0,2}}|\s(?:dot|punkt|punto)\s|\s\.\s|_dot_)"
)
_LABEL = r"[^\W_](?:[^\W_]|-){0,62}"
_ADDRESS = lazy(
    # Either the sign or a full stop is spelled, or both.
    rf"(?<![\w.+@-])[^\W_][\w.%+-]{{0,63}}?(?:{_AT}{_LABEL}(?:(?:{_DOT}|\.){_LABEL}){{0,3}}(?:{_DOT}|\.)|@{_LABEL}(?:(?:{_DOT}|\.){_LABEL}){{0,3}}{_DOT})"
    r"[a-z]{2,24}(?![\w@])",
    re.IGNORECASE,
)


class SpelledOut:
    """An `EntityEngine` for spelled out e-mail addresses."""

    kinds = frozenset({"pii.email"})

    def find(self, text: str) -> Iterator[Finding]:
        """Return the addresses in a text."""
        for found in _ADDRESS.finditer(text):
            yield Finding("pii.email", *found.span(), 0.75, "spelled")

    def __repr__(self) -> str:
        return "SpelledOut()"
