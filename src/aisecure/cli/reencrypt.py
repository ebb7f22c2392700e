"""``aisecure keys ring reencrypt``."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from aisecure.errors import Misconfigured, Unavailable

if TYPE_CHECKING:
    from sqlalchemy import Engine

    from aisecure.adapters.sqlalchemy import TableTokens
    from aisecure.encryption import FieldCipher, ReencryptionProgress, ReencryptionReport
    from aisecure.ports import EventSink

#: Seconds between two lines where no terminal shows a bar.
_LINE_SECONDS = 5.0


@click.command("reencrypt")
@click.argument("attribute", required=False)
@click.option(
    "--url", required=True, help="SQLAlchemy URL of the database, or @NAME of a variable that holds it."
)
@click.option("--table", help="Table, or schema.table; without ATTRIBUTE.")
@click.option("--column", help="Column of tokens.")
@click.option("--key", "key", multiple=True, help="A column that names a row; the primary key by default.")
@click.option("--context", multiple=True, help="A part of the place that tokens are bound to; in order.")
@click.option("--context-column", multiple=True, help="A column whose value follows, such as the tenant's.")
@click.option("--bind-row", is_flag=True, help="The key follows in the place.")
@click.option(
    "--batch", type=click.IntRange(min=1), default=500, show_default=True, help="Rows a transaction."
)
@click.option("--check", is_flag=True, help="Only count tokens by key.")
@click.option(
    "--show-failed", type=click.IntRange(min=0), default=0, help="Show so many keys of rows that fail."
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    default="aisecure.toml",
    show_default=True,
    help="Configuration file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the result as JSON.")
@click.pass_context
def command(
    ctx: click.Context,
    attribute: str | None,
    url: str,
    table: str | None,
    column: str | None,
    key: tuple[str, ...],
    context: tuple[str, ...],
    context_column: tuple[str, ...],
    batch: int,
    show_failed: int,
    config: Path,
    *,
    bind_row: bool,
    check: bool,
    as_json: bool,
) -> None:
    """Bring every token of a column under the primary key, while the application runs.

    ATTRIBUTE names the column as module:Class.attribute of an application whose columns say themselves what they are
    bound to; otherwise give --table, --column and --context. Killed or failed, start it again. The exit code is 1 when
    tokens are left that do not open.
    """
    from aisecure.adapters.sqlalchemy import TableTokens
    from aisecure.encryption import count_tokens, reencrypt

    with _engine(url) as engine, _cipher(config) as (cipher, events):
        if attribute is not None:
            if table or column or key or context or context_column or bind_row:
                raise click.UsageError("ATTRIBUTE says all that --table and its companions would")
            tokens = TableTokens(engine, _named(attribute))
        elif table and column and context:
            tokens = _reflected(engine, table, column, key, context, context_column, bind_row=bind_row)
        else:
            raise click.UsageError("name module:Class.attribute, or --table, --column and --context")
        with _shown(tokens, as_json=as_json) as progress:
            if check:
                counts = count_tokens(tokens, progress=progress)
            else:
                report = reencrypt(
                    tokens, cipher, batch=batch, progress=progress, events=events, failed_keys=show_failed
                )
        if check:
            _print_counts(tokens.name, counts, cipher.keyring.primary, as_json=as_json)
            return
    _print_report(report, as_json=as_json)
    ctx.exit(0 if report.ok else 1)


@contextmanager
def _engine(url: str) -> Iterator[Engine]:
    from sqlalchemy import create_engine
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError

    if url.startswith("@"):
        url = os.environ.get(url[1:], "")
    try:
        engine = create_engine(url, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError):
        engine = None
    if engine is None:
        # Outside the handler: SQLAlchemy's error may quote the URL, with its password.
        raise click.BadParameter(
            "no URL of a database whose driver is installed; such as postgresql+psycopg://user@host/name",
            param_hint="--url",
        )
    try:
        yield engine
    finally:
        engine.dispose()


@contextmanager
def _cipher(config: Path) -> Iterator[tuple[FieldCipher, EventSink]]:
    """Open the configured key file and the audit log, as the other commands of the ring do."""
    from aisecure.config import Assembly, load
    from aisecure.encryption import FieldCipher, key_file

    settings = load(config)
    assembly = Assembly.build(settings.only("audit"))
    try:
        file = key_file(settings.sections["encryption"].settings, assembly.ports)
        yield FieldCipher(file), assembly.ports.events
    finally:
        for sink in assembly.sinks:
            sink.close()  # type: ignore[attr-defined]  # the audit log
        assembly.close()


def _named(attribute: str) -> Any:
    """Return ``module:Class.attribute``, from the current folder too."""
    module, _, path = attribute.partition(":")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as err:
        raise click.BadParameter(f"{attribute}: {err}", param_hint="ATTRIBUTE") from err
    finally:
        sys.path.pop(0)
    return found


def _reflected(
    engine: Engine,
    table: str,
    column: str,
    key: tuple[str, ...],
    context: tuple[str, ...],
    context_column: tuple[str, ...],
    *,
    bind_row: bool,
) -> TableTokens:
    from sqlalchemy import MetaData, Table
    from sqlalchemy.exc import NoSuchTableError, SQLAlchemyError

    from aisecure.adapters.sqlalchemy import TableTokens

    schema, _, name = table.rpartition(".")
    try:
        found = Table(name, MetaData(), schema=schema or None, autoload_with=engine)
    except NoSuchTableError as err:
        raise click.BadParameter(f"no such table: {table}", param_hint="--table") from err
    except SQLAlchemyError as err:
        reason = type(getattr(err, "orig", None) or err).__name__
        raise Unavailable(f"the database could not be used ({reason})", code="unavailable.storage") from err
    try:
        keys = [found.c[name] for name in key] or list(found.primary_key.columns)
        place = (*context, *(found.c[name] for name in context_column), *(keys if bind_row else ()))
        return TableTokens(engine, found.c[column], key=keys or None, context=place)
    except KeyError as err:
        raise click.BadParameter(f"table {table} has no column {err.args[0]}") from err


@contextmanager
def _shown(tokens: TableTokens, *, as_json: bool) -> Iterator[Callable[[ReencryptionProgress], None] | None]:
    """Show progress on standard error: a bar on a terminal, now and then a line elsewhere, nothing beside JSON."""
    if as_json:
        yield None
    elif sys.stderr.isatty():
        with _bar(tokens) as progress:
            yield progress
    else:
        yield _Lines(tokens.name)


@contextmanager
def _bar(tokens: TableTokens) -> Iterator[Callable[[ReencryptionProgress], None]]:
    try:
        import rich.progress as bars
    except ImportError as err:
        raise Misconfigured(
            "a progress bar needs rich: pip install 'aisecure[cli]'; or redirect standard error",
            code="config.extra",
        ) from err
    from rich.console import Console

    columns: Sequence[bars.ProgressColumn] = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TextColumn("{task.fields[rate]} rows/s"),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True)) as shown:
        task = shown.add_task(f"{tokens.name}, pass 1", total=tokens.count(), rate="0")
        passed = 1

        def progress(now: ReencryptionProgress) -> None:
            nonlocal passed
            if now.passed != passed:
                passed = now.passed
                shown.reset(task, description=f"{tokens.name}, pass {passed}")
            speed = shown.tasks[0].speed
            shown.update(task, completed=now.seen, rate=f"{speed or 0:,.0f}")

        yield progress


class _Lines:
    """Prints where a run is, not more often than every few seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._begun = self._said = time.monotonic()
        self._total = 0
        self._before = (1, 0)

    def __call__(self, now: ReencryptionProgress) -> None:
        passed, seen = self._before
        self._total += now.seen - (seen if now.passed == passed else 0)
        self._before = (now.passed, now.seen)
        moment = time.monotonic()
        if moment - self._said >= _LINE_SECONDS:
            self._said = moment
            rate = self._total / (moment - self._begun)
            click.echo(
                f"{self._name}: pass {now.passed}, {now.seen} rows, {now.changed} changed, "
                f"{now.failed} failed, {rate:,.0f} rows/s",
                err=True,
            )


def _print_counts(name: str, counts: Any, primary: str, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"store": name, "primary": primary, "tokens": dict(counts)}))
        return
    click.echo(f"{name}: {sum(counts.values())} tokens")
    for key_id, count in sorted(counts.items(), key=lambda item: -item[1]):
        note = "  primary" if key_id == primary else "  not a token" if key_id == "none" else ""
        click.echo(f"{key_id:<8}  {count}{note}")


def _print_report(report: ReencryptionReport, *, as_json: bool) -> None:
    failed = [list(map(str, key)) for key in report.failed_keys]
    if as_json:
        click.echo(json.dumps(report.to_dict() | ({"failed_keys": failed} if failed else {})))
        return
    click.echo(
        f"{report.store}: {report.seen} tokens, {report.changed} re-encrypted, {report.skipped} were current, "
        f"{report.lost} overtaken, {report.failed} do not open; {report.passes} passes, "
        f"{report.rows_per_second:,.0f} rows/s"
    )
    for key in failed:
        click.echo(f"does not open: {', '.join(key)}", err=True)
    if report.failed:
        click.echo(
            "Tokens that do not open were left as they are; no key was found to be unneeded.", err=True
        )
    if not report.complete:
        click.echo(
            "Somebody keeps writing with an old key: let every process see the new ring, and repeat.",
            err=True,
        )
    for key_id in report.retirable:
        click.echo(
            f"Key {key_id} has no token here any more. When that holds for every other store and backup too: "
            f"aisecure keys ring retire {key_id}"
        )
