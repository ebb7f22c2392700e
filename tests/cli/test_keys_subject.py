"""``aisecure keys subject``, as an officer for data protection types it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aisecure import Shield
from aisecure.cli import main
from aisecure.encryption import SubjectKeys
from aisecure.errors import DecryptionError

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str, given: str | None = None) -> Result:
        return CliRunner().invoke(main, ["keys", *args], input=given)

    assert CliRunner().invoke(main, ["init"]).exit_code == 0
    return invoke


def _encrypted(subject: str = "ada", tenant: str = "default") -> str:
    with Shield.from_config("aisecure.toml") as shield:
        return shield.part(SubjectKeys).cipher(subject, tenant=tenant).encrypt("well")


def _opens(token: str, tenant: str = "default") -> bool:
    with Shield.from_config("aisecure.toml") as shield:
        try:
            return shield.part(SubjectKeys).decrypt(token, tenant=tenant) == "well"
        except DecryptionError:
            return False


def test_a_person_is_erased_and_the_receipt_is_printed_and_in_the_log(run: Run, tmp_path: Path) -> None:
    token = _encrypted(tenant="acme")
    result = run("subject", "erase", "ada", "--tenant", "acme", "--request-id", "dsr-7", "--actor", "eve", "--yes", "--json")  # fmt: skip
    assert result.exit_code == 0, result.output
    receipt = json.loads(result.output)
    assert (receipt["type"], receipt["request_id"], receipt["principal"]) == (
        "subject.erased",
        "dsr-7",
        "eve",
    )
    assert not _opens(token, "acme")
    log = "".join(path.read_text() for path in tmp_path.rglob("*.jsonl"))
    assert log.count(receipt["id"]) == 1
    again = run("subject", "erase", "ada", "--tenant", "acme", "--yes")
    assert again.exit_code == 0
    assert "there was no key" in again.output


def test_an_id_may_come_on_standard_input(run: Run) -> None:
    token = _encrypted()
    assert run("subject", "export", "-", "--json", given="ada\n").exit_code == 0
    assert run("subject", "erase", "-", given="ada\n").exit_code == 2  # nobody can be asked
    assert _opens(token)
    assert "erased key" in run("subject", "erase", "-", "--yes", given="ada\n").output
    assert not _opens(token)


def test_nothing_is_erased_without_a_yes(run: Run) -> None:
    token = _encrypted()
    assert run("subject", "erase", "ada", given="n\n").exit_code == 1
    assert _opens(token)
    assert run("subject", "erase", "ada", given="y\n").exit_code == 0
    assert not _opens(token)


def test_export_tells_the_key_id_or_no(run: Run) -> None:
    assert run("subject", "export", "ada").output == "no key\n"
    assert run("subject", "export", "ada").exit_code == 1
    _encrypted()
    facts = json.loads(run("subject", "export", "ada", "--json").output)
    assert sorted(facts) == ["created", "key_id", "tenant"]
    assert facts["key_id"] in run("subject", "export", "ada").output


def test_resume_says_that_nothing_is_pending(run: Run) -> None:
    assert run("subject", "resume").output == "nothing was pending\n"
    assert run("subject", "resume", "--json").output == ""


@pytest.mark.parametrize("by", ["log", "list", "ids"])
def test_a_restored_backup_is_erased_again(run: Run, tmp_path: Path, by: str) -> None:
    tokens = [_encrypted("ada"), _encrypted("grace")]
    data = tmp_path / "data"
    shutil.copytree(data, tmp_path / "backup")
    receipt = json.loads(run("subject", "erase", "ada", "--yes", "--json").output)
    for path in data.glob("aisecure.db*"):
        path.unlink()
    for path in (tmp_path / "backup").glob("aisecure.db*"):
        shutil.copy(path, data)
    assert _opens(tokens[0])
    key_id = receipt["detail"]["key_id"]
    (tmp_path / "list").write_text(f"{key_id}\n\n")
    given = {"log": [str(path) for path in data.rglob("*.jsonl")], "list": ["list"], "ids": [key_id]}[by]
    result = run("subject", "reapply", *given, "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.output) == {"given": 1, "erased_again": 1}
    assert [_opens(token) for token in tokens] == [False, True]
    assert "0 of them were back" in run("subject", "reapply", *given).output


@pytest.mark.parametrize(
    "lines", ["no id\n", '{"type": "subject.era', "{}\nno id\n", "00\n", "[1]\n", "\0\n"]
)
def test_a_list_that_is_none_erases_nothing(run: Run, tmp_path: Path, lines: str) -> None:
    token = _encrypted()
    with Shield.from_config("aisecure.toml") as shield:
        key_id = shield.part(SubjectKeys).export("ada")["key_id"]
    (tmp_path / "list").write_text(f"{key_id}\n{lines}")
    assert run("subject", "reapply", "list").exit_code == 2
    assert _opens(token)


def test_keys_are_rewrapped_after_the_ring_was_rotated(run: Run) -> None:
    token = _encrypted()
    assert json.loads(run("subject", "rewrap", "--json").stdout) == {"rewrapped": 0}
    old = json.loads(run("ring", "show", "--json").output)["keys"][0]["key_id"]
    run("ring", "rotate")
    assert json.loads(run("subject", "rewrap", "--json").stdout) == {"rewrapped": 1}
    assert json.loads(run("subject", "rewrap", "--everything", "--json").stdout) == {"rewrapped": 1}
    assert run("ring", "retire", old).exit_code == 0
    assert run("ring", "destroy", old, "--yes").exit_code == 0
    assert _opens(token)


@pytest.mark.parametrize("command", ["erase", "export"])
@pytest.mark.parametrize("subject", ["", "a" * 2000], ids=["empty", "long"])
def test_an_id_that_is_none_is_a_mistake_in_the_command(run: Run, command: str, subject: str) -> None:
    yes = ["--yes"] if command == "erase" else []
    result = run("subject", command, subject, *yes)
    assert result.exit_code == 2
    assert len(result.output) < 500


def test_a_legal_hold_is_a_no(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    token = _encrypted()
    before = SubjectKeys.__init__
    monkeypatch.setattr(
        SubjectKeys, "__init__", lambda *args, **options: before(*args, **options, holds=lambda *_: "case 12")
    )
    result = run("subject", "erase", "ada", "--yes")
    assert result.exit_code == 1
    assert "case 12 [erasure.legal_hold]" in result.output
    assert _opens(token)
