"""``aisecure files``, as a user types it."""

from __future__ import annotations

import contextlib
import io
import json
import pty
import subprocess
import sys

import pytest
from click.testing import CliRunner

from aisecure.cli import main
from aisecure.cli.files import _bar
from aisecure.encryption import FieldCipher, KeyFile, Keyring, encrypt_file
from aisecure.shield import Shield


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "aisecure.toml").write_text("")
    (tmp_path / "scan.pdf").write_bytes(b"%PDF" * 50_000)

    def invoke(*args: str):
        return CliRunner().invoke(main, ["files", *args])

    return invoke


def piped(data, *args, stdout=subprocess.PIPE):
    command = [sys.executable, "-m", "aisecure", "files", *args]
    return subprocess.run(command, input=data, stdout=stdout, stderr=subprocess.PIPE, check=False)


def test_a_file_goes_there_and_back(run, tmp_path):
    done = run("encrypt", "scan.pdf", "--context", "scans", "--context", "7")
    assert (done.exit_code, done.output) == (0, "scan.pdf -> scan.pdf.enc\n")
    assert b"%PDF" not in (tmp_path / "scan.pdf.enc").read_bytes()
    refused = run("decrypt", "scan.pdf.enc", "--context", "scans", "--context", "7")
    assert refused.exit_code == 3
    assert "scan.pdf: exists already" in refused.output
    assert run("decrypt", "scan.pdf.enc", "--context-json", '["scans", "7"]', "-o", "copy").exit_code == 0
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "scan.pdf").read_bytes()
    assert run("decrypt", "scan.pdf.enc", "--context-json", '["scans", "7"]', "--force").exit_code == 0


def test_another_context_does_not_open_and_exits_1_without_a_target(run, tmp_path):
    run("encrypt", "scan.pdf", "--context-json", '["scans", 7]')
    done = run("decrypt", "scan.pdf.enc", "--context", "scans", "--context", "7", "-o", "copy")
    assert done.exit_code == 1
    assert "scan.pdf.enc: The value could not be decrypted. [encryption.failed]" in done.output
    assert not (tmp_path / "copy").exists()


def test_several_files_are_all_tried_and_the_worst_decides_the_exit_code(run, tmp_path):
    (tmp_path / "b").write_bytes(b"b")
    done = run("encrypt", "b", "absent", "scan.pdf", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout) == [
        {"source": "b", "target": "b.enc"},
        {"source": "absent", "error": "config.invalid"},
        {"source": "scan.pdf", "target": "scan.pdf.enc"},
    ]
    assert "absent: No such file" in done.stderr
    (tmp_path / "b.enc").write_bytes(b"junk")
    done = run("decrypt", "b.enc", "scan.pdf.enc", "--force")
    assert (done.exit_code, done.stdout) == (1, "scan.pdf.enc -> scan.pdf\n")


def test_inspect_needs_neither_key_nor_configuration(run, tmp_path):
    run("encrypt", "scan.pdf")
    (tmp_path / "aisecure.toml").unlink()
    facts = json.loads(run("inspect", "scan.pdf.enc", "--json").stdout)
    assert facts[0]["plaintext_bytes"] == 200_000
    assert facts[0]["version"] == 1
    assert f"key {facts[0]['key_id']}, 200000 bytes" in run("inspect", "scan.pdf.enc").stdout
    done = run("inspect", "scan.pdf")
    assert done.exit_code == 1
    assert "scan.pdf: " in done.output


def test_after_a_rotation_files_are_brought_under_the_new_key_once(run, tmp_path):
    run("encrypt", "scan.pdf")
    before = json.loads(run("inspect", "scan.pdf.enc", "--json").stdout)[0]["key_id"]
    _rotate(tmp_path)
    assert run("reencrypt", "scan.pdf.enc").output == "scan.pdf.enc: under the new key\n"
    assert json.loads(run("reencrypt", "scan.pdf.enc", "--json").stdout) == [
        {"source": "scan.pdf.enc", "reencrypted": False}
    ]
    assert json.loads(run("inspect", "scan.pdf.enc", "--json").stdout)[0]["key_id"] != before
    assert run("decrypt", "scan.pdf.enc", "--force").exit_code == 0


def _rotate(folder):
    with Shield.from_config(folder / "aisecure.toml") as shield:
        before = shield.part(FieldCipher).keyring.primary
    KeyFile(folder / "data" / "keys" / "fields.json").rotate()
    with Shield.from_config(folder / "aisecure.toml") as shield:
        assert shield.part(FieldCipher).keyring.primary != before


def test_it_stands_in_pipes(run, tmp_path):
    command = [sys.executable, "-m", "aisecure", "files"]
    run("encrypt", "scan.pdf", "-o", "warm")  # so that the two do not both create the key ring
    with (
        (tmp_path / "scan.pdf").open("rb") as source,
        subprocess.Popen([*command, "encrypt", "-"], stdin=source, stdout=subprocess.PIPE) as one,
        subprocess.Popen([*command, "decrypt", "-"], stdin=one.stdout, stdout=subprocess.PIPE) as two,
    ):
        one.stdout.close()
        out, _ = two.communicate()
    assert out == (tmp_path / "scan.pdf").read_bytes()
    assert (one.returncode, two.returncode) == (0, 0)


def test_a_cut_stream_exits_1_after_a_prefix(run, tmp_path):
    run("encrypt", "scan.pdf")
    cut = piped((tmp_path / "scan.pdf.enc").read_bytes()[:-1], "decrypt", "-")
    assert cut.returncode == 1
    assert cut.stdout == (tmp_path / "scan.pdf").read_bytes()[: 3 * 65536]


def test_a_full_standard_output_is_told_and_exits_4(run):
    with open("/dev/full", "wb") as full:
        done = piped(b"x" * 100_000, "encrypt", "-", stdout=full)
    assert done.returncode == 4
    assert done.stderr == b"aisecure: standard output: No space left on device [unavailable.storage]\n"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (["encrypt"], "Missing argument"),
        (["encrypt", "a", "b", "-o", "c"], "single FILE"),
        (["encrypt", "-", "--json"], "--json has no place"),
        (["encrypt", "a", "--context", "x", "--context-json", "[]"], "exclude each other"),
        (["encrypt", "a", "--context-json", "{}"], "JSON list"),
        (["encrypt", "a", "--context-json", "[true]"], "JSON list"),
        (["encrypt", "a", "--context-json", "[" * 100_000], "JSON list"),
        (["decrypt", "scan.pdf"], "does not end in .enc"),
        (["decrypt", ".enc"], "does not end in .enc"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_is_typed_wrongly_exits_2_before_any_work(run, tmp_path, args, says):
    done = run(*args)
    assert done.exit_code == 2
    assert says in done.output
    assert not (tmp_path / "data").exists()


def _all_of(terminal: int) -> bytes:
    """Return what was written to a terminal that is closed; one read gives 4 KB of it at most."""
    shown = b""
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as source:
        while data := source.read(4096):
            shown += data
    return shown


def test_a_person_who_watches_sees_a_bar_and_a_pipe_does_not(run, tmp_path, monkeypatch):
    with (tmp_path / "large").open("wb") as file:
        file.truncate(20 << 20)
    assert CliRunner().invoke(main, ["files", "encrypt", "large"]).stderr == ""
    ours, theirs = pty.openpty()
    with open(theirs, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        with _bar("large") as progress:
            encrypt_file("large", io.BytesIO(), Keyring.generate(), progress=progress)
        with _bar("scan.pdf") as progress:
            assert progress is None  # over before it could be read
    shown = _all_of(ours)
    assert b"large" in shown
    assert b"100%" in shown


def test_the_key_ring_of_the_configuration_is_the_one_that_is_used(run, tmp_path):
    run("encrypt", "scan.pdf")
    (tmp_path / "other.toml").write_text('data_dir = "other"\n')
    done = run("decrypt", "scan.pdf.enc", "--config", "other.toml", "-o", "copy")
    assert done.exit_code == 1
    assert Keyring.generate().primary not in done.output
