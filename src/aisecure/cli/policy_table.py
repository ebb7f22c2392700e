"""``aisecure policy test``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

import click

from aisecure.cli._expected import BadTable, Expected, read_table
from aisecure.cli._policy_options import PathName, opened, policy_options
from aisecure.cli._policy_options import as_json as _json
from aisecure.cli._printable import printable
from aisecure.decisions import Decision
from aisecure.storage import file_error

if TYPE_CHECKING:
    from aisecure.access._snapshot import Snapshot

_NO = 1
#: Differences that are explained, since an explanation looks at every rule.
_EXPLAINED: Final = 20
#: Fewer rows are done before a bar is read.
_BAR_FROM: Final = 20_000


@dataclass(frozen=True, slots=True)
class _Difference:
    row: Expected
    decision: Decision
    explanation: str

    def to_dict(self) -> dict[str, Any]:
        return {
            "line": self.row.line,
            "principal": self.row.principal.id,
            "roles": sorted(self.row.principal.roles),
            "tenant": self.row.principal.tenant,
            "action": self.row.action,
            "resource": self.row.resource,
            "note": self.row.note,
            "expected": "allow" if self.row.allowed else "deny",
            "code": self.decision.code,
            "explanation": self.explanation,
        }


@click.command("test")
@click.argument("table", type=PathName())
@click.option("--coverage", is_flag=True, help="Also list the rules that decided no row.")
@click.option("--fail-uncovered", is_flag=True, help="Exit 1 when a rule decided no row.")
@click.option("--junit", type=PathName(), help="Also write a JUnit report to this file.")
@policy_options
@_json
@click.pass_context
def command(
    ctx: click.Context,
    table: Path,
    junit: Path | None,
    config: Path,
    policy: Path | None,
    model: Path | None,
    shared_tenant: str | None,
    *,
    coverage: bool,
    fail_uncovered: bool,
    as_json: bool,
) -> None:
    """Ask the policy every question of TABLE, and compare the answers; exits 1 when one differs.

    TABLE is a CSV file with the columns expect (allow or deny), action and resource, and, where wanted, principal,
    roles (with ; between), tenant and note. - is standard input.
    """
    try:
        rows = read_table(table)
    except BadTable as err:
        raise click.UsageError(printable(str(err))) from None
    version = opened(config, policy, model, shared_tenant)
    differences, decided = _asked(version, rows)
    uncovered = _uncovered(version, decided) if coverage or fail_uncovered else None
    if junit is not None:
        _write_junit(junit, table, rows, differences)
    if as_json:
        shown: dict[str, Any] = {
            "version": version.version,
            "rows": len(rows),
            "differences": [difference.to_dict() for difference in differences],
        }
        if uncovered is not None:
            shown["uncovered"] = [{"line": line, "rule": list(rule)} for line, rule in uncovered]
        click.echo(json.dumps(shown, indent=2))
    else:
        _show(table, rows, differences, uncovered)
    ctx.exit(_NO if differences or (fail_uncovered and uncovered) else 0)


def _asked(version: Snapshot, rows: Sequence[Expected]) -> tuple[list[_Difference], set[int]]:
    """Return what is not as expected, and the lines of the rules that decided."""
    from aisecure.access.explanation import explain

    version.parts()
    differences: list[_Difference] = []
    decided: set[int] = set()
    with _bar(rows) as watched:
        for row in watched:
            decision = version.decide(row.principal, row.action, row.resource)
            if decision.allowed or decision.code == "access.rule":
                asked = version.request_of(row.principal, row.action, row.resource)
                decided.add(abs(version.judge(asked, row.principal.roles)))
            if decision.allowed is not row.allowed:
                told = ""
                if len(differences) < _EXPLAINED:
                    told = str(explain(version, row.principal, row.action, row.resource))
                differences.append(_Difference(row, decision, told))
    return differences, decided


@contextmanager
def _bar(rows: Sequence[Expected]) -> Iterator[Any]:
    """Tell a person how far it is, when one is watching and it takes a while."""
    if len(rows) < _BAR_FROM or not sys.stderr.isatty():
        yield rows
        return
    with click.progressbar(rows, file=sys.stderr, update_min_steps=1000) as watched:
        yield watched


def _uncovered(version: Snapshot, decided: set[int]) -> list[tuple[int, tuple[str, ...]]]:
    """Return the rules that decided nothing, without those at which the effect of the model never looks."""
    from aisecure.access._covered import has_say

    counts = has_say(version)
    rules = zip(version.policy.lines, version.policy.rules, strict=True)
    return [(line, ("p", *rule)) for line, rule in rules if line not in decided and counts(rule)]


def _show(
    table: Path,
    rows: Sequence[Expected],
    differences: Sequence[_Difference],
    uncovered: Sequence[tuple[int, tuple[str, ...]]] | None,
) -> None:
    for difference in differences:
        row = difference.row
        note = f"  # {row.note}" if row.note else ""
        expected, got = ("allow", "deny") if row.allowed else ("deny", "allow")
        click.echo(printable(f"{table}: line {row.line}: expected {expected}, got {got}: {row.asked}{note}"))
        for line in difference.explanation.split("\n") if difference.explanation else ():
            click.echo(f"    {printable(line)}")
    for number, rule in uncovered or ():
        click.echo(printable(f"not covered: line {number}: {', '.join(rule)}"))
    click.echo(f"{len(rows)} rows, {len(differences)} different", nl=uncovered is None)
    if uncovered is not None:
        click.echo(f"; {len(uncovered)} rules decided no row")


def _write_junit(
    path: Path, table: Path, rows: Sequence[Expected], differences: Sequence[_Difference]
) -> None:
    differ = {difference.row.line: difference for difference in differences}
    suite = ET.Element(
        "testsuite", name=_xml(f"policy {table}"), tests=str(len(rows)), failures=str(len(differences))
    )
    for row in rows:
        case = ET.SubElement(
            suite,
            "testcase",
            classname=_xml(str(table)),
            name=_xml(f"line {row.line}: {row.asked} -> {'allow' if row.allowed else 'deny'}"),
        )
        difference = differ.get(row.line)
        if difference is not None:
            message = f"expected {'allow' if row.allowed else 'deny'} [{difference.decision.code}]"
            failure = ET.SubElement(case, "failure", message=message)
            failure.text = "\n".join(map(_xml, difference.explanation.split("\n")))
    try:
        ET.ElementTree(suite).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as err:
        raise file_error(path, err) from err


def _xml(text: str) -> str:
    # What XML cannot hold is not printable either.
    return printable(text)
