"""``aisecure pii ...``."""

from __future__ import annotations

import click

from aisecure.cli._lazy import LazyGroup

_MODULES = {"evaluate": "pii_evaluate", "redact": "pii_redact", "scan": "pii_scan"}


@click.group("pii", cls=LazyGroup, modules=_MODULES)
def command() -> None:
    """Find personal data and secrets in files, take them out, and measure how well they are found."""
