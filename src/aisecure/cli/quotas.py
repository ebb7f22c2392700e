"""``aisecure quotas``: what is left of somebody's limits and budgets, and giving it back."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecure.cli._table import print_table

if TYPE_CHECKING:
    from aisecure.call import Call
    from aisecure.config import Assembly
    from aisecure.standing import Standing

__all__ = ["command"]

#: Counts are in the memory of other processes, where this command cannot see them.
_UNSEEN = 1

_config = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    default=Path("aisecure.toml"),
    show_default=True,
    help="Configuration file.",
)


@click.group(name="quotas")
def command() -> None:
    """Show what is left of limits and budgets, and reset them.

    Exit codes: 0 done, 1 some counts are in the memory of other processes and cannot be seen from here.
    """


def _whose(function: Any) -> Any:
    for option in (
        click.option("--principal", required=True, help="Id of the caller, as tokens and keys name it."),
        click.option("--tenant", default="default", show_default=True, help="Tenant of the caller."),
        click.option("--resource", default="model:default", show_default=True, help="What is called."),
        click.option("--source", default="", help="Client address, for limits that count by it."),
    ):
        function = option(function)
    return function


@command.command("show")
@_whose
@_config
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.pass_context
def show_command(
    ctx: click.Context,
    principal: str,
    tenant: str,
    resource: str,
    source: str,
    config: Path,
    as_json: bool,  # noqa: FBT001  (click passes flags by keyword)
) -> None:
    """Print what a caller has left of every limit and budget that concerns the resource."""
    call = _call(principal, tenant, resource, source)
    standings: list[Standing] = []
    with _guards(config) as (seen, unseen, _):
        for guard in seen:
            standings += guard.remaining(call)
    if as_json:
        body = {"standings": [standing.to_dict() for standing in standings], "unseen": unseen}
        click.echo(json.dumps(body, indent=2))
    else:
        head = ("name", "limit", "window (s)", "used", "remaining", "all back in (s)")
        rows = [
            (
                standing.name,
                f"{_text(standing.limit)} {standing.unit}",
                str(standing.window_seconds),
                _text(standing.used),
                _text(standing.remaining),
                f"{standing.reset_seconds:.0f}",
            )
            for standing in standings
        ]
        if rows:
            print_table(head, rows)
    _tell_unseen(unseen)
    ctx.exit(_UNSEEN if unseen else 0)


@command.command("reset")
@_whose
@_config
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def reset_command(
    ctx: click.Context,
    principal: str,
    tenant: str,
    resource: str,
    source: str,
    config: Path,
    yes: bool,  # noqa: FBT001  (click passes flags by keyword)
) -> None:
    """Forget what a caller spent from every limit and budget that concerns the resource.

    Limits that several callers share begin anew for all of them. It is recorded who did it.
    """
    if not yes:
        click.confirm(f"Forget what {principal!r} of tenant {tenant!r} spent on {resource!r}?", abort=True)
    call = _call(principal, tenant, resource, source)
    names: list[str] = []
    with _guards(config) as (seen, unseen, assembly):
        for guard in seen:
            names += guard.reset(call)
        if names:
            _record(assembly, call, names)
    for name in names:
        click.echo(name)
    _tell_unseen(unseen)
    ctx.exit(_UNSEEN if unseen else 0)


def _call(principal: str, tenant: str, resource: str, source: str) -> Call:
    from aisecure.call import Call
    from aisecure.principal import Principal

    return Call(Principal(principal, tenant=tenant), "invoke", resource, None, source)


@contextmanager
def _guards(config: Path) -> Iterator[tuple[list[Any], list[str], Assembly]]:
    """Lend the guards that count where this process can see it, and the names of those that do not."""
    from aisecure.config import Assembly, load

    assembly = Assembly.build(load(config).only("audit", "quotas"))
    try:
        counting = [guard for guard in assembly.guards if hasattr(guard, "remaining")]
        seen = [guard for guard in counting if guard.counts_are_shared]  # type: ignore[attr-defined]
        yield seen, [guard.name for guard in counting if guard not in seen], assembly
    finally:
        for guard in assembly.guards:
            guard.close()
        for sink in assembly.sinks:
            close = getattr(sink, "close", None)
            if close is not None:
                close()
        assembly.close()


def _record(assembly: Assembly, call: Call, names: list[str]) -> None:
    from aisecure.events import SecurityEvent

    try:
        operator = getpass.getuser()
    except (KeyError, OSError):
        operator = "unknown"
    detail = {"by": f"os:{operator}", "limits": names}
    for sink in assembly.sinks:
        sink.record(SecurityEvent.about(call, "quota.reset", detail=detail))


def _tell_unseen(names: list[str]) -> None:
    if names:
        click.echo(
            f"{', '.join(names)}: counted in the memory of each process, which cannot be seen from here; "
            "write redis_url in [quotas] to count in one place",
            err=True,
        )


def _text(number: Any) -> str:
    return str(number) if isinstance(number, int) else f"{number.normalize():f}"
