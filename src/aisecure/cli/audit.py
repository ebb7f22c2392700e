"""``aisecure audit ...``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import click

from aisecure.audit import read, verify
from aisecure.cli._options import as_json
from aisecure.cli._printable import printable


def _public(ctx: click.Context, option: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the keys, each read from its file unless it is one itself."""
    try:
        return tuple(key if "+" in key else Path(key).read_text("utf-8", "replace") for key in given)
    except OSError as err:
        raise click.BadParameter(f"{err.filename}: {err.strerror}") from err


_folder = click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False))
_keys = click.option(
    "--key",
    "keys",
    multiple=True,
    callback=_public,
    help="Public key of the log, or a file with it; may be repeated.",
)


@contextmanager
def _typed() -> Iterator[None]:
    """Tell what was typed wrongly as click tells it."""
    try:
        yield
    except (LookupError, ValueError) as err:
        raise click.UsageError(str(err.args[0])) from err


@click.group("audit")
def command() -> None:
    """Check, sign, prove and read the audit log."""


@command.command("verify")
@_folder
@_keys
@click.option(
    "--checkpoint",
    "checkpoints",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="A signed checkpoint that was held elsewhere; may be repeated.",
)
@as_json
@click.pass_context
def verify_command(
    ctx: click.Context, folder: Path, keys: tuple[str, ...], checkpoints: tuple[Path, ...], *, as_json: bool
) -> None:
    """Check the log in FOLDER, entry by entry; exits 1 when it was changed.

    With the log's public key the signed checkpoints in the folder are compared too. With one that was held elsewhere it
    also shows when the newest entries were cut off, or all were written anew.
    """
    with _typed():
        report = verify(
            folder, keys=keys, checkpoints=[path.read_text("utf-8", "replace") for path in checkpoints]
        )
    click.echo(json.dumps(report.to_dict(), indent=2) if as_json else str(report))
    ctx.exit(0 if report.ok else 1)


@command.command("keygen")
@click.argument("origin")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="New file of the private key.")
def keygen_command(origin: str, out: Path) -> None:
    """Make the key that signs the checkpoints of the log called ORIGIN, and print the public half.

    Keep the file where those who may write the log cannot read it, and give the public half to everybody.
    """
    from aisecure.audit import NoteSigner

    with _typed():
        signer = NoteSigner.generate(origin)
    signer.save(out)
    click.echo(signer.key)


@command.command("checkpoint")
@_folder
@click.option(
    "--key-file",
    type=click.Path(path_type=Path),
    required=True,
    help="Private key, from aisecure audit keygen.",
)
@click.option(
    "--copy-to",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder elsewhere that gets a copy of each.",
)
@click.option(
    "--watch",
    type=click.FloatRange(min=1),
    metavar="SECONDS",
    help="Go on: sign whenever there is more, so often.",
)
def checkpoint_command(folder: Path, key_file: Path, copy_to: Path | None, watch: float | None) -> None:
    """Sign the log in FOLDER as it is now, and print the checkpoint; exits 1 when the log contradicts an earlier one."""
    import time

    from aisecure.audit import Checkpointer, NoteSigner
    from aisecure.errors import IntegrityError, Unavailable

    checkpointer = Checkpointer(folder, NoteSigner.load(key_file))
    before = ""
    while True:
        try:
            note = checkpointer.make()
        except IntegrityError as err:
            click.echo(err.detail, err=True)
            click.get_current_context().exit(1)
        except Unavailable as err:
            if watch is None:
                raise
            click.echo(err.detail, err=True)
        else:
            if note != before:
                click.echo(note, nl=watch is not None)
                if copy_to is not None:
                    copy_to.mkdir(parents=True, exist_ok=True)
                    (copy_to / f"{int(note.splitlines()[1]):020d}").write_text(note, "utf-8")
            before = note
        if watch is None:
            return
        time.sleep(watch)


@command.command("prove")
@_folder
@click.argument("seq", type=click.IntRange(min=0))
def prove_command(folder: Path, seq: int) -> None:
    """Print a proof that entry SEQ is in the log in FOLDER, up to its newest signed checkpoint."""
    from aisecure.audit import Checkpointer

    with _typed():
        click.echo(Checkpointer(folder).prove(seq).text(), nl=False)


@command.command("entry")
@_folder
@click.argument("seq", type=click.IntRange(min=0))
def entry_command(folder: Path, seq: int) -> None:
    """Print entry SEQ of the log in FOLDER as it is stored: what a proof is about."""
    from aisecure.audit import Checkpointer

    with _typed():
        click.echo(Checkpointer(folder).entry(seq))


@command.command("check-proof")
@click.argument("proof", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@click.option(
    "--entry",
    "entry",
    type=click.File("rb"),
    required=True,
    help="File with the entry as stored; - for standard input.",
)
@_keys
def check_proof_command(proof: Path, entry: BinaryIO, keys: tuple[str, ...]) -> None:
    """Check PROOF without the log: whether the entry is in the log that the key belongs to; exits 1 when it is not."""
    from aisecure.audit import InvalidNote, NoteKey, Proof

    if not keys:
        raise click.UsageError("name the public key of the log: --key")
    with _typed():
        known = [NoteKey.parse(key) for key in keys]
    try:
        found = Proof.parse(proof.read_text("utf-8", "replace"))
        checkpoint = found.verify(entry.read().removesuffix(b"\n"), known)
    except (InvalidNote, ValueError) as err:
        click.echo(f"not proven: {err}", err=True)
        click.get_current_context().exit(1)
    click.echo(
        f"ok: entry {found.index} of {printable(checkpoint.origin)}, among {checkpoint.size} that were signed"
    )


@command.command("tail")
@_folder
@click.option(
    "-n", "--lines", default=10, show_default=True, type=click.IntRange(min=1), help="How many entries."
)
@as_json
def tail_command(folder: Path, lines: int, *, as_json: bool) -> None:
    """Print the newest entries of the log in FOLDER."""
    from collections import deque

    for entry in deque(read(folder), maxlen=lines):
        event = entry["ev"]
        if as_json:
            click.echo(json.dumps(entry, ensure_ascii=False))
        else:
            click.echo(
                f"{entry['seq']:>8} {entry['ts']} {event['type']:<18} {event.get('resource', '-'):<28} {event.get('code', '')}"
            )
