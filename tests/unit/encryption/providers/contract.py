"""What every key provider promises, as cases. A provider's test file supplies `provider` and `other`."""

from __future__ import annotations

import copy
import os
import pickle
import signal
import traceback
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from aisecure.encryption.providers import KeyProvider
from aisecure.errors import DecryptionError

KEY = bytes(range(100, 132))
PLACE = b"ring:fields"


class Contract:
    """Cases for a provider, and for `other`: one of the same kind that has another key."""

    def test_it_is_a_key_provider_with_a_printable_name(self, provider) -> None:
        assert isinstance(provider, KeyProvider)
        assert provider.key_id.isprintable()
        assert 0 < len(provider.key_id) <= 2_048

    @pytest.mark.parametrize("size", [1, 32, 4_096])
    @pytest.mark.parametrize("place", [b"", PLACE, b"\0\xff" * 512], ids=["no place", "place", "1024 bytes"])
    def test_unwrap_inverts_wrap(self, provider, size: int, place: bytes) -> None:
        key = os.urandom(size)
        wrapped = provider.wrap(key, associated_data=place)
        assert isinstance(wrapped, bytes)
        assert provider.unwrap(wrapped, associated_data=place) == key

    def test_a_wrapped_key_shows_nothing_of_it_and_never_repeats(self, provider) -> None:
        wrapped = {provider.wrap(KEY, associated_data=PLACE) for _ in range(4)}
        assert len(wrapped) == 4
        assert not any(KEY[:8] in one or PLACE in one for one in wrapped)

    @pytest.mark.parametrize("place", [b"", b"ring:field", PLACE + b"\0", b"RING:fields", bytes(1_024)])
    def test_a_key_does_not_open_in_another_place(self, provider, place: bytes) -> None:
        wrapped = provider.wrap(KEY, associated_data=PLACE)
        is_refused(provider, wrapped, place)

    def test_a_place_is_no_part_of_the_key(self, provider) -> None:
        wrapped = provider.wrap(b"ab", associated_data=b"c")
        is_refused(provider, wrapped, b"bc")
        is_refused(provider, wrapped, b"")

    def test_another_key_does_not_open(self, provider, other) -> None:
        is_refused(other, provider.wrap(KEY, associated_data=PLACE), PLACE)

    def test_no_truncation_opens(self, provider) -> None:
        wrapped = provider.wrap(KEY, associated_data=PLACE)
        for size in {*range(0, len(wrapped), max(1, len(wrapped) // 24)), len(wrapped) - 1}:
            is_refused(provider, wrapped[:size], PLACE)

    def test_no_extension_opens(self, provider) -> None:
        wrapped = provider.wrap(KEY, associated_data=PLACE)
        for more in (wrapped + b"\0", b"\0" + wrapped, wrapped + wrapped):
            is_refused(provider, more, PLACE)

    @pytest.mark.parametrize(
        "junk",
        [b"", b"\0", b"\x01", b"\x01" * 64, b"\xff" * 64, "ü\0\ud800".encode("utf-8", "surrogatepass"), bytes(1 << 20)],
        ids=["empty", "NUL", "version", "versions", "ones", "surrogate", "1 MiB"],
    )  # fmt: skip
    def test_junk_does_not_open(self, provider, junk: bytes) -> None:
        is_refused(provider, junk, PLACE)

    @pytest.mark.parametrize("value", [None, "text", 7, bytearray(32), memoryview(bytes(32)), [1]], ids=repr)
    def test_wrong_types_are_told(self, provider, value) -> None:
        with pytest.raises(TypeError):
            provider.wrap(value, associated_data=PLACE)
        with pytest.raises(TypeError):
            provider.wrap(KEY, associated_data=value)
        with pytest.raises(TypeError):
            provider.unwrap(value, associated_data=PLACE)
        with pytest.raises(TypeError):
            provider.unwrap(KEY, associated_data=value)

    def test_wrong_sizes_are_told(self, provider) -> None:
        for key in (b"", bytes(4_097), bytes(1 << 20)):
            with pytest.raises(ValueError, match="1 to 4096 bytes"):
                provider.wrap(key, associated_data=PLACE)
        with pytest.raises(ValueError, match="at most 1024 bytes"):
            provider.wrap(KEY, associated_data=bytes(1_025))
        with pytest.raises(ValueError, match="at most 1024 bytes"):
            provider.unwrap(KEY, associated_data=bytes(1_025))

    def test_it_is_neither_pickled_nor_copied(self, provider) -> None:
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="not pickled"):
                way(provider)

    def test_eight_threads_share_it(self, provider) -> None:
        keys = [os.urandom(32) for _ in range(24)]

        def round_trip(key: bytes) -> bytes:
            return provider.unwrap(provider.wrap(key, associated_data=key[:4]), associated_data=key[:4])

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(round_trip, keys)) == keys

    def test_a_forked_child_and_its_parent_go_on(self, provider) -> None:
        wrapped = provider.wrap(KEY, associated_data=PLACE)
        theirs = in_child(
            lambda: (
                provider.unwrap(wrapped, associated_data=PLACE) + provider.wrap(KEY, associated_data=PLACE)
            )
        )
        assert theirs[: len(KEY)] == KEY
        assert provider.unwrap(theirs[len(KEY) :], associated_data=PLACE) == KEY
        assert provider.unwrap(wrapped, associated_data=PLACE) == KEY


def is_refused(provider, wrapped: bytes, place: bytes) -> None:
    with pytest.raises(DecryptionError) as caught:
        provider.unwrap(wrapped, associated_data=place)
    error = caught.value
    # One error for all: not even the chain says which reason it was.
    assert (str(error), error.code) == ("The value could not be decrypted.", "encryption.failed")
    assert error.__cause__ is None
    assert error.__context__ is None


def flips(wrapped: bytes):
    """Yield the bytes with each one of their bits the other way round."""
    for bit in range(8 * len(wrapped)):
        changed = bytearray(wrapped)
        changed[bit // 8] ^= 1 << bit % 8
        yield bytes(changed)


def in_child(work: Callable[[], bytes]) -> bytes:
    """Return what a forked child worked out; a child that hangs is ended by its own alarm."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns of forks of processes with threads. Servers do just that, and so it is tried here.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if not pid:
        status = 1
        try:
            signal.alarm(20)
            os.write(writer, work())
            status = 0
        except BaseException:  # noqa: BLE001  (shown, and then the child ends come what may)
            traceback.print_exc()
        finally:
            os._exit(status)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        out = pipe.read()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return out
