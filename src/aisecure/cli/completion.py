"""``aisecure completion``."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def command(shell: str) -> None:
    """Print the completion script of a shell.

    For bash: aisecure completion bash > ~/.local/share/bash-completion/completions/aisecure
    """
    from aisecure.cli import main

    kind = get_completion_class(shell)
    if kind is None:  # the choice above names only shells that click knows
        raise click.UsageError(f"no completion for {shell}")
    click.echo(kind(main, {}, "aisecure", "_AISECURE_COMPLETE").source())
