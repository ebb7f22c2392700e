"""HTML in a stream: markup that arrives in pieces is shown as text.

A tag may begin in one chunk and end ten chunks later, and what an answer's HTML means can depend on all of it, so
nothing that keeps tags can run on pieces. These filters keep none. The whole answer, once complete, may still go
through `sanitize_html`.
"""

from __future__ import annotations

import re

from aisecure.decisions import Finding
from aisecure.sanitize import encode
from aisecure.sanitize.surrogates import well_formed

__all__ = ["HtmlEscapeFilter", "TagEscapeFilter", "escape_tags"]

# The only places where a browser leaves text for markup (WHATWG HTML section 13.2.5.6).
_TAG_OPEN = re.compile("<(?=[A-Za-z/!?])")


class HtmlEscapeFilter:
    """`encode.html` for a stream; a `aisecure.ports.TextFilter` that holds nothing back.

    >>> stream = HtmlEscapeFilter()
    >>> stream.feed("<scr") + stream.feed("ipt>") + stream.finish()
    '&lt;script&gt;'
    """

    findings: tuple[Finding, ...] = ()

    def feed(self, chunk: str) -> str:
        """Return the chunk with every character of HTML's grammar escaped."""
        return encode.html(chunk)

    def finish(self) -> str:
        """Return the empty string."""
        return ""


def escape_tags(text: str) -> str:
    """Return the text with each ``<`` that would begin markup written as ``&lt;``, and all else as it was.

    A ``<`` at the end counts, since somebody may append to it. Safe as the content of an element, where prose and
    formulas stay as they are; not safe in an attribute.

    >>> escape_tags("1 < 2 & <b>")
    '1 < 2 & &lt;b>'
    """
    stream = TagEscapeFilter()
    return stream.feed(text) + stream.finish()


class TagEscapeFilter:
    """`escape_tags` for a stream; holds back a ``<`` that ends a chunk until the next character is known.

    >>> stream = TagEscapeFilter()
    >>> stream.feed("1 <") + stream.feed(" 2 <") + stream.feed("b>") + stream.finish()
    '1 < 2 &lt;b>'
    """

    def __init__(self) -> None:
        self._held = ""
        self._length = 0
        self._first = -1
        self._last = -1

    @property
    def findings(self) -> tuple[Finding, ...]:
        """One finding of kind ``html.markup`` from the first to the last tag opening, if there was any."""
        if self._first < 0:
            return ()
        return (Finding("html.markup", self._first, self._last + 1, detector="escape_tags"),)

    def feed(self, chunk: str) -> str:
        """Return what no continuation can change."""
        text = self._held + well_formed(chunk)
        starts = [match.start() for match in _TAG_OPEN.finditer(text)]
        self._note(starts)
        if text.endswith("<"):
            self._held, text = "<", text[:-1]
        else:
            self._held = ""
        self._length += len(text)
        return _TAG_OPEN.sub("&lt;", text) if starts else text

    def finish(self) -> str:
        """Return the escaped ``<`` that was held back, or the empty string."""
        if not self._held:
            return ""
        self._held = ""
        self._note([0])
        self._length += 1
        return "&lt;"

    def _note(self, starts: list[int]) -> None:
        if starts:
            if self._first < 0:
                self._first = self._length + starts[0]
            self._last = self._length + starts[-1]
