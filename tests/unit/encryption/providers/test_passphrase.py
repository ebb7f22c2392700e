"""A passphrase as master key."""

from __future__ import annotations

import hashlib
import struct
import subprocess
import sys
import unicodedata

import pytest
from tests.unit.encryption.providers.contract import KEY, PLACE, Contract, flips, in_child

from aisecure.encryption.providers import ARGON2ID, SCRYPT, Argon2idCost, Passphrase, ScryptCost
from aisecure.encryption.providers import passphrase as module
from aisecure.errors import DecryptionError

WORDS = "correct horse battery staple"
#: Costs that only tests may have.
LIGHT, LIGHT_SCRYPT = Argon2idCost(memory_kib=8, iterations=1, lanes=1), ScryptCost(n=2, r=1, p=1)


class TestArgon2id(Contract):
    @pytest.fixture
    def provider(self):
        return Passphrase(WORDS, kdf=LIGHT)

    @pytest.fixture
    def other(self):
        return Passphrase(WORDS + ".", kdf=LIGHT)


class TestScrypt(Contract):
    @pytest.fixture
    def provider(self):
        return Passphrase(WORDS, kdf=LIGHT_SCRYPT)

    @pytest.fixture
    def other(self):
        return Passphrase(WORDS.upper(), kdf=LIGHT_SCRYPT)


@pytest.mark.parametrize(
    ("kdf", "preset"), [("argon2id", ARGON2ID), pytest.param("scrypt", SCRYPT, marks=pytest.mark.proof)]
)
def test_a_preset_by_name_is_stored_with_the_key_and_opens_elsewhere(kdf: str, preset) -> None:
    wrapped = Passphrase(WORDS, kdf=kdf).wrap(KEY, associated_data=PLACE)
    assert struct.unpack_from(">BIII", wrapped, 1) == (preset.function, *preset.numbers())
    assert Passphrase(WORDS, kdf=LIGHT).unwrap(wrapped, associated_data=PLACE) == KEY


def test_the_presets_are_those_of_their_sources() -> None:
    assert Argon2idCost(memory_kib=65_536, iterations=3, lanes=4) == ARGON2ID  # RFC 9106 section 4
    assert ScryptCost(n=131_072, r=8, p=1) == SCRYPT  # OWASP Password Storage Cheat Sheet


def test_scrypt_derives_what_the_standard_library_derives() -> None:
    theirs = hashlib.scrypt(WORDS.encode(), salt=bytes(16), n=16, r=8, p=2, dklen=32)
    assert ScryptCost(n=16, r=8, p=2).derive(WORDS.encode(), bytes(16)) == theirs


def test_a_key_wrapped_by_the_first_version_still_opens() -> None:
    # hashlib.scrypt(words, salt=00..0f, n=16, r=8, p=1) and the streaming interface of AES-GCM; nonce 00..0b.
    wrapped = bytes.fromhex(
        "0102000000100000000800000001000102030405060708090a0b0c0d0e0f000102030405060708090a0bae09"
        "20cc244b6cc2de6b1a48db0e2de6e6b2451d1a33d6a826392e2e142c3ab4fb78f54074c11a85dd3a003726ea"
        "82a6"
    )
    assert Passphrase(WORDS, kdf=LIGHT).unwrap(wrapped, associated_data=PLACE) == KEY


def test_a_thousand_keys_cost_one_derivation_each_way(monkeypatch: pytest.MonkeyPatch) -> None:
    derived: list[bytes] = []
    derive = Argon2idCost.derive

    def counting(self, passphrase: bytes, salt: bytes) -> bytes:
        derived.append(salt)
        return derive(self, passphrase, salt)

    monkeypatch.setattr(Argon2idCost, "derive", counting)
    writer, reader = Passphrase(WORDS, kdf=LIGHT), Passphrase(WORDS, kdf=LIGHT)
    wrapped = [writer.wrap(KEY, associated_data=b"%d" % number) for number in range(1_000)]
    assert len(derived) == 1
    for number, one in enumerate(wrapped):
        assert reader.unwrap(one, associated_data=b"%d" % number) == KEY
    assert len(derived) == 2
    assert len({one[30:42] for one in wrapped}) == 1_000  # nonces


def test_derived_keys_are_remembered_in_bounded_number() -> None:
    reader = Passphrase(WORDS, kdf=LIGHT)
    wrapped = [Passphrase(WORDS, kdf=LIGHT).wrap(KEY, associated_data=PLACE) for _ in range(30)]
    for one in wrapped + wrapped:
        assert reader.unwrap(one, associated_data=PLACE) == KEY
    assert len(reader._derived) == module._REMEMBERED


def test_two_objects_have_two_salts() -> None:
    first, second = (Passphrase(WORDS, kdf=LIGHT).wrap(KEY, associated_data=PLACE)[14:30] for _ in range(2))
    assert first != second


def test_no_bit_of_a_wrapped_key_can_be_changed() -> None:
    provider = Passphrase(WORDS, kdf=LIGHT_SCRYPT)
    for changed in flips(provider.wrap(KEY, associated_data=PLACE)):
        _, *numbers = struct.unpack_from(">BIII", changed, 1)
        if max(numbers) > 1 << 14:
            continue  # dear, and the subject of the next test
        with pytest.raises(DecryptionError):
            provider.unwrap(changed, associated_data=PLACE)


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (1, (100 << 20, 1, 1)),
        (1, (0xFFFF_FFFF, 1, 1)),
        (1, (1 << 20, 0xFFFF_FFFF, 1)),
        (1, (8, 0xFFFF_FFFF, 1)),
        (1, (1 << 20, 5, 1)),
        (1, (1 << 20, 1, 1 << 24)),
        (1, (8, 1, 2)),
        (1, (0, 0, 0)),
        (2, (1 << 31, 8, 1)),
        (2, (1 << 20, 0xFFFF_FFFF, 1)),
        (2, (2, 1, 0xFFFF_FFFF)),
        (2, (1 << 20, 8, 5)),
        (2, (3, 1, 1)),
        (2, (1, 1, 1)),
        (0, (8, 1, 1)),
        (3, (8, 1, 1)),
    ],
)
def test_costs_of_a_tampered_file_are_bounded_before_any_work(
    monkeypatch: pytest.MonkeyPatch, function: int, numbers: tuple[int, int, int]
) -> None:
    def worked(*_) -> bytes:
        raise AssertionError("worked for a forged cost")

    provider = Passphrase(WORDS, kdf=LIGHT)
    wrapped = provider.wrap(KEY, associated_data=PLACE)
    forged = wrapped[:1] + struct.pack(">BIII", function, *numbers) + wrapped[14:]
    monkeypatch.setattr(Argon2idCost, "derive", worked)
    monkeypatch.setattr(ScryptCost, "derive", worked)
    with pytest.raises(DecryptionError):
        Passphrase(WORDS, kdf=LIGHT).unwrap(forged, associated_data=PLACE)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Argon2idCost(memory_kib=8, iterations=1, lanes=0),
        lambda: Argon2idCost(memory_kib=8.0, iterations=1, lanes=1),
        lambda: Argon2idCost(memory_kib=True, iterations=1, lanes=1),
        lambda: Argon2idCost(memory_kib=1 << 21, iterations=1, lanes=1),
        lambda: ScryptCost(n=-2, r=1, p=1),
        lambda: ScryptCost(n=1 << 10, r=65, p=1),
        lambda: Passphrase(WORDS, kdf="bcrypt"),
        lambda: Passphrase(WORDS, kdf=None),
        lambda: Passphrase(WORDS, kdf=Argon2idCost),
    ],
)
def test_costs_that_cannot_be_are_told(make) -> None:
    with pytest.raises(ValueError):
        make()


@pytest.mark.parametrize(
    "text", ["", "short", "ü" * 7, "x" * 4_097, "ü" * 4_000, "x" * (1 << 20), WORDS + "\ud800"], ids=len
)
def test_a_passphrase_that_cannot_be_is_told_and_not_shown(text: str) -> None:
    with pytest.raises(ValueError) as caught:
        Passphrase(text, kdf=LIGHT)
    assert not text or text not in str(caught.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("value", [None, 7, WORDS.encode(), [WORDS]], ids=repr)
def test_a_passphrase_of_another_type_is_told(value) -> None:
    with pytest.raises(TypeError):
        Passphrase(value, kdf=LIGHT)


def test_composed_and_decomposed_letters_are_the_same_passphrase() -> None:
    composed = "überraschend größer Ångström"
    decomposed = unicodedata.normalize("NFD", composed)
    assert composed != decomposed
    wrapped = Passphrase(composed, kdf=LIGHT).wrap(KEY, associated_data=PLACE)
    assert Passphrase(decomposed, kdf=LIGHT).unwrap(wrapped, associated_data=PLACE) == KEY


def test_letters_that_only_look_alike_are_different() -> None:
    wrapped = Passphrase("ﬁve words", kdf=LIGHT).wrap(KEY, associated_data=PLACE)  # a ligature
    with pytest.raises(DecryptionError):
        Passphrase("five words", kdf=LIGHT).unwrap(wrapped, associated_data=PLACE)


def test_a_child_forked_while_a_derivation_runs_derives_for_itself() -> None:
    provider = Passphrase(WORDS, kdf=LIGHT)
    wrapped = Passphrase(WORDS, kdf=LIGHT).wrap(KEY, associated_data=PLACE)
    with provider._lock.get():
        assert in_child(lambda: provider.unwrap(wrapped, associated_data=PLACE)) == KEY


def test_too_little_memory_is_unavailable_and_not_a_wrong_passphrase() -> None:
    code = (
        "import resource, sys\n"
        "from aisecure.encryption.providers import Passphrase\n"
        "from aisecure.errors import Unavailable\n"
        "provider = Passphrase('correct horse battery staple', kdf=sys.argv[1])\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        "resource.setrlimit(resource.RLIMIT_AS, (used + (24 << 20),) * 2)\n"
        "try: provider.wrap(b'key', associated_data=b'')\n"
        "except Unavailable as err: print(err.code)\n"
    )
    for kdf in ("argon2id", "scrypt"):
        command = [sys.executable, "-B", "-c", code, kdf]
        out = subprocess.run(command, capture_output=True, text=True, check=True)
        assert out.stdout == "unavailable.key_provider\n"


def test_neither_repr_nor_key_id_tell_the_passphrase() -> None:
    provider = Passphrase(WORDS, kdf=LIGHT)
    provider.wrap(KEY, associated_data=PLACE)
    assert repr(provider) == "Passphrase(kdf=Argon2idCost(memory_kib=8, iterations=1, lanes=1))"
    assert provider.key_id == Passphrase("another passphrase", kdf=LIGHT).key_id == "passphrase"
