"""``aisecure tls ...``."""

from __future__ import annotations

import json
from pathlib import Path

import click

from aisecure.cli import EXIT_NO
from aisecure.cli._options import as_json as _json
from aisecure.encryption.tls import TlsPolicy, TlsReport, check_tls, pin_of
from aisecure.errors import Misconfigured

_ca = click.option(
    "--ca",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file of the only certificates to trust.",
)
_timeout = click.option(
    "--timeout", type=float, default=10.0, show_default=True, help="Seconds for each connection."
)


@click.group("tls")
def command() -> None:
    """Check what a server offers on the way to it, and print pins."""


@command.command("check")
@click.argument("targets", nargs=-1, required=True)
@_ca
@click.option("--pin", "pins", multiple=True, help="A public key that the server may have; at least two.")
@click.option(
    "--minimum",
    type=click.Choice(["1.2", "1.3"]),
    default="1.2",
    show_default=True,
    help="Oldest version allowed.",
)
@_timeout
@_json
@click.pass_context
def check_command(
    ctx: click.Context,
    targets: tuple[str, ...],
    ca: Path | None,
    pins: tuple[str, ...],
    minimum: str,
    timeout: float,
    *,
    as_json: bool,
) -> None:
    """Check each URL, host or host:port; exits 1 when one fails."""
    policy = TlsPolicy(
        minimum="1.3" if minimum == "1.3" else "1.2", ca=ca, pins=pins, timeout_seconds=timeout
    )
    reports = [check_tls(target, policy=policy) for target in targets]
    if as_json:
        click.echo(json.dumps([report.to_dict() for report in reports], indent=2))
    else:
        for report in reports:
            _show(report)
    ctx.exit(0 if all(report.ok for report in reports) else EXIT_NO)


def _show(report: TlsReport) -> None:
    facts = ", ".join(part for part in (report.version, report.suite) if part)
    click.echo(f"{'ok' if report.ok else 'FAIL':<5} {report.target}" + (f"  ({facts})" if facts else ""))
    for found in report.findings:
        # What a server wrote into its certificate is shown to a terminal.
        click.echo(f"  {found.level:<5} {found.code}: {_printable(found.message)}")
        click.echo(f"        {found.remedy}")
    for reason in report.not_checked:
        click.echo(f"  not checked: {_printable(reason)}")


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else "?" for character in text)


@command.command("pin")
@click.argument("source")
@_ca
@_timeout
@click.pass_context
def pin_command(ctx: click.Context, source: str, ca: Path | None, timeout: float) -> None:
    """Print the pin of a certificate or public key: a file, or a host (or host:port), which is verified first."""
    if Path(source).is_file():
        try:
            click.echo(pin_of(Path(source).read_bytes()))
        except ValueError:
            raise Misconfigured(
                f"{source}: holds no certificate and no public key; write the public half of a private key with:"
                f" openssl pkey -in {source} -pubout",
                code="config.tls",
            ) from None
        return
    report = check_tls(source, policy=TlsPolicy(ca=ca, timeout_seconds=timeout))
    # A pin of a server that could not prove its name would nail down an impostor.
    unproven = [found for found in report.findings if found.code in _UNPROVEN]
    if report.certificate is None or unproven:
        for found in unproven:
            click.echo(f"{found.code}: {_printable(found.message)}", err=True)
        ctx.exit(EXIT_NO)
    click.echo(report.certificate.pin)


_UNPROVEN = frozenset(
    {
        "tls.unreachable", "tls.handshake", "tls.expired", "tls.not_yet_valid", "tls.wrong_name", "tls.self_signed",
        "tls.untrusted", "tls.weak_key", "tls.weak_signature",
    }
)  # fmt: skip
