"""``aisecure pii``: where something is, files without it, and how well it is found."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from aisecure.cli import main

CTX = click.Context(main)
SCORE = re.compile(r" [01]\.\d\d(?=  |$)")
TEXT = "Dear reader,\nmail ada@example.org or\n  call +44 20 7946 0958.\n"
ROWS = [
    {"text": "mail ada@example.org", "spans": [{"start": 5, "end": 20, "type": "EMAIL_ADDRESS"}]},
    {
        "text": "Ada, ssn 536-90-4399",
        "spans": [{"start": 0, "end": 3, "type": "PERSON"}, {"start": 9, "end": 20, "type": "pii.us_ssn"}],
    },
    {"text": "nothing here", "spans": []},
]


def run(*arguments: str | Path, input: str | bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["pii", *map(str, arguments)], input=input, catch_exceptions=False)


def test_a_scan_tells_places_and_kinds_and_no_values(tmp_path: Path) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(TEXT)
    result = run("scan", path)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [f"{path}:2:6: pii.email 1.00", f"{path}:3:8: pii.phone 0.90"]
    assert "ada@" not in result.output


def test_json_has_an_object_a_line_and_values_only_when_asked(tmp_path: Path) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(TEXT)
    rows = [json.loads(line) for line in run("scan", "--json", path).stdout.splitlines()]
    assert [(row["kind"], row["line"], row["column"]) for row in rows] == [
        ("pii.email", 2, 6),
        ("pii.phone", 3, 8),
    ]
    assert all(TEXT[row["start"] : row["end"]] in ("ada@example.org", "+44 20 7946 0958") for row in rows)
    assert not any("value" in row for row in rows)
    assert "ada@example.org" in run("scan", "--show-values", path).stdout


def test_folders_standard_input_and_files_in_other_encodings_are_read(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "wide.txt").write_text(TEXT, encoding="utf-16")
    (tmp_path / "a" / "marked.txt").write_text(TEXT, encoding="utf-8-sig")
    (tmp_path / "a" / "bytes.txt").write_bytes(
        b"\xff\xfe\xfd\xfc".replace(b"\xff\xfe", b"\xc3") + b" ada@example.org \x80"
    )
    (tmp_path / "a" / "picture.bin").write_bytes(b"\x89PNG\0\0ada@example.org")
    result = run("scan", "--types", "pii.email", tmp_path / "a")
    assert sorted(Path(line.partition(":")[0]).name for line in result.stdout.splitlines()) == [
        "bytes.txt",
        "marked.txt",
        "wide.txt",
    ]
    assert "picture.bin: binary, skipped" in result.stderr
    assert run("scan", "-", input="nothing").exit_code == 0
    assert run("scan", "-", input=TEXT).exit_code == 1


def test_what_cannot_be_read_is_told_and_the_rest_is_scanned(tmp_path: Path) -> None:
    path = tmp_path / "mail.txt"
    path.write_text(TEXT)
    result = run("scan", tmp_path / "missing", path)
    assert result.exit_code == 3
    assert "missing: No such file" in result.stderr
    assert "pii.email" in result.stdout


def test_a_long_file_is_read_in_pieces_and_places_stay_right(tmp_path: Path) -> None:
    path = tmp_path / "long.txt"
    path.write_text("words and words\n" * 20_000 + "ssn 536-90-4399\n")
    assert run("scan", path).stdout == f"{path}:20001:5: pii.us_ssn 0.95\n"


def test_redaction_writes_the_text_without_what_was_found(tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text(TEXT)
    assert run("redact", source).stdout == "Dear reader,\nmail [EMAIL] or\n  call [PHONE].\n"
    assert run("redact", source, "-o", target, "--style", "drop").exit_code == 0
    assert target.read_text() == "Dear reader,\nmail  or\n  call .\n"
    assert run("redact", tmp_path / "missing").exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--types", "pii.nonsense"], "unknown kinds pii.nonsense"),
        (["--countries", "XX"], "no identifiers of ['XX']"),
        (["--types", "secret.jwt", "--no-secrets"], "nothing is left"),
        (["--threshold", "2"], "not in the range"),
    ],
)
def test_nonsense_is_a_usage_error(arguments: list[str], words: str) -> None:
    result = run("scan", *arguments, "-", input="")
    assert result.exit_code == 2
    assert words in result.stderr


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
def test_an_evaluation_counts_what_was_found_missed_and_wrong(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = "\n".join(map(json.dumps, ROWS)).encode()
    path.write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    figures = json.loads(run("evaluate", "--json", path).stdout)
    assert figures["rows"] == 3
    assert figures["types"]["US_SSN"] == {
        "labelled": 1,
        "found": 1,
        "exact": 1,
        "false": 0,
        "precision": 1.0,
        "recall": 1.0,
        "f1": 1.0,
        "f1_strict": 1.0,
    }
    assert figures["types"]["PERSON"]["found"] == 0
    assert figures["micro"]["recall"] == round(2 / 3, 4)
    out = run("evaluate", "--misses", "--leave-out", "PERSON", path).stdout
    assert "macro F1 1.000" in out
    assert "missed: row 2, 0 to 3, PERSON" in run("evaluate", "--misses", path).stdout
    assert run("evaluate", "--min-f1", "0.9", path).exit_code == 1
    assert run("evaluate", "--min-f1", "0.9", "--leave-out", "PERSON", path).exit_code == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("{", "line 1 is no JSON"),
        ("[1]", "row 1: is an object with a text"),
        (
            '{"text": "abc", "spans": [{"start": 1, "end": 9, "type": "X"}]}',
            "row 1: the span 1 to 9 is not inside",
        ),
        ('{"text": "abc", "spans": [{"start": 1}]}', "row 1: a span has start, end and type"),
    ],
)
def test_data_that_is_none_is_told_by_row(tmp_path: Path, line: str, words: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(line)
    result = run("evaluate", path)
    assert result.exit_code == 3
    assert words in result.stderr


def test_json_files_have_pointers_and_are_read_as_they_are_meant(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{\n "notes": [\n  "see\\nada\\u0040example.org"],\n "ssn": 536904399\n}')
    result = run("scan", "--show-values", path)
    assert [SCORE.sub("", line) for line in result.stdout.splitlines()] == [
        f"{path}:3:9: pii.email  /notes/0  ada@example.org",
        f"{path}:4:9: pii.us_ssn  /ssn  536904399",
    ]
    rows = [json.loads(line) for line in run("scan", "--json", path).stdout.splitlines()]
    assert [path.read_text()[row["start"] : row["end"]] for row in rows] == [
        r"ada\u0040example.org",
        "536904399",
    ]


def test_a_pointer_does_not_show_the_data_that_a_key_is(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text('{"ada@example.org": {"phone": "+44 20 7946 0958"}}')
    result = run("scan", path)
    assert [SCORE.sub("", line).split(": ", 1)[1] for line in result.stdout.splitlines()] == [
        "pii.email",
        "pii.phone  /[EMAIL]/phone",
    ]
    assert "ada@" not in result.output


def test_json_lines_are_read_line_by_line_also_after_one_that_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"a": "ada@example.org"}\n{"b": ["bob@example.org", "\n\n{"c": {"d": "cid@example.org"}}'
    )
    lines = run("scan", path).stdout.splitlines()
    assert [line.removeprefix(str(path)) for line in lines] == [
        ":1:8: pii.email 1.00  /a",
        ":2:9: pii.email 1.00  /b/0",
        ":4:14: pii.email 1.00  /c/d",
    ]
    rows = [json.loads(line) for line in run("scan", "--json", path).stdout.splitlines()]
    assert path.read_text()[rows[2]["start"] : rows[2]["end"]] == "cid@example.org"


def test_long_json_is_read_in_pieces_and_places_stay_right(tmp_path: Path) -> None:
    path = tmp_path / "long.json"
    rows = [{"id": f"row {number}", "text": "words\nand words"} for number in range(4_000)]
    path.write_text(json.dumps([*rows, {"text": "x" * 200_000 + " ada@example.org"}], indent=1))
    found = [json.loads(line) for line in run("scan", "--json", path).stdout.splitlines()]
    assert [(row["line"], row["column"], row["path"]) for row in found] == [(16_003, 200_013, "/4000/text")]


def test_redacted_json_is_json(tmp_path: Path) -> None:
    source, target = tmp_path / "in.json", tmp_path / "out.json"
    source.write_bytes(
        b'{"note": "see\\nada@example.org", "ssn": 536904399, "half": "\\ud83d", "bytes": "\xff"}'
    )
    run("redact", source, "-o", target)
    assert json.loads(target.read_bytes()) == {
        "note": "see\n[EMAIL]",
        "ssn": "[US_SSN]",
        "half": "\ud83d",
        "bytes": "\udcff",
    }
    lines = tmp_path / "in.jsonl"
    lines.write_text('{"a": "x\n{"a": "ada@example.org"}\n')
    assert run("redact", lines).stdout == '{"a": "x\n{"a": "[EMAIL]"}\n'


def test_bytes_that_are_no_text_stay_as_they_are(tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_bytes(b"\xff\xc3 ada@example.org \x80\r\n")
    run("redact", source, "-o", target)
    assert target.read_bytes() == b"\xff\xc3 [EMAIL] \x80\r\n"


def test_a_target_is_replaced_only_when_asked(tmp_path: Path) -> None:
    source, target = tmp_path / "in.txt", tmp_path / "out.txt"
    source.write_text(TEXT)
    target.write_text("mine")
    refused = run("redact", source, "-o", target)
    assert (refused.exit_code, target.read_text()) == (2, "mine")
    assert run("redact", source, "-o", target, "--force").exit_code == 0
    assert "[EMAIL]" in target.read_text()
    assert run("redact", source, "-o", source, "--force").exit_code == 0
    assert source.read_text() == target.read_text()


def test_a_source_that_is_no_text_leaves_no_target(tmp_path: Path) -> None:
    source, target = tmp_path / "in.bin", tmp_path / "out.txt"
    source.write_bytes(b"\0\0")
    assert run("redact", source, "-o", target).exit_code == 2
    assert run("redact", source, "-o", tmp_path / "none" / "x").exit_code == 2
    source.write_text(TEXT)
    assert run("redact", source, "-o", tmp_path / "none" / "x").exit_code == 3
    assert [path.name for path in tmp_path.iterdir()] == ["in.bin"]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "utf-8-sig"])
def test_standard_input_may_have_a_mark_of_its_encoding(encoding: str) -> None:
    assert run("scan", "-", input=TEXT.encode(encoding)).stdout.startswith("-:2:6: pii.email")


def test_standard_input_that_is_binary_is_skipped() -> None:
    result = run("scan", "-", input=b"\0ada@example.org")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "-: binary, skipped" in result.stderr


def test_what_is_no_ordinary_file_in_a_folder_is_left_out(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "mail.txt").write_text(TEXT)
    assert run("scan", tmp_path).stdout.count("pii.email") == 1


@pytest.mark.parametrize("name", ["a\nb.txt", "\x1b[2J.txt"])
def test_names_of_files_command_no_terminal(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXT)
    assert "\x1b" not in run("scan", tmp_path).stdout
    assert len(run("scan", tmp_path).stdout.splitlines()) == 2


def test_kinds_are_completed_one_after_the_other() -> None:
    types = next(option for option in main.get_command(CTX, "pii").get_command(CTX, "scan").params if option.name == "types")  # type: ignore[union-attr]  # fmt: skip
    offered = [item.value for item in types.type.shell_complete(CTX, types, "pii.email,pii.us_s")]
    assert offered == ["pii.email,pii.us_ssn"]


def test_an_evaluation_in_markdown_with_equal_types_and_values(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    row = {"full_text": "ssn 536-90-4399", "spans": [{"start_position": 4, "end_position": 15, "entity_type": "TAX"}]}  # fmt: skip
    path.write_text(json.dumps(row))
    assert "missed: row 1, 4 to 15, TAX\n" in run("evaluate", "--misses", path).stdout
    assert "wrong: row 1, 4 to 15, US_SSN: 536-90-4399" in run("evaluate", "--misses", "--show-values", path).stdout  # fmt: skip
    out = run("evaluate", "--markdown", "--equal", "TAX=US_*", path).stdout
    assert "| TAX | 1 | 1 | 0 | 1.000 | 1.000 | 1.000 | 1.000 |" in out
    assert json.loads(run("evaluate", "--json", "--misses", path).stdout)["misses"] == [
        {"row": 1, "start": 4, "end": 15, "type": "TAX"}
    ]
    assert run("evaluate", "--equal", "TAX", path).exit_code == 2


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08\0", b"no gzip", gzip.compress(b'{"text": "a"}')[:-9]])
def test_data_that_are_cut_are_told(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "rows.jsonl.gz"
    path.write_bytes(data)
    result = run("evaluate", path)
    assert result.exit_code == 3
    assert "rows.jsonl.gz" in result.stderr


def test_a_scan_can_print_the_texts_with_labels(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_bytes(TEXT.encode() + b"\xff\n")
    (tmp_path / "row.jsonl").write_text('{"mail": "ada@example.org"}\n')
    result = run("scan", "--redact", tmp_path / "mail.txt", tmp_path / "row.jsonl")
    assert result.exit_code == 1
    assert result.stdout_bytes == (
        b'Dear reader,\nmail [EMAIL] or\n  call [PHONE].\n\xff\n{"mail": "[EMAIL]"}\n'
    )
    assert run("scan", "--redact", "--json", tmp_path / "mail.txt").exit_code == 2


def test_stand_ins_need_a_key_that_only_its_owner_may_read(tmp_path: Path) -> None:
    (tmp_path / "mail.txt").write_text(TEXT)
    key = tmp_path / "key"
    key.write_bytes(bytes(range(32)))
    key.chmod(0o600)
    result = run("redact", "--style", "fake", "--key-file", key, tmp_path / "mail.txt")
    assert result.exit_code == 0
    assert "ada@example.org" not in result.stdout
    assert re.search(r"mail [a-z]{3}@example\.(org|net|com) or", result.stdout)
    assert result.stdout == run("redact", "--style", "fake", "--key-file", key, tmp_path / "mail.txt").stdout
    assert run("redact", "--style", "fake", tmp_path / "mail.txt").exit_code == 2
    key.chmod(0o644)
    assert "chmod 600" in run("redact", "--style", "fake", "--key-file", key, tmp_path / "mail.txt").stderr
    key.chmod(0o600)
    key.write_bytes(b"short")
    assert run("redact", "--style", "fake", "--key-file", key, tmp_path / "mail.txt").exit_code == 3
    assert (
        run("redact", "--style", "fake", "--key-file", tmp_path / "no", tmp_path / "mail.txt").exit_code == 3
    )
