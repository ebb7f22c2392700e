"""``aisecure policy``: as whoever looks after a policy types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from aisecure.cli import main

POLICY = """\
p, member, *, model:*, invoke, allow
p, member, *, model:internal-*, invoke, deny
p, editor, acme, document:*, write, allow
g, ann, editor, acme
"""
GOOD = """\
expect,principal,roles,tenant,action,resource,note
# what members may
allow,u-1,member,acme,invoke,model:bot,
deny,u-1,member;editor,acme,invoke,model:internal-1,a secret model

allow,ann,,acme,write,document:1,
deny,ann,,globex,write,document:1,
"""


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("aisecure.toml").write_text('[access]\npolicy = "policy.csv"\n')
    Path("policy.csv").write_text(POLICY)
    Path("expected.csv").write_text(GOOD)

    def invoke(*words, stdin=None):
        result = CliRunner().invoke(main, ["policy", *words], input=stdin)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke


class TestTest:
    def test_all_is_as_expected(self, run):
        result = run("test", "expected.csv")
        assert (result.exit_code, result.stdout) == (0, "4 rows, 0 different\n")

    def test_a_difference_is_explained_and_exits_1(self, run):
        Path("expected.csv").write_text(GOOD.replace("deny,u-1", "allow,u-1"))
        result = run("test", "expected.csv")
        assert result.exit_code == 1
        assert "expected.csv: line 4: expected allow, got deny: u-1 (editor;member) in acme" in result.stdout
        assert "# a secret model" in result.stdout
        assert "by line 2: member, *, model:internal-*, invoke, deny" in result.stdout

    def test_a_changed_policy_is_a_difference(self, run):
        Path("policy.csv").write_text(POLICY.replace("deny", "allow"))
        assert run("test", "expected.csv").exit_code == 1

    def test_rules_that_decided_no_row_are_listed(self, run):
        Path("policy.csv").write_text(POLICY + "p, auditor, *, log:*, read, allow\n")
        covered = run("test", "expected.csv", "--coverage")
        assert covered.exit_code == 0
        assert "not covered: line 5: p, auditor, *, log:*, read, allow" in covered.stdout
        assert "; 1 rules decided no row" in covered.stdout
        assert run("test", "expected.csv", "--fail-uncovered").exit_code == 1
        Path("policy.csv").write_text(POLICY)
        assert run("test", "expected.csv", "--fail-uncovered").exit_code == 0

    def test_a_rule_is_not_covered_by_who_is_refused_for_the_name(self, run):
        Path("policy.csv").write_text("p, member, *, model:*, invoke, allow")
        Path("expected.csv").write_text(
            "expect,principal,roles,action,resource\ndeny,member,member,invoke,model:1\ndeny,u,member,invoke,model:%41\n"
        )
        assert "not covered: line 1" in run("test", "expected.csv", "--coverage").stdout

    def test_as_json(self, run):
        Path("expected.csv").write_text(GOOD.replace("deny,ann", "allow,ann"))
        result = run("test", "expected.csv", "--json", "--coverage")
        told = json.loads(result.stdout)
        assert (told["rows"], told["uncovered"]) == (4, [])
        (difference,) = told["differences"]
        assert (difference["line"], difference["expected"], difference["code"]) == (
            7,
            "allow",
            "access.denied",
        )
        assert result.exit_code == 1

    def test_as_junit(self, run):
        Path("expected.csv").write_text(GOOD.replace("deny,ann", "allow,a\x1bn\x01n"))
        assert run("test", "expected.csv", "--junit", "report.xml").exit_code == 1
        suite = ET.fromstring(Path("report.xml").read_text())
        assert (suite.get("tests"), suite.get("failures")) == ("4", "1")
        assert suite.findall("testcase")[3].find("failure") is not None

    def test_a_report_that_cannot_be_written_is_told(self, run):
        assert run("test", "expected.csv", "--junit", "no/such/folder/r.xml").exit_code == 3
        assert run("test", "expected.csv", "--junit", "a\0b").exit_code == 2

    def test_from_standard_input(self, run):
        assert run("test", "-", stdin=GOOD).exit_code == 0

    def test_windows_lines_a_mark_and_another_order_are_taken(self, run):
        text = "\ufeffresource, Action ,EXPECT,roles\r\nmodel:bot,invoke,Allow, member ; x \r\n"
        Path("expected.csv").write_bytes(text.encode())
        assert run("test", "expected.csv").exit_code == 0

    def test_only_the_first_differences_are_explained(self, run):
        Path("expected.csv").write_text("expect,action,resource\n" + "allow,read,x\n" * 30)
        result = run("test", "expected.csv")
        assert result.stdout.count("denied [access.denied]") == 20
        assert "30 rows, 30 different" in result.stdout

    @pytest.mark.parametrize(
        ("data", "told"),
        [
            (b"", "has no row"),
            (b"expect,action,resource\n", "has no row"),
            (b"# nothing\n\n", "has no row"),
            (b"expect,action,ressource\nallow,a,b\n", "no such column: 'ressource'"),
            (b"expect;action;resource\nallow;a;b\n", "separate columns by commas"),
            (b"expect,action,action,resource\nallow,a,a,b\n", "twice"),
            (b"expect,action\nallow,a\n", "no column resource"),
            (b"expect,action,resource\nallow,a\n", "line 2: has 2 cells, and the header has 3"),
            (b"expect,action,resource\nallow,a,b,c\n", "line 2: has 4 cells"),
            (b"expect,action,resource\nyes,a,b\n", "line 2: expect is allow or deny"),
            (b"expect,action,resource\nallow,,b\n", "line 2: action is empty"),
            (b"expect,action,resource\nallow,a,\xff\n", "line 2: is not UTF-8"),
            (b"expect,action,resource\nallow,a,\xed\xa0\x80\n", "line 2: is not UTF-8"),
            (b"expect,action,resource\nallow,a,b\0\n", "line 2: holds a NUL"),
            ("expect,action,resource\n".encode("utf-16"), "NUL"),
            (b'expect,action,resource\nallow,a,"b\n', "is no CSV"),
            (b'expect,action,resource\nallow,a,"b"c\n', "is no CSV"),
            (b"expect,action,resource\nallow,a," + b"x" * 1_000_000, "is no CSV"),
            (b"\x1b[2J\n", "'\\x1b[2j'"),
        ],
    )
    def test_a_bad_table_is_told_with_its_line(self, run, data, told):
        Path("expected.csv").write_bytes(data)
        result = run("test", "expected.csv")
        assert result.exit_code == 2
        assert told in result.stderr.replace("\n", " ")
        assert "\x1b" not in result.output

    @pytest.mark.parametrize("name", ["missing.csv", ".", "a\0b", "x" * 5000])
    def test_a_table_that_is_none(self, run, name):
        assert run("test", name).exit_code == 2

    def test_a_table_larger_than_64_mib(self, run):
        with open("expected.csv", "wb") as file:
            file.truncate((64 << 20) + 1)
        result = run("test", "expected.csv")
        assert (result.exit_code, "larger" in result.stderr) == (2, True)

    def test_names_that_no_terminal_shall_see(self, run):
        Path("expected.csv").write_text(
            'expect,principal,action,resource,note\nallow,\u202eu,read,"a\x1b[2J\nb\u200b",\x07ring\n'
        )
        result = run("test", "expected.csv")
        assert result.exit_code == 1
        assert not {"\x1b", "\x07", "\u202e", "\u200b"} & set(result.output)
        assert "\\u202eu" in result.stdout
        assert "a\\x1b[2J\\x0ab" in result.stdout


class TestExplain:
    def test_allowed_exits_0_and_names_the_rule(self, run):
        result = run("explain", "write", "document:1", "--principal", "ann", "--tenant", "acme")
        assert result.exit_code == 0
        assert "by line 3" in result.stdout
        assert "through ann > editor" in result.stdout

    def test_denied_exits_1_and_says_what_is_missing(self, run):
        result = run("explain", "write", "document:1", "--role", "member", "--role", "x", "--tenant", "acme")
        assert result.exit_code == 1
        assert "needs the role editor" in result.stdout

    def test_as_json(self, run):
        result = run("explain", "invoke", "model:internal-1", "--role", "member", "--json")
        assert json.loads(result.stdout)["deciding"]["line"] == 2
        assert result.exit_code == 1

    @pytest.mark.parametrize("name", ["a\udcffb", "x" * 100_000, "a\x1b[31mb", "", "a\nb"])
    def test_odd_names_are_denied_and_not_printed_raw(self, run, name):
        for words in (
            ["write", name],
            [name, "document:1"],
            ["a", "b", "--principal", name],
            ["a", "b", "--role", name],
        ):
            result = run("explain", *words)
            assert result.exit_code == 1
            assert "\x1b" not in result.output
            assert run("explain", *words, "--json").exit_code == 1


class TestLint:
    def test_without_errors_exits_0(self, run):
        result = run("lint")
        assert result.exit_code == 0
        assert result.stdout.startswith(
            "note [unreachable] line 1: p, member, *, model:*, invoke, allow: no link"
        )
        assert "3 rules: 0 errors, 0 warnings, 1 notes" in result.stderr

    def test_warnings_count_when_strict(self, run):
        Path("policy.csv").write_text(POLICY + POLICY)
        assert run("lint").exit_code == 0
        assert "warning [duplicate] line 5" in run("lint").stdout
        assert run("lint", "--strict").exit_code == 1

    def test_errors_exit_1(self, run):
        Path("policy.csv").write_text("p, *, *, *, *, allow")
        assert run("lint").exit_code == 1
        found = json.loads(run("lint", "--json").stdout)["findings"]
        assert [finding["code"] for finding in found] == ["wildcard-admin"]

    def test_invisible_characters_are_shown_as_codes(self, run):
        Path("policy.csv").write_text("p, edi\u200btor\u202e, *, doc:*, read, allow")
        result = run("lint")
        assert not {"\u200b", "\u202e"} & set(result.output)
        assert "edi\\u200btor\\u202e" in result.stdout

    def test_of_a_megabyte_prints_little(self, run):
        Path("policy.csv").write_text(f"p, editor, *, {'x' * 1_000_000}//*, read, allow")
        assert len(run("lint").output) < 2000


class TestWhoCan:
    def test_lists_users_and_roles(self, run):
        result = run("who-can", "write", "document:1", "--tenant", "acme")
        assert result.exit_code == 0
        assert [line.split()[:2] for line in result.stdout.splitlines()[1:]] == [
            ["ann", "user"],
            ["editor", "role"],
        ]
        assert "credential" in result.stderr

    def test_nobody(self, run):
        result = run("who-can", "write", "document:1", "--tenant", "globex")
        assert (result.exit_code, result.stdout) == (0, "")
        assert "nobody" in result.stderr

    def test_as_json(self, run):
        found = json.loads(run("who-can", "write", "document:1", "--tenant", "acme", "--json").stdout)
        assert found[0] == {"name": "ann", "is_role": False, "line": 3}


EVERY = [["test", "expected.csv"], ["explain", "a", "b"], ["lint"], ["who-can", "a", "b"]]


class TestWhichPolicy:
    @pytest.mark.parametrize("words", EVERY)
    def test_one_that_is_refused_is_told_with_its_line(self, run, words):
        Path("policy.csv").write_text(POLICY + "p, too, few\n")
        result = run(*words)
        assert result.exit_code == 3
        assert "line 5" in result.stderr

    @pytest.mark.parametrize("words", EVERY)
    @pytest.mark.parametrize("data", [None, b"\xff", b"p, a\0b, *, x, y, allow"])
    def test_one_that_cannot_be_read(self, run, words, data):
        path = Path("other.csv")
        if data is not None:
            path.write_bytes(data)
        assert run(*words, "--policy", "other.csv").exit_code == 3

    def test_no_configuration(self, run):
        Path("aisecure.toml").unlink()
        assert run("lint").exit_code == 3
        assert run("lint", "--policy", "policy.csv").exit_code == 0

    def test_a_model_beside_the_policy(self, run):
        Path("model.conf").write_text(
            "[request_definition]\nr = sub, dom, obj, act\n[policy_definition]\np = sub, obj, act\n"
            "[role_definition]\ng = _, _, _\n[policy_effect]\ne = some(where (p.eft == allow))\n"
            "[matchers]\nm = g(r.sub, p.sub, r.dom) && r.obj == p.obj && r.act == p.act\n"
        )
        Path("other.csv").write_text("p, clerk, orders, read\ng, ann, clerk, all\n")
        own = ["--policy", "other.csv", "--model", "model.conf"]
        asked = ["explain", "read", "orders", "--principal", "ann", *own]
        assert run(*asked).exit_code == 1
        assert run(*asked, "--shared-tenant", "all").exit_code == 0

    def test_contradictions_are_told(self, run):
        assert run("lint", "--model", "model.conf").exit_code == 2
        assert run("lint", "--shared-tenant", "x").exit_code == 2
        assert run("lint", "--policy", "policy.csv", "--config", "aisecure.toml").exit_code == 2

    def test_one_in_a_database_is_read_from_the_configuration(self, run):
        import sqlalchemy

        engine = sqlalchemy.create_engine("sqlite:///rules.db")
        with engine.begin() as connection:
            columns = ", ".join(f"v{n} VARCHAR(255)" for n in range(6))
            connection.exec_driver_sql(
                f"CREATE TABLE casbin_rule (id INTEGER PRIMARY KEY, ptype VARCHAR(255), {columns})"
            )
            connection.exec_driver_sql(
                "INSERT INTO casbin_rule (ptype, v0, v1, v2, v3, v4) VALUES ('p', 'editor', '*', 'doc:*', 'read', 'allow')"
            )
        engine.dispose()
        Path("aisecure.toml").write_text('[access]\ndatabase = "sqlite:///rules.db"\n')
        assert run("explain", "read", "doc:1", "--role", "editor").exit_code == 0

    def test_nothing_is_written(self, run):
        before = sorted(Path().iterdir())
        for words in EVERY:
            run(*words)
        assert sorted(Path().iterdir()) == before

    def test_a_switched_off_section_is_said(self, run):
        Path("aisecure.toml").write_text('[access]\npolicy = "policy.csv"\nenabled = false\n')
        assert "switched off" in run("lint").stderr


def _process(*words, folder, **environment):
    return subprocess.run(
        [sys.executable, "-m", "aisecure", *words],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        check=False,
        timeout=60,
    )


def test_as_a_process_with_bytes_that_are_no_text(run, tmp_path):
    assert _process("policy", "test", "expected.csv", folder=tmp_path).returncode == 0
    odd = _process(b"policy", b"explain", b"write", b"doc\xff\x1b[2J", folder=tmp_path)
    assert odd.returncode == 1
    assert b"\x1b" not in odd.stdout + odd.stderr
    assert b"Traceback" not in odd.stderr


def test_as_a_process_whose_terminal_knows_ascii_only(run, tmp_path):
    Path("policy.csv").write_text("p, gr\u00f6\u00dfe, *, *, *, allow", encoding="utf-8")
    result = _process("policy", "lint", folder=tmp_path, PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert b"gr\\xf6\\xdfe" in result.stdout


def test_names_of_commands_are_completed(tmp_path):
    result = _process(
        folder=tmp_path, _AISECURE_COMPLETE="bash_complete", COMP_WORDS="aisecure policy ", COMP_CWORD="2"
    )
    assert {b"plain,test", b"plain,explain", b"plain,lint", b"plain,who-can"} <= set(result.stdout.split())
