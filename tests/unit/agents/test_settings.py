"""The section ``[agents]``: from a file to guards that ask a person."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from aisecure import Principal, Shield
from aisecure.agents import RuleOfTwo, Settings, build
from aisecure.approvals import ApprovalGuard
from aisecure.cli import main
from aisecure.detect import SpotlightGuard
from aisecure.errors import ApprovalRequired, Misconfigured
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.storage import Storage

FILE = """
[authn]
enabled = false
[access]
enabled = false
[models]
enabled = false
[agents]
untrusted = ["tool:web_*"]
private = ["tool:read_mail"]
outward = ["tool:send_*"]
approve = ["tool:delete_*"]
"""


@pytest.fixture
def ports(tmp_path: Path) -> Ports:
    return Ports(tmp_path, tmp_path, lambda: Storage(tmp_path / "aisecure.db"), LocalNotices())


def test_by_default_there_is_nothing_to_guard(ports: Ports) -> None:
    assert build(Settings(), ports) == ()


def test_each_setting_makes_its_guard(ports: Ports) -> None:
    every = Settings(
        spotlight="datamark",
        untrusted=("a",),
        private=("b",),
        outward=("c",),
        approve=("d",),
        arguments="none",
    )
    assert [type(guard) for guard in build(every, ports)] == [SpotlightGuard, RuleOfTwo, ApprovalGuard]
    (rule,) = build(Settings(private=("b",), outward=("c",), ask=False), ports)
    assert isinstance(rule, RuleOfTwo)
    assert rule.approvals is None


def test_half_a_rule_is_told(ports: Ports) -> None:
    with pytest.raises(Misconfigured, match=r"\[agents\] outward"):
        build(Settings(private=("b",)), ports)


def test_a_person_answers_from_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "aisecure.toml"
    path.write_text(FILE)
    shield = Shield.from_config(path)

    @shield.protect("tool:delete_page", action="call", prompt="*")
    def delete(page: str, by: str) -> str:
        return f"deleted {page}"

    @shield.protect("tool:read_page", action="call", prompt="*")
    def read(page: str) -> str:
        return page

    with shield.acting_as(Principal("ann")):
        assert read("1") == "1"
        with pytest.raises(ApprovalRequired) as waiting:
            delete("1", by="ann@example.org")
    request = waiting.value.problem()["approval_id"]
    runner = CliRunner()
    shown = runner.invoke(main, ["approvals", "show", request, "--config", str(path)])
    assert "[EMAIL]" in shown.output
    assert "ann@example.org" not in shown.output
    assert runner.invoke(main, ["approvals", "approve", request, "--config", str(path)]).exit_code == 0
    with shield.acting_as(Principal("ann")):
        assert delete("1", by="ann@example.org") == "deleted 1"
        with pytest.raises(ApprovalRequired):
            delete("1", by="ann@example.org")
    shield.close()


def test_the_rule_asks_too(tmp_path: Path) -> None:
    path = tmp_path / "aisecure.toml"
    path.write_text(FILE)
    shield = Shield.from_config(path)
    with shield.acting_as(Principal("ann"), conversation="c-1"):
        for tool in ("web_search", "read_mail"):
            shield.protect(f"tool:{tool}", action="call")(lambda prompt: prompt)("x")
        with pytest.raises(ApprovalRequired) as waiting:
            shield.protect("tool:send_mail", action="call")(lambda prompt: prompt)("x")
    assert waiting.value.code == "approval.rule_of_two"
    shield.close()
