"""``aisecure pii ...``."""

from __future__ import annotations

import gzip
import io
import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import click

from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.detect import Detector, PiiDetector, Redactor, SecretDetector
from aisecure.detect.evaluate import Evaluation, evaluate
from aisecure.detect.scan import Engine, Hit, Scan

_EXIT_FOUND = 1
_CHUNK = 1 << 16
_BAR_FROM_BYTES = 8 << 20
_BOMS = {b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16", b"\xef\xbb\xbf": "utf-8-sig"}

_files = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_types = click.option("--types", help="Kinds to look for, separated by commas; all by default.")
_exclude = click.option("--exclude", default="", help="Kinds to leave out, separated by commas.")
_countries = click.option("--countries", help="Of national identifiers only those of these, such as US,GB.")
_threshold = click.option(
    "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Least confidence."
)
_secrets = click.option(
    "--secrets/--no-secrets", default=True, show_default=True, help="Look for credentials too."
)
_json = click.option("--json", "as_json", is_flag=True, help="Print JSON; of a scan one object a line.")


@click.group("pii")
def command() -> None:
    """Find and redact personal data and secrets in files. FILE may be a folder, or - for standard input."""


@command.command("scan")
@_files
@_types
@_exclude
@_countries
@_threshold
@_secrets
@click.option("--show-values", is_flag=True, help="Print what was found; else only where and what it is.")
@_json
def scan_command(
    files: tuple[str, ...],
    types: str | None,
    exclude: str,
    countries: str | None,
    threshold: float,
    *,
    secrets: bool,
    show_values: bool,
    as_json: bool,
) -> None:
    """Print where personal data and secrets are: file, line, column, kind and confidence.

    Exits with 0 when nothing was found, 1 when something was, 2 when a file could not be read.
    """
    detectors = _detectors(types, exclude, countries, threshold, secrets=secrets)
    engine = Engine(source for detector in detectors for source in detector.sources)
    found, failed = 0, False
    for name in _all_files(files):
        try:
            with _opened(name) as (source, advance):
                if source is None:
                    click.echo(f"{printable(name)}: binary, skipped", err=True)
                    continue
                for row in _hits(engine, source, advance, show_values=show_values):
                    found += 1
                    _print_hit(name, row, as_json=as_json)
        except OSError as err:
            failed = True
            click.echo(f"{printable(name)}: {err.strerror or type(err).__name__}", err=True)
    if not as_json:
        click.echo(f"{found} found", err=True)
    sys.exit(2 if failed else _EXIT_FOUND if found else 0)


@command.command("redact")
@click.argument("file", metavar="FILE")
@click.option(
    "--output",
    "-o",
    default="-",
    show_default=True,
    help="Where the redacted text goes; - is standard output.",
)
@click.option(
    "--style",
    type=click.Choice(["label", "mask", "drop"]),
    default="label",
    show_default=True,
    help="What stands there instead.",
)
@_types
@_exclude
@_countries
@_threshold
@_secrets
def redact_command(
    file: str,
    output: str,
    style: Any,
    types: str | None,
    exclude: str,
    countries: str | None,
    threshold: float,
    *,
    secrets: bool,
) -> None:
    """Write FILE without its personal data and secrets. Dates and links are redacted too: leave them with --exclude."""
    stream = Redactor(_detectors(types, exclude, countries, threshold, secrets=secrets), style=style).stream()
    try:
        with _opened(file) as (source, advance):
            if source is None:
                raise click.ClickException(f"{printable(file)}: is binary")
            with click.open_file(
                output, "w", encoding="utf-8", errors="surrogateescape", atomic=output != "-"
            ) as target:
                for chunk in iter(lambda: source.read(_CHUNK), ""):
                    target.write(stream.feed(chunk))
                    advance(len(chunk))
                target.write(stream.finish())
    except OSError as err:
        raise click.ClickException(f"{printable(file)}: {err.strerror or type(err).__name__}") from None
    click.echo(f"{len(stream.findings)} redacted", err=True)


@command.command("evaluate")
@click.argument(
    "files",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE...",
)
@_types
@_exclude
@_countries
@_threshold
@_secrets
@click.option(
    "--leave-out", default="", help="Types that are not judged, separated by commas, such as PERSON,LOCATION."
)
@click.option(
    "--misses", is_flag=True, help="List what was missed and what was found wrongly: row, offsets and type."
)
@click.option("--min-f1", type=click.FloatRange(0, 1), help="Exit with 1 when the F1 over all is lower.")
@_json
def evaluate_command(
    files: tuple[Path, ...],
    types: str | None,
    exclude: str,
    countries: str | None,
    threshold: float,
    *,
    secrets: bool,
    leave_out: str,
    misses: bool,
    min_f1: float | None,
    as_json: bool,
) -> None:
    """Measure precision and recall on labelled texts of your own.

    FILE holds a JSON object a line, and may be compressed with gzip: {"text": ..., "spans": [{"start": 5, "end": 20, "type":
    "EMAIL_ADDRESS"}]}. Types are the names of Presidio or kinds such as pii.email.
    """
    detectors = _detectors(types, exclude, countries, threshold, secrets=secrets)
    begun = time.perf_counter()
    try:
        result = evaluate(
            (row for path in files for row in _rows(path)), detectors, leave_out=_listed(leave_out)
        )
    except (ValueError, OSError) as err:
        raise click.ClickException(str(err)) from None
    seconds = time.perf_counter() - begun
    if as_json:
        click.echo(json.dumps(result.to_dict() | {"seconds": round(seconds, 3)}, indent=2))
    else:
        _print_evaluation(result, seconds, misses=misses)
    sys.exit(1 if min_f1 is not None and result.micro().f1() < min_f1 else 0)


def _print_evaluation(result: Evaluation, seconds: float, *, misses: bool) -> None:
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
    for title, places in (("missed", result.misses), ("wrong", result.false)) if misses else ():
        for row, start, end, name in places:
            click.echo(f"{title}: row {row + 1}, {start} to {end}, {printable(name)}")


def _listed(text: str | None) -> list[str]:
    return [word.strip() for word in (text or "").split(",") if word.strip()]


def _detectors(
    types: str | None, exclude: str, countries: str | None, threshold: float, *, secrets: bool
) -> list[Detector]:
    codes = None if countries is None else [code.upper() for code in _listed(countries)]
    wanted, unwanted = set(_listed(types)), set(_listed(exclude))
    try:
        pii, other = PiiDetector(countries=codes).types, SecretDetector().types
    except ValueError as err:
        raise click.UsageError(str(err)) from None
    unknown = (wanted | unwanted) - pii - other
    if unknown:
        raise click.UsageError(f"unknown kinds {', '.join(sorted(unknown))}")
    pii = (pii & wanted if wanted else pii) - unwanted
    other = (other & wanted if wanted else other) - unwanted
    out: list[Detector] = [PiiDetector(pii, countries=codes, threshold=threshold)] if pii else []
    if other and secrets:
        out.append(SecretDetector(other, threshold=threshold))
    if not out:
        raise click.UsageError("nothing is left to look for")
    return out


def _all_files(names: tuple[str, ...]) -> Iterator[str]:
    for name in names:
        path = Path(name)
        if name != "-" and path.is_dir():
            yield from (str(each) for each in sorted(path.rglob("*")) if each.is_file())
        else:
            yield name


@contextmanager
def _opened(name: str) -> Iterator[tuple[TextIO | None, Any]]:
    """Open a text in whatever encoding it begins with; None for what is no text. Long ones get a progress bar."""
    if name == "-":
        source = io.TextIOWrapper(sys.stdin.buffer, encoding="utf-8", errors="surrogateescape")
        try:
            yield source, lambda _: None
        finally:
            source.detach()  # or it would close what is not ours
        return
    path = Path(name)
    with path.open("rb") as raw:
        start = raw.read(4096)
    encoding = next((encoding for mark, encoding in _BOMS.items() if start.startswith(mark)), "utf-8")
    if b"\0" in start and encoding != "utf-16":
        yield None, None
        return
    size = path.stat().st_size
    with path.open(
        encoding=encoding, errors="surrogateescape" if encoding != "utf-16" else "replace", newline=""
    ) as source:
        if size < _BAR_FROM_BYTES or not sys.stderr.isatty():
            yield source, lambda _: None
            return
        with click.progressbar(length=size, label=printable(path.name), file=sys.stderr) as bar:
            yield source, bar.update


def _hits(engine: Engine, source: TextIO, advance: Any, *, show_values: bool) -> Iterator[dict[str, Any]]:
    """Return what is in a text that is read piece by piece, with line and column of each."""
    scan = Scan(engine, keep=True)
    line, column, offset = 1, 1, 0

    def walk(pieces: list[str | Hit]) -> Iterator[dict[str, Any]]:
        nonlocal line, column, offset
        for piece in pieces:
            text = piece if isinstance(piece, str) else piece.value
            if isinstance(piece, Hit):
                row = {
                    "line": line,
                    "column": column,
                    "start": offset,
                    "end": offset + len(text),
                    "kind": piece.kind,
                    "score": round(piece.score, 2),
                }
                yield row | ({"value": text} if show_values else {})
            newlines = text.count("\n")
            line += newlines
            column = len(text) - text.rfind("\n") if newlines else column + len(text)
            offset += len(text)

    for chunk in iter(lambda: source.read(_CHUNK), ""):
        yield from walk(scan.feed(chunk))
        advance(len(chunk))
    yield from walk(scan.finish())


def _print_hit(name: str, row: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"file": name} | row))
        return
    value = f"  {printable(row['value'])}" if "value" in row else ""
    click.echo(f"{printable(name)}:{row['line']}:{row['column']}: {row['kind']} {row['score']:.2f}{value}")


def _rows(path: Path) -> Iterator[Any]:
    open_text: Any = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt", encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError:
                    raise ValueError(f"{printable(path.name)}: line {number} is no JSON") from None
