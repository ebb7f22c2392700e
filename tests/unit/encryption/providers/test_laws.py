"""What holds for every key, every place and every damage, of what wraps without a service."""

from __future__ import annotations

import base64

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from aisecure.encryption.providers import EnvironmentKey, Passphrase, ScryptCost
from aisecure.encryption.providers._bound import bind, unbind
from aisecure.encryption.providers._per_process import PerProcess
from aisecure.errors import DecryptionError


def _environment_key() -> EnvironmentKey:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("A_KEY", base64.b64encode(bytes(range(32))).decode())
        return EnvironmentKey("A_KEY")


PROVIDERS = [_environment_key(), Passphrase("several random words", kdf=ScryptCost(n=2, r=1, p=1))]
KEYS, PLACES = st.binary(min_size=1, max_size=100), st.binary(max_size=60)


@pytest.mark.parametrize("provider", PROVIDERS, ids=repr)
@given(key=KEYS, place=PLACES)
def test_unwrap_inverts_wrap(provider, key: bytes, place: bytes) -> None:
    assert provider.unwrap(provider.wrap(key, associated_data=place), associated_data=place) == key


@pytest.mark.parametrize("provider", PROVIDERS, ids=repr)
@given(key=KEYS, place=PLACES, other=PLACES)
def test_a_key_opens_in_its_own_place_alone(provider, key: bytes, place: bytes, other: bytes) -> None:
    assume(place != other)
    with pytest.raises(DecryptionError):
        provider.unwrap(provider.wrap(key, associated_data=place), associated_data=other)


@pytest.mark.parametrize("provider", PROVIDERS, ids=repr)
@given(junk=st.binary(max_size=200))
def test_junk_never_opens_and_never_breaks_anything(provider, junk: bytes) -> None:
    with pytest.raises(DecryptionError):
        provider.unwrap(junk, associated_data=b"")


@given(key=KEYS, place=PLACES, other=PLACES)
def test_a_bound_key_comes_loose_in_its_own_place_alone(key: bytes, place: bytes, other: bytes) -> None:
    assume(place != other)
    assert unbind(bind(key, place), place) == key
    with pytest.raises(DecryptionError):
        unbind(bind(key, place), other)


def test_what_could_not_be_made_is_tried_again() -> None:
    attempts = iter([OSError(), "made"])

    def make() -> str:
        one = next(attempts)
        if isinstance(one, Exception):
            raise one
        return one

    held = PerProcess(make)
    with pytest.raises(OSError):
        held.get()
    assert held.get() == held.get() == "made"
