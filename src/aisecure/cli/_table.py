"""Rows under each other, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

import click

__all__ = ["print_table"]


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]], *, widest: int = 28) -> None:
    """Print aligned columns under a head; columns that are empty in every row are left out.

    Args:
        head: Names of the columns.
        rows: As many texts each.
        widest: Longer texts are cut and end with an ellipsis.
    """
    kept = [number for number, _ in enumerate(head) if any(row[number] for row in rows)]
    lines = [[_cut(row[number], widest) for number in kept] for row in (head, *rows)]
    widths = [max(len(line[place]) for line in lines) for place, _ in enumerate(kept)]
    for line in lines:
        click.echo("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())


def _cut(text: str, widest: int) -> str:
    return text if len(text) <= widest else text[: widest - 1] + "…"
