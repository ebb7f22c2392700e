"""What is in a text that is read piece by piece: with line and column of each, and a pointer inside JSON.

The end of a file's name says whether it is JSON. Then each string is read as it is meant, without escapes, and its key is
its label. What is no valid JSON is looked at too.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Protocol

from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure.decisions import Finding
from aisecure.detect.scan import Engine, Hit, Scan

__all__ = ["JSON", "JSON_LINES", "Hits", "Seen", "ending", "hits_of"]

JSON, JSON_LINES = frozenset({".json"}), frozenset({".jsonl", ".ndjson"})


class Seen(NamedTuple):
    """A finding with its place for a person, both counted from 1, and what was found."""

    finding: Finding
    line: int
    column: int
    value: str


class Hits(Protocol):
    """Finds in one text."""

    def feed(self, chunk: str) -> Iterator[Seen]:
        """Take a piece, return what is known by now, in order."""

    def finish(self) -> Iterator[Seen]:
        """Return the rest."""


def hits_of(name: str, engine: Engine) -> Hits:
    """Return what finds in the text of a file of that name."""
    end = ending(name)
    if end in JSON_LINES:
        return _InJsonLines(engine)
    return _InJson(engine) if end in JSON else _InText(engine)


def ending(name: str) -> str:
    """Return the end of a file's name, in lower case."""
    return Path(name).suffix.lower()


class _InText:
    def __init__(self, engine: Engine) -> None:
        self._scan = Scan(engine, keep=True)
        self._line = self._column = 1

    def feed(self, chunk: str) -> Iterator[Seen]:
        return self._walk(self._scan.feed(chunk))

    def finish(self) -> Iterator[Seen]:
        return self._walk(self._scan.finish())

    def _walk(self, pieces: list[str | Hit]) -> Iterator[Seen]:
        for piece in pieces:
            text = piece if isinstance(piece, str) else piece.value
            if isinstance(piece, Hit):
                yield Seen(piece.finding(), self._line, self._column, text)
            newlines = text.count("\n")
            self._line += newlines
            self._column = len(text) - text.rfind("\n") if newlines else self._column + len(text)


class _InJson:
    def __init__(self, engine: Engine) -> None:
        self._values: list[str] = []
        self._inside = JsonText(_noting(engine, self._values))
        self._starts = array("Q", [0])  # of the lines that findings may still be in
        self._passed = 0  # lines before those
        self._length = 0

    def feed(self, chunk: str) -> Iterator[Seen]:
        at = chunk.find("\n")
        while at >= 0:
            self._starts.append(self._length + at + 1)
            at = chunk.find("\n", at + 1)
        self._length += len(chunk)
        self._inside.feed(chunk)
        yield from self._taken()
        done = bisect_right(self._starts, self._inside.open_from) - 1
        self._passed += done
        del self._starts[:done]

    def finish(self) -> Iterator[Seen]:
        self._inside.finish()
        return self._taken()

    def _taken(self) -> Iterator[Seen]:
        findings = self._inside.take()
        values = self._values[: len(findings)]
        del self._values[: len(findings)]
        for finding, value in zip(findings, values, strict=True):
            line = bisect_right(self._starts, finding.start)
            yield Seen(finding, self._passed + line, finding.start - self._starts[line - 1] + 1, value)


class _InJsonLines:
    """A JSON text a line; one that is wrong costs the others nothing."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._line = _InJson(engine)
        self._number = 1
        self._start = self._here = 0

    def feed(self, chunk: str) -> Iterator[Seen]:
        for number, part in enumerate(chunk.split("\n")):
            if number:
                yield from self.finish()
                self._line = _InJson(self._engine)
                self._number += 1
                self._here += 1
                self._start = self._here
            yield from self._placed(self._line.feed(part))
            self._here += len(part)

    def finish(self) -> Iterator[Seen]:
        return self._placed(self._line.finish())

    def _placed(self, several: Iterator[Seen]) -> Iterator[Seen]:
        for finding, _, column, value in several:
            start, end = self._start + finding.start, self._start + finding.end
            yield Seen(replace(finding, start=start, end=end), self._number, column, value)


class _Noted:
    """A filter that changes nothing and notes what is in one string of a JSON text."""

    def __init__(self, scan: Scan, pointer: Callable[[], str], values: list[str]) -> None:
        self._scan = scan
        self._pointer = pointer
        self._values = values
        self._findings: list[Finding] = []

    def feed(self, chunk: str) -> str:
        return self._note(self._scan.feed(chunk))

    def finish(self) -> str:
        return self._note(self._scan.finish())

    def _note(self, pieces: list[str | Hit]) -> str:
        for piece in pieces:
            if isinstance(piece, Hit):
                self._findings.append(replace(piece.finding(), path=self._pointer()))
                self._values.append(piece.value)
        return ""

    @property
    def findings(self) -> tuple[Finding, ...]:
        return tuple(self._findings)


def _noting(engine: Engine, values: list[str]) -> Callable[[JsonPlace], _Noted]:
    @lru_cache(maxsize=1000)
    def spell(key: str, name: str) -> str:
        """Return a key without what is in it: a pointer is shown, and who asked not to see values is not shown this one."""
        scan = Scan(engine, context=name)
        pieces = (*scan.feed(key), *scan.finish())
        return "".join(
            piece if isinstance(piece, str) else f"[{piece.kind.rpartition('.')[2].upper()}]"
            for piece in pieces
        )

    def make(place: JsonPlace) -> _Noted:
        return _Noted(Scan(engine, keep=True, context=place.name), lambda: place.pointer(spell), values)

    return make
