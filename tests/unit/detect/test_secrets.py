"""What the detector of secrets finds, of any length, and what it leaves alone."""

from __future__ import annotations

import pytest
from tests.unit.detect.samples import AROUND, JWT, KEY_BLOCK, SECRETS

from aisecure.detect import Redactor, SecretDetector
from aisecure.detect.issuers import ROWS

DETECTOR = SecretDetector()
REDACTOR = Redactor()


#: Characters of the classes in which `issuers` writes what follows a beginning.
CLASSES = {
    "w": "aB3dE5gH7jK9mN2pQ4rS6tV8", "_": "aB3dE5gH7_jK9mN2pQ4rS6", "-": "aB3dE5gH7jK-9mN2pQ4_rS6t", "x": "a1b2c3d4e5f60789", "X": "A1b2C3d4E5f60789",
    "U": "A2B3C4D5E6F7G2H3J4K5", "l": "a2b3c4d5e6f7g2h3j4k5", "=": "aB3dE5gH7jK9mN2pQ4rS6tV8", ".": "aB3dE5gH7jK9mN2pQ4rS6tV8",
}  # fmt: skip
ODD = {
    "U6-": "AB12CD-ABCDEF23456-AB34C-DE56F-GH78J",
    "w14.64": "aB3dE5gH7jK9mN." + "a1b2c3d4" * 8,
    "x8-": "a1b2c3d4-e5f6-a1b2-c3d4-e5f60718293a/apiKeys/a1b2c3d4-e5f6-a1b2-c3d4-e5f60718293a",
    "l32-X": "a2b3c4d5" * 4 + "-X",
    ":telegram": "123456789:AA" + "aB3dE5gH7jK9mN2pQ4rS6tV8aB3dE5gH7"[:33],
}


def made_up(prefix: str, follows: str) -> str:
    if follows in ODD:
        return prefix + ODD[follows]
    name, size = follows.rstrip("+").rstrip("0123456789"), int("".join(filter(str.isdigit, follows)))
    letters = CLASSES[max(name, key=lambda each: len(CLASSES[each]))]
    return prefix + (letters * (size // len(letters) + 1))[:size]


ISSUED = [tuple(line.split()) for line in ROWS.split("\n") if line.strip()]


def test_there_are_some_two_hundred_forms_of_secrets() -> None:
    assert len(ISSUED) >= 190
    assert len(DETECTOR.types) >= 140


@pytest.mark.parametrize(("kind", "prefix", "follows"), ISSUED)
def test_each_form_that_an_issuer_made_recognisable_is_found_whole(
    kind: str, prefix: str, follows: str
) -> None:
    token = made_up(prefix, follows)
    text = f"use {token} here"
    hits = DETECTOR.scan(text)
    assert [(hit.start, hit.end) for hit in hits] == [(4, 4 + len(token))], token
    # Where one beginning is the beginning of another the longer one names it.
    assert hits[0].kind == f"secret.{kind}" or prefix in {
        "sk-",
        "EAA",
        "EAAA",
        "sk_",
        "live_",
        "test_",
        "bot",
        "key-",
        "artif",
    }


@pytest.mark.parametrize(("kind", "prefix", "follows"), ISSUED)
def test_stand_ins_for_tokens_are_left(kind: str, prefix: str, follows: str) -> None:
    size = int("".join(filter(str.isdigit, follows)) or 20)
    assert not [
        hit for hit in DETECTOR.scan(f"use {prefix}{'x' * size} here") if hit.kind == f"secret.{kind}"
    ]


@pytest.mark.parametrize(
    ("before", "value", "kind"),
    [
        ('api_key = "', "f3K9" + "sL2mQ8vR5tX1", "api_key"),
        ("X-Api-Key: ", "f3K9" + "sL2mQ8vR5tX1", "api_key"),
        ('"client_secret": "', "a81bc81b" + "dead4e5dabff90865d1e13b1", "api_key"),
        ("DATADOG_API_KEY=", "a81bc81b" + "dead4e5dabff90865d1e13b1", "service_key"),
        ("https://h.example/x?sig=", "f3K9" + "sL2mQ8vR5tX1zW4", "api_key"),
        ("password: ", "hun" + "ter2", "password"),
        ('passwd="', "correct-horse", "password"),
        ("the password is ", "crick" + "ets", "password"),
        ("with password '", "B@nZ" + "es94!", "password"),
        ("DB_PASSWORD=", "crick" + "ets", "password"),
        ("db_pass = ", "m{{h}o)p${e]nob(" + "ody", "password"),
        ('private_key: "', "m{{h}o)p${e]nob(" + "ody", "api_key"),
    ],
)
def test_what_is_assigned_to_a_secret_name_is_found(before: str, value: str, kind: str) -> None:
    hits = DETECTOR.scan(before + value)
    assert [(hit.kind, hit.start, hit.end) for hit in hits] == [
        (f"secret.{kind}", len(before), len(before) + len(value))
    ]


@pytest.mark.parametrize(
    "text",
    [
        "password: str", "password = None", "password=self.password", "the password is required", "password: ${DB_PASSWORD}", "password = os.environ['X']", "password: <password>",
        "password manager", "password=changeme", "token = next(tokens)", "key = (1, 2)", "api_key = settings.api_key", "secret_name: my-secret-name", 'public_key = "9Cnzj4p4WGeKLs1Pt8Qu"',
        "author: 9fceb02d0ae598e95dc970b74767f19372d61af8", "cache-key: 9fceb02d0ae598e95dc970b74767f19372d61af8", "see https://github.com/org/repo/issues/83512", "key=value", "key-value store",
        "sha256:9fceb02d0ae598e95dc970b74767f19372d61af89fceb02d0ae598e95dc970b7", "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAUA", "tokenizer: gpt2-medium-v1", "assertPassword(x)",
        "credentialsId: '29f63271-dc2f-4734-8221-5b31b5169bac'", "keyFile=certs/server_rsa2048.pem", "#password-field { color: #a1b2c3 }", "postgres://user:password@localhost/db",
    ],
)  # fmt: skip
def test_what_only_has_such_a_name_is_left(text: str) -> None:
    assert DETECTOR.scan(text) == []


@pytest.mark.parametrize("size", [1, 7, 119, 120, 121, 400, 3000])
def test_a_value_after_a_label_leaves_no_tail_in_streams(size: int) -> None:
    text = "password: " + ("aB3$dE5!" * 400)[:size] + " and more"
    whole = REDACTOR.redact(text).text
    for step in (1, 13, 117):
        stream = REDACTOR.stream()
        assert (
            "".join(stream.feed(text[at : at + step]) for at in range(0, len(text), step)) + stream.finish()
            == whole
        )


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
