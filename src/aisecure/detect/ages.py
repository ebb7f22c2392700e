"""Ages over 89, which 45 CFR 164.514(b)(2)(i)(C) counts among what identifies a patient; others do not."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["AGES", "KIND"]

KIND = "pii.age_over_89"

_AGE = lazy(
    r"(?<![\w.,/:+$€£-])(?:9\d|1[0-2]\d)(?P<old>[ -]?(?:(?:years?|yrs?)[ -]old|y[/.]?o))?(?![\w%°€£$]|[.,/:-]\d)",
    re.IGNORECASE,
)
_SAID = lazy(r"\bage(?:d|s)?(?: of| is|:| at [a-z]{1,12}:?)?[ \xa0\"'=]{0,3}\Z", re.IGNORECASE)
_REACH = 24


def _find(window: Window) -> Iterator[Candidate]:
    text = window.text
    lower = window.lower
    # One of these is in all that counts.
    if not ("age" in lower or "y" in lower[window.at :]):
        return
    for found in _AGE.finditer(text, window.at):
        start, end = found.span()
        if found["old"]:
            yield Candidate(start, end, KIND, 0.85)
        elif _SAID.search(text, max(0, start - _REACH), start):
            yield Candidate(start, end, KIND, 0.75)


AGES = Recognizer((KIND,), lazy(r"(?<!9)99(?!9)|(?<!9)999(?!9)"), _find)
