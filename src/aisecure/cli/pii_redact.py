"""``aisecure pii redact``."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import click

from aisecure.cli._pii_options import detectors, looking
from aisecure.cli._pii_replace import replacing
from aisecure.cli._printable import printable
from aisecure.cli._text_files import opened
from aisecure.detect import Redactor
from aisecure.storage import check_name, file_error


@click.command("redact")
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE")
@click.option(
    "--output", "-o", default="-", type=click.Path(allow_dash=True), show_default=True, help="The target."
)
@click.option("--force", is_flag=True, help="Replace a target that exists.")
@click.option(
    "--style",
    type=click.Choice(["label", "mask", "drop"]),
    default="label",
    show_default=True,
    help="What stands there instead.",
)
@looking
def command(file: str, output: str, style: Any, *, force: bool, **options: Any) -> None:
    """Write FILE without its personal data and secrets, as UTF-8; - is standard input or output.

    Dates and links are redacted too: leave them with --exclude pii.date_time,pii.url. In .json, .jsonl and .ndjson files
    what was JSON stays JSON: a number that is redacted becomes a string. A target that is a file appears only when all of it
    is written.
    """
    redactor = Redactor(detectors(**options), style=style)
    counts: Counter[str] = Counter()
    if output != "-":
        check_name(Path(output))
        if not force and Path(output).exists():
            raise click.UsageError(f"{printable(output)} exists; --force replaces it")
    with opened(file) as source:
        if source.is_binary:
            raise click.UsageError(f"{printable(file)} is binary")
        new = replacing(file, redactor, counts)
        try:
            # Bytes that are no text come as lone surrogates, and go as the bytes they were.
            with click.open_file(
                output, "w", encoding="utf-8", errors="surrogateescape", atomic=output != "-"
            ) as target:
                for chunk in source:
                    target.write(new.feed(chunk))
                target.write(new.finish())
        except BrokenPipeError:
            raise  # click ends quietly
        except OSError as err:
            raise file_error(Path(output), err) from err
    click.echo(f"{counts.total()} redacted", err=True)
