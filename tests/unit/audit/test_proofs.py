"""Proofs of inclusion and consistency, against the definition, and against every way to bend them."""

from __future__ import annotations

from functools import cache
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aisecure.audit.merkle import EMPTY_ROOT, CompactRange, leaf_hash, node_hash
from aisecure.audit.proofs import (
    consistency_proof,
    inclusion_proof,
    root,
    verify_consistency,
    verify_inclusion,
)

LEAVES = [leaf_hash(b"%d" % number) for number in range(600)]


@cache
def node(level: int, number: int) -> bytes:
    if level == 0:
        return LEAVES[number]
    return node_hash(node(level - 1, 2 * number), node(level - 1, 2 * number + 1))


@cache
def root_of(size: int) -> bytes:
    tree = CompactRange()
    for leaf in LEAVES[:size]:
        tree.append(leaf)
    return tree.root()


def test_the_root_is_that_of_the_growing_tree() -> None:
    assert root(0, node) == EMPTY_ROOT
    assert all(root(size, node) == root_of(size) for size in range(1, 300))


def test_every_entry_of_every_small_tree_has_a_proof() -> None:
    for size in range(1, 70):
        for index in range(size):
            proof = inclusion_proof(index, size, node)
            assert len(proof) <= (size - 1).bit_length()
            assert verify_inclusion(LEAVES[index], index, size, proof, root_of(size))


def test_every_small_tree_is_the_beginning_of_every_later_one() -> None:
    for second in range(1, 70):
        for first in range(1, second + 1):
            proof = consistency_proof(first, second, node)
            assert verify_consistency(first, second, root_of(first), root_of(second), proof)


@given(st.data())
def test_a_bent_proof_of_inclusion_shows_nothing(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 600))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, node)
    other = data.draw(st.integers(0, 599))
    if other != index:
        assert not verify_inclusion(LEAVES[other], index, size, proof, root_of(size))
        if other < size:
            assert not verify_inclusion(LEAVES[index], other, size, proof, root_of(size))
    if other + 1 != size:
        assert not verify_inclusion(LEAVES[index], index, size, proof, root_of(other + 1))
    assert not verify_inclusion(LEAVES[index], index, size, [*proof, LEAVES[other]], root_of(size))
    assert not verify_inclusion(
        LEAVES[index], index, size, [*proof, proof[-1] if proof else b""], root_of(size)
    )
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_inclusion(LEAVES[index], index, size, proof[:at] + proof[at + 1 :], root_of(size))
        bent = [*proof[:at], sha256(proof[at]).digest(), *proof[at + 1 :]]
        assert not verify_inclusion(LEAVES[index], index, size, bent, root_of(size))
        short = [*proof[:at], proof[at][:31], *proof[at + 1 :]]
        assert not verify_inclusion(LEAVES[index], index, size, short, root_of(size))


@given(st.data())
def test_a_bent_proof_of_consistency_shows_nothing(data: st.DataObject) -> None:
    second = data.draw(st.integers(1, 600))
    first = data.draw(st.integers(1, second))
    proof = consistency_proof(first, second, node)
    roots = root_of(first), root_of(second)
    assert not verify_consistency(first, second, roots[1], roots[0], proof) or first == second
    assert not verify_consistency(first, second, *roots, [*proof, LEAVES[0]])
    other = data.draw(st.integers(1, 600))
    if other not in (first, second):
        assert not verify_consistency(first, second, root_of(other), roots[1], proof)
        assert not verify_consistency(first, second, roots[0], root_of(other), proof)
    if proof:
        at = data.draw(st.integers(0, len(proof) - 1))
        assert not verify_consistency(first, second, *roots, proof[:at] + proof[at + 1 :])
        bent = [*proof[:at], sha256(proof[at]).digest(), *proof[at + 1 :]]
        assert not verify_consistency(first, second, *roots, bent)


@pytest.mark.parametrize(("index", "size"), [(-1, 5), (5, 5), (0, 0)])
def test_what_is_not_in_the_log_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no entry"):
        inclusion_proof(index, size, node)
    assert not verify_inclusion(LEAVES[0], index, size, [], LEAVES[0])


@pytest.mark.parametrize(("first", "second"), [(0, 5), (6, 5), (-1, 5), (0, 0)])
def test_a_log_does_not_begin_with_a_longer_one_nor_with_nothing(first: int, second: int) -> None:
    with pytest.raises(ValueError, match="does not begin"):
        consistency_proof(first, second, node)
    assert not verify_consistency(first, second, EMPTY_ROOT, root_of(5), [])


def test_equal_trees_need_no_proof_and_take_none() -> None:
    assert consistency_proof(7, 7, node) == []
    assert verify_consistency(7, 7, root_of(7), root_of(7), [])
    assert not verify_consistency(7, 7, root_of(7), root_of(6), [])
    assert not verify_consistency(7, 7, root_of(7), root_of(7), [LEAVES[0]])


def test_hashes_are_32_bytes_everywhere() -> None:
    for bad in (b"", b"short", LEAVES[0].hex(), None):
        assert not verify_inclusion(bad, 0, 1, [], bad)  # type: ignore[arg-type]
        assert not verify_consistency(1, 1, bad, bad, [])  # type: ignore[arg-type]
