"""``aisecure demo``."""

from __future__ import annotations

from pathlib import Path

import click

from aisecure.errors import Misconfigured


@click.command("demo")
@click.option("--json", "as_json", is_flag=True, help="Print what was seen as JSON.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Keep configuration, data and log in this folder.",
)
@click.pass_context
def command(ctx: click.Context, *, as_json: bool, keep: Path | None) -> None:
    """Protect a real language model, and show what every guard did.

    Exits 0 only if every step did what it says.
    """
    if keep is not None and keep.is_dir() and any(keep.iterdir()):
        raise click.UsageError(f"{keep} is not empty; name a new folder")
    try:
        from aisecure.apps.demo.run import run
    except ImportError as err:
        raise Misconfigured(
            f"the demo needs {err.name}; run: pip install 'aisecure[demo]'", code="config.extra"
        ) from err
    ctx.exit(0 if run(as_json=as_json, folder=keep) else 1)
