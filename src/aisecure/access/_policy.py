"""The rules and role links of a policy, read line by line as Casbin reads them, and checked.

A hundred thousand lines are read in a tenth of a second: what is plainly written is taken apart as a whole, and only a
text with anything unusual in it is judged line by line, so that its error can name the line.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any, overload

from aisecure.access._model import Definition
from aisecure.access._names import has_control
from aisecure.errors import Misconfigured

__all__ = ["Policy", "Row", "Rows", "checked_policy", "fields_of", "read_policy"]

#: Values of one line after its kind.
Row = tuple[str, ...]

#: A text without these needs no more than splitting: no quote, no bracket, no control character but line feeds ...
_UNUSUAL = bytes({*range(32), 127} - {10}) + b'"([)]'
#: ... and, after ", " was made ",", no blank at the ends of fields and lines.
_BLANKS = (" ,", ", ", " \n", "\n ")
_COMMENT = re.compile("^#.*", re.MULTILINE)
#: What str.strip takes away besides.
_OTHER_BLANK = re.compile(r"[^\S \n]")
#: How many lines are split at a time.
_LINES = 4096
_EFFECTS = frozenset({"allow", "deny"})


class Rows(Sequence[Row]):
    """Rules or links, kept by column: a hundred thousand tuples cost more time and memory than all that is done with them.

    Args:
        columns: Values of each field, all equally many.
    """

    __slots__ = ("_columns", "_size")

    def __init__(self, columns: Sequence[Sequence[str]]) -> None:
        self._columns = columns
        self._size = len(columns[0]) if columns else 0

    @classmethod
    def of_lines(cls, lines: Sequence[str], kind: str, width: int) -> Rows | None:
        """Return the rows of lines that all have that kind and then so many fields, with commas between, or None."""
        columns: list[list[str]] = [[] for _ in range(width)]
        same: list[dict[str, str] | None] = []
        # Before each line stands what no field holds, so that it is seen where every line begins.
        first = "\n" + kind
        # Some thousand lines at a time: the pieces stay where the processor has them at hand, and their memory is
        # used again.
        for start in range(0, len(lines), _LINES):
            part = lines[start : start + _LINES]
            flat = ("\n" + ",\n".join(part)).split(",")
            if len(flat) != len(part) * (width + 1) or flat[:: width + 1].count(first) != len(part):
                return None
            pieces = [flat[place :: width + 1] for place in range(1, width + 1)]
            same = same or [{} if _are_alike(values) else None for values in pieces]
            for column, values, known in zip(columns, pieces, same, strict=True):
                column.extend(values if known is None else map(known.setdefault, values, values))
                if "" in (values if known is None else known):
                    return None
        # The collector of cycles walks over lists again and again, and over tuples of texts once.
        return cls(list(map(tuple, columns)))

    @classmethod
    def of_rows(cls, rows: Sequence[Row], width: int) -> Rows:
        """Return rows from tuples of so many fields."""
        return cls(list(zip(*rows, strict=True)) if rows else [() for _ in range(width)])

    @property
    def width(self) -> int:
        """Number of fields."""
        return len(self._columns)

    def column(self, place: int) -> Sequence[str]:
        """Return the values of one field."""
        return self._columns[place]

    def picked(self, places: Sequence[int]) -> Iterable[Any]:
        """Return, for each row, what `aisecure.access._index.picker` takes out of it: nothing, a text, or several."""
        if not places:
            return repeat((), self._size)
        if len(places) == 1:
            return self._columns[places[0]]
        return zip(*[self._columns[place] for place in places], strict=True)

    def __len__(self) -> int:
        return self._size

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        if isinstance(index, slice):
            return list(zip(*[column[index] for column in self._columns], strict=True))
        return tuple([column[index] for column in self._columns])

    def __iter__(self) -> Iterator[Row]:
        return zip(*self._columns, strict=True)


def _are_alike(values: list[str]) -> bool:
    """Whether many of the values look to be the same, so that it is worth while to keep each text once."""
    return len(set(values[:1000])) * 2 <= min(len(values), 1000)


@dataclass(frozen=True, slots=True)
class Policy:
    """What a policy says.

    Attributes:
        rules: Values of each ``p`` line, in order.
        lines: Line of each rule, from 1.
        links: Names of each ``g`` line, by role definition.
    """

    rules: Rows
    lines: Sequence[int]
    links: Mapping[str, Rows]


def read_policy(text: str, definition: Definition, source: str = "the policy") -> Policy:
    """Return the rules and links of a policy's text.

    A line that Casbin would pass over or that could never match is an error here: it may be somebody's deny rule.

    Raises:
        Misconfigured: Names source and line.
    """
    return _read_whole(text, definition) or _read_lines(text, definition, source)


def checked_policy(
    rows: Mapping[str, Iterable[Sequence[str]]], definition: Definition, source: str = "the policy"
) -> Policy:
    """Return a policy from fields that another reader took apart, such as a database; the line of a rule is its number.

    Args:
        rows: Fields of each line, by kind: ``p``, ``g`` ...
        definition: The model.
        source: What error texts call the policy.

    Raises:
        Misconfigured: As for `read_policy`; names source and number.
    """
    reader = _Reader(definition, source, "number")
    for kind, found in rows.items():
        for number, fields in enumerate(found, 1):
            reader.take(number, kind, fields)
    return reader.policy()


def _read_whole(text: str, definition: Definition) -> Policy | None:
    """Return what `_read_lines` would, or None when the text is not plainly written or has a mistake."""
    if "\r" in text:
        text = text.replace("\r\n", "\n")
    if text.startswith("#") or "\n#" in text:
        text = _COMMENT.sub("", text)
    body = text.rstrip("\n ").replace(", ", ",")
    if not _is_plain(body):
        return None
    if " " in body and any(mark in body for mark in _BLANKS):
        return None
    lines = body.split("\n")
    widths = {"p": len(definition.rule), **definition.roles}
    rows: dict[str, Rows] = {}
    numbers: Sequence[int] = ()
    for kind, width in widths.items():
        places: Sequence[int] = _span(body, f"{kind},")
        found = Rows.of_lines(lines[places[0] : places[-1] + 1] if places else [], kind, width)
        if found is None:
            # Others stand between them, or one is no such line.
            between = len(places)
            places = [place for place in places if lines[place].startswith(f"{kind},")]
            if len(places) == between:
                return None
            found = Rows.of_lines([lines[place] for place in places], kind, width)
            if found is None:
                return None
        rows[kind] = found
        if kind == "p":
            numbers = (
                range(places.start + 1, places.stop + 1)
                if isinstance(places, range)
                else [place + 1 for place in places]
            )
    if sum(map(len, rows.values())) + lines.count("") != len(lines):
        return None
    if "eft" in definition.rule and not set(rows["p"].column(definition.rule.index("eft"))) <= _EFFECTS:
        return None
    return Policy(rows.pop("p"), numbers, rows)


def _span(body: str, beginning: str) -> range:
    """Return the lines from the first that begins so to the last, found without a loop."""
    if body.startswith(beginning):
        first = 0
    else:
        at = body.find("\n" + beginning)
        if at < 0:
            return range(0)
        first = body.count("\n", 0, at) + 1
    at = body.rfind("\n" + beginning)
    return range(first, first + 1 if at < 0 else body.count("\n", 0, at) + 2)


def _is_plain(text: str) -> bool:
    """Whether a text holds no quote, no bracket, no blank but spaces, and no control character but line feeds."""
    if not text.isascii() and (has_control(text.replace("\n", " ")) or _OTHER_BLANK.search(text)):
        return False
    data = text.encode("utf-8", "surrogatepass")
    return len(data.translate(None, _UNUSUAL)) == len(data)


def _read_lines(text: str, definition: Definition, source: str) -> Policy:
    reader = _Reader(definition, source, "line")
    for number, line in enumerate(map(str.strip, text.split("\n")), 1):
        if not line or line[0] == "#":
            continue
        if has_control(line.replace("\t", " ")):
            raise reader.wrong(number, "holds a control character or a line break of another kind; remove it")
        fields = _fields(line)
        if fields is None:
            raise reader.wrong(number, "has an unbalanced bracket or parenthesis")
        reader.take(number, fields[0], fields[1:])
    return reader.policy()


class _Reader:
    """Checks one rule or link after the other."""

    def __init__(self, definition: Definition, source: str, counted: str) -> None:
        self._definition = definition
        self._source = source
        self._counted = counted
        self._same: dict[str, str] = {}
        self._rules: list[Row] = []
        self._lines: list[int] = []
        self._links: dict[str, list[Row]] = {name: [] for name in definition.roles}
        self._effect = definition.rule.index("eft") if "eft" in definition.rule else None

    def wrong(self, number: int, what: str) -> Misconfigured:
        return Misconfigured(f"{self._source}: {self._counted} {number}: {what}", code="config.policy")

    def take(self, number: int, key: str, fields: Sequence[str]) -> None:
        definition = self._definition
        values = tuple([self._same.setdefault(field, field) for field in fields])
        if "" in values:
            raise self.wrong(number, "has an empty field; write a name, or remove the comma")
        if any(not value.isprintable() and has_control(value) for value in values):
            raise self.wrong(number, "holds a control character or a line break of another kind; remove it")
        if any(value != value.strip() for value in values):
            raise self.wrong(number, "has a field with a blank at its beginning or end; remove it")
        if any(value[0] == '"' == value[-1] for value in values):
            raise self.wrong(
                number, "has a quoted field, and Casbin takes the quotes as part of the name; remove them"
            )
        if key == "p":
            if len(values) != len(definition.rule):
                raise self.wrong(
                    number, f"has {len(values)} fields after p; the model asks for {len(definition.rule)}"
                )
            if self._effect is not None and values[self._effect] not in ("allow", "deny"):
                raise self.wrong(number, "has an effect that is neither allow nor deny")
            self._rules.append(values)
            self._lines.append(number)
        elif key in self._links:
            names = definition.roles[key]
            if len(values) < names:
                raise self.wrong(number, f"has {len(values)} names after {key}; the model asks for {names}")
            self._links[key].append(values[:names])
        elif key not in definition.others:
            known = ", ".join(["p", *self._links, *sorted(definition.others)])
            raise self.wrong(number, f"begins with none of what the model defines: {known}")

    def policy(self) -> Policy:
        links = {
            name: Rows.of_rows(found, self._definition.roles[name]) for name, found in self._links.items()
        }
        return Policy(Rows.of_rows(self._rules, len(self._definition.rule)), self._lines, links)


def fields_of(line: str) -> list[str] | None:
    """Return the fields of one line, its kind first; None for a line that says nothing or cannot be read."""
    line = line.strip()
    return None if not line or line[0] == "#" else _fields(line)


def _fields(line: str) -> list[str] | None:
    """Split as Casbin does: at commas outside of brackets, of which most lines have none."""
    if "(" in line or "[" in line or ")" in line or "]" in line:
        from casbin.persist.adapter import _extract_tokens

        try:
            tokens: list[str] = _extract_tokens(line)
        except IndexError:
            return None
        return tokens
    return [field.strip() for field in line.split(",")]
