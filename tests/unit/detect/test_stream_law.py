"""The law of streams: the pieces join to the whole answer, for every way of cutting the text."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.detect.samples import AROUND, JWT, KEY_BLOCK, PII, SECRETS

from aisecure.detect import PiiDetector, Redactor, SecretDetector
from aisecure.detect.redact import RedactFilter

REDACTORS = {
    "label": Redactor(),
    "reversible": Redactor(reversible=True),
    "mask": Redactor(style="mask"),
    "function": Redactor(style=lambda kind, value: f"<{kind} {len(value)}>"),
    "allow": Redactor(allow=[PII["pii.email"]]),
    "pii": Redactor([PiiDetector()]),
    "secrets": Redactor([SecretDetector()]),
}
WHOLE = [
    *PII.values(),
    *("".join((AROUND.get(k, ("", ""))[0], v, AROUND.get(k, ("", ""))[1])) for k, v in SECRETS.items()),
]
GLUE = ["", " ", "  ", "\n", "-", "--", ".", ". ", "@", "/", ":", ",", "(", ") ", "+", "\xa0", " - ", " ext. ", "x", "A", "é", "电话", "\0", "\ud800"]  # fmt: skip
HALVES = ["-----BEGIN ", "-----BEGIN RSA PRIV", "-----END ", "eyJ", "sk-", "a@", "@b.example", "4111 1111", "GB82 WEST", "+44 ", "::", "Bearer ", "phone: ", "[EMAIL_1]"]  # fmt: skip
LONG = [
    "7" * 450,
    "1 " * 230,
    "a." * 260,
    "q9-" * 170,
    "sk-" + "8fK2mQz71L" * 130,
    JWT + "aB3-" * 200,
    "x" * 900,
]


def held(stream: RedactFilter) -> int:
    """Characters that wait for what comes; open runs are dropped and do not count."""
    scan = stream._scan
    return len(scan._buffer) - scan._position


def obeys(redactor: Redactor, text: str, cuts: list[int]) -> None:
    whole = redactor.redact(text)
    stream = redactor.stream()
    edges = [0, *sorted(cuts), len(text)]
    got = "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()
    assert got == whole.text
    assert stream.findings == whole.findings
    assert dict(stream.mapping) == dict(whole.mapping)


texts = st.lists(
    st.one_of(
        st.sampled_from(WHOLE),
        st.sampled_from(GLUE),
        st.sampled_from(HALVES),
        st.tuples(st.sampled_from(WHOLE), st.integers(1, 60)).map(lambda pair: pair[0][: pair[1]]),
        st.tuples(st.sampled_from(WHOLE), st.integers(1, 60)).map(lambda pair: pair[0][-pair[1] :]),
        st.text(max_size=8),
    ),
    max_size=12,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(texts, st.sampled_from(sorted(REDACTORS)), st.lists(st.integers(0, 3000), max_size=20))
def test_texts_of_glued_and_half_entities_cut_anywhere(text: str, name: str, cuts: list[int]) -> None:
    obeys(REDACTORS[name], text, [min(cut, len(text)) for cut in cuts])


# Sentences pass by a shorter way; these are on the edge of it.
SENTENCES = [
    "the", "I", "A", "AZ", "GB", "May", "may", "Sept", "sept.", "december", "l'août", "d'May", "Fév", "5", "17", "2020", "1977", "12 34 56 A", "de", "of",
    "secret", "token:", "password", "is", "was", "hunter2!x", "pwd", "key", "api_key", "Ελλάδα", "\u017fep", "incomprehensibilit", "incomprehensibilities", "(see",
    "below)", "o'clock", "''", "...", "-----BEGIN", "-", "ada@example.org", "born", "phone", "+44", "20", "7946", "0958", "e.g.", "and/or", "years", "old", "94", "aged", "M-AB", "1234", "years-old", "cvv", "09/27",
]  # fmt: skip
BETWEEN = [" ", " ", " ", " ", ", ", ". ", "! ", ": ", "; ", "\n", ' "', '" ', "\xa0", ""]
sentences = st.lists(st.tuples(st.sampled_from(SENTENCES), st.sampled_from(BETWEEN)), max_size=14).map(
    lambda pairs: "".join(word + between for word, between in pairs)
)


@settings(max_examples=300, deadline=None)
@given(sentences, st.sampled_from(["label", "reversible"]), st.lists(st.integers(0, 200), max_size=20))
def test_sentences_cut_anywhere(text: str, name: str, cuts: list[int]) -> None:
    obeys(REDACTORS[name], text, [min(cut, len(text)) for cut in cuts])
    obeys(REDACTORS[name], text, list(range(1, len(text))))


def test_what_passes_by_is_forgotten_too() -> None:
    stream = REDACTORS["label"].stream()
    for _ in range(1000):
        assert stream.feed("The refund arrives soon. ") == "The refund arrives soon. "
        assert len(stream._scan._buffer) < 3000
    assert stream.feed("Mail ada@example.org. ") + stream.finish() == "Mail [EMAIL]. "
    assert stream.findings[0].start == 25_005


@settings(max_examples=100, deadline=None)
@given(texts, st.sampled_from(sorted(REDACTORS)))
def test_texts_fed_by_single_characters(text: str, name: str) -> None:
    obeys(REDACTORS[name], text, list(range(1, len(text))))


@pytest.mark.parametrize("text", ["a@b.cd", "+1 4155", "::1 a", "x 12-3", "-----B", "[A_1] ", "1.2.3.4"])
def test_every_split_of_a_short_text(text: str) -> None:
    positions = range(1, len(text))
    for count in range(len(text)):
        for cuts in itertools.combinations(positions, count):
            obeys(REDACTORS["reversible"], text, list(cuts))


SHORT = [f"a{glue}{value}{glue}b" for value in PII.values() for glue in (" ", ".", "", "-", "\n")]


@pytest.mark.parametrize("text", [*SHORT, *PII.values(), *WHOLE], ids=str)
def test_every_cut_in_two_and_every_cut_in_three_near_it(text: str) -> None:
    for cut in range(len(text) + 1):
        obeys(REDACTORS["label"], text, [cut])
        obeys(REDACTORS["label"], text, [cut, min(len(text), cut + 1)])


@pytest.mark.parametrize("long", LONG, ids=lambda text: text[:12])
@pytest.mark.parametrize("entity", ["", *PII.values()], ids=str)
def test_long_runs_beside_entities_cut_at_random(long: str, entity: str) -> None:
    rng = random.Random(len(long))
    for text in (long + entity, entity + long, f"{long}/{entity}/{long}"):
        for _ in range(4):
            obeys(
                REDACTORS["reversible"], text, [rng.randrange(len(text)) for _ in range(rng.randrange(1, 30))]
            )


def test_less_than_512_characters_are_held_back_whatever_comes() -> None:
    parts = [*WHOLE, *GLUE, *HALVES, *LONG]
    rng = random.Random(3)
    longest = 0
    for _ in range(150):
        stream = REDACTORS["label"].stream()
        for chunk in rng.choices(parts, k=8):
            for start in range(0, len(chunk), 9):
                stream.feed(chunk[start : start + 9])
                longest = max(longest, held(stream))
    assert 300 < longest < 512


def test_an_endless_token_is_dropped_as_it_comes() -> None:
    stream = Redactor().stream()
    out = [stream.feed("key sk-" + "8fK2mQz71L" * 60)]
    assert "".join(out) == "key [OPENAI_KEY]"
    for _ in range(200):
        out.append(stream.feed("8fK2mQz71L" * 20))
        assert held(stream) <= 1
        assert len(stream._scan._buffer) < 600
    out.append(stream.feed(", and on"))
    assert "".join(out) + stream.finish() == "key [OPENAI_KEY], and on"
    assert stream.findings[0].end == 7 + 600 + 40_000


def test_a_key_block_is_dropped_as_it_comes() -> None:
    stream = Redactor().stream()
    out = [stream.feed(character) for character in f"the key:\n{KEY_BLOCK}\nis gone"]
    assert "".join(out) + stream.finish() == "the key:\n[PRIVATE_KEY]\nis gone"


def test_plain_words_are_not_held_longer_than_a_word() -> None:
    stream = Redactor().stream()
    assert stream.feed("Dear reader, this is pl") == "Dear reader, this is "
    assert stream.feed("ain. ") == "plain. "


def test_findings_before_the_end_are_those_of_the_text_so_far() -> None:
    stream = Redactor().stream()
    stream.feed(f"{PII['pii.email']}, and ")
    assert [finding.kind for finding in stream.findings] == ["pii.email"]


def test_finish_twice_returns_nothing_more() -> None:
    stream = Redactor().stream()
    stream.feed("ada@example.org")
    assert stream.finish() == "[EMAIL]"
    assert stream.finish() == ""


def test_a_chunk_that_is_no_text_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        Redactor().stream().feed(b"x")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "size", [250_000, pytest.param(1_000_000, marks=pytest.mark.proof)], ids=["quarter", "megabyte"]
)
def test_a_long_text_of_single_characters_passes(size: int) -> None:
    text = (
        ("Some words, then ada@example.org. " * 30_000)[:size]
        + "1 2 -" * (size // 50)
        + "-a.7" * (size // 20)
    )
    redactor = Redactor([PiiDetector()])
    stream = redactor.stream()
    out = [piece for piece in map(stream.feed, text) if piece]
    assert "".join(out) + stream.finish() == redactor.redact(text).text


@pytest.mark.proof
@settings(max_examples=5000, deadline=None)
@given(st.lists(texts, max_size=6).map("".join), st.sampled_from(sorted(REDACTORS)), st.randoms())
def test_many_long_texts_cut_at_random(text: str, name: str, rng: random.Random) -> None:
    obeys(REDACTORS[name], text, [rng.randrange(len(text) + 1) for _ in range(rng.randrange(40))])
