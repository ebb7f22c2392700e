"""Identifiers of the United Kingdom and of Europe: found in every usual grouping, and told from what looks like them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import PiiDetector
from aisecure.detect.entities import ENTITIES

DETECTOR = PiiDetector()

#: Kind: what it is called, and a number that its check accepts.
SAID = {
    "pii.uk_nhs": ("NHS number ", "943 476 5919"),
    "pii.uk_nino": ("National Insurance Number: ", "AB 12 34 56 C"),
    "pii.uk_postcode": ("postcode ", "SW1A 2AA"),
    "pii.uk_vehicle_registration": ("car reg ", "LB07 SEO"),
    "pii.uk_driving_licence": ("driving licence ", "JONES 710238 HA9AR"),
    "pii.uk_utr": ("UTR ", "1955839661"),
    "pii.uk_trn": ("TRN ", "63T12345"),
    "pii.uk_sort_code": ("sort code ", "20-44-18"),
    "pii.de_tax_id": ("Steuer-ID ", "36 574 261 809"),
    "pii.de_tax_number": ("Steuernummer: ", "181/815/08155"),
    "pii.de_id_card": ("Personalausweis ", "L01X00T471"),
    "pii.de_passport": ("Reisepass ", "C01X00T478"),
    "pii.de_social_security": ("Rentenversicherungsnummer ", "15 070649 C 103"),
    "pii.de_health_insurance": ("KVNR ", "A123456780"),
    "pii.de_vat_id": ("USt-IdNr. ", "DE 136 695 976"),
    "pii.de_lanr": ("LANR ", "123456601"),
    "pii.fr_nir": ("NIR ", "2 55 08 14 168 025 38"),
    "pii.es_nif": ("DNI ", "12345678Z"),
    "pii.es_nie": ("NIE ", "X1234567L"),
    "pii.it_fiscal_code": ("codice fiscale ", "RSSMRA85T10A562S"),
    "pii.it_vat_code": ("partita IVA ", "07643520567"),
    "pii.it_identity_card": ("carta d'identità ", "AA1234567"),
    "pii.nl_bsn": ("BSN ", "111222333"),
    "pii.be_nrn": ("rijksregisternummer ", "85.07.30-033.28"),
    "pii.pl_pesel": ("PESEL ", "44051401359"),
    "pii.pt_nif": ("contribuinte ", "123456789"),
    "pii.se_personnummer": ("personnummer ", "811228-9874"),
    "pii.fi_personal_identity_code": ("henkilötunnus ", "131052-308T"),
    "pii.no_fnr": ("fødselsnummer ", "01019000083"),
    "pii.at_svnr": ("SVNR ", "1237 010180"),
    "pii.ch_ahv": ("AHV ", "756.9217.0769.85"),
    "pii.ie_pps": ("PPSN ", "1234567T"),
    "pii.tr_national_id": ("TC Kimlik No ", "10000000146"),
    "pii.tr_license_plate": ("plaka ", "34 ABC 123"),
    "pii.ro_cnp": ("CNP ", "1800101221144"),
    "pii.bg_egn": ("EGN ", "7523169263"),
    "pii.eu_vat_id": ("TVA ", "FR40303265045"),
}
BARE = [
    "pii.uk_nino", "pii.uk_driving_licence", "pii.de_social_security", "pii.de_vat_id", "pii.fr_nir", "pii.es_nif", "pii.es_nie",
    "pii.it_fiscal_code", "pii.be_nrn", "pii.se_personnummer", "pii.fi_personal_identity_code", "pii.ch_ahv", "pii.tr_national_id", "pii.ie_pps",
]  # fmt: skip


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in DETECTOR.scan(text)]


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("around", ["{}", "It says {}, they wrote", "({})", "a\n{}\nb", "x {}. Next"])
def test_after_its_name_each_is_found_whole(kind: str, around: str) -> None:
    label, value = SAID[kind]
    assert found(around.format(label + value)) == [(kind, value)]


@pytest.mark.parametrize("kind", BARE)
def test_shape_and_check_digit_are_enough_for_some(kind: str) -> None:
    value = SAID[kind][1]
    assert (kind, value) in found(f"there is {value} in it")


CHECKED = sorted(({entity.kind for entity in ENTITIES if entity.check} & set(SAID)) - {"pii.de_tax_number"})


@pytest.mark.parametrize("kind", CHECKED)
@given(data=st.data())
def test_whatever_is_changed_the_check_decides_and_never_raises(kind: str, data: st.DataObject) -> None:
    value = "".join(filter(str.isalnum, SAID[kind][1])).upper()
    place = data.draw(st.integers(0, len(value) - 1))
    other = data.draw(
        st.sampled_from("0123456789" if value[place].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    )
    changed = value[:place] + other + value[place + 1 :]
    checks = [entity.check for entity in ENTITIES if entity.kind == kind and entity.check]
    assert any(check(value) for check in checks)
    assert all(check(changed) in (True, False) for check in checks)


@pytest.mark.parametrize(
    "kind",
    [
        "pii.uk_nhs", "pii.de_tax_id", "pii.de_lanr", "pii.fr_nir", "pii.es_nif", "pii.es_nie", "pii.it_fiscal_code", "pii.nl_bsn", "pii.be_nrn",
        "pii.pl_pesel", "pii.pt_nif", "pii.se_personnummer", "pii.fi_personal_identity_code", "pii.no_fnr", "pii.ch_ahv", "pii.tr_national_id", "pii.ro_cnp", "pii.bg_egn",
    ],
)  # fmt: skip
def test_another_last_character_is_refused(kind: str) -> None:
    value = "".join(filter(str.isalnum, SAID[kind][1])).upper()
    alphabet = "0123456789" if value[-1].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    if kind == "pii.de_lanr":
        value, tail = value[:7], value[7:]
    else:
        tail = ""
    checks = [entity.check for entity in ENTITIES if entity.kind == kind and entity.check]
    accepted = [c for c in alphabet if any(check(value[:-1] + c + tail) for check in checks)]
    assert accepted == [value[-1]]


@pytest.mark.parametrize(
    "text",
    [
        "version 12.34.56.78", "order 943 476 5918", "A1 2BC of D3 4EF", "total 12345678901 bytes", "at 10:20:30 on 5", "see ab12cde here", "sha 1a2b3c4d5e6f", "x86_64-v3",
        "utf8 latin1 iso8859", "H2O2 and CO2", "B12 and K7", "3x5 9x12", "row 34 of 1234 done", "12/34/5678", "12345678A1", "http2 h264 mp3",
    ],
)  # fmt: skip
def test_other_words_and_numbers_are_left(text: str) -> None:
    assert found(text) == []


def test_capitals_before_groups_of_digits_belong_to_them_in_streams_too() -> None:
    from aisecure.detect import Redactor

    redactor = Redactor([DETECTOR])
    text = "He gave AB 12 34 56 C. The USA 4 ever, DE 136 695 976, and XYZ 12."
    whole = redactor.redact(text).text
    assert whole == "He gave [UK_NINO]. The USA 4 ever, [DE_VAT_ID], and XYZ 12."
    for size in range(1, 9):
        stream = redactor.stream()
        pieces = [stream.feed(text[at : at + size]) for at in range(0, len(text), size)]
        assert "".join(pieces) + stream.finish() == whole
