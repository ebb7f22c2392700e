"""Equality look-ups on encrypted fields: a keyed digest of the value, stored in a column of its own.

An index token is the text

    v1. | key id, hexadecimal | . | the first bits of HMAC-SHA256(index key, type tag | value), hexadecimal

(RFC 2104, FIPS 198-1), and the index key is

    HKDF-Expand-SHA256(key of the ring, "aisecure blind index 1" | field | tenant)          RFC 5869 section 2.3

whose label no data key shares (`aisecure.encryption.datakeys`): from index tokens nothing follows about ciphertexts.
"""

from __future__ import annotations

import hmac
import re
import unicodedata
from collections.abc import Callable
from datetime import date, datetime
from math import ceil, log2
from time import monotonic
from typing import NoReturn
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aisecure.encryption.context import Part, encode_context
from aisecure.encryption.keyring import Key, Keyring, KeySource

__all__ = ["MAX_CODE_POINTS", "BlindIndex", "Indexable", "caseless"]

#: Longest text or bytes that is indexed. Names, addresses and numbers are shorter; what is longer is no look-up key,
#: and Unicode normalisation of a hostile megabyte takes quadratic time.
MAX_CODE_POINTS = 4096

#: What can be indexed. No truth values (two tokens say everything), no floats (equal in many spellings), and no date with a time.
Indexable = str | int | bytes | date | UUID

_LABEL = b"aisecure blind index 1"
_FORM = re.compile(r"v1\.[0-9a-f]{8}(?:[0-9a-f]{24})?\.[0-9a-f]{1,64}")
#: Index keys that are kept derived, one a tenant; deriving one again takes microseconds.
_KEPT = 1024


def caseless(text: str) -> str:
    """Return a text in the form in which spellings that people take for the same are equal; a ``normalise``.

    White space around it is dropped, then canonical caseless matching of the Unicode Standard (definition D145).

    >>> caseless(" Straße ") == caseless("STRASSE")
    True
    """
    folded = unicodedata.normalize("NFD", text.strip()).casefold()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", folded))


class BlindIndex:
    """Turns values of one field into tokens that are equal when the values are.

    Against whoever reads the store without the keys: values cannot be computed from tokens, nor guessed and
    tested, nor compared between fields or tenants. What it *does* reveal, by design: which rows of a tenant share a
    value, and so how often each value occurs. Whoever knows the distribution of the values (names, diagnoses, towns) can
    match frequencies, and one who can write rows and read tokens can test guesses. So do not index what has
    few values: sex, status, small numbers, years of birth.

    Truncation hides a little: with ``bits`` b, each value shares its token with one in 2**b others. A look-up among N
    rows then returns about N / 2**b rows of other values, which the application drops after decrypting. Do not
    truncate what a unique constraint rests on.

    Args:
        keys: A ring, or the `KeyFile` of one. Give the index one of its own: rotating it means computing every
            stored token anew, while `Reencryption` of the ciphertexts is routine. With the ring of the cipher, pin ``key_id``.
        field: The place, such as ``("patients", "email")``; indexes of different fields have nothing in common.
        bits: Of digest in a token; `bits_for` computes a smaller one.
        normalise: Applied to texts first, such as `caseless`; None takes them as they are.
        key_id: The key to use, as hexadecimal; None for the primary.

    >>> index = BlindIndex(Keyring.generate(), field=("patients", "email"), normalise=caseless)
    >>> index.of("ada@example.org") == index.of("Ada@Example.org")
    True
    >>> index.of("ada@example.org") == index.of("ada@example.org", tenant="other")
    False
    """

    __slots__ = (
        "__weakref__",
        "_bits",
        "_derived",
        "_expires",
        "_field",
        "_key_id",
        "_normalise",
        "_ring",
        "_source",
    )

    def __init__(
        self,
        keys: Keyring | KeySource,
        *,
        field: tuple[Part, ...],
        bits: int = 128,
        normalise: Callable[[str], str] | None = None,
        key_id: str | None = None,
    ) -> None:
        if not isinstance(keys, Keyring) and not callable(getattr(keys, "ring", None)):
            raise TypeError(f"BlindIndex takes a Keyring or a KeyFile, not {type(keys).__name__}")
        if type(field) is not tuple or not field:
            raise TypeError("field is a tuple of texts and whole numbers, such as ('patients', 'email')")
        if type(bits) is not int or not 1 <= bits <= 256:
            raise ValueError("bits is a whole number from 1 to 256")
        if normalise is not None and not callable(normalise):
            raise TypeError("normalise takes a text and returns one")
        encode_context(field)
        self._source = keys
        self._field = field
        self._bits = bits
        self._normalise = normalise
        self._key_id = None if key_id is None else bytes.fromhex(key_id)
        self._derived: dict[tuple[bytes, str], bytes] = {}
        self._ring, self._expires = _fetched(keys)
        if not isinstance(keys, Keyring):
            keys.subscribe(self._expire)
        self._writing(self._ring)

    @staticmethod
    def bits_for(rows: int, coincidences: float) -> int:
        """Return the least bits with which a look-up among so many rows returns at most so many others on average.

        More coincidences hide more and cost more decryptions; two is the least that hides anything, and more
        than the square root of the rows makes the index slow.

        >>> BlindIndex.bits_for(rows=1_000_000, coincidences=4)
        18
        """
        if rows < 1 or not coincidences > 0:
            raise ValueError("rows is 1 or more, coincidences a number above 0")
        return min(256, max(1, ceil(log2(rows / coincidences))))

    @property
    def field(self) -> tuple[Part, ...]:
        """The place that it indexes."""
        return self._field

    def of(self, value: Indexable, *, tenant: str = "default") -> str:
        """Return the token to store beside the ciphertext.

        Raises:
            TypeError: The value is of no kind that can be indexed, or the tenant no text.
            ValueError: It is longer than `MAX_CODE_POINTS`, or has a lone surrogate.
            Unavailable, Misconfigured: The keys cannot be had.
        """
        return self._token(self._writing(self._present()), self._encode(value), tenant)

    def candidates(self, value: Indexable, *, tenant: str = "default") -> tuple[str, ...]:
        """Return the tokens to look for: one under each key that is not retired, the one of `of` first.

        More than one only while an index key is being replaced; errors as for `of`.
        """
        ring, data = self._present(), self._encode(value)
        first = self._writing(ring)
        others = (key for key in reversed(ring.keys) if not key.retired and key.id != first.id)
        return tuple(self._token(key, data, tenant) for key in (first, *others))

    def is_current(self, token: str) -> bool:
        """Whether a token names the key that `of` uses and has as many bits; compute the others anew."""
        head = f"v1.{self._writing(self._present()).id.hex()}."
        return self.recognises(token) and token.startswith(head) and len(token) == len(head) + self._digits

    @staticmethod
    def recognises(token: object) -> bool:
        """Whether this has the outer form of an index token; it proves nothing more."""
        return isinstance(token, str) and _FORM.fullmatch(token) is not None

    @property
    def _digits(self) -> int:
        return -(-self._bits // 4)

    def _token(self, key: Key, data: bytes, tenant: str) -> str:
        digest = int.from_bytes(hmac.digest(self._index_key(key, tenant), data, "sha256"))
        kept = digest >> (256 - self._bits) << (-self._bits % 4)
        return f"v1.{key.id.hex()}.{kept:0{self._digits}x}"

    def _index_key(self, key: Key, tenant: str) -> bytes:
        if type(tenant) is not str:
            raise TypeError(f"tenant is a text, not {type(tenant).__name__}")
        derived = self._derived.get((key.id, tenant))
        if derived is None:
            # The tenant is a part of its own, so that no field runs into it.
            info = _LABEL + encode_context((len(self._field), *self._field, tenant))
            derived = HKDFExpand(SHA256(), 32, info).derive(key.secret)
            if len(self._derived) >= _KEPT:
                self._derived.clear()
            self._derived[key.id, tenant] = derived
        return derived

    def _writing(self, ring: Keyring) -> Key:
        if self._key_id is None:
            return ring.primary_key
        key = ring.get(self._key_id)
        if key is None:
            raise ValueError(f"the ring has no key {self._key_id.hex()} in use; name one of its key_ids")
        return key

    def _present(self) -> Keyring:
        if self._expires is not None and monotonic() >= self._expires:
            # Without a lock, since two threads that ask at once get the same ring.
            ring, expires = _fetched(self._source)
            if ring is not self._ring:
                # Index keys of what is gone go too.
                self._ring, self._derived = ring, {}
            self._expires = expires
        return self._ring

    def _expire(self) -> None:
        self._expires = 0.0

    def _encode(self, value: Indexable) -> bytes:
        """Return a value as bytes that no other value, of any kind, has."""
        if isinstance(value, str):
            _check_length(value)
            text = value if self._normalise is None else self._normalise(value)
            try:
                return b"s" + text.encode()
            except UnicodeEncodeError:
                pass
            # Outside the handler: the encoder's error carries the whole text.
            raise ValueError("the value has a lone surrogate, which has no UTF-8; clean it first")
        if isinstance(value, bytes):
            _check_length(value)
            return b"b" + value
        if isinstance(value, int) and not isinstance(value, bool):
            if value.bit_length() > MAX_CODE_POINTS:
                raise ValueError(f"a number to be indexed has at most {MAX_CODE_POINTS} bits")
            return b"i%d" % value
        if isinstance(value, date) and not isinstance(value, datetime):
            return b"d" + value.isoformat().encode()
        if isinstance(value, UUID):
            return b"u" + value.bytes
        raise TypeError(f"a value of type {type(value).__name__} cannot be indexed; make it a text first")

    def __repr__(self) -> str:
        return f"BlindIndex({self._ring!r}, field={self._field!r}, bits={self._bits})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a BlindIndex is not pickled: it holds keys")


def _fetched(keys: Keyring | KeySource) -> tuple[Keyring, float | None]:
    """Return the present ring, and when to ask again by the monotonic clock."""
    if isinstance(keys, Keyring):
        return keys, None
    # The time first: a change that comes while the ring is read is seen the sooner.
    until = monotonic() + keys.poll_seconds
    return keys.ring(), until


def _check_length(value: str | bytes) -> None:
    if len(value) > MAX_CODE_POINTS:
        raise ValueError(f"a value to be indexed has at most {MAX_CODE_POINTS} code points or bytes")
