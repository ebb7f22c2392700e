"""What the detector of secrets finds, of any length, and what it leaves alone."""

from __future__ import annotations

import pytest
from tests.unit.detect.samples import AROUND, JWT, KEY_BLOCK, SECRETS

from aisecure.detect import Redactor, SecretDetector

DETECTOR = SecretDetector()
REDACTOR = Redactor()


def test_every_known_kind_has_a_sample() -> None:
    assert set(SECRETS) == DETECTOR.types


@pytest.mark.parametrize("kind", SECRETS)
def test_each_kind_is_found_with_exact_offsets(kind: str) -> None:
    before, after = AROUND.get(kind, ("token ", ""))
    text = f"🔑 {before}{SECRETS[kind]}{after}, after"
    (finding,) = DETECTOR.scan(text)
    assert finding.kind == kind
    assert text[finding.start : finding.end] == SECRETS[kind]


@pytest.mark.parametrize("quote", ['"', "'", "`", "(", "="])
def test_quotes_and_assignments_do_not_hide_a_token(quote: str) -> None:
    token = SECRETS["secret.github_token"]
    assert REDACTOR.redact(f"key{quote}{token}{quote}").text == f"key{quote}[GITHUB_TOKEN]{quote}"


@pytest.mark.parametrize("length", [199, 200, 201, 399, 400, 401, 528, 600, 601, 1000, 10_000])
@pytest.mark.parametrize("before", ["", "x" * 15 + " ", "/" * 150, "/" * 199, "/" * 333, "/" * 399])
def test_a_token_of_any_length_anywhere_leaves_no_tail(length: int, before: str) -> None:
    for prefix, body, label in (
        ("sk-" + "proj-", "8fK2mQz71L", "OPENAI_KEY"),
        ("gh" + "o_", "a1B2c3D4e5", "GITHUB_TOKEN"),
        ("eyJhbGciOiJIUzI1NiJ9.", "eyJzdWIiOiIx.", "JWT"),
    ):
        token = (prefix + body * length)[:length].rstrip(".")
        assert REDACTOR.redact(f"{before}{token}, end").text == f"{before}[{label}], end"


def test_the_full_stop_after_a_token_stays() -> None:
    assert REDACTOR.redact(f"It is {JWT}. Ok.").text == "It is [JWT]. Ok."
    long = JWT + ".a1" * 300
    assert REDACTOR.redact(f"It is {long}. Ok.").text == "It is [JWT]. Ok."


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\\n", " "])
def test_a_key_block_is_found_however_its_lines_are_joined(newline: str) -> None:
    block = KEY_BLOCK.replace("\n", newline)
    assert REDACTOR.redact(f'key = "{block}"; next').text == 'key = "[PRIVATE_KEY]"; next'


def test_a_key_block_without_its_end_is_redacted_to_the_end_of_the_text() -> None:
    assert REDACTOR.redact(f"a {KEY_BLOCK[:-40]}").text == "a [PRIVATE_KEY]"


def test_a_key_block_that_never_ends_stops_after_its_bound() -> None:
    redacted = REDACTOR.redact(KEY_BLOCK[:300] + "A" * 66_000 + " mail ada@example.org")
    assert redacted.text.startswith("[PRIVATE_KEY]A")
    assert redacted.text.endswith("A mail [EMAIL]")


def test_a_mention_of_a_key_block_is_not_one() -> None:
    text = "Files begin with -----BEGIN " + "PRIVATE KEY-----, as you know. " + "Words and words. " * 30
    assert REDACTOR.redact(text).text == text


def test_a_token_glued_to_a_key_block_leaves_neither() -> None:
    for glued in (SECRETS["secret.openai_key"], SECRETS["secret.openai_key"] * 30, "ada@example.org"):
        text = REDACTOR.redact(glued + KEY_BLOCK).text
        assert text.endswith("][PRIVATE_KEY]")
        assert text.count("[") == 2


@pytest.mark.parametrize(
    "text",
    [
        "sk-spinner-dot-container-item-large",
        "gh" + "p_" + "x" * 36,
        "AK" + "IA" + "X" * 16,
        "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9",
        "eyJjb2xvciI6InJlZCIsInNpemUiOiJsIn0.abcdefgh.ijkl",
        "postgres://app:${PASSWORD}@db.example.org",
        "Bearer of bad tidings, incomprehensibilities",
        "d41d8cd98f00b204e9800998ecf8427e",
        "a" * 500,
    ],
)
def test_what_only_resembles_a_secret_is_left(text: str) -> None:
    assert DETECTOR.scan(text) == []
