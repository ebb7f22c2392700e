"""Texts of files without what was found in them; JSON stays JSON."""

from __future__ import annotations

from collections import Counter
from typing import Protocol

from aisecure._json_lines import JsonLines
from aisecure._json_place import JsonPlace
from aisecure._json_text import JsonText
from aisecure.cli._pii_hits import JSON, JSON_LINES, ending
from aisecure.decisions import Finding
from aisecure.detect.placeholders import Placeholders
from aisecure.detect.redact import Redactor
from aisecure.detect.scan import Engine, Hit, Scan

__all__ = ["Replacing", "replacing"]


class Replacing(Protocol):
    """Replaces in one text."""

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change."""

    def finish(self) -> str:
        """Return the rest."""


def replacing(name: str, redactor: Redactor, counts: Counter[str]) -> Replacing:
    """Return what replaces in the text of a file of that name.

    Args:
        name: Of the file; its end says whether it is JSON.
        redactor: What finds and replaces.
        counts: Gets how many of each kind there were.
    """
    engine = Engine(source for detector in redactor.detectors for source in detector.sources)

    def make(place: JsonPlace) -> _InText:
        return _InText(Scan(engine, context=place.name), redactor, counts)

    end = ending(name)
    if end in JSON_LINES:
        return JsonLines(make)
    return JsonText(make) if end in JSON else _InText(Scan(engine), redactor, counts)


class _InText:
    """As the redactor's own filter, but it counts findings and does not keep them: a file may have millions."""

    findings: tuple[Finding, ...] = ()

    def __init__(self, scan: Scan, redactor: Redactor, counts: Counter[str]) -> None:
        self._scan = scan
        self._redactor = redactor
        self._counts = counts

    def feed(self, chunk: str) -> str:
        return "".join(map(self._replaced, self._scan.feed(chunk)))

    def finish(self) -> str:
        return "".join(map(self._replaced, self._scan.finish()))

    def _replaced(self, piece: str | Hit) -> str:
        if isinstance(piece, str):
            return piece
        self._counts[piece.kind] += 1
        return self._redactor.replacement(piece.kind, piece.value, Placeholders())
