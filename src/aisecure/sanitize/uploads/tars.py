"""Tar files, read header by header.

Own code and not `tarfile`: its reading of extended headers took quadratic time in Python 3.11.7 (CVE-2024-6232).
"""

from __future__ import annotations

from collections.abc import Iterator

from aisecure.sanitize.uploads.names import check_entry_name
from aisecure.sanitize.uploads.source import Source
from aisecure.sanitize.uploads.unpacking import Budget, refused

__all__ = ["members"]

_BLOCK = 512
#: Extended headers and long names; real ones are a few hundred bytes.
_LONGEST_HEADER = 1 << 16
_FILES, _FOLDER = frozenset({"0", "\0", "7"}), "5"
_LONG_NAME, _LONG_LINK, _EXTENDED, _GLOBAL = "L", "K", "x", "g"


def members(  # noqa: PLR0912  (one kind of header after the other)
    source: Source, budget: Budget
) -> Iterator[tuple[str, int, int]]:
    """Yield name, place and size of each file of a tar.

    Raises:
        InputRejected: It holds links, devices or sparse files, names outside of it, the same name twice, or is damaged.
    """
    place, name, size = 0, "", -1
    seen: set[str] = set()
    while True:
        header = source.read(place, _BLOCK)
        if len(header) < _BLOCK:
            if header or not seen:
                raise refused("The archive is cut.")
            return
        if not header.strip(b"\0"):
            return
        _check_sum(header)
        budget.enter()
        kind = chr(header[156])
        length = _number(header[124:136])
        place += _BLOCK
        if kind in {_LONG_NAME, _LONG_LINK, _EXTENDED, _GLOBAL}:
            if length > _LONGEST_HEADER:
                raise refused("A header of the archive is too long.")
            data = source.exactly(place, length)
            if kind == _LONG_NAME:
                name = _text(data)
            elif kind != _LONG_LINK:
                told = _records(data)
                if kind == _GLOBAL and not told.keys().isdisjoint(("path", "size")):
                    raise refused("A header of the archive names all its files at once.")
                name, size = told.get("path", name), int(told.get("size", size))
        elif kind in _FILES or kind == _FOLDER:
            length = length if size < 0 else size
            own = check_entry_name(name or _own_name(header))
            # Folders may come again, as `tar -r` writes them.
            if own in seen and kind != _FOLDER:
                raise refused("Two entries of the archive have the same name.")
            seen.add(own)
            if kind != _FOLDER:
                if place + length > source.size:
                    raise refused("The archive is cut.")
                yield own, place, length
            name, size = "", -1
        else:
            raise refused("The archive holds links or special files.")
        place += -(-length // _BLOCK) * _BLOCK


def _check_sum(header: bytes) -> None:
    told = _number(header[148:156])
    if told != sum(header[:148]) + 32 * 8 + sum(header[156:]):
        raise refused("A header of the archive is damaged.")


def _number(field: bytes) -> int:
    if field[0] & 0x80:  # GNU: binary, for more than 8 GiB
        number = int.from_bytes(bytes([field[0] & 0x7F]) + field[1:], "big")
        if number > 1 << 40:
            raise refused("A number in the archive is damaged.")
        return number
    digits = field.strip(b" \0")
    if not digits or not all(0x30 <= digit <= 0x37 for digit in digits):
        if not digits:
            return 0
        raise refused("A number in the archive is damaged.")
    return int(digits, 8)


def _own_name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(data: bytes) -> str:
    # What is behind the NUL is no part of the name; bytes that are no UTF-8 are refused with the name.
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _records(data: bytes) -> dict[str, str]:
    r"""Return the records ``length key=value\\n`` of an extended header (POSIX pax)."""
    told: dict[str, str] = {}
    while data.strip(b"\0"):
        digits, _, _ = data.partition(b" ")
        if not digits.isdigit() or len(digits) > 6 or not len(digits) < int(digits) <= len(data):
            raise refused("A header of the archive is damaged.")
        record, data = data[len(digits) + 1 : int(digits)], data[int(digits) :]
        key, equals, value = record.partition(b"=")
        text = value.removesuffix(b"\n").decode("utf-8", "surrogateescape")
        if not equals or key.startswith(b"GNU.sparse") or (key == b"size" and not value.strip().isdigit()):
            raise refused("A header of the archive is damaged, or describes a sparse file.")
        if b"\0" in value or (key == b"size" and len(text) > 13):
            raise refused("A header of the archive is damaged.")
        told[key.decode("utf-8", "surrogateescape")] = text
    return told
