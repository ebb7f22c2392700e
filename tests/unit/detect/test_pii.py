"""What the detector of personal data finds, and what it leaves alone."""

from __future__ import annotations

import random

import pytest
from tests.unit.detect.samples import PII

from aisecure.detect import PiiDetector, Redactor, presidio_name
from aisecure.detect.checksums import luhn, mod97
from aisecure.detect.payment import card_brand

DETECTOR = PiiDetector()


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in DETECTOR.scan(text)]


@pytest.mark.parametrize("kind", PII)
def test_each_kind_is_found_with_exact_offsets(kind: str) -> None:
    text = f"🔑 before {PII[kind]}, after"
    (finding,) = DETECTOR.scan(text)
    assert finding.kind == kind
    assert text[finding.start : finding.end] == PII[kind]
    assert finding.detector == "pii"


@pytest.mark.parametrize("kind", PII)
def test_a_type_is_found_alone_when_only_it_is_asked_for(kind: str) -> None:
    text = "; ".join(PII.values())
    assert [finding.kind for finding in PiiDetector([kind]).scan(text)] == [kind]


@pytest.mark.parametrize(
    "value",
    [
        "a@b.example",
        "o'brien@example.ie",
        "info@xn--80ak6aa92e.com",
        "jörg@müller.example",
        "用户@例子.广告",
        "x_y%z@a-b.c-d.example",
        "l" * 100 + "@example.org",
    ],
)
def test_forms_of_email_are_found_whole(value: str) -> None:
    assert found(f"<{value}>.") == [("pii.email", value)]


@pytest.mark.parametrize(
    "text",
    [
        "user@host",
        "@app.route",
        "a@b.c",
        "git@code.example.com:team/app",
        "logo@2x.png",
        "pkg@4.17.21",
        "a@.example",
    ],
)
def test_what_only_resembles_an_email_is_left(text: str) -> None:
    assert found(text) == []


def test_an_email_ends_before_the_full_stop_and_the_words_around() -> None:
    assert found("Write to a@example.org. Or to b@example.org5") == [
        ("pii.email", "a@example.org"),
        ("pii.email", "b@example.org"),
    ]


@pytest.mark.parametrize(
    ("number", "brand"),
    [
        ("4111111111111111", "visa"),
        ("4222222222222", "visa"),
        ("5500005555555559", "mastercard"),
        ("2223003122003222", "mastercard"),
        ("378282246310005", "amex"),
        ("6011000990139424", "discover"),
        ("30569309025904", "diners"),
        ("3530111333300000", "jcb"),
        ("5019717010103742", "maestro"),
        ("6200000000000005", "unionpay"),
    ],
)
def test_cards_of_each_brand_are_found_and_one_wrong_digit_is_not(number: str, brand: str) -> None:
    assert card_brand(number) == brand
    assert found(f"no {number}.") == [("pii.credit_card", number)]
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert found(f"no {wrong}.") == []


@pytest.mark.parametrize("gap", [" ", "-", ".", "\xa0"])
def test_cards_are_found_in_groups(gap: str) -> None:
    for number in (gap.join(("4012", "8888", "8888", "1881")), gap.join(("3714", "496353", "98431"))):
        assert found(f"card {number} on file") == [("pii.credit_card", number)]


def test_a_number_of_no_brand_is_a_card_only_after_the_word() -> None:
    assert luhn("9999999999999995")
    assert found("case 9999999999999995") == []
    assert found("my card is 9999999999999995") == [("pii.credit_card", "9999999999999995")]


def test_full_width_digits_are_digits() -> None:
    wide = "4111 1111 1111 1111".translate({ord("0") + digit: 0xFF10 + digit for digit in range(10)})
    assert found(wide) == [("pii.credit_card", wide)]


@pytest.mark.parametrize(
    "value",
    [
        "DE89370400440532013000",
        "de89 3704 0044 0532 0130 00",
        "NO9386011117947",
        "FR14 2004 1010 0505 0001 3M02 606",
        "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
        "QA58 DOHB 0000 1234 5678 90AB CDEF G",
        "LI21-0881-0000-2324-013A-A",
    ],
)
def test_ibans_are_cut_to_the_length_of_their_country(value: str) -> None:
    assert found(f"{value} OK then") == [("pii.iban", value)]


@pytest.mark.parametrize(
    "text", ["DE88370400440532013000", "DE8937040044053201300", "ZZ89370400440532013000"]
)
def test_a_wrong_check_digit_length_or_country_is_no_iban(text: str) -> None:
    assert not any(kind == "pii.iban" for kind, _ in found(text))


@pytest.mark.parametrize(
    "value",
    [
        "+1 (415) 555-2671",
        "(415) 555-2671",
        "415.555.2671 ext. 12",
        "415-555-2671x89",
        "001-253-366-9781",
        "+49 (0) 30 901820",
        "+442079460958",
        "020 7946 0958",
        "06 12 34 56 78",
        "1-800-555-0199",
    ],
)
def test_forms_of_phone_numbers_are_found_whole(value: str) -> None:
    assert found(f"at {value}, please") == [("pii.phone", value)]


def test_bare_digits_are_a_phone_number_only_after_a_label() -> None:
    assert found("order 4155552671") == []
    assert found("call 4155552671 now") == [("pii.phone", "4155552671")]
    assert found("phone:\n555 1234") == [("pii.phone", "555 1234")]


@pytest.mark.parametrize(
    "text",
    [
        "NHS number 401 023 2137",
        "2024-01-05",
        "20240105",
        "12:30:45",
        "1.2.3.4.5",
        "case 171 607 9098",
        "3.14159",
    ],
)
def test_other_numbers_are_no_phone_numbers(text: str) -> None:
    assert "pii.phone" not in [kind for kind, _ in found(text)]


@pytest.mark.parametrize(
    "value",
    ["192.0.2.7", "10.0.0.0/8", "255.255.255.255", "::1", "fe80::1%eth0", "::ffff:192.0.2.128", "1:2:3:4:5:6:7:8", "2001:db8::/32"],
)  # fmt: skip
def test_forms_of_ip_addresses_are_found_whole(value: str) -> None:
    assert found(f"from {value} to") == [("pii.ip_address", value)]


@pytest.mark.parametrize(
    "text",
    ["v1.2.3.4", "version 1.2.3.4", "package==1.2.3.4", "256.1.1.1", "1.3.6.1.4.1", "std::vector", "a::b", "x[::2]", "10:20:30"],
)  # fmt: skip
def test_versions_times_and_scopes_are_no_ip_addresses(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text", ["000-12-3456", "666-12-3456", "900-12-3456", "123-00-4567", "123-45-0000", "078-05-1120"]
)
def test_numbers_that_were_never_issued_are_no_ssn(text: str) -> None:
    assert found(text) == []


def test_nine_bare_digits_are_an_ssn_only_after_the_label() -> None:
    assert found("id 536904399") == []
    assert found("SSN 536904399") == [("pii.us_ssn", "536904399")]


def test_neighbours_without_a_gap_are_both_found() -> None:
    text = "a@example.org/4111111111111111"
    assert [kind for kind, _ in found(text)] == ["pii.email", "pii.credit_card"]


def test_an_overlap_is_one_finding_of_the_longest_kind_over_all_of_it() -> None:
    text = "4155552671@example.org"
    assert found(f"call {text}") == [("pii.email", text)]


def test_the_answer_is_the_same_every_time() -> None:
    text = " ".join(list(PII.values()) * 3)
    assert all(PiiDetector().scan(text) == DETECTOR.scan(text) for _ in range(3))


@pytest.mark.parametrize("value", ["ada@example.org", "536-90-4399", "4111111111111111", "192.0.2.7"])
@pytest.mark.parametrize("padding", ["/", "(", "é/", "=-/"])
def test_no_padding_moves_an_entity_out_of_sight(value: str, padding: str) -> None:
    for length in random.Random(7).sample(range(1000), 60):
        text = (padding * length)[:length].rstrip("-é") + f"/{value}/" + padding * 300
        assert value in [part for _, part in found(text)], length


def test_unknown_types_wrong_thresholds_and_bare_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="shoe_size"):
        PiiDetector(["pii.shoe_size"])
    with pytest.raises(ValueError, match="threshold"):
        PiiDetector(threshold=2)
    with pytest.raises(TypeError):
        PiiDetector("pii.email")
    with pytest.raises(TypeError):
        DETECTOR.scan(b"bytes")  # type: ignore[arg-type]


def test_a_threshold_leaves_out_what_is_less_sure() -> None:
    assert PiiDetector(threshold=0.85).scan("020 7946 0958") == []


def test_every_kind_has_the_name_that_presidio_uses() -> None:
    names = {presidio_name(kind) for kind in DETECTOR.types}
    assert names >= {"EMAIL_ADDRESS", "CREDIT_CARD", "PHONE_NUMBER", "IBAN_CODE", "IP_ADDRESS", "US_SSN"}


def test_check_digits_agree_with_their_definitions() -> None:
    rng = random.Random(5)
    for _ in range(300):
        digits = "".join(rng.choices("0123456789", k=rng.randrange(2, 20)))
        doubled = [int(d) * (2 if i % 2 else 1) for i, d in enumerate(reversed(digits))]
        assert luhn(digits) == (sum(sum(map(int, str(d))) for d in doubled) % 10 == 0)
        assert mod97(digits) == (int(digits) % 97 == 1)


def test_what_is_percent_encoded_in_a_query_is_found() -> None:
    text = "https://x.example/u?email=ada%40example.org&phone=%2B442079460958&page=2"
    assert Redactor().redact(text).text == "https://x.example/u?email=[EMAIL]&phone=[PHONE]&page=2"
