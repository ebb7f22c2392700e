"""Finds identifiers of many kinds at once: by shape in a dictionary, then by check digits, then by what is said.

A block is read as groups of letters and digits with single separators between. A group, or several in a row, have a
shape (``536-90-4399`` is ``999-99-9999``), and only entities of exactly that shape are asked. So the time does not
depend on how many kinds there are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import product
from typing import NamedTuple

from aisecure.detect.entity import Entity
from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import OTHERWISE, Said, Window

__all__ = ["identifiers"]

_SEPARATORS = " -./_\xa0‐‑–"  # noqa: RUF001
_AS_HYPHENS = str.maketrans(dict.fromkeys(_SEPARATORS, "-"))
#: Groups of letters and digits, with a digit among them.
_RUN = lazy(r"(?<![9Aa])(?=[Aa-]*9)[9Aa]++(?:-[9Aa]++)*+")
_FORM = lazy("9")

#: No number that counts by its label alone has fewer digits.
_FEWEST_LOOSE = 4
#: More groups in a row than any identifier has.
_MOST_GROUPS = 9

#: What is taken off the score of a number that is called something else, or that goes on.
_CALLED_OTHERWISE = 0.4
_GOES_ON = 0.4


#: Outlines of which the plan is remembered; longer ones hardly come twice.
_REMEMBERED = 4096
_LONGEST_PLANNED = 100


class _Step(NamedTuple):
    """Groups in a block that have the shape of some entities."""

    start: int
    end: int
    entities: list[Entity]
    has_lower: bool


class _Plan(NamedTuple):
    """What is to be tried in a block.

    Attributes:
        steps: What has a shape.
        loose: Groups, each with start and end, in which a number may be that counts by its label alone.
    """

    steps: list[_Step]
    loose: list[list[tuple[int, int]]]


def identifiers(entities: Iterable[Entity]) -> Recognizer:
    """Return the recogniser of these entities; earlier ones are preferred where scores are equal."""
    entities = tuple(entities)
    table = _Table(entities)
    labels: dict[str, tuple[str, ...]] = {}
    for entity in entities:
        labels[entity.kind] = labels.get(entity.kind, ()) + entity.labels
    return Recognizer(tuple(dict.fromkeys(each.kind for each in entities)), _FORM, table.find, labels)


class _Table:
    """Entities by shape, and the beginnings of shapes, so that most numbers are left after one look."""

    __slots__ = ("_beginnings", "_lengths", "_loose", "_planned", "_shapes")

    def __init__(self, entities: tuple[Entity, ...]) -> None:
        self._planned = lru_cache(_REMEMBERED)(self._plan)
        self._shapes: dict[str, list[Entity]] = {}
        self._beginnings: set[str] = set()
        self._lengths: dict[int, list[Entity]] = {}
        self._loose: dict[str, list[tuple[re.Pattern[str], Entity]]] = {}
        for entity in entities:
            for shape in entity.shapes:
                for one in _spelled_out(shape):
                    known = self._shapes.setdefault(one, [])
                    if entity not in known:
                        known.append(entity)
                    parts = one.split("-")
                    self._beginnings.update("-".join(parts[:count]) for count in range(1, len(parts)))
            if entity.length:
                self._lengths.setdefault(entity.length, []).append(entity)
            if entity.loose:
                pattern = lazy(rf"(?:{entity.loose})(?![A-Za-z0-9])", re.IGNORECASE | re.ASCII)
                self._loose.setdefault(entity.kind, []).append((pattern, entity))

    def find(self, window: Window) -> Iterator[Candidate]:
        form, at, text = window.outline, window.at, window.text
        plan = self._planned(form) if len(form) <= _LONGEST_PLANNED and form.isascii() else self._plan(form)
        # In the middle of a token nothing begins at once.
        first = 1 if at and text[at - 1].isalnum() and text[at - 1].isascii() else 0
        for step in plan.steps:
            if step.start >= first:
                yield from _judged(window, step, at)
        for groups in plan.loose:
            yield from self._find_loose(window, groups)

    def _plan(self, form: str) -> _Plan:
        """Return what is to be tried in every block of this outline."""
        classes = form.translate(_AS_HYPHENS)
        steps: list[_Step] = []
        loose: list[list[tuple[int, int]]] = []
        for run in _RUN.finditer(classes):
            groups: list[tuple[int, int]] = []
            start = run.start()
            for group in run.group().split("-"):
                groups.append((start, start + len(group)))
                start += len(group) + 1
            for first, (start, end) in enumerate(groups):
                shape = classes[start:end]
                upper = shape.upper()
                known = self._shapes.get(upper, []) + self._lengths.get(end - start, [])
                if known:
                    steps.append(_Step(start, end, known, shape != upper))
                for low, high in groups[first + 1 : first + _MOST_GROUPS]:
                    if upper not in self._beginnings:
                        break
                    shape = f"{shape}-{classes[low:high]}"
                    upper = shape.upper()
                    if upper in self._shapes:
                        steps.append(_Step(start, high, self._shapes[upper], shape != upper))
            if self._loose and run.group().count("9") >= _FEWEST_LOOSE:
                loose.append(groups)
        return _Plan(steps, loose)

    def _find_loose(self, window: Window, groups: list[tuple[int, int]]) -> Iterator[Candidate]:
        end = -1
        after_letters = True
        at = window.at
        for start, stop in ((at + low, at + high) for low, high in groups):
            # In the middle of a number nothing begins.
            begins = after_letters and start >= end
            after_letters = window.text[start:stop].isalpha()
            for name in window.said(start).nearest if begins else ():
                for pattern, entity in self._loose.get(name, ()):
                    found = pattern.match(window.text, start)
                    if found is not None and any(map(str.isdecimal, found.group())):
                        end = found.end()
                        yield Candidate(start, end, entity.kind, entity.said - 0.05)


def _judged(window: Window, step: _Step, at: int) -> Iterator[Candidate]:
    text = window.text
    start, end = at + step.start, at + step.end
    if not _stands_by_itself(text, start, end):
        return
    compact = "".join(filter(str.isalnum, text[start:end])).upper()
    said: Said | None = None
    alone = window.alone and not text[:start].strip() and not text[end:].strip()
    for entity in step.entities:
        if entity.check is not None and not entity.check(compact):
            continue
        if said is None:
            said = window.said(start)
        if entity.kind in said.nearest:
            score = entity.said
        elif entity.kind in said.near:
            score = max(entity.bare, entity.said - 0.15)
        else:
            score = entity.bare
            if step.has_lower and entity.bare < entity.said:
                score -= _GOES_ON  # words of programs look like that
            if said.nearest:
                score -= _CALLED_OTHERWISE
            elif alone:
                score = max(score, entity.alone)
        if score > 0:
            yield Candidate(start, end, entity.kind, score)


# What stands before and after a part of something longer: a version, a file name, an amount, a date.
_LONGER_BEFORE = lazy(r"(?:[A-Za-z0-9][-.]|[0-9][/,:+]|[_$€£%])\Z")
_LONGER_AFTER = lazy(r"[-.][A-Za-z0-9]|[/,][0-9]|[_%]")


def _stands_by_itself(text: str, start: int, end: int) -> bool:
    return not (_LONGER_BEFORE.search(text, max(0, start - 2), start) or _LONGER_AFTER.match(text, end))


def _spelled_out(shape: str) -> Iterator[str]:
    """Return the shape once for every choice of its ``X``."""
    choices = ["9A" if character == "X" else character for character in shape]
    return map("".join, product(*choices))


__all__ += ["OTHERWISE"]
