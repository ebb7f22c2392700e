"""``aisecure pii redact``."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import click

from aisecure.cli._pii_options import detectors, looking
from aisecure.cli._pii_replace import replacing
from aisecure.cli._printable import printable
from aisecure.cli._text_files import opened
from aisecure.detect import Redactor, fake
from aisecure.errors import Misconfigured
from aisecure.storage import check_name, file_error

_LEAST_KEY = 32


@click.command("redact")
@click.argument("file", type=click.Path(allow_dash=True), metavar="FILE")
@click.option(
    "--output", "-o", default="-", type=click.Path(allow_dash=True), show_default=True, help="The target."
)
@click.option("--force", is_flag=True, help="Replace a target that exists.")
@click.option(
    "--style",
    type=click.Choice(["label", "mask", "drop", "fake"]),
    default="label",
    show_default=True,
    help="What stands there instead.",
)
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    help="Of --style fake: a file of 32 random bytes or more that only its owner may read.",
)
@looking
def command(
    file: str, output: str, style: Any, key_file: Path | None, *, force: bool, **options: Any
) -> None:
    """Write FILE without its personal data and secrets, as UTF-8; - is standard input or output.

    Dates and links are redacted too: leave them with --exclude pii.date_time,pii.url. In .json, .jsonl and .ndjson files
    what was JSON stays JSON: a number that is redacted becomes a string. A target that is a file appears only when all of it
    is written.
    """
    if (style == "fake") != (key_file is not None):
        raise click.UsageError("--style fake and --key-file belong together")
    redactor = Redactor(detectors(**options), style=style if key_file is None else fake(_key(key_file)))
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


def _key(path: Path) -> bytes:
    """Return the key in a file.

    Raises:
        Misconfigured: It is missing, too short, or others may read it.
    """
    check_name(path)
    try:
        with path.open("rb") as source:
            is_private = not os.fstat(source.fileno()).st_mode & 0o077
            key = source.read(4096)
    except OSError as err:
        raise file_error(path, err) from err
    if not is_private:
        raise Misconfigured(f"{path.name}: others may read the key; run: chmod 600 {path.name}")
    if len(key) < _LEAST_KEY:
        raise Misconfigured(
            f"{path.name}: a key has {_LEAST_KEY} bytes or more; make one: head -c 32 /dev/urandom > {path.name}"
        )
    return key
