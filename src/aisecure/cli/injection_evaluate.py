"""``aisecure injection evaluate``."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from aisecure.cli._json_rows import rows
from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.detect import InjectionDetector
from aisecure.detect.injection.detector import CONTEXTS
from aisecure.detect.injection.evaluate import Labelled, evaluate
from aisecure.errors import Misconfigured


@click.command("evaluate")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
)
@click.option(
    "--rate",
    type=click.Choice(["5%", "1%", "0.1%"]),
    help="Share of harmless texts that may be flagged; without it the shipped default.",
)
@click.option("--markdown", is_flag=True, help="Print a table in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
def command(files: tuple[Path, ...], *, rate: Any, markdown: bool, as_json: bool) -> None:
    """Measure on labelled texts of your own how many attacks are flagged, and how many harmless texts.

    FILE holds a JSON object a line, and may be compressed with gzip: {"text": ..., "label": 1}. Label 1 is an attack, 0 is
    harmless. "source" and "context" (user, document or tool_output) may be there too; without them the source is the file
    and the context is user. Texts are never printed.
    """
    begun = time.perf_counter()
    result = evaluate(InjectionDetector(rate=rate), (row for path in files for row in _labelled(path)))
    seconds = time.perf_counter() - begun
    if as_json:
        click.echo(json.dumps({**result.to_dict(), "seconds": round(seconds, 3)}, indent=2))
        return
    head = ("source", "texts", "attacks", "found", "harmless", "flagged")
    lines = [_line(name, counts) for name, counts in sorted(result.sources.items())]
    lines.append(_line("all", result.total()))
    if markdown:
        click.echo(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
        for line in lines:
            click.echo(f"| {' | '.join(line)} |")
    else:
        print_table(head, lines, widest=40)
    area = result.auroc()
    click.echo("" if area is None else f"AUROC {area:.3f}", err=markdown)


def _line(name: str, counts: Any) -> tuple[str, ...]:
    def share(part: int, of: int) -> str:
        return f"{part / of:.3f}" if of else ""

    return (
        printable(name),
        f"{counts.attacks + counts.harmless:,}",
        f"{counts.attacks:,}",
        share(counts.found, counts.attacks),
        f"{counts.harmless:,}",
        share(counts.flagged, counts.harmless),
    )


def _labelled(path: Path) -> Iterator[Labelled]:
    for number, row in enumerate(_objects(path, rows(path)), 1):
        text, label, context = row.get("text"), row.get("label"), row.get("context", "user")
        if not isinstance(text, str) or label not in (0, 1) or context not in CONTEXTS:
            raise Misconfigured(
                f"{printable(path.name)}: row {number}: needs text, label 0 or 1, and a context that is"
                f" {', '.join(CONTEXTS)}"
            )
        yield Labelled(text, bool(label), str(row.get("source", path.name)), context)


def _objects(path: Path, values: Iterable[Any]) -> Iterator[dict[str, Any]]:
    for number, value in enumerate(values, 1):
        if not isinstance(value, dict):
            raise Misconfigured(f"{printable(path.name)}: row {number}: is no JSON object")
        yield value
