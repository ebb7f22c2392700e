"""From settings to an open cipher."""

from __future__ import annotations

import importlib

import pytest
from pydantic import ValidationError

from aisecure import encryption
from aisecure.encryption import Keyring, Settings, build, open_cipher, rotate_keyring
from aisecure.errors import Misconfigured
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, capture_events


@pytest.fixture
def clock():
    return FrozenClock()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def ports(tmp_path, clock, events):
    return Ports(tmp_path / "data", tmp_path, lambda: Storage(":memory:"), LocalNotices(), clock, events)


def test_the_first_opening_creates_the_ring_and_says_so_once(ports, events, clock):
    one, two = open_cipher(Settings(), ports), open_cipher(Settings(), ports)
    assert two.decrypt(one.encrypt("x", context=("t",)), context=("t",)) == "x"
    event = events.only("keyring.created")
    assert (dict(event.detail), event.time) == ({"key_id": one.keyring.primary}, clock.time())
    assert Keyring.load(ports.data_dir / "keys" / "fields.json").keys[0].created == int(clock.time())


def test_a_relative_key_file_lies_beside_the_configuration(ports):
    open_cipher(Settings(key_file="secrets/ring.json"), ports)
    assert (ports.base_dir / "secrets" / "ring.json").exists()


def test_rotation_keeps_old_tokens_readable_and_is_recorded(ports, events):
    before = open_cipher(Settings(), ports)
    token = before.encrypt("x", context=("t",))
    ring = rotate_keyring(Settings(), ports)
    after = open_cipher(Settings(), ports)
    assert after.keyring.primary == ring.primary != before.keyring.primary
    assert after.decrypt(token, context=("t",)) == "x"
    assert dict(events.only("keyring.rotated").detail) == {"key_id": ring.primary}


def test_rotating_before_there_is_a_ring_is_misconfigured(ports, events):
    with pytest.raises(Misconfigured, match="nothing to rotate"):
        rotate_keyring(Settings(), ports)
    assert len(events) == 0


def test_a_damaged_ring_is_misconfigured_and_stays_as_it_is(ports):
    open_cipher(Settings(), ports)
    path = ports.data_dir / "keys" / "fields.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(Misconfigured, match=r"fields\.json"):
        open_cipher(Settings(), ports)
    assert len(path.read_bytes()) == 50


def test_the_bound_of_the_settings_reaches_the_cipher(ports):
    cipher = open_cipher(Settings(max_messages=1), ports)
    cipher.encrypt("x")
    with pytest.raises(Misconfigured, match="rotate"):
        cipher.encrypt("x")


def test_there_are_no_guards(ports):
    assert build(Settings(), ports) == ()


@pytest.mark.parametrize(
    "wrong", [{"max_messages": 0}, {"max_messages": 2**32 + 1}, {"keyfile": "x"}, {"key_file": 5}]
)
def test_wrong_settings_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings.model_validate(wrong)


@pytest.mark.parametrize("name", encryption.self_tests())
def test_self_test(name):
    encryption.self_tests()[name]()


def test_self_tests_notice_a_wrong_answer(monkeypatch):
    module = importlib.import_module("aisecure.encryption._self_tests")
    monkeypatch.setattr(module, "_CONTEXT", ("patients", "notes", 43))
    with pytest.raises(Exception):  # noqa: B017  (any error is a failed self-test)
        encryption.self_tests()["encryption.fields"]()


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Fernet'"):
        encryption.Fernet  # noqa: B018
