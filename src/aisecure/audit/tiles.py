"""The hashes of the log's tree as files, so that proofs need not read the log (C2SP tlog-tiles).

``tile/<level>/<number>`` holds 256 hashes of 32 bytes; those of level L are hashes of perfect subtrees of 256**L entries.
What does not fill a tile yet lies in ``tile/<level>/<number>.p/<width>``. A full tile never changes. Everything here is made
from the lines of the log and can be made anew.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from aisecure.audit.entry import LONGEST_LINE
from aisecure.audit.merkle import leaf_hash, node_hash
from aisecure.audit.recovery import segment_path, segments
from aisecure.errors import IntegrityError

__all__ = ["Tiles"]

_BITS = 8
_WIDTH = 1 << _BITS
_HASH_BYTES = 32
#: Tiles that are kept in memory: 2 MB, and more than one proof reads.
_KEPT = 256


class Tiles:
    """The stored hashes of a log.

    Args:
        folder: The folder of the log.
        anew: Make all of them anew, in place of those that are there.
    """

    def __init__(self, folder: Path, *, anew: bool = False) -> None:
        self.folder = folder
        self._kept: dict[Path, bytes] = {}
        #: Hashes of each level that fill no tile yet.
        self._open: list[list[bytes]] = []
        self.size = 0
        #: Where the next line begins: first entry of the file, and offset in it.
        self._next = (0, 0)
        if not anew:
            self._load()

    def extend(self, size: int) -> None:
        """Take up entries until there are ``size``; called by one process at a time.

        Raises:
            OSError: A file cannot be read or written.
            IntegrityError: The log has fewer entries.
        """
        if size < self.size:
            raise _broken(f"it has {size} entries, and {self.size} were counted before")
        if size == self.size:
            return
        lines = self._lines()
        for _ in range(size - self.size):
            line = next(lines, None)
            if line is None:
                raise _broken(f"it ends before entry {self.size}")
            self._append(0, leaf_hash(line))
            self.size += 1
        self._store()

    def node(self, level: int, number: int) -> bytes:
        """Return the hash of a perfect subtree of ``2**level`` entries; `aisecure.audit.proofs.Node`.

        Raises:
            IntegrityError: A tile is missing or damaged.
        """
        tile_level, inside = divmod(level, _BITS)
        first = number << inside
        tile, at = divmod(first, _WIDTH)
        hashes = self._tile(tile_level, tile)
        found = [
            hashes[place * _HASH_BYTES : (place + 1) * _HASH_BYTES] for place in range(at, at + (1 << inside))
        ]
        if len(found[-1]) != _HASH_BYTES:
            raise _broken("a tile of its tree is too short")
        while len(found) > 1:
            found = [node_hash(left, right) for left, right in zip(found[::2], found[1::2], strict=True)]
        return found[0]

    # -- taking up entries

    def _append(self, level: int, hash_: bytes) -> None:
        while len(self._open) <= level:
            self._open.append([])
        row = self._open[level]
        row.append(hash_)
        if len(row) == _WIDTH:
            count = self._count(level)
            self._write(_path(self.folder, level, count - 1), b"".join(row))
            whole = row
            while len(whole) > 1:
                whole = [node_hash(left, right) for left, right in zip(whole[::2], whole[1::2], strict=True)]
            self._open[level] = []
            self._append(level + 1, whole[0])

    def _count(self, level: int) -> int:
        """Return how many tiles of a level are full, the one that was filled just now included."""
        return self.size + 1 >> _BITS * (level + 1)

    def _lines(self) -> Iterator[bytes]:
        """Yield the lines from the next entry on, without their newlines, and keep count of the place."""
        first, offset = self._next
        known = segments(self.folder)
        while True:
            path = segment_path(self.folder, first)
            with path.open("rb") as file:
                file.seek(offset)
                # No longer than a line may be, whatever somebody put there.
                while line := file.readline(LONGEST_LINE + 1):
                    if not line.endswith(b"\n"):
                        return
                    offset += len(line)
                    self._next = (first, offset)
                    yield line[:-1]
            following = [other for other in known if other > first]
            if not following:
                return
            first, offset = following[0], 0

    def _store(self) -> None:
        """Write what fills no tile yet, and where to go on."""
        for level, row in enumerate(self._open):
            full = self.size >> _BITS * (level + 1)
            folder = _path(self.folder, level, full).with_suffix(".p")
            if row:
                self._write(folder / str(len(row)), b"".join(row))
            for old in folder.glob("*") if folder.exists() else ():
                if old.name != str(len(row)):
                    old.unlink(missing_ok=True)
        state = {"size": self.size, "segment": self._next[0], "offset": self._next[1]}
        self._write(self.folder / "tile" / "next.json", json.dumps(state).encode())

    def _write(self, path: Path, data: bytes) -> None:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        new.write_bytes(data)
        new.replace(path)

    # -- reading

    def _load(self) -> None:
        """Go on where the stored tiles end; from the beginning where they do not fit each other."""
        try:
            state = json.loads((self.folder / "tile" / "next.json").read_bytes())
            size, self._next = int(state["size"]), (int(state["segment"]), int(state["offset"]))
            rows: list[list[bytes]] = []
            while size >> _BITS * len(rows):
                rows.append(self._partial(len(rows), size))
        except (OSError, ValueError, KeyError, TypeError):
            self._open, self.size, self._next = [], 0, (0, 0)
            return
        self._open, self.size = rows, size

    def _partial(self, level: int, size: int) -> list[bytes]:
        """Return what fills no tile of a level yet."""
        width = (size >> _BITS * level) % _WIDTH
        path = _path(self.folder, level, size >> _BITS * (level + 1)).with_suffix(".p") / str(width)
        data = path.read_bytes() if width else b""
        if len(data) != width * _HASH_BYTES:
            raise ValueError("a tile of another length")
        return [data[at : at + _HASH_BYTES] for at in range(0, len(data), _HASH_BYTES)]

    def _tile(self, level: int, number: int) -> bytes:
        if level < len(self._open) and number == self.size >> _BITS * (level + 1):
            return b"".join(self._open[level])
        path = _path(self.folder, level, number)
        data = self._kept.get(path)
        if data is None:
            try:
                data = path.read_bytes()
            except OSError as err:
                raise _broken(
                    "a tile of its tree is missing; remove the folder tile, it is made anew"
                ) from err
            if len(self._kept) >= _KEPT:
                self._kept.clear()
            self._kept[path] = data
        return data


def _path(folder: Path, level: int, number: int) -> Path:
    """Return the file of a tile: its number in groups of three digits, all but the last with an ``x`` before it."""
    groups = [f"{number % 1000:03d}"]
    while number >= 1000:
        number //= 1000
        groups.insert(0, f"x{number % 1000:03d}")
    return folder.joinpath("tile", str(level), *groups)


def _broken(how: str) -> IntegrityError:
    return IntegrityError(f"the audit log does not fit itself: {how}; run verify", code="integrity.audit")
