"""What a recogniser is: a function that proposes entities inside one window of text.

A window is a piece of text that no entity crosses (see `blocks`), with up to `blocks.CONTEXT` characters
before it in which labels such as "phone:" may be read. A recogniser sees nothing else, and that is what
makes its answers the same for a whole text and for a stream cut anywhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from aisecure.detect.window import Window

__all__ = ["Candidate", "Recognizer"]


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
        form: What is in the `outline` of every block that has such an entity; it is asked about no other. None: about all.
        find: Proposes entities that start at or after ``window.at``; what lies before is context. Runs in time linear
            in the window.
        labels: Phrases that say what a number is, by name; see `aisecure.detect.window.Labels`.
    """

    kinds: tuple[str, ...]
    form: re.Pattern[str] | None
    find: Callable[[Window], Iterable[Candidate]]
    labels: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
