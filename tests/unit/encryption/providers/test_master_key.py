"""A master key from an environment variable or a file."""

from __future__ import annotations

import base64
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from tests.unit.encryption.providers.contract import KEY, PLACE, Contract, flips

from aisecure.encryption.providers import EnvironmentKey, MasterKeyFile, generate_master_key
from aisecure.errors import DecryptionError, Misconfigured

SECRET = bytes(range(32))
HEX, BASE64 = SECRET.hex(), base64.b64encode(SECRET).decode()


class TestEnvironmentKey(Contract):
    @pytest.fixture
    def provider(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("AISECURE_MASTER_KEY", generate_master_key())
        return EnvironmentKey()

    @pytest.fixture
    def other(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("ANOTHER_KEY", generate_master_key())
        return EnvironmentKey("ANOTHER_KEY")


class TestMasterKeyFile(Contract):
    @pytest.fixture
    def provider(self, tmp_path: Path):
        return MasterKeyFile.create(tmp_path / "keys" / "master.key")

    @pytest.fixture
    def other(self, tmp_path: Path):
        return MasterKeyFile.create(tmp_path / "keys" / "other.key")


def _key(monkeypatch: pytest.MonkeyPatch, text: str) -> EnvironmentKey:
    monkeypatch.setenv("A_KEY", text)
    return EnvironmentKey("A_KEY")


def test_no_bit_of_a_wrapped_key_can_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _key(monkeypatch, HEX)
    for changed in flips(provider.wrap(KEY, associated_data=PLACE)):
        with pytest.raises(DecryptionError):
            provider.unwrap(changed, associated_data=PLACE)


@pytest.mark.parametrize(
    "text",
    [
        HEX,
        HEX.upper(),
        BASE64,
        BASE64.rstrip("="),
        f"  {BASE64}\r\n",
        base64.urlsafe_b64encode(SECRET).decode(),
    ],
)
def test_every_spelling_of_a_key_is_the_same_key(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    assert _key(monkeypatch, text).key_id == _key(monkeypatch, HEX).key_id


def test_both_alphabets_of_base64_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    secret = bytes([255, 239, *range(30)])
    plain, url = base64.b64encode(secret).decode(), base64.urlsafe_b64encode(secret).decode()
    assert plain != url
    assert (
        _key(monkeypatch, plain).key_id
        == _key(monkeypatch, url).key_id
        == _key(monkeypatch, secret.hex()).key_id
    )


def test_a_file_and_a_variable_with_one_key_open_what_the_other_wrapped(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = MasterKeyFile.create(tmp_path / "master.key")
    variable = _key(monkeypatch, (tmp_path / "master.key").read_text())
    assert file.key_id == variable.key_id
    assert variable.unwrap(file.wrap(KEY, associated_data=PLACE), associated_data=PLACE) == KEY


def test_a_key_wrapped_by_the_first_version_still_opens(monkeypatch: pytest.MonkeyPatch) -> None:
    # Worked out apart from this package: HKDF by hand from hmac, and the streaming interface of AES-GCM; nonce 00..0b.
    wrapped = bytes.fromhex(
        "016d2bd242549d2f8f000102030405060708090a0bc40942c096d1995f595982a09d4dccc1a9264c586a8641"
        "75b99159905ff434f3d305bdf42ddaf9c64aa11b1457ba9172"
    )
    assert _key(monkeypatch, HEX).unwrap(wrapped, associated_data=PLACE) == KEY


@pytest.mark.parametrize(
    "text",
    ["", "x", HEX[:-1], HEX + "0", BASE64[:-2], BASE64 + BASE64, "ü" * 44, "=" * 44, "A" * 42 + "==", "k" * (1 << 20)],
    ids=["empty", "short", "63 digits", "65 digits", "31 bytes", "two", "umlauts", "padding", "42", "1 MiB"],
)  # fmt: skip
def test_what_is_no_key_is_refused_and_not_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    path = tmp_path / "master.key"
    path.write_text(text)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="holds no master key") as caught:
        MasterKeyFile(path)
    assert len(str(caught.value)) < 300
    if len(text) < 1 << 17:  # the kernel's limit of one variable
        with pytest.raises(Misconfigured, match="A_KEY: holds no master key"):
            _key(monkeypatch, text)


@pytest.mark.parametrize(
    "data", [b"\xff" * 44, b"\0" * 64, HEX.encode("utf-16")], ids=["no text", "NUL", "utf-16"]
)
def test_a_file_that_is_no_text_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "master.key"
    path.write_bytes(data)
    path.chmod(0o600)
    with pytest.raises(Misconfigured, match="holds no master key"):
        MasterKeyFile(path)


@pytest.mark.parametrize("text", ["0" * 64, "A" * 43, "01" * 32, "deadbeef" * 8])
def test_a_placeholder_is_no_key(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    with pytest.raises(Misconfigured, match="placeholder"):
        _key(monkeypatch, text)


def test_an_unset_variable_is_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AISECURE_MASTER_KEY", raising=False)
    with pytest.raises(
        Misconfigured, match=r"AISECURE_MASTER_KEY: is not set; write 32 random bytes"
    ) as caught:
        EnvironmentKey()
    assert caught.value.code == "config.missing"


@pytest.mark.parametrize("name", [None, 7, b"AISECURE_MASTER_KEY"])
def test_a_name_of_another_type_is_told(name) -> None:
    with pytest.raises(TypeError):
        EnvironmentKey(name)


def test_a_variable_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _key(monkeypatch, HEX)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    monkeypatch.setenv("A_KEY", generate_master_key())
    assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_created_file_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    MasterKeyFile.create(tmp_path / "keys" / "master.key")
    assert stat.S_IMODE((tmp_path / "keys" / "master.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700


def test_a_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    MasterKeyFile.create(tmp_path / "master.key")
    (tmp_path / "master.key").chmod(0o640)
    with pytest.raises(Misconfigured, match="chmod 600") as caught:
        MasterKeyFile(tmp_path / "master.key")
    assert caught.value.code == "config.mode"


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    first = MasterKeyFile.create(tmp_path / "master.key")
    with pytest.raises(Misconfigured, match="exists"):
        MasterKeyFile.create(tmp_path / "master.key")
    assert MasterKeyFile(tmp_path / "master.key").key_id == first.key_id


def test_an_absent_file_is_not_made_by_opening_it(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as caught:
        MasterKeyFile(tmp_path / "master.key")
    assert caught.value.code == "config.missing"
    assert not (tmp_path / "master.key").exists()


def test_a_full_disk_leaves_no_file(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys\n"
        "from aisecure.encryption.providers import MasterKeyFile\n"
        "from aisecure.errors import Unavailable\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10, 10))\n"
        "try: MasterKeyFile.create(sys.argv[1])\n"
        "except Unavailable as err: print(err.code)\n"
    )
    command = [sys.executable, "-B", "-c", code, tmp_path / "master.key"]
    out = subprocess.run(command, capture_output=True, text=True, check=True)
    assert out.stdout == "unavailable.storage\n"
    assert list(tmp_path.iterdir()) == []


def test_neither_repr_nor_attributes_show_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    provider = _key(monkeypatch, HEX)
    shown = repr(provider) + repr([getattr(provider, name) for name in ("_aead", "_fingerprint")])
    assert repr(provider) == f"EnvironmentKey(key_id='{provider.key_id}')"
    assert not any(text in shown for text in (HEX, BASE64, repr(SECRET)))


def test_generated_keys_differ_and_hold_32_bytes() -> None:
    keys = {generate_master_key() for _ in range(10)}
    assert len(keys) == 10
    assert {len(base64.b64decode(key)) for key in keys} == {32}
