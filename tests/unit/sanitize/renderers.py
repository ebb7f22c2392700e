"""Renderers of Markdown as judges: what they make of a text, and what in it would load, run or lead somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

import mistune
from markdown_it import MarkdownIt
from mdit_py_plugins.deflist import deflist_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.footnote import footnote_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

ALLOWED = "ok.example"
_ELSEWHERE = re.compile(rf"(?i)\s*(?:https?:)?[/\\]{{2}}(?!(?:www\.)?{re.escape(ALLOWED)}(?:[:/?#]|\Z))")
_RUNS = re.compile(r"(?i)\s*(?:javascript|vbscript|data):")


def _markdown_it(preset: str) -> MarkdownIt:
    renderer = MarkdownIt(preset, {"html": True})
    if renderer.linkify is not None:
        # As GitHub does: only what names its scheme, or begins with www.
        renderer.linkify.set({"fuzzy_link": False, "fuzzy_email": False})
    return renderer


def renderers() -> dict[str, Callable[[str], str]]:
    """Return functions from Markdown to HTML, each of them with HTML switched on."""
    plugins = ["abbr", "def_list", "footnotes", "mark", "math", "strikethrough", "subscript", "superscript", "table", "task_lists", "url"]  # fmt: skip
    extended = _markdown_it("gfm-like").use(dollarmath_plugin).use(footnote_plugin)
    return {
        "markdown-it commonmark": _markdown_it("commonmark").render,
        "markdown-it gfm": _markdown_it("gfm-like").render,
        "markdown-it plugins": extended.use(front_matter_plugin).use(deflist_plugin).render,
        "mistune": mistune.create_markdown(escape=False, plugins=plugins),
    }


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.harm: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in ("script", "style", "iframe", "object", "svg", "form", "details"):
            self.harm.append(f"<{tag}>")
        for name, value in attrs:
            address = value or ""
            if name.startswith("on") or (name == "style" and "text-align" not in address):
                self.harm.append(f"{name} of <{tag}>")
            if name == "src" and not address.startswith(f"https://{ALLOWED}/"):
                self.harm.append(f"<{tag}> loads {address}")
            if name == "href" and (_ELSEWHERE.match(address) or _RUNS.match(address)):
                self.harm.append(f"<{tag}> leads to {address}")


def harm(html: str) -> list[str]:
    """Return what in the HTML would load from elsewhere, run, or lead elsewhere."""
    page = _Page()
    page.feed(html)
    page.close()
    return page.harm


def judged(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Return the harm in what each renderer makes of the text."""
    for name, render in renderers().items():
        yield name, harm(render(markdown))


# Pieces that mean something to a renderer, and together most of its grammar.
PIECES = [
    "`", "``", "```", "~~~", "````", "\n", "\n", "\n\n", "    ", "  ", " ", "   ", "> ", ">", "- ", "1. ", "2. ", "* ", "# ",
    "\n```\n", "\n   ```\n", "\n    ```\n", "\n> ```\n", "\n- ```\n", "\n  - ", "\n|---|\n", "|---|---|\n", "![",
    "![x](https://evil.test/p)", "![x](https://evil.test/p)", "![k](https://ok.example/i.png)", "[a](https://evil.test/q)",
    "[a](javascript:x)", "[k](https://ok.example/y)", "](https://evil.test)", "(javascript:x)", "]", "[", "(", ")", "!", "\\",
    "$", "$$", "|", "<img src=https://evil.test/i onerror=x>", "<script>", "<https://evil.test>", '<a href="javascript:x">',
    "</div>", "<div>", "<br>", "<kbd>", "<!--", "-->", "https://evil.test/x", "https://ok.example/x", "http://", "www.evil.test",
    "//evil.test/x", "www.", ":(", ".(", ".", "[r]: https://evil.test/d\n", "[r]: https://ok.example/d\n", "![x][r]", "[x][r]",
    "![r]", '"', "'", "a", "b c", "text", "\t", "---\n", "===\n", "\r\n", "\r", "&lt;", "&#33;", "&#91;", "java&#115;cript:",
    "[^1]", "[^1]: ", "[^`]", ":", "::: {x}\n", "~", "^", "{", "}", "_", "**", "python", "mermaid", "\\[", "\\]", "\\(", "\u2028",
    "\u00a0", "*[a]: ", "{onclick=x}", "@",
]  # fmt: skip
