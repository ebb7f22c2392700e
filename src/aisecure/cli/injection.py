"""``aisecure injection ...``."""

from __future__ import annotations

import click

from aisecure.cli._lazy import LazyGroup

_MODULES = {"evaluate": "injection_evaluate", "scan": "injection_scan"}


@click.group("injection", cls=LazyGroup, modules=_MODULES)
def command() -> None:
    """Find instructions to a model in files, and measure how well they are found."""
