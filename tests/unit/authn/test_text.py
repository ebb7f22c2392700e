"""The text of API keys."""

from __future__ import annotations

import re
import zlib

import pytest

from aisecure.authn import KEY_PATTERN, is_well_formed
from aisecure.authn.text import KeyTextFormat, base62

FORMAT = KeyTextFormat("ais", "live")
KNOWN = "ais_live_000000000000_" + "0" * 30 + "0VqxsA"


def test_a_new_key_reads_back():
    text, parts = FORMAT.new()
    assert FORMAT.read(text) == parts
    assert re.fullmatch(r"ais_live_[0-9A-Za-z]{12}_[0-9A-Za-z]{36}", text)
    assert (len(parts.key_id), len(parts.secret)) == (12, 30)


def test_the_secret_has_at_least_160_bits_and_every_value_has_a_text():
    asked = []

    def highest(below):
        asked.append(below)
        return below - 1

    text, parts = FORMAT.new(highest)
    assert asked[1] >= 2**160
    assert parts == ("z" * 12, "z" * 30)
    assert FORMAT.read(text) == parts
    assert FORMAT.new(lambda below: 0)[0] == KNOWN


def test_base62_is_padded_and_counts_on():
    assert [base62(number, 2) for number in (0, 9, 10, 35, 36, 61, 62, 62 * 62 - 1)] == [
        "00", "09", "0A", "0Z", "0a", "0z", "10", "zz",
    ]  # fmt: skip
    assert base62(2**32 - 1, 6) == "4gfFC3"


def test_the_checksum_is_crc_32_of_all_before_it():
    text, _ = FORMAT.new()
    assert base62(zlib.crc32(text[:-6].encode()), 6) == text[-6:]


def test_any_single_changed_character_is_found_without_a_look_up():
    text, _ = FORMAT.new()
    for index, old in enumerate(text):
        for new in "0Az_é":
            if new != old:
                assert FORMAT.read(text[:index] + new + text[index + 1 :]) is None


@pytest.mark.parametrize(
    "text",
    ["", "ais_live_", KNOWN[:-1], KNOWN + "A", KNOWN + "\n", " " + KNOWN, KNOWN.upper(), KNOWN.replace("_", "-"),
     "\0" * len(KNOWN), "\ud800" * len(KNOWN), "é" * len(KNOWN), "\uff10" * len(KNOWN), "ais_live_" * 5_500_000,
     KNOWN[:-6] + "\uff10VqxsA", KNOWN[:-7] + "\u0660" + KNOWN[-6:]],
    ids=lambda text: f"{text[:12]!a}-{len(text)}",
)  # fmt: skip
def test_what_is_no_key_is_refused(text):
    assert FORMAT.read(text) is None
    assert not is_well_formed(text)


def test_a_key_of_another_prefix_or_environment_is_refused():
    for prefix, environment in (("ais", "test"), ("acme", "live"), ("ai", "slive")):
        text, _ = KeyTextFormat(prefix, environment).new()
        assert is_well_formed(text)
        assert FORMAT.read(text) is None


def test_the_scanner_pattern_finds_keys_in_running_text_and_the_checksum_sorts_out_look_alikes():
    text, _ = KeyTextFormat("acme2", "eu1").new()
    fake = KNOWN[:-1] + "B"
    found = re.findall(KEY_PATTERN, f'key="{text}", {KNOWN}; x{fake}\n{fake} {text}0 ')
    assert found == [text, KNOWN, "x" + fake, fake]
    assert [*map(is_well_formed, found)] == [True, True, False, False]


def test_the_scanner_pattern_is_done_with_a_megabyte_of_near_misses():
    for near in ("a", "a_", "ais_live_", "ais_live_000000000000_", "a0_a0_", KNOWN[:-1] + "_"):
        assert re.findall(KEY_PATTERN, near * (1_000_000 // len(near))) == []


@pytest.mark.parametrize("bad", ["", "a", "Ais", "1ais", "a_b", "a" * 17, "äis", "ai\n", "ai s"])
def test_a_prefix_that_would_break_the_form_is_refused(bad):
    with pytest.raises(ValueError, match="prefix: write 2 to 16"):
        KeyTextFormat(bad, "live")


@pytest.mark.parametrize("bad", ["", "Live", "1", "a_b", "a" * 17, "li\n"])
def test_an_environment_that_would_break_the_form_is_refused(bad):
    with pytest.raises(ValueError, match="environment: write 1 to 16"):
        KeyTextFormat("ais", bad)
