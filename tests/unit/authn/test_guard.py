"""The guard, and its making from the settings."""

from __future__ import annotations

import stat
import subprocess
import sys

import pytest
from pydantic import ValidationError

from aisecure import Principal, Shield, authn
from aisecure.authn import ApiKeys, AuthenticationGuard, Settings, build
from aisecure.call import Call, Credential
from aisecure.errors import AuthenticationError, Misconfigured, Unavailable
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.storage import Storage
from aisecure.testing import FrozenClock, capture_events


@pytest.fixture
def keys():
    storage = Storage(":memory:")
    yield ApiKeys(storage, pepper=bytes(32), notices=LocalNotices())
    storage.close()


@pytest.fixture
def events():
    with capture_events() as events:
        yield events


@pytest.fixture
def ports(tmp_path, events):
    storage = Storage(tmp_path / "data" / "aisecure.db")
    yield Ports(tmp_path / "data", tmp_path, lambda: storage, LocalNotices(), FrozenClock(), events)
    storage.close()


def _call(credential=None, principal=None):
    return Call(principal or Principal.anonymous(), "invoke", "model:echo", credential=credential)


class TestGuard:
    @pytest.mark.parametrize("scheme", ["bearer", "api_key"])
    def test_a_key_becomes_the_principal_and_the_credential_is_consumed(self, keys, scheme):
        secret = keys.create("u-17", roles={"member"}).secret
        call = Shield(AuthenticationGuard(keys)).authenticate(_call(Credential(scheme, secret)))
        assert (call.principal.id, call.principal.method, call.credential) == ("u-17", "api_key", None)

    def test_nobody_without_a_credential_is_refused(self, keys):
        with pytest.raises(AuthenticationError) as caught:
            Shield(AuthenticationGuard(keys)).authenticate(_call())
        assert (caught.value.code, caught.value.status) == ("authn.missing", 401)

    def test_an_established_principal_needs_no_credential(self, keys):
        ana = Principal("ana")
        assert Shield(AuthenticationGuard(keys)).authenticate(_call(principal=ana)).principal is ana

    @pytest.mark.parametrize(
        "credential",
        [Credential("bearer", "junk"), Credential("api_key", ""), Credential("basic", "dTpw"), Credential("mtls", "CN=x"),
         Credential("bearer", "\ud800\0")],
        ids=lambda credential: f"{credential.scheme}-{credential.value!a}",
    )  # fmt: skip
    @pytest.mark.parametrize("principal", [Principal.anonymous(), Principal("ana")], ids=["nobody", "ana"])
    def test_a_credential_that_is_not_accepted_is_refused_even_for_an_established_principal(
        self, keys, credential, principal
    ):
        with pytest.raises(AuthenticationError) as caught:
            Shield(AuthenticationGuard(keys)).authenticate(_call(credential, principal))
        assert caught.value.code == "authn.invalid"

    def test_missing_and_wrong_read_the_same(self, keys):
        errors = []
        for credential in (None, Credential("bearer", "junk"), Credential("basic", "x")):
            with pytest.raises(AuthenticationError) as caught:
                Shield(AuthenticationGuard(keys)).authenticate(_call(credential))
            errors.append(str(caught.value))
        assert len(set(errors)) == 1

    def test_a_refusal_at_the_door_is_one_event_that_names_the_reason_and_not_the_key(self, keys, events):
        issued = keys.create("u-17")
        keys.revoke(issued.key_id)
        with pytest.raises(AuthenticationError):
            Shield(AuthenticationGuard(keys), sinks=[events]).authenticate(
                _call(Credential("bearer", issued.secret))
            )
        event = events.only("authn.failed")
        assert event.reasons[1] == f"API key {issued.key_id} is revoked."
        assert issued.secret not in repr(event.to_dict())

    def test_a_store_that_is_gone_is_unavailable_and_not_a_refusal(self, keys):
        secret = keys.create("u-17").secret
        keys._store._storage.execute("DROP TABLE authn_api_keys")
        with pytest.raises(Unavailable):
            Shield(AuthenticationGuard(keys)).authenticate(_call(Credential("bearer", secret)))
        assert Shield(AuthenticationGuard(keys)).health()["guards"]["authn"]["ok"] is False

    def test_it_is_healthy_when_keys_can_be_looked_up(self, keys):
        assert Shield(AuthenticationGuard(keys)).health()["ok"] is True

    def test_alone_it_protects_a_function(self, keys):
        @AuthenticationGuard(keys)
        def answer(prompt):
            return prompt

        with pytest.raises(AuthenticationError):
            answer("hi")

    def test_it_takes_methods(self):
        with pytest.raises(TypeError, match="takes methods such as ApiKeys, not str"):
            AuthenticationGuard("keys")


class TestBuild:
    def test_the_pepper_is_created_once_for_its_owner_alone(self, ports):
        (guard,) = build(Settings(), ports)
        path = ports.data_dir / "keys" / "authn.pepper"
        assert (path.stat().st_size, stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        issued = guard.methods[0].create("u-17")
        (again,) = build(Settings(), ports)
        assert again.methods[0].verify(issued.secret).id == "u-17"

    def test_the_settings_reach_the_keys(self, ports, events):
        (guard,) = build(Settings(prefix="acme", environment="test", pepper_file="secrets/pepper"), ports)
        assert guard.methods[0].create("u-17").secret.startswith("acme_test_")
        assert (ports.base_dir / "secrets" / "pepper").exists()
        assert events.only("key.created").time == ports.clock.time()

    @pytest.mark.parametrize("size", [0, 31, 33, 1000])
    def test_a_pepper_of_another_length_is_misconfigured_and_stays(self, ports, size):
        build(Settings(), ports)
        path = ports.data_dir / "keys" / "authn.pepper"
        path.write_bytes(bytes(size))
        with pytest.raises(Misconfigured, match=rf"authn\.pepper: holds {size} bytes, not 32; restore"):
            build(Settings(), ports)
        assert path.stat().st_size == size

    def test_a_pepper_that_others_may_read_is_misconfigured(self, ports):
        build(Settings(), ports)
        (ports.data_dir / "keys" / "authn.pepper").chmod(0o644)
        with pytest.raises(Misconfigured, match="chmod 600"):
            build(Settings(), ports)

    def test_a_lost_pepper_is_found_at_start_and_not_at_the_first_customer(self, ports):
        (guard,) = build(Settings(), ports)
        guard.methods[0].create("u-17")
        (ports.data_dir / "keys" / "authn.pepper").unlink()
        with pytest.raises(Misconfigured, match="another pepper"):
            build(Settings(), ports)

    def test_processes_that_start_at_once_share_one_pepper(self, tmp_path):
        code = """
import sys
from aisecure import Shield
from aisecure.authn import ApiKeys, Settings, build
from aisecure.notices import LocalNotices
from aisecure.ports import Ports
from aisecure.storage import Storage
from pathlib import Path
folder = Path(sys.argv[1])
(guard,) = build(Settings(), Ports(folder, folder, lambda: Storage(folder / "aisecure.db"), LocalNotices()))
print(guard.methods[0].create("u-17").secret)
"""
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code, tmp_path / "data"], stdout=subprocess.PIPE, text=True
            )
            for _ in range(3)
        ]
        secrets = [child.communicate(timeout=60)[0].strip() for child in children]
        storage = Storage(tmp_path / "data" / "aisecure.db")
        pepper = (tmp_path / "data" / "keys" / "authn.pepper").read_bytes()
        keys = ApiKeys(storage, pepper=pepper)
        assert [keys.verify(secret).id for secret in secrets] == ["u-17"] * 3
        storage.close()

    @pytest.mark.parametrize(
        "wrong", [{"prefix": "A"}, {"prefix": ""}, {"prefix": "a_b"}, {"prefix": "ais\n"}, {"environment": "Live"}, {"peper_file": "x"}],
        ids=repr,
    )  # fmt: skip
    def test_wrong_settings_are_refused(self, wrong):
        with pytest.raises(ValidationError):
            Settings.model_validate(wrong)


@pytest.mark.parametrize("name", authn.self_tests())
def test_self_test(name):
    authn.self_tests()[name]()


def test_self_tests_notice_a_wrong_answer(monkeypatch):
    monkeypatch.setattr("aisecure.authn._self_tests.is_well_formed", lambda text: True)
    with pytest.raises(AssertionError, match="wrong checksum"):
        authn.self_tests()["authn.key_text"]()


def test_keys_load_no_pydantic_and_no_cryptography():
    code = (
        "import sys; from aisecure.authn import ApiKeys; print({'pydantic', 'cryptography'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "set()\n"


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'Jwt'"):
        authn.Jwt  # noqa: B018
