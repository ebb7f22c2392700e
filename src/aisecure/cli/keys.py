"""``aisecure keys ...``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aisecure.authn import ApiKeys
from aisecure.cli._lazy import LazyGroup
from aisecure.shield import Shield

_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="aisecure.toml",
    show_default=True,
    help="Configuration file.",
)
_json = click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")


@click.group("keys", cls=LazyGroup, modules={"ring": "keys_ring", "subject": "keys_subject"})
def command() -> None:
    """Issue, list and revoke API keys; look after encryption keys (ring) and those of persons (subject)."""


@command.command("create")
@click.argument("principal")
@click.option("--role", "roles", multiple=True, help="A role of the key; may be repeated.")
@click.option("--tenant", default="default", show_default=True, help="Tenant of the principal.")
@_config
@_json
def create_command(
    principal: str, roles: tuple[str, ...], tenant: str, config: Path, *, as_json: bool
) -> None:
    """Issue a key for PRINCIPAL and show it, this once."""
    with Shield.from_config(config) as shield:
        issued = shield.part(ApiKeys).create(principal, tenant=tenant, roles=roles)
    if as_json:
        click.echo(json.dumps({"key_id": issued.key_id, "secret": issued.secret}))
    else:
        click.echo(issued.secret)
        click.echo(f"Key id {issued.key_id}. The key is shown only now; keep it in a secret store.", err=True)


@command.command("list")
@_config
@_json
def list_command(config: Path, *, as_json: bool) -> None:
    """List the keys; secrets are not stored and cannot be shown."""
    with Shield.from_config(config) as shield:
        records = [record.to_dict() for record in shield.part(ApiKeys).list()]
    if as_json:
        click.echo(json.dumps(records, indent=2))
        return
    for record in records:
        state = "revoked" if record["revoked_at"] else "active"
        click.echo(
            f"{record['key_id']}  {state:<8} {record['tenant']}  {record['principal']}  {','.join(record['roles'])}"
        )


@command.command("revoke")
@click.argument("key_id")
@_config
@click.pass_context
def revoke_command(ctx: click.Context, key_id: str, config: Path) -> None:
    """Revoke a key; every process refuses it within a second."""
    with Shield.from_config(config) as shield:
        known = shield.part(ApiKeys).revoke(key_id)
    click.echo("revoked" if known else "no such key", err=not known)
    ctx.exit(0 if known else 1)
