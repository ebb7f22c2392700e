"""The state of a log between two appends: ``audit.head``, a file of fixed size that is written in place.

===========  ======  =====================================================
offset       bytes   field (integers big-endian)
===========  ======  =====================================================
0            8       magic and version, ``AISHEAD1``
8            4       CRC-32 of all that follows and is in use
12           8       first sequence number of the current segment
20           8       bytes of the current segment that count
28           8       next sequence number, which is the size of the tree
36           32      leaf hash of the last line
68           0-2048  compact range: one hash for each one-bit of the size
===========  ======  =====================================================

The rest is zero. The checksum is against damage, not against people: whoever may write the folder may write any
checksum, so a cryptographic one would cost more and say no more. The state is in the file and not in the processes, so any number of them can take turns.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from zlib import crc32

from aisecure.audit.merkle import CompactRange

__all__ = ["HEAD_BYTES", "Head"]

_MAGIC = b"AISHEAD1"
_FIELDS = struct.Struct(">QQQ32s")
_CHECKSUM = struct.Struct(">I")
_START = len(_MAGIC) + _CHECKSUM.size

#: Size of the file: room for the 64 hashes of the largest tree.
HEAD_BYTES = _START + _FIELDS.size + 64 * 32


@dataclass(slots=True)
class Head:
    """Where the log ends.

    Attributes:
        segment: First sequence number of the current segment; its name.
        length: Bytes of the segment that count; what lies behind them is not part of the log yet.
        leaf: Leaf hash of the last line.
        tree: Compact range over all leaves.
    """

    segment: int
    length: int
    leaf: bytes
    tree: CompactRange

    @property
    def next(self) -> int:
        """Sequence number of the next line."""
        return self.tree.size

    def encode(self) -> bytes:
        """Return the content of the file."""
        tree = self.tree
        body = _FIELDS.pack(self.segment, self.length, tree.size, self.leaf) + b"".join(tree.hashes)
        return (_MAGIC + _CHECKSUM.pack(crc32(body)) + body).ljust(HEAD_BYTES, b"\0")

    @classmethod
    def decode(cls, data: bytes) -> Head | None:
        """Return the state that a file holds, or None if it is damaged in any byte."""
        if len(data) != HEAD_BYTES or not data.startswith(_MAGIC):
            return None
        segment, length, size, leaf = _FIELDS.unpack_from(data, _START)
        first = _START + _FIELDS.size
        end = first + 32 * size.bit_count()
        if _CHECKSUM.pack(crc32(data[_START:end])) != data[len(_MAGIC) : _START] or any(data[end:]):
            return None
        return cls(
            segment, length, leaf, CompactRange(size, [data[i : i + 32] for i in range(first, end, 32)])
        )
