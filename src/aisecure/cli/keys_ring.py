"""``aisecure keys ring ...``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecure.cli._lazy import LazyGroup
from aisecure.cli._options import as_json as _json
from aisecure.cli._options import config as _config

if TYPE_CHECKING:
    from aisecure.encryption import KeyFile, Keyring

_key_id = click.argument("key_id")


@click.group("ring", cls=LazyGroup, modules={"reencrypt": "reencrypt"})
def command() -> None:
    """Look after the key ring of encrypted fields and files.

    The usual round: rotate, reencrypt what is stored, retire the old key, and when nothing missed it, destroy it.
    """


@command.command("show")
@_config
@_json
def show_command(config: Path, *, as_json: bool) -> None:
    """List the keys of the ring and their states; no key is shown."""
    with _file(config) as file:
        ring = file.ring()
    _print(ring, file, as_json=as_json)


@command.command("rotate")
@_config
@_json
def rotate_command(config: Path, *, as_json: bool) -> None:
    """Make a new primary key; every running process uses it within a second."""
    _change(config, lambda file: file.rotate(), as_json=as_json)


@command.command("retire")
@_key_id
@_config
@_json
def retire_command(key_id: str, config: Path, *, as_json: bool) -> None:
    """Let KEY_ID decrypt nothing any more; `reinstate` undoes it."""
    _change(config, lambda file: file.retire(key_id), as_json=as_json)


@command.command("reinstate")
@_key_id
@_config
@_json
def reinstate_command(key_id: str, config: Path, *, as_json: bool) -> None:
    """Let the retired KEY_ID decrypt again."""
    _change(config, lambda file: file.reinstate(key_id), as_json=as_json)


@command.command("destroy")
@_key_id
@click.option("--yes", is_flag=True, help="Do not ask.")
@_config
@_json
def destroy_command(key_id: str, config: Path, *, yes: bool, as_json: bool) -> None:
    """Remove the retired KEY_ID for ever: whatever is still encrypted with it is lost."""
    if not yes:
        click.confirm(
            f"Everything that only key {key_id} opens will be lost. Destroy it?", abort=True, err=True
        )
    _change(config, lambda file: file.destroy(key_id), as_json=as_json)


@command.command("rewrap")
@click.option(
    "--from",
    "before",
    type=click.Path(path_type=Path),
    help="Configuration file with the provider that wraps the ring now; without it the ring is in clear.",
)
@_config
@_json
def rewrap_command(before: Path | None, config: Path, *, as_json: bool) -> None:
    """Wrap the ring by the provider that the configuration names; restart running processes afterwards."""
    with _file(config) as after:
        if before is None:
            old = _moved(after, None)
        else:
            with _file(before) as source:
                old = _moved(after, source.provider)
        ring = old.rewrap(after.provider)
    _print(ring, after, as_json=as_json)


def _moved(file: KeyFile, provider: Any) -> KeyFile:
    from aisecure.encryption import KeyFile

    return KeyFile(file.path, provider=provider, clock=file.clock, events=file.events)


@contextmanager
def _file(config: Path) -> Iterator[KeyFile]:
    """Open the configured key file and the audit log, and nothing that would need the ring."""
    from aisecure.config import Assembly, load
    from aisecure.encryption import key_file

    settings = load(config)
    assembly = Assembly.build(settings.only("audit"))
    try:
        yield key_file(settings.sections["encryption"].settings, assembly.ports)
    finally:
        for sink in assembly.sinks:
            sink.close()  # type: ignore[attr-defined]  # the audit log
        assembly.close()


def _change(config: Path, change: Callable[[KeyFile], Keyring], *, as_json: bool) -> None:
    with _file(config) as file:
        try:
            ring = change(file)
        except ValueError as err:  # no such key, or one in use: the command was given the wrong one
            raise click.UsageError(str(err)) from err
    _print(ring, file, as_json=as_json)


def _print(ring: Keyring, file: KeyFile, *, as_json: bool) -> None:
    keys = [
        {
            "key_id": key.id.hex(),
            "state": "primary" if key.id.hex() == ring.primary else "retired" if key.retired else "active",
            "created": datetime.fromtimestamp(key.created, UTC).isoformat(timespec="seconds"),
        }
        for key in ring.keys
    ]
    keys += [{"key_id": key_id, "state": "destroyed", "created": ""} for key_id in ring.destroyed]
    provider = None if file.provider is None else file.provider.key_id
    if as_json:
        click.echo(json.dumps({"file": str(file.path), "provider": provider, "keys": keys}, indent=2))
        return
    click.echo(f"{file.path}, {'in clear' if provider is None else f'wrapped by {provider}'}")
    for key in keys:
        click.echo(f"{key['key_id']}  {key['state']:<9}  {key['created']}".rstrip())
