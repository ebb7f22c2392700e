"""ZIP files, read by their central directory, which every local header has to agree with.

Where the two differ, one program unpacks what another never saw. Own code and not `zipfile`, which takes more than is safe:
it believes declared sizes, passes over what stands between entries, and stops names at a NUL.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from aisecure.sanitize.uploads.names import check_entry_name
from aisecure.sanitize.uploads.source import Source
from aisecure.sanitize.uploads.unpacking import Budget, refused, unpacked

__all__ = ["Entry", "content", "directory", "ends_in_zip"]

_END = b"PK\x05\x06"
_END_LENGTH, _LONGEST_COMMENT = 22, 0xFFFF
_CENTRAL, _LOCAL = struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s5H3L2H")
#: Flags: encrypted, strongly encrypted, masked headers; sizes stand after the data.
_ENCRYPTED, _AFTERWARDS = 0x0001 | 0x0040 | 0x2000, 0x0008
_METHODS = {0: "stored", 8: "deflate"}
_ZIP64 = 0xFFFFFFFF
_UTF8 = 0x0800


class Entry(NamedTuple):
    """A file or folder of a ZIP."""

    name: str
    raw_name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int
    mode: int

    @property
    def is_folder(self) -> bool:
        """Whether it is one by its name, as unpackers decide."""
        return self.name.endswith("/")


def ends_in_zip(source: Source) -> bool:
    """Whether some unpacker takes a file for a ZIP, whatever it begins with."""
    place = _end(source)
    if place is None:
        return False
    size, offset = struct.unpack("<LL", source.read(place + 12, 8))
    # Unpackers that allow for a prefix look before the end, others at the stated offset.
    starts = {offset, place - size}
    return place == 0 or any(source.read(start, 4) == b"PK\x01\x02" for start in starts)


def _end(source: Source) -> int | None:
    length = min(source.size, _END_LENGTH + _LONGEST_COMMENT)
    place = source.read(source.size - length, length).rfind(_END)
    return None if place < 0 or length - place < _END_LENGTH else source.size - length + place


def directory(source: Source, budget: Budget) -> list[Entry]:
    """Return the entries of a ZIP, each checked by name and against its local header, none sharing bytes with another.

    Raises:
        InputRejected: They are too many, encrypted, special files, packed by an unusual method, named twice, named outside of the
            archive, overlapping; or the two descriptions of one differ.
    """
    place = _end(source)
    if place is None:
        raise refused("The archive has no directory.")
    disk, _, here, count, size, offset, comment = struct.unpack("<4H2LH", source.exactly(place + 4, 18))
    if disk or here != count or count == 0xFFFF or offset == _ZIP64:
        raise refused("The archive is in several parts, or larger than can be checked.")
    if place + _END_LENGTH + comment != source.size or offset + size != place:
        raise refused("The archive's directory is not where it says.")
    entries: list[Entry] = []
    at = offset
    for _ in range(count):
        budget.enter()
        entry, at = _central(source, at)
        entries.append(entry)
    if at != place:
        raise refused("The archive's directory is not as long as it says.")
    _check_names(entries)
    _check_places(source, entries, offset)
    return entries


def _central(source: Source, at: int) -> tuple[Entry, int]:
    fields = _CENTRAL.unpack(source.exactly(at, _CENTRAL.size))
    (magic, _, _, flags, method, _, _, crc, packed, size, name, extra, comment, _, _, outer, offset) = fields
    if magic != b"PK\x01\x02":
        raise refused("The archive's directory is damaged.")
    if flags & _ENCRYPTED:
        raise refused("The archive is encrypted, so nobody can look into it.")
    if method not in _METHODS:
        raise refused("The archive is packed by a method that cannot be looked into.")
    if _ZIP64 in {packed, size, offset}:
        raise refused("The archive is larger than can be checked.")
    raw = source.exactly(at + _CENTRAL.size, name)
    told = _unicode_name(source.exactly(at + _CENTRAL.size + name, extra))
    if told:
        check_entry_name(_name(raw, flags))  # what unpackers see that do not know the field
    entry = Entry(told or _name(raw, flags), raw, flags, method, crc, packed, size, offset, outer >> 16)
    return entry, at + _CENTRAL.size + name + extra + comment


def _name(raw: bytes, flags: int) -> str:
    try:
        return raw.decode() if flags & _UTF8 else raw.decode("ascii")
    except UnicodeDecodeError:
        pass
    if flags & _UTF8:
        raise refused("A name in the archive is not UTF-8.")
    return raw.decode("cp437")  # what the format says; other readings have the same separators and dots


def _unicode_name(extra: bytes) -> str:
    """Return the name in an "Info-ZIP Unicode Path" field, which some unpackers take instead of the entry's own."""
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<2H", extra)
        if kind == 0x7075:
            return _name(extra[9 : 4 + length], _UTF8)
        extra = extra[4 + length :]
    return ""


def _check_names(entries: list[Entry]) -> None:
    seen: set[str] = set()
    for entry in entries:
        name = check_entry_name(entry.name)
        if name in seen:
            raise refused("Two entries of the archive have the same name.")
        seen.add(name)
        kind = entry.mode & 0xF000
        if kind not in {0, 0x8000, 0x4000}:
            raise refused("The archive holds links or special files.")


def _check_places(source: Source, entries: list[Entry], directory_at: int) -> None:
    """Refuse entries that overlap (D. Fifield, "A better zip bomb", 2019), and bytes before the first."""
    end = 0
    for entry in sorted(entries, key=lambda each: each.offset):
        if entry.offset < end or (end == 0 and entry.offset):
            raise refused("Entries of the archive overlap, or something stands before the first.")
        end = _local_end(source, entry)
    if end > directory_at:
        raise refused("Entries of the archive overlap its directory.")


def _data_at(source: Source, entry: Entry) -> int:
    name, extra = struct.unpack("<2H", source.exactly(entry.offset + 26, 4))
    return int(entry.offset + _LOCAL.size + name + extra)


def _local_end(source: Source, entry: Entry) -> int:
    fields = _LOCAL.unpack(source.exactly(entry.offset, _LOCAL.size))
    magic, _, flags, method, _, _, crc, packed, size, name, _ = fields
    raw = source.exactly(entry.offset + _LOCAL.size, name)
    same = magic == b"PK\x03\x04" and method == entry.method and raw == entry.raw_name
    same = same and flags & ~_UTF8 == entry.flags & ~_UTF8
    if not flags & _AFTERWARDS:
        same = same and (crc, packed, size) == (entry.crc, entry.packed, entry.size)
    if not same:
        raise refused("An entry of the archive is described in two ways.")
    return _data_at(source, entry) + entry.packed


def content(source: Source, entry: Entry, budget: Budget) -> Iterator[bytes]:
    """Yield the unpacked bytes of an entry, and see at the end that they are what the directory says.

    Raises:
        InputRejected: They are not, or the budget is used up.
    """
    chunks = source.chunks(_data_at(source, entry), entry.packed)
    size, crc = 0, 0
    for piece in unpacked(chunks, _METHODS[entry.method], budget):
        size += len(piece)
        crc = zlib.crc32(piece, crc)
        if size > entry.size:
            break
        yield piece
    if size != entry.size or crc != entry.crc:
        raise refused("An entry of the archive is not what its directory says.")
