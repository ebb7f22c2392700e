"""Check digits, each written once. All take letters and digits of ASCII, upper case, without separators."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["digits_of", "iso7064_mod11_2", "iso7064_mod11_10", "luhn", "mod97", "verhoeff", "weighted"]

# The digit sum of a doubled digit, by digit.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


def digits_of(text: str) -> list[int]:
    """Return the digits of a text as numbers."""
    return list(map(int, text))


def luhn(digits: str) -> bool:
    """Whether decimal digits, of any script, pass the Luhn check (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    numbers = list(map(int, digits))
    return (sum(numbers[-1::-2]) + sum(_DOUBLED[number] for number in numbers[-2::-2])) % 10 == 0


def mod97(text: str) -> bool:
    """Whether letters A-Z and digits 0-9 pass ISO 7064 mod 97-10, read as they stand.

    >>> mod97("370400440532013000DE89")
    True
    """
    return int("".join(str(int(character, 36)) for character in text)) % 97 == 1


def weighted(digits: str, weights: Sequence[int], modulus: int) -> int:
    """Return the sum of digits times weights, modulo.

    >>> weighted("401023213", range(10, 1, -1), 11)
    4
    """
    return sum(int(digit) * weight for digit, weight in zip(digits, weights, strict=False)) % modulus


def iso7064_mod11_10(digits: str) -> bool:
    """Whether digits pass ISO 7064 mod 11,10.

    >>> iso7064_mod11_10("36574261809"), iso7064_mod11_10("36574261808")
    (True, False)
    """
    product = 10
    for digit in digits[:-1]:
        product = ((int(digit) + product) % 10 or 10) * 2 % 11
    return (11 - product) % 10 == int(digits[-1])


def iso7064_mod11_2(text: str) -> bool:
    """Whether digits, the last of which may be X, pass ISO 7064 mod 11-2.

    >>> iso7064_mod11_2("11010519491231002X")
    True
    """
    if not (text[:-1].isdecimal() and (text[-1] == "X" or text[-1].isdecimal())):
        return False
    total = 0
    for character in text[:-1]:
        total = (total + int(character)) * 2 % 11
    return (total + (10 if text[-1] == "X" else int(text[-1]))) % 11 == 1


# The dihedral group of order 10, and the permutation that is applied once for each place.
_D5 = tuple(
    tuple((a + b) % 5 if a < 5 and b < 5 else (a + b) % 5 + 5 if a < 5 else (a - b) % 5 + 5 if b < 5 else (a - b) % 5 for b in range(10))
    for a in range(10)
)  # fmt: skip
_PERMUTATION = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)


def _powers() -> tuple[tuple[int, ...], ...]:
    rows = [tuple(range(10))]
    for _ in range(7):
        rows.append(tuple(_PERMUTATION[digit] for digit in rows[-1]))
    return tuple(rows)


_PLACES = _powers()


def verhoeff(digits: str) -> bool:
    """Whether digits pass the Verhoeff check.

    >>> verhoeff("234123412346"), verhoeff("234123412347")
    (True, False)
    """
    state = 0
    for place, digit in enumerate(reversed(digits)):
        state = _D5[state][_PLACES[place % 8][int(digit)]]
    return state == 0
