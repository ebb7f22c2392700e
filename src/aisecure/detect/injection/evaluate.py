"""How well instructions are found in labelled texts."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from aisecure.detect.injection.detector import Context, InjectionDetector

__all__ = ["Counts", "Evaluation", "Labelled", "evaluate"]


class Labelled(NamedTuple):
    """A text, and whether it is an attack."""

    text: str
    is_attack: bool
    source: str = ""
    context: Context = "user"


@dataclass
class Counts:
    """Of one source: its attacks, how many of them were flagged, its harmless texts, and how many of those."""

    attacks: int = 0
    found: int = 0
    harmless: int = 0
    flagged: int = 0


@dataclass
class Evaluation:
    """What came out.

    Attributes:
        sources: Counts by source.
        scores: Score and label of every text.
    """

    sources: dict[str, Counts] = field(default_factory=dict)
    scores: list[tuple[float, bool]] = field(default_factory=list)

    def total(self) -> Counts:
        """Return the counts of all sources together."""
        found = self.sources.values()
        return Counts(
            sum(one.attacks for one in found),
            sum(one.found for one in found),
            sum(one.harmless for one in found),
            sum(one.flagged for one in found),
        )

    def auroc(self) -> float | None:
        """Return how often an attack scores above a harmless text, ties counting half; None without one of either.

        >>> Evaluation(scores=[(0.9, True), (0.2, False)]).auroc()
        1.0
        """
        ordered = sorted(self.scores)
        attacks = sum(is_attack for _, is_attack in ordered)
        harmless = len(ordered) - attacks
        if not attacks or not harmless:
            return None
        below = won = at = 0
        ties = 0.0
        while at < len(ordered):
            end = at
            while end < len(ordered) and ordered[end][0] == ordered[at][0]:
                end += 1
            here = sum(is_attack for _, is_attack in ordered[at:end])
            won += here * below
            ties += here * (end - at - here) / 2
            below += end - at - here
            at = end
        return (won + ties) / (attacks * harmless)

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data."""
        return {
            "sources": {name: vars(counts) for name, counts in sorted(self.sources.items())},
            "total": vars(self.total()),
            "auroc": self.auroc(),
        }


def evaluate(detector: InjectionDetector, rows: Iterable[Labelled]) -> Evaluation:
    """Return how a detector does on labelled texts."""
    result = Evaluation()
    for row in rows:
        score = detector.score(row.text, context=row.context)
        is_flagged = score >= detector.threshold(row.context)
        counts = result.sources.setdefault(row.source, Counts())
        result.scores.append((score, row.is_attack))
        if row.is_attack:
            counts.attacks += 1
            counts.found += is_flagged
        else:
            counts.harmless += 1
            counts.flagged += is_flagged
    return result
