"""Text filters inside JSON that arrives in pieces, such as the arguments of a tool call.

A filter sees each string as it is meant, without escapes, and what it changes is written with the escapes of JSON again: what was valid
JSON stays valid. What stands outside of strings (numbers, or text that is no JSON at all) is filtered too; a number that is changed
becomes a string.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

from aisecure.decisions import Finding
from aisecure.ports import TextFilter

__all__ = ["JsonText"]

_STRUCTURE = re.compile(r'[{}\[\],:"]')
_STRING_END = re.compile(r'["\\]')
_SCALAR = re.compile(r"-?[0-9][0-9.eE+-]*|true|false|null")
_ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_UNICODE = re.compile(r"[0-9A-Fa-f]{4}")
#: A longer run outside of strings is no number; its filter passes it on as it comes.
_LONGEST_SCALAR = 128


class JsonText:
    """A `TextFilter` over JSON text.

    Args:
        make: Returns a fresh filter for one text.
    """

    __slots__ = (
        "_filter",
        "_findings",
        "_in_string",
        "_jumps",
        "_make",
        "_offset",
        "_rest",
        "_run",
        "_start",
        "_told",
    )

    def __init__(self, make: Callable[[], TextFilter]) -> None:
        self._make = make
        self._in_string = False
        self._filter: TextFilter | None = None  # of the string, or of a long run outside, that is open
        self._rest = ""  # what is not understood yet: an escape that is cut
        self._run = ""  # what stands outside of strings and may be a number
        self._offset = 0  # of what comes next, in the whole text
        self._start = 0  # of the open string or run
        self._jumps: list[
            tuple[int, int]
        ] = []  # offset in the string as it is meant, and how much longer it was until there
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
            self._open(self._offset + found.end() - position)
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
        found = _STRING_END.search(text, position)
        end = found.start() if found else len(text)
        if end > position:
            self._tell(text[position:end], out)
            return end
        if text[position] == '"':
            out.append(_escaped(self._filter.finish()) + '"')
            self._close()
            self._in_string = False
            return position + 1
        escape = _unescaped(text, position)
        if escape is None:
            return None
        meant, length = escape
        self._tell(meant, out)
        self._jumps.append((self._told, length - len(meant)))
        return position + length

    def _tell(self, text: str, out: list[str]) -> None:
        self._told += len(text)
        out.append(_escaped(self._filter.feed(text)))  # type: ignore[union-attr]

    # -- one text and its findings

    def _open(self, start: int) -> TextFilter:
        self._filter = self._make()
        self._start = start
        self._jumps = []
        self._told = 0
        return self._filter

    def _close(self) -> None:
        self._findings += self._placed()
        self._filter = None

    def _placed(self) -> list[Finding]:
        assert self._filter is not None  # noqa: S101  (for the type checker)
        return [
            replace(finding, start=self._place(finding.start), end=self._place(finding.end))
            for finding in self._filter.findings
        ]

    def _place(self, offset: int) -> int:
        return self._start + offset + sum(longer for told, longer in self._jumps if told <= offset)


def _escaped(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)[1:-1] if text else ""


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
