"""Scores are those that a hand would count."""

from __future__ import annotations

from aisecure.detect import PiiDetector
from aisecure.detect.evaluate import Score, evaluate

DETECTORS = [PiiDetector(["pii.email", "pii.us_ssn"])]


def test_overlaps_exact_hits_misses_and_false_findings_are_counted() -> None:
    rows = [
        {"text": "ada@example.org", "spans": [{"start": 0, "end": 15, "type": "EMAIL_ADDRESS"}]},
        {"text": "<ada@example.org>", "spans": [{"start": 0, "end": 17, "type": "EMAIL_ADDRESS"}]},
        {"text": "ada at example", "spans": [{"start": 0, "end": 14, "type": "EMAIL_ADDRESS"}]},
        {"text": "bob@example.org", "spans": []},
    ]
    result = evaluate(rows, DETECTORS)
    assert result.types["EMAIL_ADDRESS"] == Score(labelled=3, found=2, exact=1, false=1)
    assert result.types["EMAIL_ADDRESS"].precision() == 2 / 3
    assert result.types["EMAIL_ADDRESS"].recall(strict=True) == 1 / 3
    assert result.misses == [(2, 0, 14, "EMAIL_ADDRESS")]
    assert result.false == [(3, 0, 15, "EMAIL_ADDRESS")]


def test_weak_spans_focus_and_ignored_types_count_neither_way() -> None:
    rows = [
        {"text": "ada@example.org", "spans": [{"start": 0, "end": 15, "type": "US_SSN", "weak": True}]},
        {"text": "ada@example.org 536-90-4399", "spans": [], "focus": ["US_SSN"]},
        {"text": "ada@example.org", "spans": [], "ignore": ["EMAIL_ADDRESS"]},
    ]
    result = evaluate(rows, DETECTORS)
    assert result.types == {"US_SSN": Score(false=1)}


def test_no_data_is_no_miss() -> None:
    assert evaluate([], DETECTORS).micro().f1() == 1.0
    assert evaluate([], DETECTORS).macro_f1() == 1.0
