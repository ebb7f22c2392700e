"""Identifiers of Canada and Latin America."""

from __future__ import annotations

from aisecure.detect.checksums import luhn, weighted
from aisecure.detect.entity import Entity

__all__ = ["AMERICAS"]


def _is_sin(digits: str) -> bool:
    """Luhn; no number starts with 0 or 8 (ESDC)."""
    return digits[0] not in "08" and luhn(digits) and len(set(digits)) > 1


def _mod11_digit(remainder: int) -> int:
    return 0 if remainder < 2 else 11 - remainder


def _is_cpf(digits: str) -> bool:
    """Two check digits modulo 11 (Receita Federal)."""
    if len(set(digits)) == 1:
        return False
    first = _mod11_digit(weighted(digits, range(10, 1, -1), 11))
    second = _mod11_digit(weighted(digits, range(11, 1, -1), 11))
    return digits[9:] == f"{first}{second}"


_CNPJ = (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)


def _is_cnpj(text: str) -> bool:
    """Two check digits modulo 11; letters, of numbers issued from July 2026 on, count as their ASCII code less 48."""
    if len(set(text)) == 1 or not text[12:].isdigit():
        return False
    values = [ord(character) - 48 for character in text]
    first = _mod11_digit(sum(v * w for v, w in zip(values, _CNPJ[1:], strict=False)) % 11)
    second = _mod11_digit(sum(v * w for v, w in zip(values, _CNPJ, strict=False)) % 11)
    return values[12:] == [first, second]


_CURP = "0123456789ABCDEFGHIJKLMNÑOPQRSTUVWXYZ"


def _is_curp(text: str) -> bool:
    """Sex, state and check digit to base 37 (RENAPO)."""
    if text[10] not in "HMX" or not text[17].isdigit():
        return False
    total = sum(_CURP.index(character) * (18 - place) for place, character in enumerate(text[:17]))
    return (10 - total % 10) % 10 == int(text[17])


_RFC = "0123456789ABCDEFGHIJKLMN&OPQRSTUVWXYZ Ñ"


def _is_rfc(text: str) -> bool:
    """Check character modulo 11 (SAT); persons have 13 characters."""
    padded = text.rjust(13)
    total = sum(_RFC.index(character) * (13 - place) for place, character in enumerate(padded[:12]))
    return text[-1] == "0A987654321"[total % 11] if total % 11 in (0, 1) else text[-1] == str(11 - total % 11)


def _is_cuit(digits: str) -> bool:
    """Modulo 11; prefixes of persons and companies (AFIP)."""
    check = 11 - weighted(digits, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2), 11)
    return digits[:2] in ("20", "23", "24", "25", "26", "27", "30", "33", "34") and int(digits[10]) == (
        0 if check == 11 else check
    )


def _is_rut(text: str) -> bool:
    """Modulo 11 with K for ten (Registro Civil)."""
    if not text[:-1].isdigit():
        return False
    total = sum(int(digit) * (place % 6 + 2) for place, digit in enumerate(reversed(text[:-1])))
    return text[-1] == {10: "K", 11: "0"}.get(11 - total % 11, str(11 - total % 11))


def _is_nit(digits: str) -> bool:
    """Modulo 11 with prime weights (DIAN)."""
    rest = weighted(digits[8::-1], (3, 7, 13, 17, 19, 23, 29, 37, 41), 11)
    return int(digits[9]) == (rest if rest < 2 else 11 - rest)


def _is_canadian_postcode(text: str) -> bool:
    """Letters that Canada Post uses; W and Z begin none."""
    return not set(text[::2]) & set("DFIOQU") and text[0] not in "WZ"


AMERICAS = (
    Entity("pii.ca_postal_code", ("A9A-9A9",), _is_canadian_postcode, ("postal code", "postcode", "code postal", "canada", "ontario", "quebec", "québec", "alberta", "british columbia", "manitoba", "saskatchewan", "nova scotia", "toronto", "montreal", "montréal", "vancouver", "ottawa", "calgary"), bare=0.55, said=0.9, alone=0.8, countries=("CA",)),
    Entity("pii.ca_postal_code", ("A9A9A9",), _is_canadian_postcode, bare=0.2, said=0.9, alone=0.51, countries=("CA",)),
    Entity("pii.ca_sin", ("999-999-999",), _is_sin, ("sin", "social insurance", "social insurance number", "nas", "assurance sociale"), bare=0.55, said=0.95, alone=0.7, countries=("CA",)),
    Entity("pii.ca_sin", ("999999999",), _is_sin, bare=0.2, said=0.9, alone=0.45, countries=("CA",)),
    Entity("pii.br_cpf", ("999-999-999-99",), _is_cpf, ("cpf",), bare=0.8, said=0.95, alone=0.9, countries=("BR",)),
    Entity("pii.br_cpf", ("99999999999",), _is_cpf, bare=0.3, said=0.95, alone=0.6, countries=("BR",)),
    Entity("pii.br_cnpj", ("99-999-999-9999-99",), _is_cnpj, ("cnpj",), bare=0.8, said=0.95, alone=0.9, countries=("BR",)),
    Entity("pii.br_cnpj", length=14, check=_is_cnpj, bare=0.3, said=0.95, alone=0.6, countries=("BR",)),
    Entity("pii.mx_curp", ("AAAA999999AAAAAA99", "AAAA999999AAAAAAA9"), _is_curp, ("curp",), bare=0.85, said=0.95, alone=0.9, countries=("MX",)),
    Entity("pii.mx_rfc", ("AAAA999999XXX", "AAA999999XXX", "AAAA-999999-XXX", "AAA-999999-XXX"), _is_rfc, ("rfc", "registro federal"), bare=0.45, said=0.95, alone=0.7, countries=("MX",)),
    Entity("pii.ar_cuit", ("99-99999999-9",), _is_cuit, ("cuit", "cuil"), bare=0.7, said=0.95, alone=0.8, countries=("AR",)),
    Entity("pii.ar_cuit", ("99999999999",), _is_cuit, bare=0.2, said=0.9, alone=0.5, countries=("AR",)),
    Entity("pii.cl_rut", ("99-999-999-9", "9-999-999-9", "99999999-9", "9999999-9", "99-999-999-A", "9-999-999-A", "99999999-A", "9999999-A"), _is_rut, ("rut", "run"), bare=0.6, said=0.95, alone=0.8, countries=("CL",)),
    Entity("pii.co_nit", ("999-999-999-9", "999999999-9"), _is_nit, ("nit",), bare=0.45, said=0.95, alone=0.7, countries=("CO",)),
)  # fmt: skip
