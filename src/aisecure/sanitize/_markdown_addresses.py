"""Addresses that stand in a text by themselves, which many renderers turn into links (GFM section 6.9)."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from aisecure.sanitize._markdown_grammar import take

__all__ = ["ADDRESS_BEGINS", "judge_address"]

#: The mark of an address. At the end of a piece, the first character of it is enough.
ADDRESS_BEGINS = (
    r"(?i:(?:https?:|ftps?:)?//|www\.|(?:https?:?|ftps?:?|https?:/|ftps?:/|ht{0,2}|f(?:tp?)?|w{1,3}|/)\Z)"
)
_LONGEST = 256
# What ends the host for whoever looks for addresses in text; a longer one is no host.
_AUTHORITY = re.compile(rf"[^\s/?#\[\]<>|`()!\\]{{0,{_LONGEST}}}+")
_AROUND_HOST = "*_~.,:;'\""
_WITH_PORT = re.compile(r":\d{1,5}\Z", re.ASCII)
_SCHEME_BEGUN = re.compile(r"[A-Za-z][A-Za-z0-9+-]*:\Z")
_WORD_CHARACTER = re.compile(r"[^\W_]")
# Only between letters and digits, so that nothing that follows the brackets can make a link of them.
_JOINTS = re.compile(r"(?<=[^\W_])[.:](?=[^\W_])")


def judge_address(
    text: str, at: int, mark: str, hosts: AbstractSet[str], *, final: bool
) -> tuple[int, str] | None:
    """Return where to go on behind the mark of an address, and what to write up to there; None for more text.

    An address of a host that is not listed is defanged: it reads the same and leads nowhere.
    """
    scheme = mark.lower()
    begins = at + len(mark)
    if not scheme.endswith(("//", "www.")):
        return (begins, mark) if final else None
    authority = take(_AUTHORITY, text, begins)
    end = authority.end()
    if end == len(text) and not final and end - begins < _LONGEST:
        return None
    if _stays(scheme, authority[0], text[end : end + 1], hosts):
        return begins, mark
    begun = _SCHEME_BEGUN.search(authority[0]) if text.startswith("/", end) else None
    if begun is not None:
        end = begins + begun.start()
    www = "www[.]" if _WORD_CHARACTER.match(authority[0]) else "www."
    inert = scheme.replace("http", "hxxp").replace("ftp", "fxp").replace("www.", www)
    return end, inert + _JOINTS.sub(r"[\g<0>]", text[begins:end])


def _stays(scheme: str, authority: str, following: str, hosts: AbstractSet[str]) -> bool:
    if not authority:
        return scheme == "//" or not following.strip()
    if following == "\\":
        return False
    if scheme == "//" and "." not in authority:
        return True
    host = _WITH_PORT.sub("", authority.rstrip(_AROUND_HOST)).lower()
    return (f"www.{host}" if scheme == "www." else host) in hosts
