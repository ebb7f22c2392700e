"""Crypto-currency addresses, plates, registers, cards' details, ages and user names: what is found, and what looks like them."""

from __future__ import annotations

import pytest

from aisecure.detect import PiiDetector, presidio_name

DETECTOR = PiiDetector()

#: Kind: what it is called, and one of them.
SAID = {
    "pii.crypto": ("wallet ", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
    "pii.ca_postal_code": ("postal code ", "K1A 0B1"),
    "pii.de_bsnr": ("BSNR ", "123456789"),
    "pii.de_fuehrerschein": ("Führerscheinnummer ", "MU12345678X"),
    "pii.de_handelsregister": ("Handelsregister ", "HRB 12345"),
    "pii.de_kfz": ("Kennzeichen: ", "M-AB 1234"),
    "pii.za_company_registration": ("company registration ", "2015/123456/07"),
    "pii.za_vat_number": ("VAT number ", "4123456789"),
    "pii.za_income_tax_number": ("income tax number ", "0123456789"),
    "pii.za_traffic_register_number": ("traffic register number ", "1234567890123"),
    "pii.za_license_plate": ("number plate ", "CA12GPGP"),
    "pii.se_organisationsnummer": ("organisationsnummer ", "556036-0793"),
    "pii.ph_umid": ("UMID ", "0111-1234567-8"),
    "pii.us_prior_authorization_number": ("prior authorization number: ", "PA123456789"),
    "pii.us_claim_number": ("claim number ", "CLM-1234567"),
    "pii.us_prescription_number": ("Rx number: ", "7654321"),
    "pii.us_referral_number": ("referral no. ", "REF1234567"),
    "pii.swift_bic": ("BIC: ", "DEUTDEDB101"),
    "pii.card_security_code": ("CVV: ", "123"),
    "pii.card_expiry": ("valid thru ", "09/27"),
    "pii.age_over_89": ("she was aged ", "94"),
    "pii.username": ("username: ", "jsmith_42"),
}


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in DETECTOR.scan(text)]


@pytest.mark.parametrize("kind", SAID)
def test_each_is_found_after_what_it_is_called(kind: str) -> None:
    label, value = SAID[kind]
    assert (kind, value) in found(f"For the file: {label}{value}, as of now.")


@pytest.mark.parametrize(
    "address",
    [
        # BIP-173 and BIP-350, and the first transactions of the others
        "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",
        "bc1pw508d6qejxtdg4y5r3zarvary0c5xw7kw508d6qejxtdg4y5r3zarvary0c5xw7kt5nd6y",
        "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",
        "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",
        "rDTXLQ7ZKZVKz33zJbHjgVShjsBnqMBhmN",
        "TJRyWwFs9wTFGZg3JbrVriFbNfCug5tDeC",
        "0x52908400098527886E0F7030069857D2E4169EE7",
    ],
)
def test_addresses_are_found_bare_and_not_with_a_changed_character(address: str) -> None:
    assert found(f"send it to {address} today") == [("pii.crypto", address)]
    if not address.startswith("0x"):
        changed = address[:-1] + ("q" if address[-1] not in "qQ" else "p")
        assert "pii.crypto" not in {kind for kind, _ in found(f"send it to {changed} today")}


@pytest.mark.parametrize(
    "text", ["a 94-year-old man", "he is 101 years old", "94yo male", "age: 90", "aged 112."]
)
def test_ages_over_89_are_found(text: str) -> None:
    assert [kind for kind, _ in found(text)] == ["pii.age_over_89"]


@pytest.mark.parametrize(
    "text",
    [
        "aged 42",
        "an 89-year-old man",
        "page 94",
        "94 % of them",
        "usage: 94 MB",
        "user=request.user_id",
        "the username is required",
        "login to the site",
        "exp = 12",
        "chapter 12/27",
        "error code 404",
        "status code: 500",
        "see A5 B 3",
        "RX packets 1234567",
        "sha 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b",
        "0x0000000000000000000000000000000000000000",
    ],
)
def test_what_only_looks_like_one_is_left(text: str) -> None:
    assert found(text) == []


def test_uuids_are_looked_for_when_they_are_asked_for() -> None:
    text = "id 0190163d-8694-739b-aea5-966c26f8ad91 of it"
    assert "pii.uuid" not in DETECTOR.types
    assert found(text) == []
    assert [finding.kind for finding in PiiDetector({"pii.uuid"}).scan(text)] == ["pii.uuid"]


def test_presidio_knows_them_by_these_names() -> None:
    assert [presidio_name(f"pii.{name}") for name in ("crypto", "ca_postal_code", "de_kfz", "uuid")] == [
        "CRYPTO",
        "CA_POSTAL_CODE",
        "DE_KFZ",
        "UUID",
    ]
