"""Dates, web addresses: what counts as one, where it ends, and what only looks like one."""

from __future__ import annotations

import pytest

from aisecure.detect import PiiDetector, Redactor, presidio_name

DETECTOR = PiiDetector(["pii.date_time", "pii.date_of_birth", "pii.url"])


def found(text: str) -> list[tuple[str, str]]:
    return [
        (finding.kind.partition(".")[2], text[finding.start : finding.end]) for finding in DETECTOR.scan(text)
    ]


@pytest.mark.parametrize(
    "value",
    [
        "2024-02-29", "29.02.2024", "29/2/2024", "2/29/2024", "17 October 1977", "17th of October, 1977", "October 17, 1977",
        "Oct. 17 1977", "OCTOBER 17", "3rd of May", "1. März 2020", "3 de septiembre de 1999", "4 août 1944",
        "2024-02-29T10:15Z", "2024-02-29 10:15", "October 17, 1977 at".removesuffix(" at"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("around", ["{}", "seen {}.", "({})", "It was {}, they say", "\n{}\n"])
def test_a_day_is_found_whole(value: str, around: str) -> None:
    assert found(around.format(value)) == [("date_time", value)]


@pytest.mark.parametrize(
    "text",
    [
        "2024-02-30", "31.4.2024", "13/13/2024", "version 1.2.2024.5", "1977", "May", "may 5 people", "march on 3 cities",
        "2024-01-02 03:04:05,678 INFO", "12.5.3", "1/2/3", "10/12", "2024-01-02-3", "a1.2.2024", "5 Mayors", "Sep 0", "in 19777",
        "marching 5 miles",
    ],
)  # fmt: skip
def test_what_is_no_day_is_left(text: str) -> None:
    assert found(text) in ([], [("date_time", "may 5")])


@pytest.mark.parametrize(
    "label", ["DOB: ", "born on ", "date of birth = ", '"birth_date": "', "geboren am ", "née le "]
)
@pytest.mark.parametrize("value", ["1977-10-17", "17.10.77", "October 17, 1977", "1977-10-17 04:05:06"])
def test_a_date_is_one_of_birth_where_that_is_said(label: str, value: str) -> None:
    assert found(label + value) == [("date_of_birth", value)]
    assert presidio_name("pii.date_of_birth") == "DATE_TIME"


def test_a_time_stamp_counts_only_where_something_says_so() -> None:
    assert found("2024-01-02 03:04:05 started") == []
    assert found("admitted 2024-01-02 03:04:05") == [("date_time", "2024-01-02 03:04:05")]


def test_a_year_counts_after_a_preposition() -> None:
    assert found("founded in 1977.") == [("date_time", "1977")]
    assert found("room 1977") == []


@pytest.mark.parametrize(
    "value",
    [
        "https://example.org", "http://example.org:8080/a/b?c=d&e=%20#f", "ftp://files.example.org/x", "www.example.org/a",
        "https://user@example.org/", "https://en.example.org/wiki/A_(b)", "https://münchen.example/straße", "example.com",
        "shop.example.co.uk/cart", "wss://example.org/socket",
    ],
)  # fmt: skip
@pytest.mark.parametrize(
    "around", ["{}", "see {}.", "<{}>", "({})", '"{}"', "[text]({})", "{}, and", "**{}**", "用{}"]
)
def test_an_address_is_found_whole(value: str, around: str) -> None:
    assert found(around.format(value)) == [("url", value)]


@pytest.mark.parametrize("text", ["main.py", "os.path.join", "e.g. this", "http:// nothing", "a.b.c", "example.community", "x.company()", "and/or", "std::vector", "self.info(x)"])  # fmt: skip
def test_what_is_no_address_is_left(text: str) -> None:
    assert found(text) == []


def test_an_address_without_end_is_one_finding_and_is_dropped_as_it_comes() -> None:
    text = "see https://example.org/" + "a1b2/" * 400 + ", ok"
    redactor = Redactor([DETECTOR])
    assert redactor.redact(text).text == "see [URL], ok"
    stream = redactor.stream()
    assert "".join(map(stream.feed, text)) + stream.finish() == "see [URL], ok"


def test_days_and_links_stay_unless_asked_for_and_dates_of_birth_go() -> None:
    text = "born 1977-10-17, seen 2024-02-29, https://example.org/a"
    assert Redactor().redact(text).text == "born [DATE_OF_BIRTH], seen 2024-02-29, https://example.org/a"


def test_kinds_can_be_left_out() -> None:
    assert "pii.url" not in PiiDetector(exclude=["pii.url"]).types
    with pytest.raises(ValueError, match=r"pii\.none"):
        PiiDetector(exclude=["pii.none"])
    with pytest.raises(TypeError):
        PiiDetector(exclude="pii.url")
