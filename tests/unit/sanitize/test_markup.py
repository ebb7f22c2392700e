from __future__ import annotations

import pickle
import re
from html.parser import HTMLParser
from threading import Thread
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.sanitize import CHAT, PLAIN, HtmlPolicy, HtmlSanitizer, UnmaintainedEngineWarning, sanitize_html
from aisecure.sanitize.cost import too_costly

# Pieces whose combinations have broken sanitisers: misnesting, scope boundaries, foreign content, raw text.
PIECES = [
    "<b>", "</b>", "<i>", "</i>", "<a href=/x>", "<a href='javascript:x()'>", "</a>", "<p>", "</p>", "<h1>", "</h1>",
    "<h2>", "<table>", "</table>", "<tr>", "<td>", "</td>", "<caption>", "<button>", "<object>", "<select>", "<option>",
    "<svg>", "</svg>", "<math>", "<mtext>", "<style>", "</style>", "<script>", "</script>", "<template>",
    "<textarea>", "<title>", "<noscript>", "<pre>", "</pre>", "\n", "<li>", "<ul>", "<form>", "<img src=x onerror=x()>",
    "<!--", "-->", "<![CDATA[", "]]>", "&lt;", "&amp;", "&", "\0", "\r\n", "\ufeff", "\u00a0", "\ud800", "x", '"', "'", "`",
    "<p title='--><b>'>", "<br />", "&quot;", ' rel="noopener noreferrer nofollow"', "<plaintext>", "<div", ">", "<",
]  # fmt: skip
soup = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=25).map("".join)


class Seen(HTMLParser):
    """Every element and attribute that a second parser sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]


def assert_inert(html: str) -> None:
    seen = Seen(html)
    assert seen.tags <= CHAT.tags
    for tag, name, value in seen.attributes:
        assert name in {"href", "rel", "class"} | CHAT.attributes.get(tag, frozenset())
        if name == "href":
            scheme = re.match(r"\s*([a-z][a-z0-9+.-]*):", value, re.IGNORECASE)
            assert scheme is None or scheme[1].lower() in CHAT.schemes


@pytest.mark.parametrize(
    ("given_html", "wanted"),
    [
        ("", ""),
        ("plain text, 1 + 1", "plain text, 1 + 1"),
        ("a < b > c", "a &lt; b &gt; c"),
        ("<p>Hi <b>you</b></p>", "<p>Hi <b>you</b></p>"),
        ("<script>steal()</script>done", "done"),
        ("<style>*{display:none}</style>done", "done"),
        ("<p onclick=steal()>x</p>", "<p>x</p>"),
        ("<iframe src=https://e.example></iframe>x", "x"),
        ('<form action="https://e.example"><input name=q>x</form>', "x"),
        ("<svg><script>steal()</script></svg>x", "x"),
        ("<p style='position:fixed'>x</p>", "<p>x</p>"),
        ("<p id=location name=cookie>x</p>", "<p>x</p>"),
        ("<!-- c --><p>x</p>", "<p>x</p>"),
        ("<img src=https://e.example/?q=secret alt=chart>", '<img alt="chart">'),
        ('<code class="language-python x">y</code>', '<code class="language-python">y</code>'),
        ("<pre>\n\nindented</pre>", "<pre>\n\nindented</pre>"),
    ],
)
def test_markup_is_kept_or_removed(given_html: str, wanted: str) -> None:
    assert sanitize_html(given_html) == wanted


@pytest.mark.parametrize(
    "address",
    [
        "javascript:steal()", "JaVaScRiPt:steal()", " javascript:steal()", "java\nscript:steal()", "java\tscript:x",
        "\x01javascript:steal()", "&#106;avascript:steal()", "javascript&colon;steal()", "data:text/html,x",
        "vbscript:x", "file:///etc/passwd", "blob:x", "view-source:x", "intent://x", "javascript:123",
    ],
)  # fmt: skip
@pytest.mark.parametrize("engine", ["nh3", "bleach"])
@pytest.mark.filterwarnings("ignore::aisecure.sanitize.UnmaintainedEngineWarning")
def test_a_link_of_another_scheme_loses_its_address(address: str, engine: Literal["nh3", "bleach"]) -> None:
    html = HtmlSanitizer(engine=engine).clean(f'<a href="{address}">x</a>')
    assert_inert(html)
    assert html.endswith(">x</a>")


@pytest.mark.parametrize(
    "address", ["https://a.example/?q=1", "http://a.example", "mailto:a@b.example", "/x", "#x"]
)
@pytest.mark.parametrize("engine", ["nh3", "bleach"])
@pytest.mark.filterwarnings("ignore::aisecure.sanitize.UnmaintainedEngineWarning")
def test_an_honest_link_stays_and_reveals_nothing(address: str, engine: Literal["nh3", "bleach"]) -> None:
    html = HtmlSanitizer(engine=engine).clean(f'<a href="{address}">x</a>')
    assert html == f'<a href="{address}" rel="noopener noreferrer nofollow">x</a>'


@given(soup)
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    html = sanitize_html(text)
    assert sanitize_html(html) == html


@given(soup)
def test_a_second_parser_finds_nothing_active(text: str) -> None:
    assert_inert(sanitize_html(text))


@given(soup)
def test_no_markup_is_left_under_the_plain_policy(text: str) -> None:
    assert "<" not in sanitize_html(text, policy=PLAIN)


@given(st.text())
def test_text_without_markup_reads_the_same(text: str) -> None:
    parser = Seen(html := sanitize_html(text.replace("&", "and")))
    assert not parser.tags or "<" in text
    if not re.search("[<>\0\r\ufeff\xa0\ud800-\udfff]", text):
        assert html == text.replace("&", "and")


@pytest.mark.parametrize(
    ("source", "stays"),
    [
        ("https://cdn.example/a.png", True),
        ("https://CDN.example:443/a.png?w=1#x", True),
        ("http://cdn.example/a.png", False),
        ("https://cdn.example.evil.example/a.png", False),
        ("https://evil.example/cdn.example/a.png", False),
        ("https://cdn.example@evil.example/a.png", False),
        ("https://evil.example\\@cdn.example/a.png", False),
        ("https:\\\\evil.example/a.png", False),
        ("//cdn.example/a.png", False),
        ("/a.png", False),
        ("https:/\t/evil.example/a.png", False),
        ("https://cdn.example/proxy?url=https://evil.example/", False),
        ("https://cdn.example/proxy?url=https%3A%2F%2Fevil.example", False),
        ("https://cdn.example/proxy?url=https%253A%252F%252Fevil.example", False),
        ("data:image/png;base64,AAAA", False),
        ("https://cdn\u3002example/a.png", False),
    ],
)
@pytest.mark.parametrize("engine", ["nh3", "bleach"])
@pytest.mark.filterwarnings("ignore::aisecure.sanitize.UnmaintainedEngineWarning")
def test_an_image_loads_from_listed_hosts_only(
    source: str, engine: Literal["nh3", "bleach"], *, stays: bool
) -> None:
    policy = HtmlPolicy(tags=frozenset({"img"}), image_hosts=frozenset({"cdn.example"}))
    html = HtmlSanitizer(policy, engine=engine).clean(f'<img src="{source}">')
    assert ("src=" in html) is stays


@pytest.mark.parametrize(
    ("address", "stays"),
    [
        ("https://docs.example/x", True),
        ("/local", True),
        ("#part", True),
        ("mailto:help@docs.example", True),
        ("https://evil.example/", False),
        ("//evil.example/", False),
        ("/\\evil.example/", False),
        ("\\\\evil.example/", False),
        ("/\t/evil.example/", False),
        ("https:evil.example", False),
        ("https://docs.example.evil.example", False),
    ],
)
def test_a_link_names_listed_hosts_only(address: str, *, stays: bool) -> None:
    policy = HtmlPolicy(tags=frozenset({"a"}), link_hosts=frozenset({"docs.example"}))
    assert ("href=" in sanitize_html(f'<a href="{address}">x</a>', policy=policy)) is stays


@pytest.mark.parametrize(
    "arguments",
    [
        {"tags": {"script"}},
        {"tags": {"svg"}},
        {"tags": {"P"}},
        {"tags": "p"},
        {"tags": {1}},
        {"tags": {"p"}, "attributes": {"p": {"onclick"}}},
        {"tags": {"p"}, "attributes": {"p": {"style"}}},
        {"tags": {"p"}, "attributes": {"p": {"id"}}},
        {"tags": {"p"}, "attributes": {"p": {"class"}}},
        {"tags": {"p"}, "attributes": {"em": {"title"}}},
        {"tags": {"p"}, "attributes": ["title"]},
        {"schemes": {"javascript"}},
        {"image_hosts": {"https://cdn.example"}},
        {"image_hosts": {"*.example"}},
        {"link_hosts": "docs.example"},
        {"link_rel": "nofollow"},
    ],
)
def test_a_policy_that_would_not_hold_is_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="HtmlPolicy"):
        HtmlPolicy(**arguments)  # type: ignore[arg-type]


def test_a_policy_survives_pickling() -> None:
    assert pickle.loads(pickle.dumps(CHAT)) == CHAT


@pytest.mark.parametrize("value", [None, b"<b>", 5, ["<b>"]])
def test_only_text_is_taken(value: object) -> None:
    with pytest.raises(TypeError):
        sanitize_html(value)  # type: ignore[arg-type]


@pytest.mark.parametrize("engine", ["nh3", "bleach"])
@pytest.mark.filterwarnings("ignore::aisecure.sanitize.UnmaintainedEngineWarning")
def test_lone_surrogates_and_nul_do_not_stop_it(engine: Literal["nh3", "bleach"]) -> None:
    html = sanitize_html("<b>a\ud800\0b</b>\udfff", engine=engine)
    assert html.replace("\0", "") == "<b>a\ufffdb</b>\ufffd"


@pytest.mark.parametrize(
    "text",
    [
        "<div>" * 5_000,
        "<ul><li>" * 5_000,
        "<div>" * 200_000,
        "<div></b>" * 100_000,
        "<div><!--</div>-->" * 60_000,
        "<p a='</p>'><div>" * 60_000,
        '<a href="/x">y</a>' * 5_500,
        "<p " + " ".join(f"a{i}=1" for i in range(100_000)) + ">",
        "<a " * 350_000,
        "&" * 1_000_000,
        "<b>x</b>" + "&a " * 350_000,
        "<" * 1_000_000,
        "<p>" + "x" * 1_000_000,
        "<script>" * 125_000,
        "<script>a" + "<a" * 500_000,
        "<style>" + "</style" * 140_000,
        "<!--" * 250_000,
        "<p " + "a" * 1_000_000,
        "<p a=" * 200_000,
        "<p a=' " * 150_000,
        "\0" * 1_000_000,
    ],
    ids=lambda text: text[:12],
)
def test_hostile_megabytes_come_back_harmless(text: str) -> None:
    html = sanitize_html(text)
    assert sanitize_html(html) == html
    assert "onerror" not in html


def test_a_large_document_as_programs_write_it_keeps_its_markup() -> None:
    page = (
        '<h2>Part</h2>\n<p>Text with <em>words</em> &amp; a <a href="/x">link</a>.<br></p>\n<!-- note -->\n'
    )
    html = sanitize_html(page * 12_000)
    assert html.count("<h2>") == html.count("</em>") == 12_000


def test_scripts_in_a_large_document_go_and_the_rest_stays() -> None:
    page = "<p>Text</p>\n<script>if (a<b && c<d) { x('<p>') }</script><style>p > a { color: red }</style>"
    html = sanitize_html(page * 5_000)
    assert html == "<p>Text</p>\n" * 5_000


@pytest.mark.parametrize(
    "script", ["<script>x('</p>')</script>", "<script><!--<script></script>", "<style><p</style>"]
)
def test_scripts_that_hide_their_end_are_no_way_round_the_bound(script: str) -> None:
    html = sanitize_html((script + "<div>") * 20_000)
    assert "<script" not in html
    assert sanitize_html(html) == html


def test_too_deep_markup_is_shown_as_text() -> None:
    assert sanitize_html("<div>" * 20_000).startswith("&lt;div&gt;&lt;div&gt;")


def test_fifty_megabytes_get_an_answer() -> None:
    html = sanitize_html("<script>x()</script>" * 2_500_000)
    assert "<script" not in html


@pytest.mark.parametrize("size", [5_001, 50_000])
def test_the_depth_of_well_formed_markup_is_told_exactly(size: int) -> None:
    assert not too_costly("<div>" * 200 + "<p>x</p>" * size + "</div>" * 200)
    assert too_costly("<div>" * 300 + "<p>x</p>" * size + "</div>" * 300)


def test_bleach_warns_that_nobody_maintains_it() -> None:
    with pytest.warns(UnmaintainedEngineWarning, match="2026"):
        sanitizer = HtmlSanitizer(engine="bleach")
    assert sanitizer.clean("<p onclick=x()>a<script>b()</script></p>") == "<p>ab()</p>"


@pytest.mark.filterwarnings("ignore::aisecure.sanitize.UnmaintainedEngineWarning")
def test_engines_agree_on_ordinary_markup() -> None:
    html = '<h1>T</h1><p>a <em>b</em> <code class="language-python">c</code></p><ul><li>d</li></ul><hr>'
    assert HtmlSanitizer(engine="bleach").clean(html) == HtmlSanitizer().clean(html) == html


def test_threads_share_a_sanitizer() -> None:
    sanitizer, results = HtmlSanitizer(), []

    def work(number: int) -> None:
        results.append(sanitizer.clean(f"<p onclick=x()>{number}</p>" * 200) == f"<p>{number}</p>" * 200)

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 8


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine"):
        HtmlSanitizer(engine="regex")  # type: ignore[arg-type]
