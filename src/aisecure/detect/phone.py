"""Telephone numbers, by shape and label: no numbering plan is consulted.

Found are international numbers with ``+`` (ITU-T E.164), North American ones written in their groups,
national ones with a trunk zero written in groups, and any digits in groups right after a label such as
"phone:". A bare run of ten digits without a label is more often another identifier and is left alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["KIND", "PHONES"]

KIND = "pii.phone"

_GAP = r"[ .\-/()\xa0–]"  # noqa: RUF001
_EXTENSION = r"(?: ?(?:x|ext\.?) ?\d{1,6}(?!\d))?"
_NOT_INSIDE = r"(?<![\w+])(?<!\d[-.,])"

_INTERNATIONAL = lazy(
    rf"(?<![\w+])(?:\+|%2B)\(?\d(?:{_GAP}{{0,3}}\d){{6,14}}(?!\d){_EXTENSION}", re.IGNORECASE
)
_NORTH_AMERICAN = lazy(
    rf"{_NOT_INSIDE}(?:(?:00)?1{_GAP}{{1,2}})?(?:\(\d{{3}}\)[ -]?|\d{{3}}[ .\-])(\d{{3}})[ .\-](\d{{4}})"
    rf"(?![\w]|[-.]\d){_EXTENSION}(?!\w)|"
    # the extension written without a space: 555-123-4567x89
    rf"{_NOT_INSIDE}(?:(?:00)?1{_GAP}{{1,2}})?(?:\(\d{{3}}\)[ -]?|\d{{3}}[ .\-])\d{{3}}[ .\-]\d{{4}}x\d{{1,6}}(?!\w)",
    re.IGNORECASE,
)
_TRUNK_ZERO = lazy(rf"{_NOT_INSIDE}\(?0[1-9]\d{{0,3}}\)?(?:[ .\-/]\d{{2,8}}){{1,4}}(?![\w]|[-.,:]\d)")
_ANY_GROUPS = lazy(rf"{_NOT_INSIDE}\(?\d(?:{_GAP}{{0,2}}\d){{6,14}}(?![\w]|[-.,:/]\d)")
# What is said before a number, and what may stand between.
_LABEL = lazy(
    r"\b(?:(?:tele)?(?:phone|fon|foon|fono)|tel|t[ée]l|t[ée]l[ée]phone|t[ée]l[ée]fono|telepono|cep(?: no)?|gsm|handynummer|rufnummer|mobile?|cell(?:phone)?|fax|desk|hotline|whatsapp|sms|handy"
    r"|call(?:ed|ing)?|dial(?:ed|ing)?|text(?:ed|ing)?|ring|reach(?:ed)?|contact(?:ed)?|answering|messages?)\b"
    r"\D{0,24}\Z",
    re.IGNORECASE,
)
# Numbers that are called otherwise: an order, an account, a health service number.
_OTHER_LABEL = lazy(
    r"\b(?:nhs|mrn|npi|account|acct|order|invoice|batch|lot|ref(?:erence)?|case|ticket|claim|policy|id|member|tracking"
    r"|serial|part|sequence)\b[^\d\n]{0,16}\Z",
    re.IGNORECASE,
)
_LABEL_REACH = 40
# What a cell of a table holds when it is a number to call: a trunk zero, or several groups of digits.
_ALONE = lazy(r"\(?0[1-9](?:[ .\-/()]?\d){7,10}|\(?[1-9]\d{0,3}\)?(?:[ .-]\d{2,4}){2,4}")
# Dates, and the groups of a social security number.
_OTHER_SHAPE = lazy(
    r"(?:19|20)\d\d[-./]?[01]\d[-./]?[0-3]\d(?!\d)|\d\d[-./]\d\d[-./](?:19|20)\d\d|\d{3}-\d\d-\d{4}(?!\d)|\d{5}-\d{4}(?!\d)"
)


def _digits(text: str) -> int:
    return sum(map(str.isdecimal, text))


def _find_international(block: Window) -> Iterator[Candidate]:
    for found in _INTERNATIONAL.finditer(block.text, block.at):
        yield Candidate(*found.span(), KIND, 0.9)


def _find_north_american(block: Window) -> Iterator[Candidate]:
    for found in _NORTH_AMERICAN.finditer(block.text, block.at):
        yield Candidate(*found.span(), KIND, _doubted(block.text, found.start(), 0.8))


def _find_trunk_zero(block: Window) -> Iterator[Candidate]:
    for found in _TRUNK_ZERO.finditer(block.text, block.at):
        # One slash is how German numbers are written, more are a list of dates; 02110-1301 is a ZIP code.
        written = found.group()
        if 9 <= _digits(written) <= 12 and written.count("/") <= 1 and not _OTHER_SHAPE.match(written):
            yield Candidate(*found.span(), KIND, _doubted(block.text, found.start(), 0.6))


def _find_groups(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _ANY_GROUPS.finditer(window, at):
        start = found.start()
        if _OTHER_SHAPE.match(found.group()):
            continue
        if _LABEL.search(window[max(0, start - _LABEL_REACH) : start]):
            yield Candidate(start, found.end(), KIND, _doubted(window, start, 0.7))
        elif block.alone and _ALONE.fullmatch(found.group()) and found.end() - start == len(window.strip()):
            yield Candidate(start, found.end(), KIND, 0.5)


def _doubted(window: str, start: int, score: float) -> float:
    """Return the score, lowered where the number is called something else."""
    return score - 0.4 if _OTHER_LABEL.search(window[max(0, start - _LABEL_REACH) : start]) else score


PHONES = (
    Recognizer((KIND,), lazy(r"(?:\+|%9[Aa])\(?9"), _find_international),
    Recognizer((KIND,), lazy(r"9{3}(?:\)[ -]?|[ .\-])9{3}[ .\-]9{4}"), _find_north_american),
    Recognizer((KIND,), lazy(r"99{1,4}\)?[ .\-/]9{2}"), _find_trunk_zero),
    Recognizer((KIND,), lazy(rf"9(?:{_GAP}{{0,2}}9){{6,14}}(?![\w]|[-.,:/]9)"), _find_groups),
)
