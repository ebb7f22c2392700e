"""``aisecure pii scan``."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import click

from aisecure.cli._pii_hits import Seen, hits_of
from aisecure.cli._pii_options import detectors, looking
from aisecure.cli._pii_replace import replacing
from aisecure.cli._printable import printable
from aisecure.cli._text_files import TextFile, all_files, opened
from aisecure.detect import Redactor
from aisecure.detect.scan import Engine
from aisecure.errors import AISecureError, Misconfigured

_EXIT_FOUND, _EXIT_MISCONFIGURED, _EXIT_UNAVAILABLE = 1, 3, 4


@click.command("scan")
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="FILE...")
@looking
@click.option("--show-values", is_flag=True, help="Print what was found; else only where and what it is.")
@click.option("--redact", is_flag=True, help="Print the texts themselves, with labels for what was found.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_context
def command(
    ctx: click.Context,
    /,
    files: tuple[str, ...],
    *,
    show_values: bool,
    redact: bool,
    as_json: bool,
    **options: Any,
) -> None:
    """Print where personal data and secrets are: file, line, column, kind and confidence.

    FILE may be a folder, or - for standard input. In .json, .jsonl and .ndjson files a JSON Pointer follows. Columns and
    offsets count code points. With --redact the texts of the files are printed one after another, as UTF-8, and no places;
    the command pii redact writes a single file, in other styles too.

    Exits with 0 when nothing was found, with 1 when something was, and with 3 or 4 when a file could not be read; the
    others are looked at all the same. Files that are no text are named and skipped.
    """
    if redact and (as_json or show_values):
        raise click.UsageError("--redact prints texts: leave --json and --show-values out")
    looks = detectors(**options)
    engine = Engine(source for detector in looks for source in detector.sources)
    redactor = Redactor(looks)
    found = worst = 0
    for name in all_files(files):
        try:
            with opened(name) as file:
                if file.is_binary:
                    click.echo(f"{printable(name)}: binary, skipped", err=True)
                    continue
                if redact:
                    found += _print_redacted(file, redactor)
                    continue
                for seen in _hits(file, engine):
                    found += 1
                    _print(name, seen, show_values=show_values, as_json=as_json)
        except AISecureError as err:
            worst = max(worst, _EXIT_MISCONFIGURED if isinstance(err, Misconfigured) else _EXIT_UNAVAILABLE)
            click.echo(f"aisecure: {err.detail} [{err.code}]", err=True)
    click.echo(f"{found} found", err=True)
    ctx.exit(worst or (_EXIT_FOUND if found else 0))


def _hits(file: TextFile, engine: Engine) -> Iterator[Seen]:
    hits = hits_of(file.name, engine)
    for chunk in file:
        yield from hits.feed(chunk)
    yield from hits.finish()


def _print_redacted(file: TextFile, redactor: Redactor) -> int:
    """Print a file's text without what was found in it; return how much that was."""
    counts: Counter[str] = Counter()
    new = replacing(file.name, redactor, counts)
    # Bytes that are no text come as lone surrogates, and go as the bytes they were.
    for chunk in file:
        click.echo(new.feed(chunk).encode("utf-8", "surrogateescape"), nl=False)
    click.echo(new.finish().encode("utf-8", "surrogateescape"), nl=False)
    return counts.total()


def _print(name: str, seen: Seen, *, show_values: bool, as_json: bool) -> None:
    finding = seen.finding
    if as_json:
        row = {"file": name, "line": seen.line, "column": seen.column, **finding.to_dict()}
        click.echo(json.dumps(row | ({"value": seen.value} if show_values else {})))
        return
    words = [f"{printable(name)}:{seen.line}:{seen.column}: {finding.kind} {finding.score:.2f}"]
    words += [printable(finding.path)] if finding.path else []
    words += [printable(seen.value)] if show_values else []
    click.echo("  ".join(words))
