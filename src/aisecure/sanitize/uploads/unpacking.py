"""What an archive unpacks to, counted while it happens: one budget for everything inside one upload."""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from aisecure.errors import InputRejected
from aisecure.sanitize.uploads.policy import UploadPolicy

__all__ = ["LARGEST_INNER", "Budget", "refused", "unpacked"]

#: An archive inside an archive is held in memory to be looked into, so it may not be larger.
LARGEST_INNER = 16 << 20
#: Below this nobody is harmed by any ratio.
_RATIO_FROM = 1 << 20
_PIECE = 1 << 18
#: A dictionary of xz's strongest preset takes 65 MiB.
_XZ_MEMORY = 80 << 20
#: Streams one after the other in one file; each costs some work although it may hold nothing.
_MOST_MEMBERS = 1_000


def refused(text: str) -> InputRejected:
    """Return the error for an archive."""
    return InputRejected(text, code="input.archive")


class Budget:
    """Counts entries and bytes of an upload and of all archives inside it."""

    __slots__ = ("_packed", "_policy", "entries", "nesting", "unpacked_bytes")

    def __init__(self, policy: UploadPolicy, packed: int) -> None:
        self._policy = policy
        self._packed = packed
        self.entries = 0
        self.nesting = 0
        self.unpacked_bytes = 0

    def enter(self) -> None:
        """Take note of one more entry.

        Raises:
            InputRejected: It is one too many.
        """
        self.entries += 1
        if self.entries > self._policy.max_entries:
            raise refused(f"The archive has more than {self._policy.max_entries} entries.")

    def take(self, size: int) -> None:
        """Take note of unpacked bytes.

        Raises:
            InputRejected: They are too many, or too many for what the upload weighs.
        """
        self.unpacked_bytes += size
        if self.unpacked_bytes > self._policy.max_unpacked_bytes:
            raise refused(f"The archive unpacks to more than {self._policy.max_unpacked_bytes} bytes.")
        if self.unpacked_bytes > _RATIO_FROM and self.unpacked_bytes > self._packed * self._policy.max_ratio:
            raise refused(f"The archive unpacks to more than {self._policy.max_ratio} times its size.")

    def descend(self) -> None:
        """Go one archive deeper.

        Raises:
            InputRejected: That is too deep.
        """
        self.nesting += 1
        if self.nesting > self._policy.max_nesting:
            raise refused(f"The archive holds archives more than {self._policy.max_nesting} deep.")

    def ascend(self) -> None:
        """Come back from an inner archive."""
        self.nesting -= 1


def _decompressor(method: str) -> Any:
    if method == "deflate":
        return zlib.decompressobj(-15)
    if method == "application/gzip":
        return zlib.decompressobj(31)
    if method == "application/x-bzip2":
        return bz2.BZ2Decompressor()
    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)


def unpacked(chunks: Iterable[bytes], method: str, budget: Budget) -> Iterator[bytes]:
    """Yield the unpacked bytes of one stream in bounded pieces, each counted before it is handed on.

    Args:
        chunks: The packed bytes.
        method: ``"stored"``, ``"deflate"``, or the media type of a gzip, bzip2 or xz file, which may hold several streams.
        budget: Is asked before each piece.

    Raises:
        InputRejected: The stream is damaged or cut, or the budget is used up.
    """
    if method == "stored":
        for chunk in chunks:
            budget.take(len(chunk))
            yield chunk
        return
    try:
        yield from _inflated(chunks, method, budget)
    except (zlib.error, OSError, lzma.LZMAError, EOFError, ValueError, MemoryError):
        raise refused("A packed part of the archive is damaged.") from None


def _inflated(chunks: Iterable[bytes], method: str, budget: Budget) -> Iterator[bytes]:
    one, members = _decompressor(method), 1
    for chunk in chunks:
        data = chunk
        while data:
            if one.eof:
                if method == "deflate":
                    raise refused("An entry of the archive holds more than its packed data.")
                if not data.strip(b"\0"):  # padding
                    break
                members += 1
                if members > _MOST_MEMBERS:
                    raise refused(f"The file holds more than {_MOST_MEMBERS} packed streams.")
                one = _decompressor(method)
            for piece in _pieces(one, data):
                budget.take(len(piece))
                yield piece
            data = one.unused_data if one.eof else b""
    if not one.eof:
        raise refused("A packed part of the archive is cut.")


def _pieces(one: Any, data: bytes) -> Iterator[bytes]:
    """Yield what a decompressor makes of some bytes, in bounded pieces."""
    keeps_input = isinstance(one, bz2.BZ2Decompressor | lzma.LZMADecompressor)
    goes_on = True
    while goes_on and not one.eof:
        piece = one.decompress(data, _PIECE)
        # zlib may hold output back also when it has read all input, and then the piece is full.
        data = b"" if keeps_input else one.unconsumed_tail
        goes_on = not one.eof and (not one.needs_input if keeps_input else len(piece) == _PIECE)
        if piece:
            yield piece
