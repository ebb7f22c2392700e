"""Words that look like others, and texts that must not be taken for such."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.call import Context
from aisecure.errors import InputRejected
from aisecure.guard import Changed
from aisecure.sanitize import TextGuard, confusables, skeleton

CYRILLIC_A, CYRILLIC_E, CYRILLIC_O, CYRILLIC_S, CYRILLIC_P = "\u0430", "\u0435", "\u043e", "\u0441", "\u0440"


@pytest.mark.parametrize(
    ("text", "kind", "word", "reading"),
    [
        (f"Log in at p{CYRILLIC_A}ypal now", "mixed_script", f"p{CYRILLIC_A}ypal", "paypal"),
        ("\u0406GNORE it", "mixed_script", "\u0406GNORE", "IGNORE"),
        ("\u13aapple pie", "mixed_script", "\u13aapple", "Apple"),
        # A Latin letter in a Russian word is read as Russian.
        ("c\u0442\u0440\u043e\u0433\u0438\u0439", "mixed_script", "c\u0442\u0440\u043e\u0433\u0438\u0439", "\u0441\u0442\u0440\u043e\u0433\u0438\u0439"),
        # The mark belongs to its letter, composed or not.
        (f"so na\u00efv{CYRILLIC_E}", "mixed_script", f"na\u00efv{CYRILLIC_E}", "na\u00efve"),
        (f"so nai\u0308v{CYRILLIC_E}", "mixed_script", f"nai\u0308v{CYRILLIC_E}", "na\u00efve"),
        (f"the {CYRILLIC_S}{CYRILLIC_O}{CYRILLIC_P}{CYRILLIC_E} of it", "whole_script", f"{CYRILLIC_S}{CYRILLIC_O}{CYRILLIC_P}{CYRILLIC_E}", "cope"),
        ("so \U0001d422\U0001d420\U0001d427\U0001d428\U0001d42b\U0001d41e it", "stylised", "\U0001d422\U0001d420\U0001d427\U0001d428\U0001d42b\U0001d41e", "ignore"),
        ("\u24be\u24d6\u24dd\u24de\u24e1\u24d4", "stylised", "\u24be\u24d6\u24dd\u24de\u24e1\u24d4", "Ignore"),
    ],
)  # fmt: skip
def test_a_word_that_looks_like_another_is_told(text: str, kind: str, word: str, reading: str) -> None:
    (found,) = confusables(text)
    assert (found.kind, text[found.start : found.end], found.reads_as) == (kind, word, reading)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain words, 100 %",
        "na\u00efve caf\u00e9 \u0141\u00f3d\u017a \u00c6r\u00f8 Vi\u1ec7t Nam \u0111\u01b0\u1eddng",
        # Russian with words that could be Latin, because others could not; and a Russian word alone.
        "\u0412\u0441\u0435 \u043e\u043a\u043d\u0430 \u0438 HTTP \u0440\u043e\u0441\u0430",
        "\u0440\u043e\u0441\u0430",
        "\u0395\u03bb\u03bb\u03ac\u03b4\u03b1 and more",
        "k\u03a9, \u00b5m, \u0394t, \u03bbx, sin\u03b1, TNF\u03b1, \u03b1-helix",
        "\u6771\u4eac\u3067ABC\u30c6\u30b9\u30c8\u3057\u305f\u3001\uff37\uff45\uff42\u30b5\u30fc\u30d0\u30fc",
        "\ud55c\uad6d\uc5b4ABC \u0627\u0644\u0639\u0631\u0628\u064a\u0629 \u05e2\u05d1\u05e8\u05d9\u05ea \u0939\u093f\u0928\u094d\u0926\u0940",
        "x\u00b2 + y\u00b2, 1\u00aa, \ufb01ne, \u2122, \U0001d465 + \U0001d466",
        "a\ud800b",
    ],
)
def test_honest_texts_are_left_alone(text: str) -> None:
    assert confusables(text) == []


def test_only_texts_are_taken() -> None:
    for function in (confusables, skeleton):
        with pytest.raises(TypeError):
            function(b"bytes")  # type: ignore[arg-type]


def test_names_with_one_skeleton_look_alike() -> None:
    assert skeleton("paypal") == skeleton(f"p{CYRILLIC_A}ypa1") == skeleton("p\u00ada\u200bypal")
    assert skeleton("modern") == skeleton("modem") == skeleton("rnodern")
    assert skeleton("ann") != skeleton("bob")


@given(st.text(st.characters(codec="utf-8")))
def test_a_skeleton_has_itself_as_skeleton(text: str) -> None:
    # UTS #39 section 4 has it so for all but the few letters whose prototype decomposes; twice is always enough.
    once = skeleton(skeleton(text))
    assert skeleton(once) == once


@given(
    st.text(
        st.sampled_from(
            "abcopxyABC\u0430\u0431\u0441\u043e\u0440\u0391\u0392\u03bf\u0561\u4e00 \u0301\U0001d41a"
        )
    )
)
def test_what_is_reported_lies_in_the_text_and_looks_the_same(text: str) -> None:
    end = 0
    for word in confusables(text):
        assert end <= word.start < word.end
        end = word.end
        assert word.reads_as != text[word.start : word.end]
        if word.kind != "stylised":
            shown = unicodedata.normalize("NFD", text[word.start : word.end])
            assert skeleton(word.reads_as) == skeleton(shown)
    assert end <= len(text)


def test_a_megabyte_of_other_scripts_is_read_to_its_end() -> None:
    text = "\u0441\u043e\u0440 " * 300_000 + f"p{CYRILLIC_A}y"
    assert confusables(text)[-1].reads_as == "pay"
    every = "".join(map(chr, range(0x80, 0x11000)))
    assert isinstance(confusables(every), list)


def test_the_guard_watches_or_refuses() -> None:
    text = f"open p{CYRILLIC_A}ypal"
    assert TextGuard().before(Context().call("invoke", "model:m", text)) is None
    verdict = TextGuard(confusables="watch").before(
        Context().call("invoke", "model:m", [{"role": "user", "content": text}])
    )
    assert isinstance(verdict, Changed)
    assert [(one.kind, one.start, one.end, one.path) for one in verdict.findings] == [
        ("text.mixed_script", 5, 11, "/0/content")
    ]

    @TextGuard(confusables="refuse")
    def ask(prompt: str) -> str:
        return prompt

    assert ask("open paypal") == "open paypal"
    with pytest.raises(InputRejected) as refused:
        ask(text)
    assert refused.value.code == "input.confusable"
    assert "paypal" not in str(refused.value.problem())
    with pytest.raises(ValueError, match="confusables"):
        TextGuard(confusables="yes")  # type: ignore[arg-type]
