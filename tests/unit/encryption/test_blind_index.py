"""Index tokens: equal for equal values of one field and tenant, and for nothing else."""

from __future__ import annotations

import hashlib
import hmac
import pickle
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import StrEnum
from unicodedata import normalize
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand
from hypothesis import given
from hypothesis import strategies as st

from aisecure.encryption import BlindIndex, KeyFile, Keyring, caseless
from aisecure.encryption.blind_index import MAX_CODE_POINTS
from aisecure.encryption.keyring import Key
from aisecure.errors import Misconfigured

RING = Keyring.generate()
FIELD = ("patients", "email")
INDEX = BlindIndex(RING, field=FIELD)

indexable = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"])),
    st.integers(),
    st.binary(),
    st.dates(),
    st.uuids(),
)


@given(indexable, indexable)
def test_tokens_are_equal_exactly_when_values_and_their_types_are(one, other):
    same = type(one) is type(other) and one == other
    assert (INDEX.of(one) == INDEX.of(other)) == same


@given(st.text())
def test_the_caseless_form_is_stable_and_the_same_for_canonically_equal_texts(text):
    form = caseless(text)
    assert caseless(form) == form
    assert caseless(normalize("NFC", text)) == caseless(normalize("NFD", text)) == form


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ada@example.org", " ADA@Example.ORG\n"),
        ("Straße", "STRASSE"),
        ("é", "e\u0301"),
        ("É", "e\u0301"),
        ("ΐ", "\u0399\u0308\u0301"),
        ("ﬁne", "FINE"),
    ],
)
def test_caseless_makes_one_of_what_people_take_for_the_same(one, other):
    index = BlindIndex(RING, field=FIELD, normalise=caseless)
    assert index.of(one) == index.of(other)
    assert INDEX.of(one) != INDEX.of(other)


def test_a_token_is_what_the_format_says():
    key = Key(bytes.fromhex("0a1b2c3d"), bytes(range(32)), 0)
    index = BlindIndex(Keyring((key,), key.id), field=FIELD)
    info = b"aisecure blind index 1" + b"i2;s8:patientss5:emails7:default"
    derived = HKDFExpand(SHA256(), 32, info).derive(key.secret)
    digest = hmac.new(derived, b"sada@example.org", hashlib.sha256).hexdigest()
    assert index.of("ada@example.org") == f"v1.0a1b2c3d.{digest[:32]}"
    # Written down, so that the format cannot change unseen.
    assert index.of("ada@example.org") == "v1.0a1b2c3d.167a4d531a3301f544cd8f8882af6753"


@pytest.mark.parametrize(
    "other",
    [
        BlindIndex(RING, field=("patients", "phone")),
        BlindIndex(RING, field=("patients", "email", "default")),
        BlindIndex(RING, field=("patientsemail",)),
        BlindIndex(Keyring.generate(), field=FIELD),
    ],
)
def test_other_fields_and_keys_make_other_tokens(other):
    assert other.of("ada").split(".")[2] != INDEX.of("ada").split(".")[2]


def test_tenants_have_nothing_in_common():
    assert len({INDEX.of("ada", tenant=tenant) for tenant in ("default", "", "one", "two")}) == 4


@given(bits=st.integers(1, 256), value=indexable)
def test_a_shorter_token_is_the_beginning_of_a_longer_one(bits, value):
    def digits(bits):
        text = BlindIndex(RING, field=FIELD, bits=bits).of(value).split(".")[2]
        return bin(int(text, 16) | 1 << (4 * len(text)))[3:]

    short, full = digits(bits), digits(256)
    assert short[:bits] == full[:bits]
    assert set(short[bits:]) <= {"0"}
    assert len(short) - bits < 4


def test_few_bits_make_as_many_coincidences_as_was_said():
    rows, wanted = 4096, 4
    bits = BlindIndex.bits_for(rows, wanted)
    index = BlindIndex(RING, field=FIELD, bits=bits)
    tokens = [index.of(n) for n in range(rows)]
    others = sum(tokens.count(token) - 1 for token in set(tokens[:200])) / len(set(tokens[:200]))
    assert bits == 10
    assert 3 < others < 5.5


@pytest.mark.parametrize(
    ("rows", "coincidences", "bits"),
    [(1, 1, 1), (1000, 1, 10), (1024, 1, 10), (10**6, 4, 18), (2**64, 1e-60, 256)],
)
def test_bits_for(rows, coincidences, bits):
    assert BlindIndex.bits_for(rows, coincidences) == bits


@pytest.mark.parametrize(("rows", "coincidences"), [(0, 1), (1, 0), (1, -1), (1, float("nan"))])
def test_bits_for_nothing_is_a_mistake(rows, coincidences):
    with pytest.raises(ValueError):
        BlindIndex.bits_for(rows, coincidences)


class TestRotation:
    def test_candidates_find_tokens_of_every_key_in_use_the_newest_first(self):
        newer = RING.rotate()
        index = BlindIndex(newer, field=FIELD)
        assert index.candidates("ada") == (index.of("ada"), INDEX.of("ada"))
        assert index.is_current(index.of("ada"))
        assert not index.is_current(INDEX.of("ada"))

    def test_a_retired_key_finds_nothing(self):
        index = BlindIndex(RING.rotate().retire(RING.primary), field=FIELD)
        assert index.candidates("ada") == (index.of("ada"),)

    def test_a_pinned_key_outlives_rotation(self):
        index = BlindIndex(RING.rotate(), field=FIELD, key_id=RING.primary)
        assert index.of("ada") == INDEX.of("ada")
        assert index.candidates("ada")[0] == INDEX.of("ada")

    @pytest.mark.parametrize("key_id", ["00000000", "xyz", ""])
    def test_a_pinned_key_must_be_in_use(self, key_id):
        with pytest.raises(ValueError):
            BlindIndex(RING, field=FIELD, key_id=key_id)

    def test_a_key_file_is_followed(self, tmp_path):
        file = KeyFile(tmp_path / "index.json")
        before = file.open()
        index = BlindIndex(file, field=FIELD)
        old = index.of("ada")
        file.rotate()
        assert index.of("ada") != old
        assert old in index.candidates("ada")
        file.retire(before.primary)
        assert old not in index.candidates("ada")

    def test_a_key_file_that_is_gone_stops_the_index(self, tmp_path):
        file = KeyFile(tmp_path / "index.json", poll_seconds=1e-9)
        file.open()
        index = BlindIndex(file, field=FIELD)
        (tmp_path / "index.json").unlink()
        for _ in range(2):
            with pytest.raises(Misconfigured):
                index.of("ada")

    def test_bits_that_changed_are_not_current(self):
        assert not BlindIndex(RING, field=FIELD, bits=64).is_current(INDEX.of("ada"))


class TestInput:
    class Word(StrEnum):
        ADA = "ada"

    def test_an_enumeration_is_its_text(self):
        assert INDEX.of(self.Word.ADA) == INDEX.of("ada")

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            1.0,
            Decimal(1),
            ["a"],
            {"a": 1},
            object(),
            datetime(2026, 1, 1, tzinfo=UTC),
            bytearray(b"a"),
        ],
    )
    def test_what_has_several_spellings_or_two_values_is_refused(self, value):
        with pytest.raises(TypeError):
            INDEX.of(value)

    @pytest.mark.parametrize(
        "value",
        ["MARKER\ud800", "MARKER" * MAX_CODE_POINTS, b"MARKER" * MAX_CODE_POINTS, 1 << 2**20],
        ids=["surrogate", "text", "bytes", "number"],
    )
    def test_what_is_too_long_or_no_text_is_refused_unquoted(self, value):
        with pytest.raises(ValueError) as caught:
            INDEX.of(value)
        assert "MARKER" not in str(caught.value)
        assert caught.value.__context__ is None

    def test_a_long_value_is_refused_before_it_is_normalised(self):
        index = BlindIndex(RING, field=FIELD, normalise=lambda text: pytest.fail("normalised"))
        with pytest.raises(ValueError):
            index.of("a\u0301\u0300" * 1_000_000)

    @pytest.mark.parametrize("value", ["", "\x00", b"", 0, -1, date.min, UUID(int=0)])
    def test_empty_and_extreme_values_have_tokens(self, value):
        assert INDEX.recognises(INDEX.of(value))

    @pytest.mark.parametrize("tenant", [None, 1, b"one"])
    def test_a_tenant_is_a_text(self, tenant):
        with pytest.raises(TypeError):
            INDEX.of("ada", tenant=tenant)

    @pytest.mark.parametrize(
        "options",
        [
            {"field": ()},
            {"field": "email"},
            {"field": (None,)},
            {"field": ("\ud800",)},
            {"bits": 0},
            {"bits": 257},
            {"bits": True},
            {"bits": 12.0},
            {"normalise": "caseless"},
        ],
    )
    def test_wrong_options_are_refused_at_once(self, options):
        with pytest.raises((TypeError, ValueError)):
            BlindIndex(RING, **{"field": FIELD} | options)

    @pytest.mark.parametrize("keys", [None, b"k" * 32, "key"])
    def test_keys_are_a_ring(self, keys):
        with pytest.raises(TypeError):
            BlindIndex(keys, field=FIELD)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "ada",
            "v1.",
            "v2.00000000.ab",
            "v1.0000000.ab",
            "v1.00000000.AB",
            "v1.00000000.ab\n",
            None,
            5,
            b"v1.00000000.ab",
        ],
    )
    def test_what_is_no_token_is_not_taken_for_one(self, text):
        assert not BlindIndex.recognises(text)


def test_it_shows_and_pickles_no_key():
    assert RING.primary_key.secret.hex() not in repr(INDEX)
    with pytest.raises(TypeError):
        pickle.dumps(INDEX)


def test_many_tenants_are_served_in_bounded_memory():
    index = BlindIndex(RING, field=FIELD)
    for n in range(3000):
        index.of("ada", tenant=str(n))
    assert len(index._derived) <= 1024
