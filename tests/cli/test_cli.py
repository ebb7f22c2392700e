"""The command line, as a user types it."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from aisecure.cli import main
from aisecure.config import Config, load


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str):
        return CliRunner().invoke(main, args)

    return invoke


def test_help_names_every_command(run):
    text = run("--help").output
    for name in ("audit", "completion", "demo", "doctor", "init", "keys", "models"):
        assert name in text


def test_every_command_has_help_of_its_own(run):
    for name in ("audit", "completion", "demo", "doctor", "init", "keys", "models"):
        result = run(name, "--help")
        assert result.exit_code == 0, result.output


def test_init_writes_a_configuration_that_builds_and_keeps_what_is_there(run, tmp_path):
    assert run("init").exit_code == 0
    (tmp_path / "data" / "policy.csv").write_text("p, member, *, model:*, invoke, allow\n")
    again = run("init")
    assert again.exit_code == 0
    assert "kept" in again.output
    assert "admin" not in (tmp_path / "data" / "policy.csv").read_text()
    doctor = run("doctor", "--config", "aisecure.toml", "--json")
    assert doctor.exit_code == 0, doctor.output
    assert json.loads(doctor.output)["ok"] is True


def test_a_missing_configuration_is_told_with_its_name_and_exit_code_3(run):
    result = run("keys", "api", "list")
    assert result.exit_code == 3
    assert "aisecure.toml" in result.output


def test_a_model_file_is_locked_verified_and_a_changed_one_found(run, tmp_path):
    weights = tmp_path / "model.gguf"
    weights.write_bytes(b"weights")
    assert run("models", "lock", "bot", "model.gguf").exit_code == 0
    assert hashlib.sha256(b"weights").hexdigest() in (tmp_path / "models.lock").read_text()
    assert run("models", "verify").exit_code == 0
    weights.write_bytes(b"weightz")
    changed = run("models", "verify")
    assert changed.exit_code == 1
    assert "bot" in changed.output


def test_the_same_name_is_not_locked_twice(run, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"weights")
    run("models", "lock", "bot", "model.gguf")
    before = (tmp_path / "models.lock").read_text()
    assert run("models", "lock", "bot", "model.gguf").exit_code == 3
    assert (tmp_path / "models.lock").read_text() == before


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script(run, shell):
    result = run("completion", shell)
    assert result.exit_code == 0
    assert "_AISECURE_COMPLETE" in result.output


def test_audit_commands_read_the_log_and_find_a_change(run, tmp_path):
    run("init")
    run("keys", "api", "create", "ada")
    log = tmp_path / "data" / "audit"
    tail = run("audit", "tail", str(log))
    assert "key.created" in tail.output
    assert run("audit", "verify", str(log)).exit_code == 0
    segment = next(iter(log.glob("audit-*.jsonl")))
    segment.write_bytes(segment.read_bytes().replace(b"key.created", b"key.creatxd"))
    report = run("audit", "verify", str(log), "--json")
    assert report.exit_code == 1
    assert json.loads(report.output)["ok"] is False


def test_the_module_runs_as_a_program():
    done = subprocess.run(
        [sys.executable, "-m", "aisecure", "--version"], capture_output=True, text=True, check=True
    )
    assert "aisecure" in done.stdout


def test_what_the_written_configuration_calls_a_default_is_one(run, tmp_path):
    run("init")
    text = (tmp_path / "aisecure.toml").read_text()
    spelt_out = re.sub(
        r"^# ([a-z_]+ = \S+).*$",
        r"\1",
        re.sub(r"^# redis_url.*$", "", text, flags=re.MULTILINE),
        flags=re.MULTILINE,
    )
    assert spelt_out.count(" = ") > 10
    (tmp_path / "spelt.toml").write_text(spelt_out)
    assert load(tmp_path / "spelt.toml").sections == Config.embedded(tmp_path).sections
