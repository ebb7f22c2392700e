"""Identifiers of Asia, Australia, Africa and the Middle East."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.detect import PiiDetector
from aisecure.detect.entities import ENTITIES

DETECTOR = PiiDetector()

#: Kind: what it is called, and a number that its check accepts.
SAID = {
    "pii.in_aadhaar": ("Aadhaar ", "2341 2341 2346"),
    "pii.in_pan": ("PAN ", "AFZPK7190K"),
    "pii.in_gstin": ("GSTIN ", "27AAPFU0939F1ZV"),
    "pii.in_voter": ("voter id ", "YGH4410982"),
    "pii.in_vehicle_registration": ("vehicle number ", "MH 12 DE 1433"),
    "pii.au_tfn": ("tax file number ", "876 543 210"),
    "pii.au_abn": ("ABN ", "51 824 753 556"),
    "pii.au_acn": ("ACN ", "004 085 616"),
    "pii.au_medicare": ("Medicare card ", "2428 77813 2"),
    "pii.sg_nric_fin": ("NRIC ", "S1234567D"),
    "pii.nz_ird": ("IRD number ", "49-091-850"),
    "pii.nz_nhi": ("NHI ", "ZZZ0016"),
    "pii.jp_my_number": ("マイナンバー ", "1234 5678 9018"),
    "pii.kr_rrn": ("RRN ", "880101-1234567"),
    "pii.kr_frn": ("FRN ", "880101-5234567"),
    "pii.kr_brn": ("business registration ", "124-81-00998"),
    "pii.cn_ric": ("身份证 ", "11010519491231002X"),
    "pii.th_tnin": ("Thai ID ", "1-1014-01345-61-9"),
    "pii.ph_mobile_number": ("telepono ", "0917 555 0143"),
    "pii.hk_id": ("HKID ", "G123456A"),
    "pii.tw_id": ("national id ", "A123456789"),
    "pii.za_id_number": ("South African ID ", "8001015009087"),
    "pii.ng_nin": ("NIN ", "12345678901"),
    "pii.ng_vehicle_registration": ("plate number ", "KJA-420XY"),
    "pii.il_id": ("Teudat Zehut ", "123456782"),
    "pii.eg_national_id": ("Egyptian ID ", "29001011234567"),
}


def found(text: str) -> list[tuple[str, str]]:
    return [(finding.kind, text[finding.start : finding.end]) for finding in DETECTOR.scan(text)]


@pytest.mark.parametrize("kind", SAID)
@pytest.mark.parametrize("around", ["{}", "It says {}, they wrote", "({})", "a\n{}\nb"])
def test_after_its_name_each_is_found_whole(kind: str, around: str) -> None:
    label, value = SAID[kind]
    assert found(around.format(label + value)) == [(kind, value)]


@pytest.mark.parametrize("kind", sorted({entity.kind for entity in ENTITIES if entity.check} & set(SAID)))
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


@pytest.mark.parametrize("kind", ["pii.in_aadhaar", "pii.in_gstin", "pii.au_tfn", "pii.au_abn", "pii.au_acn", "pii.jp_my_number", "pii.cn_ric", "pii.th_tnin", "pii.kr_brn", "pii.za_id_number", "pii.il_id"])  # fmt: skip
def test_another_last_character_is_refused(kind: str) -> None:
    value = "".join(filter(str.isalnum, SAID[kind][1])).upper()
    alphabet = "0123456789" if value[-1].isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    checks = [entity.check for entity in ENTITIES if entity.kind == kind and entity.check]
    assert [c for c in alphabet if any(check(value[:-1] + c) for check in checks)] == [value[-1]]


@pytest.mark.parametrize(
    "disguised",
    [
        *(
            "".join(chr(zero + int(c)) if c.isdigit() else c for c in "2341 2341 2346")
            for zero in (0xFF10, 0x966, 0x660)
        ),
        "23\u200b41 2341 234\u20606",
    ],
)
def test_digits_of_other_scripts_and_invisible_marks_hide_nothing(disguised: str) -> None:
    text = f"Aadhaar: {disguised}."
    assert found(text) == [("pii.in_aadhaar", disguised)]


@pytest.mark.parametrize(
    "text",
    [
        "at 1700000000000 ms",
        "order 234123412346",
        "id 880101-1",
        "hash 11010519491231002a",
        "SKU ABC1234567 here",
        "took 12345678901 ns",
        "row A123456780 of it",
    ],
)
def test_other_numbers_are_left(text: str) -> None:
    assert found(text) == []
