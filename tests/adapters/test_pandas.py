"""Data frames: cells of every kind, and the frame itself untouched."""

from __future__ import annotations

import pandas as pd
import pytest

from aisecure.adapters.pandas import redact_frame
from aisecure.detect import Placeholders, Redactor

FRAME = pd.DataFrame(
    {
        "text": ["mail ada@example.org", "nothing", None],
        "mixed": pd.Series(["+44 20 7946 0958", 7, {"mrn": "4471203", "in": ["ada@example.org"]}], dtype=object, index=["x", "y", "z"]),
        "ssn": [536904399, 0, 1],
        "score": [0.5, float("nan"), 2.0],
        "when": pd.to_datetime(["2026-01-01", "2026-01-02", None]).array,
        "kind": pd.Categorical(["ada@example.org", "b", "ada@example.org"]),
    },
    index=["x", "y", "z"],
)  # fmt: skip


def test_cells_of_every_kind() -> None:
    before = FRAME.copy(deep=True)
    clean = redact_frame(FRAME)
    assert clean["text"].tolist()[:2] == ["mail [EMAIL]", "nothing"]
    assert pd.isna(clean["text"].iloc[2])
    assert clean["mixed"].tolist() == ["[PHONE]", 7, {"mrn": "[MEDICAL_RECORD_NUMBER]", "in": ["[EMAIL]"]}]
    assert clean["ssn"].tolist() == ["[US_SSN]", 0, 1]
    assert clean["kind"].tolist() == ["[EMAIL]", "b", "[EMAIL]"]
    for name in ("score", "when"):
        pd.testing.assert_series_equal(clean[name], FRAME[name])
    assert list(clean.index) == ["x", "y", "z"]
    assert clean["text"].dtype == FRAME["text"].dtype
    pd.testing.assert_frame_equal(FRAME, before)


def test_only_the_columns_that_are_named() -> None:
    clean = redact_frame(FRAME, columns=["text"])
    assert clean["ssn"].tolist() == [536904399, 0, 1]
    assert clean["text"].iloc[0] == "mail [EMAIL]"
    with pytest.raises(ValueError, match="none"):
        redact_frame(FRAME, columns=["none"])
    with pytest.raises(TypeError):
        redact_frame(FRAME, columns="text")
    with pytest.raises(TypeError):
        redact_frame([1])


def test_a_value_has_one_placeholder_in_the_whole_frame() -> None:
    kept = Placeholders()
    clean = redact_frame(FRAME, Redactor(reversible=True), placeholders=kept)
    assert clean["kind"].tolist() == ["[EMAIL_1]", "b", "[EMAIL_1]"]
    assert kept.mapping["[EMAIL_1]"] == "ada@example.org"


def test_columns_with_one_name_and_empty_frames() -> None:
    frame = pd.DataFrame([["ada@example.org", "b"], ["c", "ada@example.org"]], columns=["a", "a"])
    assert redact_frame(frame).to_numpy().tolist() == [["[EMAIL]", "b"], ["c", "[EMAIL]"]]
    assert redact_frame(pd.DataFrame()).empty
