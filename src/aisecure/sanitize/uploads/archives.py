"""Archives looked into without unpacking them to anywhere: every entry is read through, counted, and forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from aisecure.sanitize.uploads import tars, zips
from aisecure.sanitize.uploads.signatures import HEAD, UNKNOWN, sniff
from aisecure.sanitize.uploads.source import Source
from aisecure.sanitize.uploads.unpacking import LARGEST_INNER, Budget, refused, unpacked

__all__ = ["ARCHIVES", "Member", "look_into"]

_PACKED_STREAMS = frozenset({"application/gzip", "application/x-bzip2", "application/x-xz"})
_CLOSED = frozenset({"application/zstd", "application/x-7z-compressed", "application/vnd.rar"})
#: Types that `look_into` takes; the closed ones it refuses, since no part of the standard library reads them.
ARCHIVES = _PACKED_STREAMS | _CLOSED | {"application/zip", "application/x-tar"}


class Member(NamedTuple):
    """A file inside an archive.

    Attributes:
        name: As the archive tells it; empty for the content of a packed stream.
        head: Its first bytes, at most 4096.
        type: What they say.
    """

    name: str
    head: bytes
    type: str


def look_into(source: Source, media_type: str, budget: Budget) -> Iterator[Member]:
    """Yield the files of an archive and of the archives inside it, each after it was read to its end.

    Raises:
        InputRejected: ``input.archive``: it breaks a rule, or is of a type that nobody here can look into.
    """
    if media_type in _CLOSED:
        raise refused("Archives of this type cannot be looked into.")
    if media_type == "application/zip":
        for entry in zips.directory(source, budget):
            if not entry.is_folder or entry.size or entry.packed:
                yield from _read(entry.name, entry.size, zips.content(source, entry, budget), budget)
    elif media_type == "application/x-tar":
        for name, place, size in tars.members(source, budget):
            yield from _read(name, size, unpacked(source.chunks(place, size), "stored", budget), budget)
    else:
        budget.enter()
        pieces = unpacked(source.chunks(0, source.size), media_type, budget)
        yield from _read("", None, pieces, budget)


def _read(name: str, size: int | None, pieces: Iterable[bytes], budget: Budget) -> Iterator[Member]:
    """Read a file to its end, keeping its head, and all of it when it is an archive."""
    kept = bytearray()
    kind, length = "", 0
    for piece in pieces:
        length += len(piece)
        if kind in ARCHIVES:
            if len(kept) + len(piece) > LARGEST_INNER:
                raise refused(f"An archive inside the archive is larger than {LARGEST_INNER} bytes.")
            kept += piece
        elif len(kept) < HEAD:
            kept += piece
        if not kind and len(kept) >= HEAD:
            kind = sniff(bytes(kept[:HEAD]), length if size is None else size)
    head = bytes(kept[:HEAD])
    kind = kind or (sniff(head, length) if head else UNKNOWN)
    yield Member(name, head, kind)
    if kind in ARCHIVES:
        budget.descend()
        yield from look_into(Source(bytes(kept)), kind, budget)
        budget.ascend()
