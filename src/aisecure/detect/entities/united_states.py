"""Identifiers of the United States."""

from __future__ import annotations

from aisecure.detect.checksums import weighted
from aisecure.detect.entity import Entity

__all__ = ["UNITED_STATES"]

#: Printed in advertisements and never issued again (SSA, "Social Security Cards Issued by Woolworth").
_SSN_SAMPLES = frozenset({"078051120", "219099999"})


def _is_ssn(digits: str) -> bool:
    """Area not 000, 666 or 900-999, group not 00, serial not 0000 (SSA, POMS RM 10201)."""
    return (
        digits[:3] not in ("000", "666")
        and digits[0] != "9"
        and digits[3:5] != "00"
        and digits[5:] != "0000"
        and digits not in _SSN_SAMPLES
    )


_SSN_LABELS = ("ssn", "social security", "soc sec", "ss no", "ss num")


def _is_itin(digits: str) -> bool:
    """Starts with 9; fourth and fifth digit 50-65, 70-88, 90-92 or 94-99 (IRS Publication 1915)."""
    group = int(digits[3:5])
    return digits[0] == "9" and (50 <= group <= 65 or 70 <= group <= 88 or 90 <= group <= 92 or group >= 94)


#: Prefixes by campus and of the internet (IRS).
_EIN_PREFIXES = frozenset(
    f"{prefix:02d}"
    for prefix in range(1, 100)
    if prefix not in {7, 8, 9, 17, 18, 19, 28, 29, 49, 69, 70, 78, 79, 89, 96, 97}
)


def _is_ein(digits: str) -> bool:
    return digits[:2] in _EIN_PREFIXES


def _is_routing(digits: str) -> bool:
    """Weights 3, 7, 1 modulo 10; district 00-12, 21-32, 61-72 or 80 (ABA)."""
    district = int(digits[:2])
    return weighted(digits, (3, 7, 1) * 3, 10) == 0 and (
        district <= 12 or 21 <= district <= 32 or 61 <= district <= 72 or district == 80
    ) and digits != "000000000"  # fmt: skip


_PASSPORT_LABELS = (
    "passport",
    "passport no",
    "passport number",
    "passport id",
    "travel document",
    "travel passport",
)
_LICENSE_LABELS = (
    "driver license", "drivers license", "driver s license", "driver\u2019s license", "driving license", "dl", "dl no", "dl number", "license number", "license no",
    "license id", "driver license id", "driver license number", "drivers license number", "driver s license number", "driver\u2019s license number", "operator license",
)  # fmt: skip

UNITED_STATES = (
    Entity("pii.us_ssn", ("999-99-9999",), _is_ssn, _SSN_LABELS, bare=0.85, said=0.95, countries=("US",)),
    Entity("pii.us_ssn", ("999999999",), _is_ssn, _SSN_LABELS, bare=0.1, said=0.85, alone=0.3, countries=("US",)),
    Entity("pii.us_itin", ("999-99-9999",), _is_itin, ("itin", "individual taxpayer", "tax id"), bare=0.75, said=0.95, alone=0.8, countries=("US",)),
    Entity("pii.us_itin", ("999999999",), _is_itin, bare=0.1, said=0.9, alone=0.35, countries=("US",)),
    Entity("pii.us_ein", ("99-9999999",), _is_ein, ("ein", "employer identification", "fein", "federal tax id", "tax id", "tax identification"), bare=0.35, said=0.9, alone=0.5, countries=("US",)),
    Entity("pii.aba_routing_number", ("999999999", "9999-9999-9"), _is_routing, ("routing", "routing number", "routing no", "aba", "rtn", "transit number"), bare=0.25, said=0.95, alone=0.4, countries=("US",)),
    Entity("pii.us_bank_number", labels=("checking account", "checking account number", "savings account", "savings account number", "bank acct"), loose=r"\d{6,17}", said=0.8, countries=("US",)),
    Entity("pii.us_passport", ("999999999", "A99999999"), None, _PASSPORT_LABELS, bare=0.1, said=0.8, alone=0.2, countries=("US",)),
    Entity("pii.us_driver_license", ("A9999999", "A99999999", "A9999999999999", "A999-9999-9999", "A99-99-9999", "A999-9999-99-999"), None, _LICENSE_LABELS, bare=0.1, said=0.85, alone=0.2, countries=("US",)),
    Entity("pii.us_driver_license", loose=r"[A-Z]{0,2}[-:]?\d{5,14}|\d{4}-\d\d-\d{4}|\d{2,3}[- ]\d{3}[- ]\d{3,4}|[A-Z]\d{2,4}-\d{3,4}-\d{2,4}(?:-\d{1,4})?", said=0.8, countries=("US",)),
)  # fmt: skip
