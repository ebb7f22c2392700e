"""Engines for names: joined with patterns, sentence by sentence, with the same answer for whole texts and streams."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.decisions import Finding
from aisecure.detect import PiiDetector, RedactGuard, Redactor, SecretDetector
from aisecure.detect.evaluate import evaluate
from aisecure.errors import Unavailable

NAMES = {"Ada Byron": "pii.person", "Ada": "pii.person", "Dr. Who": "pii.person", "Berlin": "pii.location", "Byron SSN": "pii.organization"}  # fmt: skip


class Gazetteer:
    """Finds the names of a list; what it finds depends on the sentence, as with a model: nothing where it says "not"."""

    kinds = frozenset(NAMES.values())

    def __init__(self) -> None:
        self.longest = 0

    def find(self, text: str) -> Iterator[Finding]:
        self.longest = max(self.longest, len(text))
        if " not " in text:
            return
        for name, kind in NAMES.items():
            for found in re.finditer(re.escape(name), text):
                yield Finding(kind, *found.span(), 0.8, "gazetteer")


REDACTOR = Redactor(engines=[Gazetteer()])
REVERSIBLE = Redactor(
    [PiiDetector(engines=[Gazetteer()], exclude=["pii.date_time", "pii.url"]), SecretDetector()],
    reversible=True,
)


def test_names_are_redacted_beside_what_has_a_pattern() -> None:
    text = "Ada Byron (ada@example.org) is in Berlin. Berlin is not Ada. SSN 536-90-4399!"
    assert REDACTOR.redact(text).text == (
        "[PERSON] ([EMAIL]) is in [LOCATION]. Berlin is not Ada. SSN [US_SSN]!"
    )
    findings = REDACTOR.redact(text).findings
    assert [(text[f.start : f.end], f.kind) for f in findings][:3] == [
        ("Ada Byron", "pii.person"), ("ada@example.org", "pii.email"), ("Berlin", "pii.location"),
    ]  # fmt: skip


def test_a_pattern_is_right_where_both_found_something_and_the_longer_name_wins() -> None:
    class Greedy(Gazetteer):
        def find(self, text: str) -> Iterator[Finding]:
            yield Finding("pii.organization", 0, len(text), 0.9, "greedy")

    text = "Ada Byron, 536-90-4399 of Berlin"
    assert Redactor(engines=[Greedy()]).redact(text).text == "[ORGANIZATION], [US_SSN] [ORGANIZATION]"
    assert REDACTOR.redact("Ada Byron was here").text == "[PERSON] was here"


def test_abbreviations_end_no_sentence_and_long_tokens_are_not_shown() -> None:
    engine = Gazetteer()
    redactor = Redactor(engines=[engine])
    assert redactor.redact("ask Dr. Who about it").text == "ask [PERSON] about it"
    assert redactor.redact("Ada has sk-" + "8fK2mQz71L" * 500 + " and Berlin").text == (
        "[PERSON] has [OPENAI_KEY] and [LOCATION]"
    )
    redactor.redact("word " * 5000)
    assert engine.longest <= 1000


texts = st.lists(
    st.sampled_from(
        [*NAMES, "ada@example.org", "+44 20 7946 0958", "536-90-4399", "not", "is", "e.g.", "Mr.", ". ", "! ", "?\n", "\n\n", "\n", " ", " ", " ", "...", '."', "。", "x" * 30, "sk-" + "8fK2mQz71L" * 3]
    ),
    max_size=25,
).map("".join)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(texts, st.booleans(), st.lists(st.integers(0, 400), max_size=12))
def test_a_stream_cut_anywhere_is_the_whole_text(text: str, reversible: bool, cuts: list[int]) -> None:  # noqa: FBT001
    redactor = REVERSIBLE if reversible else REDACTOR
    whole = redactor.redact(text)
    for edges in (sorted({0, *(min(cut, len(text)) for cut in cuts), len(text)}), list(range(len(text) + 1))):
        stream = redactor.stream()
        got = "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise(edges)) + stream.finish()
        assert got == whole.text
        assert stream.findings == whole.findings
        assert dict(stream.mapping) == dict(whole.mapping)


def test_long_texts_without_the_end_of_a_sentence() -> None:
    rng = random.Random(5)
    words = [*NAMES, "and", "ada@example.org", "z" * 300]
    for glue in (" ", "", "\xa0"):
        text = glue.join(rng.choices(words, k=300))
        whole = REDACTOR.redact(text)
        for _ in range(3):
            cuts = sorted(rng.randrange(len(text)) for _ in range(40))
            stream = REDACTOR.stream()
            got = "".join(stream.feed(text[a:b]) for a, b in itertools.pairwise([0, *cuts, len(text)]))
            assert got + stream.finish() == whole.text


def test_a_failing_engine_is_told_and_nothing_passes() -> None:
    class Broken(Gazetteer):
        def find(self, text: str) -> Iterator[Finding]:
            raise RuntimeError(f"cannot read {text}")

    class Outside(Gazetteer):
        def find(self, text: str) -> Iterator[Finding]:
            yield Finding("pii.person", 0, len(text) + 1, 0.9, "outside")

    for engine in (Broken(), Outside()):
        redactor = Redactor(engines=[engine])
        with pytest.raises(Unavailable) as told:
            redactor.redact("Ada Byron lives here")
        assert told.value.code == "unavailable.engine"
        assert "Byron" not in repr(told.value)
        assert told.value.__cause__ is None
        assert told.value.__context__ is None
        called = []

        @RedactGuard(redactor)
        def ask(prompt: str, called: list[str] = called) -> str:
            called.append(prompt)
            return prompt

        with pytest.raises(Unavailable):
            ask("Ada Byron lives here")
        assert called == []


def test_kinds_of_engines_are_types_like_others() -> None:
    detector = PiiDetector({"pii.person", "pii.email"}, engines=[Gazetteer()])
    assert [f.kind for f in detector.scan("Ada in Berlin, ada@example.org")] == ["pii.person", "pii.email"]
    assert PiiDetector(engines=[Gazetteer()], thresholds={"pii.person": 0.9}).scan("Ada") == []
    assert PiiDetector(engines=[Gazetteer()], allow=["ada"]).scan("Ada") == []
    with pytest.raises(TypeError):
        PiiDetector(engines=[object()])
    with pytest.raises(ValueError, match="engines"):
        Redactor([PiiDetector()], engines=[Gazetteer()])
    row = {"text": "Ada in Berlin", "spans": [{"start": 0, "end": 3, "type": "PERSON"}, {"start": 7, "end": 13, "type": "LOCATION"}]}  # fmt: skip
    assert evaluate([row], [PiiDetector(engines=[Gazetteer()])]).micro().f1(strict=True) == 1
