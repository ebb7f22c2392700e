"""Re-encryption of a store in memory: what it changes, what it leaves, and what others do meanwhile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.encryption import FieldCipher, Keyring, StoredToken, count_tokens, reencrypt
from aisecure.encryption.reencryption import MAX_PASSES
from aisecure.errors import DecryptionError, Unavailable
from aisecure.testing import FrozenClock, capture_events


class Shelf:
    """A store in a dict; `meanwhile` is what another process does between reading and writing a batch."""

    name = "patients.notes"

    def __init__(self, tokens, meanwhile=lambda shelf: None):
        self.tokens = dict(tokens)
        self.meanwhile = meanwhile
        self.reads = self.swaps = 0

    def count(self):
        return len(self.tokens)

    def read(self, after, limit):
        self.reads += 1
        keys = sorted(key for key in self.tokens if after is None or (key,) > after)
        return [StoredToken((key,), self.tokens[key], ("notes", key)) for key in keys[:limit]]

    def swap(self, changes):
        self.meanwhile(self)
        self.swaps += 1
        done = 0
        for (key,), old, new in changes:
            if self.tokens.get(key) == old:
                self.tokens[key] = new
                done += 1
        return done


RING = Keyring.generate()
NEWER = RING.rotate()
OLD, NEW = FieldCipher(RING), FieldCipher(NEWER)


def shelf(count, cipher=OLD, **options):
    return Shelf({n: cipher.encrypt(f"value {n}", context=("notes", n)) for n in range(count)}, **options)


def values(shelf):
    return {n: NEW.decrypt(token, context=("notes", n)) for n, token in shelf.tokens.items()}


@given(count=st.integers(0, 30), current=st.sets(st.integers(0, 29)), batch=st.integers(1, 40))
def test_every_token_becomes_current_and_keeps_its_value(count, current, batch):
    store = shelf(count)
    for n in current & set(range(count)):
        store.tokens[n] = NEW.encrypt(f"value {n}", context=("notes", n))
    before = dict(store.tokens)
    report = reencrypt(store, NEW, batch=batch)
    assert values(store) == {n: f"value {n}" for n in range(count)}
    assert all(map(NEW.is_current, store.tokens.values()))
    assert all(store.tokens[n] == before[n] for n in current & set(range(count)))
    skipped = len(current & set(range(count)))
    assert (report.seen, report.changed, report.skipped) == (count, count - skipped, skipped)
    assert report.ok
    assert report.retirable == (RING.primary,)
    assert report.tokens == ({NEWER.primary: count} if count else {})


def test_binary_tokens_are_changed_too():
    store = Shelf({1: OLD.encrypt_bytes(b"\x00", context=("notes", 1))})
    assert reencrypt(store, NEW).changed == 1
    assert NEW.decrypt_bytes(store.tokens[1], context=("notes", 1)) == b"\x00"


def test_tokens_of_the_first_version_are_brought_to_the_newest():
    import base64

    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    key, head, nonce = RING.primary_key, b"\x01" + RING.primary_key.id, bytes(12)
    body = AESGCM(key.secret).encrypt(nonce, b"first", head + b"s5:notesi1;")
    store = Shelf({1: base64.b64encode(head + nonce + body).decode()})
    report = reencrypt(store, OLD)
    assert report.changed == 1
    assert OLD.is_current(store.tokens[1])
    assert OLD.decrypt(store.tokens[1], context=("notes", 1)) == "first"


def test_a_key_that_is_retired_already_is_not_named_again():
    store = shelf(1)
    reencrypt(store, NEW)
    assert reencrypt(store, FieldCipher(NEWER.retire(RING.primary))).retirable == ()


def test_a_second_run_changes_nothing_and_reads_once():
    store = shelf(10)
    reencrypt(store, NEW, batch=3)
    store.reads = store.swaps = 0
    report = reencrypt(store, NEW, batch=5)
    assert (report.changed, report.skipped, report.passes, store.swaps, store.reads) == (0, 10, 1, 0, 3)


def test_a_value_that_somebody_wrote_meanwhile_stays():
    def write(store):
        store.tokens[3] = NEW.encrypt("theirs", context=("notes", 3))

    store = shelf(5, meanwhile=write)
    report = reencrypt(store, NEW)
    assert values(store)[3] == "theirs"
    assert (report.lost, report.changed, report.ok) == (1, 4, True)


def test_what_is_deleted_meanwhile_stays_deleted():
    store = shelf(5, meanwhile=lambda store: store.tokens.pop(3, None))
    assert reencrypt(store, NEW).lost == 1
    assert 3 not in store.tokens


def test_a_token_that_is_written_with_the_old_key_behind_the_walk_is_caught():
    written = []

    def write(store):
        if not written:
            written.append(True)
            store.tokens[-1] = OLD.encrypt("late", context=("notes", -1))

    store = shelf(5, meanwhile=write)
    report = reencrypt(store, NEW, batch=2)
    assert NEW.is_current(store.tokens[-1])
    assert values(store)[-1] == "late"
    assert (report.passes, report.ok) == (3, True)


def test_a_writer_that_never_stops_using_the_old_key_is_reported():
    def write(store):
        store.tokens[0] = OLD.encrypt("again", context=("notes", 0))

    report = reencrypt(shelf(2, meanwhile=write), NEW)
    assert not report.complete
    assert not report.ok
    assert report.passes == MAX_PASSES
    assert report.retirable == ()


def test_what_does_not_open_is_counted_and_left_as_it_is():
    store = shelf(4)
    store.tokens[1] = "not a token"
    store.tokens[2] = OLD.encrypt("of another row", context=("notes", 99))
    before = dict(store.tokens)
    report = reencrypt(store, NEW, failed_keys=1)
    assert (report.failed, report.changed, report.complete, report.ok) == (2, 2, True, False)
    assert (store.tokens[1], store.tokens[2]) == (before[1], before[2])
    assert report.failed_keys == ((1,),)
    assert report.retirable == ()
    assert report.tokens == {"none": 1, RING.primary: 1, NEWER.primary: 2}


def test_keys_of_rows_are_told_only_on_request():
    store = Shelf({"ada@example.org": "junk"})
    report = reencrypt(store, NEW)
    assert report.failed == 1
    assert report.failed_keys == ()
    assert "ada" not in repr(reencrypt(store, NEW, failed_keys=5))
    assert "ada" not in str(reencrypt(store, NEW, failed_keys=5).to_dict())


def test_a_retired_key_fails_its_tokens_and_loses_none():
    store = shelf(3)
    retired = FieldCipher(NEWER.retire(RING.primary))
    before = dict(store.tokens)
    assert reencrypt(store, retired).failed == 3
    assert store.tokens == before
    assert reencrypt(store, NEW).ok


@pytest.mark.parametrize("part", [None, 1.5, True, "\ud800"])
def test_a_row_whose_context_is_of_no_use_is_counted_as_failed(part):
    store = shelf(2)
    plain = store.read
    store.read = lambda after, limit: [
        row._replace(context=("notes", part)) if row.key == (1,) else row for row in plain(after, limit)
    ]
    report = reencrypt(store, NEW)
    assert (report.failed, report.changed) == (1, 1)


def test_a_store_that_fails_half_way_is_unavailable_and_goes_on_later():
    def fail(store):
        if store.swaps == 2:
            raise Unavailable("gone", code="unavailable.storage")

    store = shelf(10, meanwhile=fail)
    with capture_events() as events, pytest.raises(Unavailable):
        reencrypt(store, NEW, batch=2, events=events)
    assert sum(map(NEW.is_current, store.tokens.values())) == 4
    assert events.only("encryption.reencrypted").code == "unavailable.storage"
    assert events.only("encryption.reencrypted").result == "failure"
    store.meanwhile = lambda store: None
    report = reencrypt(store, NEW)
    assert (report.skipped, report.changed, report.ok) == (4, 6, True)


def test_events_say_how_many_under_which_keys_and_nothing_else():
    with capture_events() as events:
        reencrypt(shelf(3), NEW, events=events, clock=FrozenClock())
    assert events.types == ["encryption.reencrypting", "encryption.reencrypted"]
    ended = events.only("encryption.reencrypted")
    assert ended.resource == "store:patients.notes"
    assert ended.detail == {
        "seen": 3, "changed": 3, "failed": 0, "complete": True, "key_ids": [NEWER.primary],
    }  # fmt: skip


def test_progress_is_told_after_every_batch():
    told = []
    reencrypt(shelf(5), NEW, batch=2, progress=told.append)
    assert [(p.passed, p.seen, p.changed) for p in told] == [
        (1, 2, 2), (1, 4, 4), (1, 5, 5), (2, 2, 5), (2, 4, 5), (2, 5, 5),
    ]  # fmt: skip


def test_counting_opens_and_changes_nothing():
    store = shelf(3)
    store.tokens[5] = "junk"
    before = dict(store.tokens)
    assert count_tokens(store, batch=2) == {RING.primary: 3, "none": 1}
    assert store.tokens == before


@pytest.mark.parametrize("batch", [0, -1, True, 1.5, None])
def test_a_batch_of_no_rows_is_a_mistake(batch):
    with pytest.raises(ValueError, match="batch"):
        reencrypt(shelf(1), NEW, batch=batch)


def test_the_old_ring_alone_cannot_read_what_was_re_encrypted():
    store = shelf(1)
    reencrypt(store, NEW)
    with pytest.raises(DecryptionError):
        OLD.decrypt(store.tokens[0], context=("notes", 0))
