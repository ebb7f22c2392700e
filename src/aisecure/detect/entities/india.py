"""Identifiers of India."""

from __future__ import annotations

from aisecure.detect.checksums import verhoeff
from aisecure.detect.entity import Entity

__all__ = ["INDIA"]


def _is_aadhaar(digits: str) -> bool:
    """Verhoeff; starts with 2 to 9 and is no palindrome (UIDAI)."""
    return digits[0] not in "01" and digits != digits[::-1] and verhoeff(digits)


def _is_pan(text: str) -> bool:
    """The fourth letter is the kind of holder (Income Tax Department)."""
    return text[3] in "ABCFGHJLPT"


_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _is_gstin(text: str) -> bool:
    """State, PAN, entity, Z, and a check character to base 36 (GSTN)."""
    total = 0
    for place, character in enumerate(text[:14]):
        product = _BASE36.index(character) * (1 + place % 2)
        total += product // 36 + product % 36
    return 1 <= int(text[:2]) <= 38 and text[13] == "Z" and _BASE36[-total % 36] == text[14]


_STATES = frozenset(
    "AN AP AR AS BR CG CH DD DL DN GA GJ HP HR JH JK KA KL LA LD MH ML MN MP MZ NL OD OR PB PY RJ SK TG TN TR TS UA UK UP WB".split()
)


def _of_a_state(text: str) -> bool:
    return text[:2] in _STATES


INDIA = (
    Entity("pii.in_aadhaar", ("9999-9999-9999",), _is_aadhaar, ("aadhaar", "aadhar", "adhaar", "aadhaar number", "aadhar number", "uidai", "आधार"), bare=0.75, said=0.95, alone=0.85, countries=("IN",)),
    Entity("pii.in_aadhaar", ("999999999999",), _is_aadhaar, bare=0.35, said=0.95, alone=0.6, countries=("IN",)),
    Entity("pii.in_aadhaar", loose=r"\d{12,14}|\d{4} \d{4} \d{4}", said=0.7, countries=("IN",)),
    Entity("pii.in_pan", ("AAAAA9999A",), _is_pan, ("pan", "pan number", "pan card", "permanent account", "permanent account number"), bare=0.6, said=0.95, alone=0.8, countries=("IN",)),
    Entity("pii.in_pan", ("AAAAA9999A",), labels=("pan card number",), bare=0.3, said=0.85, alone=0.5, countries=("IN",)),
    Entity("pii.in_pan", loose=r"[A-Z]{4,9}\d{3,6}[A-Z]{0,2}", said=0.6, countries=("IN",)),
    Entity("pii.in_gstin", ("99AAAAA9999AXAX",), _is_gstin, ("gstin", "gst", "gst number"), bare=0.85, said=0.95, alone=0.9, countries=("IN",)),
    Entity("pii.in_voter", ("AAA9999999",), None, ("voter", "voter id", "epic", "election", "vote"), bare=0.3, said=0.9, alone=0.51, countries=("IN",)),
    Entity("pii.in_voter", loose=r"[A-Z]{3,5}\d{7,10}", said=0.7, countries=("IN",)),
    Entity("pii.in_passport", ("A9999999",), lambda text: text[1] != "0" and text[0] not in "QXZ", ("passport", "passport number", "indian passport"), bare=0.15, said=0.75, alone=0.45, countries=("IN",)),
    Entity("pii.in_vehicle_registration", ("AA-99-AA-9999", "AA99AA9999", "AA-99-A-9999", "AA99A9999"), _of_a_state, ("vehicle", "registration", "vehicle number", "rc"), bare=0.5, said=0.9, alone=0.65, countries=("IN",)),
    Entity("pii.in_driving_license", ("AA99-99999999999", "AA-9999999999999", "AA9999999999999", "AA-99-99999999999"), _of_a_state, ("driving licence", "driving license", "dl", "licence no"), bare=0.5, said=0.9, alone=0.7, countries=("IN",)),
)  # fmt: skip
