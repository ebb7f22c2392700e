from __future__ import annotations

import csv
import html as stdlib_html
import io
import json
import sqlite3
import subprocess
from html.parser import HTMLParser
from urllib.parse import unquote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from aisecure.sanitize import encode

#: Those that take any text, and make nothing of nothing; the others have tests of their own.
_PICKY = {"content_disposition", "file_name", "header", "json_script", "shell", "sql_identifier", "xpath"}
ENCODERS = [getattr(encode, name) for name in encode.__all__ if name not in _PICKY]
readable = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


class Values(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[tuple[str, str | None]]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, attrs))


@given(readable)
def test_html_is_read_back_as_the_text(text: str) -> None:
    coded = encode.html(text)
    assert not set("<>\"'") & set(coded)
    assert coded == stdlib_html.escape(text)


@given(st.text(), st.integers(0, 30))
def test_html_of_pieces_is_the_html_of_the_whole(text: str, cut: int) -> None:
    assert encode.html(text[:cut]) + encode.html(text[cut:]) == encode.html(text)
    assert encode.terminal(text[:cut]) + encode.terminal(text[cut:]) == encode.terminal(text)


@example("\u20280")
@example("\u3000onload=x")
@given(st.text())
@pytest.mark.parametrize("quote", ['"', "'", ""])
def test_a_value_stays_inside_its_attribute(quote: str, text: str) -> None:
    parser = Values()
    parser.feed(f"<p title={quote}x{encode.attribute(text)}{quote} lang=en>")
    parser.close()
    assert [(tag, [name for name, _ in attrs]) for tag, attrs in parser.seen] == [("p", ["title", "lang"])]


@given(readable)
def test_a_url_component_is_read_back_as_the_text(text: str) -> None:
    coded = encode.url(text)
    assert unquote(coded, errors="strict") == text
    assert not set("/?#&=+:@ <>\"'%\\") & set(coded.replace("%", ""))


@given(readable)
def test_a_javascript_string_is_read_back_as_the_text(text: str) -> None:
    coded = encode.js(text)
    assert coded.isascii()
    assert not set("<>\"'`$&/\n") & set(coded)
    assert json.loads('"' + coded.replace("\\x", "\\u00") + '"') == text


@given(readable)
def test_a_css_string_holds_no_character_of_its_grammar(text: str) -> None:
    coded = encode.css(text)
    assert coded.isascii()
    assert (
        "".join(ch if not ch.startswith("\\") else chr(int(ch[1:], 16)) for ch in _css_tokens(coded)) == text
    )


def _css_tokens(coded: str) -> list[str]:
    tokens, rest = [], coded
    while rest:
        if rest[0] == "\\":
            token, _, rest = rest.partition(" ")
        else:
            token, rest = rest[0], rest[1:]
        tokens.append(token)
    return tokens


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("=1+1", "'=1+1"), ("+1+1", "'+1+1"), ("-1+1", "'-1+1"), ("@SUM(1)", "'@SUM(1)"), ("\t=1", "'\t=1"),
        ("\r=1", "'\r=1"), ("\n=1", "'\n=1"), ("\ufeff=1", "'\ufeff=1"), ("  =1", "'  =1"), ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"), ('"=1', "'\"=1"), ("\0=1", "'=1"), ("-5", "-5"), ("-1.25", "-1.25"), ("+3", "+3"),
        ("-1e5", "-1e5"), ("12%", "12%"), ("hello", "hello"), ("a=b", "a=b"), ("", ""), ("1-2", "1-2"), ("-", "'-"),
    ],
)  # fmt: skip
def test_a_cell_is_no_formula(cell: str, wanted: str) -> None:
    assert encode.csv(cell) == wanted


@given(st.lists(readable.filter(lambda text: "\r" not in text), min_size=1, max_size=4))
def test_cells_come_back_from_a_csv_reader(cells: list[str]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, quoting=csv.QUOTE_ALL).writerow([encode.csv(cell) for cell in cells])
    (row,) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert [
        cell.removeprefix("'") if cell != text else text for cell, text in zip(row, cells, strict=True)
    ] == cells


@pytest.mark.parametrize(
    "word", ["", "a b", "$(id)", "`id`", "';id;'", "a\nb", "*", "~", "é\u202e", "-rf", "\\"]
)
def test_a_real_shell_reads_the_word_back(word: str) -> None:
    command = f"printf %s {encode.shell(word)}"
    assert subprocess.run(["/bin/sh", "-c", command], capture_output=True, check=True).stdout.decode() == word


def test_a_shell_word_cannot_hold_nul() -> None:
    with pytest.raises(ValueError, match="NUL"):
        encode.shell("a\0b")


@given(readable, readable)
def test_sqlite_matches_the_text_and_nothing_else(text: str, other: str) -> None:
    pattern = encode.sql_like(text)
    query = "SELECT ? LIKE ? ESCAPE '\\'"
    with sqlite3.connect(":memory:") as db:
        assert db.execute(query, (text, pattern)).fetchone() == (1,)
        if len(other) != len(text):
            assert db.execute(query, (other, pattern)).fetchone() == (0,)


def test_the_escape_of_a_pattern_is_no_wildcard() -> None:
    with pytest.raises(ValueError, match="escape"):
        encode.sql_like("x", escape="%")


@given(st.text())
def test_a_log_line_stays_one_line_without_controls(text: str) -> None:
    line = encode.log(text)
    assert len(line.splitlines()) <= 1
    assert not any(ord(ch) < 0x20 or 0x7F <= ord(ch) <= 0x9F or ch in "\u2028\u202e" for ch in line)


def test_a_log_line_cannot_fake_an_escape() -> None:
    assert encode.log("\\n") != encode.log("\n")


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("\x1b[2J", "[2J"), ("\x1b]0;title\x07", "]0;title"), ("\x9b31m", "31m"), ("safe\rrm", "saferm"), ("a\x08b", "ab"),
        ("tab\tline\nend", "tab\tline\nend"), ("\u202eevil", "evil"), ("é漢😀", "é漢😀"),
    ],
)  # fmt: skip
def test_a_terminal_gets_text_only(text: str, wanted: str) -> None:
    assert encode.terminal(text) == wanted


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
def test_surrogates_nul_and_a_megabyte_are_taken(encoder: object) -> None:
    coded = encoder("a\ud800\0\udfff" * 250_000)  # type: ignore[operator]
    coded.encode("utf-8")
    assert encoder("") == ""  # type: ignore[operator]


@pytest.mark.parametrize("encoder", ENCODERS, ids=lambda encoder: encoder.__name__)
@pytest.mark.parametrize("value", [None, 5, b"x"])
def test_only_text_is_encoded(encoder: object, value: object) -> None:
    with pytest.raises(TypeError):
        encoder(value)  # type: ignore[operator]
