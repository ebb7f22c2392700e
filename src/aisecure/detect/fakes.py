"""Stand-ins that look like what they replace, for texts that must stay readable and data that must stay valid: a redaction style."""

from __future__ import annotations

import hashlib
import hmac
import re
import unicodedata
from collections.abc import Callable, Iterator

from aisecure.detect.checksums import luhn, mod97
from aisecure.detect.entities import ENTITIES
from aisecure.detect.expressions import lazy
from aisecure.detect.payment import card_brand

__all__ = ["fake"]

_LEAST_KEY = 32
_DIGITS, _SMALL, _CAPITALS = "0123456789", "abcdefghijklmnopqrstuvwxyz", "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
#: How often a number is drawn that a check digit or another rule may refuse, and from which part of it on it is drawn.
_TRIES = ((600, 0.0), (2000, 0.4), (6000, 0.6), (6000, 0.75))
#: Longer values are no identifiers; a stand-in of such a form helps nobody.
_LONGEST = 200


def fake(key: bytes, *, scope: str = "") -> Callable[[str, str], str]:
    """Return a style that writes another value of the same kind and form: equal for equal values, so that records can still be joined.

    Digits are replaced by digits and letters by letters, with the same grouping; check digits are right, countries of IBANs and
    brands of cards stay. What is reserved for examples is used where there is such a thing: ``example.org`` (RFC 2606), addresses of
    RFC 5737 and RFC 3849, 555-01xx of North American numbers, locally administered MAC addresses. Of dates year and named month stay,
    of coordinates the degree, of identifiers the first place and the letters but a last one. Persons get other names. Secrets, crypto addresses, places, and what no
    stand-in is found for get their label.

    These are pseudonyms, not anonymous data (GDPR article 4(5)): who has the key can try all values of a small domain. Two values may
    get one stand-in, of n values about n * n / 2 / size of the domain do; so nothing can be restored from them.

    Args:
        key: 32 random bytes or more, kept apart from the data.
        scope: Values of different scopes get different stand-ins, such as the tenant.

    Raises:
        TypeError: The key is not bytes.
        ValueError: The key is shorter.

    >>> from aisecure.detect import Redactor
    >>> redactor = Redactor(style=fake(bytes(32)))
    >>> redactor.redact("ada@example.com paid with 4111 1111 1111 1111 from 10.0.0.7").text
    'yrc@example.com paid with 4111 6655 9957 5014 from 198.51.100.179'
    """
    if not isinstance(key, bytes):
        raise TypeError("the key of a stand-in is bytes")
    if len(key) < _LEAST_KEY:
        raise ValueError(f"the key of a stand-in has {_LEAST_KEY} bytes or more")

    def style(kind: str, value: str) -> str:
        label = f"[{kind.rpartition('.')[2].upper()}]"
        # A stand-in for a secret would be taken for a leak.
        if kind.startswith("secret.") or not value or len(value) > _LONGEST:
            return label
        draws = _Draws(key, scope, kind, value)
        try:
            new = _MAKERS.get(kind, _identifier)(kind, value, draws)
        except (ValueError, LookupError, StopIteration, RuntimeError):  # the value is none of its kind
            new = None
        return label if new is None or new == value else new

    return style


class _Draws:
    """Numbers that look random and depend on the key and the value alone."""

    def __init__(self, key: bytes, *parts: str) -> None:
        raw = [part.encode("utf-8", "surrogatepass") for part in parts]
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in raw)
        self._seed = hmac.new(key, framed, hashlib.sha256).digest()
        self._block = 0
        self._bytes: Iterator[int] = iter(())

    def below(self, limit: int) -> int:
        """Return a number from 0 to below a limit of at most 65,536."""
        return (self._next() << 8 | self._next()) % limit

    def of(self, characters: str) -> str:
        return characters[self.below(len(characters))]

    def _next(self) -> int:
        byte = next(self._bytes, None)
        if byte is None:
            self._block += 1
            block = hashlib.sha256(self._seed + self._block.to_bytes(4, "big")).digest()
            self._bytes = iter(block)
            byte = next(self._bytes)
        return byte


def _drawn(character: str, draws: _Draws) -> str:
    """Return another character of the same class; signs stay."""
    if character.isdecimal():
        zero = ord(character) - unicodedata.decimal(character)
        return chr(zero + draws.below(10))
    if character.isalpha():
        return draws.of(_CAPITALS if character.isupper() else _SMALL)
    return character


def _shape(text: str, draws: _Draws) -> str:
    return "".join(_drawn(character, draws) for character in text)


# -- by kind; each returns None where there is no stand-in


_Maker = Callable[[str, str, _Draws], str | None]


def _identifier(kind: str, value: str, draws: _Draws) -> str | None:
    """Draw digits, and a last letter, until what checked the value accepts them."""
    checks = _checks(kind, value)
    places = [place for place, character in enumerate(value) if character.isalnum()]
    if not places:
        return None
    if checks is None:
        known = any(entity.kind == kind for entity in ENTITIES) and any(map(str.isdecimal, value))
        # Letters of a number say what it is; those of a name are the name.
        return "".join(
            character if known and character.isalpha() else _drawn(character, draws) for character in value
        )
    # The first place stays: it often says of what sort a number is.
    free = [place for place in places[1:] if value[place].isdecimal() or place == places[-1]]
    for tries, share in _TRIES:
        moving = free[int(len(free) * share) :]
        for number in range(tries):
            new = list(value)
            for place in moving:
                # A check letter may be one of few, so half of the tries keep it.
                if value[place].isdecimal() or number % 2:
                    new[place] = _drawn(value[place], draws)
            text = "".join(new)
            if text != value and any(check(_compact(text)) for check in checks):
                return text
    return None


def _checks(kind: str, value: str) -> list[Callable[[str], bool]] | None:
    """Return the checks that accept the value; None for kinds that have none."""
    rows = [entity for entity in ENTITIES if entity.kind == kind]
    checks = [entity.check for entity in rows if entity.check is not None]
    if not checks:
        return None
    compact = _compact(value)
    right = []
    for check in checks:
        try:
            if check(compact):
                right.append(_careful(check))
        except (ValueError, IndexError, KeyError):
            continue
    return right[:1] or None  # the strictest comes first


def _careful(check: Callable[[str], bool]) -> Callable[[str], bool]:
    def accepts(text: str) -> bool:
        try:
            return check(text)
        except (ValueError, IndexError, KeyError):
            return False

    return accepts


def _compact(value: str) -> str:
    return "".join(filter(str.isalnum, value)).upper()


def _email(_: str, value: str, draws: _Draws) -> str:
    local = _shape(value.rpartition("@")[0], draws)
    return f"{local}@example.{('org', 'net', 'com')[draws.below(3)]}"


def _url(_: str, value: str, draws: _Draws) -> str:
    scheme = value.partition("://")[0] + "://" if "://" in value else ""
    return f"{scheme}example.org/{''.join(draws.of(_SMALL) for _ in range(8))}"


_NETWORKS = ("192.0.2", "198.51.100", "203.0.113")


def _ip(_: str, value: str, draws: _Draws) -> str:
    prefix = value.rpartition("/")[2] if "/" in value else ""
    rest = f"/{prefix}" if prefix else ""
    if ":" in value:
        return f"2001:db8::{draws.below(65536):x}:{draws.below(65536):x}{rest}"
    return f"{_NETWORKS[draws.below(3)]}.{draws.below(254) + 1}{rest}"


def _mac(_: str, value: str, draws: _Draws) -> str:
    letters = "0123456789ABCDEF" if value.upper() == value else "0123456789abcdef"
    new = [draws.of(letters) if character.isalnum() else character for character in value]
    new[1] = draws.of("26AE" if letters.isupper() else "26ae")
    return "".join(new)


def _card(_: str, value: str, draws: _Draws) -> str | None:
    digits = "".join(filter(str.isdecimal, value))
    brand = card_brand(digits)
    for _try in range(100):
        new = digits[:4] + "".join(draws.of(_DIGITS) for _ in digits[4:-1])
        new += next(digit for digit in _DIGITS if luhn(new + digit))
        if new != digits and card_brand(new) == brand:
            return _poured(value, new)
    return None


def _iban(_: str, value: str, draws: _Draws) -> str:
    compact = _compact(value)
    account = _shape(compact[4:], draws)
    check = next(number for number in range(2, 99) if mod97(f"{account}{compact[:2]}{number:02d}"))
    new = f"{compact[:2]}{check:02d}{account}"
    return _poured(value, new.lower() if value[:1].islower() else new)


def _poured(value: str, characters: str) -> str:
    """Return the characters in the places of a value's letters and digits."""
    left = iter(characters)
    return "".join(next(left) if character.isalnum() else character for character in value)


_NANP = lazy(r"(\(?\d{3}\)?[ .-]{0,2})\d{3}([ .-]?)\d{4}(?!\d)")


def _phone(_: str, value: str, draws: _Draws) -> str:
    american = _NANP.search(value)
    if american and not value.startswith("+") and american.start() <= 3:
        new = f"{american[1]}555{american[2]}01{draws.below(100):02d}"
        return value[: american.start()] + new + value[american.end() :]
    kept = 3 if value.startswith("+") else 1
    out, seen = [], 0
    for character in value:
        if character.isdecimal():
            seen += 1
            out.append(character if seen <= kept or character == "0" else draws.of("123456789"))
        else:
            out.append(character)
    return "".join(out)


_NUMBERS = lazy(r"\d+")


def _date(_: str, value: str, draws: _Draws) -> str:
    """Replace day and month by others that are valid in any order; year, month names and times stay."""
    out, last, seen = [], 0, 0
    named = any(
        len(word) > 2
        for word in re.findall(r"[^\W\d_]+", value.partition("T")[0] if "T" in value[8:] else value)
    )
    for found in _NUMBERS.finditer(value):
        digits = found.group()
        is_first = seen < (1 if named else 3)
        seen += 1
        is_year = len(digits) == 4 or (seen == 3 and not named)
        if len(digits) > 2 or is_year or not is_first:
            continue
        new = str(draws.below(28 if named else 9) + 1)
        out += [
            value[last : found.start()],
            new.rjust(len(digits), "0") if len(new) <= len(digits) else new[-1],
        ]
        last = found.end()
    out.append(value[last:])
    return "".join(out)


def _coordinates(_: str, value: str, draws: _Draws) -> str:
    whole, point, decimals = value.partition(".")
    return whole + point + _shape(decimals, draws) if decimals[:1].isdecimal() else whole + point + decimals


_GIVEN = (
    "Alex Robin Sam Kim Charlie Jordan Morgan Taylor Casey Jamie Avery Quinn Riley Skyler Rowan Emery".split()
)
_FAMILY = "Miller Baker Fisher Weaver Carter Cooper Fletcher Mason Porter Sawyer Tanner Turner Walker Webb Wright Archer".split()


def _person(_: str, value: str, draws: _Draws) -> str:
    words = value.split()
    names = [_GIVEN[draws.below(16)], *(_FAMILY[draws.below(16)] for _ in words[1:2])]
    return " ".join(names)


def _expiry(_: str, value: str, draws: _Draws) -> str:
    return f"{draws.below(12) + 1:02d}{value[2:-1]}{draws.below(10)}"


def _age(_: str, value: str, draws: _Draws) -> str:
    return _NUMBERS.sub(str(90 + draws.below(10)), value, count=1)


def _nothing(kind: str, value: str, draws: _Draws) -> None:
    return None


def _hexadecimal(_: str, value: str, draws: _Draws) -> str:
    new = [draws.of("0123456789abcdef") if character.isalnum() else character for character in value]
    new[14:15], new[19:20] = "4", draws.of("89ab")
    return "".join(new)


_MAKERS: dict[str, _Maker] = {
    "pii.email": _email,
    "pii.url": _url,
    "pii.ip_address": _ip,
    "pii.mac_address": _mac,
    "pii.credit_card": _card,
    "pii.iban": _iban,
    "pii.phone": _phone,
    "pii.date_time": _date,
    "pii.date_of_birth": _date,
    "pii.geo_coordinates": _coordinates,
    "pii.person": _person,
    "pii.card_expiry": _expiry,
    "pii.age_over_89": _age,
    "pii.uuid": _hexadecimal,
    "pii.crypto": _nothing,
    "pii.location": _nothing,
    "pii.organization": _nothing,
    "pii.nrp": _nothing,
}
