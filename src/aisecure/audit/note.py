"""Signed notes (C2SP signed-note v1): a text with the signatures of named keys under it, as lines of text.

Keys are Ed25519, written as Go's ``sumdb/note`` writes them, so that other tools read what this one signs.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Collection
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from aisecure.errors import Misconfigured
from aisecure.storage import update_private

__all__ = ["InvalidNote", "NoteKey", "NoteSigner", "open_note"]

_ED25519 = b"\x01"
_PRIVATE = "PRIVATE+KEY+"
_KEY_BYTES = 32
#: Characters and signatures of a note that is read at all.
_LONGEST, _MOST_SIGNATURES = 65_536, 100
_SIGNATURE = re.compile("\u2014 ([^ +\n]{1,255}) ([A-Za-z0-9+/=]{1,8192})")


class InvalidNote(ValueError):
    """A note that is none, or that no known key signed."""


@dataclass(frozen=True, slots=True)
class NoteKey:
    """The public half: who signed a note.

    Attributes:
        name: Of whoever signs; for logs their origin.
        public: 32 bytes of Ed25519.
    """

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> NoteKey:
        """Read ``name+hash+base64``.

        Raises:
            ValueError: It is none, or of another kind than Ed25519.

        >>> key = NoteKey.parse("example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
        >>> key.name
        'example.com/foo'
        """
        name, _, rest = text.strip().partition("+")
        given, _, encoded = rest.partition("+")
        key = cls(checked_name(name), _key_bytes(encoded))
        if given != key.id.hex():
            raise ValueError("the key's hash does not fit its name and bytes")
        return key

    @property
    def id(self) -> bytes:
        """Four bytes that say which key of a name signed."""
        return sha256(self.name.encode() + b"\n" + _ED25519 + self.public).digest()[:4]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{base64.b64encode(_ED25519 + self.public).decode()}"

    def verifies(self, signature: bytes, text: str) -> bool:
        """Return whether the signature is of this key, over this text."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


@dataclass(frozen=True, slots=True)
class NoteSigner:
    """The private half. The ``repr`` does not show it.

    Attributes:
        name: Of whoever signs.
    """

    name: str
    _seed: bytes = field(repr=False)

    @classmethod
    def generate(cls, name: str) -> NoteSigner:
        """Return a new key.

        Raises:
            ValueError: The name has a space, a plus sign, or something unprintable in it.
        """
        return cls(checked_name(name), Ed25519PrivateKey.generate().private_bytes_raw())

    @classmethod
    def load(cls, path: str | Path) -> NoteSigner:
        """Read a file that `save` or Go's ``note.GenerateKey`` wrote.

        Raises:
            Misconfigured: It cannot be read, or holds no such key.
        """
        try:
            return cls._parse(Path(path).read_text("utf-8").strip())
        except OSError as err:
            raise Misconfigured(f"{path}: {err.strerror}", code="config.signing_key") from err
        except ValueError:
            # ``from None``: the text of the error could hold a part of the key.
            raise Misconfigured(
                f"{path}: holds no signing key; write one with aisecure audit keygen",
                code="config.signing_key",
            ) from None

    @classmethod
    def _parse(cls, text: str) -> NoteSigner:
        if not text.startswith(_PRIVATE):
            raise ValueError("no private key")
        name, _, rest = text.removeprefix(_PRIVATE).partition("+")
        given, _, encoded = rest.partition("+")
        signer = cls(checked_name(name), _key_bytes(encoded))
        if given != signer.key.id.hex():
            raise ValueError("the key's hash does not fit its name and bytes")
        return signer

    def save(self, path: str | Path) -> None:
        """Write the key to a new file that its owner alone may read.

        Raises:
            Misconfigured: There is a file already, or it cannot be written.
        """

        def write(before: bytes | None) -> bytes:
            if before is not None:
                raise Misconfigured(f"{path}: exists; keys are not written over", code="config.signing_key")
            encoded = base64.b64encode(_ED25519 + self._seed).decode()
            return f"{_PRIVATE}{self.name}+{self.key.id.hex()}+{encoded}\n".encode()

        update_private(Path(path), write)

    @property
    def key(self) -> NoteKey:
        """The public half."""
        private = Ed25519PrivateKey.from_private_bytes(self._seed)
        return NoteKey(self.name, private.public_key().public_bytes_raw())

    def sign(self, text: str) -> str:
        """Return the text with this key's signature under it.

        Raises:
            ValueError: The text is empty, does not end its last line, or has control characters.
        """
        _checked_text(text)
        signature = Ed25519PrivateKey.from_private_bytes(self._seed).sign(text.encode())
        return f"{text}\n\u2014 {self.name} {base64.b64encode(self.key.id + signature).decode()}\n"


def open_note(note: str, keys: Collection[NoteKey]) -> tuple[str, tuple[str, ...]]:
    r"""Return the text of a note, and the names of the known keys that signed it.

    Signatures of unknown keys are passed over; one of a known key that does not fit makes the whole note invalid.

    Raises:
        InvalidNote: It is no note, no known key signed it, or a signature is wrong.

    >>> signer = NoteSigner.generate("example.com/log")
    >>> open_note(signer.sign("All is well.\n"), [signer.key])
    ('All is well.\n', ('example.com/log',))
    """
    if not isinstance(note, str):
        raise TypeError("a note is a str")
    body, _, signatures = note.rpartition("\n\n")
    text = body + "\n"
    lines = signatures.split("\n")
    if not body or len(note) > _LONGEST or lines[-1] or not 1 < len(lines) <= _MOST_SIGNATURES + 1:
        raise InvalidNote("no signed note: a text, an empty line, and signatures")
    try:
        _checked_text(text)
    except ValueError as err:
        raise InvalidNote(str(err)) from None
    known = {(key.name, key.id): key for key in keys}
    signed: list[str] = []
    for line in lines[:-1]:
        found = _SIGNATURE.fullmatch(line)
        raw = _decoded(found[2]) if found else b""
        if found is None or len(raw) <= 4:
            raise InvalidNote("a line under the note is no signature")
        key = known.get((found[1], raw[:4]))
        if key is None or key.name in signed:
            continue
        if not key.verifies(raw[4:], text):
            raise InvalidNote(f"the signature of {key.name} does not fit the text")
        signed.append(key.name)
    if not signed:
        raise InvalidNote("no known key signed it")
    return text, tuple(signed)


def checked_name(name: str) -> str:
    """Return a name that a key may have.

    Raises:
        ValueError: It may not.
    """
    if not 0 < len(name) <= 255 or not name.isprintable() or {" ", "+"} & set(name):
        raise ValueError("the name of a key is printable, without spaces and '+'")
    return name


def _checked_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n" or any(c < " " and c != "\n" for c in text) or "\x7f" in text:
        raise ValueError("the text of a note ends with a newline, and has no other control characters")
    text.encode()  # lone surrogates are no text


def _key_bytes(encoded: str) -> bytes:
    raw = _decoded(encoded)
    if len(raw) != 1 + _KEY_BYTES or raw[:1] != _ED25519:
        raise ValueError("no Ed25519 key")
    return raw[1:]


def _decoded(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
