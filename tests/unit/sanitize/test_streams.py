from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import HtmlEscapeFilter, TagEscapeFilter, encode, escape_tags, sanitize_html

chunks = st.lists(
    st.text(st.sampled_from("<</!?ab &>\"'\n\0\ud800é"), max_size=4) | st.text(max_size=5), max_size=10
)


def run(stream: HtmlEscapeFilter | TagEscapeFilter, pieces: list[str]) -> str:
    return "".join(map(stream.feed, pieces)) + stream.finish()


@given(chunks)
def test_the_chunks_of_a_stream_make_no_difference(pieces: list[str]) -> None:
    text = "".join(pieces)
    assert run(HtmlEscapeFilter(), pieces) == encode.html(text)
    assert run(TagEscapeFilter(), pieces) == escape_tags(text)


@given(chunks)
def test_findings_do_not_depend_on_the_chunks(pieces: list[str]) -> None:
    cut, whole = TagEscapeFilter(), TagEscapeFilter()
    run(cut, pieces)
    run(whole, ["".join(pieces)])
    assert cut.findings == whole.findings


@given(chunks)
def test_no_markup_is_left(pieces: list[str]) -> None:
    left = run(TagEscapeFilter(), pieces)
    assert "<" not in sanitize_html(left).replace("&lt;", "")


@pytest.mark.parametrize("text", ["", "1 < 2 and 3 > 2", "a && b", 'it\'s "quoted"', "<3", "x <= y"])
def test_prose_and_formulas_stay(text: str) -> None:
    assert escape_tags(text) == text


def test_a_tag_split_at_every_character_is_shown_as_text() -> None:
    assert run(TagEscapeFilter(), list("<script>x()</script>")) == "&lt;script>x()&lt;/script>"
