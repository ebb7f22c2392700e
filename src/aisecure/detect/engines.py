"""Names and places, which no pattern finds: what an engine for named entities is, and how its answers join those of patterns.

An engine is asked about one sentence at a time, whole texts and streams alike, so that both get the same answer. Where a pattern has
found something, the pattern is right: it has looked at check digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from aisecure.decisions import Finding
from aisecure.detect.expressions import lazy
from aisecure.detect.scan import Hit, Scan
from aisecure.errors import Unavailable

__all__ = ["LONGEST_SENTENCE", "Asked", "EntityEngine", "NamedScan"]

#: Of a text without the end of a sentence, so much is looked at together.
LONGEST_SENTENCE = 1000
#: What a pattern found is shown to engines as it is up to this length; longer (keys, tokens) it parts a sentence.
_LONGEST_SHOWN = 200

_END = lazy(r"[.!?…]{1,3}[\"')\]”’]{0,2}\s|\n[ \t\r]*\n|[。！？]")  # noqa: RUF001
# A full stop after one of these ends no sentence.
_ABBREVIATION = lazy(
    r"(?:(?<![^\W_])[^\W\d_]|\b(?:dr|mr|mrs|ms|mx|prof|st|sr|jr|rev|hon|gen|col|capt|lt|sgt|no|nr|vs|cf|inc|ltd|co|corp|dept|approx|fig|hr|fr|hrn"
    r"|mme|mlle|sra|srta|dott|sig|bzw|usw|etc))\.\Z",
    re.IGNORECASE,
)
_BLANK = lazy(r"\s")


@runtime_checkable
class EntityEngine(Protocol):
    """Finds named entities."""

    @property
    def kinds(self) -> frozenset[str]:
        """What it may find, such as ``pii.person``."""

    def find(self, text: str) -> Iterable[Finding]:
        """Return what is in a text of at most some thousand characters; offsets are code points. It is asked by many threads."""


class Asked(NamedTuple):
    """An engine as a detector uses it: which of its kinds count, from which score each, under whose name."""

    engine: EntityEngine
    thresholds: Mapping[str, float]
    detector: str


class NamedScan:
    """A `Scan` whose plain text engines look at too.

    Args:
        scan: Finds by patterns; it keeps what it finds.
        engines: Who is asked.
    """

    __slots__ = ("_base", "_engines", "_hits", "_scan", "_text")

    def __init__(self, scan: Scan, engines: Sequence[Asked]) -> None:
        self._scan = scan
        self._engines = engines
        self._text = ""  # from the beginning of a sentence on
        self._base = 0  # its offset in the whole text
        self._hits: list[Hit] = []  # in it

    def pass_on(self, chunk: str) -> str | None:
        """Return None: no piece passes unlooked at."""
        return None

    def feed(self, chunk: str) -> list[str | Hit]:
        """Take a piece of the text.

        Raises:
            Unavailable: An engine failed.
        """
        return self._advance(self._scan.feed(chunk), final=False)

    def finish(self) -> list[str | Hit]:
        """Say that the text is complete.

        Raises:
            Unavailable: An engine failed.
        """
        return self._advance(self._scan.finish(), final=True)

    def _advance(self, pieces: list[str | Hit], *, final: bool) -> list[str | Hit]:
        self._text += "".join([piece if isinstance(piece, str) else piece.value for piece in pieces])
        self._hits += [piece for piece in pieces if isinstance(piece, Hit)]
        out: list[str | Hit] = []
        start = used = 0
        while start < len(self._text):
            end = self._sentence_end(start, used, final=final)
            if end is None:
                break
            inside = used
            while inside < len(self._hits) and self._hits[inside].start - self._base < end:
                inside += 1
            out += self._sentence(start, end, self._hits[used:inside])
            start, used = end, inside
        self._text = self._text[start:]
        self._base += start
        del self._hits[:used]
        return out

    def _sentence_end(self, start: int, used: int, *, final: bool) -> int | None:
        """Return the end of the sentence that begins here, or None while it is not known. Only the text decides."""
        text = self._text
        limit = start + LONGEST_SENTENCE
        end = None
        for found in _END.finditer(text, start, limit):
            stop = found.start() + 1
            if text[found.start()] != "." or not _ABBREVIATION.search(text, max(start, stop - 12), stop):
                end = found.end()
                break
        if end is None and len(text) >= limit:
            blank = next((place for place in range(limit - 1, start, -1) if _BLANK.match(text, place)), None)
            end = limit if blank is None else blank + 1
        if end is None:
            return len(text) if final else None
        # What a pattern found is not cut.
        for hit in self._hits[used:]:
            low, high = hit.start - self._base, hit.start - self._base + len(hit.value)
            if low >= end:
                break
            end = max(end, high)
        return end

    def _sentence(self, start: int, end: int, hits: list[Hit]) -> Iterator[str | Hit]:
        taken = [(hit.start - self._base, hit.start - self._base + len(hit.value)) for hit in hits]
        named = sorted(
            [
                *hits,
                *(
                    Hit(kind, self._base + low, self._base + high, score, detector, self._text[low:high])
                    for low, high, kind, score, detector in _free(
                        self._asked(start, end, taken), taken, self._text
                    )
                ),
            ],
            key=lambda hit: hit.start,
        )
        position = start
        for hit in named:
            low = hit.start - self._base
            if low > position:
                yield self._text[position:low]
            yield hit
            position = low + len(hit.value)
        if position < end:
            yield self._text[position:end]

    def _asked(self, start: int, end: int, taken: list[tuple[int, int]]) -> list[_Entity]:
        """Return what engines find in a sentence, longest first."""
        entities: list[_Entity] = []
        position = start
        for low, high in [*((a, b) for a, b in taken if b - a > _LONGEST_SHOWN), (end, end)]:
            part = self._text[position:low]
            if any(map(str.isalpha, part)):
                for asked in self._engines:
                    entities += [
                        _Entity(position + one.start, position + one.end, one.kind, one.score, asked.detector)
                        for one in _found(asked, part)
                    ]
            position = high
        entities.sort(key=lambda one: (one.start - one.end, -one.score, one.start, one.kind))
        return entities


class _Entity(NamedTuple):
    start: int
    end: int
    kind: str
    score: float
    detector: str


def _found(asked: Asked, text: str) -> list[Finding]:
    """Return what an engine finds and is to count.

    Raises:
        Unavailable: It failed, or answered with what is none of the text.
    """
    try:
        findings = [
            finding
            for finding in asked.engine.find(text)
            if finding.score >= asked.thresholds.get(finding.kind, 2.0)
        ]
        right = all(0 <= finding.start < finding.end <= len(text) for finding in findings)
    except Exception as err:  # noqa: BLE001  (whatever it is, the text was not looked at)
        # Not as the cause: it may quote the text.
        name = type(err).__name__
    else:
        if right:
            return findings
        name = "offsets outside of the text"
    raise Unavailable(f"An engine for names failed ({name}).", code="unavailable.engine")


def _free(entities: list[_Entity], taken: list[tuple[int, int]], text: str) -> list[_Entity]:
    """Return the entities, longer ones first, without what is taken already; what is left of one counts where it has letters."""
    taken = list(taken)
    out = []
    for entity in entities:
        for low, high in _without(entity.start, entity.end, taken):
            part = _trimmed(text, low, high)
            whole = part == (entity.start, entity.end)
            if part[0] < part[1] and (whole or sum(map(str.isalpha, text[part[0] : part[1]])) > 1):
                out.append(entity._replace(start=part[0], end=part[1]))
                taken.append(part)
    return out


def _trimmed(text: str, low: int, high: int) -> tuple[int, int]:
    """Return a place without the blanks and signs round it; an abbreviation keeps its full stop."""
    while low < high and not text[low].isalnum():
        low += 1
    while high > low and not text[high - 1].isalnum() and text[high - 1] != ".":
        high -= 1
    return low, high


def _without(start: int, end: int, taken: list[tuple[int, int]]) -> list[tuple[int, int]]:
    parts = [(start, end)]
    for low, high in taken:
        parts = [
            part
            for a, b in parts
            for part in (((a, min(b, low)), (max(a, high), b)) if low < b and a < high else ((a, b),))
            if part[0] < part[1]
        ]
    return parts
