"""Key rings in files: what is kept, who may read it, what damage and time do."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from aisecure.encryption import FieldCipher, KeyFile, Keyring
from aisecure.encryption.keyfile import _check
from aisecure.errors import AISecureError, DecryptionError, Misconfigured, Unavailable
from aisecure.testing import FrozenClock, capture_events

CONTEXT = ("patients", "notes", 42)
VERSION_1 = Path(__file__).parents[2] / "vectors" / "key_file_v1.json"


class Locker:
    """A key provider that can be switched off, and counts; its lock is real AES-GCM."""

    def __init__(self, name="locker"):
        self.key_id = name
        self.asked = 0
        self.failure = None
        self._cipher = FieldCipher(Keyring.generate())

    def wrap(self, key, *, associated_data):
        self.asked += 1
        if self.failure:
            raise self.failure
        return self._cipher.encrypt_bytes(key, context=(associated_data.hex(),))

    def unwrap(self, wrapped, *, associated_data):
        self.asked += 1
        if self.failure:
            raise self.failure
        return self._cipher.decrypt_bytes(wrapped, context=(associated_data.hex(),))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys" / "fields.json"


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def file(path, clock, events):
    file = KeyFile(path, clock=clock, events=events)
    file.open()
    return file


@pytest.fixture
def locker():
    return Locker()


@pytest.fixture
def wrapped(path, clock, events, locker):
    file = KeyFile(path, provider=locker, clock=clock, events=events)
    file.open()
    return file


def _rewrite(path, **changes):
    body = json.loads(path.read_text()) | changes
    body["check"] = _check(body)
    path.write_text(json.dumps(body))


class TestFiles:
    def test_it_is_created_once_and_read_by_all(self, path, file, events, clock):
        again = KeyFile(str(path))
        assert again.open().keys == again.ring().keys == file.ring().keys
        event = events.only("keyring.created")
        assert (dict(event.detail), event.time) == ({"key_id": file.ring().primary}, clock.time())
        assert file.ring().keys[0].created == int(clock.time())

    def test_file_and_folder_are_for_the_owner_alone(self, file):
        assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
        assert stat.S_IMODE(file.path.parent.stat().st_mode) == 0o700

    @pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
    def test_a_file_that_others_may_use_is_refused(self, file, mode):
        file.path.chmod(mode)
        with pytest.raises(Misconfigured, match=rf"fields\.json: .*mode {mode:04o}.*chmod 600"):
            KeyFile(file.path).open()

    def test_open_never_replaces_a_file_that_it_cannot_read(self, file):
        file.path.write_bytes(b"")
        with pytest.raises(Misconfigured):
            KeyFile(file.path).open()
        assert file.path.read_bytes() == b""

    def test_a_change_of_what_is_not_there_is_refused(self, path):
        file = KeyFile(path)
        for change in (file.rotate, lambda: file.retire("00000000"), lambda: file.rewrap(None)):
            with pytest.raises(Misconfigured, match="no key ring to change") as caught:
                change()
            assert caught.value.code == "config.missing"
        with pytest.raises(Misconfigured, match="no such file"):
            file.ring()
        assert not path.exists()

    def test_every_change_is_kept_and_recorded(self, path, file, events):
        first = file.ring().primary
        second = file.rotate().primary
        file.retire(first)
        assert KeyFile(path).ring().get(bytes.fromhex(first)) is None
        file.reinstate(first)
        assert KeyFile(path).ring().get(bytes.fromhex(first)) is not None
        file.retire(first)
        file.destroy(first)
        kept = KeyFile(path).ring()
        assert (kept.key_ids, kept.destroyed, kept.primary) == ((second,), (first,), second)
        told = [(event.type.removeprefix("keyring."), event.detail["key_id"]) for event in events]
        assert told == [("created", first), ("rotated", second), ("retired", first), ("reinstated", first),
                        ("retired", first), ("destroyed", first)]  # fmt: skip

    def test_a_change_that_is_refused_leaves_the_file(self, file, events):
        before = file.path.read_bytes()
        for change in (file.retire, file.destroy, file.reinstate):
            with pytest.raises(ValueError, match="key"):
                change(file.ring().primary if change != file.reinstate else "ffffffff")
        assert file.path.read_bytes() == before
        assert [event.type for event in events] == ["keyring.created"]

    def test_a_ring_of_a_thousand_keys_keeps_them_all(self, path):
        file = KeyFile(path)
        ring = file.open()
        for _ in range(999):
            ring = ring.rotate()
        file._change(lambda _: ring)
        assert KeyFile(path).ring().key_ids == ring.key_ids
        assert len(ring.key_ids) == 1000

    def test_version_1_is_read_and_written_as_version_2(self, path):
        path.parent.mkdir(mode=0o700)
        path.write_bytes(VERSION_1.read_bytes())
        path.chmod(0o600)
        file = KeyFile(path)
        cipher = FieldCipher(file)
        old = json.loads(VERSION_1.read_text())
        token = "AQABAgMAAQIDBAUGBwgJCgssbLlsq8Wjdf428vkFChtUUyxKnyZe4258ASsF"
        assert cipher.decrypt(token, context=CONTEXT) == "known answer"
        assert file.ring().primary == old["primary"]
        file.rotate()
        assert json.loads(path.read_text())["version"] == 2
        assert cipher.decrypt(token, context=CONTEXT) == "known answer"

    @pytest.mark.parametrize(
        "settings", [{"cache_seconds": 0}, {"poll_seconds": -1}, {"cache_seconds": float("nan")}]
    )
    def test_periods_are_above_zero(self, path, settings):
        with pytest.raises(ValueError, match="above 0"):
            KeyFile(path, **settings)

    def test_a_provider_has_the_members_of_one(self, path):
        with pytest.raises(TypeError, match="KeyProvider, not str"):
            KeyFile(path, provider="aws")


class TestProviders:
    def test_what_is_stored_is_useless_without_the_provider(self, wrapped, locker):
        text = wrapped.path.read_text()
        for key in wrapped.ring().keys:
            assert base64.b64encode(key.secret).decode() not in text
            assert key.secret.hex() not in text
        assert FieldCipher(wrapped).decrypt(FieldCipher(wrapped).encrypt("x")) == "x"
        for provider, said in (
            (None, "'locker'"),
            (Locker("other"), "wrapped by 'locker'"),
            (Locker(), "does not open"),
        ):
            with pytest.raises(Misconfigured, match=said):
                KeyFile(wrapped.path, provider=provider).ring()

    def test_one_question_opens_a_ring_of_any_size(self, wrapped, locker):
        for _ in range(20):
            wrapped.rotate()
        locker.asked = 0
        assert len(KeyFile(wrapped.path, provider=locker).ring().keys) == 21
        assert locker.asked == 1

    def test_any_changed_byte_of_a_wrapped_ring_is_found(self, wrapped, locker):
        data = wrapped.path.read_bytes()
        for index, byte in enumerate(data):
            if chr(byte).isspace():
                continue
            wrapped.path.write_bytes(data[:index] + bytes([byte ^ 1]) + data[index + 1 :])
            with pytest.raises(Misconfigured):
                KeyFile(wrapped.path, provider=locker).ring()

    def test_who_can_only_write_the_file_cannot_bring_in_a_key(self, wrapped, locker, tmp_path):
        plain = KeyFile(tmp_path / "mine.json")
        plain.open()
        wrapped.path.write_bytes(plain.path.read_bytes())
        with pytest.raises(Misconfigured, match="is not wrapped, and a provider is configured"):
            KeyFile(wrapped.path, provider=locker).ring()

    def test_the_provider_is_asked_again_when_the_cache_ends_and_not_before(self, wrapped, locker, clock):
        ring, locker.asked = wrapped.ring(), 0
        clock.advance(299)
        assert wrapped.ring() is ring
        assert locker.asked == 0
        clock.advance(2)
        assert wrapped.ring() is ring
        assert locker.asked == 1

    def test_a_clock_that_is_set_back_neither_lengthens_nor_ends_the_cache(self, wrapped, locker, clock):
        wrapped.ring()
        locker.asked = 0
        clock.set_time(clock.time() - 1_000_000)
        wrapped.ring()
        assert locker.asked == 0
        clock.advance(301)
        wrapped.ring()
        assert locker.asked == 1

    def test_a_provider_that_is_down_stops_ciphers_when_the_cache_ends_and_says_so_once(
        self, path, locker, clock, events
    ):
        file = KeyFile(path, provider=locker, clock=clock, events=events, poll_seconds=1e-9)
        file.open()
        cipher = FieldCipher(file)
        token = cipher.encrypt("x", context=CONTEXT)
        locker.failure = Unavailable("the locker is down", code="unavailable.key_provider", retry_after=5)
        assert cipher.decrypt(token, context=CONTEXT) == "x"
        clock.advance(301)
        for _ in range(3):
            for use in (lambda: cipher.decrypt(token, context=CONTEXT), lambda: cipher.encrypt("y")):
                clock.advance(2)
                with pytest.raises(Unavailable, match="locker is down") as caught:
                    use()
                assert (caught.value.code, caught.value.retry_after) == ("unavailable.key_provider", 5)
        assert events.only("keyring.unavailable").code == "unavailable.key_provider"
        locker.failure = None
        clock.advance(2)
        assert cipher.decrypt(token, context=CONTEXT) == "x"

    def test_a_provider_that_failed_is_not_asked_at_every_use(self, path, locker, clock):
        file = KeyFile(path, provider=locker, clock=clock)
        file.open()
        locker.failure, locker.asked = Unavailable("down"), 0
        clock.advance(301)
        for _ in range(50):
            with pytest.raises(Unavailable):
                file.ring()
        assert locker.asked == 1
        clock.advance(1.1)
        with pytest.raises(Unavailable):
            file.ring()
        assert locker.asked == 2

    def test_a_rotation_that_the_provider_cannot_wrap_leaves_the_old_ring(self, wrapped, locker, events):
        before = wrapped.path.read_bytes()
        locker.failure = Unavailable("down")
        with pytest.raises(Unavailable):
            wrapped.rotate()
        assert wrapped.path.read_bytes() == before
        assert events.only("keyring.unavailable")
        locker.failure = None
        assert len(wrapped.rotate().keys) == 2

    def test_a_ring_moves_to_another_provider_and_back_to_none(self, file, locker, events):
        cipher = FieldCipher(file)
        token, ring = cipher.encrypt("x"), file.ring()
        assert file.rewrap(locker).keys == ring.keys
        assert "wrapped" in file.path.read_text()
        assert file.rewrap(Locker("second")).keys == ring.keys
        assert cipher.decrypt(token) == "x"
        with pytest.raises(Misconfigured, match="wrapped by 'second'"):
            KeyFile(file.path, provider=locker).ring()
        file.rewrap(None)
        assert KeyFile(file.path).ring().keys == ring.keys
        assert len([event for event in events if event.type == "keyring.rewrapped"]) == 3

    def test_a_move_that_fails_leaves_the_provider_as_it_was(self, wrapped):
        broken = Locker("broken")
        broken.failure = Unavailable("down")
        with pytest.raises(Unavailable):
            wrapped.rewrap(broken)
        assert len(wrapped.rotate().keys) == 2

    def test_nothing_shown_or_raised_holds_a_key(self, wrapped, locker):
        secret = wrapped.ring().primary_key.secret
        body = json.loads(wrapped.path.read_text())
        seen = [repr(wrapped)]
        for change in (
            {"sealed": body["wrapped"]},
            {"wrapped": body["sealed"]},
            {"sealed": 5},
            {"wrapped": None},
        ):
            wrapped.path.write_text(json.dumps(body | change))
            with pytest.raises(AISecureError) as caught:
                KeyFile(wrapped.path, provider=locker).ring()
            err = caught.value
            assert err.__cause__ is err.__context__ is None
            seen.append(repr(vars(err)))
        assert not any(
            form in text for text in seen for form in (repr(secret), secret.hex(), body["wrapped"])
        )


class TestDamage:
    @pytest.mark.parametrize("size", [0, 1, 40, 200, -3])
    def test_a_file_cut_short_is_refused_with_the_remedy(self, file, size):
        file.path.write_bytes(file.path.read_bytes()[:size])
        with pytest.raises(Misconfigured, match=r"fields\.json: .*restore the file from a backup"):
            KeyFile(file.path).ring()

    def test_any_changed_byte_is_found(self, file):
        data = file.path.read_bytes()
        for index, byte in enumerate(data):
            if chr(byte).isspace():
                continue  # between the entries
            file.path.write_bytes(data[:index] + bytes([byte ^ 1]) + data[index + 1 :])
            with pytest.raises(Misconfigured, match=r"fields\.json"):
                KeyFile(file.path).ring()

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"format": "jwks"}, "format"),
            ({"version": 3}, "version: is 3, this library knows 2; upgrade"),
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
            ({"destroyed": 7}, "keys"),
            ({"destroyed": ["xyz"]}, "keys"),
            ({"provider": 7}, "provider"),
            ({"provider": "x" * 100_000}, "provider"),
        ],
    )  # fmt: skip
    def test_a_file_of_another_form_names_the_file_and_the_entry(self, file, changes, key):
        _rewrite(file.path, **changes)
        with pytest.raises(Misconfigured, match=rf"fields\.json: {key}") as caught:
            KeyFile(file.path).ring()
        assert len(str(caught.value)) < 1000

    @pytest.mark.parametrize("check", ["é", None, 5, "", "\ud800"])
    def test_a_check_that_is_none_fails(self, file, check):
        file.path.write_text(json.dumps(json.loads(file.path.read_text()) | {"check": check}))
        with pytest.raises(Misconfigured, match="check: does not match"):
            KeyFile(file.path).ring()

    @pytest.mark.parametrize(
        "junk",
        [b"[]", b"null", b'"\\ud800"', b"\xff\xfe", b"\0" * 100, b"[" * 100_000, b"9" * 5000, b'{"check": "\xc3\xa9"}'],
        ids=["list", "null", "surrogate", "not UTF-8", "NUL", "deep", "long number", "other object"],
    )  # fmt: skip
    def test_junk_is_refused(self, file, junk):
        file.path.write_bytes(junk)
        with pytest.raises(Misconfigured, match=r"fields\.json"):
            KeyFile(file.path).ring()

    def test_no_error_quotes_the_file(self, file):
        secret = json.loads(file.path.read_text())["keys"][0]["key"]
        for damage in (
            file.path.read_bytes()[:-3],
            file.path.read_bytes().replace(b'"created"', b'"creation"'),
        ):
            file.path.write_bytes(damage)
            with pytest.raises(Misconfigured) as caught:
                KeyFile(file.path).ring()
            err = caught.value
            while err is not None:
                assert secret not in repr(vars(err)) + str(err)
                err = err.__cause__ or err.__context__


def _run(code, *args):
    return subprocess.Popen([sys.executable, "-c", code, *map(str, args)], stdout=subprocess.PIPE, text=True)


class TestProcesses:
    def test_processes_that_create_a_ring_at_once_end_with_one(self, path):
        code = (
            "import sys; from aisecure.encryption import KeyFile; print(KeyFile(sys.argv[1]).open().primary)"
        )
        said = {child.communicate(timeout=60)[0].strip() for child in [_run(code, path) for _ in range(4)]}
        assert said == {KeyFile(path).ring().primary}

    def test_processes_that_rotate_at_once_lose_no_key(self, file):
        code = "import sys; from aisecure.encryption import KeyFile; print(KeyFile(sys.argv[1]).rotate().primary)"
        said = {
            child.communicate(timeout=60)[0].strip() for child in [_run(code, file.path) for _ in range(4)]
        }
        assert said < {*KeyFile(file.path).ring().key_ids}
        assert len(KeyFile(file.path).ring().key_ids) == 5

    def test_threads_that_change_and_use_one_file_lose_nothing(self, file):
        cipher, failed = FieldCipher(file), []

        def work():
            try:
                for _ in range(5):
                    token = cipher.encrypt("x", context=CONTEXT)
                    file.rotate()
                    assert cipher.decrypt(token, context=CONTEXT) == "x"
            except BaseException as err:  # noqa: BLE001  (told to the test)
                failed.append(err)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not failed
        assert len(KeyFile(file.path).ring().key_ids) == 41

    @pytest.mark.parametrize("step", ["open", "write", "fsync", "rename", "fsync of the folder"])
    def test_a_process_killed_at_any_step_of_a_rotation_leaves_the_old_ring_or_the_new(self, file, step):
        # The child kills itself before the step; what comes after it never runs.
        code = f"""
import os, pathlib, signal, sys
from aisecure import storage
from aisecure.encryption import KeyFile
step, seen = {step!r}, []
def die(): os.kill(os.getpid(), signal.SIGKILL)
real_fsync, real_replace, real_open = os.fsync, pathlib.Path.replace, os.open
def fsync(fd):
    seen.append(1)
    if step == "fsync" or (step == "fsync of the folder" and len(seen) == 2): die()
    return real_fsync(fd)
def replace(self, target):
    if step == "rename": die()
    return real_replace(self, target)
def open_(path, flags, *more, **kw):
    fd = real_open(path, flags, *more, **kw)
    if flags & os.O_EXCL:
        if step == "open": die()
        if step == "write": os.write(fd, b"half"); die()
    return fd
os.fsync, pathlib.Path.replace, os.open = fsync, replace, open_
KeyFile(sys.argv[1]).rotate()
"""
        cipher = FieldCipher(file)
        token, before = cipher.encrypt("x", context=CONTEXT), file.ring().key_ids
        child = _run(code, file.path)
        child.communicate(timeout=60)
        assert child.returncode == -signal.SIGKILL
        after = KeyFile(file.path).ring()
        assert after.key_ids[: len(before)] == before
        assert len(after.key_ids) == (2 if step == "fsync of the folder" else 1)
        assert FieldCipher(after).decrypt(token, context=CONTEXT) == "x"
        KeyFile(file.path).rotate()  # and nothing that was left over stands in the way
        assert sorted(entry.name for entry in file.path.parent.iterdir()) == ["fields.json"]

    def test_a_full_disk_leaves_the_old_ring(self, file):
        code = """
import resource, signal, sys
from aisecure.encryption import KeyFile
from aisecure.errors import Unavailable
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
try: KeyFile(sys.argv[1]).rotate()
except Unavailable as err: print(err.code)
"""
        before = file.path.read_bytes()
        assert _run(code, file.path).communicate(timeout=60)[0].strip() == "unavailable.storage"
        assert file.path.read_bytes() == before

    def test_a_child_forked_while_another_thread_reads_is_not_stuck(self, file):
        cipher = FieldCipher(file)
        token = cipher.encrypt("x", context=CONTEXT)
        file._lock.acquire()
        cipher._keys._lock.acquire()  # as a thread in the middle of its work holds them
        child = os.fork()
        if not child:
            try:
                signal.alarm(20)
                file._until = 0.0
                cipher._keys.expire()
                os._exit(0 if cipher.decrypt(token, context=CONTEXT) == "x" and file.ring() else 1)
            finally:
                os._exit(2)
        file._lock.release()
        cipher._keys._lock.release()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_a_destroyed_key_opens_nothing_in_any_object(self, file):
        one, two = FieldCipher(KeyFile(file.path, poll_seconds=1e-9)), FieldCipher(file)
        token = one.encrypt("x", context=CONTEXT)
        file.rotate()
        file.retire(file.ring().key_ids[0])
        file.destroy(file.ring().key_ids[0])
        for cipher in (one, two):
            with pytest.raises(DecryptionError):
                cipher.decrypt(token, context=CONTEXT)
