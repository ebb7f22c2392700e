"""``aisecure keys ...``."""

from __future__ import annotations

import click

from aisecure.cli._lazy import LazyGroup

_MODULES = {"api": "keys_api", "ring": "keys_ring", "subject": "keys_subject"}


@click.group("keys", cls=LazyGroup, modules=_MODULES)
def command() -> None:
    """Look after API keys (api), encryption keys (ring) and those of persons (subject)."""
