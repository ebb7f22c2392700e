from __future__ import annotations

import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import clean_text, hidden

SUSPECTS = (
    "\0\r\n\t\x1b\x85\u00ad\u034f\u061c\u115f\u180b\u180e\u200b\u200c\u200d\u200e\u202e\u2060\u2066\u2069\ufe00\ufe0f\ufeff"
    "\uffa0\ufff9\ufffe\ud800\udc00\u3164\U000e0001\U000e0067\U000e0062\U000e0065\U000e006e\U000e007f\U000e0100\U0001f3f4"
    "e\u0301a1#\u2764\U0001f468\U0001f3fb\u0645\u06cc\u0915\u094d\u0937\u4e08\uf900\u2329\u2126\u1820\u2200\u0338\ufb2c\uff21"
)
tricky = st.text(st.sampled_from(SUSPECTS), max_size=20) | st.text(max_size=20)

KEPT = {
    "accents": "caf\u00e9 na\u00efve",
    "family": "\U0001f468\u200d\U0001f469\u200d\U0001f467",
    "skin tone": "\U0001f469\U0001f3fd\u200d\U0001f4bb",
    "heart on fire": "\u2764\ufe0f\u200d\U0001f525",
    "rainbow flag": "\U0001f3f3\ufe0f\u200d\U0001f308",
    "flag of England": "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "flag of Scotland": "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
    "keycap": "1\ufe0f\u20e3",
    "Persian": "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
    "Arabic abbreviation": "\u0647\u200d",
    "Hindi half form": "\u0915\u094d\u200d\u0937",
    "Hindi explicit virama": "\u0915\u094d\u200c\u0937",
    "Malayalam": "\u0d28\u0d4d\u200d",
    "Mongolian": "\u1820\u180b",
    "ideographic variant": "\u845b\U000e0100",
    "Hebrew with marks": "\u05d0\u200e\u05d1\u200f",
    "Japanese": "\u65e5\u672c\u8a9e\u3000\u306e",
    "Korean": "\ud55c\uae00",
    "line structure": "a\n\tb\u2028c",
}
CLEANED = {
    "tag characters": ("go\U000e0069\U000e0067\U000e006e", "go"),
    "tag characters after a black flag": ("\U0001f3f4\U000e0068\U000e0069\U000e007f", "\U0001f3f4"),
    "zero-width split": ("i\u200bg\u200cn\u200do\u2060r\ufeffe", "ignore"),
    "soft hyphen": ("ig\u00adnore", "ignore"),
    "override": ("\u202eabc\u202c \u2066d\u2069", "abc d"),
    "controls": ("a\x00\x08\x1b[0m\x7f\x9bb", "a[0mb"),
    "line ends": ("a\r\nb\rc", "a\nb\nc"),
    "selectors as bytes": ("x\ufe01\ufe02\U000e0110\U000e01ef", "x"),
    "second selector": ("\u2764\ufe0f\ufe0e\ufe0f", "\u2764\ufe0f"),
    "joiner run": ("\u0645\u200c\u200c\u200c\u06cc", "\u0645\u200c\u06cc"),
    "joiner in Latin": ("pass\u200dword", "password"),
    "joiner at the start": ("\u200dx", "x"),
    "joiner after emoji": ("\U0001f468\u200d", "\U0001f468"),
    "joiner before something that goes": ("\u0937\u200c\u180b\u180bx", "\u0937x"),
    "joiner of a letter before an emoji": ("\u0915\u200d\u200b\U0001f468", "\u0915\u200d\U0001f468"),
    "fillers": ("a\u3164\uffa0b", "ab"),
    "noncharacters": ("a\ufffe\ufdd0b", "ab"),
    "lone surrogate": ("a\ud800b\udc00", "a\ufffdb\ufffd"),
    "decomposed": ("e\u0301", "\u00e9"),
    "composed across a removal": ("e\u200b\u0301", "\u00e9"),
}


@pytest.mark.parametrize("text", KEPT.values(), ids=KEPT.keys())
def test_honest_text_stays(text: str) -> None:
    assert clean_text(text) == text
    assert hidden(text) == []


@pytest.mark.parametrize(("text", "wanted"), CLEANED.values(), ids=CLEANED.keys())
def test_what_readers_cannot_see_goes(text: str, wanted: str) -> None:
    assert clean_text(text) == wanted


@given(tricky, st.sampled_from(["NFC", "NFKC", None]))
def test_cleaning_twice_is_cleaning_once(text: str, form: str | None) -> None:
    clean = clean_text(text, form=form)  # type: ignore[arg-type]
    assert clean_text(clean, form=form) == clean  # type: ignore[arg-type]
    assert form is None or unicodedata.is_normalized(form, clean)  # type: ignore[arg-type]


@given(tricky)
def test_runs_are_in_bounds_in_order_and_apart(text: str) -> None:
    runs = hidden(text)
    assert all(0 <= run.start < run.end <= len(text) for run in runs)
    for one, next_ in pairwise(runs):
        assert one.end < next_.start or (one.end == next_.start and one.kind != next_.kind)


@given(tricky)
def test_the_result_can_be_written_as_utf8(text: str) -> None:
    clean_text(text).encode("utf-8")


def test_directions_may_be_kept() -> None:
    assert clean_text("\u2067\u05d0\u2069\u200b", keep_bidi=True) == "\u2067\u05d0\u2069"


def test_nfkc_folds_letters_in_disguise() -> None:
    assert clean_text("\uff49\uff47\uff4e\U0001d428re", form="NFKC") == "ignore"


@pytest.mark.parametrize("value", [None, 5, b"x"])
def test_only_text_is_taken(value: object) -> None:
    with pytest.raises(TypeError):
        clean_text(value)  # type: ignore[arg-type]


def test_an_unknown_form_is_refused() -> None:
    with pytest.raises(ValueError, match="form"):
        clean_text("x", form="NFX")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "unit", ["x", "\u200b", "\U000e0069a", "\u0645\u200c", "\U0001f468\u200d", "\0", "\ud800", "e\u0301"]
)
def test_long_hidden_text_is_taken(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    assert len(clean_text(text)) <= len(text)


def test_fifty_megabytes_of_ascii_are_taken() -> None:
    text = "hello world\n" * 4_200_000
    assert clean_text(text) is text
