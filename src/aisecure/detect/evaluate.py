"""How well detectors find what people labelled: precision, recall and F1 for each type and over all.

A row of data is ``{"text": ..., "spans": [{"start", "end", "type"}], "focus": [...], "ignore": [...]}``. Types are Presidio's names, as
`presidio_name` gives them, or kinds. A span with ``"weak": true`` counts neither as found nor as missed. Where a row has ``focus``, its
labels are complete for those types alone; types in ``ignore`` are not labelled in it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from aisecure.detect.detectors import Detector, presidio_name

__all__ = ["Evaluation", "Score", "evaluate"]


@dataclass(slots=True)
class Score:
    """Counts of one type.

    Attributes:
        labelled: Spans in the data.
        found: Of these, how many a finding of the type overlaps.
        exact: Of these, how many a finding has exactly.
        false: Findings of the type where no span of it is.
    """

    labelled: int = 0
    found: int = 0
    exact: int = 0
    false: int = 0

    def precision(self, *, strict: bool = False) -> float:
        """Return the share of findings that are right, 0 to 1; 1 where there are none."""
        findings = self.found + self.false
        return (self.exact if strict else self.found) / findings if findings else 1.0

    def recall(self, *, strict: bool = False) -> float:
        """Return the share of spans that were found, 0 to 1; 1 where there are none."""
        return (self.exact if strict else self.found) / self.labelled if self.labelled else 1.0

    def f1(self, *, strict: bool = False) -> float:
        """Return the harmonic mean of precision and recall."""
        precision, recall = self.precision(strict=strict), self.recall(strict=strict)
        return 2 * precision * recall / (precision + recall) if precision + recall else 0.0

    def add(self, other: Score) -> None:
        """Count what another counted too."""
        self.labelled += other.labelled
        self.found += other.found
        self.exact += other.exact
        self.false += other.false

    def to_dict(self) -> dict[str, Any]:
        """Return counts and figures as JSON-ready data."""
        return {
            "labelled": self.labelled,
            "found": self.found,
            "exact": self.exact,
            "false": self.false,
            "precision": round(self.precision(), 4),
            "recall": round(self.recall(), 4),
            "f1": round(self.f1(), 4),
            "f1_strict": round(self.f1(strict=True), 4),
        }


@dataclass(slots=True)
class Evaluation:
    """What an evaluation found out.

    Attributes:
        types: Score by type.
        misses: Row, start, end and type of each span that was not found.
        false: Row, start, end and type of each finding where nothing is labelled.
        rows: How many rows there were.
        characters: How long their texts were together.
    """

    types: dict[str, Score] = field(default_factory=dict)
    misses: list[tuple[int, int, int, str]] = field(default_factory=list)
    false: list[tuple[int, int, int, str]] = field(default_factory=list)
    rows: int = 0
    characters: int = 0

    def micro(self) -> Score:
        """Return the counts of all types together."""
        total = Score()
        for score in self.types.values():
            total.add(score)
        return total

    def macro_f1(self, *, strict: bool = False) -> float:
        """Return the mean F1 of the types that are in the data."""
        scores = [score.f1(strict=strict) for score in self.types.values() if score.labelled]
        return sum(scores) / len(scores) if scores else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Return the figures as JSON-ready data, without the places of misses."""
        micro = self.micro()
        return {
            "rows": self.rows,
            "characters": self.characters,
            "micro": micro.to_dict(),
            "macro_f1": round(self.macro_f1(), 4),
            "macro_f1_strict": round(self.macro_f1(strict=True), 4),
            "types": {name: self.types[name].to_dict() for name in sorted(self.types)},
        }


def evaluate(
    rows: Iterable[Mapping[str, Any]], detectors: Sequence[Detector], *, leave_out: Iterable[str] = ()
) -> Evaluation:
    """Return how well detectors find what is labelled.

    Args:
        rows: See the module.
        detectors: What looks; their findings are judged together.
        leave_out: Types that are not judged, such as PERSON for engines of patterns.

    Raises:
        ValueError: A row is none; the text says which and why.

    >>> from aisecure.detect import PiiDetector
    >>> row = {"text": "mail ada@example.org", "spans": [{"start": 5, "end": 20, "type": "EMAIL_ADDRESS"}]}
    >>> evaluate([row], [PiiDetector()]).micro().f1()
    1.0
    """
    left_out = frozenset(map(_name, leave_out))
    result = Evaluation()
    scores: defaultdict[str, Score] = defaultdict(Score)
    for number, row in enumerate(rows):
        text, spans = _checked(number, row)
        result.rows += 1
        result.characters += len(text)
        findings = {
            (finding.start, finding.end, presidio_name(finding.kind))
            for detector in detectors
            for finding in detector.scan(text)
        }
        right = set()
        for start, end, name, weak in spans:
            hits = [each for each in findings if each[0] < end and start < each[1] and each[2] == name]
            right.update(hits)
            if weak or name in left_out:
                continue
            score = scores[name]
            score.labelled += 1
            score.found += bool(hits)
            score.exact += any(each[:2] == (start, end) for each in hits)
            if not hits:
                result.misses.append((number, start, end, name))
        focus, ignore = frozenset(row.get("focus") or ()), frozenset(row.get("ignore") or ())
        for start, end, name in sorted(findings - right):
            if name in left_out or name in ignore or (focus and name not in focus):
                continue
            if any(weak and start < high and low < end for low, high, _, weak in spans):
                continue
            scores[name].false += 1
            result.false.append((number, start, end, name))
    result.types = dict(scores)
    return result


def _name(type_or_kind: str) -> str:
    return presidio_name(type_or_kind) if "." in type_or_kind else type_or_kind


def _checked(number: int, row: Mapping[str, Any]) -> tuple[str, list[tuple[int, int, str, bool]]]:
    where = f"row {number + 1}"
    if not isinstance(row, Mapping) or not isinstance(row.get("text"), str):
        raise ValueError(f"{where}: is an object with a text")
    text, spans = row["text"], []
    for span in row.get("spans") or ():
        try:
            start, end, name = span["start"], span["end"], span["type"]
        except (TypeError, KeyError):
            raise ValueError(f"{where}: a span has start, end and type") from None
        if not (
            isinstance(start, int)
            and isinstance(end, int)
            and isinstance(name, str)
            and 0 <= start < end <= len(text)
        ):
            raise ValueError(
                f"{where}: the span {start!r} to {end!r} is not inside its text of {len(text)} characters"
            )
        spans.append((start, end, _name(name), bool(span.get("weak"))))
    return text, spans
