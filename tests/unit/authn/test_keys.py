"""Issue, verify, list, revoke and erase API keys."""

from __future__ import annotations

import gc
import hashlib
import hmac
import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisecure.authn import ApiKeys, MemoryKeyStore
from aisecure.authn.memo import Memo
from aisecure.decisions import Decision
from aisecure.errors import AuthenticationError, Misconfigured, Unavailable
from aisecure.notices import LocalNotices, StoredNotices
from aisecure.principal import Principal
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, capture_events

PEPPER = bytes(range(32))


class CountingStorage(Storage):
    """A storage that counts the look-ups of keys."""

    lookups = 0

    def query(self, sql, parameters=()):
        if "WHERE key_id = ?" in sql and "mac" in sql:
            self.lookups += 1
        return super().query(sql, parameters)


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def storage(tmp_path):
    storage = CountingStorage(tmp_path / "aisecure.db")
    yield storage
    storage.close()


@pytest.fixture
def keys(storage, clock, events):
    notices = StoredNotices(storage, monotonic=clock.monotonic)
    return ApiKeys(storage, pepper=PEPPER, clock=clock, notices=notices, events=events)


def _other(storage, clock, **options):
    """Keys as another process on the same database has them."""
    again = Storage(storage.path)
    return ApiKeys(
        again, pepper=PEPPER, clock=clock, notices=StoredNotices(again, monotonic=clock.monotonic), **options
    )


def _refused(keys, text):
    with pytest.raises(AuthenticationError) as caught:
        keys.verify(text)
    return caught.value


class TestIssue:
    def test_a_key_gives_its_principal_as_it_was_issued(self, keys, clock):
        issued = keys.create("u-17", tenant="acme", roles={"member", "lead"}, scopes=["chat"])
        assert keys.verify(issued.secret) == Principal(
            "u-17", roles={"member", "lead"}, tenant="acme", scopes={"chat"},
            claims={"key_id": issued.key_id}, method="api_key", authenticated_at=clock.time(),
        )  # fmt: skip

    def test_the_secret_is_shown_once_and_never_printed_or_stored(self, keys, storage):
        issued = keys.create("u-17")
        secret = issued.secret.rpartition("_")[2]
        keys.verify(issued.secret)
        shown = f"{issued} {issued!r} {keys!r} {keys.list()} {keys.list()[0].to_dict()} {keys._memo!r}"
        assert secret[:30] not in shown
        assert issued.key_id in shown
        storage.truncate_wal()
        assert secret[:30].encode() not in Path(storage.path).read_bytes()
        assert not any(secret[:30] in repr(entry) for entry in keys._memo._entries.items())

    def test_what_is_stored_is_the_hmac_under_the_pepper(self, keys, storage):
        issued = keys.create("u-17")
        secret = issued.secret.rpartition("_")[2][:-6]
        expected = hmac.new(PEPPER, f"{issued.key_id}_{secret}".encode(), hashlib.sha256).digest()
        assert storage.query("SELECT mac, scheme FROM authn_api_keys") == [(expected, 1)]

    def test_issue_and_revocation_are_recorded_once(self, keys, events):
        issued = keys.create("u-17", tenant="acme")
        keys.revoke(issued.key_id)
        keys.revoke(issued.key_id)
        created, revoked = events.only("key.created"), events.only("key.revoked")
        assert dict(created.detail) == {"key_id": issued.key_id, "subject": "u-17"}
        assert dict(revoked.detail) == {"key_id": issued.key_id}
        assert {(event.principal, event.tenant) for event in (created, revoked)} == {("u-17", "acme")}

    @pytest.mark.parametrize(
        "arguments",
        [{"principal_id": 5}, {"principal_id": None}, {"roles": "member"}, {"roles": [1]}, {"scopes": "chat"},
         {"tenant": None}, {"expires_at": "2030"}, {"expires_at": True}],
        ids=repr,
    )  # fmt: skip
    def test_an_argument_of_another_type_is_a_type_error(self, keys, arguments):
        with pytest.raises(TypeError):
            keys.create(**{"principal_id": "u-17", **arguments})
        assert keys.list() == ()

    @pytest.mark.parametrize(
        "bad",
        ["", "a\0b", "a\nb", "a\ud800b", "x" * 257, "x" * 1_000_000],
        ids=lambda bad: f"{bad[:4]!a}-{len(bad)}",
    )
    def test_a_name_that_is_empty_unprintable_or_endless_is_a_value_error_that_does_not_quote_it(
        self, keys, bad
    ):
        for arguments in ({"principal_id": bad}, {"tenant": bad}, {"roles": ["ok", bad]}, {"scopes": [bad]}):
            with pytest.raises(ValueError) as caught:
                keys.create(**{"principal_id": "u-17", **arguments})
            assert not bad or bad not in str(caught.value)
        assert keys.list() == ()

    @pytest.mark.parametrize("end", [0, -1, float("nan"), float("inf"), 1_767_225_600.0], ids=repr)
    def test_an_end_in_the_past_or_no_end_at_all_is_a_value_error(self, keys, end):
        with pytest.raises(ValueError, match="expires_at"):
            keys.create("u-17", expires_at=end)

    def test_an_end_beyond_all_calendars_is_taken(self, keys):
        assert keys.verify(keys.create("u-17", expires_at=10**400).secret).id == "u-17"


class TestRefusals:
    def test_all_reasons_look_the_same_outside_and_are_told_apart_in_the_log(self, keys, events, clock):
        unknown, wrong, expired, revoked = (
            keys.create(name, expires_at=clock.time() + 5 if name == "expired" else None)
            for name in ("unknown", "wrong", "expired", "revoked")
        )
        keys._store._storage.execute("DELETE FROM authn_api_keys WHERE key_id = ?", (unknown.key_id,))
        keys._store._storage.execute(
            "UPDATE authn_api_keys SET mac = zeroblob(32) WHERE key_id = ?", (wrong.key_id,)
        )
        keys.revoke(revoked.key_id)
        clock.advance(5)
        texts = [unknown.secret, wrong.secret, expired.secret, revoked.secret, "junk", ""]
        errors = [_refused(keys, text) for text in texts]
        assert {(str(err), err.code, err.status, json.dumps(err.problem())) for err in errors} == {
            (str(errors[0]), "authn.invalid", 401, json.dumps(errors[0].problem()))
        }
        reasons = [event.reasons[1] for event in events if event.type == "authn.failed"]
        assert [reason.split()[-1] for reason in reasons[:4]] == [
            unknown.key_id + ".",
            "wrong.",
            "expired.",
            "revoked.",
        ]
        assert len(set(reasons)) == 5
        assert not any(text and text in repr(event.to_dict()) for text in texts for event in events)

    def test_an_unknown_key_costs_the_same_hash_and_comparison(self, keys, monkeypatch):
        worked = []
        real = hmac.compare_digest
        monkeypatch.setattr(
            "aisecure.authn.keys.hmac.compare_digest",
            lambda a, b: worked.append((len(a), len(b))) or real(a, b),
        )
        known = keys.create("u-17")
        unknown = keys.create("u-18")
        keys._store._storage.execute("DELETE FROM authn_api_keys WHERE key_id = ?", (unknown.key_id,))
        keys.verify(known.secret)
        _refused(keys, unknown.secret)
        assert worked == [(32, 32), (32, 32)]

    @pytest.mark.parametrize(
        "text",
        ["", "x", "\0", "\ud800", "ais_live_", "x" * 1_000_000, "ais_live_" * 5_500_000],
        ids=lambda text: f"{text[:9]!a}-{len(text)}",
    )
    def test_a_text_that_is_no_key_never_reaches_the_database(self, keys, storage, text):
        _refused(keys, text)
        assert storage.lookups == 0

    @pytest.mark.parametrize("value", [None, 5, b"ais_live_"])
    def test_a_credential_that_is_no_text_is_a_type_error(self, keys, value):
        with pytest.raises(TypeError, match="an API key is a text"):
            keys.verify(value)

    def test_a_secret_goes_with_its_own_key_id_only(self, keys):
        one, two = keys.create("u-17"), keys.create("u-18")
        head, _, tail = one.secret.rpartition("_")
        body = head.replace(one.key_id, two.key_id) + "_" + tail[:-6]
        from aisecure.authn.text import _checksum

        _refused(keys, body + _checksum(body))

    def test_a_key_of_another_environment_is_refused(self, keys, storage, clock):
        test = _other(storage, clock, environment="test")
        _refused(keys, test.create("u-17").secret)

    def test_a_refusal_as_a_decision_records_nothing(self, keys, events):
        decision = keys.check("junk")
        assert isinstance(decision, Decision)
        assert not decision.allowed
        assert len(events) == 0


class TestMemory:
    def test_a_verified_key_is_not_looked_up_again(self, keys, storage):
        issued = keys.create("u-17")
        assert keys.verify(issued.secret) is keys.verify(issued.secret)
        assert storage.lookups == 1

    def test_a_refused_key_is_not_remembered(self, keys, storage):
        issued = keys.create("u-17")
        storage.execute("UPDATE authn_api_keys SET mac = zeroblob(32)")
        for _ in range(2):
            _refused(keys, issued.secret)
        assert storage.lookups == 2
        assert len(keys._memo) == 0

    def test_the_end_of_a_key_holds_for_a_remembered_one(self, keys, clock):
        issued = keys.create("u-17", expires_at=clock.time() + 10)
        keys.verify(issued.secret)
        clock.advance(9.999)
        keys.verify(issued.secret)
        clock.advance(0.001)
        _refused(keys, issued.secret)

    def test_a_clock_that_goes_back_does_not_lengthen_the_memory(self, keys, clock, storage):
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        clock.set_time(clock.time() - 1_000_000)
        clock.advance(Memo.SECONDS)
        keys.verify(issued.secret)
        assert storage.lookups == 2

    def test_revocation_holds_at_once_in_this_process(self, keys):
        issued, other = keys.create("u-17"), keys.create("u-18")
        keys.verify(issued.secret)
        keys.verify(other.secret)
        assert keys.revoke(issued.key_id)
        _refused(keys, issued.secret)
        assert keys.verify(other.secret).id == "u-18"

    def test_revocation_reaches_another_process_within_the_poll_interval(self, keys, storage, clock):
        issued = keys.create("u-17")
        elsewhere = _other(storage, clock)
        assert elsewhere.verify(issued.secret).id == "u-17"
        keys.revoke(issued.key_id)
        clock.advance(1.0)
        _refused(elsewhere, issued.secret)
        assert len(elsewhere._memo) == 0

    def test_a_revocation_whose_notice_was_lost_holds_after_the_memorys_end(self, keys, storage, clock):
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        storage.execute("UPDATE authn_api_keys SET revoked_at = 1")
        clock.advance(Memo.SECONDS)
        _refused(keys, issued.secret)

    def test_a_change_between_look_up_and_remembering_is_not_remembered_over(
        self, keys, storage, monkeypatch
    ):
        issued, other = keys.create("u-17"), keys.create("u-18")
        real = keys._look_up

        def slow(parts, digest, version):
            # Between asking the notices and remembering, other threads revoke the key and use another one.
            monkeypatch.setattr(keys, "_look_up", real)
            keys.revoke(issued.key_id)
            keys.verify(other.secret)
            storage.execute("UPDATE authn_api_keys SET revoked_at = NULL")
            answer = real(parts, digest, version)
            storage.execute("UPDATE authn_api_keys SET revoked_at = 1 WHERE key_id = ?", (issued.key_id,))
            return answer

        monkeypatch.setattr(keys, "_look_up", slow)
        keys.verify(issued.secret)
        _refused(keys, issued.secret)

    def test_it_is_bounded_and_the_oldest_leaves_first(self, clock, monkeypatch):
        monkeypatch.setattr(Memo, "MAX_ENTRIES", 3)
        memo = Memo()
        for number in range(5):
            memo.put(bytes([number]), 0, clock, Principal(str(number)), None)
        assert len(memo) == 3
        assert [memo.get(bytes([number]), 0, clock) is None for number in range(5)] == [
            True,
            True,
            False,
            False,
            False,
        ]

    def test_eight_threads_agree(self, keys):
        issued = [keys.create(f"u-{number}") for number in range(4)]
        seen, failed = [], []

        def work():
            try:
                for _ in range(10):
                    seen.extend(keys.verify(key.secret).id for key in issued)
            except Exception as err:  # noqa: BLE001
                failed.append(err)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert sorted(set(seen)) == ["u-0", "u-1", "u-2", "u-3"]
        assert len(seen) == 320


class TestUpkeep:
    def test_lists_are_by_tenant_and_principal_and_hold_no_hash(self, keys, clock):
        for tenant, name in (("acme", "a"), ("acme", "b"), ("other", "a")):
            keys.create(name, tenant=tenant, roles=["z", "a"])
            clock.advance(1)
        assert [(record.tenant, record.principal) for record in keys.list()] == [
            ("acme", "a"),
            ("acme", "b"),
            ("other", "a"),
        ]
        assert len(keys.list(tenant="acme")) == 2
        assert [record.tenant for record in keys.list(principal_id="a")] == ["acme", "other"]
        record = keys.list()[0].to_dict()
        assert set(record) == {
            "tenant",
            "key_id",
            "principal",
            "roles",
            "scopes",
            "created_at",
            "expires_at",
            "revoked_at",
            "name",
            "last_used_at",
            "replaced_by",
        }
        assert json.loads(json.dumps(record))["roles"] == ["a", "z"]

    def test_revoking_an_unknown_key_or_one_of_another_tenant_says_so(self, keys):
        issued = keys.create("u-17", tenant="acme")
        assert keys.revoke("000000000000") is False
        assert keys.revoke("\ud800") is False
        assert keys.revoke(issued.key_id, tenant="other") is False
        assert keys.verify(issued.secret).id == "u-17"
        assert keys.revoke(issued.key_id, tenant="acme") is True
        with pytest.raises(TypeError, match="are texts, not int"):
            keys.revoke(5)

    def test_export_holds_what_is_stored_about_a_person_in_one_tenant(self, keys):
        issued = keys.create("u-17", tenant="acme")
        keys.create("u-17", tenant="other")
        assert [record["key_id"] for record in keys.export("u-17", tenant="acme")] == [issued.key_id]
        assert keys.export("u-18", tenant="acme") == ()

    def test_erasure_leaves_nothing_on_disk_and_no_valid_key(self, keys, storage):
        person = "person-to-be-forgotten"
        issued = keys.create(person, tenant="acme")
        kept = keys.create("u-18", tenant="acme")
        keys.verify(issued.secret)
        assert keys.erase(person, tenant="other") == 0
        assert keys.erase(person, tenant="acme") == 1
        _refused(keys, issued.secret)
        assert len(keys._memo) == 0
        assert keys.verify(kept.secret).id == "u-18"
        for path in Path(storage.path).parent.iterdir():
            assert person.encode() not in path.read_bytes()

    def test_keys_outlive_the_process(self, keys, storage, clock):
        issued = keys.create("u-17", roles={"member"})
        storage.close()
        assert _other(storage, clock).verify(issued.secret).roles == {"member"}


class TestTrouble:
    def test_a_pepper_that_is_short_or_no_bytes_is_refused(self, storage):
        with pytest.raises(ValueError, match="at least 32 random bytes"):
            ApiKeys(storage, pepper=bytes(31))
        with pytest.raises(TypeError, match="give bytes, or a list of them, not str") as caught:
            ApiKeys(storage, pepper="secret pepper" * 5)
        assert "secret" not in str(caught.value)

    def test_another_pepper_than_that_of_the_stored_keys_is_found_at_start(self, keys, storage):
        ApiKeys(storage, pepper=bytes(32))  # nothing stored yet
        keys.create("u-17")
        with pytest.raises(Misconfigured, match=r"aisecure\.db.*another pepper.*restore the pepper"):
            ApiKeys(storage, pepper=bytes(32))

    def test_a_database_that_is_gone_lets_nobody_in(self, keys, storage):
        issued = keys.create("u-17")
        storage.execute("DROP TABLE authn_api_keys")
        with pytest.raises(Unavailable):
            keys.verify(issued.secret)

    def test_notices_that_cannot_be_read_let_nobody_in_who_was_remembered(self, keys, storage, clock):
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        storage.execute("DROP TABLE notices")
        clock.advance(1)
        with pytest.raises(Unavailable):
            keys.verify(issued.secret)

    def test_a_full_disk_issues_no_key(self, keys, storage):
        keys.create("u-17")
        storage.close()
        code = """
import resource, sys
from aisecure.authn import ApiKeys, MemoryKeyStore
from aisecure.errors import Unavailable
from aisecure.storage import Storage
keys = ApiKeys(Storage(sys.argv[1]), pepper=bytes(range(32)))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    keys.create("u-18", roles=["r" * 200 + str(n) for n in range(100)])
except Unavailable as err:
    print(err.code)
"""
        out = subprocess.run(
            [sys.executable, "-c", code, storage.path], capture_output=True, text=True, check=True
        )
        assert out.stdout == "unavailable.storage\n"
        assert [record.principal for record in keys.list()] == ["u-17"]

    def test_a_full_disk_rotates_and_revokes_nothing_and_still_lets_in(self, keys, storage):
        issued = keys.create("u-17")
        storage.close()
        code = """
import resource, sys
from aisecure.authn import ApiKeys
from aisecure.errors import Unavailable
from aisecure.storage import Storage
keys = ApiKeys(Storage(sys.argv[1]), pepper=bytes(range(32)))
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
print(keys.verify(sys.argv[2]).id)
for change in (keys.rotate, keys.revoke):
    try:
        change(sys.argv[3])
    except Unavailable as err:
        print(err.code)
print(keys.verify(sys.argv[2]).id)
"""
        out = subprocess.run(
            [sys.executable, "-c", code, storage.path, issued.secret, issued.key_id],
            capture_output=True,
            text=True,
            check=True,
        )
        assert out.stdout.split() == ["u-17", "unavailable.storage", "unavailable.storage", "u-17"]
        (record,) = keys.list()
        assert (record.revoked_at, record.replaced_by, record.last_used_at) == (None, None, None)

    def test_a_revocation_whose_notice_fails_can_be_repeated(self, storage, clock, events):
        class Deaf(LocalNotices):
            deaf = True

            def publish(self, topic):
                if self.deaf:
                    raise Unavailable
                return super().publish(topic)

        notices = Deaf()
        keys = ApiKeys(storage, pepper=PEPPER, clock=clock, notices=notices, events=events)
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        with pytest.raises(Unavailable):
            keys.revoke(issued.key_id)
        assert events.only("key.revoked").detail["key_id"] == issued.key_id
        notices.deaf = False
        assert keys.revoke(issued.key_id)
        _refused(keys, issued.secret)
        assert len([event for event in events if event.type == "key.revoked"]) == 1

    def test_a_process_that_is_killed_leaves_every_key_it_showed_and_no_half_rotation(self, keys, storage):
        code = """
import sys
from aisecure.authn import ApiKeys
from aisecure.storage import Storage
keys = ApiKeys(Storage(sys.argv[1]), pepper=bytes(range(32)))
while True:
    old = keys.create("u-17")
    print(old.secret, keys.rotate(old.key_id).secret, flush=True)
"""
        shown = []
        for lines in (1, 7, 20):
            with subprocess.Popen(
                [sys.executable, "-c", code, storage.path], stdout=subprocess.PIPE, text=True
            ) as child:
                shown += [next(child.stdout) for _ in range(lines)]
                child.kill()
                shown += [line for line in child.stdout if line.endswith("\n")]
        for secret in " ".join(shown).split():
            assert keys.verify(secret).id == "u-17"
        records = {record.key_id: record for record in keys.list()}
        assert all(record.replaced_by in {None, *records} for record in records.values())
        successors = {record.replaced_by for record in records.values()} - {None}
        # The last one of each child may stand alone; nothing else does.
        alone = [
            key_id
            for key_id, record in records.items()
            if key_id not in successors and not record.replaced_by
        ]
        assert len(alone) <= 3


class TestRotation:
    def test_both_are_accepted_until_the_overlap_ends_and_then_the_new_one(self, keys, clock):
        old = keys.create("u-17", tenant="acme", roles={"member"}, scopes={"chat"}, name="CI")
        new = keys.rotate(old.key_id, overlap_seconds=100)
        principals = [keys.verify(key.secret) for key in (old, new)]
        assert {(p.id, p.tenant, p.roles, p.scopes) for p in principals} == {
            ("u-17", "acme", frozenset({"member"}), frozenset({"chat"}))
        }
        clock.advance(99.9)
        keys.verify(old.secret)
        clock.advance(0.1)
        _refused(keys, old.secret)
        assert keys.verify(new.secret).claims["key_id"] == new.key_id

    def test_the_list_says_which_key_replaced_which_and_until_when(self, keys, clock):
        old = keys.create("u-17", name="CI")
        new = keys.rotate(old.key_id, overlap_seconds=100)
        record = keys.get(old.key_id)
        assert (record.replaced_by, record.expires_at, record.name) == (new.key_id, clock.time() + 100, "CI")
        states = [record.state(clock.time() + later) for later in (0, 99.9, 100)]
        assert states == ["replaced", "replaced", "expired"]
        assert keys.get(new.key_id).state(clock.time()) == "active"
        assert keys.get(new.key_id).replaced_by is None

    def test_it_is_recorded_once_with_both_ids(self, keys, events, clock):
        old = keys.create("u-17", tenant="acme")
        new = keys.rotate(old.key_id, overlap_seconds=100)
        event = events.only("key.rotated")
        assert dict(event.detail) == {
            "key_id": old.key_id,
            "successor": new.key_id,
            "until": clock.time() + 100,
        }
        assert (event.principal, event.tenant) == ("u-17", "acme")
        assert new.secret not in repr([one.to_dict() for one in events])

    def test_no_overlap_ends_the_old_key_here_and_elsewhere(self, keys, storage, clock):
        old = keys.create("u-17")
        elsewhere = _other(storage, clock)
        keys.verify(old.secret)
        elsewhere.verify(old.secret)
        keys.rotate(old.key_id, overlap_seconds=0)
        _refused(keys, old.secret)
        clock.advance(1.0)
        _refused(elsewhere, old.secret)

    @pytest.mark.parametrize("overlap", [1, 29, 30, 31, 1000])
    def test_a_key_that_is_remembered_elsewhere_ends_with_its_overlap(self, keys, storage, clock, overlap):
        old = keys.create("u-17")
        elsewhere = _other(storage, clock)
        elsewhere.verify(old.secret)
        keys.rotate(old.key_id, overlap_seconds=overlap)
        clock.advance(overlap - 0.5)
        assert elsewhere.verify(old.secret).id == "u-17"
        clock.advance(0.5)
        _refused(elsewhere, old.secret)

    def test_an_overlap_never_lengthens_a_key(self, keys, clock):
        old = keys.create("u-17", expires_at=clock.time() + 50)
        keys.rotate(old.key_id, overlap_seconds=10**400)
        assert keys.get(old.key_id).expires_at == clock.time() + 50

    def test_the_successor_lives_as_long_as_the_old_key_was_made_to_or_as_told(self, keys, clock):
        for expires_at, given, expected in (
            (None, None, None),
            (100, None, 100),
            (100, 7, 7),
            (None, 7, 7),
        ):
            old = keys.create("u-17", expires_at=expires_at and clock.time() + expires_at)
            clock.advance(40)
            new = keys.rotate(old.key_id, expires_at=given and clock.time() + given)
            assert new.expires_at == (expected and clock.time() + expected)
            assert keys.get(new.key_id).expires_at == new.expires_at

    def test_a_successor_can_be_rotated_in_its_turn(self, keys):
        first = keys.create("u-17")
        second = keys.rotate(first.key_id)
        third = keys.rotate(second.key_id)
        assert [record.replaced_by for record in keys.list()].count(None) == 1
        assert {keys.verify(key.secret).id for key in (first, second, third)} == {"u-17"}

    def test_only_an_active_key_of_the_tenant_is_rotated(self, keys, clock):
        revoked, ended, replaced = (
            keys.create("u-17", expires_at=clock.time() + 5 if name == "ended" else None)
            for name in ("revoked", "ended", "replaced")
        )
        keys.revoke(revoked.key_id)
        keys.rotate(replaced.key_id)
        clock.advance(5)
        for key, state in ((revoked, "revoked"), (ended, "expired"), (replaced, "replaced")):
            with pytest.raises(ValueError, match=f"{key.key_id} is {state}; only an active key"):
                keys.rotate(key.key_id)
        active = keys.create("u-17", tenant="acme")
        for key_id, tenant in (("0" * 12, None), ("", None), ("\ud800", None), (active.key_id, "other")):
            with pytest.raises(LookupError, match="no such API key"):
                keys.rotate(key_id, tenant=tenant)
        assert len(keys.list()) == 5

    @pytest.mark.parametrize("overlap", [-1, float("nan"), float("inf"), True, "1", None], ids=repr)
    def test_an_overlap_that_is_no_span_of_time_is_refused_and_changes_nothing(self, keys, overlap):
        old = keys.create("u-17")
        with pytest.raises((TypeError, ValueError), match="overlap_seconds"):
            keys.rotate(old.key_id, overlap_seconds=overlap)
        assert keys.get(old.key_id).replaced_by is None

    def test_of_several_processes_that_rotate_one_key_one_succeeds(self, keys, storage):
        old = keys.create("u-17")
        code = """
import sys
from aisecure.authn import ApiKeys, MemoryKeyStore
from aisecure.storage import Storage
keys = ApiKeys(Storage(sys.argv[1]), pepper=bytes(range(32)))
sys.stdin.readline()
try:
    print(keys.rotate(sys.argv[2]).key_id)
except ValueError:
    print("late")
"""
        others = [
            subprocess.Popen(
                [sys.executable, "-c", code, storage.path, old.key_id], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
            )
            for _ in range(2)
        ]  # fmt: skip
        for other in others:
            other.stdin.write("go\n")
            other.stdin.flush()
        answers = sorted(other.communicate(timeout=60)[0].strip() for other in others)
        assert answers.count("late") == 1
        assert keys.get(old.key_id).replaced_by in answers
        assert len(keys.list()) == 2


class TestLastUse:
    def test_it_is_never_until_the_key_was_accepted(self, keys, clock):
        issued = keys.create("u-17")
        assert keys.get(issued.key_id).last_used_at is None
        keys.verify(issued.secret)
        assert keys.get(issued.key_id).last_used_at == clock.time()

    def test_it_is_written_once_in_the_interval_and_never_for_a_remembered_key(self, storage, clock):
        notes = []

        class Noting(MemoryKeyStore):
            def note_use(self, key_id, at, *, unless_since):
                notes.append(at)
                super().note_use(key_id, at, unless_since=unless_since)

        keys = ApiKeys(Noting(), pepper=PEPPER, clock=clock, last_used_seconds=900)
        issued, start = keys.create("u-17"), clock.time()
        for _ in range(200):  # 2000 seconds
            keys.verify(issued.secret)
            clock.advance(10)
        assert notes == [start, start + 900, start + 1800]

    def test_a_refused_key_was_not_used(self, keys, storage):
        issued = keys.create("u-17")
        keys.revoke(issued.key_id)
        _refused(keys, issued.secret)
        storage.execute("UPDATE authn_api_keys SET mac = zeroblob(32), revoked_at = NULL")
        _refused(keys, issued.secret)
        assert keys.get(issued.key_id).last_used_at is None

    def test_a_note_that_fails_refuses_nobody(self, keys, storage):
        issued = keys.create("u-17")
        storage.execute(
            "CREATE TRIGGER no BEFORE UPDATE OF last_used_at ON authn_api_keys BEGIN SELECT RAISE(ABORT, 'no'); END"
        )
        assert keys.verify(issued.secret).id == "u-17"
        assert keys.get(issued.key_id).last_used_at is None

    def test_a_clock_that_goes_back_writes_nothing(self, keys, clock):
        issued = keys.create("u-17")
        keys.verify(issued.secret)
        before = clock.time()
        clock.set_time(before - 1000)
        clock.advance(Memo.SECONDS)
        keys.verify(issued.secret)
        assert keys.get(issued.key_id).last_used_at == before

    def test_an_interval_that_makes_no_sense_is_a_value_error(self, storage):
        for seconds in (-1, float("nan")):
            with pytest.raises(ValueError, match="last_used_seconds"):
                ApiKeys(storage, pepper=PEPPER, last_used_seconds=seconds)


class TestPeppers:
    def test_keys_of_an_older_pepper_are_accepted_and_new_ones_made_with_the_newest(
        self, keys, storage, clock
    ):
        old = keys.create("u-17")
        both = _with_pepper(storage, clock, [bytes(32), PEPPER])
        new = both.create("u-18")
        assert [both.verify(key.secret).id for key in (old, new)] == ["u-17", "u-18"]
        with pytest.raises(Misconfigured, match="another pepper"):
            _with_pepper(storage, clock, bytes(32))
        both.rotate(old.key_id, overlap_seconds=0)
        assert _with_pepper(storage, clock, bytes(32)).verify(new.secret).id == "u-18"

    def test_a_list_that_is_empty_or_holds_something_else_is_refused(self, storage):
        for wrong in ([], [bytes(31)], [PEPPER, b""]):
            with pytest.raises(ValueError, match="at least 32 random bytes"):
                ApiKeys(storage, pepper=wrong)
        for wrong in (["x" * 32], bytearray(32), [None]):
            with pytest.raises(TypeError, match="pepper: give bytes"):
                ApiKeys(storage, pepper=wrong)


def _with_pepper(storage, clock, pepper):
    return ApiKeys(
        storage, pepper=pepper, clock=clock, notices=StoredNotices(storage, monotonic=clock.monotonic)
    )


class TestOracle:
    """What tells an unknown key id from a wrong secret, other than the text: nothing that can be counted."""

    def test_an_unknown_id_and_a_wrong_secret_run_the_same_functions(self, keys, storage):
        known, unknown = keys.create("u-17"), keys.create("u-18")
        storage.execute("UPDATE authn_api_keys SET mac = zeroblob(32) WHERE key_id = ?", (known.key_id,))
        storage.execute("DELETE FROM authn_api_keys WHERE key_id = ?", (unknown.key_id,))
        work = {}
        for key in (known, unknown, known, unknown):  # the first round warms caches
            called = []
            sys.setprofile(
                lambda frame, event, arg, called=called: called.append((event, getattr(arg, "__name__", frame.f_code.co_qualname)))
            )  # fmt: skip
            gc.disable()  # collections call back whenever they like
            try:
                keys.check(key.secret)
            finally:
                sys.setprofile(None)
                gc.enable()
            work[key.key_id] = [step for step in called if step[0] in ("call", "c_call")]
        differing = [
            (one, other)
            for one, other in zip(work[known.key_id], work[unknown.key_id], strict=False)
            if one != other
        ]
        assert differing == []
        assert len(work[known.key_id]) == len(work[unknown.key_id]) > 20

    def test_a_key_that_is_revoked_or_has_ended_is_told_only_to_who_has_its_secret(self, keys, storage):
        issued = keys.create("u-17")
        keys.revoke(issued.key_id)
        storage.execute("UPDATE authn_api_keys SET mac = zeroblob(32)")
        assert keys.check(issued.secret).reasons[1] == f"The secret for API key {issued.key_id} is wrong."


class TestDamage:
    @pytest.mark.parametrize(
        ("column", "value"),
        [("roles", "{"), ("roles", "5"), ("roles", '"member"'), ("roles", "[1]"), ("scopes", ""), ("roles", "[" * 100_000)],
    )  # fmt: skip
    def test_a_row_that_cannot_be_read_lets_nobody_in(self, keys, storage, column, value):
        issued = keys.create("u-17")
        storage.execute(f"UPDATE authn_api_keys SET {column} = ?", (value,))
        with pytest.raises(Unavailable, match=f"API key {issued.key_id} cannot be read"):
            keys.verify(issued.secret)
