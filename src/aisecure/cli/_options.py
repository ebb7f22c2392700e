"""Options that mean the same in every command."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["as_json", "config"]

config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="aisecure.toml",
    show_default=True,
    help="Configuration file.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
