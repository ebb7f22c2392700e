"""The construction behind encrypted files: a header, a key for one file, and chunks that know their place.

The whole format, byte by byte, and why it is safe: ``docs/explanation/file-format.md``. In short, it is STREAM of
Hoang, Reyhanitabar, Rogaway and Vizár (Online Authenticated-Encryption and its Nonce-Reuse Misuse-Resistance,
CRYPTO 2015) over AES-256-GCM, as age and Tink use it: the nonce of a chunk is its number and whether it is
the last, so chunks that are cut off, swapped, repeated or added do not open.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

from aisecure.errors import DecryptionError

if TYPE_CHECKING:
    from aisecure.encryption.keyring import Key

__all__ = [
    "CHUNK_BYTES",
    "FIXED_BYTES",
    "LAST",
    "MAX_CHUNKS",
    "MORE",
    "MOST_HEADER_BYTES",
    "TAG_BYTES",
    "Header",
    "Opener",
    "Sealer",
    "Splitter",
    "header_bytes",
    "plaintext_bytes",
]

#: The high bit keeps it apart from every text, and a newline that was converted on the way shows.
MAGIC = b"\x89aisecf\n"
VERSION = 1
SALT_BYTES = 32
TAG_BYTES = 16
#: Magic, version and size of the key id: what tells how long the header is.
FIXED_BYTES = len(MAGIC) + 2
MOST_HEADER_BYTES = FIXED_BYTES + 255 + 1 + SALT_BYTES
#: As in age: fits a processor's cache, and the tag adds 0.02 %.
CHUNK_BYTES = 1 << 16
#: A reader holds one chunk in memory before it has verified it, so it bounds what a header may ask for.
LEAST_EXPONENT, MOST_EXPONENT = 10, 20
#: With chunks of at most 2**20 bytes one key encrypts at most 2**48 blocks, and the distance of GCM from ideal is
#: about blocks**2 / 2**129 = 2**-33, no more than the 2**-32 that NIST SP 800-38D section 8 allows for a nonce.
MAX_CHUNKS = 1 << 32

_LABEL = b"aisecure file"
#: Last byte of a nonce.
MORE, LAST = b"\0", b"\1"

Piece = bytes | bytearray | memoryview


@dataclass(frozen=True, slots=True)
class Header:
    """The first bytes of a file; all of them, and the context, go into the key of the file.

    Attributes:
        key_id: Of the key of the ring.
        exponent: A chunk has ``2**exponent`` bytes.
        salt: Drawn for this file alone.
    """

    key_id: bytes
    exponent: int
    salt: bytes

    @classmethod
    def draw(cls, key_id: bytes, chunk_bytes: int, random: Callable[[int], bytes]) -> Header:
        """Return the header of a new file.

        Raises:
            ValueError: Chunks of another size than a power of two between the bounds.
        """
        exponent = chunk_bytes.bit_length() - 1 if type(chunk_bytes) is int else -1
        if not LEAST_EXPONENT <= exponent <= MOST_EXPONENT or chunk_bytes != 1 << exponent:
            raise ValueError(
                f"chunk_bytes is a power of two from {1 << LEAST_EXPONENT} to {1 << MOST_EXPONENT}"
            )
        return cls(key_id, exponent, random(SALT_BYTES))

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Return what a whole header says; nothing of it is proven before the first chunk has opened.

        Raises:
            DecryptionError: It asks for chunks of a size that no version has.
        """
        end = FIXED_BYTES + data[FIXED_BYTES - 1]
        if not LEAST_EXPONENT <= data[end] <= MOST_EXPONENT:
            raise DecryptionError
        return cls(data[FIXED_BYTES:end], data[end], data[end + 1 :])

    @property
    def chunk_bytes(self) -> int:
        """Bytes of plaintext in every chunk but the last."""
        return 1 << self.exponent

    def __bytes__(self) -> bytes:
        size = bytes((VERSION, len(self.key_id)))
        return MAGIC + size + self.key_id + bytes((self.exponent,)) + self.salt

    def file_key(self, key: Key, place: bytes) -> AESGCM:
        """Return the primitive under the key of this file.

        Args:
            key: The key of the ring, uniformly random, so that HKDF needs no extraction (RFC 5869 section 3.3).
            place: The encoded context.
        """
        return AESGCM(HKDFExpand(SHA256(), 32, _LABEL + bytes(self) + place).derive(key.secret))


def header_bytes(fixed: bytes) -> int:
    """Return the size of the header that begins with these `FIXED_BYTES`.

    Raises:
        DecryptionError: It is no encrypted file, or of a version that this library does not know.
    """
    if fixed[:-1] != MAGIC + bytes((VERSION,)):
        raise DecryptionError
    return FIXED_BYTES + fixed[-1] + 1 + SALT_BYTES


def plaintext_bytes(chunk_bytes: int, body: int) -> int:
    """Return how many bytes are in the chunks of a file that has so many after its header.

    Raises:
        DecryptionError: No file has that size.
    """
    chunks = max(1, -(-body // (chunk_bytes + TAG_BYTES)))
    size = body - chunks * TAG_BYTES
    if chunks > MAX_CHUNKS or size < (chunks - 1) * chunk_bytes + (chunks > 1):
        raise DecryptionError
    return size


class Splitter:
    """Cuts a stream into pieces of one size, and holds back what may be the last of them, full or not."""

    __slots__ = ("_held", "size")

    def __init__(self, size: int) -> None:
        self.size = size
        self._held: bytes | bytearray = b""

    def push(self, data: bytes) -> list[Piece]:
        """Return the pieces that more data follows; what is pushed in whole pieces is not copied."""
        held, size = self._held, self.size
        have = len(held)
        if have == size == len(data):  # what a file is read in
            self._held = data
            return [held]
        if have + len(data) <= size:
            if held:
                # Grown in place, or a stream that comes in single bytes would copy each of them 2**16 times.
                self._held = held if isinstance(held, bytearray) else bytearray(held)
                self._held += data
            else:
                self._held = data
            return []
        view, start = memoryview(data), 0
        pieces: list[Piece] = []
        if held:
            start = size - have
            pieces.append(b"".join((held, view[:start])))
        # Up to the last byte but one: at least one byte is held back.
        begins = range(start, len(data) - size, size)
        pieces += [view[begin : begin + size] for begin in begins]
        self._held = data[begins[-1] + size if begins else start :]
        return pieces

    def rest(self) -> bytes | bytearray:
        """Return the last piece."""
        return self._held


class Sealer:
    """Encrypts the chunks of one file, in order."""

    __slots__ = ("_aead", "_count")

    def __init__(self, aead: AESGCM) -> None:
        self._aead, self._count = aead, 0

    def seal(self, chunk: Piece, flag: bytes) -> bytes:
        """Return the chunk encrypted, and its tag.

        Raises:
            ValueError: The file is full.
        """
        number = self._count
        if number >= MAX_CHUNKS:
            raise ValueError(f"an encrypted file has at most {MAX_CHUNKS} chunks; split it")
        self._count = number + 1
        return self._aead.encrypt(number.to_bytes(11, "big") + flag, chunk, None)


class Opener:
    """Decrypts the chunks of one file, in order."""

    __slots__ = ("_aead", "_count")

    def __init__(self, aead: AESGCM) -> None:
        self._aead, self._count = aead, 0

    def open(self, sealed: Piece, flag: bytes) -> bytes:
        """Return the plaintext of a chunk once its tag was verified.

        Raises:
            DecryptionError: It is not this chunk of this file; or there is an empty one too many.
        """
        number = self._count
        self._count = number + 1
        if number < MAX_CHUNKS:
            try:
                chunk = self._aead.decrypt(number.to_bytes(11, "big") + flag, sealed, None)
            except (InvalidTag, ValueError):  # ValueError: shorter than a tag
                pass
            else:
                # Only the one chunk of an empty file is empty, so that a content is cut in one way alone.
                if chunk or not number:
                    return chunk
        raise DecryptionError
