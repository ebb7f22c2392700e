"""Encryption of data that comes in pieces and may be larger than memory, without any input or output of its own.

`EncryptingStream` and `DecryptingStream` take bytes and give bytes, cut in any way; files, sockets and coroutines
are built on them. `encrypt_chunks` and `decrypt_chunks` do it for whatever can be looped over.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator
from threading import Lock
from typing import NoReturn, Protocol, overload

from aisecure.encryption._chunks import (
    CHUNK_BYTES,
    FIXED_BYTES,
    LAST,
    MORE,
    MOST_HEADER_BYTES,
    TAG_BYTES,
    Header,
    Opener,
    Sealer,
    Splitter,
    header_bytes,
)
from aisecure.encryption.context import Part, encode_context
from aisecure.encryption.keyring import Keyring
from aisecure.errors import DecryptionError

__all__ = [
    "DecryptingStream",
    "EncryptingStream",
    "HasKeyring",
    "decrypt_chunks",
    "encrypt_chunks",
    "opening_ring",
]


#: How many forks lie between the first process and this one; compared where asking the kernel would cost more.
_FORKS = [0]


def _count_fork() -> None:
    _FORKS[0] += 1


os.register_at_fork(after_in_child=_count_fork)


class HasKeyring(Protocol):
    """A cipher, of which a stream takes the ring at the moment it is made: `FieldCipher`, or that of one subject."""

    @property
    def keyring(self) -> Keyring:
        """Return the present ring.

        Raises:
            Unavailable, Misconfigured: It cannot be had.
        """


def present_ring(keys: Keyring | HasKeyring) -> Keyring:
    """Return the ring to work with now.

    Raises:
        TypeError: It is neither a ring nor a cipher.
    """
    ring = keys if isinstance(keys, Keyring) else getattr(keys, "keyring", None)
    if not isinstance(ring, Keyring):
        raise TypeError(f"keys is a Keyring or a FieldCipher, not {type(keys).__name__}")
    return ring


def opening_ring(keys: Keyring | HasKeyring) -> Keyring:
    """Return the ring to decrypt with now; that of a data subject who has no key opens nothing, and none is made.

    Raises:
        TypeError: It is neither a ring nor a cipher.
    """
    ring = getattr(keys, "opening_keyring", None)
    return ring if isinstance(ring, Keyring) else present_ring(keys)


def _place(context: tuple[Part, ...]) -> bytes:
    if type(context) is not tuple:
        raise TypeError(f"context is a tuple of texts and whole numbers, not {type(context).__name__}")
    return encode_context(context)


class _Stream:
    """Both directions: one thread at a time, and no way on after an error, which may have lost data."""

    __slots__ = ("_forks", "_lock", "_state")

    def __init__(self) -> None:
        self._lock = Lock()
        self._state = "open"
        self._forks = _FORKS[0]

    def feed(self, data: bytes | bytearray | memoryview) -> bytes:
        """Take a piece of any size, and return what is ready; possibly nothing."""
        if not isinstance(data, bytes):
            data = _copied(data)
        return self._run(self._feed, data, "open")

    def finish(self) -> bytes:
        """Say that this was all, and return the rest; call it once."""
        return self._run(self._finish, b"", "finished")

    def _run(self, step: Callable[[bytes], bytes], data: bytes, after: str) -> bytes:
        # A forked child and its parent would use one nonce for two chunks, which tells the difference of the two
        # and lets anybody forge (NIST SP 800-38D appendix A). Asked before the lock, which may be held for ever.
        if self._forks != _FORKS[0]:
            raise ValueError("a stream belongs to the process that made it; make one after the fork")
        with self._lock:
            if self._state != "open":
                raise self._refusal()
            self._state = "broken"
            result = step(data)
            self._state = after
        return result

    def _refusal(self) -> Exception:
        return ValueError(f"the stream is {self._state}; make a new one")

    def _feed(self, data: bytes) -> bytes:
        raise NotImplementedError

    def _finish(self, data: bytes) -> bytes:
        raise NotImplementedError

    def __reduce__(self) -> NoReturn:
        # A copy of an encrypting stream would use its nonces again.
        raise TypeError("a stream is not copied: it holds a key")


def _copied(data: object) -> bytes:
    if not isinstance(data, bytearray | memoryview):
        raise TypeError(f"feed takes bytes, not {type(data).__name__}")
    return bytes(data)  # some of it is held back, and may not change meanwhile


class EncryptingStream(_Stream):
    """Encrypts a stream under the primary key of a ring; what it returns, put together, is an encrypted file.

    It holds one chunk in memory. Against whoever reads or changes what is stored: the content cannot be read,
    altered, cut short, reordered, extended, mixed with another file's, or opened elsewhere (CWE-311, CWE-353). It does
    not hide the size, and an older version of the same file can be put back in its place.

    Args:
        keys: A ring, or a cipher that has one.
        context: The place that the content belongs to; the same tuple opens it.
        chunk_bytes: Size of the parts that are verified one by one, a power of two from 1 KiB to 1 MiB.
        random: Source of cryptographic randomness; takes a number of bytes.

    Raises:
        TypeError, ValueError: Context or chunk size are of a wrong form.
        Unavailable, Misconfigured: The cipher's ring cannot be had.

    >>> ring = Keyring.generate()
    >>> stream = EncryptingStream(ring, context=("uploads", 7))
    >>> sealed = stream.feed(b"some ") + stream.feed(b"data") + stream.finish()
    >>> opened = DecryptingStream(ring, context=("uploads", 7))
    >>> opened.feed(sealed) + opened.finish()
    b'some data'
    """

    __slots__ = ("_begin", "_pieces", "_seal", "key_id", "next_bytes")

    def __init__(
        self,
        keys: Keyring | HasKeyring,
        *,
        context: tuple[Part, ...] = (),
        chunk_bytes: int = CHUNK_BYTES,
        random: Callable[[int], bytes] = os.urandom,
    ) -> None:
        super().__init__()
        place = _place(context)
        key = present_ring(keys).primary_key
        header = Header.draw(key.id, chunk_bytes, random)
        self._begin = bytes(header)
        self._pieces = Splitter(chunk_bytes)
        self._seal = Sealer(header.file_key(key, place)).seal
        #: Id of the key, as hexadecimal.
        self.key_id = key.id.hex()
        #: How many bytes to feed at a time so that none is copied.
        self.next_bytes = chunk_bytes

    def _feed(self, data: bytes) -> bytes:
        pieces = self._pieces.push(data)
        if len(pieces) == 1 and not self._begin:
            return self._seal(pieces[0], MORE)
        out = [self._seal(piece, MORE) for piece in pieces]
        if self._begin:
            out.insert(0, self._begin)
            self._begin = b""
        return b"".join(out)

    def _finish(self, data: bytes) -> bytes:
        return self._begin + self._seal(self._pieces.rest(), LAST)

    def __repr__(self) -> str:
        return f"EncryptingStream(key_id={self.key_id!r})"


class DecryptingStream(_Stream):
    """Decrypts a stream. What `feed` returns was verified to be the beginning of the content, whole chunks of it.

    Only when `finish` has returned is it known that the content is complete: whoever acts before that acts on a
    prefix, which an attacker may have cut at any chunk.

    Args:
        keys: A ring, or a cipher that has one; any key of it that is not retired may have encrypted.
        context: The place that the content belongs to.

    Raises:
        TypeError, ValueError: The context is of a wrong form.
        DecryptionError: From `feed` and `finish`, for every reason alike: key, context, damage, end too early,
            no encrypted file, one of a newer version.
        Unavailable, Misconfigured: The cipher's ring cannot be had.
    """

    __slots__ = ("_header", "_keys", "_open", "_pieces", "_place", "next_bytes")

    def __init__(self, keys: Keyring | HasKeyring, *, context: tuple[Part, ...] = ()) -> None:
        super().__init__()
        self._place = _place(context)
        self._keys = opening_ring(keys)
        self._header = b""
        self._pieces = Splitter(0)
        self._open: Callable[..., bytes] | None = None
        #: How many bytes to feed at a time so that none is copied; another number after each piece of the header.
        self.next_bytes = FIXED_BYTES

    def _feed(self, data: bytes) -> bytes:
        if self._open is None:
            data = self._begin(data)
        if self._open is None:
            return b""
        pieces, opened = self._pieces.push(data), self._open
        return (
            opened(pieces[0], MORE)
            if len(pieces) == 1
            else b"".join([opened(piece, MORE) for piece in pieces])
        )

    def _begin(self, data: bytes) -> bytes:
        """Take the header, and return what follows it."""
        before = len(self._header)
        head = self._header = self._header + data[: MOST_HEADER_BYTES - before]
        end = FIXED_BYTES if len(head) < FIXED_BYTES else header_bytes(head[:FIXED_BYTES])
        if len(head) < end:
            self.next_bytes = end - len(head)
            return b""
        header = Header.parse(head[:end])
        key = self._keys.get(header.key_id)
        if key is None:
            raise DecryptionError
        self._open = Opener(header.file_key(key, self._place)).open
        self.next_bytes = header.chunk_bytes + TAG_BYTES
        self._pieces = Splitter(self.next_bytes)
        return data[end - before :]

    def _finish(self, data: bytes) -> bytes:
        if self._open is None:
            raise DecryptionError
        return self._open(self._pieces.rest(), LAST)

    def _refusal(self) -> Exception:
        return DecryptionError() if self._state == "broken" else super()._refusal()


@overload
def encrypt_chunks(
    chunks: Iterable[bytes], keys: Keyring | HasKeyring, *, context: tuple[Part, ...] = ()
) -> Iterator[bytes]: ...
@overload
def encrypt_chunks(
    chunks: AsyncIterable[bytes], keys: Keyring | HasKeyring, *, context: tuple[Part, ...] = ()
) -> AsyncIterator[bytes]: ...
def encrypt_chunks(
    chunks: Iterable[bytes] | AsyncIterable[bytes],
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
) -> Iterator[bytes] | AsyncIterator[bytes]:
    """Return an iterator over the encrypted file of what an iterable yields; asynchronous if that is.

    When the iterable raises, so does the iterator, and what it yielded until then does not open as a whole.

    Args:
        chunks: Bytes in pieces of any size, such as the body of a request.
        keys: A ring, or a cipher that has one.
        context: The place that the content belongs to; the same tuple opens it.

    Raises:
        TypeError, ValueError, Unavailable, Misconfigured: As for `EncryptingStream`, at once.

    >>> ring = Keyring.generate()
    >>> sealed = encrypt_chunks(iter([b"row 1", b"row 2"]), ring, context=("export",))
    >>> b"".join(decrypt_chunks(sealed, ring, context=("export",)))
    b'row 1row 2'
    """
    return _through(EncryptingStream(keys, context=context), chunks)


@overload
def decrypt_chunks(
    chunks: Iterable[bytes], keys: Keyring | HasKeyring, *, context: tuple[Part, ...] = ()
) -> Iterator[bytes]: ...
@overload
def decrypt_chunks(
    chunks: AsyncIterable[bytes], keys: Keyring | HasKeyring, *, context: tuple[Part, ...] = ()
) -> AsyncIterator[bytes]: ...
def decrypt_chunks(
    chunks: Iterable[bytes] | AsyncIterable[bytes],
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
) -> Iterator[bytes] | AsyncIterator[bytes]:
    """Return an iterator over the content of an encrypted file that comes in pieces; asynchronous if they are.

    Until it ends without an error, what it yielded is a verified prefix of the content and nothing more.

    Args:
        chunks: Bytes in pieces of any size.
        keys: A ring, or a cipher that has one.
        context: The place that the content belongs to.

    Raises:
        TypeError, ValueError, Unavailable, Misconfigured: As for `DecryptingStream`, at once.
        DecryptionError: From the iterator.
    """
    return _through(DecryptingStream(keys, context=context), chunks)


def _through(
    stream: _Stream, chunks: Iterable[bytes] | AsyncIterable[bytes]
) -> Iterator[bytes] | AsyncIterator[bytes]:
    if isinstance(chunks, AsyncIterable):
        return _apass(stream, chunks)
    if isinstance(chunks, bytes | bytearray | memoryview | str):
        raise TypeError("chunks is an iterable of bytes; put a single one in a list")
    return _pass(stream, iter(chunks))


def _pass(stream: _Stream, chunks: Iterator[bytes]) -> Iterator[bytes]:
    for chunk in chunks:
        if done := stream.feed(chunk):
            yield done
    if done := stream.finish():
        yield done


async def _apass(stream: _Stream, chunks: AsyncIterable[bytes]) -> AsyncIterator[bytes]:
    async for chunk in chunks:
        if done := stream.feed(chunk):
            yield done
    if done := stream.finish():
        yield done
