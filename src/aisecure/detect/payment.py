"""Payment cards and bank accounts: PAN (ISO/IEC 7812-1) and IBAN (ISO 13616)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from aisecure.detect.blocks import CONTEXT
from aisecure.detect.checksums import luhn, mod97
from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["CARD", "CARD_DETAILS", "CARD_KIND", "CODE_KIND", "EXPIRY_KIND", "IBAN", "IBAN_KIND", "card_brand"]

CARD_KIND = "pii.credit_card"
IBAN_KIND = "pii.iban"
CODE_KIND = "pii.card_security_code"
EXPIRY_KIND = "pii.card_expiry"

_GAP = r"([ .\-\xa0])"
_CARD = lazy(
    r"(?<![\w+])(?<!\d[-.,])(?:"
    rf"\d{{4}}{_GAP}\d{{4}}\1\d{{4}}\1(?:\d{{4}}\1\d{{3}}|\d{{1,4}})"
    rf"|\d{{4}}{_GAP}\d{{6}}\2\d{{4,5}}"
    r"|\d{12,19}"
    r")(?![\w]|[-.]\d)"
)

#: Brand, first and last IIN prefix, lengths. Sources: ISO/IEC 7812-1 and the brands' published ranges.
#: Searched from the top, so a brand's narrow range stands before a wide one.
_BRANDS: tuple[tuple[str, int, int, frozenset[int]], ...] = (
    ("amex", 34, 34, frozenset({15})),
    ("amex", 37, 37, frozenset({15})),
    ("diners", 300, 305, frozenset({14, 16, 19})),
    ("diners", 36, 36, frozenset({14, 16, 19})),
    ("diners", 38, 39, frozenset({14, 16, 19})),
    ("jcb", 3528, 3589, frozenset({16, 17, 18, 19})),
    ("jcb", 2131, 2131, frozenset({15})),
    ("jcb", 1800, 1800, frozenset({15})),
    ("uatp", 1, 1, frozenset({15})),
    ("mir", 2200, 2204, frozenset({16, 17, 18, 19})),
    ("mastercard", 2221, 2720, frozenset({16})),
    ("mastercard", 51, 55, frozenset({16})),
    ("visa", 4, 4, frozenset({13, 16, 18, 19})),
    ("discover", 6011, 6011, frozenset({16, 17, 18, 19})),
    ("discover", 644, 649, frozenset({16, 17, 18, 19})),
    ("discover", 65, 65, frozenset({16, 17, 18, 19})),
    ("rupay", 81, 82, frozenset({16})),
    ("unionpay", 62, 62, frozenset({16, 17, 18, 19})),
    ("maestro", 50, 50, frozenset(range(12, 20))),
    ("maestro", 56, 69, frozenset(range(12, 20))),
)  # fmt: skip


def card_brand(digits: str) -> str:
    """Return the brand that a number's first digits and length belong to, or an empty text.

    >>> card_brand("378282246310005"), card_brand("9999999999999999")
    ('amex', '')
    """
    for brand, low, high, lengths in _BRANDS:
        prefix = digits[: len(str(low))]
        if prefix and low <= int(prefix) <= high and len(digits) in lengths:
            return brand
    return ""


_CARD_LABEL = lazy(r"\b(?:cards?|cc|pan|visa|mastercard|amex)\b\D{0,30}\Z", re.IGNORECASE)


def _find_cards(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _CARD.finditer(window, at):
        digits = "".join(filter(str.isdecimal, found.group()))
        if not luhn(digits) or len(set(digits)) == 1:
            continue
        if card_brand(digits):
            yield Candidate(*found.span(), CARD_KIND, 1.0 if found.lastindex else 0.9)
        elif _CARD_LABEL.search(window[max(0, found.start() - CONTEXT) : found.start()]):
            # Store and fuel cards, and ranges issued after this table was written.
            yield Candidate(*found.span(), CARD_KIND, 0.7)


#: Length by country; SWIFT IBAN registry.
_IBAN_LENGTHS = {
    country: int(length)
    for country, length in re.findall(
        r"([A-Z]{2})(\d\d)",
        "AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 "
        "EE20 EG29 ES24 FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 "
        "IT27 JO30 KW30 KZ20 LB28 LC32 LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 "
        "NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 "
        "SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30",
    )
}
_IBAN_START = lazy(r"(?<![^\W_])([A-Za-z]{2})[0-9]{2}(?=[ \xa0-]?[A-Za-z0-9])")


def _find_ibans(block: Window) -> Iterator[Candidate]:
    window, at = block.text, block.at
    for found in _IBAN_START.finditer(window, at):
        length = _IBAN_LENGTHS.get(found[1].upper())
        end = _iban_end(window, found.start(), length) if length else 0
        if end:
            yield Candidate(found.start(), end, IBAN_KIND, 1.0)


def _iban_end(window: str, start: int, length: int) -> int:
    """Return the end of the IBAN of this length that begins here, or 0.

    The length is the country's, so words after the last group are never taken for a part of it.
    """
    characters: list[str] = []
    end = start
    while len(characters) < length:
        character = window[end : end + 1]
        if character.isascii() and character.isalnum():
            characters.append(character)
        elif character not in (" ", "\xa0", "-") or not window[end - 1].isalnum():
            return 0
        end += 1
    if window[end : end + 1].isalnum():
        return 0
    return end if mod97("".join(characters[4:] + characters[:4])) else 0


CARD = Recognizer(
    (CARD_KIND,), lazy(rf"9{{4}}{_GAP}9{{4}}\1(?:9{{4}}\1)|9{{4}}{_GAP}9{{6}}\2|9{{12}}"), _find_cards
)
IBAN = Recognizer((IBAN_KIND,), lazy(r"[Aa]{2}99[ \xa0-]?[9Aa]"), _find_ibans)

# What PCI DSS calls sensitive authentication data, and what stands beside it; by what is said alone.
_CODE = lazy(r"(?<![\w.,/+-])\d{3,4}(?![\w%]|[.,/:-]\d)", re.IGNORECASE)
_CODE_SAID = lazy(
    r"\b(?:cv[cv]2?|cid|cvn|(?:card )?security code|card (?:verification )?(?:code|value)|kartenprüfnummer|prüfziffer|código de seguridad|code de sécurité)"
    r"(?: ?(?:number|code|no\.?|#))?(?: is|:|=)?[ \xa0\"']{0,3}\Z",
    re.IGNORECASE,
)
_EXPIRY = lazy(r"(?<![\w.,/-])(?:0[1-9]|1[0-2])[/-](?:20)?[2-4]\d(?![\w]|[/-]\d)")
_EXPIRY_SAID = lazy(
    r"\b(?:exp(?:\.|iry|ires?|iration)?(?: ?date)?|valid (?:thru|through|until|till|to)|good thru|gültig bis|caduca|caducidad|expire le)"
    r"(?: is|:|=| on)?[ \xa0\"']{0,3}\Z",
    re.IGNORECASE,
)
_SAID_REACH = 40


def _find_details(window: Window) -> Iterator[Candidate]:
    text, at = window.text, window.at
    lower = window.lower
    # One of these is in every label; to look for them takes a tenth of the time.
    if not (
        "cv" in lower
        or "cid" in lower
        or "cod" in lower
        or "card" in lower
        or "prüf" in lower
        or "exp" in lower
        or "valid" in lower
        or "thru" in lower
        or "gültig" in lower
        or "caduc" in lower
    ):
        return
    for value, said, kind in ((_CODE, _CODE_SAID, CODE_KIND), (_EXPIRY, _EXPIRY_SAID, EXPIRY_KIND)):
        for found in value.finditer(text, at):
            if said.search(text, max(0, found.start() - _SAID_REACH), found.start()):
                yield Candidate(*found.span(), kind, 0.8)


CARD_DETAILS = Recognizer(
    (CODE_KIND, EXPIRY_KIND), lazy(r"\A[^9]*9{3,4}[^9]*\Z|(?<!9)99[/-]9{2}"), _find_details
)
