"""Addresses in the text of sanitised HTML, made into links where the policy lets them lead."""

from __future__ import annotations

import re

from aisecure.sanitize.addresses import link_allowed
from aisecure.sanitize.policy import HtmlPolicy

__all__ = ["add_links"]

# A tag as serialisers write it: values in double quotes, and nothing odd outside of them.
_TAG_OR_TEXT = re.compile(r'<(/?)([a-z][a-z0-9]*)(?:[^"<>]*"[^"]*")*+[^"<>]*>|[^<]+|<')
# Text in HTML has no bare "&", and references to anything but "&" end an address.
_ADDRESS = re.compile(
    r"(?<![\w@./-])(?:https?://|www\.)(?=[\w\[])(?:[^\s<>\"'&]|&amp;){1,2048}+", re.IGNORECASE
)
_AFTER = re.compile(r"(?:[.,:;!?*_~]|&amp;)+\Z")
# What is shown as it was typed, and what is a link already.
_LEFT = frozenset({"a", "code", "kbd", "pre", "samp"})


def add_links(html: str, policy: HtmlPolicy) -> str:
    """Return the HTML with ``http``, ``https`` and ``www.`` addresses in its text as links."""
    if "a" not in policy.tags or ("://" not in html and "www." not in html.lower()):
        return html
    out: list[str] = []
    left = 0
    for token in _TAG_OR_TEXT.finditer(html):
        piece = token[0]
        if token[2] in _LEFT:
            left = max(0, left - 1) if token[1] else left + 1
        elif token[2] is None and not left:
            piece = _ADDRESS.sub(lambda match: _link(match[0], policy), piece)
        out.append(piece)
    return "".join(out)


def _link(found: str, policy: HtmlPolicy) -> str:
    """Return the address as a link, and what only follows it as text."""
    shown = found
    while True:
        shorter = _AFTER.sub("", shown)
        for opening, closing in ("()", "[]"):
            if shorter.endswith(closing) and shorter.count(closing) > shorter.count(opening):
                shorter = shorter[:-1]
        if shorter == shown:
            break
        shown = shorter
    address = shown if "://" in shown[:8] else f"https://{shown}"
    if not link_allowed(address.replace("&amp;", "&"), policy):
        return found
    return f'<a href="{address}" rel="{policy.link_rel}">{shown}</a>{found[len(shown) :]}'
