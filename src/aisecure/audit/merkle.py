"""The hashes of RFC 6962 section 2.1: leaf, node, and the roots of a growing tree in a few bytes.

RFC 9162 obsoletes the RFC and keeps the hashing. Leaves and nodes carry different prefixes, so that no inner node
can be passed off as an entry (CWE-290 in spirit: a second preimage by type confusion).
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256

__all__ = ["EMPTY_ROOT", "CompactRange", "leaf_hash", "node_hash"]

#: Root of the tree without leaves: SHA-256 of nothing.
EMPTY_ROOT = sha256(b"").digest()


def leaf_hash(data: bytes) -> bytes:
    """Return the 32-byte hash of an entry.

    >>> leaf_hash(b"L123456").hex()[:16]
    '395aa064aa4c29f7'
    """
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the 32-byte hash of an inner node.

    >>> node_hash(b"N123", b"N456").hex()[:16]
    'aa217fe888e47007'
    """
    return sha256(b"\x01" + left + right).digest()


class CompactRange:
    """A tree that only grows, kept as the roots of its perfect subtrees, largest first.

    Appending costs one node hash on average. The state has one hash for each one-bit of the size: at most 64 for
    any log that fits a 64-bit counter, whatever its length.

    Args:
        size: Number of leaves.
        hashes: The roots that belong to it.

    Raises:
        ValueError: The number of hashes does not fit the size, or one is not 32 bytes long.
    """

    __slots__ = ("hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        self.size = size
        self.hashes = list(hashes)
        if size < 0 or len(self.hashes) != size.bit_count() or any(len(item) != 32 for item in self.hashes):
            raise ValueError("the hashes of a compact range do not fit its size")

    def append(self, leaf: bytes) -> None:
        """Add the hash of the next leaf."""
        hashes, size = self.hashes, self.size
        # Every trailing one-bit is a perfect subtree that the new leaf completes to the next larger one.
        while size & 1:
            leaf = node_hash(hashes.pop(), leaf)
            size >>= 1
        hashes.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """Return the root of the whole tree."""
        if not self.hashes:
            return EMPTY_ROOT
        root = self.hashes[-1]
        for left in reversed(self.hashes[:-1]):
            root = node_hash(left, root)
        return root
