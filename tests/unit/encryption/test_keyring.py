"""Key rings and their files."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import subprocess
import sys

import pytest

from aisecure.encryption import FieldCipher, Keyring
from aisecure.encryption.keyring import Key, _check, _parse
from aisecure.errors import Misconfigured
from aisecure.testing import FrozenClock

CONTEXT = ("patients", "notes", 42)


@pytest.fixture
def ring():
    return Keyring.generate()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "fields.json"


@pytest.fixture
def saved(ring, path):
    ring.save(path)
    return path


def _rewrite(path, *, check=True, **changes):
    body = json.loads(path.read_text()) | changes
    if check:
        body["check"] = _check(body)
    path.write_text(json.dumps(body))


class TestRings:
    def test_generated_keys_are_random_and_dated(self):
        clock = FrozenClock()
        one, two = Keyring.generate(clock=clock).keys[0], Keyring.generate(clock=clock).keys[0]
        assert one.id != two.id
        assert one.secret != two.secret
        assert (len(one.id), len(one.secret), one.created) == (4, 32, int(clock.time()))

    def test_rotation_adds_a_primary_and_keeps_the_old_keys_and_the_old_ring(self, ring):
        newer = ring.rotate()
        assert newer.key_ids == (ring.primary, newer.primary)
        assert ring.key_ids == (ring.primary,)
        assert newer.primary != ring.primary
        token = FieldCipher(ring).encrypt("kept", context=CONTEXT)
        assert FieldCipher(newer).decrypt(token, context=CONTEXT) == "kept"

    def test_an_id_that_is_taken_is_drawn_again(self):
        ids = [b"same", b"same", b"othe"]
        ring = Keyring.generate(random=lambda size: ids.pop(0) if size == 4 else os.urandom(size))
        newer = ring.rotate(random=lambda size: ids.pop(0) if size == 4 else os.urandom(size))
        assert newer.key_ids == (b"same".hex(), b"othe".hex())

    def test_no_print_shows_a_key(self, ring):
        key = ring.keys[0]
        shown = f"{ring} {ring!r} {key} {key!r} {FieldCipher(ring)!r} {FieldCipher(ring).bind('a')!r}"
        assert ring.primary in shown
        assert repr(key.secret) not in shown
        assert key.secret.hex() not in shown

    def test_it_is_immutable(self, ring):
        with pytest.raises(AttributeError, match="immutable"):
            ring._primary = b"othe"
        with pytest.raises(AttributeError, match="immutable"):
            del ring._keys

    @pytest.mark.parametrize("take", [pickle.dumps, copy.copy, copy.deepcopy])
    def test_keys_do_not_leave_by_pickle(self, ring, take):
        for holder in (ring, FieldCipher(ring)):
            with pytest.raises(TypeError, match="not pickled"):
                take(holder)

    def test_keys_with_one_id_or_a_primary_that_is_absent_are_refused(self):
        key = Key(b"0123", bytes(32), 0)
        for keys, primary in (((key, key), b"0123"), ((key,), b"4567"), ((), b"0123")):
            with pytest.raises(ValueError, match="one of which is the primary"):
                Keyring(keys, primary)


class TestFiles:
    def test_what_is_saved_is_loaded(self, ring, path):
        newer = ring.rotate()
        newer.save(path)
        assert Keyring.load(str(path)).keys == newer.keys
        assert Keyring.load(path).primary == newer.primary

    def test_file_and_folder_are_for_the_owner_alone(self, saved):
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600
        assert stat.S_IMODE(saved.parent.stat().st_mode) == 0o700

    def test_a_file_that_others_may_read_is_refused(self, saved):
        saved.chmod(0o640)
        with pytest.raises(Misconfigured, match=r"fields\.json: .*mode 0640.*chmod 600"):
            Keyring.load(saved)

    def test_open_creates_once(self, path):
        ring, created = Keyring.open(path)
        again, created_again = Keyring.open(path)
        assert (created, created_again) == (True, False)
        assert again.keys == ring.keys

    def test_open_never_replaces_a_file_that_it_cannot_read(self, saved):
        saved.write_bytes(b"")
        with pytest.raises(Misconfigured):
            Keyring.open(saved)
        assert saved.read_bytes() == b""

    def test_saving_may_not_lose_a_key_that_is_in_the_file(self, ring, saved):
        one, two = ring.rotate(), ring.rotate()
        one.save(saved)
        with pytest.raises(Misconfigured, match=f"key {one.primary} is in the file") as caught:
            two.save(saved)
        assert caught.value.code == "config.keys_lost"
        assert Keyring.load(saved).primary == one.primary
        with pytest.raises(Misconfigured, match="is in the file"):
            Keyring.generate().save(saved)

    def test_rotating_a_file_that_is_absent_is_refused(self, path):
        with pytest.raises(Misconfigured, match="nothing to rotate"):
            Keyring.rotate_file(path)

    def test_a_missing_file_names_itself(self, path):
        with pytest.raises(Misconfigured, match=r"fields\.json: no such file"):
            Keyring.load(path)


class TestDamage:
    @pytest.mark.parametrize("size", [0, 1, 40, 200, -3])
    def test_a_file_cut_short_is_refused_with_the_remedy(self, saved, size):
        saved.write_bytes(saved.read_bytes()[:size])
        with pytest.raises(Misconfigured, match=r"fields\.json: .*restore the file from a backup"):
            Keyring.load(saved)

    def test_any_changed_byte_is_found(self, ring, saved):
        data = saved.read_bytes()
        for index in range(len(data)):
            changed = data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]
            if chr(data[index]).isspace():
                continue  # between the entries
            with pytest.raises(Misconfigured, match="ring: "):
                _parse(changed, "ring")

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"format": "jwks"}, "format"),
            ({"version": 2}, "version: is 2, this library knows 1; upgrade"),
            ({"version": "1"}, "version"),
            ({"version": True}, "version"),
            ({"version": 0}, "version"),
            ({"keys": []}, "keys"),
            ({"keys": {}}, "keys"),
            ({"keys": None}, "keys"),
            ({"keys": [1]}, "keys"),
            ({"keys": [{"id": "00010203", "algorithm": "AES-128-GCM", "created": 0, "key": "A" * 43 + "="}]}, "keys"),
            ({"keys": [{"id": "00010203", "algorithm": "AES-256-GCM", "created": 0, "key": "A" * 24}]}, "keys"),
            ({"keys": [{"id": "00010203", "algorithm": "AES-256-GCM", "created": 0.5, "key": "A" * 43 + "="}]}, "keys"),
            ({"keys": [{"id": 5, "algorithm": "AES-256-GCM", "created": 0, "key": "A" * 43 + "="}]}, "keys"),
            ({"primary": "ffffffff"}, "keys"),
            ({"primary": 7}, "keys"),
        ],
    )  # fmt: skip
    def test_a_file_of_another_form_names_the_file_and_the_entry(self, saved, changes, key):
        _rewrite(saved, **changes)
        with pytest.raises(Misconfigured, match=rf"fields\.json: {key}"):
            Keyring.load(saved)

    def test_an_edited_file_fails_its_check(self, ring, saved):
        _rewrite(saved, check=False, primary="00000000")
        with pytest.raises(Misconfigured, match="check: does not match"):
            Keyring.load(saved)

    @pytest.mark.parametrize("check", ["é", None, 5, ""])
    def test_a_check_that_is_none_fails(self, saved, check):
        body = json.loads(saved.read_text())
        saved.write_text(json.dumps(body | {"check": check}))
        with pytest.raises(Misconfigured, match="check: does not match"):
            Keyring.load(saved)

    @pytest.mark.parametrize(
        "junk",
        [b"[]", b"null", b'"\\ud800"', b"\xff\xfe", b"\0" * 100, b"[" * 100_000, b"9" * 5000, b'{"check": "\xc3\xa9"}'],
        ids=["list", "null", "surrogate", "not UTF-8", "NUL", "deep", "long number", "other object"],
    )  # fmt: skip
    def test_junk_is_refused(self, saved, junk):
        saved.write_bytes(junk)
        with pytest.raises(Misconfigured, match=r"fields\.json"):
            Keyring.load(saved)

    def test_no_error_quotes_the_file(self, ring, saved):
        secret = json.loads(saved.read_text())["keys"][0]["key"]
        for damage in (saved.read_bytes()[:-3], saved.read_bytes().replace(b'"created"', b'"creation"')):
            saved.write_bytes(damage)
            with pytest.raises(Misconfigured) as caught:
                Keyring.load(saved)
            err = caught.value
            while err is not None:
                assert secret not in repr(vars(err)) + str(err)
                err = err.__cause__ or err.__context__


def _run(code, *args):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True)


class TestProcesses:
    def test_processes_that_create_a_ring_at_once_end_with_one(self, path):
        code = "import sys; from aisecure.encryption import Keyring; r, c = Keyring.open(sys.argv[1]); print(r.primary, c)"
        said = [child.communicate(timeout=60)[0].split() for child in [_run(code, path) for _ in range(3)]]
        assert {primary for primary, _ in said} == {Keyring.load(path).primary}
        assert sorted(created for _, created in said) == ["False", "False", "True"]

    def test_processes_that_rotate_at_once_lose_no_key(self, saved):
        code = "import sys; from aisecure.encryption import Keyring; print(Keyring.rotate_file(sys.argv[1]).primary)"
        said = {child.communicate(timeout=60)[0].strip() for child in [_run(code, saved) for _ in range(3)]}
        assert said < {*Keyring.load(saved).key_ids}
        assert len(Keyring.load(saved).key_ids) == 4
