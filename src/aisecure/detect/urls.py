"""Web addresses: with a scheme, with ``www.``, and host names alone under the top-level domains that nothing else ends in."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["KIND", "URLS"]

KIND = "pii.url"

# What may stand in an address (RFC 3986, and IRIs) but for a comma, which in running text ends it more often than not.
_PART = r"[^\s<>\"'`{}|\\^\[\](),]"
_RUN = lazy(rf"{_PART}*+")
_ADDRESS = lazy(
    rf"(?<![A-Za-z0-9])(?:(?:https?|ftps?|wss?|sftp)://|www\.(?=[^\W_]))(?:{_PART}|\((?={_PART}*\)){_PART}*\))++",
    re.IGNORECASE,
)
# ``.py``, ``.sh`` or ``.name`` are top-level domains too, and file names and attributes far more often.
_ALONE = lazy(
    r"(?<![\w@.+/%-])(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,5}"
    r"(?:(?<=\.)(?:com|org|net|edu|gov|info|biz)(?:\.[a-z]{2})?|(?<=\.co\.)(?:uk|jp|kr|nz|za|in|il|id|th)|(?<=\.ac\.)(?:uk|jp|nz|za))"
    rf"(?![\w@(]|\.\w|-\w)(?:(?::\d{{2,5}})?/{_PART}*+)?",
    re.ASCII,
)
_TRAILING = ".,;:!?*_~'\""


def _find(window: Window) -> Iterator[Candidate]:
    text, at = window.text, window.at
    if text.find("://", at) >= 0 or text.find("www.", at) >= 0 or text.find("WWW.", at) >= 0:
        for found in _ADDRESS.finditer(text, at):
            yield _candidate(text, found, 0.9)
        return
    for found in _ALONE.finditer(text, at):
        yield _candidate(text, found, 0.6)


def _candidate(text: str, found: re.Match[str], score: float) -> Candidate:
    start, end = found.span()
    while text[end - 1] in _TRAILING and end > start:
        end -= 1
    return Candidate(start, end, KIND, score, _RUN)


URLS = Recognizer((KIND,), lazy(r"://[^.]*\.|[Aa]{3}\.|[Aa9]\.aa{1,3}(?![\w@(])", re.ASCII), _find)
