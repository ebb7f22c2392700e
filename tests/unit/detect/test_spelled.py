"""Addresses that are spelled out: found when asked for, and in bounded time."""

from __future__ import annotations

import pytest

from aisecure.detect import PiiDetector, Redactor

DETECTOR = PiiDetector({"pii.email"}, spelled_out=True)


@pytest.mark.parametrize(
    "address",
    [
        "ada at example dot com",
        "ada.byron AT example DOT co DOT uk",
        "ada (at) example (dot) org",
        "ada[at]example[dot]org",
        "ada {at} mail.example.org",
        "ada_b@example dot org",
        "ada @ example.org",
        "ada [ät] beispiel [punkt] de",
    ],
)
def test_each_way_is_found_whole_and_only_when_asked_for(address: str) -> None:
    text = f"Write to {address}, please."
    assert [text[f.start : f.end] for f in DETECTOR.scan(text)] == [address]
    plain = [text[f.start : f.end] for f in PiiDetector({"pii.email"}).scan(text)]
    assert address not in plain


@pytest.mark.parametrize(
    "text", ["we meet at noon", "at 5 dot com", "the dot com bubble", "a @ b", "look at this"]
)
def test_other_sentences_are_left(text: str) -> None:
    assert DETECTOR.scan(text) == []


def test_a_stream_gives_the_same_answer() -> None:
    redactor = Redactor([DETECTOR])
    text = "Mail ada at example dot com. Or bob@example.org! Or eve (at) example (dot) org"
    whole = redactor.redact(text).text
    assert whole == "Mail [EMAIL]. Or [EMAIL]! Or [EMAIL]"
    for cut in range(len(text)):
        stream = redactor.stream()
        assert stream.feed(text[:cut]) + stream.feed(text[cut:]) + stream.finish() == whole
    stream = redactor.stream()
    assert "".join(map(stream.feed, text)) + stream.finish() == whole


@pytest.mark.parametrize("unit", ["a at ", "a.b-", "x (at) y", " dot ", "a@b dot ", "(at)", "é"])
def test_long_texts_get_an_answer(unit: str) -> None:
    text = unit * (100_000 // len(unit))
    assert all(f.end <= len(text) for f in DETECTOR.scan(text))
