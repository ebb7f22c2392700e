"""Runs the steps and prints what they saw: one screen, or JSON."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from aisecure.apps.demo.stage import Stage, set_up
from aisecure.apps.demo.steps import STEPS, Evidence

__all__ = ["run"]

#: Longer texts are cut in the middle; a token or an answer is recognised by its ends.
SHOWN_CHARACTERS = 160


def run(*, as_json: bool = False, folder: Path | None = None) -> bool:
    """Run every step and print what it saw; return whether each did what it says.

    Args:
        as_json: Print one JSON document instead of a table.
        folder: Keeps configuration, data and log for a look afterwards; a temporary one when None.

    Raises:
        Misconfigured: The extra ``demo`` or the model is not installed.
    """
    console = Console(highlight=False, soft_wrap=False)
    with tempfile.TemporaryDirectory(prefix="aisecure-demo-") as temporary:
        place = folder or Path(temporary)
        place.mkdir(parents=True, exist_ok=True)
        results: list[tuple[str, Evidence]] = []
        status = console.status("starting a real language model and the protected app ...", spinner="dots")
        with status, set_up(place) as stage:
            for title, evidence in play(stage):
                status.update(f"{title} ...")
                results.append((title, evidence))
    held = all(evidence.holds for _, evidence in results)
    if as_json:
        print(
            json.dumps(
                {"ok": held, "steps": [_as_data(title, evidence) for title, evidence in results]}, indent=2
            )
        )
    else:
        console.print(_table(results))
        count = sum(evidence.holds for _, evidence in results)
        console.print(f"{count} of {len(results)} steps did what they say.", style="green" if held else "red")
        if folder:
            console.print(
                f"Configuration, data and log are in {folder}; try: aisecure audit verify {folder}/data/audit"
            )
    return held


def play(stage: Stage) -> Iterator[tuple[str, Evidence]]:
    """Run the steps in order; a step that raises is a step that does not hold."""
    for step in STEPS:
        evidence = Evidence()
        try:
            step(stage, evidence)
        except Exception as err:  # noqa: BLE001  (the screen shows which step broke; the others still run)
            evidence.expect(f"no error, but {type(err).__name__}: {err}", False)
        yield (step.__doc__ or step.__name__).strip(), evidence


def _as_data(title: str, evidence: Evidence) -> dict[str, object]:
    return {
        "step": title,
        "holds": evidence.holds,
        "shown": dict(evidence.shown),
        "expected": dict(evidence.expected),
    }


def _table(results: list[tuple[str, Evidence]]) -> Table:
    table = Table(title="aisecure: a support bot over a real language model", show_lines=True, expand=True)
    table.add_column("", width=2)
    table.add_column("what happens", ratio=2)
    table.add_column("what was seen", ratio=5)
    for title, evidence in results:
        seen = Text()
        for label, text in evidence.shown:
            seen.append(f"{label}: ", style="bold").append(_short(text) + "\n")
        for sentence, truth in evidence.expected:
            if not truth:
                seen.append(f"NOT TRUE: {sentence}\n", style="red")
        seen.rstrip()
        table.add_row(Text("✓", style="green") if evidence.holds else Text("✗", style="red"), title, seen)
    return table


def _short(text: str) -> str:
    if len(text) <= SHOWN_CHARACTERS:
        return text
    half = SHOWN_CHARACTERS // 2
    return f"{text[:half]} … {text[-half // 2 :]}"
