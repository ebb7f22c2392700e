"""``aisecure keys ring``, as an operator types it."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from aisecure.audit import verify
from aisecure.cli import main
from aisecure.encryption import FieldCipher, KeyFile
from aisecure.encryption.providers import Passphrase
from aisecure.errors import DecryptionError, Misconfigured
from aisecure.shield import Shield


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def invoke(*args: str, **more):
        return CliRunner().invoke(main, args, **more)

    assert invoke("init").exit_code == 0
    with Shield.from_config("aisecure.toml"):
        pass
    return invoke


def _states(run):
    return {
        key["key_id"]: key["state"]
        for key in json.loads(run("keys", "ring", "show", "--json").output)["keys"]
    }


def _with_passphrase(tmp_path, name="aisecure.toml", secret="correct horse battery"):
    (tmp_path / f"{name}.pw").write_text(secret + "\n")
    (tmp_path / f"{name}.pw").chmod(0o600)
    config = (tmp_path / "aisecure.toml").read_text().split("[encryption.provider]\nkind")[0]
    (tmp_path / name).write_text(
        f'{config}\n[encryption.provider]\nkind = "passphrase"\nsecret_file = "{name}.pw"\n'
    )


def test_a_ring_goes_through_all_its_states(run, tmp_path):
    with Shield.from_config("aisecure.toml") as shield:
        token = shield.part(FieldCipher).encrypt("x", context=("t",))
    (first,) = _states(run)
    rotated = run("keys", "ring", "rotate")
    assert rotated.exit_code == 0, rotated.output
    second = next(key for key in _states(run) if key != first)
    assert _states(run) == {first: "active", second: "primary"}
    for command, state in (("retire", "retired"), ("reinstate", "active"), ("retire", "retired")):
        assert run("keys", "ring", command, first).exit_code == 0
        assert _states(run)[first] == state
    assert run("keys", "ring", "destroy", first, input="y\n").exit_code == 0
    assert _states(run) == {first: "destroyed", second: "primary"}
    with Shield.from_config("aisecure.toml") as shield, pytest.raises(DecryptionError):
        shield.part(FieldCipher).decrypt(token, context=("t",))
    assert verify(tmp_path / "data" / "audit").ok
    told = run("audit", "tail", "data/audit", "-n", "100").output
    for word in ("created", "rotated", "retired", "reinstated", "destroyed"):
        assert f"keyring.{word}" in told


def test_the_wrong_key_is_a_mistake_of_the_one_who_types(run):
    (first,) = _states(run)
    for command, said in (
        ("retire", "rotate the ring first"),
        ("destroy", "retire it first"),
        ("reinstate", ""),
    ):
        result = run(
            "keys", "ring", command, first if said else "00000000", *(["--yes"] * (command == "destroy"))
        )
        assert result.exit_code == (2 if said or command == "reinstate" else 0)
        assert (said or "no such key") in result.output
    assert run("keys", "ring", "destroy", first, input="n\n").exit_code == 1
    assert _states(run) == {first: "primary"}


def test_no_key_is_shown(run, tmp_path):
    ring = KeyFile(tmp_path / "data" / "keys" / "fields.json").ring()
    for form in ([], ["--json"]):
        shown = run("keys", "ring", "show", *form).output
        assert ring.primary in shown
        assert ring.primary_key.secret.hex() not in shown
        assert json.loads((tmp_path / "data/keys/fields.json").read_text())["keys"][0]["key"] not in shown


def test_a_ring_moves_to_a_passphrase_and_to_another(run, tmp_path):
    with Shield.from_config("aisecure.toml") as shield:
        token = shield.part(FieldCipher).encrypt("x", context=("t",))
    _with_passphrase(tmp_path)
    stopped = run("keys", "ring", "show")
    assert stopped.exit_code == 3
    assert "keys ring rewrap" in stopped.output
    assert run("keys", "ring", "rewrap").exit_code == 0
    assert "wrapped by passphrase" in run("keys", "ring", "show").output
    _with_passphrase(tmp_path, "next.toml", "another passphrase")
    moved = run("keys", "ring", "rewrap", "--from", "aisecure.toml", "--config", "next.toml")
    assert moved.exit_code == 0, moved.output
    assert run("keys", "ring", "show").exit_code == 3
    with Shield.from_config("next.toml") as shield:
        assert shield.part(FieldCipher).decrypt(token, context=("t",)) == "x"
    assert KeyFile(tmp_path / "data/keys/fields.json", provider=Passphrase("another passphrase")).ring().keys


def test_a_broken_ring_is_said_with_its_remedy(run, tmp_path):
    (tmp_path / "data/keys/fields.json").write_text("{}")
    result = run("keys", "ring", "show")
    assert result.exit_code == 3
    assert "fields.json: format" in result.output


@pytest.mark.parametrize(
    ("section", "said"),
    [
        ('kind = "passphrase"', "name one of secret_file and secret_variable"),
        ('kind = "passphrase"\nsecret_file = "absent"', "absent: no such file"),
        (
            'kind = "passphrase"\nsecret_variable = "AISECURE_NOT_SET"',
            "AISECURE_NOT_SET: is empty or not set",
        ),
        ('kind = "environment"\nvariable = "AISECURE_NOT_SET"', "AISECURE_NOT_SET"),
        ('kind = "file"\npath = "absent"', "absent: no such file"),
        ('kind = "rot13"', "provider"),
        ('kind = "vault"\naddress = "http://vault.example"\nkey = "k"\nsecret_variable = "HOME"', "http"),
        ('kind = "aws_kms"', "key_id"),
    ],
)
def test_a_provider_that_cannot_be_opened_says_why(run, tmp_path, section, said):
    with (tmp_path / "aisecure.toml").open("a") as file:
        file.write(f"\n[encryption.provider]\n{section}\n")
    result = run("keys", "ring", "show")
    assert result.exit_code == 3, result.output
    assert said in result.output
    with pytest.raises(Misconfigured):
        Shield.from_config("aisecure.toml")


def test_a_secret_file_that_others_may_read_is_refused(run, tmp_path):
    _with_passphrase(tmp_path)
    (tmp_path / "aisecure.toml.pw").chmod(0o644)
    result = run("keys", "ring", "rewrap")
    assert result.exit_code == 3
    assert "chmod 600" in result.output
    assert "correct horse" not in result.output
