"""Decisions and findings are values, ready for JSON."""

from __future__ import annotations

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.decisions import ALLOW, Decision, Finding, Outcome
from aisecure.errors import AccessDenied


def test_only_allow_is_allowed() -> None:
    assert [outcome for outcome in Outcome if Decision(outcome).allowed] == [Outcome.ALLOW]


def test_a_decision_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        ALLOW.outcome = Outcome.DENY  # type: ignore[misc]


def test_require_returns_for_allow_and_raises_for_deny() -> None:
    Decision.allow().require()
    with pytest.raises(AccessDenied, match="needs the role"):
        Decision.deny("access.denied", "This needs the role admin.").require()


@given(
    outcome=st.sampled_from(Outcome),
    reasons=st.lists(st.text(), max_size=3).map(tuple),
    retry_after=st.none() | st.floats(0, 1e9),
    spans=st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9), st.floats(0, 1)), max_size=3),
)
def test_every_decision_is_json(
    outcome: Outcome, reasons: tuple[str, ...], retry_after: float | None, spans: list[tuple[int, int, float]]
) -> None:
    findings = tuple(
        Finding("pii.email", start, end, score, "pattern", "/messages/0") for start, end, score in spans
    )
    decision = Decision(outcome, "input.rejected", reasons, findings, retry_after)
    data = json.loads(json.dumps(decision.to_dict()))
    assert data["allowed"] is (data["outcome"] == "allow")
    assert data["reasons"] == list(reasons)
    assert len(data["findings"]) == len(spans)


def test_a_finding_has_no_place_for_the_matched_text() -> None:
    assert {field.name for field in dataclasses.fields(Finding)} == {
        "kind",
        "start",
        "end",
        "score",
        "detector",
        "path",
    }
