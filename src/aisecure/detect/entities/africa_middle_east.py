"""Identifiers of Africa and the Middle East."""

from __future__ import annotations

from aisecure.detect.checksums import luhn
from aisecure.detect.entity import Entity

__all__ = ["AFRICA_MIDDLE_EAST"]


def _is_south_african(digits: str) -> bool:
    """A date of birth, citizenship 0 to 2, Luhn (DHA)."""
    return (
        1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31 and digits[10] in "012" and luhn(digits)
    )


def _is_israeli(digits: str) -> bool:
    """Luhn over nine digits."""
    return len(set(digits)) > 1 and luhn(digits)


def _is_emirates(digits: str) -> bool:
    """784, a year, Luhn (ICP)."""
    return digits.startswith("784") and digits[3:5] in ("19", "20") and luhn(digits)


def _is_saudi(digits: str) -> bool:
    """1 for citizens, 2 for residents; Luhn."""
    return digits[0] in "12" and luhn(digits)


def _is_egyptian(digits: str) -> bool:
    """Century, date of birth, governorate."""
    return (
        digits[0] in "23"
        and 1 <= int(digits[3:5]) <= 12
        and 1 <= int(digits[5:7]) <= 31
        and (1 <= int(digits[7:9]) <= 35 or digits[7:9] == "88")
    )


AFRICA_MIDDLE_EAST = (
    Entity("pii.za_id_number", ("9999999999999", "999999-9999-999", "999999-9999-9-9-9"), _is_south_african, ("south african id", "sa id", "rsa id", "id number", "id no", "identity number"), bare=0.5, said=0.9, alone=0.6, countries=("ZA",)),
    Entity("pii.ng_nin", ("99999999999",), None, ("nin", "national identification number", "national identity number", "nimc"), bare=0.05, said=0.9, alone=0.1, countries=("NG",)),
    Entity("pii.ng_vehicle_registration", ("AAA-999AA", "AAA999AA", "AAA-999-AA"), lambda text: not set(text[:3]) & set("IO"), ("plate", "plates", "plate number", "vehicle", "registration"), bare=0.55, said=0.9, alone=0.7, countries=("NG",)),
    Entity("pii.il_id", ("999999999", "99999999-9"), _is_israeli, ("teudat zehut", "israeli id", "תעודת זהות", "מספר זהות", "ת ז"), bare=0.1, said=0.95, alone=0.3, countries=("IL",)),
    Entity("pii.ae_emirates_id", ("999-9999-9999999-9", "999999999999999"), _is_emirates, ("emirates id", "eid", "الهوية"), bare=0.85, said=0.95, alone=0.9, countries=("AE",)),
    Entity("pii.sa_national_id", ("9999999999",), _is_saudi, ("iqama", "saudi id", "national id", "الهوية الوطنية"), bare=0.1, said=0.95, alone=0.3, countries=("SA",)),
    Entity("pii.eg_national_id", ("99999999999999",), _is_egyptian, ("national id", "egyptian id", "الرقم القومي"), bare=0.3, said=0.95, alone=0.5, countries=("EG",)),
)  # fmt: skip
