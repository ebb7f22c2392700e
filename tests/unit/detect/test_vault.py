"""Pseudonyms stay the same through a conversation, and mean nothing to anybody else."""

from __future__ import annotations

import multiprocessing
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure import Principal
from aisecure.call import acting_as
from aisecure.detect import PseudonymVault, RedactGuard, Redactor, RestoreFilter, restore
from aisecure.encryption import FieldCipher, Keyring, RingProvider, SubjectKeys
from aisecure.errors import Unavailable
from aisecure.storage import Storage
from aisecure.testing import FrozenClock

KEY = bytes(range(32))
REDACTOR = Redactor(reversible=True)


@pytest.fixture
def cipher() -> FieldCipher:
    return FieldCipher(Keyring.generate())


@pytest.fixture
def vault(cipher: FieldCipher) -> PseudonymVault:
    return PseudonymVault(Storage(":memory:"), cipher, key=KEY)


def named(vault: PseudonymVault, text: str, *whose: str) -> str:
    return REDACTOR.redact(text, placeholders=vault.conversation(*whose)).text


def test_a_value_has_one_name_in_all_turns_and_an_answer_may_use_those_of_earlier_ones(
    vault: PseudonymVault,
) -> None:
    assert named(vault, "mail ada@example.org", "acme", "c-1") == "mail [EMAIL_1]"
    assert named(vault, "bob@example.org, ada@example.org", "acme", "c-1") == "[EMAIL_2], [EMAIL_1]"
    mapping = vault.conversation("acme", "c-1").mapping
    assert (
        restore("To [EMAIL_2] and (email 1), not [EMAIL_3]", mapping)
        == "To bob@example.org and ada@example.org, not [EMAIL_3]"
    )
    stream = RestoreFilter(mapping)
    assert "".join(map(stream.feed, "To [EMAIL_2].")) + stream.finish() == "To bob@example.org."


@pytest.mark.parametrize(
    "other",
    [
        ("other", "c-1", "u-1"),
        ("acme", "c-2", "u-1"),
        ("acme", "c-1", "u-2"),
        ("acme", "c-1", ""),
        ("acmec", "-1", "u-1"),
    ],
)
def test_a_name_means_nothing_to_another_tenant_conversation_or_principal(
    vault: PseudonymVault, other: tuple[str, ...]
) -> None:
    assert named(vault, "ada@example.org", "acme", "c-1", "u-1") == "[EMAIL_1]"
    assert dict(vault.conversation(*other).mapping) == {}
    assert named(vault, "bob@example.org", *other) == "[EMAIL_1]"
    assert restore("[EMAIL_1]", vault.conversation("acme", "c-1", "u-1").mapping) == "ada@example.org"


@given(st.lists(st.text(min_size=1, max_size=30), max_size=12))
def test_equal_values_have_equal_names_and_different_ones_different(values: list[str]) -> None:
    placeholders = PseudonymVault(Storage(":memory:"), FieldCipher(Keyring.generate()), key=KEY).conversation(
        "t", "c"
    )
    names = [placeholders.placeholder("X", value) for value in values]
    assert len(set(names)) == len(set(values))
    assert [placeholders.mapping[name] for name in names] == values


def test_nothing_is_stored_in_clear(cipher: FieldCipher, tmp_path: Path) -> None:
    path = tmp_path / "data" / "aisecure.db"
    vault = PseudonymVault(Storage(path), cipher, key=KEY)
    named(vault, "ada@example.org", "acme-tenant", "c-secret", "principal-9")
    stored = b"".join(file.read_bytes() for file in path.parent.iterdir())
    for word in (b"ada@", b"acme-tenant", b"c-secret", b"principal-9"):
        assert word not in stored
    assert "ada" not in repr(vault.conversation("acme-tenant", "c-secret", "principal-9").mapping)


def test_a_row_that_was_moved_or_changed_or_is_under_another_key_gives_nobody_s_value(
    cipher: FieldCipher, tmp_path: Path
) -> None:
    path = tmp_path / "aisecure.db"
    storage = Storage(path)
    vault = PseudonymVault(storage, cipher, key=KEY)
    named(vault, "ada@example.org bob@example.org", "t", "c")
    other = PseudonymVault(storage, FieldCipher(Keyring.generate()), key=KEY)
    with pytest.raises(Unavailable) as error:
        restore("[EMAIL_1]", other.conversation("t", "c").mapping)
    assert error.value.code == "unavailable.vault"
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE detect_pseudonyms SET token = (SELECT token FROM detect_pseudonyms WHERE number = 2) WHERE number = 1"
        )
    connection.close()
    with pytest.raises(Unavailable):
        restore("[EMAIL_1]", vault.conversation("t", "c").mapping)
    assert restore("[EMAIL_2]", vault.conversation("t", "c").mapping) == "bob@example.org"


def test_pseudonyms_are_forgotten_after_their_time_and_when_asked(cipher: FieldCipher) -> None:
    clock = FrozenClock()
    vault = PseudonymVault(Storage(":memory:"), cipher, key=KEY, retention_seconds=100, clock=clock)
    named(vault, "ada@example.org", "t", "old")
    clock.advance(60)
    named(vault, "ada@example.org", "t", "old")  # named again: kept for longer
    named(vault, "bob@example.org", "t", "new")
    clock.advance(60)
    assert len(vault.conversation("t", "old").mapping) == 1
    clock.advance(41)
    assert len(vault.conversation("t", "old").mapping) == 0
    assert named(vault, "ada@example.org", "t", "old") == "[EMAIL_1]"
    assert vault.purge() in (0, 1)  # what was swept already is not counted
    assert vault.erase("t", "old") == 1
    named(vault, "ada@example.org", "t", "a")
    named(vault, "ada@example.org", "u", "a")
    assert vault.erase_tenant("t") == 1
    assert len(vault.conversation("u", "a").mapping) == 1


def test_with_the_key_of_a_person_their_pseudonyms_are_gone(tmp_path: Path) -> None:
    storage = Storage(tmp_path / "aisecure.db")
    subjects = SubjectKeys(storage, RingProvider(FieldCipher(Keyring.generate())))
    vault = PseudonymVault(
        storage,
        lambda tenant, principal: subjects.cipher(principal, tenant=tenant),
        key=KEY,
        is_erased=subjects.is_erased,
    )
    named(vault, "ada@example.org", "t", "c", "u-1")
    named(vault, "bob@example.org", "t", "c", "u-2")
    subjects.erase("u-1", tenant="t")
    assert restore("[EMAIL_1]", vault.conversation("t", "c", "u-1").mapping) == "[EMAIL_1]"
    assert restore("[EMAIL_1]", vault.conversation("t", "c", "u-2").mapping) == "bob@example.org"


def test_a_process_that_died_before_it_stored_a_value_does_no_harm(cipher: FieldCipher) -> None:
    class Dying(_Plain):
        def encrypt(self, plaintext: str, *, context: tuple[str | int, ...] = ()) -> str:
            raise KeyboardInterrupt

    storage = Storage(":memory:")
    with pytest.raises(KeyboardInterrupt):
        named(PseudonymVault(storage, Dying(), key=KEY), "ada@example.org", "t", "c")
    vault = PseudonymVault(storage, cipher, key=KEY)
    assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "[EMAIL_1]"
    assert named(vault, "ada@example.org", "t", "c") == "[EMAIL_1]"
    assert restore("[EMAIL_1]", vault.conversation("t", "c").mapping) == "ada@example.org"


def _name_many(path: str, results: multiprocessing.Queue[list[str]]) -> None:
    vault = PseudonymVault(Storage(path), _Plain(), key=KEY)
    placeholders = vault.conversation("t", "c")
    results.put([placeholders.placeholder("EMAIL", f"{n}@example.org") for n in range(20)])


class _Plain:
    """A cipher for a test in which nothing is secret; processes share it without a key file."""

    def encrypt(self, plaintext: str, *, context: tuple[str | int, ...] = ()) -> str:
        return f"{context}|{plaintext}"

    def decrypt(self, token: str, *, context: tuple[str | int, ...] = ()) -> str:
        return token.removeprefix(f"{context}|")

    def encrypt_bytes(self, data: bytes, *, context: tuple[str | int, ...] = ()) -> bytes:
        raise NotImplementedError

    decrypt_bytes = encrypt_bytes


def test_processes_that_name_the_same_values_at_once_agree(tmp_path: Path) -> None:
    path = str(tmp_path / "aisecure.db")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[list[str]] = context.Queue()
    processes = [context.Process(target=_name_many, args=(path, results)) for _ in range(3)]
    for process in processes:
        process.start()
    names = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert names[0] == names[1] == names[2]
    assert len(set(names[0])) == 20


def test_a_guard_remembers_between_calls_of_one_conversation(vault: PseudonymVault) -> None:
    seen = []

    @RedactGuard(restore=True, vault=vault)
    def ask(prompt: str) -> str:
        seen.append(prompt)
        return "I wrote to [EMAIL_1]."

    with acting_as(Principal("u-1", tenant="acme"), conversation="c-1"):
        assert ask("mail ada@example.org") == "I wrote to ada@example.org."
        assert ask("did you?") == "I wrote to ada@example.org."
    with acting_as(Principal("u-2", tenant="acme"), conversation="c-1"):
        assert ask("did you?") == "I wrote to [EMAIL_1]."
    assert seen[:2] == ["mail [EMAIL_1]", "did you?"]


def test_a_name_that_a_caller_writes_comes_to_mean_nobody_s_value(vault: PseudonymVault) -> None:
    seen = []

    @RedactGuard(restore=True, vault=vault)
    def ask(prompt: str) -> str:
        seen.append(prompt)
        return prompt

    with acting_as(Principal("u-1"), conversation="c-9"):
        assert ask("[EMAIL_1] is not ada@example.org") == "[EMAIL_1] is not ada@example.org"
    assert seen == ["[EMAIL_1] is not [EMAIL_2]"]


def test_a_database_that_fails_refuses_the_call(cipher: FieldCipher, tmp_path: Path) -> None:
    path = tmp_path / "aisecure.db"
    vault = PseudonymVault(Storage(path), cipher, key=KEY)

    @RedactGuard(restore=True, vault=vault)
    def ask(prompt: str) -> str:
        raise AssertionError("never reached")

    with sqlite3.connect(path) as connection:
        connection.execute("DROP TABLE detect_pseudonyms")
    connection.close()
    with acting_as(Principal("u-1"), conversation="c"), pytest.raises(Unavailable):
        ask("mail ada@example.org")


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"key": b"short"}, ValueError),
        ({"key": "x" * 32}, TypeError),
        ({"key": KEY, "retention_seconds": 0}, ValueError),
    ],
)
def test_nonsense_is_refused(
    cipher: FieldCipher, arguments: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        PseudonymVault(Storage(":memory:"), cipher, **arguments)  # type: ignore[arg-type]


def test_a_conversation_has_a_name_and_a_vault_needs_restoring(vault: PseudonymVault) -> None:
    with pytest.raises(ValueError, match="no name"):
        vault.conversation("t", "")
    with pytest.raises(TypeError):
        vault.conversation("t", 5)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        PseudonymVault({}, None, key=KEY)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="restore"):
        RedactGuard(vault=vault)
