"""Names that people take for each other: in another case or width, with letters of another script, or invisible ones.

The tables are small on purpose: letters of Cyrillic, Greek and Armenian that most fonts draw like Latin ones, after the
idea of Unicode Technical Standard 39.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from typing import Final

__all__ = ["alike", "hidden", "mixed_scripts"]

#: Lower case, since names are compared so; by script: Cyrillic, Greek, Armenian, and Latin itself.
_LETTERS: Final = {
    **dict(
        zip(
            map(
                ord,
                "\u0430\u0432\u0441\u0501\u0435\u050d\u04bb\u043d\u0456\u0458\u043a\u04cf\u043c\u043e\u0440\u051b\u0433\u0455\u0442\u0475\u051d\u0445\u0443",
            ),
            "abcdeghhijklmopqrstvwxy",
            strict=True,
        )
    ),
    **dict(
        zip(
            map(ord, "\u03b1\u03b2\u03b5\u03b7\u03b9\u03ba\u03bd\u03bf\u03c1\u03c4\u03c5\u03c7\u03b3"),
            "abenikvoptuxy",
            strict=True,
        )
    ),
    **dict(zip(map(ord, "\u0585\u057d\u0581\u0570\u0578\u057c"), "oughnn", strict=True)),
    **dict(zip(map(ord, "\u0131\u0251\u0261"), "iag", strict=True)),
}
#: Characters without a glyph that are no format characters: fillers and variation selectors.
_BLANK: Final = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {
    chr(c) for c in range(0xFE00, 0xFE10)
}
_WORD: Final = re.compile(r"[^\W\d_]+")
_SCRIPTS: Final = frozenset({"LATIN", "CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC"})


def hidden(name: str) -> str:
    """Return the first character of a name that nobody sees, or that only looks like a blank; empty when all are seen."""
    if name.isascii():
        return ""
    return next((char for char in name if _is_hidden(char)), "")


def _is_hidden(char: str) -> bool:
    category = unicodedata.category(char)
    return category == "Cf" or char in _BLANK or (category == "Zs" and char != " ")


def mixed_scripts(name: str) -> str:
    """Return a letter of a word that also has letters of another script, one that is not Latin; or nothing."""
    if name.isascii():
        return ""
    for word in _WORD.findall(name):
        by_script: dict[str, str] = {}
        for char in word:
            script = unicodedata.name(char, "").partition(" ")[0]
            if script in _SCRIPTS:
                by_script.setdefault(script, char)
        if len(by_script) > 1:
            return next(char for script, char in by_script.items() if script != "LATIN")
    return ""


def _seen(name: str) -> str:
    """Return what a name looks like, the same for all that look so."""
    if name.isascii():
        return name.lower()
    shown = "".join(char for char in unicodedata.normalize("NFKC", name) if not _is_hidden(char))
    return unicodedata.normalize("NFKC", shown.casefold()).translate(_LETTERS)


def alike(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield pairs of names that look alike, the earlier one first."""
    first: dict[str, str] = {}
    for name in names:
        other = first.setdefault(_seen(name), name)
        if other != name:
            yield other, name
