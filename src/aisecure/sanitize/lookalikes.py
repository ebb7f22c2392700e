"""Words that look like others: letters of several scripts mixed, one script dressed up as another, letters as drawings.

After Unicode Technical Standard #39, with its table of confusable characters.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

from aisecure.sanitize.surrogates import checked

__all__ = ["Confusable", "confusables", "skeleton"]

#: Circled and squared letters are symbols to Unicode, and are read as letters.
_DRAWN = "\u24b6-\u24e9\U0001f130-\U0001f149\U0001f150-\U0001f169\U0001f170-\U0001f189"
_WORD = re.compile(f"(?:[^\\W_]|[\u0300-\u036f{_DRAWN}])+")
_STYLED = re.compile(f"[{_DRAWN}\U0001d400-\U0001d7ff]")
#: Characters that nobody sees (UAX #44, Default_Ignorable_Code_Point).
_IGNORABLE = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff"
    "\uffa0\ufff0-\ufff8\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
#: Scripts that are written together (UTS #39 section 5.2, highly restrictive): Japanese, Chinese and Korean, with Latin.
_TOGETHER = frozenset({"LATIN", "CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "BOPOMOFO", "HANGUL"})
#: First words of names of letters that belong to no script of their own.
_NO_SCRIPT = frozenset({"", "MODIFIER", "LETTERLIKE", "COMBINING", "FEMININE", "MASCULINE", "SCRIPT"})
#: Names of quantities, proteins and particles end with one of these: ``sin\u03b1``, ``TNF\u03b1``.
_SUFFIXES = frozenset("\u03b1\u03b2\u03b3\u03b4\u03b5\u03ba\u03bb\u03bc\u03c3\u03c9")
#: Shorter words are units and formulas (``kΩ``) more often than disguises.
_SHORTEST = 3
#: Unicode has a million code points; a hostile text could otherwise fill the memory with all of them.
_REMEMBERED = 20_000


class Confusable(NamedTuple):
    """A word that looks like another.

    Attributes:
        kind: ``mixed_script`` when letters of several scripts make it up, ``whole_script`` when all its letters are of one
            script and look like another's, ``stylised`` when it is written in mathematical, circled or squared letters.
        start: First code point in the text.
        end: One past the last.
        reads_as: What a reader takes it for.
    """

    kind: str
    start: int
    end: int
    reads_as: str


@cache
def _prototypes() -> dict[int, str]:
    """Return what each confusable character looks like, by code point."""
    # Reading files of a package takes longer to import than everything else here.
    from importlib import resources

    table: dict[int, str] = {}
    source = resources.files("aisecure.sanitize").joinpath("confusables.txt").read_text("ascii")
    for line in source.splitlines():
        if not line.startswith("#"):
            prototype, _, letters = line.partition(":")
            looks = "".join(chr(int(point, 16)) for point in prototype.split())
            table.update((int(letter, 16), looks) for letter in letters.split())
    return table


def skeleton(text: str) -> str:
    r"""Return what a text looks like: two texts with one skeleton are confusable (UTS #39 section 4).

    It is for comparing, not for showing: ``m`` becomes ``rn``, and ``I``, ``1`` and ``l`` become one letter. Upper and
    lower case differ; fold the case first where names are compared without it.

    Raises:
        TypeError: ``text`` is no str.

    >>> skeleton("p\u0430ypal") == skeleton("paypal")
    True
    """
    shown = _IGNORABLE.sub("", unicodedata.normalize("NFD", checked(text)))
    return unicodedata.normalize("NFD", shown.translate(_prototypes()))


def confusables(text: str) -> list[Confusable]:
    r"""Return the words of a text that look like others, in order.

    Reported are only words that can be read in one script throughout, and no formulas: a Latin word that ends with one
    small Greek letter is none to wonder at. A word of one script that
    looks Latin is reported where the text has Latin words and no other word shows that its script is meant; texts in
    Russian or Greek stay unreported. What looks alike within one script (``rn`` and ``m``, ``l`` and ``1``) is not
    reported: compare `skeleton` for names.

    Args:
        text: Any str, of any length; the work is linear. Clean it first: hidden characters part words.

    Raises:
        TypeError: ``text`` is no str.

    >>> confusables("Log in at p\u0430ypal.")
    [Confusable(kind='mixed_script', start=10, end=16, reads_as='paypal')]
    """
    if not isinstance(text, str):
        raise TypeError("confusables takes a str; decode bytes first")
    if text.isascii():
        return []
    found: list[Confusable] = []
    dressed: dict[
        str, list[Confusable]
    ] = {}  # by script, as long as no other word shows that the script is meant
    meant: set[str] = set()
    has_latin = False
    for match in _WORD.finditer(text):
        word = match[0]
        if word.isascii():
            has_latin = has_latin or word.isalpha()
            continue
        if len(_STYLED.findall(word)) >= _SHORTEST:
            found.append(Confusable("stylised", *match.span(), unicodedata.normalize("NFKC", word)))
            continue
        scripts = set(map(_SCRIPTS.__getitem__, word)) - {""}
        if len(scripts) > 1 and not scripts <= _TOGETHER:
            reading = _mixed(word, scripts)
            if reading:
                found.append(Confusable("mixed_script", *match.span(), reading))
        elif scripts == {"LATIN"}:
            has_latin = True
        elif len(scripts) == 1 and scripts.isdisjoint(_TOGETHER):
            (script,) = scripts
            reading = _reading(word, "LATIN") if script not in meant else ""
            if not reading.isascii() or not reading:
                meant.add(script)
                dressed.pop(script, None)
            elif len(word) >= _SHORTEST:
                dressed.setdefault(script, []).append(Confusable("whole_script", *match.span(), reading))
    if has_latin:
        found += (one for ones in dressed.values() for one in ones)
    return sorted(found, key=lambda one: one.start)


class _Scripts(dict[str, str]):
    """The script of each letter, as the first word of its name, worked out when it is first seen."""

    def __missing__(self, character: str) -> str:
        if len(self) >= _REMEMBERED:
            self.clear()
        plain = unicodedata.normalize("NFKC", character)[:1]
        name = unicodedata.name(plain, "").partition(" ")[0] if plain.isalpha() else ""
        script = self[character] = "" if name in _NO_SCRIPT else name
        return script


_SCRIPTS = _Scripts()


def _mixed(word: str, scripts: set[str]) -> str:
    """Return a word of several scripts in the one that most of its letters have, or in another of them; or nothing."""
    letters = [_SCRIPTS[character] for character in word]
    if len(letters) - letters.count("") < _SHORTEST:
        return ""
    if word[-1] in _SUFFIXES and letters.count("GREEK") == 1:
        return ""
    # Latin first among equals: it is what others are made to look like.
    order = sorted(scripts, key=lambda script: (-letters.count(script), script != "LATIN", script))
    return next((reading for script in order if (reading := _reading(word, script))), "")


def _reading(word: str, script: str) -> str:
    """Return the word in letters of one script, or nothing where a letter looks like none of that script."""
    letters = []
    for character in unicodedata.normalize("NFD", word):
        if _SCRIPTS[character] in ("", script):
            letters.append(character)
            continue
        twins = _twins(script).get(_prototypes().get(ord(character), character), ())
        if not twins:
            return ""
        letters.append(next((one for one in twins if one.isupper() == character.isupper()), twins[0]))
    return unicodedata.normalize("NFC", "".join(letters))


@cache
def _twins(script: str) -> dict[str, tuple[str, ...]]:
    """Return the letters of a script by what they look like, the plainest first."""
    twins: dict[str, list[str]] = {}
    for point, prototype in sorted(_prototypes().items()):
        if _SCRIPTS[chr(point)] == script:
            twins.setdefault(prototype, []).append(chr(point))
    for prototypes in (set(_prototypes().values()), set(map(chr, range(128)))):
        for prototype in prototypes:
            if len(prototype) == 1 and _SCRIPTS[prototype] == script:
                twins.setdefault(prototype, []).insert(0, prototype)
    return {prototype: tuple(letters) for prototype, letters in twins.items()}
