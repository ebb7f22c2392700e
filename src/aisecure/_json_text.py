"""Text filters inside JSON that arrives in pieces, such as the arguments of a tool call.

A filter sees each string as it is meant, without escapes, and what it changes is written with the escapes of JSON again: what was valid
JSON stays valid. What stands outside of strings (numbers, or text that is no JSON at all) is filtered too; a number that is changed
becomes a string.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import replace

from aisecure._json_place import LONGEST_KEY, JsonPlace
from aisecure.decisions import Finding
from aisecure.ports import TextFilter

__all__ = ["JsonText"]

_STRUCTURE = re.compile(r'[{}\[\],:"]')
_STRING_END = re.compile(r'["\\]')
_SCALAR = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE = re.compile(r"[0-9A-Fa-f]{4}")
_SURROGATE = re.compile("[\ud800-\udfff]")
#: A longer run outside of strings is no number; its filter passes it on as it comes.
_LONGEST_SCALAR = 128


class JsonText:
    """A `TextFilter` over JSON text.

    Args:
        make: Returns a fresh filter for the text at a place, which is a key where the place awaits one.
    """

    __slots__ = (
        "_filter",
        "_findings",
        "_in_string",
        "_jumps",
        "_key",
        "_longer",
        "_make",
        "_offset",
        "_place",
        "_rest",
        "_run",
        "_start",
        "_told",
    )

    def __init__(self, make: Callable[[JsonPlace], TextFilter]) -> None:
        self._make = make
        self._place = JsonPlace()
        self._key: list[str] | None = None  # the open string as it is meant, when it is a key
        self._in_string = False
        self._filter: TextFilter | None = None  # of the string, or of a long run outside, that is open
        self._rest = ""  # what is not understood yet: an escape that is cut
        self._run = ""  # what stands outside of strings and may be a number
        self._offset = 0  # of what comes next, in the whole text
        self._start = 0  # of the open string or run
        # After each escape: the offset in the string as it is meant, and how much longer all of it was until there.
        self._jumps: list[int] = []
        self._longer: list[int] = []
        self._told = 0  # characters of the open string
        self._findings: list[Finding] = []

    def feed(self, chunk: str) -> str:
        """Take a piece, return what no continuation can change.

        Raises:
            Denied: The filter ends the text.
        """
        text, self._rest = self._rest + chunk, ""
        out: list[str] = []
        position = 0
        while position < len(text):
            step = self._inside if self._in_string else self._outside
            after = step(text, position, out)
            if after is None:
                self._rest = text[position:]
                break
            self._offset += after - position
            position = after
        return "".join(out)

    def finish(self) -> str:
        """Return what was held back; a string that never ended, or an escape that was cut, as far as it came."""
        out: list[str] = []
        if self._in_string:
            assert self._filter is not None  # noqa: S101  (for the type checker)
            out.append(_escaped(self._filter.feed(self._rest) + self._filter.finish()))
            self._close()
        else:
            self._end_run(out)
        self._rest = ""
        return "".join(out)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was found so far, with offsets into the whole text."""
        return (*self._findings, *(self._placed() if self._filter is not None else ()))

    def take(self) -> tuple[Finding, ...]:
        """Return what was found in texts that ended since the last time, and forget it."""
        taken, self._findings = tuple(self._findings), []
        return taken

    @property
    def open_from(self) -> int:
        """Where the text begins that has not ended yet; findings to come are not before it."""
        return self._start if self._filter is not None or self._run else self._offset

    # -- outside of strings

    def _outside(self, text: str, position: int, out: list[str]) -> int | None:
        found = _STRUCTURE.search(text, position)
        end = found.start() if found else len(text)
        self._more_of_run(text[position:end], out)
        if found is None:
            return end
        self._end_run(out)
        out.append(found.group())
        if found.group() == '"':
            self._in_string = True
            self._key = [] if self._place.awaits_key else None
            self._open(self._offset + found.end() - position)
        else:
            self._place.pass_by(found.group())
        return found.end()

    def _more_of_run(self, text: str, out: list[str]) -> None:
        if not self._run and self._filter is None:
            self._start = self._offset
        if self._filter is not None:
            out.append(self._filter.feed(text))
            return
        self._run += text
        if len(self._run) > _LONGEST_SCALAR:
            start, run = self._start, self._run
            out.append(self._open(start).feed(run))
            self._run = ""

    def _end_run(self, out: list[str]) -> None:
        if self._filter is not None:
            out.append(self._filter.finish())
            self._close()
        elif self._run:
            text = self._run.strip()
            if not text:
                out.append(self._run)
            else:
                leading = self._run[: self._run.index(text)]
                text_filter = self._open(self._start + len(leading))
                new = text_filter.feed(text) + text_filter.finish()
                self._close()
                if new != text and _SCALAR.fullmatch(text):
                    new = json.dumps(new, ensure_ascii=False)
                out.append(leading + new + self._run[len(leading) + len(text) :])
        self._run = ""

    # -- inside

    def _inside(self, text: str, position: int, out: list[str]) -> int | None:
        assert self._filter is not None  # noqa: S101  (for the type checker)
        begun, meant = position, []
        while position < len(text) and text[position] != '"':
            found = _STRING_END.search(text, position)
            end = found.start() if found else len(text)
            if end > position:
                part, length = text[position:end], end - position
            elif (escape := _unescaped(text, position)) is not None:
                part, length = escape
            else:
                break
            meant.append(part)
            self._told += len(part)
            position += length
            if length > len(part):
                self._jumps.append(self._told)
                self._longer.append(length - len(part) + (self._longer[-1] if self._longer else 0))
        if meant:
            # At once, because a filter has work for each piece that does not depend on its length.
            whole = "".join(meant)
            if self._key is not None and self._told - len(whole) < LONGEST_KEY:
                self._key.append(whole[:LONGEST_KEY])
            out.append(_escaped(self._filter.feed(whole)))
        if text[position : position + 1] != '"':
            return position if position > begun else None
        out.append(_escaped(self._filter.finish()) + '"')
        self._close()
        if self._key is not None:
            self._place.take_key("".join(self._key))
        self._in_string = False
        return position + 1

    # -- one text and its findings

    def _open(self, start: int) -> TextFilter:
        self._filter = self._make(self._place)
        self._start = start
        self._jumps, self._longer = [], []
        self._told = 0
        return self._filter

    def _close(self) -> None:
        self._findings += self._placed()
        self._filter = None

    def _placed(self) -> list[Finding]:
        assert self._filter is not None  # noqa: S101  (for the type checker)
        return [
            replace(finding, start=self._before(finding.start), end=self._before(finding.end))
            for finding in self._filter.findings
        ]

    def _before(self, offset: int) -> int:
        escapes = bisect_right(self._jumps, offset)
        return self._start + offset + (self._longer[escapes - 1] if escapes else 0)


def _escaped(text: str) -> str:
    if not text:
        return ""
    # Half of a pair may have come as an escape, and no encoding has it otherwise.
    return _SURROGATE.sub(
        lambda found: f"\\u{ord(found.group()):04x}", json.dumps(text, ensure_ascii=False)[1:-1]
    )


def _unescaped(text: str, position: int) -> tuple[str, int] | None:
    """Return what the escape here means and how long it is; None while it is cut. What is no escape means itself."""
    kind = text[position + 1 : position + 2]
    if not kind:
        return None
    if kind != "u":
        meant = _ESCAPES.get(kind)
        return ("\\", 1) if meant is None else (meant, 2)
    digits = text[position + 2 : position + 6]
    if not _UNICODE.fullmatch(digits):
        return None if len(digits) < 4 and re.fullmatch(r"[0-9A-Fa-f]*", digits) else ("\\", 1)
    code = int(digits, 16)
    if not 0xD800 <= code < 0xDC00:
        return chr(code), 6
    second = text[position + 6 : position + 12]
    digits = second[2:]
    if len(second) < 6 and "\\u"[: len(second)] == second[:2] and re.fullmatch(r"[0-9A-Fa-f]*", digits):
        return None
    low = int(digits, 16) if second.startswith("\\u") and _UNICODE.fullmatch(digits) else 0
    if 0xDC00 <= low < 0xE000:
        return chr(0x10000 + ((code - 0xD800) << 10) + low - 0xDC00), 12
    return chr(code), 6
