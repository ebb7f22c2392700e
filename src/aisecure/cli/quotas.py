"""``aisecure quotas ...``."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, cast

import click

from aisecure.call import Call
from aisecure.cli._operator import operator
from aisecure.cli._policy_options import PathName
from aisecure.cli._printable import printable
from aisecure.cli._table import print_table
from aisecure.cli._times import spelled
from aisecure.events import Result, SecurityEvent
from aisecure.principal import Principal

if TYPE_CHECKING:
    from aisecure.ports import EventSink
    from aisecure.standing import Standing

_NO = 1

#: What a limit needs to know of a call, by the last part of its name, and the option that says it.
_NEEDS: dict[str, Callable[[Call], bool]] = {
    "--principal": lambda call: bool(call.principal.id or call.source),
    "--source": lambda call: bool(call.source),
    "--resource": lambda call: bool(call.resource),
}
_TOLD_BY = {
    "principal": "--principal",
    "source": "--source",
    "resource": "--resource",
    "model": "--resource",
    "tool": "--resource",
    "route": "--resource",
}

_OPTIONS = (
    click.option("--principal", default="", help="Whose counts: the id of a principal."),
    click.option("--tenant", default="default", show_default=True, help="Tenant of the principal."),
    click.option("--resource", default="", help="What is called, such as model:support-bot."),
    click.option("--source", default="", help="Client address, for callers without a principal."),
    click.option("--limit", "names", multiple=True, help="Only this limit or budget; may be repeated."),
    click.option(
        "--config",
        type=PathName(),
        default="aisecure.toml",
        show_default=True,
        help="Configuration file.",
    ),
    click.option("--json", "as_json", is_flag=True, help="Print the result as JSON."),
)


class _Counting(Protocol):
    """A guard that counts and can tell; one that does not say that its ``counts_are_shared`` keeps them to itself."""

    name: str

    def remaining(self, call: Call) -> list[Standing]: ...

    def reset(self, call: Call, *, only: Collection[str]) -> list[str]: ...


class _Found(NamedTuple):
    """The limits that concern a call.

    Attributes:
        counted: Guards whose counts can be seen, and how those of their limits stand.
        unseen: Names of limits that every process counts for itself.
        unasked: Options that would tell whose count is meant, and the names of the limits that need each.
    """

    counted: list[tuple[_Counting, list[Standing]]]
    unseen: list[str]
    unasked: dict[str, list[str]]

    @property
    def lines(self) -> list[Standing]:
        """How all of them stand that can be seen."""
        return [line for _, lines in self.counted for line in lines]


def _asking(function: Callable[..., Any]) -> Callable[..., Any]:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


@click.group("quotas")
def command() -> None:
    """Show how much somebody used of each limit and budget, and forget it.

    Only counts that all processes share can be seen from here; without redis_url each process counts limits in its own
    memory. Where some were left out for that, the command says so and exits 1.
    """


@command.command("show")
@_asking
@click.pass_context
def show_command(
    ctx: click.Context,
    principal: str,
    tenant: str,
    resource: str,
    source: str,
    names: tuple[str, ...],
    config: Path,
    *,
    as_json: bool,
) -> None:
    """Show each limit that concerns somebody's calls: how much of it is used, and when it is all there again."""
    call = _call(principal, tenant, resource, source)
    with _guards(config, call) as guards:
        found = _find(guards, call, names)
    if as_json:
        _print_json(call, found, {"standings": [line.to_dict() for line in found.lines]})
    elif found.lines:
        _print_lines(found.lines)
    elif not found.unseen and not found.unasked:
        click.echo("no limit concerns these calls", err=True)
    _print_left_out(call, found)
    ctx.exit(_NO if found.unseen else 0)


@command.command("reset")
@_asking
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def reset_command(
    ctx: click.Context,
    principal: str,
    tenant: str,
    resource: str,
    source: str,
    names: tuple[str, ...],
    config: Path,
    *,
    yes: bool,
    as_json: bool,
) -> None:
    """Forget what somebody used of each limit that concerns their calls, and leave a note of it in the audit log.

    A limit of the tenant is reset for the whole tenant, and one across tenants for all of them; name others by --limit
    to leave it alone.
    """
    call = _call(principal, tenant, resource, source)
    with _guards(config, call) as guards:
        found = _find(guards, call, names)
        _print_left_out(call, found)
        limits = _distinct(line.name for line in found.lines)
        if limits:
            if not yes:
                click.confirm(
                    f"Forget what {_whose(call)} used of {', '.join(map(printable, limits))}?",
                    abort=True,
                    err=True,
                )
            with _log(config) as events:
                _reset(found, call, events)
    if as_json:
        _print_json(call, found, {"reset": limits})
    else:
        click.echo(
            f"reset: {', '.join(map(printable, limits))}" if limits else "nothing was reset", err=not limits
        )
    ctx.exit(0 if limits and not found.unseen else _NO)


def _call(principal: str, tenant: str, resource: str, source: str) -> Call:
    if not tenant:
        raise click.UsageError("--tenant is empty")
    return Call(Principal(principal, tenant=tenant), "invoke", resource, source=source)


def _whose(call: Call) -> str:
    told = [("principal", call.principal.id), ("source", call.source), ("tenant", call.principal.tenant)]
    return ", ".join(f"{what} {printable(who[:80])}" for what, who in told if who)


def _find(guards: Sequence[_Counting], call: Call, names: Sequence[str]) -> _Found:
    """Ask the guards.

    Args:
        guards: Whom.
        call: Whose limits, and for what.
        names: Only these limits: as standings name them, or the part before the colon; all when empty.
    """
    found = _Found([], [], {})
    known: list[str] = []
    for guard in guards:
        lines = guard.remaining(call)
        known += _distinct(line.name for line in lines)
        asked = []
        for line in lines:
            if names and not {line.name, line.name.rpartition(":")[0]} & set(names):
                continue
            if option := _missing(line.name, call):
                # Whose count it is was not said; somebody's zero would look like an answer.
                found.unasked.setdefault(option, []).append(line.name)
            else:
                asked.append(line)
        if asked and getattr(guard, "counts_are_shared", False):
            found.counted.append((guard, asked))
        else:
            found.unseen.extend(line.name for line in asked)
    for name in names:
        if not any(name in (full, full.rpartition(":")[0]) for full in known):
            listed = ", ".join(map(printable, _distinct(known))) or "none"
            raise click.UsageError(
                f"--limit {printable(name[:80])}: those that concern the call are {listed}"
            )
    return _Found(
        found.counted,
        _distinct(found.unseen),
        {option: _distinct(missed) for option, missed in found.unasked.items()},
    )


def _missing(name: str, call: Call) -> str:
    """Return the option without which nobody knows whose count of a limit is meant, or nothing."""
    for word in name.rpartition(":")[2].rstrip("*~").split("+"):
        option = _TOLD_BY.get(word, "")
        if option and not _NEEDS[option](call):
            return option
    return ""


def _reset(found: _Found, call: Call, events: EventSink) -> None:
    done: list[str] = []
    result = Result.FAILURE
    try:
        for guard, lines in found.counted:
            done += _distinct(guard.reset(call, only={line.name for line in lines}))
        result = Result.SUCCESS
    finally:
        # Also when a store failed half way: what was forgotten before is forgotten.
        events.record(
            SecurityEvent(
                "quota.reset",
                result=result,
                principal=operator(),
                tenant=call.principal.tenant,
                resource=call.resource,
                source=call.source,
                detail={"subject": call.principal.id, "limits": done},
            )
        )


@contextmanager
def _guards(config: Path, call: Call) -> Iterator[list[_Counting]]:
    """Build only the limits; without the log, which is not to say that a process began to count."""
    from aisecure.config import Assembly, load

    read = load(config).only("quotas")
    section = read.sections["quotas"]
    if not section.enabled:
        click.echo("[quotas] is switched off in this configuration", err=True)
    # While Redis is away a share of this process would answer instead, and nothing is used of that.
    settings = section.settings.model_copy(update={"local_share": None})
    sections = {**read.sections, "quotas": section._replace(settings=settings)}
    assembly = Assembly.build(replace(read, sections=sections))
    try:
        yield [
            cast("_Counting", guard)
            for guard in assembly.guards
            if hasattr(guard, "remaining") and hasattr(guard, "reset") and guard.applies(call.resource)
        ]
    finally:
        for guard in assembly.guards:
            guard.close()
        assembly.close()


@contextmanager
def _log(config: Path) -> Iterator[EventSink]:
    from aisecure.config import Assembly, load

    assembly = Assembly.build(load(config).only("audit"))
    try:
        yield assembly.sinks[0] if assembly.sinks else assembly.ports.events
    finally:
        for sink in assembly.sinks:
            close = getattr(sink, "close", None)
            if close is not None:
                close()
        assembly.close()


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _print_lines(lines: Sequence[Standing]) -> None:
    rows = [
        (
            printable(line.name),
            f"{_plain(line.limit)} {line.unit}",
            spelled(line.window_seconds),
            _plain(line.used),
            _plain(line.reserved) if line.reserved else "",
            _plain(line.remaining),
            spelled(line.reset_seconds),
        )
        for line in lines
    ]
    print_table(("name", "limit", "window", "used", "of it held", "remaining", "resets in"), rows, widest=60)


def _plain(amount: Any) -> str:
    """Return an amount without an exponent, which money may have."""
    return str(amount) if isinstance(amount, int) else f"{amount:f}"


def _print_json(call: Call, found: _Found, shown: dict[str, Any]) -> None:
    asked = {
        "principal": call.principal.id,
        "tenant": call.principal.tenant,
        "resource": call.resource,
        "source": call.source,
    }
    click.echo(json.dumps({**asked, **shown, "unseen": found.unseen, "unasked": found.unasked}, indent=2))


def _print_left_out(call: Call, found: _Found) -> None:
    if found.unseen:
        listed = ", ".join(map(printable, found.unseen))
        click.echo(
            f"not to be seen: {listed}; every process counts them in its own memory (set redis_url to share them)",
            err=True,
        )
    for option, names in found.unasked.items():
        click.echo(f"add {option} for {', '.join(map(printable, names))}", err=True)
    if not call.resource and "--resource" not in found.unasked:
        click.echo("add --resource for limits and budgets of certain resources, if there are any", err=True)
