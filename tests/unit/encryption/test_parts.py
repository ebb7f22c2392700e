"""From settings to an open cipher."""

from __future__ import annotations

import importlib

import pytest
from pydantic import ValidationError

from aisecure import encryption
from aisecure.encryption import KeyFile, Settings, build, key_file, open_cipher
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
    assert KeyFile(ports.data_dir / "keys" / "fields.json").ring().keys[0].created == int(clock.time())


def test_a_relative_key_file_lies_beside_the_configuration(ports):
    open_cipher(Settings(key_file="secrets/ring.json"), ports)
    assert (ports.base_dir / "secrets" / "ring.json").exists()


def test_a_rotation_is_seen_by_the_open_cipher_and_recorded(ports, events):
    cipher = open_cipher(Settings(), ports)
    before = cipher.keyring.primary
    token = cipher.encrypt("x", context=("t",))
    ring = cipher.source.rotate()
    assert cipher.keyring.primary == ring.primary != before
    assert cipher.decrypt(token, context=("t",)) == "x"
    assert dict(events.only("keyring.rotated").detail) == {"key_id": ring.primary}


def test_the_key_file_is_not_read_before_it_is_used(ports):
    file = key_file(Settings(key_file="absent.json"), ports)
    with pytest.raises(Misconfigured, match=r"absent\.json: no such file"):
        file.rotate()


def test_a_damaged_ring_is_misconfigured_and_stays_as_it_is(ports):
    open_cipher(Settings(), ports)
    path = ports.data_dir / "keys" / "fields.json"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(Misconfigured, match=r"fields\.json"):
        open_cipher(Settings(), ports)
    assert len(path.read_bytes()) == 50


def test_there_are_no_guards(ports):
    assert build(Settings(), ports) == ()


@pytest.mark.parametrize(
    "wrong", [{"cache_seconds": 0}, {"cache_seconds": 90_000}, {"keyfile": "x"}, {"key_file": 5}]
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
