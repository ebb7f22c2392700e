"""Encrypted files that are read and written like ordinary ones, by whatever takes a file object."""

from __future__ import annotations

import io
import os
import warnings
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Literal, Self, overload

from aisecure.encryption._chunks import CHUNK_BYTES
from aisecure.encryption._replace import NewFile, os_errors
from aisecure.encryption.streams import DecryptingStream, EncryptingStream
from aisecure.errors import Unavailable
from aisecure.storage import file_error

if TYPE_CHECKING:
    from types import TracebackType

    from _typeshed import ReadableBuffer, WriteableBuffer

    from aisecure.encryption.context import Part
    from aisecure.encryption.keyring import Keyring
    from aisecure.encryption.streams import HasKeyring

__all__ = ["EncryptedWriter", "open_encrypted"]

#: How much of a single write is encrypted at once, so that a large one is not held twice.
_PORTION = 1 << 20


@overload
def open_encrypted(
    path: str | os.PathLike[str],
    mode: Literal["rb"],
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
) -> io.BufferedReader: ...
@overload
def open_encrypted(
    path: str | os.PathLike[str],
    mode: Literal["wb"],
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
    overwrite: bool = False,
) -> EncryptedWriter: ...
def open_encrypted(
    path: str | os.PathLike[str],
    mode: Literal["rb", "wb"],
    keys: Keyring | HasKeyring,
    *,
    context: tuple[Part, ...] = (),
    overwrite: bool = False,
) -> io.BufferedReader | EncryptedWriter:
    r"""Return a file object that encrypts what is written to it, or gives back the content of an encrypted file.

    Use it in a ``with`` statement of its own: a written file gets its name when the block ends, and never when it
    ends by an exception. What was read is a verified prefix until a read returns ``b""``, which is when
    the content is known to be complete. There is no seeking.

    Args:
        path: The file.
        mode: ``"rb"`` or ``"wb"``; for text put an `io.TextIOWrapper` around it.
        keys: A ring, or a cipher that has one.
        context: The place that the content belongs to.
        overwrite: Whether a file of that name is replaced, in mode ``"wb"``.

    Raises:
        DecryptionError: From here and from reads: key, context, damage, end too early, no encrypted file.
        Misconfigured: The file is missing, there already (``config.exists``), or not for this process.
        Unavailable: The disk is full or failed, or the keys cannot be had.
        TypeError, ValueError: Mode or context are of a wrong form.

    >>> from aisecure.encryption import Keyring
    >>> ring = Keyring.generate()
    >>> with open_encrypted("rows.csv.enc", "wb", ring, context=("export",)) as file:
    ...     _ = file.write(b"id,name\n")
    >>> with open_encrypted("rows.csv.enc", "rb", ring, context=("export",)) as file:
    ...     file.readlines()
    [b'id,name\n']
    """
    if mode == "wb":
        stream = EncryptingStream(keys, context=context)
        return EncryptedWriter(NewFile(Path(path), overwrite=overwrite), stream)
    if mode == "rb":
        opened = DecryptingStream(keys, context=context)
        with os_errors(Path(path)):
            file = io.FileIO(path)
        return io.BufferedReader(_Reader(file, Path(path), opened), CHUNK_BYTES)
    raise ValueError('mode is "rb" or "wb"')


class EncryptedWriter(io.BufferedIOBase):
    """A new encrypted file, made by `open_encrypted`; the file is under its name after `close` or ``with`` ended well.

    Inside a ``with`` statement `close` writes the last chunk, and only the end of the block gives the file its
    name: objects that wrap a file close it also when an exception passes through them.
    """

    def __init__(self, file: NewFile, stream: EncryptingStream) -> None:
        self._file, self._stream = file, stream
        self._turn = Lock()
        self._written = 0
        self._inside = False
        self._state: str = "open"  # then failed, complete or discarded

    def writable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return how many bytes were written."""
        return self._written

    def write(self, data: ReadableBuffer, /) -> int:
        """Encrypt bytes; all of them are taken.

        Raises:
            Unavailable: The disk is full or failed. Nothing can be written any more, and no file appears.
            ValueError: The file is closed.
        """
        if self.closed:
            raise ValueError("write to a closed file")
        if not isinstance(data, bytes):
            data = bytes(memoryview(data))
        with self._turn:  # chunks have to reach the file in the order of their numbers
            try:
                if len(data) <= _PORTION:
                    self._put(self._stream.feed(data))
                else:
                    for start in range(0, len(data), _PORTION):
                        self._put(self._stream.feed(data[start : start + _PORTION]))
            except BaseException:
                self._state = "failed"
                raise
            self._written += len(data)
        return len(data)

    def _put(self, sealed: bytes) -> None:
        if sealed:
            self._file.write(sealed)

    def close(self) -> None:
        """Write the last chunk and give the file its name; inside ``with`` the name waits for the end of the block.

        Raises:
            Unavailable: The disk is full or failed, now or before; no file appears, or the old one stays.
            Misconfigured: A file of the name appeared meanwhile.
        """
        if self.closed:
            return
        super().close()
        try:
            if self._state == "failed":
                raise self._lost()
            self._state = "failed"
            self._file.write(self._stream.finish())
            if not self._inside:
                self._file.commit()
            self._state = "complete"
        finally:
            if self._state == "failed" or not self._inside:
                self._file.discard()

    def discard(self) -> None:
        """Close it and forget what was written; no file appears, and an old one stays as it was."""
        super().close()
        self._state = "discarded"
        self._file.discard()

    def __enter__(self) -> Self:
        super().__enter__()
        self._inside = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._inside = False
        if kind is not None:
            self.discard()
        elif not self.closed:
            self.close()
        elif self._state == "failed":
            raise self._lost()
        elif self._state == "complete":
            try:
                self._file.commit()
            finally:
                self._file.discard()

    def _lost(self) -> Unavailable:
        return Unavailable(
            f"{self._file.target}: a write failed, so no file was made", code="unavailable.storage"
        )

    def __del__(self) -> None:
        # In place of that of the base, which would close it, and so finish what nobody said was complete.
        if not self.closed:
            warnings.warn("an encrypted file was never closed, and is lost", ResourceWarning, 2, self)
            self.discard()


class _Reader(io.RawIOBase):
    """Verified content, below the buffer that makes a file object of it."""

    def __init__(self, file: io.FileIO, path: Path, stream: DecryptingStream) -> None:
        self._file, self._path, self._stream = file, path, stream
        self._ready = memoryview(b"")
        self._ended = False
        try:
            self._fill()
        except BaseException:
            self.close()
            raise

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        self._fill()
        view = memoryview(buffer).cast("B")
        size = min(len(view), len(self._ready))
        view[:size] = self._ready[:size]
        self._ready = self._ready[size:]
        return size

    def readall(self) -> bytes:
        parts: list[memoryview] = []
        while True:
            self._fill()
            if not self._ready:
                return b"".join(parts)
            parts.append(self._ready)
            self._ready = memoryview(b"")

    def _fill(self) -> None:
        """Have something ready, or know that the content is complete."""
        while not self._ready and not self._ended:
            try:
                data = self._file.read(self._stream.next_bytes)
            except OSError as err:
                raise file_error(self._path, err) from err
            self._ready = memoryview(self._stream.feed(data) if data else self._stream.finish())
            self._ended = not data

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()
