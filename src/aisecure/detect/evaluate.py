"""How well detectors find what people labelled: precision, recall and F1 for each type and over all.

A row of data is ``{"text": ..., "spans": [{"start", "end", "type"}], "focus": [...], "ignore": [...]}``. Types are Presidio's names, as
`presidio_name` gives them, or kinds. A span with ``"weak": true`` counts neither as found nor as missed. Where a row has ``focus``, its
labels are complete for those types alone; types in ``ignore`` are not labelled in it. The keys of Presidio's own data are understood
too: ``full_text``, and of a span ``start_position``, ``end_position`` and ``entity_type``.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any

from aisecure.detect.detectors import Detector, presidio_name

__all__ = ["Evaluation", "Score", "evaluate"]


#: What a span's parts are called, by us and in Presidio's data.
_SPAN = (("start", "start_position"), ("end", "end_position"), ("type", "entity_type"))


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
    rows: Iterable[Mapping[str, Any]],
    detectors: Sequence[Detector],
    *,
    leave_out: Iterable[str] = (),
    equal: Mapping[str, Collection[str]] | None = None,
) -> Evaluation:
    """Return how well detectors find what is labelled.

    Args:
        rows: See the module. They are read once, one at a time.
        detectors: What looks; their findings are judged together.
        leave_out: Types that are not judged, such as PERSON for engines of patterns.
        equal: Of a type in the data the types of findings that are right too, as shell patterns:
            ``{"PASSPORT": ["*_PASSPORT"]}``.

    Raises:
        ValueError: A row is none; the text says which and why, and repeats nothing of it.

    >>> from aisecure.detect import PiiDetector
    >>> row = {"text": "mail ada@example.org", "spans": [{"start": 5, "end": 20, "type": "EMAIL_ADDRESS"}]}
    >>> evaluate([row], [PiiDetector()]).micro().f1()
    1.0
    """
    left_out = frozenset(map(_name, leave_out))
    same = _Same(equal or {})
    result = Evaluation()
    scores: defaultdict[str, Score] = defaultdict(Score)
    for number, row in enumerate(rows):
        text, spans = _checked(number, row)
        result.rows += 1
        result.characters += len(text)
        findings = _Findings(
            (finding.start, finding.end, presidio_name(finding.kind))
            for detector in detectors
            for finding in detector.scan(text)
        )
        right = set()
        for start, end, name, weak in spans:
            hits = [each for each in findings.touching(start, end) if same(name, each[2])]
            right.update(hits)
            if weak or name in left_out:
                continue
            score = scores[name]
            score.labelled += 1
            score.found += bool(hits)
            score.exact += any(each[:2] == (start, end) for each in hits)
            if not hits:
                result.misses.append((number, start, end, name))
        focus, ignore = _names(number, row, "focus"), _names(number, row, "ignore")
        doubtful = {each for low, high, _, weak in spans if weak for each in findings.touching(low, high)}
        for each in findings.all:
            name = each[2]
            if each in right or each in doubtful or name in left_out:
                continue
            if name in ignore or (focus and name not in focus):
                continue
            scores[name].false += 1
            result.false.append((number, *each))
    result.types = dict(scores)
    return result


class _Same:
    """Whether a finding of one type is right where another is labelled."""

    def __init__(self, equal: Mapping[str, Collection[str]]) -> None:
        self._patterns = {_name(label): tuple(map(_name, names)) for label, names in equal.items()}

    def __call__(self, label: str, found: str) -> bool:
        return label == found or any(fnmatchcase(found, each) for each in self._patterns.get(label, ()))


class _Findings:
    """The distinct findings of one text, by their place."""

    def __init__(self, findings: Iterable[tuple[int, int, str]]) -> None:
        self.all = sorted(set(findings))
        self._starts = [start for start, _, _ in self.all]
        self._longest = max((end - start for start, end, _ in self.all), default=0)

    def touching(self, start: int, end: int) -> list[tuple[int, int, str]]:
        """Return those that share a character with a span."""
        low, high = bisect_left(self._starts, start - self._longest), bisect_left(self._starts, end)
        return [each for each in self.all[low:high] if start < each[1]]


def _name(type_or_kind: str) -> str:
    return presidio_name(type_or_kind) if "." in type_or_kind else type_or_kind


def _names(number: int, row: Mapping[str, Any], key: str) -> frozenset[str]:
    names = row.get(key) or ()
    if (
        not isinstance(names, Sequence)
        or isinstance(names, str)
        or not all(isinstance(each, str) for each in names)
    ):
        raise ValueError(f"row {number + 1}: {key} is a list of types")
    return frozenset(map(_name, names))


def _checked(number: int, row: Mapping[str, Any]) -> tuple[str, list[tuple[int, int, str, bool]]]:
    where = f"row {number + 1}"
    text = row.get("text", row.get("full_text")) if isinstance(row, Mapping) else None
    if not isinstance(text, str):
        raise ValueError(f"{where}: is an object with a text")
    labelled, spans = row.get("spans") or (), []
    if not isinstance(labelled, Sequence) or isinstance(labelled, str):
        raise ValueError(f"{where}: spans is a list")
    for span in labelled:
        start, end, name = (_first(span, keys) for keys in _SPAN)
        if type(start) is not int or type(end) is not int or not isinstance(name, str):
            raise ValueError(f"{where}: a span has start, end and type")
        if not 0 <= start < end <= len(text):
            raise ValueError(
                f"{where}: the span {start} to {end} is not inside its text of {len(text)} characters"
            )
        spans.append((start, end, _name(name), bool(span.get("weak"))))
    return text, spans


def _first(span: Any, keys: tuple[str, str]) -> Any:
    return next((span[key] for key in keys if key in span), None) if isinstance(span, Mapping) else None
