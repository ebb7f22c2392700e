"""Groups whose commands are imported when they are named, so that ``aisecure --help`` stays quick."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group of commands in other modules.

    Args:
        modules: Command, and the module of `aisecure.cli` that defines it under the name ``command``.
    """

    def __init__(self, *args: Any, modules: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.modules = modules

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names, of this module's own commands too."""
        return sorted({*super().list_commands(ctx), *self.modules})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, imported now."""
        if cmd_name not in self.modules:
            return super().get_command(ctx, cmd_name)
        module = import_module(f"aisecure.cli.{self.modules[cmd_name]}")
        command: click.Command = module.command
        return command
