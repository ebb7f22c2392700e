"""A PKCS#11 token as master key, against SoftHSM2."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.encryption.providers.contract import KEY, PLACE, Contract, flips, in_child, is_refused

pkcs11 = pytest.importorskip("pkcs11")

from aisecure.encryption.providers import Pkcs11  # noqa: E402
from aisecure.encryption.providers._hsm_token import TURN  # noqa: E402
from aisecure.encryption.providers.hsm import _judge, _pad, _unpad  # noqa: E402
from aisecure.errors import Misconfigured, Unavailable  # noqa: E402

pytestmark = pytest.mark.services("softhsm2-util")

MODULE = next(
    (str(path) for path in map(Path, ("/usr/lib/softhsm/libsofthsm2.so", "/usr/lib/pkcs11/libsofthsm2.so")) if path.exists()),
    "libsofthsm2.so",
)  # fmt: skip
PIN, TOKEN = "pin-canary-4711", "aisecure test"


@pytest.fixture(scope="module")
def hsm(tmp_path_factory: pytest.TempPathFactory):
    """A token in a folder of its own, with a key for each mechanism; the folder's name ends up in the environment."""
    folder = tmp_path_factory.mktemp("softhsm")
    environment = _new_token(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOFTHSM2_CONF", environment["SOFTHSM2_CONF"])
        for label in ("gcm", "gcm two"):
            Pkcs11.create_key(MODULE, TOKEN, PIN, label)
        for label in ("wrap", "wrap two"):
            Pkcs11.create_key(MODULE, TOKEN, PIN, label, mechanism="AES_KEY_WRAP_PAD")
        yield folder
        pkcs11.unload(MODULE)


def _new_token(folder: Path) -> dict[str, str]:
    (folder / "tokens").mkdir()
    (folder / "softhsm2.conf").write_text(f"directories.tokendir = {folder}/tokens\nlog.level = ERROR\n")
    environment = {**os.environ, "SOFTHSM2_CONF": f"{folder}/softhsm2.conf"}
    command = [
        "softhsm2-util",
        "--init-token",
        "--free",
        "--label",
        TOKEN,
        "--pin",
        PIN,
        "--so-pin",
        "so-pin-0815",
    ]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return environment


@pytest.fixture
def gcm(hsm: Path) -> Pkcs11:
    return Pkcs11(MODULE, TOKEN, PIN, "gcm")


class TestGcm(Contract):
    @pytest.fixture
    def provider(self, gcm: Pkcs11):
        return gcm

    @pytest.fixture
    def other(self, hsm: Path):
        return Pkcs11(MODULE, TOKEN, lambda: PIN, "gcm two", mechanism="AES_GCM")


class TestKeyWrap(Contract):
    @pytest.fixture
    def provider(self, hsm: Path):
        return Pkcs11(MODULE, TOKEN, PIN, "wrap")

    @pytest.fixture
    def other(self, hsm: Path):
        return Pkcs11(MODULE, TOKEN, PIN, "wrap two", mechanism="AES_KEY_WRAP_PAD")


@pytest.mark.parametrize("label", ["gcm", "wrap"])
def test_no_bit_of_a_wrapped_key_can_be_changed(hsm: Path, label: str) -> None:
    provider = Pkcs11(MODULE, TOKEN, PIN, label)
    for changed in flips(provider.wrap(KEY, associated_data=PLACE)):
        is_refused(provider, changed, PLACE)


@given(bound=st.binary(min_size=1, max_size=300))
def test_padding_for_key_wrap_is_in_eights_and_comes_off_again(bound: bytes) -> None:
    padded = _pad(bound)
    assert len(padded) % 8 == 0
    assert _unpad(padded) == bound


@given(junk=st.binary(max_size=100))
def test_padding_of_somebody_else_gives_nothing_that_was_not_there(junk: bytes) -> None:
    assert _unpad(junk) in junk


def test_each_mechanism_says_so_in_what_it_wraps(hsm: Path) -> None:
    assert Pkcs11(MODULE, TOKEN, PIN, "gcm").wrap(KEY, associated_data=PLACE)[:2] == b"\x01\x01"
    assert Pkcs11(MODULE, TOKEN, PIN, "wrap").wrap(KEY, associated_data=PLACE)[:2] == b"\x01\x02"


def test_the_key_cannot_be_read_out_of_the_token(gcm: Pkcs11) -> None:
    key = gcm._opened.get()._key
    for attribute in (
        pkcs11.Attribute.SENSITIVE,
        pkcs11.Attribute.ALWAYS_SENSITIVE,
        pkcs11.Attribute.NEVER_EXTRACTABLE,
    ):
        assert key[attribute] is True
    with pytest.raises(pkcs11.AttributeSensitive):
        key[pkcs11.Attribute.VALUE]


def test_a_key_has_the_uses_of_one_mechanism_alone(hsm: Path, gcm: Pkcs11) -> None:
    names = (
        pkcs11.Attribute.ENCRYPT,
        pkcs11.Attribute.DECRYPT,
        pkcs11.Attribute.WRAP,
        pkcs11.Attribute.UNWRAP,
    )
    assert [gcm._opened.get()._key[name] for name in names] == [True, True, False, False]
    wrap = Pkcs11(MODULE, TOKEN, PIN, "wrap")._opened.get()._key
    assert [wrap[name] for name in names] == [False, False, True, True]


def test_no_data_key_stays_in_the_token(hsm: Path) -> None:
    provider = Pkcs11(MODULE, TOKEN, PIN, "wrap")
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    provider.unwrap(wrapped, associated_data=PLACE)
    is_refused(provider, wrapped, b"elsewhere")
    generic = {pkcs11.Attribute.KEY_TYPE: pkcs11.KeyType.GENERIC_SECRET}
    assert list(provider._opened.get()._session.get_objects(generic)) == []


def test_a_label_that_is_taken_is_refused(gcm: Pkcs11) -> None:
    with pytest.raises(Misconfigured, match="exists; choose another label"):
        Pkcs11.create_key(MODULE, TOKEN, PIN, "gcm")


@pytest.mark.parametrize(
    ("changed", "remedy"),
    [
        ({"key_label": "absent"}, "has no AES key with this label; make one with Pkcs11.create_key"),
        ({"token_label": "absent"}, "no token has this label"),
        ({"module": "/nowhere/libabsent.so"}, "cannot be loaded"),
        ({"module": "/dev/null"}, "cannot be loaded"),
        ({"mechanism": "AES_KEY_WRAP_PAD"}, "cannot be used with this mechanism"),
    ],
)
def test_what_is_wrong_with_the_set_up_is_told_at_once(
    gcm: Pkcs11, changed: dict[str, str], remedy: str
) -> None:
    settings = {"module": MODULE, "token_label": TOKEN, "pin": PIN, "key_label": "gcm", **changed}
    with pytest.raises(Misconfigured, match=remedy) as caught:
        Pkcs11(**settings)
    assert caught.value.code == "config.key_refused"
    assert PIN not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"token_label": None}, TypeError),
        ({"key_label": 7}, TypeError),
        ({"pin": None}, TypeError),
        ({"pin": b"1234"}, TypeError),
        ({"module": None}, TypeError),
        ({"mechanism": "AES_ECB"}, ValueError),
        ({"key_label": ""}, ValueError),
        ({"key_label": "a\0b"}, ValueError),
        ({"token_label": "\ud800"}, ValueError),
        ({"module": f"{MODULE}\0.so"}, ValueError),
        ({"pin": f"{PIN}\ud800"}, ValueError),
        ({"pin": lambda: f"{PIN}\ud800"}, ValueError),
        ({"pin": lambda: None}, TypeError),
    ],
)
def test_mistakes_in_calling_are_told(hsm: Path, changed, error: type[Exception]) -> None:
    with pytest.raises(error) as caught:
        Pkcs11(**{"module": MODULE, "token_label": TOKEN, "pin": PIN, "key_label": "gcm", **changed})
    assert PIN not in repr(caught.value)
    assert caught.value.__context__ is None


def test_a_session_that_was_ended_is_opened_anew(gcm: Pkcs11) -> None:
    wrapped = gcm.wrap(KEY, associated_data=PLACE)
    pkcs11.lib(MODULE).reinitialize()
    assert gcm.unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_child_forked_in_the_middle_of_a_call_is_not_held_up(gcm: Pkcs11) -> None:
    wrapped = gcm.wrap(KEY, associated_data=PLACE)
    with TURN.get():
        theirs = in_child(lambda: gcm.unwrap(wrapped, associated_data=PLACE))
    assert theirs == KEY
    assert gcm.unwrap(wrapped, associated_data=PLACE) == KEY


def test_repr_and_key_id_name_token_and_key_and_no_pin(gcm: Pkcs11) -> None:
    assert gcm.key_id == "pkcs11:token=aisecure%20test;object=gcm;type=secret-key"
    assert repr(gcm) == f"Pkcs11({gcm.key_id!r})"
    assert PIN not in repr(gcm) + repr(gcm._token)


#: In a process of its own: what follows breaks the token, or needs that nobody is logged in.
_SCRIPT = """
import shutil, sys
from aisecure.encryption.providers import Pkcs11
from aisecure.errors import AISecureError
module, token, pin, case, folder = sys.argv[1:]

def told(call):
    try:
        call()
    except AISecureError as err:
        print(type(err).__name__, err.code, err)

if case == "wrong pin":
    told(lambda: Pkcs11(module, token, "wrong", "gcm"))
if case == "second pin":
    pins = ["right", "wrong"]
    provider = Pkcs11(module, token, lambda: pin if pins.pop(0) == "right" else "wrong", "gcm")
    import pkcs11
    pkcs11.lib(module).reinitialize()
    told(lambda: provider.wrap(b"key", associated_data=b""))
    pkcs11.lib(module).reinitialize()
    told(lambda: provider.wrap(b"key", associated_data=b""))
    print("asked", 2 - len(pins))
if case == "removed":
    provider = Pkcs11(module, token, pin, "gcm")
    wrapped = provider.wrap(b"key", associated_data=b"")
    shutil.rmtree(folder + "/tokens")
    told(lambda: provider.wrap(b"key", associated_data=b""))
    told(lambda: provider.unwrap(wrapped, associated_data=b""))
if case == "forged while broken":
    # A damaged key is told as such while the token works, and as trouble when it does not.
    provider = Pkcs11(module, token, pin, "gcm")
    wrapped = provider.wrap(b"key", associated_data=b"")
    told(lambda: provider.unwrap(wrapped, associated_data=b"other"))
    shutil.rmtree(folder + "/tokens")
    told(lambda: provider.unwrap(wrapped, associated_data=b"other"))
"""


def _alone(case: str, folder: Path) -> list[str]:
    environment = {**os.environ, "SOFTHSM2_CONF": f"{folder}/softhsm2.conf"}
    command = [sys.executable, "-B", "-c", _SCRIPT, MODULE, TOKEN, PIN, case, folder]
    out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert PIN not in out
    return out.splitlines()


@pytest.fixture
def copied(hsm: Path, tmp_path: Path) -> Path:
    """A copy of the token, to be broken."""
    shutil.copytree(hsm / "tokens", tmp_path / "tokens")
    (tmp_path / "softhsm2.conf").write_text(f"directories.tokendir = {tmp_path}/tokens\nlog.level = ERROR\n")
    return tmp_path


def test_a_wrong_pin_is_a_matter_of_set_up(copied: Path) -> None:
    (line,) = _alone("wrong pin", copied)
    assert line.startswith("Misconfigured config.key_refused")
    assert "the PIN is wrong" in line


def test_a_pin_that_was_refused_is_not_sent_again(copied: Path) -> None:
    *lines, asked = _alone("second pin", copied)
    assert [line.split()[0] for line in lines] == ["Misconfigured", "Misconfigured"]
    assert all("the PIN is wrong; it is not tried again" in line for line in lines)
    assert asked == "asked 2"


def test_a_token_that_was_removed_is_unavailable(copied: Path) -> None:
    lines = _alone("removed", copied)
    assert [line.split()[:2] for line in lines] == [["Unavailable", "unavailable.key_provider"]] * 2


def test_a_broken_token_is_not_taken_for_a_damaged_key(copied: Path) -> None:
    first, second = _alone("forged while broken", copied)
    assert first == "DecryptionError encryption.failed The value could not be decrypted."
    assert second.startswith("Unavailable unavailable.key_provider")


@pytest.mark.parametrize(
    ("fault", "kind"),
    [
        (pkcs11.PinLocked, Misconfigured),
        (pkcs11.PinExpired, Misconfigured),
        (pkcs11.TokenNotPresent, Unavailable),
        (pkcs11.DeviceError, Unavailable),
        (pkcs11.SessionCount, Unavailable),
        (pkcs11.DeviceMemory, Unavailable),
    ],
)
def test_what_softhsm_cannot_be_made_to_say_is_judged(fault: type[Exception], kind: type[Exception]) -> None:
    assert type(_judge(fault(), "token", "key")) is kind
