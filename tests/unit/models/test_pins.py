from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.errors import Misconfigured, ModelNotPinned
from aisecure.models import ModelPins, Pinning, Status, classify, self_tests

HOSTED = 'provider = "openai"\nid = "gpt-4.1-2025-04-14"\n'
DIGEST = "sha256:" + "a" * 64


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now


def pins(body: str, *, now: float = 1_795_000_000.0) -> ModelPins:  # 2026-11-18
    return ModelPins.from_text(f"version = 1\n[models.bot]\n{body}", clock=Clock(now))


@pytest.mark.parametrize(
    ("provider", "id_", "pinning"),
    [
        ("openai", "gpt-4.1-2025-04-14", "pinned"), ("openai", "gpt-3.5-turbo-0125", "pinned"),
        ("openai", "ft:gpt-4o-mini-2024-07-18:acme::Abc123", "pinned"), ("openai", "gpt-4.1", "alias"),
        ("openai", "gpt-5-chat-latest", "alias"), ("openai", "gpt-5.6-sol", "unknown"), ("openai", "gpt-4.1-2025-13-14", "unknown"),
        ("anthropic", "claude-haiku-4-5-20251001", "pinned"), ("anthropic", "claude-haiku-4-5", "alias"),
        ("anthropic", "claude-3-5-sonnet-latest", "alias"), ("anthropic", "claude-opus-4-8", "unknown"),
        ("google", "gemini-2.0-flash-001", "pinned"), ("google", "gemini-2.5-pro-preview-06-05", "pinned"),
        ("google", "gemini-2.0-flash", "alias"), ("google", "gemini-flash-latest", "alias"), ("google", "gemini-3.6-flash", "unknown"),
        ("mistral", "mistral-large-2411", "pinned"), ("mistral", "mistral-large-latest", "alias"), ("mistral", "mistral-large-2499", "alias"),
        ("bedrock", "anthropic.claude-3-5-sonnet-20241022-v2:0", "pinned"), ("bedrock", "us.amazon.nova-lite-v1:0", "pinned"),
        ("bedrock", "my-endpoint", "unknown"), ("azure", "gpt-4o-2024-08-06", "unknown"),
        ("ollama", "llama3.2@sha256:" + "0" * 64, "pinned"), ("ollama", "llama3.2:3b", "alias"), ("ollama", "llama3.2", "alias"),
        ("huggingface", "org/name@" + "a" * 40, "pinned"), ("huggingface", "org/name@main", "alias"), ("huggingface", "org/name", "alias"),
        ("huggingface", "org/name@" + "a" * 39, "alias"), ("mlflow", "models:/bot/3", "pinned"), ("mlflow", "models:/bot@champion", "alias"),
        ("mlflow", "models:/bot/Production", "alias"), ("alibaba", "qwen-max-2025-01-25", "pinned"), ("alibaba", "qwen-max", "alias"),
        ("vllm", "org/name", "unknown"), ("vllm", "x-latest", "alias"), ("", "", "unknown"), ("nobody", "m-2025-01-01", "unknown"),
    ],
)  # fmt: skip
def test_an_id_is_told_by_its_providers_shapes(provider: str, id_: str, pinning: str) -> None:
    assert classify(provider, id_).value == pinning


@given(
    st.sampled_from(["openai", "azure", "anthropic", "google", "mistral", "bedrock", "vllm"]),
    st.text(max_size=30),
)
def test_an_id_without_a_digit_is_never_pinned(provider: str, id_: str) -> None:
    if not any(ch.isdigit() for ch in id_):
        assert classify(provider, id_) is not Pinning.PINNED


def test_entries_are_read_by_name() -> None:
    book = pins(
        HOSTED
        + 'responses = ["a", "b"]\nstatus = "deprecated"\nowner = "ml@acme.example"\nexpires = 2027-01-31\n'
    )
    pin = book["bot"]
    assert (pin.id, pin.provider, pin.status) == ("gpt-4.1-2025-04-14", "openai", Status.DEPRECATED)
    assert pin.responses == {"a", "b"}
    assert book.pin("bot") is pin
    assert list(book) == ["bot"]
    assert "acme" not in repr(pin) + repr(book)


def test_a_missing_entry_is_refused_everywhere() -> None:
    book = pins(HOSTED)
    with pytest.raises(ModelNotPinned):
        book.pin("other")
    with pytest.raises(KeyError):
        book["other"]
    for decision in (
        book.decide("other"),
        book.check_response("other", "x"),
        book.verify_file("other"),
        book.decide(""),
    ):
        assert (decision.allowed, decision.code) == (False, "model.not_pinned")
    assert len(book.decide("x" * 1_000_000).reasons[0]) < 200


def test_names_are_compared_exactly() -> None:
    assert not pins(HOSTED).decide("BOT").allowed


@pytest.mark.parametrize(
    ("extra", "code", "allowed"),
    [
        ("", "ok", True),
        ('status = "approved"', "ok", True),
        ('status = "deprecated"', "model.deprecated", True),
        ('status = "quarantined"', "model.quarantined", False),
        ("expires = 2026-11-17", "model.expired", False),
        ("expires = 2026-11-18", "ok", True),
        ("expires = 2027-01-01", "ok", True),
    ],
)
def test_status_and_expiry_decide(extra: str, code: str, *, allowed: bool) -> None:
    book = pins(HOSTED + extra)
    for decision in (book.decide("bot"), book.check_response("bot", "gpt-4.1-2025-04-14")):
        assert (decision.code, decision.allowed) == (code, allowed)


@pytest.mark.parametrize(
    ("requested", "allowed"),
    [
        (None, True),
        ("bot", True),
        ("gpt-4.1-2025-04-14", True),
        ("gpt-4.1", False),
        ("gpt-4o-2024-08-06", False),
        ("", False),
    ],
)
def test_a_request_for_another_model_is_refused(requested: str | None, *, allowed: bool) -> None:
    assert pins(HOSTED).decide("bot", requested=requested).allowed is allowed


@pytest.mark.parametrize(
    ("body", "seen", "fingerprint", "code"),
    [
        (HOSTED, "gpt-4.1-2025-04-14", None, "ok"),
        (HOSTED, "", None, "ok"),
        (HOSTED, "gpt-4.1", None, "model.drift"),
        (HOSTED, "GPT-4.1-2025-04-14", None, "model.drift"),
        (HOSTED, "gpt-4.1-2025-04-14 ", None, "model.drift"),
        (HOSTED, "gpt-4.1-2025-04-14", "fp_1", "ok"),
        (HOSTED + 'responses = ["openai/gpt-4.1"]', "openai/gpt-4.1", None, "ok"),
        (HOSTED + 'fingerprints = ["fp_1"]', "gpt-4.1-2025-04-14", "fp_1", "ok"),
        (HOSTED + 'fingerprints = ["fp_1"]', "gpt-4.1-2025-04-14", "fp_2", "model.drift"),
        (HOSTED + 'fingerprints = ["fp_1"]', "gpt-4.1-2025-04-14", None, "ok"),
        (HOSTED + 'fingerprints = ["fp_1"]', "", "fp_2", "model.drift"),
    ],
)  # fmt: skip
def test_a_response_must_name_the_pinned_model(
    body: str, seen: str, fingerprint: str | None, code: str
) -> None:
    assert pins(body).check_response("bot", seen, fingerprint).code == code


@pytest.mark.parametrize(
    ("seen", "allowed"),
    [("gpt-4.1", True), ("gpt-4.1-2025-04-14", True), ("gpt-4.1-mini-2025-04-14", False), ("gpt-4.1-2025-04-14-x", False), ("gpt-4", False)],
)  # fmt: skip
def test_an_allowed_alias_accepts_its_own_family_only(seen: str, *, allowed: bool) -> None:
    book = pins('provider = "openai"\nid = "gpt-4.1"\nallow_alias = true')
    assert book["bot"].pinning is Pinning.ALIAS
    assert book.check_response("bot", seen).allowed is allowed


def test_an_alias_with_responses_accepts_those_only() -> None:
    book = pins('provider = "openai"\nid = "gpt-4.1"\nallow_alias = true\nresponses = ["gpt-4.1-2025-04-14"]')
    assert book.check_response("bot", "gpt-4.1-2025-04-14").allowed
    assert not book.check_response("bot", "gpt-4.1-2026-01-01").allowed


def test_an_azure_deployment_is_pinned_by_what_answers() -> None:
    book = pins('provider = "azure"\nid = "prod-chat"\nresponses = ["gpt-4o-2024-08-06"]')
    assert book["bot"].pinning is Pinning.PINNED
    assert not book.check_response("bot", "gpt-4o-2024-11-20").allowed


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", "version"),
        ("version = 2", "version"),
        ("version = true", "version"),
        ('version = "1"', "version"),
        ("version = 1\nmodel = 5", "model"),
        ("version = 1\nmodels = 5", "models"),
        ("version = 1\n[models]\nbot = 5", "models.bot"),
        ("version = 1\n[models.bot]", "provider and id"),
        ("version = 1\n[models.bot]\n" + HOSTED + "idd = 1", "idd"),
        ('version = 1\n[models.bot]\nprovider = "openai"', "provider and id"),
        ('version = 1\n[models.bot]\nprovider = "openai"\nid = 5', "id"),
        ('version = 1\n[models.bot]\nprovider = "openai"\nid = ""', "id"),
        ('version = 1\n[models.bot]\nprovider = "openai"\nid = "a\\u0000b"', "id"),
        ('version = 1\n[models.bot]\nprovider = "openai"\nid = "gpt-4.1"', "allow_alias"),
        ('version = 1\n[models.bot]\nprovider = "openai"\nid = "gpt-4.1"\nunverified = true', "allow_alias"),
        ('version = 1\n[models.bot]\nprovider = "vllm"\nid = "x"', "unverified"),
        ('version = 1\n[models.bot]\nprovider = "vllm"\nid = "x"\nallow_alias = true', "unverified"),
        ('version = 1\n[models.bot]\nprovider = "vllm"\nid = "x"\nunverified = 1', "unverified"),
        ("version = 1\n[models.bot]\n" + HOSTED + 'responses = "x"', "responses"),
        ("version = 1\n[models.bot]\n" + HOSTED + "responses = [1]", "responses"),
        ("version = 1\n[models.bot]\n" + HOSTED + 'status = "good"', "status"),
        ("version = 1\n[models.bot]\n" + HOSTED + 'expires = "2027-01-01"', "expires"),
        ("version = 1\n[models.bot]\n" + HOSTED + "expires = 2027-01-01T00:00:00Z", "expires"),
        ('version = 1\n[models.bot]\npath = "x"', "digest"),
        (f'version = 1\n[models.bot]\ndigest = "{DIGEST}"', "path"),
        ('version = 1\n[models.bot]\npath = "x"\ndigest = "md5:00"', "digest"),
        (f'version = 1\n[models."a b"]\npath = "x"\ndigest = "{DIGEST}"', "names"),
        (f"version = 1\n[models.bot]\n{HOSTED}[models.bot]\n{HOSTED}", "not valid TOML"),
        (f"version = 1\n[models.bot]\n{HOSTED}{HOSTED}", "not valid TOML"),
        ("version = 1\nx = " + "[" * 100_000, "not valid TOML"),
        ("version = 1\nx = " + "9" * 10_000, "not valid TOML"),
        ("version = 1\nx = 2027-02-31", "not valid TOML"),
        ("\0", "not valid TOML"),
        ("#" * 5_000_000, "larger than"),
    ],
    ids=lambda value: str(value)[-30:],
)  # fmt: skip
def test_a_wrong_lock_file_names_file_and_key(text: str, key: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        ModelPins.from_text(text)
    assert caught.value.detail.startswith("models.lock: ")
    assert key in caught.value.detail
    assert len(caught.value.detail) < 600


def test_a_file_is_loaded_from_disk(tmp_path: Path) -> None:
    lock = tmp_path / "models.lock"
    lock.write_text(f'version = 1\n[models.bot]\npath = "m/bot.gguf"\ndigest = "{DIGEST}"\n')
    assert ModelPins.load(lock)["bot"].path == tmp_path / "m" / "bot.gguf"


@pytest.mark.parametrize("name", ["absent.lock", ".", "nul\0byte"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(Misconfigured, match="write a lock file"):
        ModelPins.load(tmp_path / name)


def test_bytes_that_are_no_utf8_are_told(tmp_path: Path) -> None:
    lock = tmp_path / "models.lock"
    lock.write_bytes(b"version = 1\n# \xff")
    with pytest.raises(Misconfigured, match=r"models\.lock: byte 14 is not UTF-8"):
        ModelPins.load(lock)


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(Misconfigured):
        ModelPins.load("/dev/zero")


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_as_misconfigured(text: str) -> None:
    try:
        data = tomllib.loads(text)
    except ValueError:
        data = {}
    if data.get("version") != 1:
        with pytest.raises(Misconfigured):
            ModelPins.from_text(text)


@pytest.mark.parametrize("name", self_tests().keys())
def test_the_self_tests_pass(name: str) -> None:
    self_tests()[name]()
