"""A kind of identifier as a row of a table: how it is written, how it is checked, and what it is called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["Entity"]


@dataclass(frozen=True, slots=True)
class Entity:
    """One kind of identifier made of letters and digits.

    Attributes:
        kind: Dotted kind, such as ``pii.us_ssn``.
        shapes: How it is written: ``9`` is a digit, ``A`` a letter, ``X`` either, ``-`` any one separator (space, ``-``,
            ``.``, ``/``, ``_``), everything else stands for itself. At most 40 characters.
        check: Whether the letters and digits alone, in upper case and ASCII, can be one. None: the shape is all there is.
        labels: What it is called, in lower case, as a word or phrase before it: ``"passport"``, ``"social security"``.
        loose: A regular expression of forms that count only right after a label, such as record numbers that each
            hospital forms in its own way; matched where a word begins, against the text as written.
        length: Of identifiers in which each place may hold a letter or a digit, without separators; then no shapes are needed.
        bare: Score when nothing is said about it. Below 0.5 a detector leaves it out.
        said: Score when the nearest label before it is one of ``labels``.
        alone: Score when it is all the text there is, as a cell of a table.
        countries: ISO 3166-1 alpha-2 codes of the packs it belongs to; empty for all.
    """

    kind: str
    shapes: tuple[str, ...] = ()
    check: Callable[[str], bool] | None = None
    labels: tuple[str, ...] = ()
    loose: str = ""
    length: int = 0
    bare: float = 0.3
    said: float = 0.85
    alone: float = 0.55
    countries: tuple[str, ...] = ()
