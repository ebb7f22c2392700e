"""Reading what a crash left behind: which lines still chain, and where the rest begins."""

from __future__ import annotations

import os
import re
from hashlib import sha256
from pathlib import Path

from aisecure.audit.entry import LONGEST_LINE, read_seal
from aisecure.audit.merkle import CompactRange, leaf_hash

__all__ = ["adopt", "last_line", "move_aside", "segment_path", "segments"]

_SEGMENT = re.compile(r"audit-([0-9]{20})\.jsonl\Z")
_BLOCK = 1 << 20


def segment_path(folder: Path, first: int) -> Path:
    """Return the file whose first line has the given sequence number; names sort as numbers do."""
    return folder / f"audit-{first:020d}.jsonl"


def segments(folder: Path) -> list[int]:
    """Return the first sequence number of every segment, ascending."""
    return sorted(int(found[1]) for name in os.listdir(folder) if (found := _SEGMENT.match(name)))  # noqa: PTH208


def adopt(descriptor: int, start: int, tree: CompactRange, leaf: bytes) -> tuple[int, bytes]:
    """Append to the tree every complete line that continues the chain, from an offset on.

    Args:
        descriptor: The open segment.
        start: Offset of the first line to look at.
        tree: Grows by one leaf for each line that is taken.
        leaf: Leaf hash of the line before ``start``.

    Returns:
        The offset at which the first line begins that does not continue the chain (or the end of the file), and the
        leaf hash of the last line taken.
    """
    position, rest = start, b""
    while block := os.pread(descriptor, _BLOCK, position + len(rest)):
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        for line in lines:
            seal = read_seal(line)
            if seal is None or seal.prev != leaf or seal.seq != tree.size:
                return position, leaf
            leaf = leaf_hash(line)
            tree.append(leaf)
            position += len(line) + 1
        if len(rest) > LONGEST_LINE:
            return position, leaf
    return position, leaf


def last_line(descriptor: int, length: int) -> bytes:
    """Return the line that ends at an offset, without its newline; empty if none ends there."""
    start = max(0, length - LONGEST_LINE - 2)
    data = os.pread(descriptor, length - start, start)
    return data[:-1].rpartition(b"\n")[2] if data.endswith(b"\n") else b""


def move_aside(descriptor: int, start: int, target: Path) -> tuple[int, str, str]:
    """Copy what lies behind an offset into a new file, make that durable, and cut it off.

    Args:
        descriptor: The open segment.
        start: Offset of the last good newline.
        target: Name of the new file; a number is added if it exists.

    Returns:
        Number of bytes, their SHA-256 in hex, and the name of the file.
    """
    copy, path = -1, target
    for number in range(1, 10_000):
        try:
            copy = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            break
        except FileExistsError:
            path = target.with_name(f"{target.name}-{number}")
    digest, position = sha256(), start
    try:
        while block := os.pread(descriptor, _BLOCK, position):
            digest.update(block)
            position += len(block)
            while block:
                block = block[os.write(copy, block) :]
        os.fsync(copy)
    except OSError:
        # A half copy would read as the whole of what was torn; the bytes are still where they were.
        path.unlink(missing_ok=True)
        raise
    finally:
        os.close(copy)
    os.ftruncate(descriptor, start)
    return position - start, digest.hexdigest(), path.name
