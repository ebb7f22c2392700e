"""Encoders of names, queries and fields, read back by what they are for."""

from __future__ import annotations

import html.parser
import http.client
import json
import math
import re
import sqlite3
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.http import parse_options_header

from aisecure.sanitize import encode

TEXT = st.text(max_size=60)
NASTY = st.text(st.sampled_from("\"'`[]()*\\\0 #,+;<>=/.:|?a\u00e9\u202e\n\ud800"), max_size=30)
WELL = st.characters(exclude_categories=["Cs"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON)
def test_json_in_a_script_is_the_value_and_ends_nothing(value) -> None:
    text = encode.json_script(value)
    assert json.loads(text) == value
    assert text.isascii()
    assert not re.search("[<>&]", text)

    class Reader(html.parser.HTMLParser):
        seen = ""

        def handle_data(self, data: str) -> None:
            self.seen += data

    reader = Reader()
    reader.feed(f"<script>{text}</script>")
    reader.close()
    assert reader.seen == text


def test_what_json_cannot_hold_is_refused() -> None:
    for value in (math.nan, math.inf):
        with pytest.raises(ValueError, match="JSON"):
            encode.json_script(value)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="ircular"):
        encode.json_script(endless)
    with pytest.raises(TypeError):
        encode.json_script({"x": object()})


@given(st.text(WELL.filter(lambda c: c != "\0"), min_size=1, max_size=40), st.sampled_from('"`['))
def test_a_database_reads_the_name_back(name: str, quote: str) -> None:
    connection = sqlite3.connect(":memory:")
    try:
        if quote == "[" and "]" in name:  # SQLite has no escape inside brackets; SQL Server has
            return
        connection.execute(f"CREATE TABLE t ({encode.sql_identifier(name, quote=quote)} TEXT)")
        ((_, column, *_rest),) = connection.execute("PRAGMA table_info(t)")
        assert column == name
    finally:
        connection.close()


@pytest.mark.parametrize(("name", "quote"), [("", '"'), ("a\0b", '"'), ("a", "'")])
def test_a_name_that_no_database_takes_is_refused(name: str, quote: str) -> None:
    with pytest.raises(ValueError, match=r"name|quote"):
        encode.sql_identifier(name, quote=quote)


def _from_filter(text: str) -> str:
    """Read a value as RFC 4515 says: nothing but escapes may hold the five characters."""
    assert not re.search(r"[\0*()]", text)
    return re.sub(r"\\([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text)


@given(NASTY | TEXT)
def test_ldap_reads_the_value_back(text: str) -> None:
    well = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert _from_filter(encode.ldap_filter(well)) == well
    name = encode.ldap_dn(well)
    assert not re.search(r'(?<!\\)["+,;<=>\0]', name)
    assert not name.startswith(("#", " "))
    assert not name.endswith(" ")
    assert re.sub(r"\\([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), name) == well


def _from_xpath(expression: str) -> str:
    """Read a string expression by the grammar of XPath 1.0: a literal, or concat of literals."""
    literals = re.fullmatch(r"concat\((.*)\)", expression, re.DOTALL)
    found = re.findall(r"\"([^\"]*)\"|'([^']*)'", literals[1] if literals else expression, re.DOTALL)
    written = ", ".join(f'"{double}"' if double or not single else f"'{single}'" for double, single in found)
    assert len(written) == len(literals[1] if literals else expression)
    return "".join(double or single for double, single in found)


@given(st.text(WELL.filter(lambda c: c != "\0"), max_size=40) | st.text("'\"a,() ", max_size=20))
def test_an_xpath_literal_is_the_text(text: str) -> None:
    assert _from_xpath(encode.xpath(text)) == text


@given(NASTY | TEXT)
def test_a_file_of_the_name_can_be_made_in_its_folder_alone(tmp_path_factory, text: str) -> None:
    name = encode.file_name(text)
    assert 0 < len(name.encode()) <= 255
    assert not re.search(r'[\0-\x1f/\\:*?"<>|\u202e]', name)
    assert not name.startswith(".")
    assert not name.endswith((".", " "))
    assert encode.file_name(name) == name
    path = tmp_path_factory.getbasetemp() / name
    path.write_text("x")
    assert path.parent == tmp_path_factory.getbasetemp()
    path.unlink()


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("..", "file"), ("", "file"), ("...", "file"), (".htaccess", "htaccess"), ("NUL", "_NUL"), ("com1.log", "_com1.log"),
        ("COM\u00b9", "_COM\u00b9"), ("a\u202egnp.exe", "a_gnp.exe"), ("a" * 400 + ".pdf", "a" * 251 + ".pdf"),
        ("\u00e9" * 200 + ".txt", "\u00e9" * 125 + ".txt"), ("conference.txt", "conference.txt"),
    ],
)  # fmt: skip
def test_names_that_lead_elsewhere_are_made_plain(text: str, name: str) -> None:
    assert encode.file_name(text) == name


@given(TEXT)
def test_a_download_has_the_name_that_was_meant(text: str) -> None:
    value = encode.content_disposition(text)
    assert value.isascii()
    assert "\n" not in value
    kind, options = parse_options_header(value)
    assert (kind, options["filename"]) == ("attachment", encode.file_name(text))


def test_a_server_sends_the_field_and_no_other() -> None:
    values = ["plain", "caf\u00e9", " both ends ", 'a; b="c"', "tab\tinside"]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for number, value in enumerate(values):
                self.send_header(f"X-{number}", encode.header(value))
            self.end_headers()

        def log_message(self, *args: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", "/")
    answer = connection.getresponse()
    got = [answer.headers[f"X-{number}"] for number, _ in enumerate(values)]
    connection.close()
    thread.join()
    server.server_close()
    assert got == [value.strip() for value in values]


@pytest.mark.parametrize("text", ["a\r\nSet-Cookie: x", "a\nb", "\0", "a\x7f", "\u2028", "\u4e2d"])
def test_a_field_with_a_line_end_is_refused_and_not_mended(text: str) -> None:
    with pytest.raises(ValueError, match="field of HTTP"):
        encode.header(text)


def test_a_shell_reads_every_word_back() -> None:
    words = ["a b", "$(id)", "`id`", "'", '"', "\\", "-rf", "*", "~", "a\nb", "!x", "&&", "\u00e9", ""]
    line = "printf '%s\\0' " + " ".join(encode.shell(word) for word in words)
    said = subprocess.run(["/bin/sh", "-c", line], capture_output=True, check=True).stdout
    assert said.decode().split("\0")[:-1] == words


def test_what_is_no_text_is_refused() -> None:
    for encoder in (
        encode.file_name,
        encode.header,
        encode.ldap_dn,
        encode.ldap_filter,
        encode.sql_identifier,
        encode.xpath,
    ):
        with pytest.raises(TypeError):
            encoder(b"x")
