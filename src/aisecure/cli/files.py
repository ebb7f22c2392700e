"""``aisecure files ...``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecure.cli._options import as_json as _json
from aisecure.encryption import (
    FieldCipher,
    decrypt_file,
    encrypt_file,
    inspect_file,
    reencrypt_file,
)
from aisecure.errors import AISecureError, DecryptionError, Misconfigured
from aisecure.shield import Shield
from aisecure.storage import file_error

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX = ".enc"
_EXIT_NO, _EXIT_MISCONFIGURED, _EXIT_UNAVAILABLE = 1, 3, 4
#: Less is done before a bar is read.
_BAR_FROM_BYTES = 16 << 20

_files = click.argument("files", nargs=-1, required=True, metavar="FILE...")
_config = click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="aisecure.toml",
    show_default=True,
    help="Configuration file; its key ring is used.",
)
_force = click.option("--force", is_flag=True, help="Replace a target that exists.")
_output = click.option("--output", "-o", help="The target, of a single FILE; - is standard output.")
_words = click.option(
    "--context", "words", multiple=True, metavar="TEXT", help="A text of the context; may be repeated."
)
_parts = click.option(
    "--context-json", "parts", metavar="LIST", help="The whole context, such as '[\"scans\", 42]'."
)


@click.group("files")
def command() -> None:
    """Encrypt and decrypt files of any size. FILE may be - for standard input."""


@command.command("encrypt")
@_files
@_output
@_words
@_parts
@_force
@_config
@_json
def encrypt_command(
    files: tuple[str, ...],
    output: str | None,
    words: tuple[str, ...],
    parts: str | None,
    config: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Encrypt each FILE to FILE.enc."""

    def target(name: str) -> str:
        return "-" if name == "-" else name + _SUFFIX

    _convert(
        encrypt_file, files, output, target, _context(words, parts), config, force=force, as_json=as_json
    )


@command.command("decrypt")
@_files
@_output
@_words
@_parts
@_force
@_config
@_json
def decrypt_command(
    files: tuple[str, ...],
    output: str | None,
    words: tuple[str, ...],
    parts: str | None,
    config: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    """Decrypt each FILE.enc to FILE; exits 1 when one does not open.

    A target that is a file appears only when the whole source was verified. What goes to a pipe is worth something only
    after exit code 0.
    """

    def target(name: str) -> str:
        if name == "-":
            return "-"
        if not name.endswith(_SUFFIX) or Path(name).name == _SUFFIX:
            raise click.UsageError(f"{name} does not end in {_SUFFIX}; name the target with --output")
        return name.removesuffix(_SUFFIX)

    _convert(
        decrypt_file, files, output, target, _context(words, parts), config, force=force, as_json=as_json
    )


@command.command("reencrypt")
@_files
@_words
@_parts
@_config
@_json
def reencrypt_command(
    files: tuple[str, ...], words: tuple[str, ...], parts: str | None, config: Path, *, as_json: bool
) -> None:
    """Bring each FILE under the primary key, in place; those that are already are left alone."""
    context = _context(words, parts)
    with Shield.from_config(config) as shield:
        cipher = shield.part(FieldCipher)

        def one(name: str) -> dict[str, Any]:
            with _bar(name) as progress:
                changed = reencrypt_file(name, cipher, context=context, progress=progress)
            return {"source": name, "reencrypted": changed}

        def line(row: dict[str, Any]) -> str:
            return f"{row['source']}: {'under the new key' if row['reencrypted'] else 'was current'}"

        _each(files, one, line, as_json=as_json)


@command.command("inspect")
@_files
@_json
def inspect_command(files: tuple[str, ...], *, as_json: bool) -> None:
    """Show version, key and sizes of each FILE, without a key; exits 1 when one is no encrypted file."""

    def one(name: str) -> dict[str, Any]:
        facts = inspect_file(name)
        return {
            "source": name,
            "version": facts.version,
            "key_id": facts.key_id,
            "chunk_bytes": facts.chunk_bytes,
            "encrypted_bytes": facts.encrypted_bytes,
            "plaintext_bytes": facts.plaintext_bytes,
        }

    def line(row: dict[str, Any]) -> str:
        return (
            f"{row['source']}: version {row['version']}, key {row['key_id']}, {row['plaintext_bytes']} bytes"
        )

    _each(files, one, line, as_json=as_json)


def _context(words: tuple[str, ...], parts: str | None) -> tuple[str | int, ...]:
    if parts is None:
        return words
    if words:
        raise click.UsageError("--context and --context-json exclude each other")
    try:
        context = json.loads(parts)
    except (ValueError, RecursionError):
        context = None
    if not isinstance(context, list) or not all(type(part) in (str, int) for part in context):
        raise click.UsageError("--context-json is a JSON list of texts and whole numbers")
    return tuple(context)


def _convert(
    convert: Callable[..., None],
    files: tuple[str, ...],
    output: str | None,
    named: Callable[[str], str],
    context: tuple[str | int, ...],
    config: Path,
    *,
    force: bool,
    as_json: bool,
) -> None:
    if output is not None and len(files) > 1:
        raise click.UsageError("--output names the target of a single FILE")
    # All names before any work, so that a wrong one costs nothing.
    targets = {name: output or named(name) for name in files}
    if as_json and "-" in targets.values():
        raise click.UsageError(
            "--json has no place beside data on standard output; name a target with --output"
        )
    with Shield.from_config(config) as shield:
        cipher = shield.part(FieldCipher)

        def one(name: str) -> dict[str, Any]:
            source = FileIO(sys.stdin.fileno(), "rb", closefd=False) if name == "-" else name
            target = targets[name]
            with _bar(name) as progress, _standard_output(target) as out:
                convert(source, out, cipher, context=context, progress=progress, overwrite=force)
            return {"source": name, "target": target}

        def line(row: dict[str, Any]) -> str:
            return "" if row["target"] == "-" else f"{row['source']} -> {row['target']}"

        _each(files, one, line, as_json=as_json)


@contextmanager
def _standard_output(target: str) -> Iterator[str | FileIO]:
    """Give the target to write to; standard output without a buffer, so that its errors come from here."""
    if target != "-":
        yield target
        return
    try:
        yield FileIO(sys.stdout.fileno(), "wb", closefd=False)
    except BrokenPipeError:
        raise  # click ends quietly
    except OSError as err:
        raise file_error(Path("standard output"), err) from err


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int], None] | None]:
    """Give what tells a person how far it is, when one is watching and it takes a while."""
    size = Path(name).stat().st_size if name != "-" and "\0" not in name and Path(name).is_file() else 0
    if size < _BAR_FROM_BYTES or not sys.stderr.isatty():
        yield None
        return
    with click.progressbar(length=size, label=name, file=sys.stderr, update_min_steps=1 << 20) as bar:
        before = 0

        def progress(done: int) -> None:
            nonlocal before
            bar.update(done - before)
            before = done

        yield progress


def _each(
    files: Iterable[str],
    one: Callable[[str], dict[str, Any]],
    line: Callable[[dict[str, Any]], str],
    *,
    as_json: bool,
) -> None:
    """Do it for every file, also after one failed, and exit with the worst code."""
    rows, worst = [], 0
    for name in files:
        try:
            row = one(name)
        except AISecureError as err:
            worst = max(worst, _exit_code(err))
            row = {"source": name, "error": err.code}
            # Our other errors name the file themselves.
            detail = f"{name}: {err.detail}" if isinstance(err, DecryptionError) else err.detail
            click.echo(f"aisecure: {detail} [{err.code}]", err=True)
        else:
            if not as_json and (text := line(row)):
                click.echo(text)
        rows.append(row)
    if as_json:
        click.echo(json.dumps(rows, indent=2))
    click.get_current_context().exit(worst)


def _exit_code(err: AISecureError) -> int:
    if isinstance(err, DecryptionError):
        return _EXIT_NO
    return _EXIT_MISCONFIGURED if isinstance(err, Misconfigured) else _EXIT_UNAVAILABLE
