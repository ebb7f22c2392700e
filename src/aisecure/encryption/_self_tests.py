"""Known-answer checks: that this build of the primitives, and the token format, are what they were."""

from __future__ import annotations

from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.encryption.cipher import FieldCipher
from aisecure.encryption.keyring import Key, Keyring
from aisecure.errors import DecryptionError

__all__ = ["self_tests"]

_RING = Keyring((Key(b"\x00\x01\x02\x03", bytes(range(32)), 0),), b"\x00\x01\x02\x03")
_CONTEXT = ("patients", "notes", 42)
#: "known answer" under the ring above, worked out apart from this package: in the newest version, and in version 1.
_TOKEN = "AgABAgOgoaKjpKWmp7CxsrO0tba3uLm6u/CBJqQxYUJ/1PH013k0veLul1d4HcoVE8P4Ha8="  # noqa: S105  (of a key that everybody knows)
_OLD = "AQABAgMAAQIDBAUGBwgJCgssbLlsq8Wjdf428vkFChtUUyxKnyZe4258ASsF"  # noqa: S105  (of a key that everybody knows)


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability."""
    return {
        "encryption.aes_256_gcm": _aes_256_gcm,
        "encryption.fields": _fields,
        "encryption.context": _context,
        "encryption.rotation": _rotation,
    }


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001
    if not holds:  # not ``assert``, which python -O removes
        raise AssertionError(what)


def _aes_256_gcm() -> None:
    # McGrew and Viega, The Galois/Counter Mode of Operation, test case 14.
    answer = AESGCM(bytes(32)).encrypt(bytes(12), bytes(16), None)
    known = "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
    _expect(answer.hex() == known, "AES-256-GCM gives another answer than its authors")


def _fields() -> None:
    cipher = FieldCipher(_RING)
    for version, token in ((2, _TOKEN), (1, _OLD)):
        opens = cipher.decrypt(token, context=_CONTEXT) == "known answer"
        _expect(opens, f"a token of version {version} does not open")
    token = cipher.encrypt("round trip", context=_CONTEXT)
    _expect(cipher.decrypt(token, context=_CONTEXT) == "round trip", "a fresh token does not open")
    _expect(token != cipher.encrypt("round trip", context=_CONTEXT), "two tokens share a nonce")


def _context() -> None:
    cipher = FieldCipher(_RING)
    for token, context in ((_TOKEN, (*_CONTEXT[:2], "42")), (_TOKEN[:-2] + "AA", _CONTEXT)):
        try:
            cipher.decrypt(token, context=context)
        except DecryptionError:
            continue
        raise AssertionError("a moved or changed token opens")


def _rotation() -> None:
    newer = FieldCipher(_RING.rotate())
    _expect(newer.decrypt(_TOKEN, context=_CONTEXT) == "known answer", "a rotated ring lost a key")
