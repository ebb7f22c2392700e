"""``aisecure approvals ...``."""

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
from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.cli._times import shown
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.approvals import Approvals, Request

_tenant = click.option("--tenant", default="default", show_default=True, help="Tenant of the request.")
_note = click.option("--note", default="", help="A sentence for whoever reads it later.")

_NO = 1


@click.group("approvals")
def command() -> None:
    """Look at the calls that wait for a person, and approve or refuse them.

    Whoever runs this has the service's files, so no policy is asked who may answer; the log names the account of the
    machine.
    """


@command.command("list")
@click.option("--all", "all_", is_flag=True, help="Also those that were answered, used, or are over.")
@click.option("--tenant", help="Only within this tenant.")
@_config
@_json
def list_command(tenant: str | None, config: Path, *, all_: bool, as_json: bool) -> None:
    """List the calls that wait, oldest first."""
    with _opened(config) as approvals:
        found = approvals.list(tenant=tenant, states=None) if all_ else approvals.list(tenant=tenant)
    if as_json:
        click.echo(json.dumps([one.to_dict() for one in found], indent=2))
    elif not found:
        click.echo("nothing waits", err=True)
    else:
        head = ("id", "tenant", "principal", "action", "resource", "state", "until (UTC)", "reason")
        print_table(
            head,
            [
                (
                    one.id, one.tenant, printable(one.principal), printable(one.action), printable(one.resource),
                    one.state, shown(one.expires), one.reason,
                )
                for one in found
            ],
        )  # fmt: skip


@command.command("show")
@click.argument("request")
@_config
@_json
def show_command(request: str, config: Path, *, as_json: bool) -> None:
    """Print REQUEST (an id from the list) with its arguments, as far as they were kept."""
    with _opened(config) as approvals, _known():
        one = approvals.get(request)
    _print(one, as_json=as_json)


@command.command("approve")
@click.argument("request")
@_tenant
@_note
@_config
@_json
def approve_command(request: str, tenant: str, note: str, config: Path, *, as_json: bool) -> None:
    """Approve REQUEST: this call, once, within the next minutes."""
    with _opened(config) as approvals, _known():
        one = approvals.approve(request, by=_operator(tenant), note=note)
    _print(one, as_json=as_json)


@command.command("deny")
@click.argument("request")
@_tenant
@_note
@_config
@_json
def deny_command(request: str, tenant: str, note: str, config: Path, *, as_json: bool) -> None:
    """Refuse REQUEST, or take back an approval that was not used yet."""
    with _opened(config) as approvals, _known():
        one = approvals.deny(request, by=_operator(tenant), note=note)
    _print(one, as_json=as_json)


def _print(one: Request, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(one.to_dict()))
        return
    rows = (
        ("id", one.id),
        ("state", one.state),
        ("principal", f"{one.principal} of {one.tenant}"),
        ("call", f"{one.action} {one.resource}"),
        ("arguments", one.arguments or "(not kept)"),
        ("reason", one.reason),
        ("until", f"{shown(one.expires)} UTC"),
        ("answers", f"{len(one.votes)} of {one.approvers}"),
    )
    for name, text in rows:
        click.echo(f"{name:<10} {printable(text)}")


@contextmanager
def _opened(config: Path) -> Iterator[Approvals]:
    """Open only what this needs: the log, and the keys that arguments may be sealed under."""
    from aisecure.approvals import Approvals
    from aisecure.config import Assembly, load
    from aisecure.encryption import FieldCipher

    assembly = Assembly.build(load(config).only("audit", "encryption"))
    try:
        ports = assembly.ports
        cipher = next((part for part in assembly.parts if isinstance(part, FieldCipher)), None)
        events = assembly.sinks[0] if assembly.sinks else ports.events
        yield Approvals(ports.storage(), cipher=cipher, clock=ports.clock, events=events)
    finally:
        for part in assembly.parts:
            close = getattr(part, "close", None)
            if close is not None:
                close()
        assembly.close()


@contextmanager
def _known() -> Iterator[None]:
    """End with 1 where there is no such request, and tell what was typed wrongly as click tells it."""
    try:
        yield
    except LookupError as err:
        click.echo(str(err.args[0]), err=True)
        click.get_current_context().exit(_NO)
    except ValueError as err:
        raise click.UsageError(str(err)) from err


def _operator(tenant: str) -> Principal:
    return Principal(operator(), tenant=tenant)
