"""Identifiers of Germany."""

from __future__ import annotations

from collections import Counter

from aisecure.detect.checksums import iso7064_mod11_10
from aisecure.detect.entity import Entity

__all__ = ["GERMANY"]


def _is_tax_id(digits: str) -> bool:
    """Mod 11,10; of the first ten digits one stands there twice or three times (BZSt)."""
    counts = Counter(digits[:10]).most_common(2)
    return digits[0] != "0" and counts[0][1] in (2, 3) and counts[1][1] == 1 and iso7064_mod11_10(digits)


def _is_tax_id_loosely(digits: str) -> bool:
    """Mod 11,10 alone: what is called a tax id and passes the check is one, if of an older rule."""
    return digits[0] != "0" and iso7064_mod11_10(digits)


_DOCUMENT = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _is_document(text: str) -> bool:
    """Weights 7, 3, 1 modulo 10 (ICAO Doc 9303); no vowels and few other letters are used."""
    if set(text[:9]) & set("ABDEIOQSU"):
        return False
    total = sum(_DOCUMENT.index(character) * (7, 3, 1)[place % 3] for place, character in enumerate(text[:9]))
    return len(text) == 9 or total % 10 == int(text[9])


def _digit_sums(numbers: list[int], weights: tuple[int, ...]) -> int:
    return sum(sum(map(int, str(number * weight))) for number, weight in zip(numbers, weights, strict=False))


def _is_pension(text: str) -> bool:
    """Area, date of birth, letter, serial, check digit (DRV)."""
    numbers = list(map(int, text[:8] + f"{ord(text[8]) - 64:02d}" + text[9:11]))
    day, month = int(text[2:4]), int(text[4:6])
    return (
        1 <= day <= 31
        and 1 <= month <= 12
        and _digit_sums(numbers, (2, 1, 2, 5, 7, 1, 2, 1, 2, 1, 2, 1)) % 10 == int(text[11])
    )


def _is_health_insurance(text: str) -> bool:
    """The letter as two digits, weights 1 and 2 in turn (GKV-Spitzenverband)."""
    numbers = list(map(int, f"{ord(text[0]) - 64:02d}" + text[1:9]))
    return _digit_sums(numbers, (1, 2) * 5) % 10 == int(text[9])


def _is_vat_id(text: str) -> bool:
    return text[:2] == "DE" and iso7064_mod11_10(text[2:])


def _is_lanr(digits: str) -> bool:
    """Weights 4 and 9 in turn, modulo 10; the last two digits are the specialty (KBV)."""
    check = (10 - sum(int(digit) * (4, 9)[place % 2] for place, digit in enumerate(digits[:6])) % 10) % 10
    return check == int(digits[6]) and digits[7:] != "00"


_PLATES = tuple(
    f"{'A' * place}-{'A' * letters}-{'9' * digits}{suffix}"
    for place in (1, 2, 3)
    for letters in (1, 2)
    for digits in (1, 2, 3, 4)
    for suffix in ("", "A")
)


def _is_plate(text: str) -> bool:
    """At most eight places, no number that begins with 0, a suffix of E or H (FZV section 9)."""
    number = text.strip("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    return len(text) <= 8 and number[0] != "0" and (text[-1].isdigit() or text[-1] in "EH")


GERMANY = (
    Entity("pii.de_bsnr", ("999999999",), None, ("bsnr", "betriebsstättennummer", "betriebsstätten nummer", "betriebsstätte", "nebenbetriebsstätte", "hauptbetriebsstätte", "praxisnummer"), bare=0.05, said=0.9, alone=0.1, countries=("DE",)),
    Entity("pii.de_fuehrerschein", ("AA99999999X", "A999AAA9A99"), None, ("führerschein", "führerscheinnummer", "führerschein nr", "fuehrerschein", "fahrerlaubnis", "fahrerlaubnisnummer", "fahrerlaubnis nr", "driving licence", "driver s license", "driver s licence", "drivers license", "driver license"), bare=0.3, said=0.9, alone=0.5, countries=("DE",)),
    Entity("pii.de_handelsregister", tuple(f"AAA{gap}{'9' * digits}" for gap in ("-", "") for digits in range(1, 7)), lambda text: text[:3] in ("HRA", "HRB"), ("handelsregister", "handelsregisternummer", "amtsgericht", "registergericht", "registernummer"), bare=0.8, said=0.95, alone=0.9, countries=("DE",)),
    Entity("pii.de_kfz", _PLATES, _is_plate, ("kennzeichen", "kfz kennzeichen", "kfz", "nummernschild", "fahrzeugkennzeichen", "kraftfahrzeugkennzeichen", "autokennzeichen", "fahrzeug", "pkw", "lkw", "license plate", "licence plate", "plate"), bare=0.3, said=0.85, alone=0.55, countries=("DE",)),
    Entity("pii.de_plz", ("99999",), lambda digits: "01001" <= digits <= "99998", ("plz", "postleitzahl"), bare=0.05, said=0.9, alone=0.1, countries=("DE",)),
    Entity("pii.de_tax_id", ("99999999999", "99-999-999-999"), _is_tax_id, ("steuer id", "steueridentifikationsnummer", "steuerliche identifikationsnummer", "identifikationsnummer", "idnr", "steuer idnr", "steuer identifikationsnummer", "tax id", "tin"), bare=0.45, said=0.95, alone=0.75, countries=("DE",)),
    Entity("pii.de_tax_id", ("99999999999",), _is_tax_id_loosely, bare=0.1, said=0.8, alone=0.51, countries=("DE",)),
    Entity("pii.de_tax_number", ("99-999-99999", "999-999-99999", "99-9999-9999", "999-9999-9999", "99-999-9999", "999-999-9999"), None, ("steuernummer", "steuer nr", "st nr", "stnr", "steuernr"), bare=0.2, said=0.9, alone=0.6, countries=("DE",)),
    Entity("pii.de_tax_number", ("9999999999999",), lambda digits: digits[4] == "0", bare=0.1, said=0.9, alone=0.52, countries=("DE",)),
    Entity("pii.de_id_card", length=9, check=lambda text: text[0] in "LMNPRTVWXY" and not text.isalpha() and _is_document(text), labels=("personalausweis", "ausweisnummer", "personalausweisnummer", "ausweis nr", "id card"), bare=0.1, said=0.85, alone=0.2, countries=("DE",)),
    Entity("pii.de_id_card", length=10, check=lambda text: text[0] in "LMNPRTVWXY" and text[9].isdigit() and not text[:9].isdigit() and _is_document(text), bare=0.3, said=0.95, alone=0.6, countries=("DE",)),
    Entity("pii.de_passport", length=9, check=lambda text: text[0] in "CFGHJK" and any(map(str.isdigit, text)) and _is_document(text), labels=("reisepass", "reisepassnummer", "passnummer", "pass nr", "passport"), bare=0.1, said=0.85, alone=0.2, countries=("DE",)),
    Entity("pii.de_passport", length=10, check=lambda text: text[0] in "CFGHJK" and text[9].isdigit() and not text[1:9].isalpha() and _is_document(text), bare=0.3, said=0.95, alone=0.6, countries=("DE",)),
    Entity("pii.de_social_security", ("99999999A999", "99-999999-A-999", "99-999999-A-99-9"), _is_pension, ("rentenversicherungsnummer", "sozialversicherungsnummer", "sv nummer", "svnr", "rvnr", "versicherungsnummer"), bare=0.75, said=0.95, alone=0.85, countries=("DE",)),
    Entity("pii.de_health_insurance", ("A999999999",), _is_health_insurance, ("krankenversichertennummer", "krankenkasse", "versichertennummer", "kvnr", "kv nummer"), bare=0.4, said=0.95, alone=0.6, countries=("DE",)),
    Entity("pii.de_vat_id", ("AA999999999", "AA-999999999", "AA-999-999-999", "AA999-999-999"), _is_vat_id, ("ust id", "ust idnr", "umsatzsteuer id", "umsatzsteueridentifikationsnummer", "ust identifikationsnummer", "vat", "vat id"), bare=0.8, said=0.95, alone=0.9, countries=("DE",)),
    Entity("pii.de_vat_id", ("AA999999999", "AA-999999999", "AA-999-999-999"), lambda text: text[:2] == "DE", bare=0.52, said=0.8, alone=0.7, countries=("DE",)),
    Entity("pii.de_lanr", ("999999999",), _is_lanr, ("lanr", "arztnummer", "lebenslange arztnummer", "arzt nr"), bare=0.15, said=0.95, alone=0.5, countries=("DE",)),
)  # fmt: skip
