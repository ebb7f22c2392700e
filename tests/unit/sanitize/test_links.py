from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import CHAT, PLAIN, HtmlSanitizer, sanitize_html

REL = 'rel="noopener noreferrer nofollow"'


def linked(text: str, **options) -> str:
    return sanitize_html(text, linkify=True, **options)


@pytest.mark.parametrize(
    ("text", "address", "rest"),
    [
        ("https://a.example/x", "https://a.example/x", ""),
        ("https://a.example/x.", "https://a.example/x", "."),
        ("https://a.example/x), y", "https://a.example/x", "), y"),
        ("https://a.example/x_(y)", "https://a.example/x_(y)", ""),
        ("https://a.example/?a=1&amp;b=2", "https://a.example/?a=1&amp;b=2", ""),
        ("https://a.example/?a&lt;b", "https://a.example/?a", "&lt;b"),
        ("HTTP://a.example", "HTTP://a.example", ""),
        ("https://a.example/\u00e9!?", "https://a.example/\u00e9", "!?"),
    ],
)
def test_an_address_becomes_a_link(text: str, address: str, rest: str) -> None:
    assert linked(f"<p>{text}</p>") == f'<p><a href="{address}" {REL}>{address}</a>{rest}</p>'


def test_www_is_an_address() -> None:
    assert linked("see www.a.example") == f'see <a href="https://www.a.example" {REL}>www.a.example</a>'


@pytest.mark.parametrize(
    "text",
    [
        "<code>https://a.example</code>", "<pre>https://a.example <b>https://b.example</b></pre>",
        f'<a href="https://a.example" {REL}>https://a.example <b>https://b.example</b></a>', '<abbr title="https://a.example">x</abbr>',
        "ftp://a.example", "javascript://a.example", "x@www.a.example", "https://", "no address", "a.example", "data:x//y",
        '<abbr title="a>https://a.example">x</abbr>',
    ],
)  # fmt: skip
def test_what_is_none_stays(text: str) -> None:
    assert linked(text) == sanitize_html(text)


def test_only_listed_hosts_are_linked() -> None:
    policy = replace(CHAT, link_hosts={"a.example"})
    text = "https://a.example/ https://b.example/ https://a.example@b.example/ www.a.example"
    assert linked(text, policy=policy) == text.replace(
        "https://a.example/ ", f'<a href="https://a.example/" {REL}>https://a.example/</a> '
    )


def test_a_policy_without_links_gets_none() -> None:
    assert linked("https://a.example", policy=PLAIN) == "https://a.example"
    assert linked("http://a.example", policy=replace(CHAT, schemes={"https"})) == "http://a.example"


@given(
    st.lists(
        st.sampled_from(
            [
                "https://a.example/",
                "www.",
                "<b>",
                "</b>",
                "<a href='",
                "'>",
                '"',
                "</a>",
                "<code>",
                "</code>",
                "&",
                "&lt;",
                "&amp;",
                " ",
                "(",
                ")",
                ".",
                "<p title=",
                ">",
                "x",
                "<",
                "javascript:",
                "@",
                "\u00a0",
                "<!--",
                "-->",
                "<script>",
            ]
        ),
        max_size=14,
    ).map("".join)
)
def test_links_are_what_the_sanitiser_would_have_kept(text: str) -> None:
    html = linked(text)
    assert sanitize_html(html) == html
    assert HtmlSanitizer(CHAT).clean(text, linkify=True) == html


@pytest.mark.parametrize(
    "piece",
    [
        "https://a.example ",
        "https://(",
        "www.",
        "&amp;",
        "https://a)",
        "<b>https://a.example</b>",
        "https://a.b&amp;.",
    ],
)
def test_hostile_megabytes_are_linked_in_linear_time(piece: str) -> None:
    assert len(linked(piece * (1_000_000 // len(piece)))) >= 900_000
