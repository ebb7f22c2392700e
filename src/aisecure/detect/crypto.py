"""Addresses of crypto-currencies: by their checksums, so that a hash is none.

Base58Check of Bitcoin, Litecoin, Dogecoin, Tron and XRP; Bech32 (BIP-173) and Bech32m (BIP-350) of Bitcoin and Litecoin; Ethereum's
forty hexadecimal digits, whose case is not checked (EIP-55): an address with a typing error is still worth hiding.
"""

from __future__ import annotations

from collections.abc import Iterator

from aisecure.detect.expressions import lazy
from aisecure.detect.recognizer import Candidate, Recognizer
from aisecure.detect.window import Window

__all__ = ["CRYPTO", "KIND"]

KIND = "pii.crypto"

_BITCOIN = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_XRP = "rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz"
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"

_BASE58 = lazy(r"(?<![A-Za-z0-9])[13LMDTr][1-9A-HJ-NP-Za-km-z]{24,34}(?![A-Za-z0-9])")
_SEGWIT = lazy(
    r"(?<![A-Za-z0-9])(?:(?:bc|ltc)1[02-9ac-hj-np-z]{11,87}|(?:BC|LTC)1[02-9AC-HJ-NP-Z]{11,87})(?![A-Za-z0-9])"
)
_ETHEREUM = lazy(r"(?<![A-Za-z0-9])0x[0-9A-Fa-f]{40}(?![A-Za-z0-9])")
#: First byte of an address by its first letter; Bitcoin, its scripts, Litecoin and its scripts, Dogecoin, Tron, XRP.
_VERSIONS = {"1": (0,), "3": (5,), "L": (48,), "M": (50,), "D": (30,), "T": (65,), "r": (0,)}


def _find(window: Window) -> Iterator[Candidate]:
    text, at = window.text, window.at
    for found in _BASE58.finditer(text, at):
        if _is_base58check(found.group()):
            yield Candidate(*found.span(), KIND, 0.95)
    for found in _SEGWIT.finditer(text, at):
        if _is_bech32(found.group().lower()):
            yield Candidate(*found.span(), KIND, 0.95)
    for found in _ETHEREUM.finditer(text, at):
        if len(set(found.group()[2:].lower())) > 4:  # zeros and the like are nobody's
            yield Candidate(*found.span(), KIND, 0.85)


def _is_base58check(text: str) -> bool:
    """Whether the last four bytes are those of the doubled SHA-256 of the others.

    >>> _is_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"), _is_base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    (True, False)
    """
    from hashlib import sha256  # takes 3 ms, which most programs need not

    letters = _XRP if text[0] == "r" else _BITCOIN
    number = 0
    for character in text:
        number = number * 58 + letters.index(character)
    if number.bit_length() > 200:
        return False
    raw = number.to_bytes(25, "big")
    return raw[0] in _VERSIONS[text[0]] and sha256(sha256(raw[:21]).digest()).digest()[:4] == raw[21:]


_GENERATOR = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
_CONSTANTS = (1, 0x2BC830A3)


def _is_bech32(text: str) -> bool:
    """Whether the polynomial of BIP-173 comes out as 1, or as the constant of BIP-350.

    >>> _is_bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"), _is_bech32("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5")
    (True, False)
    """
    prefix, _, rest = text.partition("1")
    values = [ord(letter) >> 5 for letter in prefix] + [0] + [ord(letter) & 31 for letter in prefix]
    values += [_BECH32.index(letter) for letter in rest]
    check = 1
    for value in values:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for place, each in enumerate(_GENERATOR):
            check ^= each if top >> place & 1 else 0
    return check in _CONSTANTS


CRYPTO = Recognizer(
    (KIND,),
    lazy(r"(?:[39]|A|a)[9Aa]{24}|[Aa]{2,3}9[9Aa]{11}|9a[9Aa]{40}"),
    _find,
)
