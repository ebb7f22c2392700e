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


_PROVINCES = ("GP", "ZN", "WP", "EC", "NC", "FS", "LP", "MP", "NW")


def _is_company(digits: str) -> bool:
    """A year, a number, a kind of company (CIPC)."""
    return digits[:2] in ("19", "20") and digits[-2:] in (
        "06",
        "07",
        "08",
        "09",
        "10",
        "11",
        "12",
        "21",
        "23",
        "24",
        "25",
        "26",
        "30",
        "31",
    )


AFRICA_MIDDLE_EAST = (
    Entity("pii.za_company_registration", ("9999-999999-99",), _is_company, ("cipc", "company registration", "company registration number", "registration number", "reg no", "company reg", "enterprise number"), bare=0.6, said=0.95, alone=0.75, countries=("ZA",)),
    Entity("pii.za_vat_number", ("9999999999",), lambda digits: digits[0] == "4", ("vat", "vat no", "vat number", "vat registration", "vat registration number", "value added tax", "tax invoice"), bare=0.05, said=0.85, alone=0.1, countries=("ZA",)),
    Entity("pii.za_income_tax_number", ("9999999999",), lambda digits: digits[0] in "01239", ("sars", "income tax", "income tax number", "income tax reference", "tax reference", "tax reference number"), bare=0.05, said=0.85, alone=0.1, countries=("ZA",)),
    Entity("pii.za_passport", ("A99999999",), lambda text: text[0] in "ADMT", ("south african passport", "sa passport", "rsa passport"), bare=0.1, said=0.9, alone=0.2, countries=("ZA",)),
    Entity("pii.za_traffic_register_number", ("9999999999999",), None, ("traffic register", "traffic register number", "traffic register no", "natis", "enatis"), bare=0.05, said=0.92, alone=0.1, countries=("ZA",)),
    Entity("pii.za_license_plate", ("AA99AAAA", "AA-99-AA-AA", "AAA999AA", "AAA-999-AA", "AAA-99-AA", "AA999AA", "AA-999-AA", "AA9999AA"), lambda text: text[-2:] in _PROVINCES, ("licence plate", "license plate", "number plate", "plate", "plate number", "vehicle registration", "registration"), bare=0.55, said=0.9, alone=0.7, countries=("ZA",)),
    Entity("pii.za_driver_license", labels=("enatis licence", "south african licence", "sa driving licence", "sa driver s licence"), loose=r"\d{6,10}[A-Z0-9]{2,5}", said=0.85, countries=("ZA",)),
    Entity("pii.za_id_number", ("9999999999999", "999999-9999-999", "999999-9999-9-9-9"), _is_south_african, ("south african id", "sa id", "rsa id", "id number", "id no", "identity number"), bare=0.5, said=0.9, alone=0.6, countries=("ZA",)),
    Entity("pii.ng_nin", ("99999999999",), None, ("nin", "national identification number", "national identity number", "nimc"), bare=0.05, said=0.9, alone=0.1, countries=("NG",)),
    Entity("pii.ng_vehicle_registration", ("AAA-999AA", "AAA999AA", "AAA-999-AA"), lambda text: not set(text[:3]) & set("IO"), ("plate", "plates", "plate number", "vehicle", "registration"), bare=0.55, said=0.9, alone=0.7, countries=("NG",)),
    Entity("pii.il_id", ("999999999", "99999999-9"), _is_israeli, ("teudat zehut", "israeli id", "תעודת זהות", "מספר זהות", "ת ז"), bare=0.1, said=0.95, alone=0.3, countries=("IL",)),
    Entity("pii.ae_emirates_id", ("999-9999-9999999-9", "999999999999999"), _is_emirates, ("emirates id", "eid", "الهوية"), bare=0.85, said=0.95, alone=0.9, countries=("AE",)),
    Entity("pii.sa_national_id", ("9999999999",), _is_saudi, ("iqama", "saudi id", "national id", "الهوية الوطنية"), bare=0.1, said=0.95, alone=0.3, countries=("SA",)),
    Entity("pii.eg_national_id", ("99999999999999",), _is_egyptian, ("national id", "egyptian id", "الرقم القومي"), bare=0.3, said=0.95, alone=0.5, countries=("EG",)),
)  # fmt: skip
