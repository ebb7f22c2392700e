"""Placeholders come back also when a model did not copy them exactly, in whole texts and in streams."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import RestoreFilter, restore

MAPPING = {
    "[EMAIL_1]": "ada@example.org",
    "[EMAIL_12]": "bob@example.org",
    "[CREDIT_CARD_1]": "4111 1111 1111 1111",
    "[PERSON_2]": "Ada",
}
FORMS = [
    "[EMAIL_1]", "[email_1]", "[Email 1]", "[EMAIL-1]", "(EMAIL_1)", "{EMAIL_1}", "<EMAIL_1>", "EMAIL_1", "email_1", "EMAIL 1", "EMAIL-1", "\\[EMAIL\\_1\\]", "[ EMAIL_1 ]",
    "[**EMAIL_1**]", "`[EMAIL_1]`", "【EMAIL_1】", "[EMAIL\xa01]",
]  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "around", ["{}", "to {}.", "to {}'s desk", "**{}**", "say “{}”, twice", "({})", "{}\n"]
)
def test_a_placeholder_comes_back_in_any_of_these_forms(form: str, around: str) -> None:
    text = around.format(form)
    got = restore(text, MAPPING)
    assert "ada@example.org" in got
    assert "EMAIL" not in got.upper()


@pytest.mark.parametrize(
    "text",
    [
        "see email 1",
        "Email 1 of 2",
        "[EMAIL_3]",
        "EMAIL_13",
        "XEMAIL_1",
        "EMAIL_1X",
        "EMAIL_1.5",
        "[EMAIL_1",
        "[PHONE_1]",
        "email-1",
        "my_EMAIL_1",
    ],
)
def test_what_is_no_placeholder_of_ours_stays(text: str) -> None:
    assert (
        restore(text, MAPPING) == text.replace("[EMAIL_1", "[ada@example.org")
        if text == "[EMAIL_1"
        else restore(text, MAPPING) == text
    )


def test_numbers_are_not_mixed_up() -> None:
    assert (
        restore("EMAIL_12, [EMAIL_1]2, [EMAIL_12]", MAPPING)
        == "bob@example.org, ada@example.org2, bob@example.org"
    )
    assert restore("[Credit Card 1] of [person_2]", MAPPING) == "4111 1111 1111 1111 of Ada"


def in_pieces(text: str, cuts: list[int]) -> str:
    stream = RestoreFilter(MAPPING)
    edges = [0, *sorted(cuts), len(text)]
    return "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()


@pytest.mark.parametrize(
    "text", ["a [email 1]", "xEMAIL_1", "\\[EMAIL\\_1\\]", "EMAIL_1.5", "[[EMAIL_1", "EMAIL_12]"]
)
def test_every_split_of_a_short_text(text: str) -> None:
    whole = restore(text, MAPPING)
    for count in range(min(len(text), 9)):
        for cuts in itertools.combinations(range(1, len(text)), count):
            assert in_pieces(text, list(cuts)) == whole, cuts


pieces = st.lists(
    st.one_of(
        st.sampled_from(
            [
                *FORMS,
                "[EMAIL_12]",
                "CREDIT_CARD_1",
                "[credit card 1]",
                "EMA",
                "[CRED",
                "\\",
                "[",
                " ",
                "_",
                "-",
                "1",
                ".",
                "x",
                "é",
                "*",
            ]
        ),
        st.text(max_size=4),
    ),
    max_size=10,
).map("".join)


@given(pieces, st.lists(st.integers(0, 200), max_size=12))
def test_texts_of_glued_and_half_placeholders_cut_anywhere(text: str, cuts: list[int]) -> None:
    assert in_pieces(text, [min(cut, len(text)) for cut in cuts]) == restore(text, MAPPING)


def test_plain_words_pass_at_once() -> None:
    stream = RestoreFilter(MAPPING)
    assert stream.feed("Dear reader, thi") == "Dear reader, thi"
    assert stream.feed("s is plain. [EMA") == "s is plain. "
    assert stream.feed("IL_1]!") == "ada@example.org!"


def test_no_more_than_110_characters_are_held() -> None:
    stream = RestoreFilter(MAPPING)
    text = "[" * 50 + " * `" * 400 + "[EMAIL_" + "1" * 500
    given_out = sum(len(stream.feed(character)) for character in text)
    assert len(text) - given_out <= 110


def test_without_a_mapping_nothing_is_held() -> None:
    stream = RestoreFilter({})
    assert stream.feed("[EMA") == "[EMA"
    assert stream.finish() == ""
    assert restore("[EMAIL_1]", {}) == "[EMAIL_1]"
