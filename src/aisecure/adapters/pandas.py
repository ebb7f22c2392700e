"""Data frames without personal data and secrets, before somebody trains on them or looks at them.

::

    clean = redact_frame(frame, columns=["prompt", "completion"])
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from functools import lru_cache
from typing import Any

from aisecure.content import Part, rewrite
from aisecure.detect.placeholders import Placeholders
from aisecure.detect.redact import Redactor
from aisecure.errors import Misconfigured

try:
    import pandas as pd
except ImportError as err:
    raise Misconfigured(
        "data frames need the package pandas; run: pip install 'aisecure[pandas]'", code="config.extra"
    ) from err

__all__ = ["redact_frame"]

#: Values of a column of which the answer is remembered: columns repeat themselves.
_REMEMBERED = 65_536


def redact_frame(
    frame: pd.DataFrame,
    redactor: Redactor | None = None,
    *,
    columns: Collection[Hashable] | None = None,
    placeholders: Placeholders | None = None,
) -> pd.DataFrame:
    """Return a copy of a frame without what is found in its cells; the frame itself is not changed.

    The name of a column is read as the label of its values, so the cells of a column ``ssn`` need no hyphens. Looked at are texts,
    also inside lists and dicts, and whole numbers; a number that is redacted becomes a text, and its column one of objects.
    Missing values, dates, floats, the index and the names of columns stay as they are.

    Args:
        frame: Any frame.
        redactor: What finds and replaces; the default `Redactor` when None.
        columns: Only these columns; all when None.
        placeholders: For a reversible redactor: what its placeholders stand for, so that a value has the same one in every cell.

    Raises:
        TypeError: It is no frame, or ``columns`` is one text.
        ValueError: A column is not in the frame.

    >>> frame = pd.DataFrame({"id": [1, 2], "note": ["mail ada@example.org", "-"], "ssn": [536904399, 0]})
    >>> redact_frame(frame).to_dict("list")
    {'id': [1, 2], 'note': ['mail [EMAIL]', '-'], 'ssn': ['[US_SSN]', 0]}
    """
    if not isinstance(frame, pd.DataFrame):
        raise TypeError(f"redact_frame takes a DataFrame, not {type(frame).__name__}")
    if isinstance(columns, str):
        raise TypeError("columns is a collection of names, not one text")
    wanted = None if columns is None else frozenset(columns)
    if wanted is not None and not wanted.issubset(frame.columns):
        raise ValueError(f"no columns {sorted(map(str, wanted.difference(frame.columns)))}")
    redactor = redactor or Redactor()
    kept = placeholders or Placeholders()
    clean = frame.copy(deep=False)
    for place, name in enumerate(frame.columns):
        if wanted is None or name in wanted:
            cells = _redacted(frame.iloc[:, place], _of_cell(redactor, kept, str(name)))
            if cells is not None:
                clean.isetitem(place, cells)
    return clean


def _redacted(column: pd.Series[Any], of_cell: Callable[[Any], Any]) -> pd.Series[Any] | None:
    """Return a column without what is found in it, or None when it stays."""
    kind = column.dtype
    if (
        isinstance(kind, pd.CategoricalDtype)
        or pd.api.types.is_object_dtype(kind)
        or pd.api.types.is_string_dtype(kind)
    ):
        cells = column.tolist()
    elif pd.api.types.is_integer_dtype(kind):
        cells = column.astype(object).tolist()
    else:
        return None
    new = [of_cell(cell) for cell in cells]
    if all(one is other for one, other in zip(new, cells, strict=True)):
        return None
    texts = pd.api.types.is_string_dtype(kind) and not pd.api.types.is_object_dtype(kind)
    return pd.Series(new, index=column.index, name=column.name, dtype=kind if texts else object)


def _of_cell(redactor: Redactor, placeholders: Placeholders, label: str) -> Callable[[Any], Any]:
    @lru_cache(_REMEMBERED)
    def of_text(text: str) -> str:
        return redactor.redact(text, placeholders=placeholders, context=label).text

    def of_part(part: Part) -> str:
        names = [name for name in part.path.split("/") if name and not name.isdecimal()]
        return redactor.redact(
            part.text, placeholders=placeholders, context=names[-1] if names else label
        ).text

    def of_cell(cell: Any) -> Any:
        if isinstance(cell, str):
            return of_text(cell)
        if isinstance(cell, int) and not isinstance(cell, bool):
            written = str(cell)
            new = of_text(written)
            return cell if new == written else new
        return rewrite(cell, of_part) if isinstance(cell, list | tuple | dict) else cell

    return of_cell
