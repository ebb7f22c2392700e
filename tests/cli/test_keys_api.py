"""``aisecure keys api``, as a user types it."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from click.testing import CliRunner

from aisecure import Shield
from aisecure.authn import ApiKeys
from aisecure.cli import main
from aisecure.errors import AuthenticationError
from aisecure.principal import Principal


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("aisecure.toml").write_text("")

    def invoke(*args: str):
        return CliRunner().invoke(main, ["keys", "api", *args])

    return invoke


def _made(run, *args):
    result = run("create", *args, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def _check(secret):
    with Shield.from_config("aisecure.toml") as shield:
        return shield.part(ApiKeys).check(secret)


class TestCreate:
    def test_the_secret_is_alone_on_standard_output_so_that_it_can_be_piped(self, run):
        result = run(
            "create",
            "ada",
            "--role",
            "member",
            "--scope",
            "chat",
            "--tenant",
            "t1",
            "--name",
            "CI",
            "--expires",
            "90d",
        )
        assert result.exit_code == 0
        assert re.fullmatch(r"ais_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{36}\n", result.stdout)
        assert "shown only now" in result.stderr
        principal = _check(result.stdout.strip())
        assert (principal.id, principal.tenant, principal.roles, principal.scopes) == (
            "ada",
            "t1",
            {"member"},
            {"chat"},
        )

    def test_a_secret_is_never_shown_again(self, run, tmp_path):
        created = _made(run, "ada", "--name", "CI")
        secret = created["secret"].rpartition("_")[2][:30]
        shown = "".join(
            run(*args).output
            for args in (["list"], ["list", "--json"], ["show", created["key_id"]], ["show", created["key_id"], "--json"], ["revoke", created["key_id"]])
        )  # fmt: skip
        assert created["key_id"] in shown
        assert secret not in shown
        assert not [
            path for path in tmp_path.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()
        ]

    @pytest.mark.parametrize(
        ("expires", "days"),
        [("90d", 90), ("2w", 14), ("12h", 0.5), ("2999-01-01", None), ("2999-01-01T00:00:00+00:00", None)],
    )
    def test_an_end_is_a_duration_or_a_date(self, run, expires, days):
        end = datetime.fromtimestamp(_made(run, "ada", "--expires", expires)["expires_at"], UTC)
        if days is None:
            assert end == datetime(2999, 1, 1, tzinfo=UTC)
        else:
            assert 0 <= days * 86_400 - (end - datetime.now(UTC)).total_seconds() < 60

    @pytest.mark.parametrize(
        ("args", "told"),
        [(["ada", "--expires", "90"], "write how long, such as 90d"), (["ada", "--expires", "-1d"], "such as 90d"),
         (["ada", "--expires", "0s"], "in the past"), (["ada", "--expires", "2001-01-01"], "in the past"),
         (["ada", "--expires", "\uff19\uff10d"], "such as 90d"), ([""], "1 to 256 characters"),
         (["ada", "--name", "a\nb"], "name: has a character that cannot be printed"), (["ada", "--role", ""], "roles: write 1 to 256"),
         (["x" * 300], "principal_id: write 1 to 256")],
    )  # fmt: skip
    def test_what_is_typed_wrongly_is_told_and_issues_nothing(self, run, args, told):
        result = run("create", *args)
        assert result.exit_code == 2
        assert told in result.stderr
        assert json.loads(run("list", "--json").stdout) == []


class TestList:
    def test_states_and_uses_can_be_read_off_a_table(self, run):
        active, revoked, old = (_made(run, name) for name in ("ada", "bob", "cyd"))
        run("revoke", revoked["key_id"])
        new = json.loads(run("rotate", old["key_id"], "--json").stdout)
        _check(active["secret"])
        result = run("list")
        lines = result.stdout.splitlines()
        assert lines[0].split()[:4] == ["KEY", "ID", "STATE", "TENANT"]
        rows = {line.split()[0]: line for line in lines[1:]}
        states = {key_id: line.split()[1] for key_id, line in rows.items()}
        assert states == {
            active["key_id"]: "active",
            revoked["key_id"]: "revoked",
            old["key_id"]: "replaced",
            new["key_id"]: "active",
        }
        assert "never" not in rows[active["key_id"]]
        assert "never" in rows[new["key_id"]]
        assert "4 keys, 3 accepted" in result.stderr
        assert len(run("list", "--live").stdout.splitlines()) == 4

    def test_long_texts_are_cut_so_that_columns_stay_aligned(self, run):
        for index in range(3):
            _made(run, "p" * (200 + index), "--name", "n" * 100, "--role", "r" * 100)
        lines = run("list").stdout.splitlines()
        assert len({line.index("active") for line in lines[1:]}) == 1
        assert max(map(len, lines)) < 200
        assert "…" in lines[1]

    def test_a_list_can_be_narrowed_and_an_empty_one_is_said_to_be(self, run):
        _made(run, "ada", "--tenant", "t1")
        _made(run, "bob", "--tenant", "t2")
        assert [row["principal"] for row in json.loads(run("list", "--tenant", "t2", "--json").stdout)] == [
            "bob"
        ]
        assert [row["tenant"] for row in json.loads(run("list", "--principal", "ada", "--json").stdout)] == [
            "t1"
        ]
        empty = run("list", "--tenant", "t3")
        assert (empty.exit_code, empty.stdout) == (0, "")
        assert "0 keys" in empty.stderr

    def test_show_tells_all_that_is_stored(self, run):
        created = _made(run, "ada", "--name", "CI of the shop", "--scope", "chat", "--expires", "1d")
        facts = json.loads(run("show", created["key_id"], "--json").stdout)
        assert (facts["state"], facts["name"], facts["scopes"], facts["last_used_at"]) == (
            "active",
            "CI of the shop",
            ["chat"],
            None,
        )
        text = run("show", created["key_id"]).stdout
        assert re.search(r"^name: +CI of the shop$", text, re.MULTILINE)
        assert re.search(r"^last_used_at: +never$", text, re.MULTILINE)
        assert run("show", created["key_id"], "--tenant", "t9").exit_code == 1


class TestRotateAndRevoke:
    def test_a_rotated_key_and_its_successor_are_both_accepted(self, run):
        old = _made(run, "ada", "--role", "member")
        result = run("rotate", old["key_id"], "--overlap", "12h")
        assert result.exit_code == 0
        assert f"The old key {old['key_id']} is accepted until " in result.stderr
        assert _check(old["secret"]).roles == _check(result.stdout.strip()).roles == {"member"}

    def test_without_overlap_the_old_key_ends_now(self, run):
        old = _made(run, "ada")
        new = json.loads(run("rotate", old["key_id"], "--overlap", "0s", "--json").stdout)
        assert new["replaces"] == old["key_id"]
        assert not isinstance(_check(old["secret"]), Principal)
        assert _check(new["secret"]).id == "ada"

    def test_a_key_that_cannot_be_rotated_is_told_with_the_reason(self, run):
        old = _made(run, "ada")
        run("rotate", old["key_id"])
        for key_id, told in (
            (old["key_id"], "is replaced; only an active key"),
            ("0" * 12, f"no such key {'0' * 12}"),
        ):
            result = run("rotate", key_id)
            assert (result.exit_code, result.stdout) == (1, "")
            assert told in result.stderr

    def test_several_keys_are_revoked_at_once_also_by_their_whole_text(self, run):
        one, two = _made(run, "ada"), _made(run, "bob")
        result = run("revoke", one["key_id"], two["secret"], "--json")
        assert json.loads(result.stdout) == {"revoked": [one["key_id"], two["key_id"]], "unknown": []}
        for key in (one, two):
            assert not isinstance(_check(key["secret"]), Principal)

    def test_an_unknown_key_is_exit_code_1_and_the_others_are_revoked(self, run):
        one = _made(run, "ada")
        result = run("revoke", "0" * 12, one["key_id"])
        assert result.exit_code == 1
        assert result.stdout == f"revoked {one['key_id']}\n"
        assert "no such key 000000000000" in result.stderr

    def test_what_is_no_key_id_is_not_repeated_since_it_could_be_a_secret(self, run):
        for command in ("revoke", "show", "rotate"):
            result = run(command, "MARKER-secret")
            assert result.exit_code == 1
            assert "MARKER" not in result.output

    def test_a_key_can_be_revoked_while_another_section_is_broken(self, run):
        created = _made(run, "ada")
        Path("data/policy.csv").write_text("nonsense\n")
        with pytest.raises(Exception, match="policy"):
            Shield.from_config("aisecure.toml")
        assert run("revoke", created["key_id"]).exit_code == 0


class TestSetUp:
    def test_keys_that_are_switched_off_are_told_with_the_remedy(self, run):
        Path("aisecure.toml").write_text("[authn]\nenabled = false\n")
        result = run("list")
        assert result.exit_code == 3
        assert "remove enabled = false" in result.stderr

    def test_a_database_that_is_none_is_exit_code_3_and_a_locked_one_4(self, run, tmp_path):
        from aisecure import storage
        from aisecure.storage import Storage

        created = _made(run, "ada")
        other = Storage(tmp_path / "data" / "aisecure.db")
        patience = storage.BUSY_TIMEOUT_SECONDS
        storage.BUSY_TIMEOUT_SECONDS = 0.0
        try:
            with other.transaction():
                locked = run("revoke", created["key_id"])
        finally:
            storage.BUSY_TIMEOUT_SECONDS = patience
            other.close()
        assert (locked.exit_code, locked.stdout) == (4, "")
        assert run("revoke", created["key_id"]).exit_code == 0
        for path in (tmp_path / "data").glob("aisecure.db*"):
            path.unlink()
        (tmp_path / "data" / "aisecure.db").write_bytes(b"no database" * 1000)
        assert run("list").exit_code == 3

    def test_what_was_done_is_in_the_audit_log(self, run, tmp_path):
        created = _made(run, "ada")
        run("rotate", created["key_id"], "--overlap", "1h")
        run("revoke", created["key_id"])
        log = "".join(path.read_text() for path in (tmp_path / "data" / "audit").glob("*.jsonl"))
        for event in ("key.created", "key.rotated", "key.revoked"):
            assert log.count(f'"{event}"') == 1
        with Shield.from_config("aisecure.toml") as shield, pytest.raises(AuthenticationError):
            shield.part(ApiKeys).verify(created["secret"])
