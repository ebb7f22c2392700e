"""Keys of data subjects: made once, bound to their subject, and gone when they are erased."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from aisecure.audit import AuditLog, verify
from aisecure.encryption import Encrypted, FieldCipher, KeyFile, Keyring, SubjectKeys, using_cipher
from aisecure.encryption.cipher import key_id_of
from aisecure.encryption.providers.ring import RingProvider
from aisecure.errors import DecryptionError, ErasureRefused, IntegrityError, Misconfigured, Unavailable
from aisecure.events import SecurityEvent
from aisecure.notices import LocalNotices
from aisecure.ports import Cipher
from aisecure.storage import Storage
from aisecure.testing import CapturedEvents, FrozenClock

PLACE = ("patients", "notes", 42)
ADA = "ada@example.com"


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "data" / "aisecure.db")


@pytest.fixture
def ring() -> RingProvider:
    return RingProvider(FieldCipher(Keyring.generate()))


@pytest.fixture
def events() -> CapturedEvents:
    return CapturedEvents()


@pytest.fixture
def clock() -> FrozenClock:
    return FrozenClock()


@pytest.fixture
def subjects(storage: Storage, ring: RingProvider, events: CapturedEvents, clock: FrozenClock) -> SubjectKeys:
    return SubjectKeys(storage, ring, events=events, clock=clock, scrub_seconds=0)


def wrapped_keys(storage: Storage) -> list[bytes]:
    return [row[0] for row in storage.query("SELECT wrapped FROM subjects_keys WHERE live = 1 ORDER BY slot")]


def on_disk(storage: Storage) -> bytes:
    """Everything the database's files hold, in use or not."""
    files = sorted(Path(storage.path).parent.glob("aisecure.db*"))
    return b"".join(path.read_bytes() for path in files)


@contextlib.contextmanager
def reader(storage: Storage) -> Iterator[None]:
    """Another process's connection that goes on reading what the database was."""
    program = textwrap.dedent("""
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN")
        connection.execute("SELECT count(*) FROM subjects_keys").fetchone()
        print("reading", flush=True)
        sys.stdin.read()
        connection.close()
    """)
    with subprocess.Popen(
        [sys.executable, "-c", program, storage.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"reading\n"
        yield


def recorded(folder: Path, type_: str) -> list[dict[str, Any]]:
    """Events of a type in an audit log's files."""
    lines = [line for path in sorted(folder.glob("*.jsonl")) for line in path.read_text().splitlines()]
    events = [json.loads(line)["ev"] for line in lines]
    return [event for event in events if event["type"] == type_]


# -- encrypting


def test_what_is_encrypted_for_a_subject_comes_back(subjects: SubjectKeys) -> None:
    cipher: Cipher = subjects.cipher(ADA)
    assert cipher.decrypt(cipher.encrypt("well", context=PLACE), context=PLACE) == "well"
    assert cipher.decrypt_bytes(cipher.encrypt_bytes(b"\xff\0", context=PLACE), context=PLACE) == b"\xff\0"


def test_a_token_names_its_key_and_nothing_of_the_subject(subjects: SubjectKeys) -> None:
    one, two = (subjects.cipher(ADA).encrypt_bytes(b"") for _ in range(2))
    assert one[0] == 3
    assert key_id_of(one) == key_id_of(two) == bytes.fromhex(subjects.export(ADA)["key_id"])
    assert len(key_id_of(one)) == 16


def test_a_token_opens_only_in_its_place(subjects: SubjectKeys) -> None:
    token = subjects.cipher(ADA).encrypt("well", context=PLACE)
    with pytest.raises(DecryptionError):
        subjects.cipher(ADA).decrypt(token, context=(*PLACE[:2], 43))


@pytest.mark.parametrize(
    ("subject", "tenant"),
    [("grace", "default"), (ADA, "acme"), ("Ada@example.com", "default"), ("default", ADA)],
    ids=["subject", "tenant", "spelling", "swapped"],
)
def test_a_token_of_one_subject_never_opens_for_another(
    subjects: SubjectKeys, subject: str, tenant: str
) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    other = subjects.cipher(subject, tenant=tenant)
    with pytest.raises(DecryptionError):  # before the other has a key
        other.decrypt(token)
    other.encrypt("own")
    with pytest.raises(DecryptionError):
        other.decrypt(token)


def test_readers_of_mixed_stores_find_the_key_by_the_token(subjects: SubjectKeys) -> None:
    tokens = [subjects.cipher(name).encrypt(name, context=PLACE) for name in ("a", "b", "c")]
    assert [subjects.decrypt(token, context=PLACE) for token in tokens] == ["a", "b", "c"]
    assert subjects.decrypt_bytes(subjects.cipher("a").encrypt_bytes(b"x")) == b"x"


def test_readers_of_one_tenant_open_nothing_of_another(subjects: SubjectKeys) -> None:
    token = subjects.cipher(ADA, tenant="acme").encrypt("well")
    assert subjects.decrypt(token, tenant="acme") == "well"
    with pytest.raises(DecryptionError):
        subjects.decrypt(token)


def test_decrypting_makes_no_key(subjects: SubjectKeys, storage: Storage) -> None:
    with pytest.raises(DecryptionError):
        subjects.cipher(ADA).decrypt("AAAA")
    assert wrapped_keys(storage) == []
    assert subjects.export(ADA) == {}


@pytest.mark.parametrize("junk", ["", "A", "AAAA", "\udc00", "A" * 2**20, "AwAA" * 20])
def test_junk_does_not_open_and_is_not_erased(subjects: SubjectKeys, junk: str) -> None:
    subjects.cipher(ADA).encrypt("so that there is a key")
    for decrypt in (subjects.decrypt, subjects.cipher(ADA).decrypt):
        with pytest.raises(DecryptionError) as caught:
            decrypt(junk)
        assert str(caught.value) == DecryptionError.default_detail
        assert caught.value.__context__ is None
    assert not subjects.is_erased(junk)
    assert not subjects.recognises(junk)


def test_every_changed_bit_of_a_token_closes_it(subjects: SubjectKeys) -> None:
    token = subjects.cipher(ADA).encrypt_bytes(b"x")
    for bit in range(8 * len(token)):
        changed = bytearray(token)
        changed[bit // 8] ^= 1 << bit % 8
        for decrypt in (subjects.decrypt_bytes, subjects.cipher(ADA).decrypt_bytes):
            with pytest.raises(DecryptionError):
                decrypt(bytes(changed))


@pytest.mark.parametrize(
    ("subject", "tenant", "error"),
    [
        ("", "default", ValueError), ("a", "", ValueError), ("a" * 2**20, "default", ValueError),
        ("a", "t" * 257, ValueError), ("a\0", "default", ValueError), ("a", "\udc00", ValueError),
        ("\ud800", "default", ValueError), (b"a", "default", TypeError), (None, "default", TypeError),
        (7, "default", TypeError), ("a", None, TypeError),
    ],
)  # fmt: skip
def test_a_subject_is_named_by_a_plain_text(
    subjects: SubjectKeys, subject: Any, tenant: Any, error: type[Exception]
) -> None:
    for call in (subjects.cipher, subjects.erase, subjects.export):
        with pytest.raises(error) as caught:
            call(subject, tenant=tenant)
        assert len(str(caught.value)) < 100


def test_fields_of_models_take_the_cipher_of_a_subject(subjects: SubjectKeys) -> None:
    class Patient(BaseModel):
        notes: Encrypted[str]

    with using_cipher(subjects.cipher(ADA)):
        row = Patient(notes="allergic").model_dump_json()
        assert Patient.model_validate_json(row).notes.get_secret_value() == "allergic"
    subjects.erase(ADA)
    with using_cipher(subjects.cipher(ADA)), pytest.raises((ValueError, DecryptionError)):
        Patient.model_validate_json(row)


def test_a_ring_of_the_key_serves_files(subjects: SubjectKeys) -> None:
    ring = subjects.cipher(ADA).keyring
    assert ring.primary == subjects.export(ADA)["key_id"]
    assert len(ring.key_ids) == 1


def test_tokens_of_subjects_are_recognised(subjects: SubjectKeys, ring: RingProvider) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    assert subjects.cipher("grace").recognises(token)
    subjects.erase(ADA)
    assert subjects.recognises(token)
    assert not subjects.recognises(FieldCipher(Keyring.generate()).encrypt("x"))


# -- what is stored


def test_the_database_does_not_hold_the_subject(subjects: SubjectKeys, storage: Storage) -> None:
    subjects.cipher("ada.lovelace@example.com").encrypt("well")
    subjects.erase("ada.lovelace@example.com", actor="ada.lovelace@example.com")
    assert b"lovelace" not in on_disk(storage)


def test_pseudonyms_depend_on_a_secret_of_the_provider(storage: Storage, tmp_path: Path) -> None:
    rows = []
    for name in ("one", "two"):
        keys = Storage(tmp_path / name / "aisecure.db")
        SubjectKeys(keys, RingProvider(FieldCipher(Keyring.generate()))).cipher(ADA).encrypt("x")
        rows.append(keys.query("SELECT subject FROM subjects_keys"))
    assert rows[0] != rows[1]


def test_another_provider_is_told_apart_from_damage(subjects: SubjectKeys, storage: Storage) -> None:
    subjects.cipher(ADA).encrypt("well")
    stranger = SubjectKeys(storage, RingProvider(FieldCipher(Keyring.generate())))
    with pytest.raises(Misconfigured, match="configure the provider") as caught:
        stranger.cipher(ADA).encrypt("x")
    assert caught.value.code == "config.key_provider"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE subjects_keys SET wrapped = (SELECT wrapped FROM subjects_keys WHERE slot = 2) WHERE slot = 1",
        "UPDATE subjects_keys SET tenant = 'acme' WHERE slot = 1",
        "UPDATE subjects_keys SET subject = randomblob(32) WHERE slot = 1",
        "UPDATE subjects_keys SET key_id = randomblob(16) WHERE slot = 1",
        "UPDATE subjects_keys SET wrapped = x'' WHERE slot = 1",
        "UPDATE subjects_keys SET wrapped = substr(wrapped, 1, 40) WHERE slot = 1",
    ],
    ids=["another's key", "another tenant", "another subject", "another id", "empty", "cut"],
)
def test_a_row_that_was_changed_opens_nothing(
    subjects: SubjectKeys, storage: Storage, ring: RingProvider, change: str
) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    subjects.cipher("grace").encrypt("well")
    storage.execute(change)
    again = SubjectKeys(storage, ring)
    for tenant in ("default", "acme"):
        for decrypt in (again.decrypt, again.cipher(ADA, tenant=tenant).decrypt):
            with pytest.raises(DecryptionError):
                decrypt(token)
    key_id = storage.query("SELECT key_id FROM subjects_keys WHERE slot = 1")[0][0]
    with pytest.raises(DecryptionError):
        again.decrypt_bytes(b"\x03" + key_id + bytes(60), tenant="acme" if "acme" in change else "default")


def test_reprs_name_no_person_and_no_key(subjects: SubjectKeys) -> None:
    cipher = subjects.cipher(ADA)
    cipher.encrypt("well")
    for thing in (subjects, cipher):
        assert ADA not in repr(thing)
        with pytest.raises(TypeError):
            pickle.dumps(thing)


@pytest.mark.parametrize(
    "option",
    [
        {"poll_seconds": -1},
        {"cache_seconds": float("nan")},
        {"scrub_seconds": float("inf")},
        {"cached_keys": 0},
    ],
    ids=str,
)
def test_an_option_out_of_range_is_refused(
    storage: Storage, ring: RingProvider, option: dict[str, Any]
) -> None:
    with pytest.raises(ValueError):
        SubjectKeys(storage, ring, **option)


def test_a_wrapping_that_is_no_provider_is_refused(storage: Storage) -> None:
    with pytest.raises(TypeError, match="KeyProvider"):
        SubjectKeys(storage, FieldCipher(Keyring.generate()))  # type: ignore[arg-type]


# -- erasing


def test_no_token_of_an_erased_subject_opens(
    subjects: SubjectKeys, storage: Storage, ring: RingProvider
) -> None:
    cipher = subjects.cipher(ADA)
    token, blob = cipher.encrypt("well"), cipher.encrypt_bytes(b"well")
    subjects.erase(ADA)
    for keys in (subjects, SubjectKeys(storage, ring)):
        for decrypt in (keys.decrypt, keys.cipher(ADA).decrypt, cipher.decrypt):
            with pytest.raises(DecryptionError) as caught:
                decrypt(token)
            assert caught.value.code == "encryption.failed"
        with pytest.raises(DecryptionError):
            keys.decrypt_bytes(blob)
        assert keys.is_erased(token)
        assert keys.is_erased(blob)
    assert subjects.export(ADA) == {}


def test_others_stay_readable(subjects: SubjectKeys) -> None:
    kept = [subjects.cipher("grace"), subjects.cipher(ADA, tenant="acme")]
    tokens = [cipher.encrypt("well") for cipher in kept]
    subjects.cipher(ADA).encrypt("well")
    subjects.erase(ADA)
    assert [cipher.decrypt(token) for cipher, token in zip(kept, tokens, strict=True)] == ["well", "well"]
    assert not any(map(subjects.is_erased, tokens))


def test_the_receipt_is_an_event_that_names_only_the_key(
    subjects: SubjectKeys, events: CapturedEvents, clock: FrozenClock
) -> None:
    subjects.cipher(ADA, tenant="acme").encrypt("well")
    key_id = subjects.export(ADA, tenant="acme")["key_id"]
    receipt = subjects.erase(ADA, tenant="acme", request_id="dsr-7", actor="officer")
    assert receipt == events.only("subject.erased")
    assert receipt.detail == {"key_id": key_id, "keys": 1}
    assert (receipt.tenant, receipt.request_id, receipt.principal) == ("acme", "dsr-7", "officer")
    assert receipt.time == clock.time()
    assert ADA not in json.dumps(receipt.to_dict())


def test_a_subject_who_erases_themselves_is_not_named_as_actor(
    subjects: SubjectKeys, storage: Storage
) -> None:
    subjects.cipher(ADA).encrypt("well")
    assert subjects.erase(ADA, actor=ADA).principal == ""


def test_a_subject_who_returns_gets_a_new_key(subjects: SubjectKeys) -> None:
    cipher = subjects.cipher(ADA)
    old = cipher.encrypt("before")
    subjects.erase(ADA)
    new = cipher.encrypt("after")
    assert key_id_of(new) != key_id_of(old)
    assert cipher.decrypt(new) == "after"
    with pytest.raises(DecryptionError):
        cipher.decrypt(old)
    assert subjects.is_erased(old)
    assert not subjects.is_erased(new)


def test_erasing_nobody_gives_a_receipt_that_says_so(subjects: SubjectKeys, events: CapturedEvents) -> None:
    subjects.cipher(ADA).encrypt("well")
    receipts = [subjects.erase(ADA), subjects.erase(ADA), subjects.erase("nobody")]
    assert [dict(receipt.detail).get("keys") for receipt in receipts] == [1, 0, 0]
    assert events.of_type("subject.erased") == receipts
    assert len({receipt.id for receipt in receipts}) == 3


@pytest.mark.parametrize(
    "words", [{"request_id": 7}, {"actor": None}, {"actor": "a" * 257}, {"request_id": "\udc00"}], ids=str
)
def test_words_of_a_receipt_are_plain(subjects: SubjectKeys, words: dict[str, Any]) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    with pytest.raises((TypeError, ValueError)):
        subjects.erase(ADA, **words)
    assert subjects.decrypt(token) == "well"


def test_the_deleted_key_is_nowhere_in_the_files_of_the_database(
    subjects: SubjectKeys, storage: Storage, events: CapturedEvents
) -> None:
    for name in (ADA, "grace", "edsger"):
        subjects.cipher(name).encrypt("well")
    wrapped = wrapped_keys(storage)
    assert all(key in on_disk(storage) for key in wrapped)
    subjects.erase("grace")
    assert [key in on_disk(storage) for key in wrapped] == [True, False, True]
    # Not even a part of it: what SQLite moves or frees could leave the ends behind.
    assert not any(wrapped[1][at : at + 12] in on_disk(storage) for at in range(29, len(wrapped[1]) - 12))


def test_without_truncation_the_deleted_key_would_still_be_there(
    subjects: SubjectKeys, storage: Storage
) -> None:
    subjects.cipher(ADA).encrypt("well")
    [wrapped] = wrapped_keys(storage)
    with reader(storage), pytest.raises(Unavailable):
        subjects.erase(ADA)
    assert wrapped_keys(storage) == []
    assert wrapped in on_disk(storage)


def test_a_reader_elsewhere_leaves_the_erasure_pending_and_no_receipt(
    subjects: SubjectKeys, storage: Storage, events: CapturedEvents
) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    [wrapped] = wrapped_keys(storage)
    key_id = key_id_of(token).hex()
    with reader(storage):
        with pytest.raises(Unavailable, match=key_id) as caught:
            subjects.erase(ADA, request_id="dsr-7", actor="officer")
        assert caught.value.code == "unavailable.erasure"
        assert events.types == []
        assert subjects.is_erased(token)
        with pytest.raises(DecryptionError):
            subjects.decrypt(token)
        with pytest.raises(Unavailable):  # nor is there one for erasing again
            subjects.erase(ADA)
        assert events.types == []
    [receipt] = subjects.resume()
    assert events.only("subject.erased") == receipt
    assert (receipt.detail["key_id"], receipt.request_id, receipt.principal) == (key_id, "dsr-7", "officer")
    assert wrapped not in on_disk(storage)
    assert subjects.resume() == ()


def test_opening_the_keys_completes_what_was_interrupted(
    subjects: SubjectKeys, storage: Storage, ring: RingProvider
) -> None:
    subjects.cipher(ADA).encrypt("well")
    [wrapped] = wrapped_keys(storage)
    with reader(storage):
        with pytest.raises(Unavailable):
            subjects.erase(ADA)
        SubjectKeys(storage, ring, scrub_seconds=0)  # may not keep an application from starting
    later = CapturedEvents()
    SubjectKeys(storage, ring, events=later)
    assert later.types == ["subject.erased"]
    assert wrapped not in on_disk(storage)
    assert storage.query("SELECT complete, actor FROM subjects_erasures") == [(1, "")]


class Failing:
    """A sink or notices that cannot take anything while it is broken."""

    def __init__(self) -> None:
        self.broken = True
        self.taken: list[Any] = []

    def record(self, event: SecurityEvent) -> None:
        self._take(event)

    def publish(self, topic: str) -> int:
        self._take(topic)
        return 1

    def version(self, topic: str) -> int:
        return 0

    def subscribe(self, topic: str, callback: Callable[[int], None]) -> Callable[[], None]:
        return lambda: None

    def _take(self, what: Any) -> None:
        if self.broken:
            raise Unavailable("it is down", code="unavailable.audit")
        self.taken.append(what)


def test_a_receipt_that_cannot_be_recorded_is_recorded_later(storage: Storage, ring: RingProvider) -> None:
    sink = Failing()
    subjects = SubjectKeys(storage, ring, events=sink)
    token = subjects.cipher(ADA).encrypt("well")
    with pytest.raises(Unavailable, match="it is down"):
        subjects.erase(ADA)
    assert subjects.is_erased(token)
    sink.broken = False
    assert list(subjects.resume()) == sink.taken
    assert [event.detail["key_id"] for event in sink.taken] == [key_id_of(token).hex()]


def test_others_learn_of_an_erasure_even_when_nobody_could_tell_them(
    storage: Storage, ring: RingProvider, clock: FrozenClock
) -> None:
    subjects = SubjectKeys(storage, ring, notices=Failing())
    other = SubjectKeys(storage, ring, clock=clock)
    token = subjects.cipher(ADA).encrypt("well")
    assert other.decrypt(token) == "well"
    with pytest.raises(Unavailable):
        subjects.erase(ADA)
    clock.advance(1.0)
    with pytest.raises(DecryptionError):
        other.decrypt(token)


def test_subscribers_are_told(storage: Storage, ring: RingProvider) -> None:
    notices, seen = LocalNotices(), []
    subjects = SubjectKeys(storage, ring, notices=notices)
    notices.subscribe("encryption.subjects", seen.append)
    neighbour = SubjectKeys(storage, ring, notices=notices)
    token = subjects.cipher(ADA).encrypt("well")
    assert neighbour.decrypt(token) == "well"
    subjects.erase(ADA)
    assert seen == [1]
    with pytest.raises(DecryptionError):  # at once, without waiting for the poll
        neighbour.decrypt(token)


# -- legal holds


def test_a_legal_hold_refuses_with_its_reason(
    storage: Storage, ring: RingProvider, events: CapturedEvents
) -> None:
    asked = []

    def holds(tenant: str, subject: str) -> str | None:
        asked.append((tenant, subject))
        return "case 12 of 2026" if subject == ADA else None

    subjects = SubjectKeys(storage, ring, events=events, holds=holds)
    token = subjects.cipher(ADA, tenant="acme").encrypt("well")
    with pytest.raises(ErasureRefused, match="case 12 of 2026") as caught:
        subjects.erase(ADA, tenant="acme", request_id="dsr-7", actor="officer")
    assert (caught.value.status, caught.value.code) == (409, "erasure.legal_hold")
    assert subjects.decrypt(token, tenant="acme") == "well"
    event = events.only("subject.erasure_refused")
    assert (event.reasons, event.code, event.request_id) == (
        ("case 12 of 2026",),
        "erasure.legal_hold",
        "dsr-7",
    )
    assert subjects.erase("grace").detail["keys"] == 0
    assert asked == [("acme", ADA), ("default", "grace")]


def test_a_hold_cannot_be_placed_between_question_and_erasure(storage: Storage, ring: RingProvider) -> None:
    tried = []

    def holds(tenant: str, subject: str) -> str | None:
        other = sqlite3.connect(storage.path, timeout=0, isolation_level=None)
        try:
            other.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as err:
            tried.append(str(err))
        other.close()
        return None

    subjects = SubjectKeys(storage, ring, holds=holds)
    subjects.erase(ADA)
    assert tried == ["database is locked"]


def test_a_hold_kept_in_the_same_database_is_read_in_the_transaction(
    storage: Storage, ring: RingProvider
) -> None:
    storage.migrate("holds", ("CREATE TABLE holds (subject TEXT, reason TEXT)",))

    def holds(tenant: str, subject: str) -> str | None:
        rows = storage.query("SELECT reason FROM holds WHERE subject = ?", (subject,))
        return rows[0][0] if rows else None

    subjects = SubjectKeys(storage, ring, holds=holds)
    token = subjects.cipher(ADA).encrypt("well")
    storage.execute("INSERT INTO holds VALUES (?, 'case 12')", (ADA,))
    with pytest.raises(ErasureRefused):
        subjects.erase(ADA)
    storage.execute("DELETE FROM holds")
    subjects.erase(ADA)
    assert subjects.is_erased(token)


@pytest.mark.parametrize(
    "answer", ["", True, False, b"x", RuntimeError("bug"), Unavailable("down")], ids=repr
)
def test_whatever_holds_answers_but_none_nothing_is_erased(
    storage: Storage, ring: RingProvider, answer: Any
) -> None:
    def holds(tenant: str, subject: str) -> Any:
        if isinstance(answer, Exception):
            raise answer
        return answer

    subjects = SubjectKeys(storage, ring, holds=holds)
    token = subjects.cipher(ADA).encrypt("well")
    with pytest.raises((ErasureRefused, TypeError, RuntimeError, Unavailable)):
        subjects.erase(ADA)
    assert subjects.decrypt(token) == "well"


# -- keys in memory


def test_a_process_that_did_not_hear_stops_within_the_bound(
    storage: Storage, ring: RingProvider, clock: FrozenClock
) -> None:
    here, there = SubjectKeys(storage, ring), SubjectKeys(storage, ring, clock=clock, poll_seconds=1.0)
    token = here.cipher(ADA).encrypt("well")
    cipher = there.cipher(ADA)
    assert cipher.decrypt(token) == "well"
    here.erase(ADA)
    assert cipher.decrypt(token) == "well"  # so the next line can fail
    clock.advance(1.0)
    with pytest.raises(DecryptionError):
        cipher.decrypt(token)
    assert key_id_of(cipher.encrypt("new")) != key_id_of(token)


def test_a_key_of_zero_poll_is_checked_every_time(
    storage: Storage, ring: RingProvider, clock: FrozenClock
) -> None:
    here, there = SubjectKeys(storage, ring), SubjectKeys(storage, ring, clock=clock, poll_seconds=0)
    token = here.cipher(ADA).encrypt("well")
    assert there.decrypt(token) == "well"
    here.erase(ADA)
    with pytest.raises(DecryptionError):
        there.decrypt(token)


def test_a_database_that_cannot_be_read_stops_all_work(
    subjects: SubjectKeys, storage: Storage, clock: FrozenClock
) -> None:
    cipher = subjects.cipher(ADA)
    token = cipher.encrypt("well")
    storage.execute("ALTER TABLE subjects_erasures RENAME TO away")
    assert cipher.decrypt(token) == "well"
    clock.advance(1.0)
    for _ in range(2):
        for use in (cipher.decrypt, subjects.decrypt, cipher.encrypt):
            with pytest.raises(Unavailable):
                use(token)
    storage.execute("ALTER TABLE away RENAME TO subjects_erasures")
    assert cipher.decrypt(token) == "well"


class Switch:
    """A provider that can be unplugged."""

    def __init__(self, inner: RingProvider) -> None:
        self.inner, self.on, self.unwrapped = inner, True, 0

    @property
    def key_id(self) -> str:
        return self.inner.key_id

    def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
        self._plugged()
        return self.inner.wrap(key, associated_data=associated_data)

    def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
        self._plugged()
        self.unwrapped += 1
        return self.inner.unwrap(wrapped, associated_data=associated_data)

    def _plugged(self) -> None:
        if not self.on:
            raise Unavailable("no provider", code="unavailable.key_provider")


def test_a_provider_that_is_down_stops_keys_within_their_time_in_memory(
    storage: Storage, ring: RingProvider, clock: FrozenClock
) -> None:
    provider = Switch(ring)
    subjects = SubjectKeys(storage, provider, clock=clock, cache_seconds=300)
    cipher = subjects.cipher(ADA)
    token = cipher.encrypt("well")
    provider.on = False
    clock.advance(299)
    assert cipher.decrypt(token) == subjects.decrypt(token) == "well"
    clock.advance(1)
    for use in (cipher.decrypt, subjects.decrypt, cipher.encrypt, subjects.cipher("grace").encrypt):
        with pytest.raises(Unavailable, match="no provider"):
            use(token)
    provider.on = True
    assert cipher.decrypt(token) == "well"


def test_keys_in_memory_are_bounded_and_the_ones_in_use_stay(storage: Storage, ring: RingProvider) -> None:
    provider = Switch(ring)
    subjects = SubjectKeys(storage, provider, cached_keys=3)
    busy = subjects.cipher("busy")
    tokens = [busy.encrypt("0")]
    for number in range(1, 9):
        tokens.append(subjects.cipher(f"s{number}").encrypt(str(number)))
        before = provider.unwrapped
        busy.encrypt("again")
        assert provider.unwrapped == before
        assert len(subjects._open._opened) <= 3
        assert len(subjects._open._ids) <= 3
    assert [subjects.decrypt(token) for token in tokens] == [str(number) for number in range(9)]


def test_a_cipher_made_for_every_request_finds_the_key_in_memory(
    storage: Storage, ring: RingProvider
) -> None:
    provider = Switch(ring)
    subjects = SubjectKeys(storage, provider)
    token = subjects.cipher(ADA).encrypt("well")
    before = provider.unwrapped
    assert subjects.cipher(ADA).decrypt(subjects.cipher(ADA).encrypt("again")) == "again"
    assert subjects.cipher(ADA).decrypt(token) == "well"
    assert provider.unwrapped == before
    subjects.erase(ADA)
    assert subjects._open._ids == {}
    assert key_id_of(subjects.cipher(ADA).encrypt("new")) != key_id_of(token)


def test_an_erasure_seen_while_a_key_was_being_unwrapped_is_not_missed(
    storage: Storage, ring: RingProvider, clock: FrozenClock
) -> None:
    class Slow(Switch):
        def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
            secret = super().unwrap(wrapped, associated_data=associated_data)
            if self.unwrapped == 2:  # after the secret of the index
                eraser.erase(ADA)
                clock.advance(1.0)
                with pytest.raises(DecryptionError):  # which asks what is erased
                    late.decrypt("A" * 80)
            return secret

    eraser = SubjectKeys(storage, ring)
    token = eraser.cipher(ADA).encrypt("well")
    late = SubjectKeys(storage, Slow(ring), clock=clock)
    with pytest.raises(DecryptionError):
        late.cipher(ADA).decrypt(token)


def test_eight_threads_make_one_key(subjects: SubjectKeys, storage: Storage) -> None:
    ready, tokens = threading.Barrier(8), []

    def work() -> None:
        cipher = subjects.cipher(ADA)
        ready.wait()
        tokens.append(cipher.encrypt("well"))
        tokens.extend(cipher.encrypt("well") for _ in range(20))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({key_id_of(token) for token in tokens}) == 1
    assert {subjects.decrypt(token) for token in tokens} == {"well"}
    assert len(tokens) == 8 * 21


def test_threads_that_encrypt_while_a_subject_is_erased_lose_nothing_else(subjects: SubjectKeys) -> None:
    kept, failures = [], []
    stop = threading.Event()

    def work() -> None:
        try:
            while not stop.is_set():
                kept.append(subjects.cipher("grace").encrypt("well"))
                subjects.cipher(ADA).encrypt("well")
        except BaseException as err:
            failures.append(err)
            raise

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    receipts = []
    while len(receipts) < 3:
        with contextlib.suppress(Unavailable):  # a thread was reading
            receipts.append(subjects.erase(ADA))
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == []
    assert {subjects.decrypt(token) for token in kept} == {"well"}


def test_eight_threads_that_erase_record_one_receipt_each(
    storage: Storage, ring: RingProvider, events: CapturedEvents
) -> None:
    subjects = SubjectKeys(storage, ring, events=events)
    tokens = [subjects.cipher(f"s{number}").encrypt("well") for number in range(8)]
    ready, receipts = threading.Barrier(8), []

    def work(number: int) -> None:
        ready.wait()
        receipts.append(subjects.erase(f"s{number}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {receipt.id for receipt in receipts} == {event.id for event in events}
    assert len(receipts) == len(events) == 8
    assert all(map(subjects.is_erased, tokens))


def test_a_forked_child_goes_on(subjects: SubjectKeys, storage: Storage) -> None:
    cipher = subjects.cipher(ADA)
    token = cipher.encrypt("well")
    reading, writing = os.pipe()
    with subjects._open._lock:  # as a thread that is not in the child may
        child = os.fork()
        if child == 0:
            try:
                fresh = subjects.cipher("grace").encrypt("from the child")
                os.write(writing, f"{cipher.decrypt(token)} {fresh}".encode())
            finally:
                os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with open(reading) as pipe:
        word, fresh = pipe.read().split()
    assert word == "well"
    assert subjects.decrypt(fresh) == "from the child"


# -- several processes


WORKER = textwrap.dedent("""
    import sys
    from aisecure.encryption import FieldCipher, KeyFile, SubjectKeys
    from aisecure.encryption.providers.ring import RingProvider
    from aisecure.errors import AISecureError
    from aisecure.storage import Storage
    from aisecure.testing import FrozenClock

    folder = sys.argv[1]
    clock = FrozenClock()
    keys = KeyFile(folder + "/fields.json")
    keys.open()
    subjects = SubjectKeys(Storage(folder + "/aisecure.db"), RingProvider(FieldCipher(keys)), clock=clock)
    print("ready", flush=True)
    for line in sys.stdin:
        verb, word = line.split()
        try:
            if verb == "advance":
                clock.advance(float(word))
                print("ok", flush=True)
            elif verb == "encrypt":
                print(subjects.cipher(word).encrypt("well"), flush=True)
            elif verb == "decrypt":
                print(subjects.decrypt(word), flush=True)
            else:
                print(subjects.erase(word).detail["keys"], flush=True)
        except AISecureError as err:
            print(err.code, flush=True)
""")


class Worker:
    def __init__(self, folder: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to, self._from = self._process.stdin, self._process.stdout

    def send(self, verb: str, word: object) -> None:
        self._to.write(f"{verb} {word}\n")
        self._to.flush()

    def answer(self) -> str:
        return self._from.readline().strip()

    def ask(self, verb: str, word: object) -> str:
        self.send(verb, word)
        return self.answer()

    def close(self) -> None:
        self._to.close()
        self._process.wait()
        self._from.close()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[list[Worker]]:
    started = [Worker(tmp_path) for _ in range(4)]
    assert [worker.answer() for worker in started] == ["ready"] * 4
    yield started
    for worker in started:
        worker.close()


def test_four_processes_make_one_key_and_stop_using_it_within_the_bound(workers: list[Worker]) -> None:
    for worker in workers:
        worker.send("encrypt", ADA)
    tokens = [worker.answer() for worker in workers]
    assert len({key_id_of(token) for token in tokens}) == 1
    assert [worker.ask("decrypt", tokens[0]) for worker in workers] == ["well"] * 4
    assert workers[0].ask("erase", ADA) == "1"
    assert workers[0].ask("decrypt", tokens[1]) == "encryption.failed"
    assert workers[1].ask("decrypt", tokens[0]) == "well"  # its clock stands still
    for worker in workers[1:]:
        worker.ask("advance", 1.0)
        assert [worker.ask("decrypt", token) for token in tokens] == ["encryption.failed"] * 4


# -- killed, and out of space


KILLED = textwrap.dedent("""
    import os, signal, sys
    from aisecure.audit import AuditLog
    from aisecure.encryption import FieldCipher, KeyFile, SubjectKeys
    from aisecure.encryption.providers.ring import RingProvider
    from aisecure.notices import StoredNotices
    from aisecure.storage import Storage

    folder, moment = sys.argv[1:]

    def at(name):
        if name == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    class DyingStorage(Storage):
        def truncate_wal(self, **options):
            at("before scrubbing")
            super().truncate_wal(**options)
            at("after scrubbing")

    class DyingNotices(StoredNotices):
        def publish(self, topic):
            at("before telling")
            super().publish(topic)

    class DyingLog:
        def record(self, event):
            at("before the receipt")
            log.record(event)
            at("after the receipt")

    def holds(tenant, subject):
        at("inside the transaction")

    storage = DyingStorage(folder + "/aisecure.db")
    log = AuditLog.open(folder + "/audit")
    keys = KeyFile(folder + "/fields.json")
    keys.open()
    subjects = SubjectKeys(
        storage, RingProvider(FieldCipher(keys)), notices=DyingNotices(storage), events=DyingLog(), holds=holds
    )
    subjects.erase("ada@example.com", request_id="dsr-7")
""")


@pytest.mark.parametrize(
    ("moment", "receipts"),
    [
        ("inside the transaction", 0),
        ("before telling", 1),
        ("before scrubbing", 1),
        ("after scrubbing", 1),
        ("before the receipt", 1),
        ("after the receipt", 2),
    ],
)
def test_a_kill_leaves_nothing_erased_or_an_erasure_that_is_completed(
    tmp_path: Path, moment: str, receipts: int
) -> None:
    keys = KeyFile(tmp_path / "fields.json")
    keys.open()
    storage, ring = Storage(tmp_path / "aisecure.db"), RingProvider(FieldCipher(keys))
    before = SubjectKeys(storage, ring)
    token, other = before.cipher(ADA).encrypt("well"), before.cipher("grace").encrypt("well")
    wrapped = wrapped_keys(storage)[0]
    dead = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path), moment], check=False)
    assert dead.returncode == -signal.SIGKILL
    # One moment alone has a receipt on record, and the key is not on the disk by then.
    assert len(recorded(tmp_path / "audit", "subject.erased")) == (moment == "after the receipt")
    if moment == "after the receipt":
        assert wrapped not in on_disk(storage)
    log = AuditLog.open(tmp_path / "audit")
    after = SubjectKeys(storage, ring, events=log)
    log.close()
    assert verify(tmp_path / "audit").ok
    told = recorded(tmp_path / "audit", "subject.erased")
    assert len(told) == receipts
    assert len({line["id"] for line in told}) <= 1
    assert after.decrypt(other) == "well"
    erased = receipts > 0
    assert after.is_erased(token) is erased
    assert (wrapped in on_disk(storage)) is not erased
    if erased:
        with pytest.raises(DecryptionError):
            after.decrypt(token)
    else:
        assert after.decrypt(token) == "well"


FULL = textwrap.dedent("""
    import resource, signal, sys
    from aisecure.encryption import FieldCipher, KeyFile, SubjectKeys
    from aisecure.encryption.providers.ring import RingProvider
    from aisecure.errors import Unavailable
    from aisecure.storage import Storage

    folder, room = sys.argv[1:]
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    subjects = SubjectKeys(
        Storage(folder + "/aisecure.db"), RingProvider(FieldCipher(KeyFile(folder + "/fields.json"))), scrub_seconds=0
    )
    subjects.export("ada@example.com")
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(room), resource.RLIM_INFINITY))
    try:
        subjects.erase("ada@example.com")
    except Unavailable as err:
        print(err.code)
""")


def test_a_full_disk_erases_nothing_or_leaves_it_pending(tmp_path: Path) -> None:
    codes = set()
    for room in (0, 16_000, 28_000, 40_000):  # for the transaction, for the scrubbing
        folder = tmp_path / str(room)
        keys = KeyFile(folder / "fields.json")
        keys.open()
        storage, ring = Storage(folder / "aisecure.db"), RingProvider(FieldCipher(keys))
        token = SubjectKeys(storage, ring).cipher(ADA).encrypt("well")
        [wrapped] = wrapped_keys(storage)
        storage.truncate_wal()
        program = [sys.executable, "-c", FULL, str(folder), str(room)]
        said = subprocess.run(program, capture_output=True, text=True, check=True)
        assert said.stderr == ""
        codes.add(said.stdout.strip())
        events = CapturedEvents()
        after = SubjectKeys(storage, ring, events=events)
        if said.stdout.strip() == "unavailable.storage":
            assert after.decrypt(token) == "well"
            assert events.types == []
        else:
            assert after.is_erased(token)
            assert events.types == ["subject.erased"]
            assert wrapped not in on_disk(storage)
    assert codes == {"unavailable.storage", "unavailable.erasure"}


# -- with the audit log


def test_erasure_makes_tokens_in_the_log_unreadable_and_leaves_it_verifiable(
    tmp_path: Path, storage: Storage, ring: RingProvider
) -> None:
    log = AuditLog.open(tmp_path / "audit")
    subjects = SubjectKeys(storage, ring, events=log)
    token = subjects.cipher(ADA).encrypt("ada's question")
    log.record(SecurityEvent("call.denied", reasons=(token,)))
    subjects.erase(ADA, request_id="dsr-7")
    log.close()
    report = verify(tmp_path / "audit")
    assert report.ok
    [kept] = recorded(tmp_path / "audit", "call.denied")[0]["reasons"]
    assert kept == token
    with pytest.raises(DecryptionError):
        subjects.decrypt(kept)
    assert [event["request_id"] for event in recorded(tmp_path / "audit", "subject.erased")] == ["dsr-7"]


# -- backups and rewrapping


def restored(storage: Storage, backup: Path) -> Storage:
    storage.close()
    for path in Path(storage.path).parent.glob("aisecure.db*"):
        path.unlink()
    shutil.copy(backup, storage.path)
    return Storage(storage.path)


@pytest.mark.parametrize("by", ["receipt", "key id"])
def test_a_restored_backup_is_erased_again_before_use(
    tmp_path: Path, storage: Storage, ring: RingProvider, by: str
) -> None:
    subjects = SubjectKeys(storage, ring)
    token = subjects.cipher(ADA, tenant="acme").encrypt("well")
    [wrapped] = wrapped_keys(storage)
    storage.truncate_wal()
    shutil.copy(storage.path, tmp_path / "backup.db")
    later = subjects.cipher("grace").encrypt("made after the backup")
    receipts = [subjects.erase(ADA, tenant="acme"), subjects.erase("grace")]
    storage = restored(storage, tmp_path / "backup.db")
    events = CapturedEvents()
    again = SubjectKeys(storage, ring, events=events)
    assert again.decrypt(token, tenant="acme") == "well"  # the danger
    assert not again.is_erased(later)
    erased = receipts if by == "receipt" else [receipt.detail["key_id"] for receipt in receipts]
    assert again.reapply(erased) == 1
    with pytest.raises(DecryptionError):
        again.decrypt(token, tenant="acme")
    assert again.is_erased(token)
    assert again.is_erased(later)
    assert wrapped not in on_disk(storage)
    event = events.only("subject.erased")
    assert (event.detail["key_id"], event.tenant) == (key_id_of(token).hex(), "acme")
    assert again.reapply(erased) == 0


@pytest.mark.parametrize(
    "bad", ["", "00", "zz" * 16, "00" * 17, 7, None, b"0" * 32, SecurityEvent("subject.erased")]
)
def test_what_is_no_key_id_erases_nothing(subjects: SubjectKeys, bad: Any) -> None:
    token = subjects.cipher(ADA).encrypt("well")
    with pytest.raises(ValueError, match="key ids"):
        subjects.reapply([key_id_of(token).hex(), bad])
    assert subjects.decrypt(token) == "well"


def test_after_rewrapping_and_destroying_the_old_ring_key_old_backups_are_dead(
    tmp_path: Path, storage: Storage
) -> None:
    old = Keyring.generate()
    subjects = SubjectKeys(storage, RingProvider(FieldCipher(old)))
    token = subjects.cipher(ADA).encrypt("well")
    before = wrapped_keys(storage)
    storage.truncate_wal()
    shutil.copy(storage.path, tmp_path / "backup.db")

    rotated = old.rotate()
    events = CapturedEvents()
    newer = SubjectKeys(storage, RingProvider(FieldCipher(rotated)), events=events)
    assert newer.rewrap() == 1
    assert events.only("subject.rewrapped").detail == {"keys": 1}
    assert not any(key in on_disk(storage) for key in before)
    assert newer.rewrap() == 0

    alone = RingProvider(FieldCipher(rotated.retire(old.primary).destroy(old.primary)))
    assert SubjectKeys(storage, alone).decrypt(token) == "well"
    stale = SubjectKeys(restored(storage, tmp_path / "backup.db"), alone)
    with pytest.raises(DecryptionError):
        stale.decrypt(token)


def test_rewrapping_goes_on_where_it_stopped(storage: Storage) -> None:
    old = Keyring.generate()
    subjects = SubjectKeys(storage, RingProvider(FieldCipher(old)))
    tokens = [subjects.cipher(f"s{number}").encrypt(str(number)) for number in range(250)]
    newer = SubjectKeys(storage, RingProvider(FieldCipher(old.rotate())))
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        newer.rewrap(progress=stop)
    assert newer.rewrap(progress=lambda done, total: seen.append((done, total))) == 150
    assert seen == [(100, 250), (100, 150), (150, 150)]
    assert [newer.decrypt(token) for token in tokens] == [str(number) for number in range(250)]


def test_what_a_stopped_rewrapping_left_in_the_log_is_scrubbed_by_the_next(storage: Storage) -> None:
    old = Keyring.generate()
    SubjectKeys(storage, RingProvider(FieldCipher(old))).cipher(ADA).encrypt("well")
    [wrapped] = wrapped_keys(storage)
    newer = SubjectKeys(storage, RingProvider(FieldCipher(old.rotate())), scrub_seconds=0)
    with reader(storage), pytest.raises(Unavailable):
        newer.rewrap()
    assert wrapped in on_disk(storage)
    assert newer.rewrap() == 0
    assert wrapped not in on_disk(storage)


def test_keys_move_to_another_provider(storage: Storage) -> None:
    old, new = (RingProvider(FieldCipher(Keyring.generate())) for _ in range(2))
    token = SubjectKeys(storage, old).cipher(ADA).encrypt("well")
    moved = SubjectKeys(storage, new)
    with pytest.raises(Misconfigured):
        moved.cipher(ADA).encrypt("x")
    assert moved.rewrap(source=old) == 1
    assert moved.cipher(ADA).decrypt(token) == "well"
    assert moved.rewrap(source=old, everything=True) == 1
    assert moved.cipher(ADA).decrypt(token) == "well"


def test_a_subject_erased_while_rewrapping_stays_erased(storage: Storage, ring: RingProvider) -> None:
    eraser = SubjectKeys(storage, ring)
    token = eraser.cipher(ADA).encrypt("well")

    class Late(Switch):
        def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
            if self.unwrapped == 2:
                eraser.erase(ADA)
            return super().wrap(key, associated_data=associated_data)

    late = SubjectKeys(storage, Late(ring))
    assert late.rewrap(everything=True) == 0
    with pytest.raises(DecryptionError):
        late.decrypt(token)
    assert late.is_erased(token)


def test_no_row_says_that_a_newer_key_wrapped_it_than_did(storage: Storage) -> None:
    class Rotating:
        """Rotates after every wrapping; what it wrapped begins with the number of the key."""

        def __init__(self) -> None:
            self.number = 1

        @property
        def key_id(self) -> str:
            return str(self.number)

        def wrap(self, key: bytes, *, associated_data: bytes) -> bytes:
            self.number += 1
            return bytes([self.number - 1]) + key

        def unwrap(self, wrapped: bytes, *, associated_data: bytes) -> bytes:
            return wrapped[1:]

    subjects = SubjectKeys(storage, Rotating())
    for name in ("a", "b", "c"):
        subjects.cipher(name).encrypt("well")
    for _ in range(2):
        for table in ("subjects_keys", "subjects_index"):
            rows = storage.query(
                f"SELECT provider, wrapped FROM {table} WHERE length(trim(wrapped, x'00')) > 0"
            )
            assert rows
            assert all(int(provider) <= wrapped[0] for provider, wrapped in rows)
        subjects.rewrap()


def test_rewrapping_passes_over_damage_and_says_so(storage: Storage, ring: RingProvider) -> None:
    subjects = SubjectKeys(storage, ring)
    tokens = [subjects.cipher(name).encrypt("well") for name in ("a", "b", "c")]
    storage.execute("UPDATE subjects_keys SET wrapped = zeroblob(93) WHERE slot = 2")
    again = SubjectKeys(storage, ring)
    with pytest.raises(IntegrityError, match=r"^1 keys.* 2 were rewrapped"):
        again.rewrap(everything=True)
    assert [again.decrypt(tokens[0]), again.decrypt(tokens[2])] == ["well", "well"]


# -- the provider over a ring


def test_a_ring_wraps_and_binds(ring: RingProvider) -> None:
    wrapped = ring.wrap(bytes(32), associated_data=b"a")
    assert ring.unwrap(wrapped, associated_data=b"a") == bytes(32)
    for changed, bound in ((wrapped, b"b"), (wrapped[:-1], b"a"), (b"", b"a")):
        with pytest.raises(DecryptionError):
            ring.unwrap(changed, associated_data=bound)


def test_a_ring_that_rotated_names_its_new_key_and_unwraps_with_the_old() -> None:
    ring = Keyring.generate()
    old, new = RingProvider(FieldCipher(ring)), RingProvider(FieldCipher(ring.rotate()))
    wrapped = old.wrap(bytes(32), associated_data=b"a")
    assert new.unwrap(wrapped, associated_data=b"a") == bytes(32)
    assert old.key_id != new.key_id
    assert old.key_id == f"ring:{ring.primary}"


def test_a_ring_provider_takes_a_cipher() -> None:
    with pytest.raises(TypeError):
        RingProvider(Keyring.generate())  # type: ignore[arg-type]
