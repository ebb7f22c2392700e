"""``aisecure doctor``."""

from __future__ import annotations

import json
from importlib import import_module
from pathlib import Path

import click

from aisecure.config import CONCERNS, PARTS
from aisecure.shield import Shield


@click.command("doctor")
@click.option(
    "--config", type=click.Path(path_type=Path), default=None, help="Also build the shield of this file."
)
@click.option("--json", "as_json", is_flag=True, help="Print the results as JSON.")
@click.pass_context
def command(ctx: click.Context, *, config: Path | None, as_json: bool) -> None:
    """Run the self-tests of every concern, and check a configuration."""
    results = {}
    for concern in (*CONCERNS, *PARTS):
        for capability, test in import_module(f"aisecure.{concern}").self_tests().items():
            try:
                test()
            except Exception as err:  # noqa: BLE001  (a self-test may fail in any way; that is its answer)
                results[f"{concern}: {capability}"] = f"FAILED ({type(err).__name__})"
            else:
                results[f"{concern}: {capability}"] = "ok"
    if config is not None:
        with Shield.from_config(config) as shield:
            for name, facts in shield.health()["guards"].items():
                results[f"guard {name}"] = "ok" if facts["ok"] else "FAILED"
    good = all(result == "ok" for result in results.values())
    if as_json:
        click.echo(json.dumps({"ok": good, "results": results}, indent=2))
    else:
        for name, result in results.items():
            click.echo(f"{result:<8} {name}")
    ctx.exit(0 if good else 1)
