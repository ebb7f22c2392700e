"""Files of JSON lines: every value redacted, JSON stays JSON, and a target appears whole or not at all."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from aisecure.detect import Placeholders, Redactor, redact_jsonl, restore
from aisecure.errors import Misconfigured, Unavailable

ROWS: list[dict[str, object]] = [
    {"prompt": "mail ada@example.org", "n": 1, "meta": {"ssn": 536904399, "tags": ["+44 20 7946 0958"]}},
    {"prompt": 'a "quoted" \\ text', "completion": "café ada@example.org 🙂"},
]


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_each_line_stays_json_and_kinds_are_counted(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    seen: list[int] = []
    counts = redact_jsonl(source, tmp_path / "b.jsonl", progress=seen.append)
    rows = [json.loads(line) for line in (tmp_path / "b.jsonl").read_text().splitlines()]
    assert rows == [
        {"prompt": "mail [EMAIL]", "n": 1, "meta": {"ssn": "[US_SSN]", "tags": ["[PHONE]"]}},
        {"prompt": 'a "quoted" \\ text', "completion": "café [EMAIL] 🙂"},
    ]
    assert counts == {"pii.email": 2, "pii.us_ssn": 1, "pii.phone": 1}
    assert seen == [source.stat().st_size]


def test_only_the_fields_that_are_named(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", json.dumps(ROWS[0]))
    redact_jsonl(source, tmp_path / "b.jsonl", fields={"meta"})
    row = json.loads((tmp_path / "b.jsonl").read_text())
    assert row["prompt"] == ROWS[0]["prompt"]
    assert row["meta"] == {"ssn": "[US_SSN]", "tags": ["[PHONE]"]}


def test_a_value_has_one_placeholder_in_every_line(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", "".join(json.dumps(row) + "\n" for row in ROWS))
    kept = Placeholders()
    redact_jsonl(source, tmp_path / "b.jsonl", Redactor(reversible=True), placeholders=kept)
    text = (tmp_path / "b.jsonl").read_text()
    assert text.count("[EMAIL_1]") == 2
    assert json.loads(restore(text.splitlines()[0], kept.mapping))["prompt"] == ROWS[0]["prompt"]


def test_wrong_lines_bytes_and_compressed_files(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl.gz").write_bytes(
        gzip.compress(b'{"a": "ada@example.org\nno json ada@example.org \xff\n{"b": "ada@example.org"}\r\n')
    )
    redact_jsonl(tmp_path / "a.jsonl.gz", tmp_path / "b.jsonl.gz")
    assert gzip.decompress((tmp_path / "b.jsonl.gz").read_bytes()) == (
        b'{"a": "[EMAIL]\nno json [EMAIL] \xff\n{"b": "[EMAIL]"}\r\n'
    )


def test_a_target_is_replaced_only_when_that_is_said_also_in_its_own_place(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", json.dumps(ROWS[0]))
    with pytest.raises(Misconfigured, match="exists"):
        redact_jsonl(source, source)
    redact_jsonl(source, source, overwrite=True)
    assert "ada@" not in source.read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_what_fails_leaves_no_target(tmp_path: Path) -> None:
    source = written(tmp_path / "a.jsonl", json.dumps(ROWS[0]))
    with pytest.raises(Misconfigured):
        redact_jsonl(tmp_path / "none.jsonl", tmp_path / "b.jsonl")
    with pytest.raises((Misconfigured, Unavailable)):
        redact_jsonl(source, tmp_path / "no" / "b.jsonl")
    with pytest.raises(ZeroDivisionError):
        redact_jsonl(source, tmp_path / "b.jsonl", Redactor(style=lambda kind, value: str(1 / 0)))
    with pytest.raises(TypeError):
        redact_jsonl(source, tmp_path / "b.jsonl", fields="prompt")
    (tmp_path / "bad.jsonl.gz").write_bytes(b"\x1f\x8b broken")
    with pytest.raises(Misconfigured, match="gzip"):
        redact_jsonl(tmp_path / "bad.jsonl.gz", tmp_path / "b.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "bad.jsonl.gz"]
