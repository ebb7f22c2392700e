"""Filters inside JSON lines: no cutting changes what comes out, nor where it was found."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from aisecure._json_lines import JsonLines
from aisecure.detect import Redactor

REDACTOR = Redactor()
TEXT = '{"to": "ad\\u0061@example.org"}\r\n\n{"ssn": 536904399, broken ada@example.org\n"caf\\u00e9"\n{"cut": "ada@exam'


def lines() -> JsonLines:
    return JsonLines(lambda place: REDACTOR.stream(context=place.name))


@given(st.lists(st.integers(0, len(TEXT)), max_size=8))
def test_no_cutting_changes_what_comes_out_or_where_it_was_found(cuts: list[int]) -> None:
    inside = lines()
    edges = [0, *sorted(cuts), len(TEXT)]
    out, taken = [], []
    for start, end in itertools.pairwise(edges):
        out.append(inside.feed(TEXT[start:end]))
        taken += inside.take()
    new = "".join(out) + inside.finish()
    assert new == '{"to": "[EMAIL]"}\r\n\n{"ssn": "[US_SSN]", broken [EMAIL]\n"café"\n{"cut": "ada@exam'
    found = [(finding.kind, TEXT[finding.start : finding.end]) for finding in (*taken, *inside.findings)]
    assert found == [
        ("pii.email", "ad\\u0061@example.org"), ("pii.us_ssn", "536904399"), ("pii.email", "ada@example.org"),
    ]  # fmt: skip


def test_findings_of_the_open_line_are_told_too() -> None:
    inside = lines()
    inside.feed('1\n{"to": "ada@example.org", "n')
    assert [(finding.start, finding.end) for finding in inside.findings] == [(10, 25)]
