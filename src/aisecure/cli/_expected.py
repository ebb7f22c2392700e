"""Tables of expected decisions: one row a question, with the answer that the policy has to give."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aisecure.principal import Principal

__all__ = ["BadTable", "Expected", "read_table"]

_NEEDED: Final = ("expect", "action", "resource")
_OPTIONAL: Final = ("principal", "roles", "tenant", "note")
_MAX_BYTES: Final = 64 << 20


class BadTable(ValueError):
    """A table cannot be used; says where and why, and quotes nothing of it but names of columns."""


@dataclass(frozen=True, slots=True)
class Expected:
    """One row of a table.

    Attributes:
        line: On which it ends, from 1.
        allowed: What has to be the answer.
        principal: Who asks.
        action: What for.
        resource: On what.
        note: A remark for whoever reads about a difference.
    """

    line: int
    allowed: bool
    principal: Principal
    action: str
    resource: str
    note: str

    @property
    def asked(self) -> str:
        """The question, in one line."""
        who = self.principal.id or "somebody"
        roles = f" ({';'.join(sorted(self.principal.roles))})" if self.principal.roles else ""
        return f"{who}{roles} in {self.principal.tenant}: {self.action} {self.resource}"


def read_table(path: Path) -> list[Expected]:
    """Return the rows of a CSV file; ``-`` is standard input.

    Rows that are empty or begin with ``#`` are passed over.

    Raises:
        BadTable: It cannot be read, or a row is none.
    """
    text = _text(path)
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    found: list[Expected] = []
    head: list[str] | None = None
    try:
        for cells in rows:
            stripped = [cell.strip(" \t") for cell in cells]
            if not any(stripped) or stripped[0].startswith("#"):
                continue
            if head is None:
                head = _head(path, rows.line_num, stripped)
            else:
                found.append(_row(path, rows.line_num, head, stripped))
    except csv.Error as err:
        raise BadTable(f"{path}: line {rows.line_num}: is no CSV ({err})") from None
    if not found:
        raise BadTable(f"{path}: has no row; write one below {','.join((*_NEEDED, *_OPTIONAL))}")
    return found


def _text(path: Path) -> str:
    try:
        if str(path) == "-":
            data = sys.stdin.buffer.read(_MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(_MAX_BYTES + 1)
    except OSError as err:
        raise BadTable(f"{path}: {err.strerror or type(err).__name__}") from None
    if len(data) > _MAX_BYTES:
        raise BadTable(f"{path}: is larger than {_MAX_BYTES >> 20} MiB; split it")
    place = data.find(b"\0")
    if place >= 0:
        line = data.count(b"\n", 0, place) + 1
        raise BadTable(f"{path}: line {line}: holds a NUL; save the file as UTF-8 text")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as err:
        line = data.count(b"\n", 0, err.start) + 1
        raise BadTable(f"{path}: line {line}: is not UTF-8; save the file as UTF-8") from None


def _head(path: Path, line: int, cells: Sequence[str]) -> list[str]:
    names = [cell.casefold() for cell in cells]
    known = ",".join((*_NEEDED, *_OPTIONAL))
    for name in names:
        if name not in (*_NEEDED, *_OPTIONAL):
            why = "separate columns by commas" if ";" in name or "\t" in name else f"known are {known}"
            raise BadTable(f"{path}: line {line}: no such column: {name[:80]!a}; {why}")
        if names.count(name) > 1:
            raise BadTable(f"{path}: line {line}: the column {name} stands there twice")
    missing = [name for name in _NEEDED if name not in names]
    if missing:
        raise BadTable(f"{path}: line {line}: there is no column {missing[0]}; known are {known}")
    return names


def _row(path: Path, line: int, head: Sequence[str], cells: Sequence[str]) -> Expected:
    if len(cells) != len(head):
        raise BadTable(
            f"{path}: line {line}: has {len(cells)} cells, and the header has {len(head)}; quote a cell that holds a "
            "comma"
        )
    values = dict(zip(head, cells, strict=True))
    expect = values["expect"].casefold()
    if expect not in ("allow", "deny"):
        raise BadTable(f"{path}: line {line}: expect is allow or deny")
    for name in ("action", "resource"):
        if not values[name]:
            raise BadTable(f"{path}: line {line}: {name} is empty")
    principal = Principal(
        values.get("principal", ""),
        roles=set(_roles(values.get("roles", ""))),
        tenant=values.get("tenant", "") or "default",
    )
    return Expected(
        line, expect == "allow", principal, values["action"], values["resource"], values.get("note", "")
    )


def _roles(cell: str) -> Iterator[str]:
    for role in cell.split(";"):
        if role.strip(" \t"):
            yield role.strip(" \t")
