"""``aisecure injection scan``."""

from __future__ import annotations

import json
from typing import Any

import click

from aisecure.cli._printable import printable
from aisecure.cli._text_files import all_files, opened
from aisecure.detect import InjectionDetector
from aisecure.errors import AISecureError, Misconfigured

_EXIT_FOUND, _EXIT_MISCONFIGURED, _EXIT_UNAVAILABLE = 1, 3, 4


@click.command("scan")
@click.argument("files", nargs=-1, required=True, type=click.Path(allow_dash=True), metavar="FILE...")
@click.option(
    "--context",
    type=click.Choice(["user", "document", "tool_output"]),
    default="document",
    show_default=True,
    help="Where the texts are from.",
)
@click.option(
    "--rate",
    type=click.Choice(["5%", "1%", "0.1%"]),
    help="Share of harmless texts that may be flagged; without it the shipped default.",
)
@click.option(
    "--scores", is_flag=True, help="Print the score of every file, also of those that are not flagged."
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
@click.pass_context
def command(
    ctx: click.Context, /, files: tuple[str, ...], *, context: Any, rate: Any, scores: bool, as_json: bool
) -> None:
    """Print where files hold instructions to a model: file, line, column, kind and score, and never the text.

    FILE may be a folder, or - for standard input. Each file is judged as one text.

    Exits with 0 when nothing was found, with 1 when something was, and with 3 or 4 when a file could not be read; the
    others are looked at all the same. Files that are no text are named and skipped.
    """
    detector = InjectionDetector(rate=rate)
    found = worst = 0
    for name in all_files(files):
        try:
            with opened(name) as file:
                if file.is_binary:
                    click.echo(f"{printable(name)}: binary, skipped", err=True)
                    continue
                text = "".join(file)
        except AISecureError as err:
            worst = max(worst, _EXIT_MISCONFIGURED if isinstance(err, Misconfigured) else _EXIT_UNAVAILABLE)
            click.echo(f"aisecure: {err.detail} [{err.code}]", err=True)
            continue
        findings = detector.scan(text, context=context)
        found += bool(findings)
        for finding in findings:
            line = text.count("\n", 0, finding.start) + 1
            column = finding.start - (text.rfind("\n", 0, finding.start) + 1) + 1
            if as_json:
                click.echo(json.dumps({"file": name, "line": line, "column": column, **finding.to_dict()}))
            else:
                click.echo(f"{printable(name)}:{line}:{column}: {finding.kind} {finding.score:.2f}")
        if scores and not findings:
            score = detector.score(text, context=context)
            row = {"file": name, "score": round(score, 3)}
            click.echo(json.dumps(row) if as_json else f"{printable(name)}: {score:.2f}")
    click.echo(f"{found} flagged", err=True)
    ctx.exit(worst or (_EXIT_FOUND if found else 0))
