"""Finds entities in a text that arrives in pieces; a whole text is the case of one piece.

The text is taken apart in steps that depend on the text alone, never on where the pieces were cut:

1. Key blocks (`pem`) divide it into regions.
2. A region has blocks that no entity crosses (`blocks`), looked at in windows of bounded size.
3. Inside a window every recogniser proposes candidates, and overlapping candidates become one hit.
4. A token that fills its window is an open run: it goes on, however long, until its alphabet ends.

Each step waits until the characters it needs are known, so the answer is the same for every cutting. What
waits is shorter than 512 characters; key blocks and open runs are dropped as they come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from aisecure.decisions import Finding
from aisecure.detect import pem
from aisecure.detect.blocks import (
    CONTEXT,
    HARD,
    LOOKAHEAD,
    PASSWORD,
    PASSWORD_LABEL,
    PASSWORD_MAX,
    SHORTEST,
    STRIDE,
    TOKEN,
    WINDOW,
    WORTH_A_LOOK,
    calm,
    may_go_on,
    says_password,
    tail_word,
    with_lead,
)
from aisecure.detect.disguise import fold
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import OTHERWISE, Labels, Window, outline

__all__ = ["Engine", "Hit", "Scan", "Source"]


class Source(NamedTuple):
    """A recogniser as a detector uses it: which of its kinds count, from which score each, under whose name."""

    recognizer: Recognizer
    thresholds: Mapping[str, float]
    detector: str


@dataclass(slots=True)
class Hit:
    """An entity in its place. While it is an open run ``end`` is None.

    ``value`` is the text; empty for an open run unless the scan was told to keep those.
    """

    kind: str
    start: int
    end: int | None
    score: float
    detector: str
    value: str

    def finding(self) -> Finding:
        """Return the hit without its text; one that is still open counts as empty."""
        end = self.start if self.end is None else self.end
        return Finding(self.kind, self.start, end, self.score, self.detector)

    def __repr__(self) -> str:
        return f"Hit({self.kind!r}, {self.start}, {self.end})"


class _Found(NamedTuple):
    """Candidates that overlap, as one span named by the best of them."""

    start: int
    end: int
    kind: str
    score: float
    detector: str
    run: re.Pattern[str] | None


#: Stands between the context and the text.
_SAID = ": "

_Finder = Callable[[Window], Iterable[Candidate]]

#: What numbers are called that are no personal data.
CALLED_OTHERWISE = (
    "order", "invoice", "batch", "lot", "ref", "reference", "case", "ticket", "tracking", "part", "sequence", "version",
    "build", "commit", "revision", "page", "chapter", "section", "line", "isbn", "issn", "doi", "rfc", "sku", "model",
    "cpt", "icd", "hcpcs", "ndc", "loinc", "snomed", "drg", "nct", "trial", "protocol", "room", "suite", "apt", "floor",
    "port", "pid", "uid", "gid", "tid", "offset", "size", "bytes", "length", "count", "total", "amount", "price", "usd", "eur",
    "timestamp", "hash", "checksum", "digest", "issue", "pr", "bug", "error", "errno", "exit", "status", "seq", "rev", "id",
)  # fmt: skip


#: What is kept of a text that passed before it is forgotten; to forget costs more than to keep.
_MUCH = 2048

#: The threshold of a kind that nobody asked for.
_NEVER = 2.0


#: A recogniser that is to be asked, in its order of preference.
_Asked = tuple[int, _Finder, Mapping[str, float], str]

#: Outlines of which it is remembered who is to be asked.
_REMEMBERED = 4096
#: Longer ones hardly come twice.
_LONGEST_REMEMBERED = 100


class Engine:
    """Recognisers with what they must be asked about; shared by any number of scans.

    Args:
        sources: In order of preference: where length and score are equal, the earlier one wins.
    """

    __slots__ = ("_labels", "_remembered", "_sources", "key_blocks")

    def __init__(self, sources: Iterable[Source]) -> None:
        sources = tuple(sources)
        self.key_blocks = next((s.detector for s in sources if pem.KIND in s.thresholds), None)
        self._sources = sources
        self._remembered = lru_cache(_REMEMBERED)(self._asked)
        phrases: dict[str, tuple[str, ...]] = {OTHERWISE: CALLED_OTHERWISE}
        for source in sources:
            for name, several in source.recognizer.labels.items():
                phrases[name] = phrases.get(name, ()) + several
        self._labels = Labels(phrases)

    def find(self, text: str, at: int, *, alone: bool = False) -> Sequence[_Found]:
        """Return what is in a block of text that begins at ``at``, in order, not overlapping."""
        offsets = None
        if not text.isascii():
            text, at, offsets = fold(text, at)
        form = outline(text[at:])
        # Letters of other scripts are themselves in an outline, and personal data is not remembered.
        few = len(form) <= _LONGEST_REMEMBERED and form.isascii()
        asked = self._remembered(form) if few else self._asked(form)
        if not asked:
            return ()
        window = Window(text, at, form, self._labels, alone=alone)
        proposed = [
            (candidate, -order, detector)
            for order, find, thresholds, detector in asked
            for candidate in find(window)
            if candidate.score >= thresholds.get(candidate.kind, _NEVER) and candidate.start >= at
        ]
        if not proposed:
            return ()
        merged = _merge(proposed)
        if offsets is None:
            return merged
        return [one._replace(start=offsets[one.start], end=offsets[one.end - 1] + 1) for one in merged]

    def _asked(self, form: str) -> tuple[_Asked, ...]:
        """Return who is to be asked about a block of this outline."""
        return tuple(
            (order, source.recognizer.find, source.thresholds, source.detector)
            for order, source in enumerate(self._sources)
            if source.recognizer.form is None or source.recognizer.form.search(form)
        )


def _merge(proposed: list[tuple[Candidate, int, str]]) -> list[_Found]:
    """Join candidates that overlap: the whole of them is covered, so that no tail of any is left over.

    The kind is that of the longest; then of the highest score; then of the earliest recogniser.
    """
    proposed.sort(key=lambda one: (one[0].start, one[0].end))
    merged: list[_Found] = []
    group: list[tuple[Candidate, int, str]] = []
    end = -1
    for one in proposed:
        if group and one[0].start >= end:
            merged.append(_joined(group, end))
            group = []
        end = max(end, one[0].end) if group else one[0].end
        group.append(one)
    merged.append(_joined(group, end))
    return merged


def _joined(group: list[tuple[Candidate, int, str]], end: int) -> _Found:
    best, _, detector = max(group, key=lambda one: (one[0].end - one[0].start, one[0].score, one[1]))
    run = best.run or next((one[0].run for one in group if one[0].run and one[0].end == end), None)
    return _Found(group[0][0].start, end, best.kind, best.score, detector, run)


class Scan:
    """One text on its way through an engine.

    `feed` and `finish` return the text in order: plain pieces as ``str``, entities as `Hit`. A piece is
    returned as soon as no continuation can change it.

    Args:
        engine: What to look for.
        keep: Keep the text of open runs, and return them when they end; else they are returned when they
            begin, and their text is dropped as it comes.
        context: What is said before the text and is no part of it, such as the key of a JSON value.
    """

    __slots__ = (
        "_base", "_before", "_buffer", "_engine", "_floor", "_header", "_keep", "_middle", "_no_header_before", "_open",
        "_parts", "_position", "_run", "_span_limit", "_waits_for_word",
    )  # fmt: skip

    def __init__(self, engine: Engine, *, keep: bool = False, context: str = "") -> None:
        self._engine = engine
        self._keep = keep
        self._buffer = f"{context[-CONTEXT + len(_SAID) :]}{_SAID}" if context else ""
        self._before = len(self._buffer)
        self._base = -self._before  # offset of the buffer in the whole text
        self._position = self._before  # all before it has been returned and stays only as context
        self._floor = 0  # context is not read from before it
        self._middle = False  # the position is inside a block
        self._waits_for_word = False  # only the end of a word can change anything
        self._header: re.Match[str] | None = None
        self._no_header_before = 0
        self._open: Hit | None = None
        self._run: re.Pattern[str] | None = None  # of the open hit; None for a key block
        self._span_limit = 0  # where an open key block ends at the latest, in the whole text
        self._parts: list[str] = []

    def feed(self, chunk: str) -> list[str | Hit]:
        """Take a piece of the text."""
        if not isinstance(chunk, str):
            raise TypeError(f"a stream of text is fed with str, not {type(chunk).__name__}")
        held = len(self._buffer) - self._position
        self._buffer += chunk
        # The common case of a stream, a word that grows, must not be looked at again for every letter.
        if self._waits_for_word and held + len(chunk) <= WINDOW and not HARD.search(chunk):
            return []
        out: list[str | Hit] = []
        self._advance(out, final=False)
        self._forget()
        return out

    def pass_on(self, chunk: str) -> str | None:
        """Take a piece as `feed` does where all that is to be returned for it is plain, which most pieces are; else None, and it is not taken."""
        if self._open is not None or self._middle:
            return None
        buffer = self._buffer + chunk
        start = self._position
        end = calm(buffer, start)
        if end < 0:
            return None
        self._buffer = buffer
        self._position = end
        self._waits_for_word = True
        if end > _MUCH:
            self._forget()
        return buffer[start:end]

    def finish(self) -> list[str | Hit]:
        """Say that the text is complete; later calls return nothing."""
        out: list[str | Hit] = []
        self._advance(out, final=True)
        self._forget()
        return out

    def _advance(self, out: list[str | Hit], *, final: bool) -> None:
        self._waits_for_word = False
        while True:
            if self._open is not None and self._run is None:
                if not self._in_key_block(out, final=final):
                    return
                continue
            limit, closed, header = self._region(final=final)
            if self._open is not None and not self._in_run(out, limit, closed=closed):
                return
            self._in_text(out, limit, closed=closed)
            if self._open is not None:
                continue
            if header is None:
                return
            follows = pem.body(self._buffer, header.end())
            if follows is None and not final:
                return
            if follows:
                start, end = header.span()
                self._begin(out, _Found(start, end, pem.KIND, 1.0, self._engine.key_blocks or "", None), end)
                self._span_limit = self._base + end + pem.SPAN_MAX
            else:
                self._no_header_before = header.end()
            self._header = None

    # -- regions

    def _region(self, *, final: bool) -> tuple[int, bool, re.Match[str] | None]:
        """Return up to where ordinary text goes, whether it surely ends there, and the header that ends it."""
        size = len(self._buffer)
        if self._engine.key_blocks is None:
            return size, final, None
        if self._header is None:
            start = max(self._position, self._no_header_before)
            self._header = pem.HEADER.search(self._buffer, start)
            if self._header is None:
                self._no_header_before = max(start, size - pem.HEADER_MAX)
        if self._header is not None:
            return self._header.start(), True, self._header
        return (size, True, None) if final else (pem.unfinished(self._buffer, self._position), False, None)

    def _in_key_block(self, out: list[str | Hit], *, final: bool) -> bool:
        """Drop the block as far as it is known; return whether it ended and text goes on."""
        size = len(self._buffer)
        limit = self._span_limit - self._base
        end = pem.closing(self._buffer, self._position, min(size, limit))
        if end is None and size < limit and not final:
            self._swallow(max(self._position, size - pem.END_MAX))
            return False
        self._swallow(min(size, limit) if end is None else end)
        self._end(out)
        return True

    # -- text and runs

    def _in_text(self, out: list[str | Hit], limit: int, *, closed: bool) -> None:
        """Go through ordinary text up to the limit; hold what the text after it may change."""
        buffer = self._buffer
        cursor = self._position
        label = PASSWORD_LABEL.search(buffer, cursor, limit) if says_password(buffer) else None
        while True:
            start = word = cursor
            rest = TOKEN
            if not self._middle:
                found = WORTH_A_LOOK.search(buffer, cursor, limit)
                if label is not None and label.end() < cursor:
                    label = PASSWORD_LABEL.search(buffer, cursor, limit)
                if label is not None and (found is None or label.end() <= found.start()):
                    start = word = label.end()
                    rest = PASSWORD
                elif found is None:
                    self._plain(out, limit if closed else tail_word(buffer, cursor, limit))
                    self._waits_for_word = not closed and not HARD.search(buffer, limit)
                    return
                else:
                    start = word = found.start()
                    if buffer[start].isdecimal():
                        start = with_lead(buffer, cursor, start)
            bound = min(limit, start + WINDOW + LOOKAHEAD + 1)
            end = rest.match(buffer, word, bound).end()  # type: ignore[union-attr]
            if rest is PASSWORD and end - word >= PASSWORD_MAX:
                # No password, but perhaps a token of any length.
                end = TOKEN.match(buffer, word, bound).end()  # type: ignore[union-attr]
            longer = end - start > WINDOW
            if not longer and not closed and bound == limit and may_go_on(buffer, end, limit):
                # A label that was given out already would not be seen again.
                self._plain(out, start if rest is TOKEN or label is None else label.start())
                self._waits_for_word = end == limit and not HARD.search(buffer, limit)
                return
            end = start + WINDOW if longer else end
            low = max(self._floor, start - CONTEXT)
            last = start
            for one in self._find(low, start, end, alone=closed and end == limit and self._is_first(start)):
                if longer and low + one.start >= start + STRIDE:
                    break  # the next window sees it whole
                self._plain(out, low + one.start)
                last = low + one.end
                # A full stop that may end a sentence is left out of a token; here it may be inside one.
                if longer and one.run is not None and not buffer[last:end].strip("."):
                    self._begin(out, one._replace(start=low + one.start), end)
                    return
                out.append(self._hit(one, low + one.start, last))
                self._position = last
            cursor = max(start + STRIDE, last) if longer else end
            self._middle = longer

    def _find(self, low: int, start: int, end: int, *, alone: bool) -> Sequence[_Found]:
        if end - start < SHORTEST and not (end - start == 2 and "age" in self._buffer[low:start].lower()):
            return ()
        return self._engine.find(self._buffer[low:end], start - low, alone=alone)

    def _is_first(self, start: int) -> bool:
        """Whether nothing but white space comes before; within the context nothing was forgotten yet."""
        nothing_forgotten = self._base == -self._before and start <= CONTEXT
        return nothing_forgotten and not self._buffer[self._before : start].strip()

    def _in_run(self, out: list[str | Hit], limit: int, *, closed: bool) -> bool:
        """Drop an open run as far as it is known; return whether it ended."""
        end = self._run.match(self._buffer, self._position, limit).end()  # type: ignore[union-attr]
        self._swallow(end)
        # A run may end with a look at the character after the next.
        if not closed and end + 1 >= limit:
            return False
        self._end(out)
        self._middle = True
        return True

    # -- what goes out

    def _plain(self, out: list[str | Hit], end: int) -> None:
        if end > self._position:
            out.append(self._buffer[self._position : end])
            self._position = end

    def _hit(self, one: _Found, start: int, end: int) -> Hit:
        value = self._buffer[start:end]
        return Hit(one.kind, self._base + start, self._base + end, one.score, one.detector, value)

    def _begin(self, out: list[str | Hit], one: _Found, end: int) -> None:
        """Open a hit of unknown length whose known part ends here."""
        hit = Hit(one.kind, self._base + one.start, None, one.score, one.detector, "")
        self._open, self._run = hit, one.run
        self._middle = False
        self._position = one.start
        self._swallow(end)
        if not self._keep:
            out.append(hit)

    def _swallow(self, end: int) -> None:
        if self._keep:
            self._parts.append(self._buffer[self._position : end])
        self._position = end

    def _end(self, out: list[str | Hit]) -> None:
        """Close the open hit at the position."""
        hit = self._open
        assert hit is not None  # noqa: S101  (for the type checker; callers have looked)
        hit.end = self._base + self._position
        if self._keep:
            hit.value = "".join(self._parts)
            self._parts.clear()
            out.append(hit)
        self._open = self._run = None
        # A secret that was dropped is not read again as somebody's context.
        self._floor = self._position

    def _forget(self) -> None:
        """Drop what has been returned, but for the context of what follows."""
        gone = self._position - CONTEXT
        if gone > 0:
            self._buffer = self._buffer[gone:]
            self._base += gone
            self._position = CONTEXT
            self._floor = max(0, self._floor - gone)
            self._no_header_before = max(0, self._no_header_before - gone)
            self._header = None  # its offsets are of the old buffer; it is found again
