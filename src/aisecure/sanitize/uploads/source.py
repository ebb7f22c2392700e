"""An uploaded file as bytes at places, whether it is in memory or an open file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from aisecure.errors import InputRejected

__all__ = ["Source"]

_CHUNK = 1 << 16


class Source:
    """Reads a file in bounded pieces, and leaves an open file where it was.

    Args:
        data: Bytes, or a binary file that can be read and sought.

    Raises:
        TypeError: It is neither.
    """

    __slots__ = ("_data", "_file", "_place", "size")

    def __init__(self, data: Any) -> None:
        self._data: memoryview | None = None
        self._file: Any = None
        self._place = 0
        if isinstance(data, bytes | bytearray | memoryview):
            self._data = memoryview(data).cast("B")
            self.size = len(self._data)
            return
        if isinstance(data, io.TextIOBase) or not (hasattr(data, "read") and hasattr(data, "seek")):
            raise TypeError("an upload is bytes or a binary file that can be sought")
        self._file = data
        self._place = data.tell()
        self.size = data.seek(0, io.SEEK_END) or data.tell()  # some wrappers return nothing
        self.close()

    def read(self, start: int, length: int) -> bytes:
        """Return the bytes from a place on, fewer at the end, none beyond it."""
        if start < 0 or length <= 0 or start >= self.size:
            return b""
        if self._data is not None:
            return bytes(self._data[start : start + length])
        self._file.seek(start)
        data = self._file.read(min(length, self.size - start))
        if not isinstance(data, bytes):
            raise TypeError("an upload is a file opened in binary mode")
        return data

    def exactly(self, start: int, length: int) -> bytes:
        """Return so many bytes.

        Raises:
            InputRejected: The file ends before.
        """
        data = self.read(start, length)
        if len(data) != length:
            raise InputRejected("The file ends too early.", code="input.upload_damaged")
        return data

    def chunks(self, start: int, length: int) -> Iterator[bytes]:
        """Yield the bytes of a part in pieces.

        Raises:
            InputRejected: The file ends before.
        """
        while length > 0:
            data = self.exactly(start, min(_CHUNK, length))
            yield data
            start += len(data)
            length -= len(data)

    def close(self) -> None:
        """Put an open file back to where it stood."""
        if self._file is not None:
            self._file.seek(self._place)
