"""`sanitize_html`: HTML that is safe inside an element, whatever the input was.

nh3 (the Rust library ammonia over a browser-grade parser) does the work; this module adds what it leaves open:
a fixed point, so that a browser parses exactly what was checked, and bounded time for hostile nesting.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Literal

import nh3

from aisecure.sanitize._links import add_links
from aisecure.sanitize.addresses import address_filter
from aisecure.sanitize.cost import SMALL, too_costly, weighs_like
from aisecure.sanitize.policy import CHAT, HtmlPolicy, PolicyName, named
from aisecure.sanitize.surrogates import well_formed

__all__ = ["HtmlSanitizer", "sanitize_html"]

Engine = Literal["nh3", "bleach"]

# How often an output is fed back until it stays as it is. Nested links in nested tables shed one level a pass;
# real documents need none or one. What still moves after this is shown as text.
_PASSES = 4
_PRE_BEFORE_NEWLINE = re.compile(r"<pre(?: [^<>]*+)?+>(?=\n)")
# What a parser and a serialiser change in a text, beside references.
_CHANGED = re.compile("[<>\0\r\xa0\ufeff\ud800-\udfff]")
_OWN_REFERENCES = ("&amp;", "&lt;", "&gt;", "&nbsp;")


class HtmlSanitizer:
    """A compiled policy; make it once and share it between threads.

    Args:
        policy: What stays.
        engine: ``"nh3"``, or ``"bleach"`` (extra ``bleach``) for those who must match its output. Bleach has been
            without maintenance since June 2026, security fixes included, and warns at construction.

    Raises:
        Misconfigured: The engine is not installed.
    """

    def __init__(self, policy: HtmlPolicy = CHAT, *, engine: Engine = "nh3") -> None:
        if not isinstance(policy, HtmlPolicy):
            raise TypeError("policy is an HtmlPolicy")
        if engine not in ("nh3", "bleach"):
            raise ValueError("engine is 'nh3' or 'bleach'")
        self.policy = policy
        self.engine = engine
        self._rel = f' rel="{policy.link_rel}"'
        self._once: Callable[[str], str]
        if engine == "bleach":
            from aisecure.sanitize.bleach_engine import bleach_cleaner

            self._once = bleach_cleaner(policy)
        else:
            self._once = _nh3_cleaner(policy)

    def __repr__(self) -> str:
        return f"HtmlSanitizer(engine={self.engine!r}, tags={len(self.policy.tags)})"

    def clean(self, text: str, *, linkify: bool = False) -> str:
        """Return the HTML with nothing in it but what the policy allows; see `sanitize_html`."""
        if linkify:
            return add_links(self.clean(text), self.policy)
        if not isinstance(text, str):
            raise TypeError("sanitize_html takes a str; decode bytes first")
        # A small text is asked nothing more: calls would take a tenth of the time that cleaning takes.
        is_small = len(text) <= SMALL
        if not is_small and too_costly(text):
            return text if _is_escaped(text) else _shown_as_text(text)
        try:
            html = self._once(text)
        except UnicodeEncodeError:
            text = well_formed(text)
            html = self._once(text)
        is_same = html == text or html.replace(self._rel, "") == text
        if is_same and (is_small or weighs_like(text, html)):
            return html
        html = _keep_first_newlines(html)
        if self._is_fixed(text, html) and weighs_like(text, html):
            return html
        for _ in range(_PASSES):
            if too_costly(html):
                break
            again = _keep_first_newlines(self._once(html))
            if again == html:
                return html
            html = again
        return _shown_as_text(text)

    def _is_fixed(self, text: str, html: str) -> bool:
        """Whether cleaning the output again certainly changes nothing, seen without parsing it again.

        When the input, in the spelling of the serialiser, is the output less the ``rel`` of links, both parse to
        the same tree, and that tree gave this output.
        """
        return html.replace(self._rel, "") == text.replace(" />", ">").replace("&quot;", '"')


def _keep_first_newlines(html: str) -> str:
    """Return the HTML with the newline doubled that begins a ``pre``.

    A parser drops it and the serialiser does not put it back, so that each round trip would eat one more line of code.
    """
    return _PRE_BEFORE_NEWLINE.sub(r"\g<0>\n", html) if "<pre" in html else html


def _is_escaped(text: str) -> bool:
    """Whether the text holds no markup, and every ``&`` in it is one that a serialiser writes."""
    return _CHANGED.search(text) is None and text.count("&") == sum(map(text.count, _OWN_REFERENCES))


def _shown_as_text(text: str) -> str:
    """Return the source of the HTML as text, spelled as the serialiser spells it, so that it is a fixed point."""
    text = well_formed(text).replace("\0", "").replace("\r\n", "\n").replace("\r", "\n").lstrip("\ufeff")
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\xa0", "&nbsp;")


def _nh3_cleaner(policy: HtmlPolicy) -> Callable[[str], str]:
    # Without the key "*" ammonia keeps lang and title everywhere.
    attributes = {"*": set[str](), **{tag: set(names) for tag, names in policy.attributes.items()}}
    if "a" in policy.tags:
        attributes.setdefault("a", set()).add("href")
    if "img" in policy.tags and policy.image_hosts:
        attributes.setdefault("img", set()).add("src")
    # A callback for each attribute is slow, so it is there only for policies that look at hosts.
    watched = bool(policy.image_hosts) or policy.link_hosts is not None
    cleaner = nh3.Cleaner(
        tags=set(policy.tags),
        clean_content_tags={"script", "style"},
        attributes=attributes,
        attribute_filter=address_filter(policy) if watched else None,
        allowed_classes={tag: set(names) for tag, names in policy.classes.items()},
        url_schemes=set(policy.schemes),
        link_rel=policy.link_rel,
    )
    return cleaner.clean


@lru_cache(maxsize=64)
def _sanitizer(policy: HtmlPolicy, engine: Engine) -> HtmlSanitizer:
    return HtmlSanitizer(policy, engine=engine)


_clean_chat = HtmlSanitizer(CHAT).clean


def sanitize_html(
    text: str, *, policy: HtmlPolicy | PolicyName = CHAT, engine: Engine = "nh3", linkify: bool = False
) -> str:
    """Return HTML that is safe to insert as the content of an element (CWE-79).

    Scripts, styles, event handlers, forms, frames, foreign content and images of unlisted hosts go; the text of
    removed elements stays, except that of ``script`` and ``style``. Cleaning the result again changes nothing.
    It is not safe inside an attribute, a script or a style: use `aisecure.sanitize.encode` there.

    Args:
        text: HTML or plain text of any size. What would take more than linear time to parse comes back as text, all
            of it escaped: more than 10 million characters, or more than 100,000 (or 5,000 tags) that are nested
            deeper than 256 levels or hold markup that no program would write. NUL is dropped, lone surrogates become
            U+FFFD.
        policy: What stays: an `HtmlPolicy`, or the name of one: ``chat`` suits the answers of a model, ``comment`` what
            people write under something, ``article`` longer texts of authors, and ``none`` keeps no markup.
        engine: As for `HtmlSanitizer`.
        linkify: Make links of the addresses in the text (``https://``, ``http://`` and ``www.``) that the policy lets
            lead somewhere; those in code and in links stay as they are.

    Raises:
        TypeError: ``text`` is no str.
        ValueError: No policy has that name.
        Misconfigured: The engine is not installed.

    >>> sanitize_html('<p onclick="steal()">Hi <script>steal()</script><em>there</em></p>')
    '<p>Hi <em>there</em></p>'
    """
    if policy is CHAT and engine == "nh3" and not linkify:
        return _clean_chat(text)
    return _sanitizer(named(policy), engine).clean(text, linkify=linkify)
