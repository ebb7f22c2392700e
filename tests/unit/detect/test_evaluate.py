"""Scores are those that a hand would count."""

from __future__ import annotations

import pytest

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


def test_macro_is_the_mean_of_labelled_types_and_micro_the_sum_of_counts() -> None:
    rows = [
        {"text": "ada@example.org", "spans": [{"start": 0, "end": 15, "type": "pii.email"}]},
        {"text": "no. 123", "spans": [{"start": 4, "end": 7, "type": "US_SSN"}]},
        {"text": "no. 123", "spans": [{"start": 4, "end": 7, "type": "US_SSN"}]},
    ]
    result = evaluate(rows, DETECTORS)
    assert result.macro_f1() == 0.5
    assert result.micro() == Score(labelled=3, found=1, exact=1, false=0)
    assert result.micro().f1() == 0.5


def test_types_that_are_equal_and_types_left_out() -> None:
    rows = [
        {
            "text": "536-90-4399 ada@example.org",
            "spans": [{"start": 0, "end": 11, "type": "TAX"}],
            "ignore": ["pii.email"],
        }
    ]
    assert evaluate(rows, DETECTORS, equal={"TAX": ["pii.us_ssn"]}).types == {"TAX": Score(1, 1, 1, 0)}
    assert evaluate(rows, DETECTORS, leave_out=["TAX", "pii.us_ssn"]).types == {}


def test_one_finding_may_be_right_for_two_labels_and_touching_is_no_overlap() -> None:
    text = "ada@example.org,536-90-4399"
    rows = [
        {
            "text": text,
            "spans": [
                {"start": 0, "end": 3, "type": "EMAIL_ADDRESS"},
                {"start": 3, "end": 15, "type": "EMAIL_ADDRESS"},
                {"start": 15, "end": 16, "type": "US_SSN"},
            ],
        }
    ]
    result = evaluate(rows, DETECTORS)
    assert result.types["EMAIL_ADDRESS"] == Score(labelled=2, found=2, exact=0, false=0)
    assert result.types["US_SSN"] == Score(labelled=1, found=0, exact=0, false=1)


@pytest.mark.parametrize(
    "row",
    [
        None,
        {"spans": []},
        {"text": "secret", "spans": "secret"},
        {"text": "secret", "spans": [["secret"]]},
        {"text": "secret", "spans": [{"start": "secret", "end": 2, "type": "X"}]},
        {"text": "secret", "spans": [{"start": 0, "end": True, "type": "X"}]},
        {"text": "secret", "spans": [{"start": 2, "end": 2, "type": "X"}]},
        {"text": "secret", "focus": "secret"},
    ],
    ids=repr,
)
def test_a_row_that_is_none_is_told_by_number_and_not_repeated(row: object) -> None:
    with pytest.raises(ValueError, match=r"^row 2: ") as caught:
        evaluate([{"text": ""}, row], DETECTORS)  # type: ignore[list-item]
    assert "secret" not in str(caught.value)
