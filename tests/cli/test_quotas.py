"""``aisecure quotas``: as an operator types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from tests.unit.quotas.conftest import redis_client, redis_server

from aisecure import Principal, Shield
from aisecure.cli import main

__all__ = ["redis_client", "redis_server"]

BUDGETS = '[[quotas.budgets]]\nlimits = "10k tokens/day"\n'


@pytest.fixture
def run(tmp_path):
    def run(*words, **options):
        return CliRunner().invoke(
            main, ["quotas", *words, "--config", str(tmp_path / "aisecure.toml")], **options
        )

    return run


def write(tmp_path, text):
    path = tmp_path / "aisecure.toml"
    path.write_text("[access]\nenabled = false\n[authn]\nenabled = false\n[models]\nenabled = false\n" + text)
    return path


def use(path, times=1):
    with Shield.from_config(path) as shield:

        @shield.protect("model:bot")
        def ask(prompt):
            return {"usage": {"prompt_tokens": 10, "completion_tokens": 20}}

        with shield.acting_as(Principal("ann", tenant="acme")):
            for _ in range(times):
                ask("hello")


ANN = ["--principal", "ann", "--tenant", "acme", "--resource", "model:bot"]


def test_limits_and_budgets_on_redis_are_shown_and_reset(tmp_path, run, redis_server, redis_client):
    path = write(
        tmp_path, f'[quotas]\nlimits = "5/hour; 50/day"\nredis_url = "{redis_server.url}"\n{BUDGETS}'
    )
    use(path, 3)
    shown = run("show", *ANN, "--json")
    assert shown.exit_code == 0, shown.output
    body = json.loads(shown.stdout)
    assert body["unseen"] == []
    assert [(each["unit"], each["limit"], each["used"]) for each in body["standings"]] == [
        ("requests", 5, 3), ("requests", 50, 3), ("tokens", 10_000, 90),
    ]  # fmt: skip
    table = run("show", *ANN)
    assert "5 requests" in table.stdout
    assert "9910" in table.stdout
    assert (
        json.loads(run("show", "--principal", "bob", "--tenant", "acme", "--json").stdout)["standings"][0][
            "used"
        ]
        == 0
    )
    assert run("reset", *ANN, input="n\n").exit_code == 1
    assert json.loads(run("show", *ANN, "--json").stdout)["standings"][0]["used"] == 3
    reset = run("reset", *ANN, "--yes")
    assert reset.exit_code == 0, reset.output
    assert {each["used"] for each in json.loads(run("show", *ANN, "--json").stdout)["standings"]} == {0}
    log = "".join(file.read_text() for file in (tmp_path / "data" / "audit").rglob("*.jsonl"))
    (line,) = [json.loads(line) for line in log.splitlines() if '"quota.reset"' in line]
    line = line["ev"]
    assert line["principal"] == "ann"
    assert line["detail"]["by"].startswith("os:")


def test_counts_in_the_memory_of_other_processes_are_said_to_be_unseen(tmp_path, run):
    path = write(tmp_path, f"[quotas]\n{BUDGETS}")
    use(path)
    shown = run("show", *ANN)
    assert shown.exit_code == 1
    assert "rate_limit: counted in the memory of each process" in shown.stderr
    assert "requests" not in shown.stdout
    assert "9970" in shown.stdout  # the budget is in the data folder
    assert run("reset", *ANN, "--yes").exit_code == 1
    assert "9970" not in run("show", *ANN).stdout


def test_a_server_that_is_away_is_told(tmp_path, run):
    write(tmp_path, '[quotas]\nredis_url = "redis://127.0.0.1:1"\n')
    result = run("show", *ANN)
    assert result.exit_code == 4
    assert "unavailable.quota" in result.stderr


def test_what_was_typed_wrongly_is_told(run):
    assert run("show").exit_code == 2
    assert run("show", *ANN).exit_code == 3  # there is no configuration
