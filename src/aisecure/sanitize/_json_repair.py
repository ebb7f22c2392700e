"""Finds the one JSON value in what a model wrote, and mends slips that have only one meaning.

Mended are a comma before a closing bracket, Python's ``True``, ``False`` and ``None``, and one ``}`` that is missing at the
end. A text that was cut elsewhere is left alone: half a number or half a list is another value, not a damaged one.
"""

from __future__ import annotations

import re
from typing import NamedTuple

__all__ = ["Candidate", "candidates", "mended"]

#: Bracketed texts that are looked at; more of them are no answer.
_MOST = 16

_OPENING = re.compile(r"[\[{]")
# A string that never ends is taken to the end, so that no text is looked at twice.
_BRACKET = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SLIP = re.compile(r'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|,(?=[ \t\r\n]*+[\]}])|\b(?:True|False|None)\b', re.DOTALL)
_LITERALS = {"True": "true", "False": "false", "None": "null"}
#: What may stand before a ``}`` that was forgotten. Not a digit, because the number may go on.
_COMPLETE = re.compile(r'(?:["}\]]|\b(?:true|false|null))[ \t\r\n]*+\Z')
_PAIRS = {"[": "]", "{": "}"}


class Candidate(NamedTuple):
    """A bracketed text.

    Attributes:
        text: From its first bracket to the one that closes it, or to the end.
        start: Where it begins in the whole.
        missing: Brackets that would close it, in order; empty when it is closed.
    """

    text: str
    start: int
    missing: str = ""


def candidates(text: str) -> list[Candidate]:
    """Return the outermost bracketed texts, in order and not overlapping; at most 16."""
    found: list[Candidate] = []
    position = 0
    while len(found) < _MOST and (opening := _OPENING.search(text, position)) is not None:
        candidate = _bracketed(text, opening.start())
        found.append(candidate)
        position = candidate.start + len(candidate.text)
    return found


def _bracketed(text: str, start: int) -> Candidate:
    closers: list[str] = []
    for token in _BRACKET.finditer(text, start):
        bracket = token.group()
        if bracket in _PAIRS:
            closers.append(_PAIRS[bracket])
        elif bracket in {"]", "}"} and (bracket != closers.pop() or not closers):
            return Candidate(text[start : token.end()], start)
    return Candidate(text[start:], start, "".join(reversed(closers)))


def mended(candidate: Candidate) -> tuple[str, tuple[str, ...]]:
    """Return the text without slips, and the names of those that it had, each once."""
    slips: dict[str, None] = {}

    def mend(found: re.Match[str]) -> str:
        slip = found.group()
        if slip == ",":
            slips["trailing_comma"] = None
            return ""
        if slip in _LITERALS:
            slips["literal"] = None
            return _LITERALS[slip]
        return slip

    text = _SLIP.sub(mend, candidate.text)
    # A fence that ends the text stands after the place of the bracket.
    body = text.rstrip().removesuffix("```").rstrip()
    if candidate.missing == "}" and _COMPLETE.search(body, max(0, len(body) - 16)):
        slips["closing_bracket"] = None
        text = body + "}"
    return text, tuple(slips)
