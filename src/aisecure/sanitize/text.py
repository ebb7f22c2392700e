"""`clean_text`: what a person sees is what the model gets.

Text can carry instructions that no reader sees (tag characters, zero-width characters, variation selectors) or show
something else than it says (controls of the bidirectional algorithm). All of these have honest uses too, in emoji,
Persian, Indic scripts and right-to-left text; those stay.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Literal, NamedTuple

from aisecure.sanitize.surrogates import well_formed

__all__ = ["Removal", "clean_text", "hidden"]

Form = Literal["NFC", "NFKC"]

_KINDS = {
    "control": "\0-\x08\x0b-\x1f\x7f-\x9f",
    "tag": "\U000e0000-\U000e007f",
    # Embeddings, overrides and isolates (UAX #9 section 2); the marks LRM, RLM and ALM are harmless and common.
    "bidi": "\u202a-\u202e\u2066-\u2069",
    # Soft hyphen, grapheme joiner, Hangul fillers, Mongolian separator, zero-width space, word joiner and invisible
    # operators, deprecated format characters, byte order mark, annotation marks, musical format characters.
    "invisible": "\u00ad\u034f\u3164\uffa0\u180e\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a",
    "selector": "\u180b-\u180d\u180f\ufe00-\ufe0f\U000e0100-\U000e01ef",
    "joiner": "\u200c\u200d",
    # Private to programs, never interchanged (Unicode 23.7).
    "noncharacter": "\ufdd0-\ufdef\ufffe\uffff",
}
_SUSPECT = re.compile(f"[{''.join(_KINDS.values())}]")
_KIND = re.compile("|".join(f"(?P<{kind}>[{chars}])" for kind, chars in _KINDS.items()))
# The three flags that are spelled with tag characters (Unicode emoji data): England, Scotland, Wales.
_FLAG_BASE = "\U0001f3f4"
_FLAG = re.compile(
    "\U000e0067\U000e0062"
    "(?:\U000e0065\U000e006e\U000e0067|\U000e0073\U000e0063\U000e0074|\U000e0077\U000e006c\U000e0073)\U000e007f"
)
_ASCII_CONTROL = re.compile("[\0-\x08\x0b-\x1f\x7f]")

_EMOJI = re.compile(
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2190-\u21ff\u2300-\u2328\u232b-\u23ff\u2460-\u24ff\u25a0-\u27bf\u2900-\u297f\u2b00-\u2bff"
    "\u3030\u303d\u3297\u3299\U0001f000-\U0001faff]"
)
_KEYCAP = frozenset("0123456789#*")
_MATH = re.compile("[\u2200-\u22ff\u2a00-\u2aff]")
_IDEOGRAPH = re.compile("[\u3005-\u3007\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
_MONGOLIAN = re.compile("[\u1800-\u180a\u180e\u1810-\u18af]")
# Scripts whose letters change shape next to each other, where a joiner chooses the shape: Arabic and its kin, N'Ko,
# Mongolian, the Brahmic scripts from Devanagari to Khmer and their supplements, Adlam.
_SHAPED = re.compile(
    "[\u0600-\u07ff\u0840-\u08ff\u0900-\u0dff\u1000-\u109f\u1780-\u18af\u1a20-\u1aaf\u1b00-\u1bff\u1c00-\u1c4f"
    "\ua840-\ua87f\ua8e0-\ua8ff\ua980-\ua9ff\uaa60-\uaaff\uabc0-\uabff\ufb50-\ufdcf\ufdf0-\ufdff\ufe70-\ufefe"
    "\U00011000-\U000112ff\U00011300-\U0001173f\U0001e900-\U0001e95f]"
)
_VIRAMA = 9  # canonical combining class
_ZWNJ = "\u200c"


class Removal(NamedTuple):
    """A run of hidden characters.

    Attributes:
        kind: ``control``, ``tag``, ``bidi``, ``invisible``, ``selector``, ``joiner`` or ``noncharacter``.
        start: First code point in the original text.
        end: One past the last.
    """

    kind: str
    start: int
    end: int


def hidden(text: str) -> list[Removal]:
    r"""Return the runs that `clean_text` takes out, in order, not overlapping, neighbours of one kind joined.

    >>> hidden("pay\u200b\u200b me")
    [Removal(kind='invisible', start=3, end=5)]
    """
    runs: list[Removal] = []
    looked_at = 0  # everything before this is decided
    before = ""  # the last two characters that stay
    for match in _SUSPECT.finditer(text):
        start, end = match.span()
        if start < looked_at:
            continue
        if start > looked_at:
            before = (before + text[max(looked_at, start - 2) : start])[-2:]
        flag = _FLAG.match(text, start) if before[-1:] == _FLAG_BASE else None
        if flag is not None:
            end = flag.end()
        kind = _kind_of(match[0])
        if flag is not None or match[0] == "\r" or _is_legitimate(kind, before, text, start):
            before = (before + text[start:end])[-2:]
        elif runs and runs[-1].end == start and runs[-1].kind == kind:
            runs[-1] = Removal(kind, runs[-1].start, end)
        else:
            runs.append(Removal(kind, start, end))
        looked_at = end
    return runs


def _kind_of(character: str) -> str:
    match = _KIND.match(character)
    return match.lastgroup or "" if match else ""


def _is_legitimate(kind: str, before: str, text: str, at: int) -> bool:
    """Whether a selector or joiner does what it is for, given the last two characters that stay before it."""
    last = before[-1:]
    if not last:
        return False
    if kind == "selector":
        return _selects(text[at], last)
    if kind != "joiner":
        return False
    after = text[at + 1 : at + 2]
    if _SUSPECT.match(after):  # it may go, so nothing can lean on it
        after = ""
    # Family, profession and flag sequences: emoji, perhaps with its one selector, then ZWJ, then emoji.
    base = before[-2:-1] if last == "\ufe0f" else last
    if text[at] != _ZWNJ and _EMOJI.match(after) and _EMOJI.match(base):
        return True
    if unicodedata.combining(last) == _VIRAMA:
        return True
    shaped_before, shaped_after = bool(_SHAPED.match(last)), bool(_SHAPED.match(after))
    # ZWNJ parts two letters that would join; ZWJ also shows the joined form of a letter that stands alone.
    return shaped_before and (shaped_after or text[at] != _ZWNJ)


def _selects(selector: str, base: str) -> bool:
    if selector in "\ufe0e\ufe0f":
        return base in _KEYCAP or bool(_EMOJI.match(base))
    if selector <= "\u180f":
        return bool(_MONGOLIAN.match(base))
    if selector <= "\ufe0f":
        return bool(_MATH.match(base) or _IDEOGRAPH.match(base) or "\u1000" <= base <= "\u109f")
    return bool(_IDEOGRAPH.match(base))


def clean_text(text: str, *, form: Form | None = "NFC", keep_bidi: bool = False) -> str:
    r"""Return the text without what a reader cannot see, in one normal form.

    Out go control characters but newline and tab (carriage returns become newlines), tag characters outside of the
    three flags that use them, zero-width characters, selectors and joiners where they choose no shape, direction
    overrides, embeddings and isolates. Lone surrogates become U+FFFD. Cleaning twice is cleaning once. Letters that
    only look alike (Cyrillic for Latin) stay: they are letters.

    Args:
        text: Any str, of any length; the work is linear.
        form: Unicode normal form (UAX #15). NFKC also folds full-width and mathematical letters, ligatures and
            superscripts, which changes honest text. None leaves the form alone.
        keep_bidi: Keep the controls of the bidirectional algorithm, for text that never reaches source code,
            logs or a reviewer's screen.

    Raises:
        TypeError: ``text`` is no str.

    >>> clean_text("Summarise this.\U000e0069\U000e0067\u202e")
    'Summarise this.'
    """
    if not isinstance(text, str):
        raise TypeError("clean_text takes a str; decode bytes first")
    if form not in ("NFC", "NFKC", None):
        raise ValueError("form is 'NFC', 'NFKC' or None")
    if text.isascii():
        return text if _ASCII_CONTROL.search(text) is None else _strip(text, keep_bidi=keep_bidi)
    text = _strip(well_formed(text), keep_bidi=keep_bidi)
    if form is None or unicodedata.is_normalized(form, text):
        return text
    # What was composed or folded may have lost the context of a joiner, and what then goes may let marks compose.
    return unicodedata.normalize(form, _strip(unicodedata.normalize(form, text), keep_bidi=keep_bidi))


def _strip(text: str, *, keep_bidi: bool) -> str:
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    pieces, position = [], 0
    for kind, start, end in hidden(text):
        if kind == "bidi" and keep_bidi:
            continue
        pieces.append(text[position:start])
        position = end
    return "".join([*pieces, text[position:]]) if position else text
