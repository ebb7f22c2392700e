"""``aisecure keys subject ...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecure.cli._options import as_json as _json
from aisecure.cli._options import config as _config
from aisecure.errors import ErasureRefused
from aisecure.shield import Shield

if TYPE_CHECKING:
    from aisecure.encryption import SubjectKeys
    from aisecure.events import SecurityEvent

_subject = click.argument("subject")
_tenant = click.option("--tenant", default="default", show_default=True, help="Tenant of the person.")

_NO = 1


@click.group("subject")
def command() -> None:
    """Look after the keys of persons, one each; erasing the key erases all that was encrypted with it.

    SUBJECT is the id that the application uses. Write - to give it on standard input, where neither the shell's history
    nor the list of processes shows it.
    """


@command.command("erase")
@_subject
@_tenant
@click.option(
    "--request-id", default="", help="Names the request in the receipt; say nothing about the person."
)
@click.option("--actor", default="", help="Who erases, for the receipt.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_config
@_json
@click.pass_context
def erase_command(
    ctx: click.Context,
    subject: str,
    tenant: str,
    request_id: str,
    actor: str,
    config: Path,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase the key of SUBJECT for ever, and print the receipt, which is in the audit log too."""
    if subject == "-" and not yes:
        raise click.UsageError("SUBJECT comes on standard input, so nobody can be asked; add --yes")
    person = _person(subject)
    if not yes:
        click.confirm(
            "Everything encrypted for this person will be lost. Erase the key?", abort=True, err=True
        )
    with _opened(config) as subjects:
        try:
            receipt = subjects.erase(person, tenant=tenant, request_id=request_id, actor=actor)
        except ErasureRefused as err:
            click.echo(f"aisecure: {err.detail} [{err.code}]", err=True)
            ctx.exit(_NO)
        except ValueError as err:
            raise click.UsageError(str(err)) from err
    _print([receipt], as_json=as_json)


@command.command("export")
@_subject
@_tenant
@_config
@_json
@click.pass_context
def export_command(ctx: click.Context, subject: str, tenant: str, config: Path, *, as_json: bool) -> None:
    """Print what is held about SUBJECT: the key's id and age, not the key."""
    person = _person(subject)
    with _opened(config) as subjects:
        try:
            facts = subjects.export(person, tenant=tenant)
        except ValueError as err:
            raise click.UsageError(str(err)) from err
    if as_json:
        click.echo(json.dumps(facts))
    else:
        click.echo("\n".join(f"{name}: {value}" for name, value in facts.items()) or "no key")
    ctx.exit(0 if facts else _NO)


@command.command("resume")
@_config
@_json
def resume_command(config: Path, *, as_json: bool) -> None:
    """Complete erasures that were interrupted; opening the configuration tries it already."""
    with _opened(config) as subjects:
        receipts = subjects.resume()
    _print(receipts, as_json=as_json)


@command.command("reapply")
@click.argument("sources", metavar="FILE|KEY_ID...", nargs=-1, required=True)
@_config
@_json
def reapply_command(sources: tuple[str, ...], config: Path, *, as_json: bool) -> None:
    """Erase keys again that a restored backup has brought back.

    FILE is a file of an audit log, or holds a key id a line. Do this before the restored database is used.
    """
    key_ids = [key_id for source in sources for key_id in _key_ids(source)]
    with _opened(config) as subjects:
        try:
            back = subjects.reapply(key_ids)
        except ValueError as err:
            raise click.UsageError(str(err)) from err
    if as_json:
        click.echo(json.dumps({"given": len(key_ids), "erased_again": back}))
    else:
        click.echo(f"{len(key_ids)} key ids, {back} of them were back and are erased again")


@command.command("rewrap")
@click.option(
    "--everything",
    is_flag=True,
    help="Also what the present key wraps, for providers that rotate behind one name.",
)
@_config
@_json
def rewrap_command(config: Path, *, everything: bool, as_json: bool) -> None:
    """Wrap the keys under the present key of the ring; killed, it goes on where it stopped."""
    with _opened(config) as subjects, click.progressbar(length=0, label="keys", file=sys.stderr) as bar:

        def progress(done: int, total: int) -> None:
            bar.length = total
            bar.update(done - bar.pos)

        rewrapped = subjects.rewrap(everything=everything, progress=progress)
    click.echo(json.dumps({"rewrapped": rewrapped}) if as_json else f"{rewrapped} keys rewrapped")


@contextmanager
def _opened(config: Path) -> Iterator[SubjectKeys]:
    from aisecure.encryption import SubjectKeys

    # The whole shield: its keys know the legal holds, and its log takes the receipts.
    with Shield.from_config(config) as shield:
        yield shield.part(SubjectKeys)


def _person(subject: str) -> str:
    return sys.stdin.readline().rstrip("\r\n") if subject == "-" else subject


def _key_ids(source: str) -> list[str]:
    """Return the key ids that an argument gives; what is no id and no event is an error, what is another event is not."""
    path = Path(source)
    if not path.is_file():
        return [source]
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        if not line.startswith("{"):
            found += [line.strip()] if line.strip() else []
            continue
        entry: Any
        try:
            entry = json.loads(line)
        except (ValueError, RecursionError):
            entry = None
        if not isinstance(entry, dict):
            raise click.UsageError(f"{source}: line {number} is not JSON; is it cut short?")
        event: Any = entry.get("ev", entry)
        if isinstance(event, dict) and event.get("type") == "subject.erased":
            key_id = event["detail"].get("key_id")  # none where there was no key
            found += [key_id] if key_id else []
    return found


def _print(receipts: tuple[SecurityEvent, ...] | list[SecurityEvent], *, as_json: bool) -> None:
    for receipt in receipts:
        if as_json:
            click.echo(json.dumps(receipt.to_dict()))
        elif receipt.detail["keys"]:
            click.echo(f"erased key {receipt.detail['key_id']}, receipt {receipt.id}")
        else:
            click.echo(f"there was no key, receipt {receipt.id}")
    if not receipts and not as_json:
        click.echo("nothing was pending")
