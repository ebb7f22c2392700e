"""``aisecure audit``: signing, proving and checking from the command line."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from aisecure.audit import AuditLog
from aisecure.cli import main
from aisecure.events import SecurityEvent


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = CliRunner()

    def invoke(*words: str, code: int = 0):
        done = runner.invoke(main, ["audit", *words])
        assert done.exit_code == code, done.output
        return done

    return invoke


def grow(count: int) -> None:
    with AuditLog.open("log", origin="test/log") as log:
        for number in range(count):
            log.record(SecurityEvent("policy.loaded", detail={"rules": number}))


@pytest.fixture
def signed(run):
    """A log of five entries, its key, and a checkpoint that is held elsewhere."""
    grow(4)
    Path("log.pub").write_text(run("keygen", "test/log", "--out", "log.key").stdout)
    run("checkpoint", "log", "--key-file", "log.key", "--copy-to", "elsewhere")
    return Path("elsewhere") / f"{5:020d}"


def test_a_log_is_signed_and_verified(run, signed):
    report = json.loads(
        run("verify", "log", "--key", "log.pub", "--checkpoint", str(signed), "--json").stdout
    )
    assert (report["ok"], report["checkpoint"], report["truncation_checked"]) == (True, 5, True)
    assert run("verify", "log", "--key", Path("log.pub").read_text()).stdout.startswith("ok")
    assert Path("log.key").stat().st_mode & 0o777 == 0o600


def test_another_history_is_found_and_not_signed(run, signed):
    shutil.move("log/checkpoints", "kept")
    shutil.rmtree("log")
    grow(9)
    shutil.move("kept", "log/checkpoints")
    assert run("verify", "log", "--key", "log.pub", "--checkpoint", str(signed), code=1).stdout.startswith(
        "forked"
    )
    refused = run("checkpoint", "log", "--key-file", "log.key", code=1)
    assert "not those that were signed" in refused.stderr


def test_an_entry_is_proven_without_the_log(run, signed):
    Path("proof").write_text(run("prove", "log", "3").stdout)
    Path("entry").write_text(run("entry", "log", "3").stdout)
    shutil.rmtree("log")
    proven = run("check-proof", "proof", "--entry", "entry", "--key", "log.pub")
    assert proven.stdout == "ok: entry 3 of test/log, among 5 that were signed\n"
    Path("entry").write_text(Path("entry").read_text().replace('"rules":2', '"rules":7'))
    assert "not proven" in run("check-proof", "proof", "--entry", "entry", "--key", "log.pub", code=1).stderr
    Path("proof").write_bytes(b"\xff\0")
    assert "not proven" in run("check-proof", "proof", "--entry", "entry", "--key", "log.pub", code=1).stderr


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("prove", "log", "5"), "not among the 5"),
        (("prove", "empty", "0"), "no audit log"),
        (("entry", "log", "99"), "no entry 99"),
        (("verify", "log", "--checkpoint", "log.pub"), "keys"),
        (("verify", "log", "--key", "a+b+c"), "key"),
        (("verify", "log", "--key", "none"), "No such file"),
        (("check-proof", "log.pub", "--entry", "log.pub"), "--key"),
        (("keygen", "a b", "--out", "new.key"), "name of a key"),
        (("checkpoint", "log", "--key-file", "log.pub"), "no signing key"),
        (("checkpoint", "log", "--key-file", "none"), "No such file"),
        (("keygen", "test/log", "--out", "log.key"), "not written over"),
    ],
)
def test_what_cannot_be_done_is_told(run, signed, words, told):
    Path("empty").mkdir()
    done = CliRunner().invoke(main, ["audit", *words])
    assert done.exit_code != 0
    said = done.output + str(getattr(done.exception, "detail", done.exception))
    assert told in said
    assert "Traceback" not in done.output


def test_watching_signs_what_comes(run, signed, tmp_path):
    command = [
        sys.executable,
        "-m",
        "aisecure",
        "audit",
        "checkpoint",
        "log",
        "--key-file",
        "log.key",
        "--watch",
        "1",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path) as watching:
        assert watching.stdout is not None
        first = [watching.stdout.readline() for _ in range(6)]
        grow(2)
        second = [watching.stdout.readline() for _ in range(6)]
        watching.terminate()
    assert (first[1], second[1]) == ("5\n", "7\n")
    assert sorted(path.name for path in Path("log/checkpoints").iterdir()) == [f"{5:020d}", f"{7:020d}"]
