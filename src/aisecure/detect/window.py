"""What a recogniser looks at: one block of a text, what was said shortly before it, and what that means.

A label is a word or phrase that says what a number is: "passport no.", "MRN", ``"iban":``. Labels are looked up by
word in one dictionary for all kinds, so that a hundred kinds with five labels each cost as little as one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

__all__ = ["OTHERWISE", "REACH", "Labels", "Said", "Window", "outline"]

#: How far before a value its label may end.
REACH = 48
#: A phrase that ends there may begin so much earlier; no further than a window has context.
_LOOK_BACK = 64

#: Stands for labels of numbers that are no personal data: orders, invoices, parts.
OTHERWISE = "otherwise"

#: A label that another number follows says nothing of the next one.
_TAKEN = re.compile(r"(?:\D*+\d){4}")
_WORD = re.compile(r"[^\W\d_]+")


_OUTLINE = str.maketrans(
    dict.fromkeys("0123456789", "9")
    | {chr(code): "A" for code in range(ord("A"), ord("Z") + 1)}
    | {chr(code): "a" for code in range(ord("a"), ord("z") + 1)}
)


def outline(text: str) -> str:
    """Return what a text looks like: a 9 for every digit, an A for every capital, an a for every small letter, the rest as it is.

    Few outlines are in use, so what follows from one is remembered.

    >>> outline("2026-11-24 Wd40")
    '9999-99-99 Aa99'
    """
    return text.translate(_OUTLINE)


class Said(NamedTuple):
    """Names of the labels before a value: those of the nearest, if no other number follows it, and of all within reach."""

    nearest: frozenset[str]
    near: frozenset[str]


_NOTHING = Said(frozenset(), frozenset())

_Phrases = dict[str, list[tuple[tuple[str, ...], frozenset[str]]]]


class Labels:
    """Phrases by their first word.

    Args:
        phrases: Phrases by name, in lower case; words of a phrase may stand apart by anything but letters, or be written
            as one (``patientId``).
    """

    __slots__ = ("_by_first",)

    def __init__(self, phrases: Mapping[str, Iterable[str]]) -> None:
        names: dict[tuple[str, ...], set[str]] = {}
        for name, several in phrases.items():
            for phrase in several:
                words = tuple(_WORD.findall(phrase.lower()))
                if not words:
                    raise ValueError(f"a label of {name} has no letters")
                names.setdefault(words, set()).add(name)
                if len(words) > 1:
                    names.setdefault(("".join(words),), set()).add(name)
        self._by_first: _Phrases = {}
        for words in sorted(names, key=len, reverse=True):
            self._by_first.setdefault(words[0], []).append((words[1:], frozenset(names[words])))

    def find(self, text: str) -> list[tuple[int, frozenset[str]]]:
        """Return where each label ends, and its names; of labels with the same first word the longest."""
        by_first = self._by_first
        # Of text that is not ASCII, lower case can have other words than upper case.
        words = _WORD.findall(text.lower()) if text.isascii() else [w.lower() for w in _WORD.findall(text)]
        if by_first.keys().isdisjoint(words):
            return []
        hits: list[tuple[int, frozenset[str]]] = []
        free = 0
        for index, word in enumerate(words):
            if word not in by_first or index < free:
                continue
            for rest, names in by_first[word]:
                free = index + 1 + len(rest)  # the words of a phrase are no labels of their own
                if tuple(words[index + 1 : free]) == rest:
                    hits.append((free - 1, names))
                    break
            else:
                free = index + 1
        if not hits:
            return []
        ends = [found.end() for found in _WORD.finditer(text)]
        return [(ends[last], names) for last, names in hits]


class Window:
    """One block of a text with up to `blocks.CONTEXT` characters before it.

    Attributes:
        text: Context and block; digits of all scripts and full-width forms are ASCII, and nothing invisible is left.
        at: Where the block begins.
        outline: What the block looks like; see `outline`.
        alone: Whether the block is all there is: a cell of a table, a field of a form.
    """

    __slots__ = ("_labels", "_lower", "_said", "_start", "alone", "at", "outline", "text")

    def __init__(self, text: str, at: int, form: str, labels: Labels, *, alone: bool = False) -> None:
        self.text = text
        self.at = at
        self.outline = form
        self.alone = alone
        self._labels = labels
        self._lower = ""
        self._start = -1
        self._said = _NOTHING

    @property
    def lower(self) -> str:
        """The text in lower case; of text that is not ASCII it may have another length."""
        if not self._lower:
            self._lower = self.text.lower()
        return self._lower

    def said(self, start: int) -> Said:
        """Return the labels that end at most `REACH` characters before ``start``."""
        if start == self._start:
            return self._said
        low = max(0, start - _LOOK_BACK)
        nearest: frozenset[str] = frozenset()
        near: frozenset[str] = frozenset()
        for end, names in self._labels.find(self.text[low:start]):
            if start - low - end <= REACH:
                nearest = frozenset() if _TAKEN.match(self.text, low + end, start) else names
                near |= names
        self._start = start
        self._said = Said(nearest, near) if near else _NOTHING
        return self._said
