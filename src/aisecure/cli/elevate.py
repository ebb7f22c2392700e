"""``aisecure elevate ...``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aisecure.cli._operator import operator
from aisecure.cli._options import as_json as _json
from aisecure.cli._options import config as _config
from aisecure.cli._table import print_table
from aisecure.cli._times import duration, shown
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.access import Elevation, Elevations

_tenant = click.option("--tenant", default="default", show_default=True, help="Tenant of the principal.")
_reason = click.option("--reason", required=True, help="Why: a sentence for whoever reads it later.")

_NO = 1


@click.group("elevate")
def command() -> None:
    """Give roles for a while, list who has some, end them.

    Whoever runs this has the service's files, so the policy is not asked; the log names the account of the machine.
    """


@command.command("grant")
@click.argument("principal")
@click.option("--role", "roles", multiple=True, required=True, help="A role to give; may be repeated.")
@click.option("--for", "seconds", type=duration, default="1h", show_default=True, help="How long: 30m, 8h.")
@_tenant
@_reason
@_config
@_json
def grant_command(
    principal: str,
    roles: tuple[str, ...],
    seconds: float,
    tenant: str,
    reason: str,
    config: Path,
    *,
    as_json: bool,
) -> None:
    """Give PRINCIPAL roles for a while, at most 8 hours."""
    with _opened(config) as elevations, _typed():
        held = elevations.grant(_operator(tenant), principal, roles, seconds=seconds, reason=reason)
    _show_one(held, as_json=as_json)


@command.command("break-glass")
@click.argument("principal")
@click.argument("role")
@click.option(
    "--for", "seconds", type=duration, default="30m", show_default=True, help="How long, at most 1h."
)
@_tenant
@_reason
@_config
@_json
def break_glass_command(
    principal: str, role: str, seconds: float, tenant: str, reason: str, config: Path, *, as_json: bool
) -> None:
    """Take ROLE as PRINCIPAL at once, in an emergency: loud in the log, and over within the hour."""
    with _opened(config) as elevations, _typed():
        asking = Principal(principal, tenant=tenant)
        held = elevations.break_glass(asking, role, reason=reason, seconds=seconds)
    _show_one(held, as_json=as_json)


@command.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that are over.")
@click.option("--tenant", help="Only within this tenant.")
@_config
@_json
def list_command(tenant: str | None, config: Path, *, all_: bool, as_json: bool) -> None:
    """List who has which roles, until when, and why."""
    with _opened(config) as elevations:
        found = elevations.list(tenant=tenant, all_=all_)
    if as_json:
        click.echo(json.dumps([held.to_dict() for held in found], indent=2))
    elif not found:
        click.echo("nobody is elevated", err=True)
    else:
        rows = [
            (
                held.id,
                held.tenant,
                held.principal,
                ", ".join(held.roles),
                "emergency" if held.emergency else "",
                shown(held.until),
                shown(held.ended),
                held.granted_by,
                held.reason,
            )
            for held in found
        ]
        head = ("id", "tenant", "principal", "roles", "kind", "until (UTC)", "ended", "by", "reason")
        print_table(head, rows)


@command.command("end")
@click.argument("elevation")
@_config
@click.pass_context
def end_command(ctx: click.Context, elevation: str, config: Path) -> None:
    """End ELEVATION (an id from the list) before its time."""
    with _opened(config) as elevations:
        ended = elevations.end(elevation, by=_operator("default"))
    click.echo("ended" if ended else "no such elevation holds", err=not ended)
    ctx.exit(0 if ended else _NO)


@contextmanager
def _opened(config: Path) -> Iterator[Elevations]:
    """Open only what this needs, so that a role can be ended while another section is broken."""
    from aisecure.access import Elevations
    from aisecure.config import Assembly, load

    assembly = Assembly.build(load(config).only("audit"))
    try:
        ports = assembly.ports
        events = assembly.sinks[0] if assembly.sinks else ports.events
        yield Elevations(ports.storage(), clock=ports.clock, notices=ports.notices, events=events)
    finally:
        for sink in assembly.sinks:
            close = getattr(sink, "close", None)
            if close is not None:
                close()
        assembly.close()


@contextmanager
def _typed() -> Iterator[None]:
    """Tell what was typed wrongly as click tells it."""
    try:
        yield
    except (TypeError, ValueError) as err:
        raise click.UsageError(str(err)) from err


def _operator(tenant: str) -> Principal:
    return Principal(operator(), tenant=tenant)


def _show_one(held: Elevation, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(held.to_dict()))
    else:
        click.echo(held.id)
        click.echo(f"{', '.join(held.roles)} until {shown(held.until)} UTC", err=True)
