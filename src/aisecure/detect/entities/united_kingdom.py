"""Identifiers of the United Kingdom."""

from __future__ import annotations

import re

from aisecure.detect.checksums import weighted
from aisecure.detect.entity import Entity

__all__ = ["UNITED_KINGDOM"]


def is_nhs(digits: str) -> bool:
    """Weights 10 to 2 modulo 11 (NHS Data Dictionary).

    >>> is_nhs("9434765919"), is_nhs("9434765918")
    (True, False)
    """
    check = 11 - weighted(digits, range(10, 1, -1), 11)
    return (0 if check == 11 else check) == int(digits[9]) and len(set(digits)) > 1


_NO_NINO = frozenset(("BG", "GB", "KN", "NK", "NT", "TN", "ZZ"))


def _is_nino(text: str) -> bool:
    """Prefixes that are issued (HMRC NIM39110)."""
    return (
        text[0] not in "DFIQUV"
        and text[1] not in "DFIQUVO"
        and text[:2] not in _NO_NINO
        and text[8] in "ABCD"
    )


def _is_driving_licence(text: str) -> bool:
    """Surname padded with 9, date of birth with 50 added to the month of women, initials (DVLA)."""
    if not re.fullmatch(r"[A-Z]{1,5}9{0,4}", text[:5]) or not (text[5:11].isdigit() and text[13].isdigit()):
        return False
    month, day = int(text[6:8]) % 50, int(text[8:10])
    return 1 <= month <= 12 and 1 <= day <= 31


_UTR = "21987654321"


def _is_utr(digits: str) -> bool:
    """Check digit first, modulo 11 (HMRC)."""
    return digits[0] == _UTR[weighted(digits[1:], (6, 7, 8, 9, 10, 5, 4, 3, 2), 11)]


def _is_plate(text: str) -> bool:
    return (
        not {"I", "Q"} & set(text[:2]) and "I" not in text and (not text[2:4].isdigit() or int(text[2:4]) > 0)
    )


def _is_postcode(text: str) -> bool:
    """Letters that stand in these places (Royal Mail PAF)."""
    return text[0] not in "QVX" and text[1] not in "IJZ" and not set(text[-2:]) & set("CIKMOV")


_PLATES = ("AA99-AAA", "AA99AAA")
_LICENCES = tuple(
    shape
    for name in ("AAAAA", "AAAA9", "AAA99", "AA999", "A9999")
    for shape in (
        f"{name}999999XX9XX", f"{name}-999999-XX9XX", f"{name}-999999-XX9XX99", f"{name}999999XX9XX99", f"{name}999999XX9XX-99", f"{name}-999999XX9XX-99",
        f"{name}-999999-XX9XX-99", f"{name}-999-999-XX9XX-99", f"{name}-999999-XX9XX99",
    )
)  # fmt: skip

UNITED_KINGDOM = (
    Entity("pii.uk_nhs", ("999-999-9999",), is_nhs, ("nhs", "nhs number", "nhs no", "health service number", "patient nhs"), bare=0.55, said=0.95, alone=0.75, countries=("GB",)),
    Entity("pii.uk_nhs", ("9999999999",), is_nhs, bare=0.3, said=0.95, alone=0.5, countries=("GB",)),
    Entity(
        "pii.uk_nino", ("AA999999A", "AA-99-99-99-A", "AA-999999-A", "AA-999999A", "AA999999-A", "AA-999-999-A", "AA-999-999A", "AA99-99-99A"), _is_nino,
        ("national insurance", "national insurance number", "national insurance no", "nino", "ni", "ni number", "ni no"),
        bare=0.7, said=0.95, alone=0.85, countries=("GB",),
    ),
    Entity("pii.uk_driving_licence", _LICENCES, _is_driving_licence, ("driving licence", "driver number", "dvla", "licence", "licence number"), bare=0.8, said=0.95, alone=0.85, countries=("GB",)),
    Entity("pii.uk_postcode", tuple(shape for out in ("A9", "A99", "AA9", "AA99", "A9A", "AA9A") for shape in (f"{out}-9AA", f"{out}9AA")), _is_postcode, ("postcode", "post code", "address"), bare=0.3, said=0.9, alone=0.6, countries=("GB",)),
    Entity("pii.uk_passport", ("AA9999999", "999999999"), None, ("passport", "passport number", "passport no", "passports"), bare=0.1, said=0.7, alone=0.3, countries=("GB",)),
    Entity("pii.uk_vehicle_registration", _PLATES, _is_plate, ("registration", "vehicle registration", "reg", "number plate", "licence plate", "license plate", "car reg", "vrm", "vehicles", "vehicle", "plate", "plates"), bare=0.5, said=0.9, alone=0.7, countries=("GB",)),
    Entity("pii.uk_vehicle_registration", tuple(shape for number in ("9", "99", "999") for shape in (f"A{number}-AAA", f"AAA-{number}A", f"A{number}AAA", f"AAA{number}A")), _is_plate, bare=0.15, said=0.8, alone=0.4, countries=("GB",)),
    Entity("pii.uk_utr", ("9999999999", "99999-99999"), _is_utr, ("utr", "unique taxpayer reference", "taxpayer reference"), bare=0.1, said=0.95, alone=0.3, countries=("GB",)),
    Entity("pii.uk_trn", ("99A99999", "99-A-99999", "99-A-999-99", "99A-99999"), None, ("trn", "temporary reference", "temporary reference number", "paye", "paye temp", "temp number"), bare=0.15, said=0.9, alone=0.4, countries=("GB",)),
    Entity("pii.uk_sort_code", ("99-99-99",), None, ("sort code", "sort", "sc"), bare=0.1, said=0.85, alone=0.1, countries=("GB",)),
)  # fmt: skip
