"""Whether parsing a text as HTML could take more than linear time, told in linear time.

A parser walks its stack of open elements at most tags, and compares each attribute with those before it: deep nesting
and endless attribute lists cost quadratic time. Small texts cannot cost much whatever they hold; a large one has to
look like the markup that programs write.
"""

from __future__ import annotations

import re

__all__ = ["SMALL", "too_costly", "weighs_like"]

# Up to these sizes anything goes: a quarter of a second at worst, measured with nested lists and unique attributes.
_TAGS_OF_ANY_SHAPE = 5_000
_CHARS_OF_ANY_SHAPE = 100_000
#: Characters of a text that cannot be costly, whatever it holds: so many tags do not fit into it.
SMALL = len("<b>") * _TAGS_OF_ANY_SHAPE - 1
# Above them: Chromium's own parser keeps 512 levels, and linear time must stay a matter of seconds.
_DEPTH = 256
_AMPERSANDS = 50_000  # joining many references into one text is quadratic in ammonia
_CHARS = 10_000_000

# One tag as programs write it, with at most 64 attributes, and with a start tag its end tag if only text is between.
# Every repetition is possessive, and nothing repeated may cross the place where the next match could begin, so that a
# scan looks at each character a fixed number of times.
_ATTRIBUTES = r"""(?:\s++[A-Za-z_:@][\w:.@-]*+(?:="[^"<]*+"|='[^'<]*+'|=[^\s"'<>=`]++)?+){0,64}+\s*+"""
_TAG = re.compile(
    # Scripts and styles without "</", "<!" or another script inside end where they seem to end.
    rf"<(?:(script|style){_ATTRIBUTES}>((?:[^<]++|<(?![/!sS]))*+)</\1>"
    rf"|(/?[A-Za-z][A-Za-z0-9]*+){_ATTRIBUTES}/?>(?:[^<]*+(</\3>))?+"
    # So do comments without a ">", and a document type. They have no name.
    r"|!--(?:[^<>-]++|-(?!->))*+-->|![A-Za-z][^<>]*+>)",
    re.ASCII,
)
# Where a browser sees the start of markup (WHATWG HTML section 13.2.5.6); any other "<" is text.
_START = re.compile("<[A-Za-z/!?]")
_VOID = frozenset("area base br col embed hr img input link meta param source track wbr".split())
# Inside these, tags are text or foreign: what looks like an end tag closes nothing.
_RAW = frozenset(
    "iframe noembed noframes noscript plaintext script style svg math textarea title xmp".split()
)
_CLOSED_BY_THEIR_LIKE = frozenset("dd dt li option p td th tr".split())


def too_costly(text: str) -> bool:
    """Whether the text is large and nested deep, or large and so odd that nobody can tell cheaply."""
    if len(text) <= SMALL:
        return False
    if len(text) > _CHARS:
        return True
    marks = text.count("<")
    if marks <= _TAGS_OF_ANY_SHAPE and len(text) <= _CHARS_OF_ANY_SHAPE:
        return False
    return text.count("&") > _AMPERSANDS or (marks > 0 and _is_deep_or_odd(text, marks))


def weighs_like(one: str, other: str) -> bool:
    """Whether two spellings of one tree, tag for tag, get the same answer from `too_costly`."""
    return max(len(one), len(other)) <= _CHARS_OF_ANY_SHAPE or (
        min(len(one), len(other)) > _CHARS_OF_ANY_SHAPE and max(len(one), len(other)) <= _CHARS
    )


def _is_deep_or_odd(text: str, marks: int) -> bool:
    stack = [""]
    seen = inside = 0  # tags, and what looks like one inside of a script
    for script, content, name, closed in _TAG.findall(text):
        if script:
            seen += 2
            inside += len(_START.findall(content))
            continue
        tag = name.lower()
        if tag in _RAW:
            return True
        if closed:
            seen += 2
            continue
        seen += 1
        if tag[:1] == "/":
            if stack[-1] == tag[1:]:
                stack.pop()
        elif tag and tag not in _VOID and not (stack[-1] == tag and tag in _CLOSED_BY_THEIR_LIKE):
            stack.append(tag)
            if len(stack) > _DEPTH:
                return True
    # Markup of another shape may hide end tags or attributes from this scan. Without any tag there is nothing to keep.
    return not seen or (seen != marks and seen != len(_START.findall(text)) - inside)
