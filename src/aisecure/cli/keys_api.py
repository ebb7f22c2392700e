"""``aisecure keys api ...``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import time
from typing import TYPE_CHECKING, Any

import click

from aisecure.cli._options import as_json as _json
from aisecure.cli._options import config as _config
from aisecure.cli._table import print_table
from aisecure.cli._times import duration, end, shown
from aisecure.errors import Misconfigured

if TYPE_CHECKING:
    from aisecure.authn import ApiKeyRecord, ApiKeys, IssuedKey

_tenant = click.option("--tenant", help="Only within this tenant.")
_expires = click.option("--expires", "expires_at", type=end, help="When the key ends: 90d, 12h, 2030-12-31.")

_NO = 1


@click.group("api")
def command() -> None:
    """Issue, list, rotate and revoke API keys.

    A key is shown once, when it is made. What is stored is its id and a keyed hash, so nobody can show it again.
    """


@command.command("create")
@click.argument("principal")
@click.option("--role", "roles", multiple=True, help="A role of the key; may be repeated.")
@click.option("--scope", "scopes", multiple=True, help="What the key is for; may be repeated.")
@click.option("--tenant", default="default", show_default=True, help="Tenant of the principal.")
@click.option("--name", default="", help="For people: where the key is used.")
@_expires
@_config
@_json
def create_command(
    principal: str,
    roles: tuple[str, ...],
    scopes: tuple[str, ...],
    tenant: str,
    name: str,
    expires_at: float | None,
    config: Path,
    *,
    as_json: bool,
) -> None:
    """Issue a key for PRINCIPAL and show it, this once."""
    with _opened(config) as keys, _typed():
        issued = keys.create(
            principal, tenant=tenant, roles=roles, scopes=scopes, expires_at=expires_at, name=name
        )
    _hand_over(issued, {}, as_json=as_json)


@command.command("rotate")
@click.argument("key_id")
@click.option(
    "--overlap",
    type=duration,
    default="1d",
    show_default=True,
    help="How long the old key is still accepted: 1d, 12h, 0s.",
)
@_expires
@_tenant
@_config
@_json
@click.pass_context
def rotate_command(
    ctx: click.Context,
    key_id: str,
    overlap: float,
    expires_at: float | None,
    tenant: str | None,
    config: Path,
    *,
    as_json: bool,
) -> None:
    """Issue a successor of KEY_ID and show it, this once; both are accepted until the overlap ends.

    The successor lives as long as the old key was made to live, unless --expires says otherwise. Of a key that
    leaked, keep no overlap: `--overlap 0s`, or revoke it.
    """
    with _opened(config) as keys:
        try:
            issued = keys.rotate(key_id, overlap_seconds=overlap, expires_at=expires_at, tenant=tenant)
        except LookupError:
            _no_such_key(key_id)
            ctx.exit(_NO)
        except ValueError as err:
            click.echo(f"aisecure: {err}", err=True)
            ctx.exit(_NO)
        old = keys.get(key_id)
    until = old.expires_at if old is not None else None
    if not as_json:
        click.echo(f"The old key {key_id} is accepted until {shown(until)} UTC.", err=True)
    _hand_over(issued, {"replaces": key_id, "old_expires_at": until}, as_json=as_json)


@command.command("list")
@_tenant
@click.option("--principal", help="Only keys of this principal.")
@click.option("--live", is_flag=True, help="Only keys that are accepted now.")
@_config
@_json
def list_command(
    tenant: str | None, principal: str | None, config: Path, *, live: bool, as_json: bool
) -> None:
    """List the keys, oldest first; secrets are not stored and cannot be shown."""
    now = time()
    with _opened(config) as keys:
        records = keys.list(tenant=tenant, principal_id=principal)
    rows = [(record, record.state(now).value) for record in records]
    accepted = [row for row in rows if row[1] in ("active", "replaced")]
    if live:
        rows = accepted
    if as_json:
        click.echo(json.dumps([_facts(*row) for row in rows], indent=2))
        return
    if rows:
        print_table(
            ("KEY ID", "STATE", "TENANT", "PRINCIPAL", "ROLES", "SCOPES", "EXPIRES", "LAST USED", "NAME"),
            [
                (
                    record.key_id,
                    state,
                    record.tenant,
                    record.principal,
                    ",".join(record.roles),
                    ",".join(record.scopes),
                    shown(record.expires_at),
                    shown(record.last_used_at, "never"),
                    record.name,
                )
                for record, state in rows
            ],
        )
    click.echo(f"{len(rows)} keys, {len(accepted)} accepted; times are UTC", err=True)


@command.command("show")
@click.argument("key_id")
@_tenant
@_config
@_json
@click.pass_context
def show_command(ctx: click.Context, key_id: str, tenant: str | None, config: Path, *, as_json: bool) -> None:
    """Print what is stored about KEY_ID."""
    with _opened(config) as keys:
        record = keys.get(key_id, tenant=tenant)
    if record is None:
        _no_such_key(key_id)
        ctx.exit(_NO)
    facts = _facts(record, record.state(time()).value)
    if as_json:
        click.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        text = ", ".join(value) if isinstance(value, list) else value
        if name.endswith("_at"):
            text = f"{shown(value)} UTC" if value is not None else "never"
        if text:
            click.echo(f"{name + ':':<14}{text}")


@command.command("revoke")
@click.argument("keys_", metavar="KEY_ID...", nargs=-1, required=True)
@_tenant
@_config
@_json
@click.pass_context
def revoke_command(
    ctx: click.Context, keys_: tuple[str, ...], tenant: str | None, config: Path, *, as_json: bool
) -> None:
    """Revoke keys; every process refuses them within a second.

    KEY_ID may also be the text of a whole key, as it was found where it leaked.
    """
    with _opened(config) as keys:
        key_ids = [_id_in(text) for text in keys_]
        known = {key_id: keys.revoke(key_id, tenant=tenant) for key_id in key_ids}
    if as_json:
        click.echo(json.dumps({"revoked": [k for k, v in known.items() if v], "unknown": [k for k, v in known.items() if not v]}))  # fmt: skip
    else:
        for key_id, found in known.items():
            if found:
                click.echo(f"revoked {key_id}")
            else:
                _no_such_key(key_id)
    ctx.exit(0 if all(known.values()) else _NO)


@contextmanager
def _opened(config: Path) -> Iterator[ApiKeys]:
    """Open the keys and the audit log, and nothing else that might be broken while a key has to be revoked."""
    from aisecure.authn import ApiKeys
    from aisecure.config import Assembly, load
    from aisecure.shield import Shield

    settings = load(config)
    if not settings.sections["authn"].enabled:
        raise Misconfigured(f"{config}: [authn] is switched off; remove enabled = false to use API keys")
    assembly = Assembly.build(settings.only("audit", "authn"))
    with Shield(*assembly.guards, sinks=assembly.sinks) as shield:
        try:
            yield shield.part(ApiKeys)
        finally:
            assembly.close()


@contextmanager
def _typed() -> Iterator[None]:
    try:
        yield
    except ValueError as err:  # a name that cannot be one, an end in the past: the command was typed wrongly
        raise click.UsageError(str(err)) from err


def _id_in(text: str) -> str:
    from aisecure.authn import is_well_formed

    return text.split("_")[2] if is_well_formed(text) else text


def _no_such_key(key_id: str) -> None:
    # Not every text that is typed here by mistake may be shown: it could be a secret.
    named = f" {key_id}" if key_id.isalnum() and len(key_id) == 12 else ""
    click.echo(f"aisecure: no such key{named}; aisecure keys api list shows them all", err=True)


def _facts(record: ApiKeyRecord, state: str) -> dict[str, Any]:
    return {"key_id": record.key_id, "state": state, **record.to_dict()}


def _hand_over(issued: IssuedKey, more: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        facts = {"key_id": issued.key_id, "secret": issued.secret, "expires_at": issued.expires_at, **more}
        click.echo(json.dumps(facts))
        return
    click.echo(issued.secret)
    end = "" if issued.expires_at is None else f" It ends {shown(issued.expires_at)} UTC."
    click.echo(
        f"Key id {issued.key_id}.{end} The key is shown only now; keep it in a secret store.", err=True
    )
