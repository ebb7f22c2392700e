"""What a recogniser is: a function that proposes entities inside one window of text.

A window is a piece of text that no entity crosses (see `blocks`), with up to `blocks.CONTEXT` characters
before it in which labels such as "phone:" may be read. A recogniser sees nothing else, and that is what
makes its answers the same for a whole text and for a stream cut anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntFlag
from typing import NamedTuple

from aisecure.detect.window import Window

__all__ = ["Candidate", "Recognizer", "Shape", "shape_of"]


class Shape(IntFlag):
    """Cheap facts about a window; a recogniser is asked only about windows that have what it needs."""

    ANY = 0
    AT = 1
    DIGIT = 2
    COLONS = 4
    LONG = 8
    DOT = 16
    DIGITS = 32  # seven or more, as in a phone number


class Candidate(NamedTuple):
    """A proposed entity; offsets are into the window.

    Attributes:
        start, end: As in `Finding`.
        kind: As in `Finding`.
        score: Confidence, 0 to 1.
        run: How the entity goes on when it fills the window to its end; None when it cannot.
    """

    start: int
    end: int
    kind: str
    score: float
    run: re.Pattern[str] | None = None


@dataclass(frozen=True, slots=True)
class Recognizer:
    """A function that proposes entities, and what it must be asked about.

    Attributes:
        kinds: What it may propose.
        needs: What a window must have for it to be asked.
        find: Proposes entities that start at or after ``window.at``; what lies before is context. Runs in time linear
            in the window.
        labels: Phrases that say what a number is, by name; see `aisecure.detect.window.Labels`.
    """

    kinds: tuple[str, ...]
    needs: Shape
    find: Callable[[Window], Iterable[Candidate]]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


#: An IPv6 address without ``::`` has no fewer.
FEWEST_COLONS = 6
#: No token that is random enough to be a secret is shorter.
LONG_FROM = 12
_DIGIT = re.compile(r"\d")
_SEVEN = re.compile(r"(?:\D*+\d){7}")


def shape_of(window: str, at: int) -> int:
    """Return the `Shape` of a window's own text.

    >>> Shape(shape_of("mail a@b", 5))
    <Shape.AT: 1>
    """
    shape = 0
    if window.find("@", at) >= 0:
        shape |= 1
    if _DIGIT.search(window, at):
        shape |= 34 if _SEVEN.search(window, at) else 2
    colons = window.count(":", at)
    if colons >= FEWEST_COLONS or (colons and window.find("::", at) >= 0):
        shape |= 4
    if len(window) - at >= LONG_FROM:
        shape |= 8
    if window.find(".", at) >= 0:
        shape |= 16
    return shape
