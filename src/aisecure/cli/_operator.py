"""Who runs a command, as far as the machine can tell."""

from __future__ import annotations

import getpass

__all__ = ["operator"]


def operator() -> str:
    """Return the account of the machine, as a name that the log can hold: ``os:ana``."""
    try:
        return f"os:{getpass.getuser()}"
    except (KeyError, OSError):
        return "os:unknown"
