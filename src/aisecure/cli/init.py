"""``aisecure init``."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import click

from aisecure.errors import Misconfigured

#: File to write, and the template of this package it is a copy of.
_FILES = {"aisecure.toml": "aisecure.toml", "data/policy.csv": "policy.csv"}


@click.command("init")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False), default=".")
def command(folder: Path) -> None:
    """Write a commented configuration and a policy into FOLDER; existing files are left alone."""
    templates = files("aisecure.cli") / "templates"
    for name, template in _FILES.items():
        path = folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with path.open("x", encoding="utf-8") as file:
                file.write((templates / template).read_text(encoding="utf-8"))
        except FileExistsError:
            click.echo(f"kept     {path}")
        except OSError as err:
            raise Misconfigured(f"{path}: {err.strerror}; choose a folder that you may write") from err
        else:
            click.echo(f"written  {path}")
    click.echo("Next: aisecure keys api create --role member alice")
