"""Words of many languages that mean the same to somebody who instructs a model, as read from ``concepts.txt``."""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from typing import NamedTuple

__all__ = ["SMALL", "UNSPACED", "Lexicon", "lexicon", "plain"]

#: Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana, ideographs, Hangul.
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7a3"
)
_IN_UNSPACED = re.compile(f"[{UNSPACED}]")
#: A stem is looked for in this many first letters of a word, and none is shorter than three.
_LONGEST_STEM, _SHORTEST_STEM = 14, 3

#: The small words of English, which hold sentences together.
SMALL = frozenset(
    "i me my mine we us our you your yours yourself he him his she her it its they them their this that these those"
    " who what which where when why how a an the and or but nor so if then than because while as until unless of at by"
    " for with about against between into through during after to from up down in out on off over under again am is are"
    " was were be been being have has had do does did doing will would can could should shall may might must no not"
    " don't doesn't didn't won't can't cannot never always only just also please let lets let's all any every each"
    " everything anything nothing something some more most other another same such own here there yes ok okay hi hello"
    " hey dear thanks thank want need like know think make get go tell help use using".split()
)


class Lexicon(NamedTuple):
    """What the words mean.

    Attributes:
        concepts: Names of the concepts; a word's meaning is an index into them.
        words: Meaning by word; a name that begins with ``=`` says which English word it stands for.
        stems: Meaning by the beginning of a word.
        phrases: By first word, the rest of each phrase and its meaning; longest first.
        inside: Words of scripts without spaces, as one pattern; their meaning is in ``words``.
    """

    concepts: tuple[str, ...]
    words: dict[str, str]
    stems: dict[str, str]
    phrases: dict[str, tuple[tuple[tuple[str, ...], str], ...]]
    inside: str

    def meaning(self, word: str) -> str:
        """Return the name of a word's concept, ``=word`` for its English twin, or the empty string."""
        found = self.words.get(word)
        if found is not None:
            return found
        for length in range(min(len(word), _LONGEST_STEM), _SHORTEST_STEM - 1, -1):
            found = self.stems.get(word[:length])
            if found is not None:
                return found
        bare = plain(word)
        return self.meaning(bare) if bare != word else ""


def plain(word: str) -> str:
    """Return the word without accents: people leave them out.

    >>> plain("règles")
    'regles'
    """
    if word.isascii():
        return word
    return "".join(c for c in unicodedata.normalize("NFD", word) if not unicodedata.combining(c))


@cache
def lexicon() -> Lexicon:
    """Return the lexicon; it is read once."""
    # Reading files of a package takes longer to import than everything else here.
    from importlib import resources

    concepts: list[str] = []
    words: dict[str, str] = {}
    stems: dict[str, str] = {}
    phrases: dict[str, list[tuple[tuple[str, ...], str]]] = {}
    name = ""
    source = resources.files("aisecure.detect.injection").joinpath("concepts.txt").read_text("utf-8")
    for line in source.splitlines():
        if line.startswith("#") or not line:
            continue
        if line.startswith("["):
            name = line[1:-1]
            if not name.startswith("="):
                concepts.append(name)
            continue
        for entry in line.lower().split():
            if entry.endswith("*"):
                stems.setdefault(entry[:-1], name)
            elif "_" in entry and entry[0] != "<" and not _IN_UNSPACED.search(entry):
                first, *rest = entry.split("_")
                phrases.setdefault(first, []).append((tuple(rest), name))
            else:
                words.setdefault(entry, name)
                if not entry.isascii() and not _IN_UNSPACED.search(entry):
                    words.setdefault(plain(entry), name)
    inside = sorted((word for word in words if _IN_UNSPACED.search(word)), key=len, reverse=True)
    return Lexicon(
        tuple(concepts),
        words,
        stems,
        {first: tuple(sorted(rest, key=lambda one: -len(one[0]))) for first, rest in phrases.items()},
        "|".join(map(re.escape, inside)),
    )
