"""What people and things are numbered with everywhere: accounts, documents by label alone, vehicles, devices, post codes."""

from __future__ import annotations

from aisecure.detect.checksums import luhn
from aisecure.detect.entity import Entity

__all__ = ["ACCOUNTS"]

_VIN_VALUES = dict(
    zip(
        "ABCDEFGHJKLMNPRSTUVWXYZ",
        (1, 2, 3, 4, 5, 6, 7, 8, 1, 2, 3, 4, 5, 7, 9, 2, 3, 4, 5, 6, 7, 8, 9),
        strict=True,
    )
)
_VIN_WEIGHTS = (8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2)


def is_vin(text: str) -> bool:
    """Check digit of 49 CFR 565.15, which is mandatory in North America alone.

    >>> is_vin("1M8GDM9AXKP042788"), is_vin("1M8GDM9A1KP042788")
    (True, False)
    """
    if not _VIN_VALUES.keys() >= {character for character in text if character.isalpha()}:
        return False
    total = sum(
        (_VIN_VALUES.get(character) or int(character)) * weight
        for character, weight in zip(text, _VIN_WEIGHTS, strict=True)
    )
    return text[8] == ("X" if total % 11 == 10 else str(total % 11)) and any(map(str.isalpha, text))


#: ISO 3166-1 alpha-2 codes in which banks are addressed (ISO 9362).
_BANKING = frozenset(
    "AD AE AF AG AL AM AO AR AT AU AZ BA BB BD BE BF BG BH BI BJ BM BN BO BR BS BT BW BY BZ CA CD CF CG CH CI CL CM CN CO CR CU CV CY CZ DE DJ DK DM DO DZ EC EE EG ES ET FI FJ FK FO FR GA GB GD GE GG GH GI GL GM GN "
    "GQ GR GT GW GY HK HN HR HT HU ID IE IL IM IN IQ IR IS IT JE JM JO JP KE KG KH KM KN KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MG MK ML MM MN MO MR MT MU MV MW MX MY MZ NA NC NE NG NI NL NO NP NZ "
    "OM PA PE PF PG PH PK PL PR PS PT PY QA RO RS RU RW SA SB SC SD SE SG SI SK SL SM SN SO SR ST SV SY SZ TC TD TG TH TJ TL TM TN TO TR TT TW TZ UA UG US UY UZ VA VC VE VG VN VU WS XK YE ZA ZM ZW".split()
)


def _is_bic(text: str) -> bool:
    """Bank, country, place, branch (ISO 9362); those without a digit are words like others and are not found."""
    return text[4:6] in _BANKING and any(map(str.isdigit, text[6:]))


ACCOUNTS = (
    Entity("pii.swift_bic", ("AAAAAAXX", "AAAAAAXXXXX"), _is_bic, ("bic", "bic code", "swift", "swift code", "swift bic", "bank identifier code"), bare=0.2, said=0.95, alone=0.6),
    Entity("pii.vin", check=is_vin, length=17, bare=0.7, said=0.95, alone=0.8, labels=("vin", "vehicle identification", "vehicle id", "chassis", "chassis no", "fahrgestellnummer", "numéro de châssis", "bastidor", "telaio")),
    Entity("pii.vin", loose=r"[A-HJ-NPR-Z0-9]{17}", said=0.9),
    Entity("pii.imei", ("999999999999999", "99-999999-999999-9"), luhn, ("imei",), bare=0.1, said=0.95, alone=0.1),
    Entity(
        "pii.account_number",
        labels=(
            "account", "account no", "account number", "account nr", "acct", "acc", "acc no", "accnum", "acct no", "acct number", "a c no", "bank account", "bank account number",
            "iban", "konto", "kontonummer", "konto nr", "cuenta", "número de cuenta", "compte", "numéro de compte", "conto", "rekening", "rekeningnummer", "conta",
            "customer no", "customer number", "customer id", "client id", "client number", "kundennummer", "número de cliente",
        ),
        loose=r"[A-Z]{0,4}\d{5,18}[A-Z]?|\d{2,6}(?:[- ]\d{2,8}){1,4}", said=0.8,
    ),
    Entity(
        "pii.passport",
        labels=("passport", "passport no", "passport number", "passport id", "reisepass", "pasaporte", "passeport", "passaporto", "paspoort", "passaporte"),
        loose=r"[A-Z]{1,3}-?\d{5,9}[A-Z]?|\d{8,9}", said=0.75,
    ),
    Entity(
        "pii.driver_license",
        labels=(
            "driver licence", "drivers licence", "driver s licence", "driving licence", "licence number", "licence no", "führerschein", "führerscheinnummer", "permiso de conducir", "licencia de conducir", "permis de conduire", "patente", "rijbewijs",
        ),
        loose=r"(?:[A-Z]{1,3}[-: ]?)?[A-Z]{0,2}\d{2,12}(?:[- ]\d{2,8}){0,4}[A-Z]{0,2}", said=0.75,
    ),
    Entity(
        "pii.tax_id",
        labels=("tax id", "tax no", "tax number", "tax identification", "tax identification number", "tin", "steuernummer", "nif", "cif", "codice fiscale", "partita iva", "vat", "vat no", "vat number", "vat id"),
        loose=r"[A-Z]{0,3}\d{2,9}(?:[-/ ]\d{2,9}){0,3}[A-Z]{0,2}", said=0.7,
    ),
    Entity(
        "pii.employee_id",
        labels=("employee id", "employee no", "employee number", "staff id", "staff no", "personnel no", "personnel number", "personalnummer", "badge no", "student id", "student no", "student number", "matrikelnummer"),
        loose=r"[A-Z]{0,4}-?\d{4,12}", said=0.75,
    ),
    Entity(
        "pii.zip_code",
        labels=("zip", "zip code", "zipcode", "postal code", "postcode", "post code", "postleitzahl", "plz", "código postal", "code postal", "cep"),
        loose=r"\d{5}-\d{3,4}|\d{4,6}(?: \d{2,3})?|\d{3}[ -]\d{2,3}|[A-Z]\d[A-Z] ?\d[A-Z]\d", said=0.8,
    ),
)  # fmt: skip
