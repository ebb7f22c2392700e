"""Identifiers of persons in France, Spain, Italy, Portugal, the Benelux, Poland, the Nordic countries, and their neighbours."""

from __future__ import annotations

from datetime import date

from aisecure.detect.checksums import luhn, weighted
from aisecure.detect.entity import Entity

__all__ = ["EUROPE"]


def _is_date(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _is_nir(text: str) -> bool:
    """Sex, year, month, department, and 97 less the rest (INSEE)."""
    body = text[:13].replace("2A", "19").replace("2B", "18")
    return (
        text[0] in "12"
        and text[13:].isdigit()
        and body.isdigit()
        and (1 <= int(text[3:5]) <= 12 or int(text[3:5]) >= 20)
        and 97 - int(body) % 97 == int(text[13:])
    )


_NIF = "TRWAGMYFPDXBNJZSQVHLCKE"


def is_nif(text: str) -> bool:
    """The number modulo 23 names the letter; X, Y and Z of foreigners count as 0, 1 and 2 (Ministerio del Interior).

    >>> is_nif("12345678Z"), is_nif("X1234567L"), is_nif("12345678A")
    (True, True, False)
    """
    number = str("XYZ".index(text[0])) + text[1:8] if text[0] in "XYZ" else text[:8]
    return number.isdigit() and _NIF[int(number) % 23] == text[8]


_ODD = dict(
    zip(
        "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        (
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            1,
            0,
            5,
            7,
            9,
            13,
            15,
            17,
            19,
            21,
            2,
            4,
            18,
            20,
            11,
            3,
            6,
            8,
            12,
            14,
            16,
            10,
            22,
            25,
            24,
            23,
        ),
        strict=True,
    )
)
_OMOCODIA = str.maketrans("LMNPQRSTUV", "0123456789")


def is_fiscal_code(text: str) -> bool:
    """Month, day, check letter; digits may be letters where two people would share a code (DM 23/12/1976).

    >>> is_fiscal_code("RSSMRA85T10A562S"), is_fiscal_code("RSSMRA85T10A562T")
    (True, False)
    """
    digits = (text[6:8] + text[9:11] + text[12:15]).translate(_OMOCODIA)
    if not digits.isdigit() or text[8] not in "ABCDEHLMPRST" or not text[:6].isalpha():
        return False
    if not 0 <= int(digits[2:4]) % 40 <= 31:
        return False
    total = sum(
        _ODD[c] if place % 2 == 0 else (int(c) if c.isdigit() else ord(c) - 65)
        for place, c in enumerate(text[:15])
    )
    return chr(65 + total % 26) == text[15]


def _is_bsn(digits: str) -> bool:
    """The proof of eleven (Rijksoverheid)."""
    return len(set(digits)) > 1 and weighted(digits, (9, 8, 7, 6, 5, 4, 3, 2, -1), 11) == 0


def _is_nrn(digits: str) -> bool:
    """97 less the first nine digits, with a 2 before them for births from 2000 on."""
    body, check = int(digits[:9]), int(digits[9:])
    return (
        int(digits[2:4]) % 20 <= 12
        and int(digits[4:6]) <= 31
        and check in (97 - body % 97, 97 - (2_000_000_000 + body) % 97)
    )


def _is_pesel(digits: str) -> bool:
    """Weights 1, 3, 7, 9; the century is in the month (gov.pl)."""
    month, day = int(digits[2:4]) % 20, int(digits[4:6])
    return (
        1 <= month <= 12 and 1 <= day <= 31 and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1), 10) == 0
    )


def _is_pt_nif(digits: str) -> bool:
    """Weights 9 to 2 modulo 11 (Autoridade Tributária)."""
    rest = weighted(digits, range(9, 1, -1), 11)
    return digits[0] in "1235689" and int(digits[8]) == (0 if rest < 2 else 11 - rest)


def _is_personnummer(digits: str) -> bool:
    """A date, with 60 added to the day for coordination numbers; Luhn on the last ten (Skatteverket)."""
    short = digits[-10:]
    century = int(digits[:2]) if len(digits) == 12 else 19
    day = int(short[4:6])
    year = century * 100 + int(short[:2])
    return (
        century in (18, 19, 20)
        and _is_date(
            year if len(digits) == 12 else 2000 + int(short[:2]) % 4,
            int(short[2:4]),
            day - 60 if day > 60 else day,
        )
        and luhn(short)
    )


def _is_hetu(text: str) -> bool:
    """Modulo 31 of date and serial (DVV)."""
    digits = text[:6] + text[-4:-1]
    return (
        digits.isdigit()
        and 1 <= int(text[2:4]) <= 12
        and 1 <= int(text[:2]) <= 31
        and "0123456789ABCDEFHJKLMNPRSTUVWXY"[int(digits) % 31] == text[-1]
    )


def _is_cpr(digits: str) -> bool:
    """A date; the check digit is not guaranteed since 2007 (CPR-kontoret)."""
    return 1 <= int(digits[:2]) <= 31 and 1 <= int(digits[2:4]) <= 12


def _is_fnr(digits: str) -> bool:
    """Two checks modulo 11 (Skatteetaten); 40 is added to the day of D-numbers."""
    day, month = int(digits[:2]) % 40, int(digits[2:4])
    return (
        1 <= day <= 31 and 1 <= month <= 12
        and weighted(digits, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1), 11) == 0
        and weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1), 11) == 0
    )  # fmt: skip


def _is_svnr(digits: str) -> bool:
    """Weights 3 7 9 5 8 4 2 1 6, the fourth digit is the check (DVSV)."""
    rest = weighted(digits[:3] + digits[4:], (3, 7, 9, 5, 8, 4, 2, 1, 6), 11)
    return (
        digits[0] != "0" and rest == int(digits[3]) and 1 <= int(digits[6:8]) <= 13 and int(digits[4:6]) <= 31
    )


def _is_ahv(digits: str) -> bool:
    """756 and an EAN-13 check digit."""
    return digits.startswith("756") and weighted(digits, (1, 3) * 7, 10) == 0


def _is_pps(text: str) -> bool:
    """Weights 8 to 2, and 9 for the second letter, modulo 23."""
    second = "WABCDEFGHI".find(text[8]) * 9 if len(text) == 9 else 0
    return (
        second >= 0
        and "WABCDEFGHIJKLMNOPQRSTUV"[
            (sum(int(d) * w for d, w in zip(text[:7], range(8, 1, -1), strict=True)) + second) % 23
        ]
        == text[7]
    )


def _is_tckn(digits: str) -> bool:
    """Two check digits (NVI)."""
    n = list(map(int, digits))
    return n[0] != 0 and (7 * sum(n[0:9:2]) - sum(n[1:8:2])) % 10 == n[9] and sum(n[:10]) % 10 == n[10]


def _is_turkish_plate(text: str) -> bool:
    """A province from 01 to 81 (EGM)."""
    return 1 <= int(text[:2]) <= 81 and not set(text) & set("QWX")


def _is_partita_iva(digits: str) -> bool:
    """Luhn; not all the same (Agenzia delle Entrate)."""
    return luhn(digits) and len(set(digits)) > 1


def _is_afm(digits: str) -> bool:
    """Powers of two modulo 11 (AADE)."""
    return len(set(digits)) > 1 and weighted(digits, (256, 128, 64, 32, 16, 8, 4, 2), 11) % 10 == int(
        digits[8]
    )


def _is_birth_number(digits: str) -> bool:
    """Divisible by 11; 50 is added to the month of women (Czechia, Slovakia)."""
    return int(digits) % 11 == 0 and 1 <= int(digits[2:4]) % 50 % 20 <= 12 and 1 <= int(digits[4:6]) <= 31


def _is_cnp(digits: str) -> bool:
    """Weights 279146358279 modulo 11 (Romania)."""
    rest = weighted(digits, (2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9), 11)
    return (
        digits[0] != "0"
        and 1 <= int(digits[3:5]) <= 12
        and 1 <= int(digits[5:7]) <= 31
        and int(digits[12]) == (1 if rest == 10 else rest)
    )


def _is_egn(digits: str) -> bool:
    """Weights 2 4 8 5 10 9 7 3 6 modulo 11 (Bulgaria); 20 or 40 is added to the month outside the 1900s."""
    return (
        1 <= int(digits[2:4]) % 20 <= 12
        and 1 <= int(digits[4:6]) <= 31
        and weighted(digits, (2, 4, 8, 5, 10, 9, 7, 3, 6), 11) % 10 == int(digits[9])
    )


#: As in VIES; Greece is EL there.
_VAT_COUNTRIES = frozenset(
    "AT BE BG CY CZ DK EE EL ES FI FR GB HR HU IE IT LT LU LV MT NL PL PT RO SE SI SK XI".split()
)
#: Plates: one to three letters, and two to four digits, as many as fit.
_TR_PLATES = tuple(
    shape
    for letters, numbers in (
        ("A", ("9999", "99999", "999", "99")),
        ("AA", ("999", "9999", "99")),
        ("AAA", ("99", "999", "9999")),
    )
    for digits in numbers
    for shape in (f"99-{letters}-{digits}",)
)


def _is_organisation(digits: str) -> bool:
    """The third digit is 2 or more, which no month is; Luhn (Bolagsverket)."""
    return digits[2] >= "2" and digits[0] in "12356789" and luhn(digits)


EUROPE = (
    Entity("pii.se_organisationsnummer", ("999999-9999",), _is_organisation, ("organisationsnummer", "organisationsnr", "org nr", "orgnr", "org nummer", "företagsnummer"), bare=0.55, said=0.95, alone=0.75, countries=("SE",)),
    Entity("pii.se_organisationsnummer", ("9999999999",), _is_organisation, bare=0.1, said=0.9, alone=0.3, countries=("SE",)),
    Entity("pii.fr_nir", ("999999999999999", "9-99-99-99-999-999-99", "9-99-99-9A-999-999-99", "999999A99999999", "9999999999999-99"), _is_nir, ("sécurité sociale", "numéro de sécurité sociale", "securite sociale", "nir", "insee", "numéro insee"), bare=0.75, said=0.95, alone=0.85, countries=("FR",)),
    Entity("pii.es_nif", ("99999999A", "99999999-A", "99-999-999-A"), is_nif, ("nif", "dni", "documento nacional"), bare=0.7, said=0.95, alone=0.85, countries=("ES",)),
    Entity("pii.es_nie", ("A9999999A", "A-9999999-A", "A9999999-A"), lambda text: text[0] in "XYZ" and is_nif(text), ("nie",), bare=0.75, said=0.95, alone=0.85, countries=("ES",)),
    Entity("pii.es_passport", ("AAA999999",), None, ("pasaporte", "número de pasaporte", "passport", "passport number"), bare=0.3, said=0.85, alone=0.52, countries=("ES",)),
    Entity("pii.it_fiscal_code", length=16, check=is_fiscal_code, labels=("codice fiscale", "cf", "cod fisc", "fiscal code"), bare=0.9, said=0.95, alone=0.95, countries=("IT",)),
    Entity("pii.it_vat_code", ("99999999999", "99999999-999"), _is_partita_iva, ("partita iva", "p iva", "piva", "vat"), bare=0.3, said=0.95, alone=0.55, countries=("IT",)),
    Entity("pii.it_identity_card", ("AA9999999", "AA99999AA", "9999999AA", "AA-9999999", "AA-99999AA", "9999999-AA"), None, ("carta d identità", "carta di identità", "carta d identita", "carta identità", "identity card", "cie"), bare=0.15, said=0.85, alone=0.3, countries=("IT",)),
    Entity("pii.it_driver_license", ("AA9999999A", "A9XXXXXXXA"), lambda text: text[0] == "U" or text[:2].isalpha(), ("patente", "patente di guida", "numero patente"), bare=0.1, said=0.85, alone=0.3, countries=("IT",)),
    Entity("pii.it_passport", ("AA9999999",), None, ("passaporto", "numero passaporto"), bare=0.1, said=0.85, alone=0.2, countries=("IT",)),
    Entity("pii.nl_bsn", ("999999999", "9999-99-999"), _is_bsn, ("bsn", "burgerservicenummer", "sofinummer", "burger service nummer"), bare=0.2, said=0.95, alone=0.5, countries=("NL",)),
    Entity("pii.be_nrn", ("99-99-99-999-99",), _is_nrn, ("rijksregisternummer", "numéro national", "registre national", "numéro de registre national", "nrn", "insz", "niss"), bare=0.85, said=0.95, alone=0.9, countries=("BE",)),
    Entity("pii.be_nrn", ("99999999999", "999999-99999", "999999-999-99"), _is_nrn, bare=0.35, said=0.95, alone=0.6, countries=("BE",)),
    Entity("pii.pl_pesel", ("99999999999",), _is_pesel, ("pesel", "numer pesel"), bare=0.4, said=0.95, alone=0.6, countries=("PL",)),
    Entity("pii.pt_nif", ("999999999", "999-999-999"), _is_pt_nif, ("nif", "contribuinte", "número de contribuinte"), bare=0.2, said=0.95, alone=0.45, countries=("PT",)),
    Entity("pii.se_personnummer", ("999999-9999", "99999999-9999"), _is_personnummer, ("personnummer", "pnr", "personal identity", "identity code", "personal identity code", "samordningsnummer"), bare=0.7, said=0.95, alone=0.8, countries=("SE",)),
    Entity("pii.se_personnummer", ("9999999999",), _is_personnummer, bare=0.3, said=0.95, alone=0.55, countries=("SE",)),
    Entity("pii.se_personnummer", ("999999999999",), _is_personnummer, bare=0.55, said=0.95, alone=0.75, countries=("SE",)),
    Entity("pii.fi_personal_identity_code", ("999999-999X", "999999A999X", "999999+999X"), _is_hetu, ("hetu", "henkilötunnus", "henkilotunnus", "personbeteckning", "sotu"), bare=0.75, said=0.95, alone=0.85, countries=("FI",)),
    Entity("pii.dk_cpr", ("999999-9999",), _is_cpr, ("cpr", "cpr nummer", "cpr nr", "personnummer"), bare=0.3, said=0.9, alone=0.5, countries=("DK",)),
    Entity("pii.no_fnr", ("99999999999", "999999-99999"), _is_fnr, ("fødselsnummer", "fodselsnummer", "fnr", "personnummer", "d nummer"), bare=0.5, said=0.95, alone=0.7, countries=("NO",)),
    Entity("pii.at_svnr", ("9999999999", "9999-999999"), _is_svnr, ("sozialversicherungsnummer", "svnr", "sv nr", "versicherungsnummer"), bare=0.35, said=0.95, alone=0.6, countries=("AT",)),
    Entity("pii.ch_ahv", ("999-9999-9999-99", "9999999999999"), _is_ahv, ("ahv", "ahv nummer", "avs", "numéro avs", "oasi"), bare=0.85, said=0.95, alone=0.9, countries=("CH",)),
    Entity("pii.ie_pps", ("9999999A", "9999999AA"), _is_pps, ("pps", "ppsn", "pps number", "personal public service"), bare=0.5, said=0.95, alone=0.75, countries=("IE",)),
    Entity("pii.tr_national_id", ("99999999999",), _is_tckn, ("tc kimlik", "kimlik no", "t c kimlik", "tckn", "kimlik numaras\u0131", "tc kimlik no"), bare=0.5, said=0.95, alone=0.7, countries=("TR",)),
    Entity("pii.tr_license_plate", _TR_PLATES, _is_turkish_plate, ("plaka", "plaka no", "license plate", "plate"), bare=0.5, said=0.9, alone=0.6, countries=("TR",)),
    Entity("pii.tr_license_plate", tuple(shape.replace("-", "") for shape in _TR_PLATES), _is_turkish_plate, bare=0.2, said=0.9, alone=0.6, countries=("TR",)),
    Entity("pii.gr_afm", ("999999999",), _is_afm, ("afm", "\u03b1\u03c6\u03bc", "\u03b1 \u03c6 \u03bc"), bare=0.1, said=0.95, alone=0.3, countries=("GR",)),
    Entity("pii.cz_birth_number", ("999999/9999", "9999999999", "999999-9999"), _is_birth_number, ("rodné číslo", "rodne cislo", "rč"), bare=0.2, said=0.95, alone=0.5, countries=("CZ", "SK")),
    Entity("pii.ro_cnp", ("9999999999999",), _is_cnp, ("cnp", "cod numeric personal"), bare=0.5, said=0.95, alone=0.7, countries=("RO",)),
    Entity("pii.bg_egn", ("9999999999",), _is_egn, ("егн", "egn"), bare=0.2, said=0.95, alone=0.5, countries=("BG",)),
    Entity("pii.eu_vat_id", ("AAA99999999", "AAXXX999999999", "AA999999999A99", "AA99999999999", "AA99999999", "AAX9999999X", "AA999999999", "AA9999999999", "AA999999999999", "AA9999999A", "AA9999999AA"), lambda text: text[:2] in _VAT_COUNTRIES, ("vat", "vat number", "vat id", "vat no", "tva", "iva", "btw", "moms", "uid", "ust id"), bare=0.2, said=0.85, alone=0.35, countries=("AT", "BE", "BG", "CZ", "DK", "FI", "FR", "GR", "IE", "IT", "NL", "PL", "PT", "RO", "SE", "ES", "SK")),
)  # fmt: skip
