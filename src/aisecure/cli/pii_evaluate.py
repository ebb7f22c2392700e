"""``aisecure pii evaluate``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from aisecure.cli._json_rows import rows
from aisecure.cli._pii_options import detectors, listed, looking
from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.detect.evaluate import Evaluation, evaluate
from aisecure.errors import Misconfigured

_EXIT_NO = 1


@click.command("evaluate")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
)
@looking
@click.option(
    "--leave-out", default="", help="Types that are not judged, separated by commas, such as PERSON,LOCATION."
)
@click.option(
    "--misses", is_flag=True, help="List what was missed and what was found wrongly: row, offsets and type."
)
@click.option(
    "--show-values", is_flag=True, help="With --misses: print the texts, too, which may be personal data."
)
@click.option(
    "--equal",
    multiple=True,
    metavar="TYPE=TYPES",
    help="A label of the data and the types that are right for it, such as 'PASSPORT=*_PASSPORT'; may be repeated.",
)
@click.option("--min-f1", type=click.FloatRange(0, 1), help="Exit with 1 when the F1 over all is lower.")
@click.option("--markdown", is_flag=True, help="Print a table in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[Path, ...],
    *,
    leave_out: str,
    misses: bool,
    show_values: bool,
    equal: tuple[str, ...],
    min_f1: float | None,
    markdown: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure precision and recall on labelled texts of your own.

    FILE holds a JSON object a line, and may be compressed with gzip: {"text": ..., "spans": [{"start": 5, "end": 20, "type":
    "EMAIL_ADDRESS"}]}. Types are the names of Presidio or kinds such as pii.email.

    F1 counts a finding of the right type that overlaps a label; F1 strict one that has exactly its place. "all" adds up the
    counts of all types, macro is the mean of the types that are labelled.

    Exits with 1 when --min-f1 is not reached, with 3 when the data are wrong.
    """
    looked_for, kept = detectors(**options), _Kept(show_values=show_values)
    begun = time.perf_counter()
    try:
        result = evaluate(
            kept.passing(row for path in files for row in rows(path)),
            looked_for,
            leave_out=listed(leave_out),
            equal=dict(map(_equal, equal)),
        )
    except ValueError as err:
        raise Misconfigured(str(err)) from None
    seconds = time.perf_counter() - begun
    if as_json:
        places = _places(result) if misses else {}
        click.echo(json.dumps({**result.to_dict(), **places, "seconds": round(seconds, 3)}, indent=2))
    elif markdown:
        _print_markdown(result)
    else:
        _print_evaluation(result, seconds)
    if misses and not as_json:
        for title, several in (("missed", result.misses), ("wrong", result.false)):
            for row, start, end, name in several:
                value = kept.value(row, start, end)
                click.echo(f"{title}: row {row + 1}, {start} to {end}, {printable(name)}{value}")
    ctx.exit(_EXIT_NO if min_f1 is not None and result.micro().f1() < min_f1 else 0)


class _Kept:
    """The texts of rows that go by, where values are to be shown; else nothing is kept."""

    def __init__(self, *, show_values: bool) -> None:
        self._texts: list[str] | None = [] if show_values else None

    def passing(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            if self._texts is not None and isinstance(row, dict):
                self._texts.append(str(row.get("text", row.get("full_text"))))
            yield row

    def value(self, row: int, start: int, end: int) -> str:
        return "" if self._texts is None else f": {printable(self._texts[row][start:end])}"


def _equal(told: str) -> tuple[str, list[str]]:
    label, sign, types = told.partition("=")
    if not (label and sign and listed(types)):
        raise click.UsageError("--equal is a label, =, and types separated by commas")
    return label.strip(), listed(types)


def _places(result: Evaluation) -> dict[str, Any]:
    return {
        title: [
            {"row": row + 1, "start": start, "end": end, "type": name} for row, start, end, name in several
        ]
        for title, several in (("misses", result.misses), ("wrong", result.false))
    }


def _print_markdown(result: Evaluation) -> None:
    click.echo("| type | labelled | found | false | precision | recall | F1 | F1 strict |")
    click.echo("|---|---|---|---|---|---|---|---|")
    by_labels = sorted(result.types.items(), key=lambda each: (-each[1].labelled, each[0]))
    for name, score in (*by_labels, ("all", result.micro())):
        figures = (score.precision(), score.recall(), score.f1(), score.f1(strict=True))
        counts = " | ".join(f"{count:,}" for count in (score.labelled, score.found, score.false))
        click.echo(f"| {printable(name)} | {counts} | {' | '.join(f'{figure:.3f}' for figure in figures)} |")


def _print_evaluation(result: Evaluation, seconds: float) -> None:
    head = ("type", "labelled", "found", "exact", "false", "precision", "recall", "F1", "F1 strict")
    lines = []
    for name, score in [*sorted(result.types.items()), ("all", result.micro())]:
        figures = (score.precision(), score.recall(), score.f1(), score.f1(strict=True))
        counts = (score.labelled, score.found, score.exact, score.false)
        lines.append((printable(name), *map(str, counts), *(f"{figure:.2f}" for figure in figures)))
    print_table(head, lines)
    click.echo(
        f"macro F1 {result.macro_f1():.3f}, strict {result.macro_f1(strict=True):.3f}; {result.rows} rows, {result.characters / max(seconds, 1e-9) / 1e6:.2f} MB/s"
    )
