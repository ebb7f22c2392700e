"""``aisecure pii``: where something is, files without it, and how well it is found."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from aisecure.cli import main

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
    assert result.exit_code == 2
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
    assert run("redact", tmp_path / "missing").exit_code == 1


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
    assert result.exit_code == 1
    assert words in result.stderr
