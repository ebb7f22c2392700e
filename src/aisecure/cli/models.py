"""``aisecure models ...``."""

from __future__ import annotations

from pathlib import Path

import click

from aisecure.models import ModelPins, lock_entry_for_file


@click.group("models")
def command() -> None:
    """Pin models, and check that they are what was pinned."""


@command.command("lock")
@click.argument("name")
@click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--lock", type=click.Path(path_type=Path), default="models.lock", show_default=True, help="Lock file."
)
def lock_command(name: str, file: Path, lock: Path) -> None:
    """Add the model FILE to the lock file under NAME, by its SHA-256."""
    text = lock.read_text(encoding="utf-8") if lock.exists() else "version = 1\n"
    text += "\n" + lock_entry_for_file(file, name=name, relative_to=lock.parent)
    ModelPins.from_text(text)  # refuses a name that is there already
    lock.write_text(text, encoding="utf-8")
    click.echo(f"{name} added to {lock}")


@command.command("verify")
@click.option(
    "--lock", type=click.Path(path_type=Path), default="models.lock", show_default=True, help="Lock file."
)
@click.pass_context
def verify_command(ctx: click.Context, lock: Path) -> None:
    """Check every pinned file against its digest; exits 1 when one differs."""
    pins = ModelPins.load(lock)
    good = True
    for name in pins:
        decision = pins.verify_file(name)
        good = good and decision.allowed
        click.echo(f"{'ok' if decision.allowed else decision.code:<20} {name}")
    ctx.exit(0 if good else 1)
