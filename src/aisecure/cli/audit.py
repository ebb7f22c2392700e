"""``aisecure audit ...``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aisecure.audit import read, verify


@click.group("audit")
def command() -> None:
    """Check and read the audit log."""


@command.command("verify")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
@click.pass_context
def verify_command(ctx: click.Context, folder: Path, *, as_json: bool) -> None:
    """Check the log in FOLDER, entry by entry; exits 1 when it was changed."""
    report = verify(folder)
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    ctx.exit(0 if report.ok else 1)


@command.command("tail")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option(
    "-n", "--lines", default=10, show_default=True, type=click.IntRange(min=1), help="How many entries."
)
@click.option("--json", "as_json", is_flag=True, help="Print the lines as stored.")
def tail_command(folder: Path, lines: int, *, as_json: bool) -> None:
    """Print the newest entries of the log in FOLDER."""
    from collections import deque

    for entry in deque(read(folder), maxlen=lines):
        event = entry["ev"]
        if as_json:
            click.echo(json.dumps(entry, ensure_ascii=False))
        else:
            click.echo(
                f"{entry['seq']:>8} {entry['ts']} {event['type']:<18} {event.get('resource', '-'):<28} {event.get('code', '')}"
            )
