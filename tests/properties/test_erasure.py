"""Laws of erasure, over every order of what can happen to a subject."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aisecure.encryption import FieldCipher, Keyring, RingProvider, SubjectKeys
from aisecure.errors import DecryptionError
from aisecure.storage import Storage
from aisecure.testing import CapturedEvents

SUBJECTS = st.sampled_from([(tenant, name) for tenant in ("t1", "t2") for name in ("ada", "grace", "edsger")])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("encrypt"), SUBJECTS),
        st.tuples(st.just("erase"), SUBJECTS),
        st.tuples(st.just("rewrap"), st.none()),
        st.tuples(st.just("rotate"), st.none()),
        st.tuples(st.just("open again"), st.none()),
        st.tuples(st.just("crowd"), st.integers(1, 30)),
    ),
    max_size=25,
)


@settings(max_examples=20, deadline=None)
@given(STEPS)
def test_a_token_opens_exactly_while_its_key_was_not_erased_and_no_erased_key_is_on_the_disk(
    steps: list[tuple[str, object]],
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        storage, events = Storage(Path(folder) / "aisecure.db"), CapturedEvents()
        ring = Keyring.generate()
        subjects = SubjectKeys(storage, RingProvider(FieldCipher(ring)), events=events)
        alive: dict[tuple[str, str], list[str]] = {}
        dead: list[tuple[str, str]] = []
        receipts: list[int] = []
        wrapped: set[bytes] = set()
        for number, (step, what) in enumerate(steps):
            if step == "encrypt":
                tenant, name = what
                token = subjects.cipher(name, tenant=tenant).encrypt(f"{tenant} {name}", context=(tenant,))
                alive.setdefault(what, []).append(token)
            elif step == "erase":
                tenant, name = what
                receipts.append(subjects.erase(name, tenant=tenant).detail["keys"])
                assert receipts[-1] == (what in alive)
                dead += [(tenant, token) for token in alive.pop(what, [])]
            elif step == "crowd":
                for other in range(what):
                    subjects.cipher(f"{number} {other}").encrypt("x")
            elif step == "rotate":
                ring = ring.rotate()
                subjects = SubjectKeys(storage, RingProvider(FieldCipher(ring)), events=events)
            elif step == "rewrap":
                subjects.rewrap()
            else:
                subjects = SubjectKeys(storage, RingProvider(FieldCipher(ring)), events=events)
            wrapped |= {row[0] for row in storage.query("SELECT wrapped FROM subjects_keys WHERE live = 1")}

        for (tenant, name), tokens in alive.items():
            for token in tokens:
                assert subjects.decrypt(token, tenant=tenant, context=(tenant,)) == f"{tenant} {name}"
                assert not subjects.is_erased(token)
        for tenant, token in dead:
            assert subjects.is_erased(token)
            with pytest.raises(DecryptionError):
                subjects.decrypt(token, tenant=tenant, context=(tenant,))
        assert [event.detail["keys"] for event in events.of_type("subject.erased")] == receipts
        if receipts:
            kept = {row[0] for row in storage.query("SELECT wrapped FROM subjects_keys WHERE live = 1")}
            storage.truncate_wal()
            disk = b"".join(path.read_bytes() for path in Path(folder).glob("aisecure.db*"))
            assert {key for key in wrapped if key in disk} == kept
        storage.close()


@given(st.tuples(st.text(), st.text()), st.tuples(st.text(), st.text()))
@settings(max_examples=60, deadline=None)
def test_two_subjects_share_a_key_exactly_when_tenant_and_id_are_the_same(
    one: tuple[str, str], two: tuple[str, str]
) -> None:
    subjects = SubjectKeys(Storage(":memory:"), RingProvider(FieldCipher(Keyring.generate())))
    rings = []
    for tenant, name in (one, two):
        try:
            rings.append(subjects.cipher(name, tenant=tenant).keyring.primary)
        except ValueError:
            assert not name or not tenant or "\0" in name + tenant
            return
    assert (rings[0] == rings[1]) is (one == two)
