"""National identifiers. So far: the social security number of the United States."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.recognizer import Candidate, Recognizer, Shape

__all__ = ["SSN_KIND", "US_SSN"]

SSN_KIND = "pii.us_ssn"

# Area not 000, 666 or 900-999, group not 00, serial not 0000: SSA, POMS RM 10201.
_VALID = r"(?!000|666|9)(\d{3})([-. \xa0]?)(?!00)\d\d\2(?!0000)\d{4}"
_SSN = re.compile(rf"(?<![\w+])(?<!\d[-.,]){_VALID}(?![\w]|[-.]\d)", re.ASCII)
_LABEL = re.compile(r"\b(?:ssn|ss ?#|soc(?:ial)?\.? ?sec)", re.IGNORECASE)
#: Printed in advertisements and never issued again (SSA, "Social Security Cards Issued by Woolworth").
_SAMPLES = frozenset({"078051120", "219099999"})


def _find(window: str, at: int) -> Iterator[Candidate]:
    for found in _SSN.finditer(window, at):
        start, end = found.span()
        if "".join(filter(str.isdecimal, found.group())) in _SAMPLES:
            continue
        if found[2] == "-":
            yield Candidate(start, end, SSN_KIND, 0.9)
        elif _LABEL.search(window[:start]):
            yield Candidate(start, end, SSN_KIND, 0.8)
        elif found[2]:
            yield Candidate(start, end, SSN_KIND, 0.6)


US_SSN = Recognizer((SSN_KIND,), Shape.DIGIT, _find)
