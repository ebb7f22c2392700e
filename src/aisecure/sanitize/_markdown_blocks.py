"""Where fenced code begins and ends in Markdown, line by line, and when nobody can be sure.

What stands in code is not Markdown and has to stay as it is; what merely looks like code must not escape judgement.
Renderers differ in corners, so a fence counts only where all of them must see one: then every line of it is as deep as
its first, and it ends on a line like its first. Once a fence is in doubt, the rest of the text has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from aisecure.sanitize._markdown_grammar import take, unescaped

__all__ = ["Blocks", "Line"]

# What stands before the content of a line: marks of quotations and lists. More than this is no list that a person wrote.
_PREFIX_BOUND = 256
_LINE_BOUND = 1024
_PREFIX = re.compile(r"[ \t]*+(?:(?:>|[-+*](?=[ \t])|\d{1,9}[.)](?=[ \t]))[ \t]*+)*+", re.ASCII)
# What may still become a mark, a fence or a display formula with the next character.
_UNDECIDED = re.compile(r"(?:[-+*]{1,2}|\d{1,9}[.)]?|`{1,2}|~{1,2}|:{1,2}|\$|\\)?", re.ASCII)
_QUOTES = re.compile(r"(?:> ?)*+")
_MARK = re.compile(r"( *)([-+*]|\d{1,9}[.)])( +)", re.ASCII)
_FENCE = re.compile(r"(?P<run>`{3,}+|~{3,}+)(?P<info>[^\r\n]*+)")
_IN_FENCE = re.compile(r"(?P<indent>[ \t]*+)(?P<odd>[^\S\r\n]*+)(?P<run>(?:`++|~++)?)(?P<rest>[^\S\r\n]*+)")
# Display formulas: a renderer that knows them looks for nothing else inside.
_FORMULAS = {"$$": "$$", "\\[": "\\]"}
# What begins like this is known by its whole line.
_BY_LINE = ("```", "~~~", ":::", "$$", "\\[", "\\]")
_DIRECTIVE = re.compile(r":{3,}[^\S\r\n]*+\{")
_LANGUAGE = re.compile(r"[^\s{,:;(]*+")
# Fences that renderers draw instead of showing, with addresses in them that are fetched.
_DRAWN = frozenset(
    "chart d2 echarts excalidraw geojson graphviz markmap mermaid nomnoml plantuml puml topojson vega vega-lite vegalite"
    " wavedrom".split()
)


class Line(Enum):
    """What a line is, as far as it is known at its beginning."""

    TEXT = "text"
    BLANK = "blank"
    FENCE = "fence"  # the line that opens or closes one
    CODE = "code"


@dataclass(frozen=True, slots=True)
class _Fence:
    character: str
    length: int
    indent: int  # columns after the marks of quotation
    quotes: int


@dataclass(slots=True)
class Blocks:
    """The state between lines.

    Args:
        diagrams: Leave the names of fences that renderers draw.
    """

    diagrams: bool = False
    fence: _Fence | None = None
    renamed: bool = False  # whether the last fence was given another language, or a directive was broken
    awaits_address: bool = False  # whether a definition began that some renderer continues in the next line
    _doubt: bool = False
    _items: list[int] = field(default_factory=list)  # the columns where the content of open list items begins
    _quotes: int = 0
    _after_text: bool = False
    _formula: str = ""  # what ends the display formula that may be open
    _front: str = ""  # what ends the front matter that may be open
    _first: bool = True

    def begin(self, text: str, start: int, *, final: bool) -> tuple[Line, int, str] | None:
        """Return what the line is, where its content begins, and what to write up to there; None for more text."""
        self.renamed = False
        if self.fence is not None:
            code = self._code(self.fence, text, start, final=final)
            if code is not False:
                return code
            self.fence, self._doubt = None, True
        return self._text(text, start, final=final)

    def _code(
        self, fence: _Fence, text: str, start: int, *, final: bool
    ) -> tuple[Line, int, str] | Literal[False] | None:
        """Return the line as one of the fence, or False when it may have left the fence."""
        at = start
        if fence.quotes:
            quotes = take(_QUOTES, text, start, start + _PREFIX_BOUND)
            if quotes.end() == len(text) and not final and len(text) - start < _PREFIX_BOUND:
                return None
            if quotes[0].count(">") != fence.quotes:
                return False
            at = quotes.end()
        match = take(_IN_FENCE, text, at, at + _PREFIX_BOUND)
        end, run = match.end(), match["run"]
        whole = end - at < _PREFIX_BOUND
        if end == len(text) and not final and whole:
            return None
        ends = whole and (end == len(text) or text[end] in "\r\n")
        if ends and not run and not match["odd"]:
            return Line.CODE, at, text[start:at]
        indent = match["indent"]
        depth = len(indent) if "\t" not in indent else indent.index("\t")
        if depth < fence.indent:
            return False
        if run[:1] == fence.character and len(run) >= fence.length and (ends or not whole):
            exact = ends and len(run) == fence.length and len(indent) == fence.indent
            self._doubt |= not exact or bool(match["odd"]) or not set(match["rest"]) <= {" ", "\t"}
            self.fence = None
            self._after_text = False
            return Line.FENCE, end, text[start:end]
        return Line.CODE, at, text[start:at]

    def _text(self, text: str, start: int, *, final: bool) -> tuple[Line, int, str] | None:
        prefix = take(_PREFIX, text, start, start + _PREFIX_BOUND)
        at = prefix.end()
        if at - start == _PREFIX_BOUND:
            self._doubt = self._after_text = True
            return Line.TEXT, start, ""
        if not final and _UNDECIDED.fullmatch(text, at):
            return None
        content = text[at : at + 3]
        if (
            not final
            and content.startswith(_BY_LINE)
            and len(text) - at < _LINE_BOUND
            and _end_of_line(text, at) is None
        ):
            return None
        if not content or content[0] in "\r\n":
            return self._empty(text[start:at], at)
        certain, column = self._contain(text[start:at])
        self._after_text = True
        certain = self._outside(text, at, content) and certain and not self.awaits_address
        self.awaits_address = False
        if content in ("```", "~~~"):
            opened = self._open(text, at, column, certain=certain)
            if opened is not None:
                return Line.FENCE, opened[0], text[start:at] + opened[1]
        elif content == ":::" and _DIRECTIVE.match(text, at, at + _LINE_BOUND):
            self.renamed = True
            return Line.TEXT, at, text[start:at] + "\\"
        return Line.TEXT, at, text[start:at]

    def _empty(self, prefix: str, at: int) -> tuple[Line, int, str]:
        self._first = False
        quoted = prefix.startswith(">") and not prefix.strip("> \t")
        if prefix.strip(" \t") and not quoted:
            return Line.TEXT, at, prefix
        self._after_text = False
        return Line.BLANK, at, prefix

    def _contain(self, prefix: str) -> tuple[bool, int]:
        """Follow the marks of a line; return whether every renderer must, and the column of the content."""
        quotes = take(_QUOTES, prefix)
        marks = prefix[quotes.end() :]
        depth = quotes[0].count(">")
        if depth != self._quotes:
            self._items.clear()
            self._quotes = depth
        if "\t" in prefix or ">" in marks:
            self._items.clear()
            return False, 0
        certain = True
        column = end = 0
        for mark in _MARK.finditer(marks):
            column = mark.start(2)
            sibling = self._leave(column)
            base = self._items[-1] if self._items else 0
            number = mark[2][:-1]
            begins = not self._after_text or sibling or end > 0 or not number or int(number) == 1
            certain = certain and begins and column - base <= 3 and len(mark[3]) <= 4
            end = mark.end()
            if certain:
                self._items.append(end)
        column = len(marks)
        if not end:
            self._leave(column)
            base = self._items[-1] if self._items else 0
            certain = column <= 3 or (bool(self._items) and column - base <= 3)
        return certain, column

    def _leave(self, column: int) -> bool:
        """Close the items whose content begins behind the column; return whether there was one."""
        before = len(self._items)
        while self._items and self._items[-1] > column:
            self._items.pop()
        return len(self._items) < before

    def _outside(self, text: str, at: int, content: str) -> bool:
        """Whether the line is certainly not part of a display formula or of front matter."""
        if self._first:
            self._first = False
            if content in ("---", "+++"):
                self._front = content
                return False
        elif self._front and content == self._front:
            self._front = ""
            return False
        if self._formula or content[:2] in _FORMULAS:
            end = _end_of_line(text, at)
            line = text[at : at + _LINE_BOUND if end is None else end].rstrip()
            if self._formula:
                if line == self._formula:
                    self._formula = ""
            else:
                closing = _FORMULAS[content[:2]]
                if not (len(line) > 4 and line.endswith(closing) and line.count(content[:2]) <= 2):
                    self._formula = closing
            return False
        return not self._front

    def _open(self, text: str, at: int, column: int, *, certain: bool) -> tuple[int, str] | None:
        """Return the end of the line that opens a fence and how to write it, or None when it opens none."""
        match = take(_FENCE, text, at, at + _LINE_BOUND)
        run, info = match["run"], match["info"]
        if run[0] == "`" and "`" in info:
            return None
        if self._doubt or not certain or "~" in info or "|" in info or match.end() - at == _LINE_BOUND:
            self._doubt = True
            return None
        self.fence = _Fence(run[0], len(run), column, self._quotes)
        told = unescaped(info).strip()
        language = take(_LANGUAGE, told)
        if told.startswith("{") or (language[0].lower() in _DRAWN and not self.diagrams):
            self.renamed = True
            info = f"text {info.lstrip()}"
        return match.end(), run + info


def _end_of_line(text: str, at: int) -> int | None:
    ends = [
        end
        for end in (text.find("\n", at, at + _LINE_BOUND), text.find("\r", at, at + _LINE_BOUND))
        if end >= 0
    ]
    return min(ends, default=None)
