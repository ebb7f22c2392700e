"""Encrypted files: documents, data sets and backups of any size, in constant memory.

`encrypt_file` and `decrypt_file` go from one file to another, and the target has its name only when it is complete.
Read and written like ordinary files they are by `aisecure.encryption.open_encrypted`.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path
from typing import Protocol

from aisecure.encryption._chunks import (
    FIXED_BYTES,
    MOST_HEADER_BYTES,
    VERSION,
    Header,
    header_bytes,
    plaintext_bytes,
)
from aisecure.encryption._replace import NewFile, Writable, os_errors, write_all
from aisecure.encryption.context import Part
from aisecure.encryption.keyring import Keyring
from aisecure.encryption.streams import (
    DecryptingStream,
    EncryptingStream,
    HasKeyring,
    opening_ring,
)
from aisecure.errors import DecryptionError, Misconfigured, Unavailable
from aisecure.storage import file_error

__all__ = ["EncryptedFile", "decrypt_file", "encrypt_file", "inspect_file", "reencrypt_file"]


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes | None: ...


_Path = str | os.PathLike[str]
_Read = Callable[[int], bytes]
_Write = Callable[[bytes], object]
#: Told how many bytes of the source were read in all, after each chunk.
Progress = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class EncryptedFile:
    """What an encrypted file says of itself to everybody, and proves to nobody.

    Attributes:
        version: Of the format.
        key_id: Of the key that encrypted it, as hexadecimal.
        chunk_bytes: Size of its chunks.
        encrypted_bytes: Size of the file.
        plaintext_bytes: Size of the content.
    """

    version: int
    key_id: str
    chunk_bytes: int
    encrypted_bytes: int
    plaintext_bytes: int


def encrypt_file(
    source: _Path | _Readable,
    target: _Path | Writable,
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Encrypt a file under the primary key of a ring.

    The target is new, complete and on the disk when this returns, and has mode 0600; nothing else of the source is kept,
    neither its times nor its name. When it fails, or the process is killed, the target is as it was. Only a target that is
    no ordinary file (a pipe, a file object) gets the bytes as they come.

    Args:
        source: A path, or an object with ``read``, such as an upload.
        target: A path, which may be that of the source, or an object with ``write``.
        keys: A ring, or a cipher that has one.
        context: The place that the content belongs to; the same tuple opens it.
        progress: Called with the number of bytes read so far; what it raises ends the work.
        overwrite: Whether a file of the target's name is replaced.

    Raises:
        Misconfigured: A file is missing or not for this process; or the target exists (``config.exists``).
        Unavailable: The disk is full or failed, or the keys cannot be had.
        TypeError, ValueError: The context is of a wrong form.

    >>> ring = Keyring.generate()
    >>> _ = Path("scan.pdf").write_bytes(b"%PDF")
    >>> encrypt_file("scan.pdf", "scan.pdf.enc", ring, context=("scans", 7))
    >>> decrypt_file("scan.pdf.enc", "copy.pdf", ring, context=("scans", 7))
    >>> Path("copy.pdf").read_bytes()
    b'%PDF'
    """
    stream = EncryptingStream(keys, context=context)
    with ExitStack() as stack:
        read = stack.enter_context(_reading(source))
        _pump(stream, read, stack.enter_context(_writing(target, overwrite=overwrite)), progress)


def decrypt_file(
    source: _Path | _Readable,
    target: _Path | Writable,
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
    progress: Progress | None = None,
    overwrite: bool = False,
) -> None:
    """Decrypt a file. The target has its name only after the end of the source was verified too.

    Arguments and target are as for `encrypt_file`. A target that is no ordinary file gets verified chunks before the end is
    known: whoever reads it must throw them away when this raises.

    Raises:
        DecryptionError: Key, context, damage, end too early, no encrypted file: for every reason alike.
        Misconfigured, Unavailable, TypeError, ValueError: As for `encrypt_file`.
    """
    stream = DecryptingStream(keys, context=context)
    with ExitStack() as stack:
        read = stack.enter_context(_reading(source))
        _pump(stream, read, stack.enter_context(_writing(target, overwrite=overwrite)), progress)


def reencrypt_file(
    path: _Path,
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
    progress: Progress | None = None,
) -> bool:
    """Bring an encrypted file under the primary key of the ring, in place, with its permission bits.

    It is streamed and verified as a whole; a crash leaves the old file or the new one. A file whose header names the
    primary key already is left alone, unverified.

    Returns:
        Whether it was written anew.

    Raises:
        DecryptionError: It cannot be decrypted as a whole; it is as it was.
        Unavailable: The disk is full or failed, or the file was changed by another process meanwhile.
        Misconfigured, TypeError, ValueError: As for `encrypt_file`.

    >>> ring = Keyring.generate()
    >>> encrypt_file("scan.pdf", "old.enc", ring)
    >>> newer = ring.rotate()
    >>> reencrypt_file("old.enc", newer), reencrypt_file("old.enc", newer)
    (True, False)
    """
    path = Path(path)
    ring = opening_ring(keys)
    facts = inspect_file(path)
    if facts.key_id == ring.primary:
        return False
    old = DecryptingStream(ring, context=context)
    new = EncryptingStream(ring, context=context, chunk_bytes=facts.chunk_bytes)
    with os_errors(path), FileIO(path) as source:
        before = os.fstat(source.fileno())
        with NewFile(path, overwrite=True, mode=stat.S_IMODE(before.st_mode)) as target:
            _pump(old, source.read, lambda data: target.write(new.feed(data)), progress)
            target.write(new.finish())
            if _state(before) != _state(path.stat()):
                raise Unavailable(f"{path}: was changed meanwhile; try again", code="unavailable.storage")
    return True


def inspect_file(path: _Path) -> EncryptedFile:
    """Return what a file says of itself, for which no key is needed and nothing is decrypted.

    Raises:
        DecryptionError: It is no encrypted file, of a newer version, or has a size that none has.
        Misconfigured: It is missing, no ordinary file, or not for this process.
    """
    path = Path(path)
    with os_errors(path), open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK), "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise Misconfigured(f"{path}: is no ordinary file; name an encrypted file")
        begin = file.read(MOST_HEADER_BYTES)
    end = header_bytes(begin[:FIXED_BYTES])
    if len(begin) < end:
        raise DecryptionError
    header = Header.parse(begin[:end])
    size = plaintext_bytes(header.chunk_bytes, status.st_size - end)
    return EncryptedFile(VERSION, header.key_id.hex(), header.chunk_bytes, status.st_size, size)


def _pump(
    stream: EncryptingStream | DecryptingStream, read: _Read, write: _Write, progress: Progress | None
) -> None:
    done = 0
    while data := read(stream.next_bytes):
        write(stream.feed(data))
        done += len(data)
        if progress is not None:
            progress(done)
    write(stream.finish())


@contextmanager
def _reading(source: _Path | _Readable) -> Iterator[_Read]:
    if not isinstance(source, str | os.PathLike):
        yield _checked(source)
        return
    path = Path(source)
    with os_errors(path):
        file = FileIO(path)
    with file:

        def read(size: int) -> bytes:
            try:
                return file.read(size)
            except OSError as err:
                raise file_error(path, err) from err

        yield read


def _checked(source: _Readable) -> _Read:
    """Return ``source.read`` for a loop that ends when there is nothing more."""

    def read(size: int) -> bytes:
        data = source.read(size)
        if data is None:
            raise TypeError("the source has no data yet; pass one that waits for it")
        return data

    return read


@contextmanager
def _writing(target: _Path | Writable, *, overwrite: bool) -> Iterator[_Write]:
    if not isinstance(target, str | os.PathLike):
        yield partial(write_all, target)
        return
    with NewFile(Path(target), overwrite=overwrite) as file:
        yield file.write


def _state(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
