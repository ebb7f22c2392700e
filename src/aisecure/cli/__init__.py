"""The command line: ``aisecure ...``; one module a command group, loaded when it is used.

Exit codes: 0 done, 1 the answer is no (a log that does not verify, a demo step that failed), 2 the command was
typed wrongly, 3 something is misconfigured, 4 something is unavailable.
"""

from __future__ import annotations

from typing import Any

import click

from aisecure.cli._lazy import LazyGroup
from aisecure.errors import AISecureError, Misconfigured

__all__ = ["main"]

#: Command, and the module of this package that defines it under the name ``command``.
_COMMANDS = {
    "approvals": "approvals",
    "audit": "audit",
    "completion": "completion",
    "demo": "demo",
    "doctor": "doctor",
    "elevate": "elevate",
    "files": "files",
    "init": "init",
    "injection": "injection",
    "keys": "keys",
    "models": "models",
    "pii": "pii",
    "policy": "policy",
    "quotas": "quotas",
    "tls": "tls",
}

EXIT_NO, EXIT_MISCONFIGURED, EXIT_UNAVAILABLE = 1, 3, 4


class _Main(LazyGroup):
    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except AISecureError as err:
            click.echo(f"aisecure: {err.detail} [{err.code}]", err=True)
            ctx.exit(EXIT_MISCONFIGURED if isinstance(err, Misconfigured) else EXIT_UNAVAILABLE)


@click.group(cls=_Main, modules=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="aisecure")
def main() -> None:
    """Security for AI applications: run the demo, look after keys, models and the audit log."""
