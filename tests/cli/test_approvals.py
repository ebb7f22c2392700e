"""``aisecure approvals``: as an operator types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aisecure import Principal
from aisecure.approvals import Approvals
from aisecure.call import Call
from aisecure.cli import main
from aisecure.storage import Storage

CALL = Call(Principal("ann"), "call", "tool:pay", {"to": "bob\x1b[2J"})


@pytest.fixture
def approvals(tmp_path):
    (tmp_path / "aisecure.toml").write_text("")
    (tmp_path / "data").mkdir(mode=0o700)
    return Approvals(Storage(tmp_path / "data" / "aisecure.db"), preview=lambda text: text)


@pytest.fixture
def run(tmp_path):
    def run(*words):
        return CliRunner().invoke(main, ["approvals", *words, "--config", str(tmp_path / "aisecure.toml")])

    return run


def test_a_waiting_call_is_listed_shown_and_approved(run, approvals, tmp_path):
    assert "nothing waits" in run("list").stderr
    waiting = approvals.request(CALL, reason="Money leaves.").id
    assert "Money leaves." in run("list").stdout
    told = run("show", waiting).stdout
    assert "bob" in told
    assert "\x1b" not in told
    approved = json.loads(run("approve", waiting, "--note", "Fine with me", "--json").stdout)
    assert approved["state"] == "approved"
    assert approved["votes"][0]["by"].startswith("os:")
    assert approvals.consume(CALL) is not None
    assert run("approve", waiting).exit_code == 1
    assert [row["state"] for row in json.loads(run("list", "--all", "--json").stdout)] == ["used"]
    log = "".join(
        file.read_text("utf-8", "replace") for file in (tmp_path / "data/audit").rglob("*") if file.is_file()
    )
    assert "approval.granted" in log
    assert "bob" not in log


def test_a_refused_call_stays_refused(run, approvals):
    waiting = approvals.request(CALL).id
    assert "denied" in run("deny", waiting).stdout
    assert approvals.decide(CALL).code == "approval.refused"
    assert run("deny", waiting).exit_code == 1
    assert run("show", "none").exit_code == 1
    assert run("approve", waiting, "--tenant", "other").exit_code == 1
