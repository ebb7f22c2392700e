"""Which detectors a command about personal data uses."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click
from click.shell_completion import CompletionItem

from aisecure.cli._printable import printable
from aisecure.detect import Detector, PiiDetector, SecretDetector

__all__ = ["detectors", "listed", "looking"]


class _Listed(click.ParamType[list[str]]):
    """Words separated by commas, of a list that a shell can complete."""

    name = "list"

    def __init__(self, known: Callable[[], set[str]] = set) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        return value if isinstance(value, list) else listed(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        before, comma, word = incomplete.rpartition(",")
        return [
            CompletionItem(before + comma + each) for each in sorted(self._known()) if each.startswith(word)
        ]


def listed(text: str) -> list[str]:
    """Return the words of a text that commas separate."""
    return [word.strip() for word in text.split(",") if word.strip()]


def _kinds() -> set[str]:
    return {*PiiDetector().types, *SecretDetector().types}


_OPTIONS = (
    click.option(
        "--types", type=_Listed(_kinds), help="Kinds to look for, separated by commas; all by default."
    ),
    click.option(
        "--exclude", type=_Listed(_kinds), default="", help="Kinds to leave out, separated by commas."
    ),
    click.option(
        "--countries", type=_Listed(), help="Of national identifiers only those of these, such as US,GB."
    ),
    click.option(
        "--threshold", type=click.FloatRange(0, 1), default=0.5, show_default=True, help="Least confidence."
    ),
    click.option("--secrets/--no-secrets", default=True, show_default=True, help="Look for credentials too."),
)


def looking(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that `detectors` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def detectors(
    types: list[str] | None,
    exclude: list[str],
    countries: list[str] | None,
    threshold: float,
    *,
    secrets: bool,
) -> list[Detector]:
    """Return the detectors that the options ask for.

    Raises:
        UsageError: A kind or country is unknown, or nothing is left to look for.
    """
    codes = None if countries is None else [code.upper() for code in countries]
    try:
        pii, other = PiiDetector(countries=codes).types, SecretDetector().types
    except ValueError as err:
        raise click.UsageError(str(err)) from None
    unknown = {*(types or ()), *exclude} - pii - other
    if unknown:
        raise click.UsageError(f"unknown kinds {', '.join(map(printable, sorted(unknown)))}")
    pii = (pii if types is None else pii & set(types)) - set(exclude)
    other = (other if types is None else other & set(types)) - set(exclude)
    out: list[Detector] = [PiiDetector(pii, countries=codes, threshold=threshold)] if pii else []
    if other and secrets:
        out.append(SecretDetector(other, threshold=threshold))
    if not out:
        raise click.UsageError("nothing is left to look for")
    return out
