"""The policies that have names: what each keeps, and that each is a fixed point."""

from __future__ import annotations

import dataclasses
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import ARTICLE, COMMENT, HtmlSanitizer, Settings, build, sanitize_html
from aisecure.sanitize.policy import POLICIES
from aisecure.testing import memory_ports

TAGS = sorted(set().union(*(policy.tags for policy in POLICIES.values())) | {"script", "style", "svg", "math", "form", "table", "select"})  # fmt: skip
soup = st.lists(
    st.sampled_from([*(f"<{tag}>" for tag in TAGS), *(f"</{tag}>" for tag in TAGS)])
    | st.sampled_from(["<a href='javascript:x()'>", "<a href=//e.example>", "<img src=x onerror=x()>", "<li value=2>", "<!--", "-->"])
    | st.text(max_size=3),
    max_size=25,
).map("".join)  # fmt: skip


class Seen(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.names: set[tuple[str, str]] = set()
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names |= {(tag, ""), *((tag, name) for name, _ in attrs)}


@pytest.mark.parametrize("name", sorted(POLICIES))
@given(html=soup)
def test_every_policy_keeps_what_it_lists_and_is_a_fixed_point(name: str, html: str) -> None:
    policy = POLICIES[name]
    clean = sanitize_html(html, policy=name)
    assert sanitize_html(clean, policy=name) == clean
    allowed = {(tag, "") for tag in policy.tags}
    allowed |= {(tag, attribute) for tag, names in policy.attributes.items() for attribute in names}
    allowed |= {("a", "href"), ("a", "rel"), ("code", "class")}
    assert Seen(clean).names <= allowed


def test_a_comment_has_no_headings_tables_and_images() -> None:
    html = "<h1>Sale!</h1><p>see <b>this</b> <img src=x alt=y><table><tr><td>1</td></tr></table>"
    assert sanitize_html(html, policy="comment") == "Sale!<p>see <b>this</b> </p>1"
    assert "ugc" in sanitize_html("<a href='https://e.example'>e</a>", policy=COMMENT)


def test_an_article_has_images_from_hosts_that_are_listed() -> None:
    policy = dataclasses.replace(ARTICLE, image_hosts=frozenset({"img.example"}))
    clean = HtmlSanitizer(policy).clean
    html = '<section><img src="https://img.example/a.png"><time datetime="2026-01-01">May</time></section>'
    assert clean(html) == html
    assert "evil" not in clean('<img src="https://evil.example/?q=secret">')
    assert "evil" not in sanitize_html('<img src="https://evil.example/?q=secret">', policy="article")


def test_no_markup_is_left_by_none() -> None:
    assert sanitize_html("<p>1 &lt; 2 <b>now</b></p>", policy="none") == "1 &lt; 2 now"


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValueError, match="article, chat, comment, none"):
        sanitize_html("x", policy="blog")


def test_a_setting_chooses_the_policy(tmp_path) -> None:
    *_, guard = build(Settings(html="sanitize", policy="comment"), memory_ports(tmp_path))
    assert guard._clean("<h1>a</h1>") == "a"
