"""Stand-ins: of the same kind and form, equal for equal values, and never the value."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.detect import (
    test_entities_americas,
    test_entities_asia,
    test_entities_europe,
    test_entities_more,
)
from tests.unit.detect.samples import PII

from aisecure.detect import PiiDetector, Redactor, fake, pattern
from aisecure.detect.checksums import luhn
from aisecure.detect.payment import card_brand

KEY = bytes(range(32))
STYLE = fake(KEY)
DETECTOR = PiiDetector()
SAID: dict[str, tuple[str, str]] = {kind: ("", value) for kind, value in PII.items()}
for module in (test_entities_americas, test_entities_asia, test_entities_europe, test_entities_more):
    SAID.update(module.SAID)
#: No stand-in for these: what could stand there would be somebody's.
LABELLED = {"pii.crypto"}


@pytest.mark.parametrize("kind", sorted(SAID.keys() - LABELLED))
def test_a_stand_in_is_found_as_what_it_stands_for(kind: str) -> None:
    label, value = SAID[kind]
    for scope in ("a", "b", "c"):
        new = fake(KEY, scope=scope)(kind, value)
        assert new != value
        text = f"For the file: {label}{new}, as of now."
        assert kind in {finding.kind for finding in DETECTOR.scan(text)}


def test_digits_stay_digits_and_signs_stay() -> None:
    kinds = SAID.keys() - LABELLED - {"pii.email", "pii.url", "pii.ip_address"}
    for kind in kinds:
        value = SAID[kind][1]
        new = STYLE(kind, value)
        forms = [
            "".join("9" if c.isdigit() else "a" if c.isalpha() else c for c in text) for text in (value, new)
        ]
        assert len(new) == len(value)
        if kind not in {"pii.mac_address", "pii.uuid"}:
            assert forms[0] == forms[1], (kind, value, new)


@settings(max_examples=60)
@given(st.text("0123456789", min_size=11, max_size=11).map(lambda digits: "4111" + digits))
def test_cards_keep_their_brand_and_their_check_digit(start: str) -> None:
    number = next(start + digit for digit in "0123456789" if luhn(start + digit))
    new = STYLE("pii.credit_card", number)
    assert new != number
    assert luhn(new)
    assert card_brand(new) == card_brand(number)


def test_equal_values_get_equal_stand_ins_and_other_keys_and_scopes_others() -> None:
    value = "ada.byron.of.lovelace@example.com"
    assert STYLE("pii.email", value) == fake(KEY)("pii.email", value)
    assert len({style("pii.email", value) for style in (STYLE, fake(bytes(32)), fake(KEY, scope="b"))}) == 3


def test_whole_texts_and_streams() -> None:
    text = "ada@example.com, born 12 May 1990, +1 415 555 2671, key ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    redactor = Redactor(style=STYLE)
    whole = redactor.redact(text).text
    assert "ada@" not in whole
    assert "May 1990" in whole
    assert whole.endswith("[GITHUB_TOKEN]")
    stream = redactor.stream()
    assert "".join(map(stream.feed, text)) + stream.finish() == whole


def test_kinds_of_your_own_keep_their_form() -> None:
    customers = pattern("acme.customer", r"C-\d{6}")
    redactor = Redactor([PiiDetector(recognizers=[customers])], style=STYLE)
    new = redactor.redact("as C-123456 said").text
    assert new != "as C-123456 said"
    assert len(new) == 16
    assert new[4] == "-"


def test_names_get_other_names_and_places_their_label() -> None:
    assert STYLE("pii.person", "Ada Byron").count(" ") == 1
    assert STYLE("pii.location", "Berlin") == "[LOCATION]"
    assert STYLE("secret.jwt", "eyJ") == "[JWT]"


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted({*SAID, "acme.thing", "pii.person", "pii.uuid"})), st.text(max_size=40))
def test_any_value_gets_some_answer_that_is_not_the_value(kind: str, value: str) -> None:
    assert STYLE(kind, value) != value


def test_long_and_odd_values_and_wrong_keys() -> None:
    assert STYLE("pii.us_ssn", "5" * 1_000_000) == "[US_SSN]"
    assert STYLE("pii.us_ssn", "") == "[US_SSN]"
    assert STYLE("acme.thing", "\ud800") == "[THING]"
    assert STYLE("acme.thing", "٣٣٣٣٣٣٣٣").isdecimal()
    with pytest.raises(TypeError):
        fake("x" * 32)
    with pytest.raises(ValueError, match="32"):
        fake(b"short")
