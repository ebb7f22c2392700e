"""A marker of the instructions is recognised however it was written, in whole texts and in streams."""

from __future__ import annotations

import base64
import codecs
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import Canary, CanaryGuard
from aisecure.errors import OutputBlocked

VALUE = "k7q2m9x4t1z8"
CANARY = Canary(VALUE)
FORMS = {
    "plain": VALUE,
    "capitals": VALUE.upper(),
    "spaced": " ".join(VALUE),
    "hyphens": "-".join(VALUE),
    "stars": "**".join(VALUE),
    "reversed": VALUE[::-1],
    "rot13": codecs.encode(VALUE, "rot13"),
    "hex": VALUE.encode().hex(),
    "hex in pairs": VALUE.encode().hex(" "),
    **{
        f"base64 at {n}": base64.b64encode(b"x" * n + f"the end {VALUE} and on".encode()).decode()
        for n in range(3)
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_is_recognised_and_taken_out(form: str) -> None:
    text = f"It says: {FORMS[form]}. That is all."
    (finding,) = CANARY.scan(text)
    assert finding.kind == "canary.leak"
    assert CANARY.scan(CANARY.redact(text)) == []
    assert "[CANARY]" in CANARY.redact(text)


def test_other_texts_are_left() -> None:
    text = f"Reference {VALUE[:-1]}0, and {'k7' * 40}, sure."
    assert CANARY.scan(text) == []
    assert CANARY.redact(text) == text


def in_pieces(text: str, cuts: list[int]) -> str:
    stream = CANARY.stream()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    return "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()


@pytest.mark.parametrize("form", FORMS)
def test_every_cut_in_two_gives_the_whole_answer(form: str) -> None:
    text = f"a {FORMS[form]} b"
    whole = CANARY.redact(text)
    assert all(in_pieces(text, [cut]) == whole for cut in range(len(text)))


@given(
    st.lists(
        st.one_of(
            st.sampled_from([*FORMS.values(), VALUE[:5], VALUE[5:], "k7", " ", "-"]), st.text(max_size=5)
        ),
        max_size=8,
    ).map("".join),
    st.lists(st.integers(0, 300), max_size=10),
)
def test_texts_of_glued_and_half_markers_cut_anywhere(text: str, cuts: list[int]) -> None:
    assert in_pieces(text, cuts) == CANARY.redact(text)


def test_plain_text_passes_and_no_more_than_512_characters_wait() -> None:
    stream = CANARY.stream()
    assert stream.feed("Nothing of that here, ") == "Nothing of that here, "
    text = "   ".join(VALUE.encode().hex()[:-1]) * 3
    given_out = sum(len(stream.feed(character)) for character in text)
    assert len(text) - given_out <= 512


def test_a_guard_blocks_outputs_and_cuts_streams() -> None:
    guard = CanaryGuard(CANARY)

    @guard
    def ask(prompt: str) -> str:
        return f"{prompt} {VALUE.upper()}"

    @guard
    def tell(prompt: str):  # type: ignore[no-untyped-def]
        yield from ("They ", "said ", VALUE[:6], VALUE[6:], " to me")

    with pytest.raises(OutputBlocked) as error:
        ask("say")
    assert error.value.code == "output.canary"
    assert VALUE not in str(error.value).lower()
    got = []
    with pytest.raises(OutputBlocked):
        got.extend(tell("say"))
    assert "".join(got) == "They said "


def test_a_guard_can_take_the_marker_out() -> None:
    @CanaryGuard(CANARY, on_leak="redact")
    def ask(prompt: str) -> dict[str, str]:
        return {"answer": f"{prompt} {VALUE}"}

    assert ask("say") == {"answer": "say [CANARY]"}


def test_markers_are_random_long_and_not_shown() -> None:
    assert len({Canary().value for _ in range(100)}) == 100
    assert Canary().value not in repr(Canary())
    assert VALUE not in repr(CANARY)
    for value in ("short", "UPPERCASE1234", "with space 1234", "x" * 65, "", 5):
        with pytest.raises(ValueError, match="12 to 64"):
            Canary(value)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        CANARY.scan(b"x")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        CanaryGuard("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="block"):
        CanaryGuard(CANARY, on_leak="x")  # type: ignore[arg-type]
