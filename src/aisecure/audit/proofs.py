"""Proofs of RFC 6962: that an entry is in a log, and that a log only grew.

A proof is a handful of hashes, 20 of them for a million entries, with which somebody who holds nothing but a root can
check. The ways to check are those of RFC 9162 section 2.1.3.2 and 2.1.4.2, step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from aisecure.audit.merkle import EMPTY_ROOT, node_hash

__all__ = ["Node", "consistency_proof", "inclusion_proof", "root", "verify_consistency", "verify_inclusion"]

#: Hash of a perfect subtree by its level (0 for leaves) and its number within the level.
Node = Callable[[int, int], bytes]

_HASH_BYTES = 32


def root(size: int, node: Node) -> bytes:
    """Return the root of the first ``size`` leaves."""
    return _range(0, size, node) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, node: Node) -> list[bytes]:
    """Return the hashes that lead from a leaf to the root, the leaf's sibling first (RFC 6962 section 2.1.1).

    Args:
        index: The leaf.
        size: Number of leaves of the tree that the root is of.
        node: Gives the hashes of perfect subtrees within it.

    Raises:
        ValueError: There is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no entry {index} in a log of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(_range(middle, end, node))
            end = middle
        else:
            path.append(_range(start, middle, node))
            start = middle
    return path[::-1]


def consistency_proof(first: int, second: int, node: Node) -> list[bytes]:
    """Return the hashes that show that the tree of ``second`` leaves begins with that of ``first`` (section 2.1.2).

    Raises:
        ValueError: The first is empty, or larger than the second.
    """
    if not 0 < first <= second:
        raise ValueError(f"a log of {second} entries does not begin with one of {first}")
    path: list[bytes] = []
    start, end, is_whole = 0, second, True
    while first != end:
        middle = start + _split(end - start)
        if first <= middle:
            path.append(_range(middle, end, node))
            end = middle
        else:
            path.append(_range(start, middle, node))
            start, is_whole = middle, False
    if not is_whole:
        # Whoever checks has the first root, but not the hash of this last part of it.
        path.append(_range(start, end, node))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Return whether a proof shows that a leaf hash is at its place in the tree of a root (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size or not _are_hashes(leaf, root, *proof):
        return False
    place, last, found = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(
    first: int, second: int, first_root: bytes, second_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Return whether a proof shows that one tree begins with another (RFC 9162 section 2.1.4.2).

    Two trees of one size need the same root and an empty proof. Of the empty tree nothing can be shown: that is False.
    """
    if not 0 < first <= second or not _are_hashes(first_root, second_root, *proof):
        return False
    if first == second:
        return not proof and first_root == second_root
    # The root of a perfect tree is its own proof.
    path = [first_root, *proof] if first & (first - 1) == 0 else list(proof)
    if not path:
        return False
    place, last = first - 1, second - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    old = new = path[0]
    for hash_ in path[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old, new = node_hash(hash_, old), node_hash(hash_, new)
            while not place & 1 and place:
                place, last = place >> 1, last >> 1
        else:
            new = node_hash(new, hash_)
        place, last = place >> 1, last >> 1
    return last == 0 and old == first_root and new == second_root


def _split(size: int) -> int:
    """Return the largest power of two that is smaller than a size."""
    return 1 << (size - 1).bit_length() - 1


def _range(start: int, end: int, node: Node) -> bytes:
    """Return the hash over a range of leaves that begins where a perfect subtree of its size would."""
    size = end - start
    if size & (size - 1) == 0:
        level = size.bit_length() - 1
        return node(level, start >> level)
    middle = start + _split(size)
    return node_hash(_range(start, middle, node), _range(middle, end, node))


def _are_hashes(*values: bytes) -> bool:
    return all(isinstance(value, bytes) and len(value) == _HASH_BYTES for value in values)
