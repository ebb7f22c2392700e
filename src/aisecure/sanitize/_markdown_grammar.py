"""The inline constructs of Markdown that matter for safety, each with the question "could this become one?".

A construct is judged only when it is whole. `Shape.at` says whether it is there, is not, or needs more text, and its
answer for a text never changes when the text goes on: what makes a filter over pieces equal to the whole.
"""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from html import unescape

from aisecure.sanitize.addresses import image_allowed, link_allowed
from aisecure.sanitize.policy import HtmlPolicy

__all__ = [
    "AUTOLINK",
    "BOUND",
    "DEFINITION",
    "IMAGE",
    "LINK",
    "TAG",
    "TEX",
    "Shape",
    "definition_kept",
    "host_of",
    "image_kept",
    "link_kept",
    "take",
    "target",
    "unescaped",
]

# No construct that stays is longer, so no more than this is ever held back for one.
BOUND = 2048

# An address in parentheses. Brackets, backticks and angle brackets could hide another construct for a renderer that
# does not take this one for a link, so addresses with them do not stay.
_PLAIN = r"[^\s<>()\[\]`\\\x00-\x1f\x7f]"
_ESCAPED = r"\\[_*~.&-]"
_BARE = rf"(?:{_PLAIN}|{_ESCAPED}|\((?:{_PLAIN}|{_ESCAPED})*+\))*+"
_BARE_BEGUN = rf"{_BARE}(?:\\|\((?:{_PLAIN}|{_ESCAPED})*+\\?)?"
_ANGLED = r"<[^<>\[\]`\\\r\n\x00-\x08\x7f]*+"
_QUOTED = r"\"[^\"<>\[\]`\\\r\n]*+"
_SINGLE = r"'[^'<>\[\]`\\\r\n]*+"
_TITLED = r"\([^()<>\[\]`\\\r\n]*+"
_TARGET = (
    rf"[ \t]*+(?:(?P<angled>{_ANGLED})>|(?P<bare>{_BARE}))"
    rf"(?:[ \t]++(?:{_QUOTED}\"|{_SINGLE}'|{_TITLED}\)))?+[ \t]*+\)"
)
_TARGET_BEGUN = (
    rf"[ \t]*+(?:{_ANGLED}(?:>[ \t]*+)?|{_BARE_BEGUN}[ \t]*+)"
    rf"(?:(?<=[ \t])(?:{_QUOTED}(?:\"[ \t]*+)?|{_SINGLE}(?:'[ \t]*+)?|{_TITLED}(?:\)[ \t]*+)?))?"
)
_ALT = r"[^\[\]\\`<>\r\n]*+"
_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{1,31}"
# Tags without attributes that mean nothing but themselves, and begin no block of HTML when they stand in a line.
_TAGS = ("br", "kbd", "mark", "small", "sub", "sup", "u", "wbr")


@dataclass(frozen=True, slots=True)
class Shape:
    """A construct: its whole, and every beginning of it."""

    whole: re.Pattern[str]
    begun: re.Pattern[str]
    grows: bool = False  # whether a whole one at the end of a text may become longer

    def at(self, text: str, start: int, *, final: bool) -> re.Match[str] | bool:
        """Return the match at the position, False when there is none, True when only more text can tell."""
        limit = start + BOUND
        match = self.whole.match(text, start, limit)
        if match is not None and (
            not self.grows or match.end() < (limit if final else min(limit, len(text)))
        ):
            return match
        return not final and len(text) < limit and self.begun.fullmatch(text, start) is not None


IMAGE = Shape(
    re.compile(rf"!\[(?P<alt>{_ALT})\]\({_TARGET}"),
    re.compile(rf"!(?:\[(?:{_ALT}(?:\](?:\({_TARGET_BEGUN})?)?)?)?"),
)
LINK = Shape(re.compile(rf"\]\({_TARGET}"), re.compile(rf"\](?:\({_TARGET_BEGUN})?"))
# After "]:" comes an address, maybe on the next line, and maybe behind the marks of a quotation.
DEFINITION = Shape(
    re.compile(r"\]:[\s>]*+(?P<address>[^\s>\]][^\s\]]*+)?+(?=\s|\]|\Z)"),
    re.compile(r"\](?::[\s>]*+(?:[^\s>\]][^\s\]]*+)?)?"),
    grows=True,
)
AUTOLINK = Shape(
    re.compile(
        rf"<(?:(?P<address>{_SCHEME}:[^\s<>\[\]`\\\x00-\x1f\x7f]*+)|(?P<mail>[\w.!#$%&'*+/=?^{{|}}~-]++@[A-Za-z0-9.-]++))>",
        re.ASCII,
    ),
    re.compile(
        rf"<(?:{_SCHEME}:[^\s<>\[\]`\\\x00-\x1f\x7f]*+|[\w.!#$%&'*+/=?^{{|}}~-]*+(?:@[A-Za-z0-9.-]*+)?|[A-Za-z][A-Za-z0-9+.-]{{0,31}})?",
        re.ASCII,
    ),
)
_NAME_BEGUN = "|".join(sorted({name[:n] for name in _TAGS for n in range(1, len(name) + 1)}))
TAG = Shape(
    re.compile(rf"<(?P<close>/?)(?P<tag>{'|'.join(_TAGS)})(?P<empty> ?/)?>"),
    re.compile(rf"<(?:/?(?:(?:{_NAME_BEGUN})(?: ?/?)?)?)?"),
)
# Commands of TeX that fetch, link or style: KaTeX and MathJax refuse most of them only when they are told to.
_TEX = "class|cssId|href|htmlClass|htmlData|htmlId|htmlStyle|includegraphics|require|style|url"
_TEX_BEGUN = "|".join(sorted({name[:n] for name in _TEX.split("|") for n in range(1, len(name) + 1)}))
TEX = Shape(
    re.compile(rf"\\(?P<name>{_TEX})(?=[ \t]*+[\[{{])"),
    re.compile(rf"\\(?:(?:{_TEX})[ \t]*+|(?:{_TEX_BEGUN}))?"),
)

_ESCAPE = re.compile(r"\\([!-/:-@\[-`{-~])")
_ABSOLUTE = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:|[/\\]{2})")
_COMPLETE_HOST = re.compile(r"\s*https?://[A-Za-z0-9.-]+(?::\d+)?[/?#]", re.IGNORECASE | re.ASCII)
_HOST = re.compile(r"\s*(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#\s]*@)?([A-Za-z0-9.-]{1,80})(?=[:/?#\s]|\Z)")


def _readings(address: str) -> tuple[str, ...]:
    """Return the address as written, and as a renderer that undoes escapes and references hands it on."""
    undone = _ESCAPE.sub(r"\1", address)
    return (
        (address, undone, unescaped(address), unescape(address))
        if undone != address or "&" in address
        else (address,)
    )


def take(pattern: re.Pattern[str], text: str, start: int = 0, end: int = sys.maxsize) -> re.Match[str]:
    """Return the match of a pattern that every text begins with, if only with nothing."""
    match = pattern.match(text, start, end)
    if match is None:
        raise AssertionError(f"{pattern.pattern} matches everywhere")
    return match


def target(match: re.Match[str]) -> str:
    """Return the address of an `IMAGE` or a `LINK`, as written."""
    angled: str | None = match["angled"]
    return match["bare"] if angled is None else angled[1:]


def unescaped(text: str) -> str:
    """Return the text as a renderer hands it on: without escapes and references."""
    return unescape(_ESCAPE.sub(r"\1", text))


def link_kept(address: str, policy: HtmlPolicy) -> bool:
    """Whether a link may lead there, however it is read."""
    return all(link_allowed(one, policy) for one in _readings(address))


def image_kept(address: str, policy: HtmlPolicy) -> bool:
    """Whether an image may come from there, however it is read."""
    return all(image_allowed(one, policy.image_hosts) for one in _readings(address))


def definition_kept(definition: re.Match[str], policy: HtmlPolicy) -> bool:
    """Whether the address of a definition may stay."""
    address = (definition["address"] or "").strip("<>")
    # A bracket ends what was read of it, so the host has to be complete before.
    cut = definition.string.startswith("]", definition.end())
    if cut and _ABSOLUTE.match(unescape(address)) and not _COMPLETE_HOST.match(unescape(address)):
        return False
    return link_kept(address, policy)


def host_of(address: str) -> str:
    """Return the host of an address for people to read, in a spelling that nothing turns into a link."""
    match = _HOST.match(unescape(address))
    return match[1].lower().replace(".", "[.]") if match else "link"
