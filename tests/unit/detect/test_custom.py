"""Recognisers and lists of a user's own."""

from __future__ import annotations

import re

import pytest

from aisecure.detect import PiiDetector, Redactor, pattern

CUSTOMER = pattern("acme.customer", r"C-\d{6}", labels=["customer no"], score=0.4)


def test_a_pattern_counts_after_its_label() -> None:
    detector = PiiDetector(["acme.customer"], recognizers=[CUSTOMER])
    assert [f.kind for f in detector.scan("C-654321, and the customer no. C-123456")] == ["acme.customer"]
    assert Redactor([detector]).redact("customerNo=C-123456").text == "customerNo=[CUSTOMER]"


def test_a_check_and_a_group_narrow_what_counts() -> None:
    even = pattern("acme.badge", r"badge:(\d{4})", check=lambda value: int(value) % 2 == 0)
    text = "badge:1234 badge:1235"
    assert [(f.start, f.end) for f in PiiDetector(["acme.badge"], recognizers=[even]).scan(text)] == [(6, 10)]


@pytest.mark.parametrize(
    "expression", [r"(a+)+b", r"(?:a*b?)*", r"(x|xx)+y", r"(?:\d{1,3}){2,}", r"((a{1,9}){1,9})"]
)
def test_expressions_that_may_take_for_ever_are_refused(expression: str) -> None:
    with pytest.raises(ValueError, match="repeat inside a repeat"):
        pattern("acme.x", expression)


@pytest.mark.parametrize(
    "expression",
    [
        r"(?:a+)*+b",
        r"(?:ab)+\d{3,5}",
        r"[a-z]+-\d+",
        r"(?>a+)+",
        r"A|B\d+",
        r"(?:\d{3}){2}",
        re.compile("x+"),
    ],
)
def test_other_expressions_are_taken(expression: str) -> None:
    pattern("acme.x", expression)


@pytest.mark.parametrize(
    ("arguments", "words"), [(("nodot", "x"), "dotted"), (("a.b", "("), "is none"), (("A.b", "x"), "dotted")]
)
def test_nonsense_is_refused(arguments: tuple[str, str], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        pattern(*arguments)
    with pytest.raises(ValueError, match="0 to 1"):
        pattern("a.b", "x", score=2)


@pytest.mark.parametrize(
    "entry", ["ADA@example.org", re.compile(r".*@example\.org"), lambda value: value.startswith("ada")]
)
def test_what_is_allowed_stays_for_detectors_and_redactors(entry: object) -> None:
    text = "ada@example.org, bob@example.com"
    assert Redactor(allow=[entry]).redact(text).text == "ada@example.org, [EMAIL]"  # type: ignore[list-item]
    assert [f.start for f in PiiDetector(allow=[entry]).scan(text)] == [17]  # type: ignore[list-item]


@pytest.mark.parametrize("allow", ["ada", re.compile("ada"), len, [1]])
def test_a_list_that_is_none_is_refused(allow: object) -> None:
    with pytest.raises(TypeError, match="allow"):
        PiiDetector(allow=allow)  # type: ignore[arg-type]


def test_thresholds_and_countries_choose_what_counts() -> None:
    assert PiiDetector(thresholds={"pii.email": 1.0}).scan("ada@example.org")
    assert not PiiDetector(thresholds={"pii.us_ssn": 1.0}).scan("536-90-4399")
    assert "pii.us_ssn" in PiiDetector(countries=["US"]).types
    with pytest.raises(ValueError, match="XX"):
        PiiDetector(countries=["XX"])
    with pytest.raises(TypeError):
        PiiDetector(countries="US")
    with pytest.raises(ValueError, match=r"pii\.none"):
        PiiDetector(thresholds={"pii.none": 0.1})
