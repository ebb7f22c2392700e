"""Known answers that show that each capability works in this installation."""

from __future__ import annotations

from collections.abc import Callable

from aisecure.sanitize import encode
from aisecure.sanitize.markdown import MarkdownFilter, sanitize_markdown
from aisecure.sanitize.markup import sanitize_html
from aisecure.sanitize.streams import TagEscapeFilter, escape_tags
from aisecure.sanitize.text import clean_text

__all__ = ["self_tests"]


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability; each raises AssertionError when the capability is broken."""
    return {
        "sanitize.html": _html,
        "sanitize.markdown": _markdown,
        "sanitize.text": _text,
        "sanitize.encode": _encode,
        "sanitize.stream": _stream,
    }


def _expect(got: str, wanted: str) -> None:
    # Not an assert statement: those vanish under python -O.
    if got != wanted:
        raise AssertionError(f"self-test: wanted {wanted!a}, got {got!a}")


def _html() -> None:
    _expect(sanitize_html("<p onclick=x()>a<script>b()</script><em>c</em>"), "<p>a<em>c</em></p>")
    _expect(sanitize_html("<img src=x onerror=x()>"), "<img>")
    _expect(sanitize_html('<a href="JaVaScRiPt:x()">a</a>'), '<a rel="noopener noreferrer nofollow">a</a>')


def _markdown() -> None:
    text = "![a](https://e.example/?q=1) `<b>` <b> [c](javascript:d) [e](/f)\n```\n![g](h)\n```\n"
    wanted = "\u2039a\u203a `<b>` &lt;b> [c]\u2039link\u203a [e](/f)\n```\n![g](h)\n```\n"
    _expect(sanitize_markdown(text), wanted)
    stream = MarkdownFilter()
    _expect("".join(map(stream.feed, text)) + stream.finish(), wanted)


def _text() -> None:
    _expect(clean_text("a\u200b\U000e0062\u202ec\r\ne\u0301"), "ac\n\u00e9")
    _expect(clean_text("\U0001f468\u200d\U0001f469"), "\U0001f468\u200d\U0001f469")


def _encode() -> None:
    _expect(encode.html("<&>\"'"), "&lt;&amp;&gt;&quot;&#x27;")
    _expect(encode.js("</"), "\\x3c\\x2f")
    _expect(encode.csv("=1"), "'=1")
    _expect(encode.log("a\nb"), "a\\nb")
    _expect(encode.terminal("\x1b[2J"), "[2J")


def _stream() -> None:
    text = "1 < 2 <scr" + "ipt>x</script><"
    stream = TagEscapeFilter()
    _expect("".join(map(stream.feed, text)) + stream.finish(), escape_tags(text))
