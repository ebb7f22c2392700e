"""Identifiers of East and South-East Asia, Australia and New Zealand."""

from __future__ import annotations

from aisecure.detect.checksums import iso7064_mod11_2, weighted
from aisecure.detect.entity import Entity

__all__ = ["ASIA_PACIFIC"]


def _is_tfn(digits: str) -> bool:
    """Weights 1 4 3 7 5 8 6 9 10 modulo 11 (ATO)."""
    return len(set(digits)) > 1 and weighted(digits, (1, 4, 3, 7, 5, 8, 6, 9, 10), 11) == 0


def _is_abn(digits: str) -> bool:
    """One less in the first place, modulo 89 (ABR)."""
    return (
        digits[0] != "0"
        and weighted(str(int(digits[0]) - 1) + digits[1:], (10, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19), 89) == 0
    )


def _is_acn(digits: str) -> bool:
    """Weights 8 to 1 modulo 10 (ASIC)."""
    return digits != "000000000" and (10 - weighted(digits, range(8, 0, -1), 10)) % 10 == int(digits[8])


def _is_medicare(digits: str) -> bool:
    """First 2 to 6; weights 1 3 7 9 modulo 10 (Services Australia)."""
    return digits[0] in "23456" and weighted(digits, (1, 3, 7, 9, 1, 3, 7, 9), 10) == int(digits[8])


_NRIC = {
    "S": (0, "JZIHGFEDCBA"),
    "T": (4, "JZIHGFEDCBA"),
    "F": (0, "XWUTRQPNMLK"),
    "G": (4, "XWUTRQPNMLK"),
    "M": (3, "KLJNPQRTUWX"),
}


def is_nric(text: str) -> bool:
    """Weights 2 7 6 5 4 3 2, an offset and a table of letters by prefix (ICA).

    >>> is_nric("S1234567D"), is_nric("S1234567E")
    (True, False)
    """
    if text[0] not in _NRIC:
        return False
    offset, letters = _NRIC[text[0]]
    rest = (offset + weighted(text[1:8], (2, 7, 6, 5, 4, 3, 2), 11)) % 11
    return text[8] == (letters[10 - rest] if text[0] == "M" else letters[rest])


def _is_ird(digits: str) -> bool:
    """Weights modulo 11, and others where those give 10 (Inland Revenue)."""
    digits = digits.zfill(9)
    if not 10_000_000 <= int(digits) <= 150_000_000:
        return False
    for weights in ((3, 2, 7, 6, 5, 4, 3, 2), (7, 4, 3, 2, 5, 2, 7, 6)):
        check = -weighted(digits, weights, 11) % 11
        if check < 10:
            return check == int(digits[8])
    return False


_NHI = "ABCDEFGHJKLMNPQRSTUVWXYZ"


def _is_nhi(text: str) -> bool:
    """Modulo 11 of the old form (Te Whatu Ora)."""
    if not set(text[:3]) <= set(_NHI):
        return False
    values = [_NHI.index(c) + 1 for c in text[:3]] + [int(c) for c in text[3:6]]
    rest = sum(value * weight for value, weight in zip(values, range(7, 1, -1), strict=True)) % 11
    return rest != 0 and (11 - rest) % 10 == int(text[6])


def _is_my_number(digits: str) -> bool:
    """Weights 6 5 4 3 2 7 6 5 4 3 2 modulo 11 (J-LIS)."""
    rest = weighted(digits, (6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2), 11)
    return len(set(digits)) > 1 and int(digits[11]) == (0 if rest <= 1 else 11 - rest)


def _has_date(digits: str) -> bool:
    return 1 <= int(digits[2:4]) <= 12 and 1 <= int(digits[4:6]) <= 31


def _is_rrn_shape(digits: str) -> bool:
    """A date and 1 to 4; numbers issued since October 2020 have no check digit (MOIS)."""
    return _has_date(digits) and digits[6] in "1234"


def _is_frn_shape(digits: str) -> bool:
    """A date and 5 to 8 (MOIS)."""
    return _has_date(digits) and digits[6] in "5678"


def _has_korean_check(digits: str) -> bool:
    total = weighted(digits, (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5), 11)
    expected = (11 - total) % 10 if digits[6] in "1234" else (13 - total) % 10
    return expected == int(digits[12])


def _is_brn(digits: str) -> bool:
    """Weights 1 3 7 1 3 7 1 3 5, and a tenth of five times the ninth (NTS)."""
    total = weighted(digits, (1, 3, 7, 1, 3, 7, 1, 3, 5), 1000) + int(digits[8]) * 5 // 10
    return (10 - total % 10) % 10 == int(digits[9])


def _is_korean_licence(digits: str) -> bool:
    """A region from 11 to 28 (KoROAD)."""
    return 11 <= int(digits[:2]) <= 28


def _is_ric(text: str) -> bool:
    """A date of birth and ISO 7064 mod 11-2 (GB 11643)."""
    return (
        text[:17].isdigit()
        and text[6:8] in ("18", "19", "20")
        and _has_date(text[8:14])
        and iso7064_mod11_2(text)
    )


def _is_thai(digits: str) -> bool:
    """Weights 13 to 2 modulo 11 (DOPA)."""
    return digits[0] != "0" and (11 - weighted(digits, range(13, 1, -1), 11)) % 10 == int(digits[12])


def _is_mobile(digits: str) -> bool:
    """Prefixes 0813 to 0999 that mobile operators of the Philippines have (NTC)."""
    return digits[-10] == "9" or digits[-10:-8] in ("81", "82")


def _is_hkid(text: str) -> bool:
    """Letters from 10 on, a space as 36, modulo 11 with A for ten (Immigration Department)."""
    padded = text.rjust(9)
    values = [36 if c == " " else int(c, 36) for c in padded]
    return (
        sum(value * weight for value, weight in zip(values, range(9, 0, -1), strict=True)) % 11 == 0
        if padded[-1].isdigit()
        else (
            padded[-1] == "A"
            and (sum(value * weight for value, weight in zip(values[:8], range(9, 1, -1), strict=True)) + 10)
            % 11
            == 0
        )
    )


def _is_mykad(digits: str) -> bool:
    """A date of birth and a place (JPN)."""
    return _has_date(digits) and digits[6:8] not in (
        "00",
        "17",
        "18",
        "19",
        "20",
        "69",
        "70",
        "73",
        "80",
        "81",
        "94",
        "95",
        "96",
        "97",
    )


_TW = dict(zip("ABCDEFGHJKLMNPQRSTUVXYWZIO", range(10, 36), strict=True))


def _is_taiwan(text: str) -> bool:
    """The letter as two digits, weights 1 9 8 7 6 5 4 3 2 1 1 modulo 10."""
    return (
        text[1] in "1289"
        and weighted(f"{_TW[text[0]]}{text[1:]}", (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), 10) == 0
    )


def _is_nik(digits: str) -> bool:
    """A region, a date with 40 added to the day of women (Dukcapil)."""
    return (
        11 <= int(digits[:2]) <= 96
        and 1 <= int(digits[6:8]) % 40 <= 31
        and 1 <= int(digits[8:10]) <= 12
        and digits[12:] != "0000"
    )


ASIA_PACIFIC = (
    Entity("pii.ph_passport", ("A9999999A", "AA9999999"), None, ("philippine passport", "philippines passport", "pasaporte", "dfa"), bare=0.1, said=0.9, alone=0.2, countries=("PH",)),
    Entity("pii.ph_tin", ("999-999-999-999", "999-999-999", "999999999999", "999999999"), None, ("philippine tin", "bir", "bir tin", "revenue district office", "rdo"), bare=0.1, said=0.9, alone=0.2, countries=("PH",)),
    Entity("pii.ph_umid", ("9999-9999999-9", "999999999999"), None, ("umid", "umid number", "crn", "common reference number", "unified multi purpose id"), bare=0.2, said=0.95, alone=0.4, countries=("PH",)),
    Entity("pii.au_tfn", ("999-999-999", "999999999"), _is_tfn, ("tfn", "tax file", "tax file number"), bare=0.25, said=0.95, alone=0.4, countries=("AU",)),
    Entity("pii.au_abn", ("99-999-999-999",), _is_abn, ("abn", "australian business number"), bare=0.7, said=0.95, alone=0.8, countries=("AU",)),
    Entity("pii.au_abn", ("99999999999",), _is_abn, bare=0.35, said=0.95, alone=0.65, countries=("AU",)),
    Entity("pii.au_acn", ("999-999-999",), _is_acn, ("acn", "australian company number"), bare=0.45, said=0.95, alone=0.6, countries=("AU",)),
    Entity("pii.au_acn", ("999999999",), _is_acn, bare=0.15, said=0.95, alone=0.5, countries=("AU",)),
    Entity("pii.au_medicare", ("9999-99999-9", "9999-99999-9-9"), _is_medicare, ("medicare", "medicare number", "medicare card"), bare=0.7, said=0.95, alone=0.8, countries=("AU",)),
    Entity("pii.au_medicare", ("9999999999", "99999999999"), _is_medicare, bare=0.2, said=0.9, alone=0.55, countries=("AU",)),
    Entity("pii.sg_nric_fin", ("A9999999A",), is_nric, ("nric", "fin", "nric fin"), bare=0.7, said=0.95, alone=0.85, countries=("SG",)),
    Entity("pii.sg_nric_fin", ("A9999999A",), lambda text: text[0] in "STFGM", bare=0.35, said=0.8, alone=0.51, countries=("SG",)),
    Entity("pii.sg_uen", ("99999999A", "999999999A", "A99AA9999A"), None, ("uen", "unique entity number"), bare=0.1, said=0.9, alone=0.3, countries=("SG",)),
    Entity("pii.nz_ird", ("99999999", "999999999", "99-999-999", "999-999-999"), _is_ird, ("ird", "ird number", "inland revenue"), bare=0.15, said=0.95, alone=0.3, countries=("NZ",)),
    Entity("pii.nz_nhi", ("AAA9999",), _is_nhi, ("nhi", "nhi number", "national health index"), bare=0.3, said=0.95, alone=0.5, countries=("NZ",)),
    Entity("pii.jp_my_number", ("9999-9999-9999", "999999999999"), _is_my_number, ("my number", "mynumber", "individual number", "マイナンバー", "個人番号"), bare=0.3, said=0.95, alone=0.52, countries=("JP",)),
    Entity("pii.kr_rrn", ("999999-9999999",), _is_rrn_shape, ("rrn", "resident registration", "주민등록번호", "주민번호"), bare=0.7, said=0.95, alone=0.85, countries=("KR",)),
    Entity("pii.kr_rrn", ("9999999999999",), lambda digits: _is_rrn_shape(digits) and _has_korean_check(digits), bare=0.5, said=0.95, alone=0.65, countries=("KR",)),
    Entity("pii.kr_rrn", ("9999999999999",), _is_rrn_shape, bare=0.2, said=0.85, alone=0.53, countries=("KR",)),
    Entity("pii.kr_frn", ("999999-9999999",), _is_frn_shape, ("frn", "foreigner registration", "외국인등록번호"), bare=0.7, said=0.95, alone=0.85, countries=("KR",)),
    Entity("pii.kr_frn", ("9999999999999",), lambda digits: _is_frn_shape(digits) and _has_korean_check(digits), bare=0.5, said=0.95, alone=0.65, countries=("KR",)),
    Entity("pii.kr_frn", ("9999999999999",), _is_frn_shape, bare=0.2, said=0.85, alone=0.53, countries=("KR",)),
    Entity("pii.kr_brn", ("999-99-99999",), _is_brn, ("brn", "business registration", "사업자등록번호"), bare=0.5, said=0.95, alone=0.7, countries=("KR",)),
    Entity("pii.kr_driver_license", ("99-99-999999-99",), _is_korean_licence, ("driver license", "driver s license", "license", "운전면허", "운전면허번호"), bare=0.6, said=0.95, alone=0.8, countries=("KR",)),
    Entity("pii.kr_driver_license", ("999999999999",), _is_korean_licence, bare=0.1, said=0.8, alone=0.51, countries=("KR",)),
    Entity("pii.kr_passport", ("A99999999", "A999A9999"), lambda text: text[0] in "MSRODG", ("여권", "여권번호"), bare=0.1, said=0.9, alone=0.3, countries=("KR",)),
    Entity("pii.cn_ric", ("999999999999999999", "99999999999999999A"), _is_ric, ("resident identity", "身份证", "身份证号", "公民身份号码"), bare=0.85, said=0.95, alone=0.9, countries=("CN",)),
    Entity("pii.th_tnin", ("9-9999-99999-99-9",), _is_thai, ("thai id", "citizen id", "national id", "เลขประจำตัวประชาชน"), bare=0.8, said=0.95, alone=0.9, countries=("TH",)),
    Entity("pii.th_tnin", ("9999999999999",), _is_thai, bare=0.35, said=0.95, alone=0.51, countries=("TH",)),
    Entity("pii.ph_mobile_number", ("99999999999", "9999-999-9999", "9999-9999999"), lambda digits: digits[0] == "0" and _is_mobile(digits), ("telepono", "cp", "cp no", "mobile", "phone", "cell", "cellphone", "call", "text", "contact"), bare=0.56, said=0.9, alone=0.82, countries=("PH",)),
    Entity("pii.hk_id", ("A999999-9", "A9999999", "AA9999999", "A999999A"), _is_hkid, ("hkid", "hong kong id", "hong kong identity", "身份證", "身份證號碼"), bare=0.4, said=0.95, alone=0.6, countries=("HK",)),
    Entity("pii.my_mykad", ("999999-99-9999",), _is_mykad, ("mykad", "ic", "ic number", "no kp", "kad pengenalan", "nric"), bare=0.7, said=0.95, alone=0.8, countries=("MY",)),
    Entity("pii.my_mykad", ("999999999999",), _is_mykad, bare=0.1, said=0.85, alone=0.3, countries=("MY",)),
    Entity("pii.tw_id", ("A999999999",), _is_taiwan, ("身分證", "身分證字號", "taiwan id", "national id"), bare=0.5, said=0.95, alone=0.7, countries=("TW",)),
    Entity("pii.id_nik", ("9999999999999999",), _is_nik, ("nik", "ktp", "nomor induk kependudukan"), bare=0.2, said=0.95, alone=0.4, countries=("ID",)),
)  # fmt: skip
