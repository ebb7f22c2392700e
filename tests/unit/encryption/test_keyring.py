"""Key rings."""

from __future__ import annotations

import copy
import os
import pickle

import pytest

from aisecure.encryption import FieldCipher, Keyring
from aisecure.encryption.keyring import Key
from aisecure.testing import FrozenClock

CONTEXT = ("patients", "notes", 42)


@pytest.fixture
def ring():
    return Keyring.generate()


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
        for holder in (ring, ring.primary_key, FieldCipher(ring), FieldCipher(ring).bind("a")):
            with pytest.raises(TypeError, match="not pickled"):
                take(holder)

    def test_keys_with_one_id_or_a_primary_that_is_absent_are_refused(self):
        key = Key(b"0123", bytes(32), 0)
        for keys, primary in (((key, key), b"0123"), ((key,), b"4567"), ((), b"0123")):
            with pytest.raises(ValueError, match="one of which is the primary"):
                Keyring(keys, primary)

    def test_key_ids_of_two_sizes_odd_sizes_and_short_secrets_are_refused(self):
        short, long = Key(b"0123", bytes(32), 0), Key(bytes(16), bytes(32), 0)
        assert Keyring((long,), long.id).primary == "00" * 16
        for keys in ((short, long), (Key(b"012", bytes(32), 0),), (Key(b"0123", bytes(31), 0),)):
            with pytest.raises(ValueError, match=r"size|bytes"):
                Keyring(keys, keys[0].id)


class TestStates:
    def test_a_key_is_retired_reinstated_and_destroyed(self, ring):
        newer = ring.rotate()
        first = ring.keys[0]
        retired = newer.retire(ring.primary)
        assert (retired.get(first.id), retired.key_ids) == (None, newer.key_ids)
        assert retired.reinstate(ring.primary).get(first.id) == first
        gone = retired.destroy(ring.primary)
        assert (gone.key_ids, gone.destroyed) == ((newer.primary,), (ring.primary,))
        assert gone.knows(first.id)
        assert newer.get(first.id) == first  # the rings before are as they were

    def test_the_primary_is_not_retired_and_a_key_in_use_not_destroyed(self, ring):
        with pytest.raises(ValueError, match="rotate the ring first"):
            ring.retire(ring.primary)
        newer = ring.rotate()
        for key_id in newer.key_ids:
            with pytest.raises(ValueError, match="retire it first"):
                newer.destroy(key_id)

    @pytest.mark.parametrize("key_id", ["00000000", "", "xyz", None, 5, b"0123", "é"])
    def test_a_key_that_is_not_there_is_an_error(self, ring, key_id):
        for change in (ring.retire, ring.reinstate, ring.destroy):
            with pytest.raises(ValueError, match="no such key"):
                change(key_id)

    def test_the_id_of_a_destroyed_key_is_never_drawn_again(self, ring):
        gone = ring.rotate().retire(ring.primary).destroy(ring.primary)
        ids = [ring.keys[0].id, b"next"]
        again = gone.rotate(random=lambda size: ids.pop(0) if size == 4 else os.urandom(size))
        assert again.primary == b"next".hex()
        with pytest.raises(ValueError, match="destroyed key"):
            Keyring(ring.keys, ring.keys[0].id, (ring.keys[0].id,))
