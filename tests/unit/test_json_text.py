"""Filters inside JSON: what was valid stays valid, nothing outside of strings gets past, and no cutting changes the answer."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure.detect import Redactor, RestoreFilter
from aisecure.ports import TextFilter

REDACTOR = Redactor()
MAPPING = {"[EMAIL_1]": 'ada "the\\first"\n@example.org', "[X_2]": "😀é"}


def redacted(text: str, cuts: list[int] | None = None) -> str:
    return through(JsonText(lambda _: REDACTOR.stream()), text, cuts)


def through(inside: JsonText, text: str, cuts: list[int] | None) -> str:
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts or ()), len(text)]
    return "".join(inside.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + inside.finish()


def test_values_and_keys_are_filtered_as_they_are_meant() -> None:
    text = r'{"to": "ad\u0061@example.org", "ada@example.org": ["\"+44 20 7946 0958\"", 4111111111111111, true, null, -1.5e3], "n": "a\\b\/c"}'
    assert json.loads(redacted(text)) == {
        "to": "[EMAIL]", "[EMAIL]": ['"[PHONE]"', "[CREDIT_CARD]", True, None, -1500.0], "n": "a\\b/c",
    }  # fmt: skip


def test_findings_have_the_offsets_of_the_whole_text() -> None:
    text = r'{"a": "\u00e9\n ad\u0061@example.org x", "b": 4111111111111111}'
    inside = JsonText(lambda _: REDACTOR.stream())
    through(inside, text, [9, 20])
    found = [(finding.kind, text[finding.start : finding.end]) for finding in inside.findings]
    assert found == [("pii.email", r"ad\u0061@example.org"), ("pii.credit_card", "4111111111111111")]


def test_restored_values_are_escaped() -> None:
    text = '{"to": "[EMAIL_1]", "say": "email_1 [x_2]"}'
    restored = through(JsonText(lambda _: RestoreFilter(MAPPING)), text, [10, 11, 12])
    assert json.loads(restored) == {"to": MAPPING["[EMAIL_1]"], "say": f"{MAPPING['[EMAIL_1]']} 😀é"}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("mail ada@example.org, please", "mail [EMAIL], please"),
        ('{"a": "ada@example.org', '{"a": "[EMAIL]'),
        ('{"a": "x\\', '{"a": "x\\\\'),
        ('{"a": "x\\u12', '{"a": "x\\\\u12'),
        ('{"a": 411111111111111', '{"a": 411111111111111'),
        ("", ""),
        ("   ", "   "),
        ("call +44 20 7946 0958 " * 9, "call [PHONE] " * 9),
        ('"\\ud83d"', '"\\ud83d"'),
        ('"\\x"', '"\\\\x"'),
    ],
)
def test_what_is_cut_or_no_json_at_all_is_filtered_too(text: str, wanted: str) -> None:
    assert redacted(text) == wanted
    assert all(redacted(text, [cut]) == wanted for cut in range(len(text)))


@pytest.mark.parametrize("text", [r'["\ud83d\ude00 \u00e9"]', r'{"a":"b@c.org"}', r'[1,"\\"]'])
def test_every_split_of_a_short_text(text: str) -> None:
    whole = redacted(text)
    assert json.loads(whole) is not None
    for count in range(min(4, len(text))):
        for cuts in itertools.combinations(range(1, len(text)), count):
            assert redacted(text, list(cuts)) == whole


strings = st.text(max_size=20) | st.sampled_from(
    ["ada@example.org", "to ada@example.org.", "+44 20 7946 0958", "[EMAIL_1]", 'a"b\\c', "\ud800", "😀" * 3]
)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | strings,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(strings, inner, max_size=4),
    max_leaves=12,
)


@given(values, st.sampled_from(["ascii", "unicode"]), st.lists(st.integers(0, 400), max_size=12))
def test_any_json_stays_json_and_is_redacted_string_by_string(value: Any, form: str, cuts: list[int]) -> None:
    def clean(one: Any) -> Any:
        if isinstance(one, str):
            return REDACTOR.redact(one).text
        if isinstance(one, list):
            return [clean(each) for each in one]
        if isinstance(one, dict):
            return {clean(key): clean(each) for key, each in one.items()}
        return one

    text = json.dumps(value, ensure_ascii=form == "ascii")
    got = json.loads(redacted(text, cuts))
    # Numbers that look like a card, a phone or an address have become strings.
    assert _strings(got) >= _strings(clean(value)) or not _strings(clean(value))
    assert redacted(text, cuts) == redacted(text)


def _strings(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, list):
        return set().union(*map(_strings, value)) if value else set()
    if isinstance(value, dict):
        return set().union(*map(_strings, [*value, *value.values()])) if value else set()
    return set()


@given(st.text(max_size=60), st.lists(st.integers(0, 60), max_size=6))
def test_any_text_gives_one_answer_however_it_is_cut(text: str, cuts: list[int]) -> None:
    assert redacted(text, cuts) == redacted(text)


def test_a_filter_is_told_where_in_the_text_it_is() -> None:
    seen = []

    def make(place: JsonPlace) -> TextFilter:
        seen.append((place.awaits_key, place.name, place.field, place.pointer()))
        return REDACTOR.stream()

    text = r'{"a~/b": [{"\u0063": 1}, "x"], "d": {}, "e": "y"} "z" 7'
    through(JsonText(make), text, list(range(len(text))))
    assert seen == [
        (True, "", "", ""),
        (True, "a~/b", "a~/b", "/a~0~1b/0"),
        (False, "c", "a~/b", "/a~0~1b/0/c"),
        (False, "a~/b", "a~/b", "/a~0~1b/1"),
        (True, "", "", ""),
        (True, "", "", ""),
        (False, "e", "e", "/e"),
        (False, "", "", ""),
        (False, "", "", ""),
    ]


def test_places_cost_nothing_in_a_text_of_brackets() -> None:
    place = JsonPlace()
    for character in "[" * 5_000 + "}" * 9_000 + "{,,]":
        place.pass_by(character)
    assert (place.pointer(), place.name, place.awaits_key) == ("", "", False)
    for _ in range(5_000):
        place.pass_by("[")
        place.pass_by(",")
    assert place.pointer() == "/1" * 999 + "/1"


def test_findings_that_were_taken_are_told_once() -> None:
    inside = JsonText(lambda _: REDACTOR.stream())
    inside.feed('["ada@example.org", "bob@exam')
    assert [finding.start for finding in inside.take()] == [2]
    assert inside.open_from == 21
    inside.feed('ple.org"]')
    assert [finding.start for finding in inside.take()] == [21]
    assert inside.take() == ()
