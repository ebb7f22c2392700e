"""Base64url in its one canonical form: no padding, no white space, no bits left over (RFC 7515 section 2)."""

from __future__ import annotations

import binascii

__all__ = ["decode"]

# ``+`` and ``/`` become something that is in no alphabet, so that each value has one spelling.
_TO_STANDARD = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = {0: b"", 2: b"==", 3: b"="}
#: What a last character may be, so that the bits beyond the last byte are 0.
_ENDS = {0: frozenset(range(256)), 2: frozenset(b"AQgw"), 3: frozenset(b"AEIMQUYcgkosw048")}


def decode(text: bytes) -> bytes:
    """Return the bytes that a text stands for.

    Raises:
        ValueError: It is not canonical.

    >>> decode(b"aGk")
    b'hi'
    """
    rest = len(text) % 4
    if rest == 1 or (rest and text[-1] not in _ENDS[rest]):
        raise ValueError("no canonical base64url")
    return binascii.a2b_base64(text.translate(_TO_STANDARD) + _PADDING[rest], strict_mode=True)
