"""``aisecure elevate``: as an operator types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aisecure.cli import main

WHY = ["--reason", "Production is down, ticket 1"]


@pytest.fixture
def run(tmp_path):
    (tmp_path / "aisecure.toml").write_text("[access]\nelevation = true\n")

    def run(*words):
        return CliRunner().invoke(main, ["elevate", *words, "--config", str(tmp_path / "aisecure.toml")])

    return run


def test_a_role_is_given_listed_and_ended(run):
    given = run("grant", "ann", "--role", "auditor", "--for", "30m", *WHY, "--json")
    held = json.loads(given.stdout)
    assert (held["principal"], held["roles"], held["emergency"]) == ("ann", ["auditor"], False)
    assert held["until"] - held["begins"] == pytest.approx(1800)
    listed = run("list")
    assert "ann" in listed.stdout
    assert "Production is down" in listed.stdout
    assert run("end", held["id"]).exit_code == 0
    assert run("end", held["id"]).exit_code == 1
    assert run("list").stdout == ""
    assert json.loads(run("list", "--all", "--json").stdout)[0]["ended"]


def test_the_glass_is_broken(run):
    broken = run("break-glass", "olga", "rescuer", *WHY)
    assert broken.exit_code == 0
    assert json.loads(run("list", "--json").stdout)[0]["emergency"] is True


@pytest.mark.parametrize(
    "words",
    [
        ["grant", "ann", "--role", "auditor", "--reason", "short"],
        ["grant", "ann", "--role", "auditor", "--for", "9h", *WHY],
        ["grant", "ann", "--role", "auditor", "--for", "soon", *WHY],
        ["grant", "ann", *WHY],
        ["break-glass", "ann", "rescuer", "--for", "2h", *WHY],
    ],
)
def test_what_was_typed_wrongly_is_told(run, words):
    result = run(*words)
    assert result.exit_code == 2
    assert "Error" in result.output
