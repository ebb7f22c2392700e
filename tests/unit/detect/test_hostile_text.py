"""Texts that are long, broken or built to cost time. None of these would end in time on a quadratic path."""

from __future__ import annotations

import random
import sys

import pytest

from aisecure.detect import PiiDetector, Redactor, SecretDetector
from aisecure.detect.recognizer import Recognizer
from aisecure.detect.scan import Engine, Scan, Source

REDACTOR = Redactor()
UNITS = {
    "digits": "7", "dots": ".", "a@": "a@", "signs": "@", "spaces": " ", "hyphens": "-", "spaced digits": "1 ",
    "dotted digits": "1.", "headers": "-----BEGIN ", "colons": ":", "header": "eyJhbGciOiJIUzI1NiJ9.", "sk-": "sk-",
    "plus": "+1", "iban": "DE89 3704 ", "host": "a.", "scheme": "://a:", "label": "phone: ", "groups": "(0", "hex": "0f",
    "key headers": "-----BEGIN " + "PRIVATE KEY-----", "nul": "\0", "surrogates": "\ud800", "zero width": "4\u200b",
    "right to left": "\u202e4", "combining": "e\u0301", "emoji": "👩‍👩‍👧", "cjk": "电话", "local": "a.b-c_", "words": "word ",
}  # fmt: skip


@pytest.mark.parametrize("unit", UNITS.values(), ids=UNITS)
def test_a_hundred_thousand_characters_of_one_thing_get_an_answer(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    redacted = REDACTOR.redact(text)
    assert all(0 <= finding.start < finding.end <= len(text) for finding in redacted.findings)


def test_every_recogniser_sees_each_character_a_bounded_number_of_times() -> None:
    for unit in UNITS.values():
        shown: list[int] = []
        counting = Recognizer(("x",), None, lambda window, shown=shown: shown.append(len(window.text)) or ())  # type: ignore[misc]
        text = unit * (20_000 // len(unit))
        scan = Scan(Engine([Source(counting, {"x": 0.0}, "count")]))
        for start in range(0, len(text), 3):
            scan.feed(text[start : start + 3])
        scan.finish()
        # A window of 400 with 64 of context for each step of 200; short blocks see their context once each.
        assert sum(shown) <= 70 * len(text)
        assert max(shown, default=0) <= 464


def test_windows_are_bounded_so_the_work_is_linear() -> None:
    # Each recogniser's pattern is linear in its window or bounded by it, and windows are at most 464 characters.
    shown: list[int] = []
    counting = Recognizer(("x",), None, lambda window: shown.append(len(window.text)) or ())  # type: ignore[func-returns-value]
    for size in (10_000, 100_000):
        shown.clear()
        Scan(Engine([Source(counting, {"x": 0.0}, "count")])).feed("7" * size)
        assert sum(shown) <= 2.4 * size


def test_fifty_megabytes_get_an_answer() -> None:
    text = "The committee will meet in spring, and vote. " * 1_160_000 + "ada@example.org"
    assert len(text) > 50_000_000
    redacted = REDACTOR.redact(text)
    assert redacted.text.endswith("vote. [EMAIL]")
    assert redacted.findings[0].start == len(text) - 15


@pytest.mark.parametrize("text", ["", "\0", "\ud800\udfff", "\udc80" * 10, "\ufeff", "a\0b@c\0.example"])
def test_odd_texts_come_back_as_they_are(text: str) -> None:
    assert REDACTOR.redact(text).text == text


def test_an_entity_between_broken_characters_is_found() -> None:
    assert REDACTOR.redact("\ud800 ada@example.org\0\udfff").text == "\ud800 [EMAIL]\0\udfff"


def test_random_bytes_read_as_text_keep_findings_in_bounds_and_order() -> None:
    rng = random.Random(11)
    for _ in range(50):
        text = rng.randbytes(400).decode("latin-1") + "".join(
            chr(rng.randrange(sys.maxunicode)) for _ in range(100)
        )
        found = PiiDetector().scan(text) + SecretDetector().scan(text)
        assert all(0 <= one.start < one.end <= len(text) for one in found)
        assert REDACTOR.redact(text).text is not None
