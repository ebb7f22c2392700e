"""``aisecure policy ...``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aisecure.cli._lazy import LazyGroup
from aisecure.cli._policy_options import as_json as _json
from aisecure.cli._policy_options import opened, policy_options
from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.principal import Principal

_NO = 1
_tenant = click.option("--tenant", default="default", show_default=True, help="Tenant of the principal.")


@click.group("policy", cls=LazyGroup, modules={"test": "policy_table"})
def command() -> None:
    """Test a policy, find out why it allows or denies, and what looks wrong in it.

    The policy is that of the configuration, or the one of --policy. What these commands print names its rules.
    """


@command.command("explain")
@click.argument("action")
@click.argument("resource")
@click.option("--principal", default="", help="Id of the principal; without one only its roles count.")
@click.option("--role", "roles", multiple=True, help="A role of its credential; may be repeated.")
@_tenant
@policy_options
@_json
@click.pass_context
def explain_command(
    ctx: click.Context,
    action: str,
    resource: str,
    principal: str,
    roles: tuple[str, ...],
    tenant: str,
    config: Path,
    policy: Path | None,
    model: Path | None,
    shared_tenant: str | None,
    *,
    as_json: bool,
) -> None:
    """Say which rule allows or denies ACTION on RESOURCE, or what is missing; exits 1 when it is denied."""
    from aisecure.access.explanation import explain

    version = opened(config, policy, model, shared_tenant)
    explanation = explain(version, Principal(principal, roles=roles, tenant=tenant), action, resource)
    if as_json:
        click.echo(json.dumps(explanation.to_dict(), indent=2))
    else:
        click.echo("\n".join(map(printable, str(explanation).split("\n"))))
    ctx.exit(0 if explanation.decision.allowed else _NO)


@command.command("lint")
@click.option("--strict", is_flag=True, help="Exit 1 for warnings, too.")
@policy_options
@_json
@click.pass_context
def lint_command(
    ctx: click.Context,
    config: Path,
    policy: Path | None,
    model: Path | None,
    shared_tenant: str | None,
    *,
    strict: bool,
    as_json: bool,
) -> None:
    """List what looks wrong in the policy; exits 1 when there are errors."""
    from aisecure.access.lint import lint

    version = opened(config, policy, model, shared_tenant)
    findings = lint(version)
    counts = {
        severity: sum(finding.severity == severity for finding in findings)
        for severity in ("error", "warning", "note")
    }
    if as_json:
        shown = {
            "version": version.version,
            "rules": version.rules,
            "findings": [finding.to_dict() for finding in findings],
        }
        click.echo(json.dumps(shown, indent=2))
    else:
        for finding in findings:
            click.echo(printable(str(finding)))
        click.echo(
            f"{version.rules} rules: {counts['error']} errors, {counts['warning']} warnings, {counts['note']} notes",
            err=True,
        )
    ctx.exit(_NO if counts["error"] or (strict and counts["warning"]) else 0)


@command.command("who-can")
@click.argument("action")
@click.argument("resource")
@_tenant
@policy_options
@_json
def who_can_command(
    action: str,
    resource: str,
    tenant: str,
    config: Path,
    policy: Path | None,
    model: Path | None,
    shared_tenant: str | None,
    *,
    as_json: bool,
) -> None:
    """List the users and roles of the policy that may do ACTION on RESOURCE.

    Whoever gets one of the roles from a credential, or for a while, is not in the policy and not listed.
    """
    from aisecure.access.holders import who_can

    holders = who_can(opened(config, policy, model, shared_tenant), action, resource, tenant)
    if as_json:
        click.echo(json.dumps([holder.to_dict() for holder in holders], indent=2))
        return
    if holders:
        rows = [
            (printable(holder.name), "role" if holder.is_role else "user", str(holder.line or ""))
            for holder in holders
        ]
        print_table(("name", "kind", "line"), rows, widest=80)
    else:
        click.echo("nobody in the policy may", err=True)
    click.echo(
        "(those who get a role from their credential, or for a while, are not in the policy)", err=True
    )
