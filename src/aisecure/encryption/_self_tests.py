"""Known-answer checks: that this build of the primitives, and the token format, are what they were."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aisecure.encryption.blind_index import BlindIndex
from aisecure.encryption.cipher import FieldCipher
from aisecure.encryption.keyring import Key, Keyring
from aisecure.encryption.providers.ring import RingProvider
from aisecure.encryption.streams import decrypt_chunks, encrypt_chunks
from aisecure.encryption.subjects import SubjectKeys
from aisecure.errors import DecryptionError
from aisecure.storage import Storage

__all__ = ["self_tests"]

_RING = Keyring((Key(b"\x00\x01\x02\x03", bytes(range(32)), 0),), b"\x00\x01\x02\x03")
_CONTEXT = ("patients", "notes", 42)
#: "known answer" under the ring above, worked out apart from this package: in the newest version, and in version 1.
_TOKEN = "AgABAgOgoaKjpKWmp7CxsrO0tba3uLm6u/CBJqQxYUJ/1PH013k0veLul1d4HcoVE8P4Ha8="  # noqa: S105  (of a key that everybody knows)
_OLD = "AQABAgMAAQIDBAUGBwgJCgssbLlsq8Wjdf428vkFChtUUyxKnyZe4258ASsF"
#: One byte, 3, in a file under the first key, made apart from this package.
_FILE = b64decode("iWFpc2VjZgoBBAABAgMQICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8+OYNMezoyY7iWqWmQwU9j4A==")
_INDEXED = "v1.00010203.167a4d531a3301f544cd8f8882af6753"


def self_tests() -> dict[str, Callable[[], None]]:
    """Return one check a capability."""
    return {
        "encryption.aes_256_gcm": _aes_256_gcm,
        "encryption.fields": _fields,
        "encryption.context": _context,
        "encryption.rotation": _rotation,
        "encryption.files": _files,
        "encryption.blind_index": _blind_index,
        "encryption.erasure": _erasure,
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


def _files() -> None:
    plain = b"".join(decrypt_chunks([_FILE], _RING, context=("backups", "db", 42)))
    _expect(plain == b"\x03", "an encrypted file of version 1 does not open")
    sealed = b"".join(encrypt_chunks([b"round", b" trip"], _RING))
    _expect(b"".join(decrypt_chunks([sealed], _RING)) == b"round trip", "a fresh file does not open")
    try:
        b"".join(decrypt_chunks([sealed[:-1]], _RING))
    except DecryptionError:
        return
    raise AssertionError("a file that was cut opens")


def _blind_index() -> None:
    token = BlindIndex(_RING, field=("patients", "email")).of("ada@example.org")
    _expect(token == _INDEXED, "a blind index gives another token than it did")


def _erasure() -> None:
    subjects = SubjectKeys(Storage(":memory:"), RingProvider(FieldCipher(_RING)))
    token = subjects.cipher("somebody").encrypt("round trip")
    _expect(subjects.decrypt(token) == "round trip", "a token of a data subject does not open")
    subjects.erase("somebody")
    _expect(subjects.is_erased(token), "an erasure is not remembered")
    try:
        subjects.decrypt(token)
    except DecryptionError:
        return
    raise AssertionError("a token of an erased data subject opens")
