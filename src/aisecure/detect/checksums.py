"""Check digits, each written once."""

from __future__ import annotations

__all__ = ["luhn", "mod97"]

# The digit sum of a doubled digit, by digit.
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)


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
